'use strict';
// A `fetch` for the official SDK: `new Anthropic({ fetch })`. POST …/v1/messages goes through the library and is
// metered; everything else goes to the global fetch untouched. The SDK keeps its types, helpers and retries.

const core = require('./core.cjs');
const watched = require('./watched.cjs');
const { ofResponse } = require('./headers.cjs');
const { CODE, EVENT } = require('./constants.cjs');
const { BudgetExceededError, internal } = require('./errors.cjs');
const retries = require('./retries.cjs');
const scopes = require('./scopes.cjs').internal;
const { warn, warnUnmetered } = require('./warn.cjs');

const PATH = '/v1/messages';
/**
 * Headers that belong to one connection, to the body as it was before the library took its members out, or to the
 * answer's coding, which the library undoes: it asks for those it knows.
 */
const NOT_PASSED_ON = new Set([
  'accept-encoding',
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'te',
  'transfer-encoding',
  'upgrade',
]);
/** Response headers that no longer fit the body: it is decoded, and of another length. */
const NOT_HANDED_OVER = ['content-encoding', 'content-length', 'transfer-encoding'];
/** Events by number as `event:` lines name them; other types are in the JSON. */
const EVENT_NAMES = new Map(Object.entries(EVENT).map(([name, number]) => [number, name.toLowerCase()]));
EVENT_NAMES.delete(EVENT.OTHER);
/** Statuses whose response has no body. */
const BODILESS = new Set([204, 205, 304]);

/** The global fetch before a test replaced it. */
const unmocked = globalThis.fetch;

/** How often the official SDK tries again unless it is told otherwise. */
const SDK_RETRIES = 2;

/**
 * A fetch for a client that tries again so often, be it the SDK or a framework. Only the attempt after which it gives up
 * leaves a record of a failure, so that one call of its user is one record. `passThrough`: everything goes to the global
 * fetch, unmetered.
 */
function createFetch({ maxRetries, passThrough = false } = {}) {
  return (input, init) => {
    if (passThrough || isMocked()) return globalThis.fetch(input, init);
    return fetchVia(maxRetries, input, init);
  };
}

/** A test that replaces the global fetch expects no request to leave: not under a test runner, fetch may be wrapped. */
function isMocked() {
  if (globalThis.fetch === unmocked) return false;
  const { VITEST, JEST_WORKER_ID, NODE_TEST_CONTEXT } = process.env;
  return Boolean(globalThis.fetch.mock || VITEST || JEST_WORKER_ID || NODE_TEST_CONTEXT);
}

async function fetchVia(maxRetries, input, init) {
  const request = input instanceof Request ? input : null;
  const url = new URL(request ? request.url : input);
  const method = init?.method ?? request?.method ?? 'GET';
  const headers = new Headers(init?.headers ?? request?.headers);
  const batch = watched.batchOf(method, url);
  if (batch) return watched.results(batch, input, init);
  const service = watched.serviceOf(method, url, headers);
  if (service) {
    const text = await bodyText(init?.body ?? request);
    const params = members(text);
    if (params === null) return globalThis.fetch(input, init);
    // A signature is of these very bytes.
    const sent = isSigned(headers) ? init : withoutOurs(params, headers, init);
    const told = sdkAttempt(headers);
    const layer = retryLayer(told ?? 0, scopes.current());
    const refusal = watched.refusal(service, text, layer);
    if (refusal) return overBudget(url, refusal);
    return watched.watch(service, text, headers, isLast(told, told ?? 0, maxRetries), layer, input, sent);
  }
  if (method.toUpperCase() !== 'POST' || !url.pathname.endsWith(PATH) || isAws(url.hostname)) {
    return globalThis.fetch(input, init);
  }
  const signal = init?.signal ?? request?.signal ?? null;
  signal?.throwIfAborted();
  const layer = scopes.current();
  const text = await bodyText(init?.body ?? request);
  const params = members(text);
  signal?.throwIfAborted();
  // Not for us to judge: the provider says what is wrong with it.
  if (params === null) return globalThis.fetch(input, init);
  if (init?.dispatcher) {
    warn('REVENIUM_DISPATCHER', 'the option dispatcher has no effect on metered calls: set HTTPS_PROXY for a proxy');
  }
  const told = sdkAttempt(headers);
  const attempt = told ?? retries.attemptOf(url.href, text);
  const last = isLast(told, attempt, maxRetries);
  const failed = () => told === null && !signal?.aborted && retries.failed(url.href, text, attempt);
  try {
    const ours = withChoices(text, params, headers, last);
    const response = await call(url, ours, params.stream === true, retryLayer(attempt, layer), signal);
    if (response.status >= 400) failed();
    return response;
  } catch (error) {
    if (!(error instanceof Refusal)) {
      failed();
      throw error;
    }
    if (error.cause instanceof BudgetExceededError) return overBudget(url, error.cause);
    warnUnmetered(error.cause);
    return globalThis.fetch(input, withoutOurs(params, headers, init));
  }
}

/** Whether whoever tries again gives up after this attempt. A framework may after any, unless we were told. */
function isLast(told, attempt, maxRetries) {
  return attempt >= (maxRetries ?? (told === null ? 0 : SDK_RETRIES));
}

/** Which attempt the SDK says this is; null where somebody else tries again, whom the SDK knows nothing of. */
function sdkAttempt(headers) {
  const attempt = Number(headers.get('x-stainless-retry-count') ?? NaN);
  // LangChain turns the SDK's retries off. In Node.js nobody else asks for leave to run in a browser.
  return Number.isNaN(attempt) || headers.has('anthropic-dangerous-direct-browser-access') ? null : attempt;
}

/** What the SDK makes its own error of, after one attempt. */
function overBudget(url, { error }) {
  const headers = { 'content-type': 'application/json', 'x-should-retry': 'false' };
  return response(url, { http_status: 402, headers }, JSON.stringify(error));
}

/** The request for the global fetch: our members are for nobody else. Rewritten only where they are there. */
function withoutOurs({ revenium, usageMetadata, usage_metadata, ...params }, headers, init) {
  if (revenium === undefined && usageMetadata === undefined && usage_metadata === undefined) return init;
  headers.delete('content-length');
  return { ...init, headers, body: JSON.stringify(params) };
}

const isSigned = (headers) => /^AWS4-/.test(headers.get('authorization') ?? '');

/** AWS checks a signature over the very bytes and headers, which only the global fetch sends as they are. */
function isAws(host) {
  return /\.(amazonaws\.com(\.cn)?|api\.aws)$/.test(host);
}

/** What can be read again by the global fetch, if it comes to that. A stream could not: it is not read. */
function bodyText(body) {
  if (typeof body === 'string') return body;
  if (body instanceof Request) return body.clone().text();
  return ArrayBuffer.isView(body) || body instanceof ArrayBuffer ? new TextDecoder().decode(body) : '';
}

/** The members of a JSON object, or null if the text is something else. */
function members(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

/** The body as it came, with our members behind its own. Its values keep their text: no number passes through ours. */
function withChoices(text, { revenium, usageMetadata, usage_metadata }, headers, last) {
  const passed = {};
  for (const [name, value] of headers) {
    if (!NOT_PASSED_ON.has(name)) passed[name] = value;
  }
  const choices = {
    ...revenium,
    // The URL says who is asked, whatever the environment prefers.
    provider: 'anthropic',
    headers: passed,
    // The SDK retries: an attempt after which it will try again is no call of its own.
    max_retries: 0,
    meter_retryable: last,
    // It makes spans of its own, too.
    dropin: true,
  };
  const ours = { revenium: choices };
  if (usageMetadata !== undefined) ours.usage_metadata = { ...usage_metadata, ...usageMetadata };
  const end = text.lastIndexOf('}');
  const comma = /^\s*\{\s*$/.test(text.slice(0, end)) ? '' : ',';
  return `${text.slice(0, end)}${comma}${JSON.stringify(ours).slice(1)}`;
}

/** Which attempt this is lies under every other layer: what the user says of retries wins. */
function retryLayer(attempt, layer) {
  if (attempt === 0) return layer;
  return scopes.under(layer, { retryNumber: attempt });
}

/** What the program's own URL says but for the path, which the library adds. */
const baseOf = (url) => `${url.origin}${url.pathname.slice(0, -PATH.length)}${url.search}`;

/** The library took no call: nothing was sent. */
class Refusal extends Error {}

function call(url, text, wantsStream, layer, signal) {
  return new Promise((resolve, reject) => {
    let call = null;
    // The response's body, once it is streamed; its head, as long as it is not.
    let stream = null;
    let announced = null;
    const abort = () => {
      call?.cancel();
      reject(signal.reason);
      stream?.abort(signal.reason);
    };
    const forget = () => signal?.removeEventListener('abort', abort);
    signal?.addEventListener('abort', abort, { once: true });
    const begin = () => {
      stream = new EventBody(call, () => {
        forget();
        call.cancel();
      });
      resolve(response(url, announced, stream.readable));
    };
    try {
      call = core.submit(text, scopes.at(baseOf(url), layer), {
        head(text) {
          if (!wantsStream) return;
          announced = JSON.parse(text);
          // A proxy that does not stream answers with one document: it comes with the result.
          if (!isJson(announced)) begin();
        },
        events(kinds, texts) {
          // Events after all, whatever was announced.
          if (announced && !stream) begin();
          texts.forEach((json, at) => stream?.event(EVENT_NAMES.get(kinds[at]) ?? typeOf(json), json));
        },
        result(ended) {
          forget();
          if (stream) finish(stream, ended);
          else settle(url, ended).then(resolve, reject);
        },
      });
    } catch (cause) {
      forget();
      reject(new Refusal('refused', { cause }));
    }
  });
}

/** A response body that is written event by event. Reading it gives all that has come, then waits. */
class EventBody {
  /** An event was written. */
  begun = false;
  #waiting = '';
  #ended = false;
  #error = null;
  #wake = () => {};
  #controller;
  #call;

  /** Of `call`, which knows how much lies unread. `onCancel`: the reader wants no more. */
  constructor(call, onCancel) {
    this.#call = call;
    const encoder = new TextEncoder();
    const source = {
      start: (controller) => (this.#controller = controller),
      pull: async (controller) => {
        if (this.#waiting === '' && !this.#ended) await new Promise((resolve) => (this.#wake = resolve));
        if (this.#waiting !== '') {
          const text = this.#waiting;
          this.#waiting = '';
          controller.enqueue(encoder.encode(text));
          this.#call.gave(text.length);
        } else if (this.#error) throw this.#error;
        else if (this.#ended) controller.close();
      },
      cancel: () => {
        this.#ended = true;
        onCancel();
      },
    };
    // Nothing is read ahead: an error, which drops what a stream holds, must not overtake an event.
    this.readable = new ReadableStream(source, { highWaterMark: 0 });
  }

  event(name, json) {
    this.begun = true;
    this.text(`event: ${name}\ndata: ${json.replaceAll('\n', '\ndata: ')}\n\n`);
  }

  text(text) {
    if (this.#ended) return;
    this.#waiting += text;
    this.#call.holds(text.length);
    this.#wake();
  }

  /** `error`: what the reader gets behind the last event. */
  end(error = null) {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#wake();
  }

  /** The reader gets `reason` at once. */
  abort(reason) {
    if (this.#ended) return;
    this.#ended = true;
    this.#waiting = '';
    this.#controller.error(reason);
    this.#wake();
  }
}

/** The end of a streamed response: as the provider ended it. */
function finish(stream, ended) {
  const { code, body } = ended;
  // An error that the provider sent as an event is an event again.
  if (code <= CODE.API) stream.event('error', body);
  // One document, announced as events: it is what the provider sent.
  if (code === CODE.OK && !stream.begun) stream.text(body);
  if (code === CODE.OK || code <= CODE.API) return stream.end();
  stream.end(networkError('terminated', internal.ofCall({ ...ended, info: JSON.parse(ended.info) })));
}

/** The response to a call that was not streamed, or failed before its first event. */
async function settle(url, ended) {
  const { code, body } = ended;
  const info = JSON.parse(ended.info);
  if (code === CODE.OK) {
    // A long reply is streamed underneath.
    if (!isJson(info)) info.headers['content-type'] = 'application/json';
    return response(url, info, body);
  }
  const own = members(body)?.error;
  // Not an error of the Messages API, a proxy's page say: the library kept it inside its own.
  const page = typeof own?.body === 'string' ? own.body : null;
  // The error of a long reply that was streamed underneath came in an event, not as the answer.
  const inEvent = info.http_status < 300 && !isJson(info);
  if (info.http_status !== undefined && ((code <= CODE.API && !inEvent) || page !== null)) {
    return response(url, info, page ?? body);
  }
  throw networkError('fetch failed', internal.ofCall({ ...ended, info }));
}

function response(url, { http_status: status, headers }, body) {
  const made = new Response(BODILESS.has(status) ? null : body, { status, headers: ofResponse(headers) });
  for (const name of NOT_HANDED_OVER) made.headers.delete(name);
  return Object.defineProperty(made, 'url', { value: url.href });
}

/** As the global fetch fails when there is no answer. The SDK reads a timeout from the cause's text. */
function networkError(text, cause) {
  return new TypeError(text, { cause });
}

function isJson({ headers }) {
  return /^application\/json\b/i.test(headers?.['content-type'] ?? '');
}

function typeOf(json) {
  return members(json)?.type ?? 'message';
}

module.exports = { createFetch, fetch: createFetch() };
