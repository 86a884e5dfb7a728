'use strict';
// Errors as users of the official SDK know them, made from the library's codes.

const { ofResponse } = require('./headers.cjs');
const { CODE } = require('./constants.cjs');
const { native } = require('./native.cjs');

/** The root of all errors of this package. `code` is the library's name for what happened. */
class AnthropicError extends Error {
  constructor(message, options) {
    super(message, options);
    Object.defineProperty(this, 'name', { value: new.target.name, writable: true, configurable: true });
    this.code = null;
  }
}

/** What this library, not the provider, has to say: a setting, an argument, too many calls, after shutdown. */
class ReveniumError extends AnthropicError {}

/** A budget at Revenium refuses the call: nothing was sent. */
class BudgetExceededError extends ReveniumError {
  /** `error`: what the drop-in answers, `{ type: 'error', error: { type: 'billing_error', rule_name, … } }`. */
  constructor(message, error) {
    super(message);
    const rule = error?.error ?? {};
    this.code = 'REVENIUM_E_BUDGET';
    this.status = 402;
    this.error = error;
    this.type = 'billing_error';
    this.ruleName = rule.rule_name ?? null;
    this.ruleId = rule.rule_id ?? null;
    this.currentValue = rule.current_value ?? null;
    this.threshold = rule.threshold ?? null;
    this.resetsAt = rule.resets_at ?? null;
    this.denyMessage = rule.deny_message ?? null;
  }
}

class APIError extends AnthropicError {
  constructor(status, error, message, headers) {
    super(APIError.makeMessage(status, error, message));
    this.status = status;
    this.headers = headers;
    this.error = error;
    this.requestID = headers?.get('request-id') ?? undefined;
    this.type = error?.error?.type ?? null;
  }

  static makeMessage(status, error, message) {
    const text = error ? (typeof error.message === 'string' ? error.message : JSON.stringify(error)) : message;
    if (status) return `${status} ${text || 'status code (no body)'}`;
    return text || '(no status code or body)';
  }
}

class APIUserAbortError extends APIError {
  constructor({ message } = {}) {
    super(undefined, undefined, message ?? 'Request was aborted.', undefined);
    this.code = 'REVENIUM_E_CANCELLED';
  }
}

class APIConnectionError extends APIError {
  constructor({ message, cause } = {}) {
    super(undefined, undefined, message ?? 'Connection error.', undefined);
    if (cause) this.cause = cause;
  }
}

class APIConnectionTimeoutError extends APIConnectionError {
  constructor({ message } = {}) {
    super({ message: message ?? 'Request timed out.' });
    this.code = 'REVENIUM_E_TIMEOUT';
  }
}

class BadRequestError extends APIError {}
class AuthenticationError extends APIError {}
class PaymentRequiredError extends APIError {}
class PermissionDeniedError extends APIError {}
class NotFoundError extends APIError {}
class RequestTimeoutError extends APIError {}
class ConflictError extends APIError {}
class ContentTooLargeError extends APIError {}
class UnprocessableEntityError extends APIError {}
class RateLimitError extends APIError {}
class InternalServerError extends APIError {}
class OverloadedError extends InternalServerError {}

/** The provider's refusals by code; the two that have none of their own by HTTP status. */
const BY_CODE = new Map([
  [CODE.BAD_REQUEST, BadRequestError],
  [CODE.AUTHENTICATION, AuthenticationError],
  [CODE.PERMISSION_DENIED, PermissionDeniedError],
  [CODE.NOT_FOUND, NotFoundError],
  [CODE.CONFLICT, ConflictError],
  [CODE.REQUEST_TOO_LARGE, ContentTooLargeError],
  [CODE.UNPROCESSABLE, UnprocessableEntityError],
  [CODE.RATE_LIMIT, RateLimitError],
  [CODE.INTERNAL_SERVER, InternalServerError],
  [CODE.OVERLOADED, OverloadedError],
]);
const BY_STATUS = new Map([
  [402, PaymentRequiredError],
  [408, RequestTimeoutError],
]);

/** The error for a call that ended with something else than OK. */
function ofCall({ code, body, info, message }) {
  const error = make(code, body, info, message);
  error.code = native.code_name(code);
  return error;
}

function make(code, body, info, message) {
  if (code === CODE.TIMEOUT) return new APIConnectionTimeoutError({ message });
  if (code === CODE.CANCELLED) return new APIUserAbortError();
  if (code === CODE.CONNECTION || code === CODE.STREAM) return new APIConnectionError({ message });
  if (code > CODE.API) return new ReveniumError(message);
  // An error inside a stream has no status of its own, as in the official SDK: the stream's was 200.
  const status = info.http_status >= 300 ? info.http_status : undefined;
  const Kind = BY_CODE.get(code) ?? BY_STATUS.get(status) ?? APIError;
  return new Kind(status, parsed(body), message, ofResponse(info.headers));
}

function parsed(body) {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

/** What a function means that leaves no result to say so. */
const SENTENCES = new Map([[CODE.CLOSED, 'The library was shut down; init() starts it again.']]);

/** Throw what a function says with a negative `code`. `detail`: the result that it left to say why, or 0. */
function check(code, detail = 0) {
  if (code >= 0) return code;
  const name = native.code_name(code);
  const message = (detail && native.result_message(detail, null)) || SENTENCES.get(code) || name;
  const budget = code === CODE.BUDGET && detail;
  const error = budget ? new BudgetExceededError(message, parsed(native.result_json(detail, null))) : new ReveniumError(message);
  native.release(detail);
  error.code = name;
  throw error;
}

module.exports = {
  AnthropicError,
  ReveniumError,
  BudgetExceededError,
  APIError,
  APIUserAbortError,
  APIConnectionError,
  APIConnectionTimeoutError,
  BadRequestError,
  AuthenticationError,
  PaymentRequiredError,
  PermissionDeniedError,
  NotFoundError,
  RequestTimeoutError,
  ConflictError,
  ContentTooLargeError,
  UnprocessableEntityError,
  RateLimitError,
  InternalServerError,
  OverloadedError,
  internal: { ofCall, check },
};
