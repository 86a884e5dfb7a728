"""Errors as users of the official SDK know them, made from the library's codes."""

import json

from . import _native as native


class AnthropicError(Exception):
    """The root of all errors of this package. `code` is the library's name for what happened, `REVENIUM_E_...`."""

    code = None


class ReveniumError(AnthropicError):
    """What this library, not the provider, has to say: a setting, an argument, too many calls, after shutdown."""

    def __init__(self, message, code=None):
        super().__init__(message)
        self.message = message
        self.code = code


class BudgetExceededError(ReveniumError):
    """A budget at Revenium refuses the call: nothing was sent, and nothing is metered. `body`: the error object. The rule's
    fields are None where Revenium told none; `rule_name` where no rule said so, none being known with
    `budget_fail_mode` closed."""

    status_code = 402
    type = "billing_error"

    def __init__(self, message, body=None):
        super().__init__(message, "REVENIUM_E_BUDGET")
        self.body = body
        rule = (body.get("error") if isinstance(body, dict) else None) or {}
        self.rule_name = rule.get("rule_name")
        self.rule_id = rule.get("rule_id")
        self.current_value = rule.get("current_value")
        self.threshold = rule.get("threshold")
        self.resets_at = rule.get("resets_at")
        self.deny_message = rule.get("deny_message")


class APIError(AnthropicError):
    """The call failed. `body`: the provider's error, parsed, or None; `type`: its name for it, "rate_limit_error" say."""

    def __init__(self, message, *, body=None, code=None):
        super().__init__(message)
        self.message = message
        self.body = body
        self.code = code
        error = body.get("error") if isinstance(body, dict) else None
        self.type = error.get("type") if isinstance(error, dict) else None


class APIConnectionError(APIError):
    """No answer, or one that broke off: DNS, TCP, TLS, the stream."""


class APITimeoutError(APIConnectionError):
    """The time allowed for the call was up."""


class APICancelledError(APIError):
    """The call was cancelled, by shutdown() say."""


class APIStatusError(APIError):
    """The provider's refusal. `status_code` is None for an error inside a stream, whose status was 200."""

    def __init__(self, message, *, status_code=None, headers=None, request_id=None, body=None, code=None):
        super().__init__(message, body=body, code=code)
        self.status_code = status_code
        self.headers = headers or {}
        self.request_id = request_id


class BadRequestError(APIStatusError):
    """400"""


class AuthenticationError(APIStatusError):
    """401"""


class PaymentRequiredError(APIStatusError):
    """402"""


class PermissionDeniedError(APIStatusError):
    """403"""


class NotFoundError(APIStatusError):
    """404"""


class RequestTimeoutError(APIStatusError):
    """408"""


class ConflictError(APIStatusError):
    """409"""


class RequestTooLargeError(APIStatusError):
    """413"""


class UnprocessableEntityError(APIStatusError):
    """422"""


class RateLimitError(APIStatusError):
    """429"""


class InternalServerError(APIStatusError):
    """5xx"""


class OverloadedError(InternalServerError):
    """529"""


# The provider's refusals by code; the two that have none of their own by HTTP status.
_BY_CODE = {
    -41: BadRequestError,
    -42: AuthenticationError,
    -43: PermissionDeniedError,
    -44: NotFoundError,
    -45: ConflictError,
    -46: RequestTooLargeError,
    -47: UnprocessableEntityError,
    -48: RateLimitError,
    -49: InternalServerError,
    -50: OverloadedError,
}
_BY_STATUS = {402: PaymentRequiredError, 408: RequestTimeoutError}


def of_call(ended):
    """The error for a call that ended (see _core.Ended) with something else than OK."""
    code, name = ended.code, native.name_of(ended.code)
    if code == native.E_TIMEOUT:
        return APITimeoutError(ended.message, code=name)
    if code == native.E_CANCELLED:
        return APICancelledError(ended.message or "The call was cancelled.", code=name)
    if code in (native.E_CONNECTION, native.E_STREAM):
        return APIConnectionError(ended.message, code=name)
    if code > native.E_API:
        return ReveniumError(ended.message, name)
    info = ended.info
    status = info.get("http_status")
    # An error inside a stream has no status of its own.
    status = status if status is not None and status >= 300 else None
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status) or APIStatusError
    body = _parsed(ended.body)
    prefix = f"Error code: {status} - " if status is not None else ""
    return kind(
        f"{prefix}{ended.message}",
        status_code=status,
        headers=info.get("headers"),
        request_id=ended.request_id,
        body=body,
        code=name,
    )


def _parsed(body):
    try:
        return json.loads(body)
    except ValueError:
        return None


def check(code, detail=0):
    """Raise what a function says with a negative `code`. `detail`: the result that it left to say why, or 0."""
    if code >= 0:
        return code
    name = native.name_of(code)
    message = native.text_of(native.result_message, detail) if detail else ""
    body = _parsed(native.text_of(native.result_json, detail)) if detail and code == native.E_BUDGET else None
    native.release(detail)
    if code == native.E_BUDGET:
        raise BudgetExceededError(message or name, body)
    raise ReveniumError(message or name, name)
