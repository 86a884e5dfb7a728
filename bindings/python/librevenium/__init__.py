"""Call Claude with every call metered to Revenium: who it was for, which model, how many tokens, how long.

The official SDK, metered:      anthropic.Anthropic(http_client=librevenium.http_client())
The same names without it:      librevenium.Anthropic(), librevenium.AsyncAnthropic(), librevenium.messages
What a call is for:             with librevenium.usage_metadata(organizationName="Acme"): ...
"""

from . import _native
from ._errors import (
    AnthropicError,
    APICancelledError,
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ConflictError,
    InternalServerError,
    NotFoundError,
    OverloadedError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
    RequestTooLargeError,
    ReveniumError,
    UnprocessableEntityError,
)
from ._library import Status, aflush, ashutdown, flush, init, is_initialized, shutdown, status, status_json
from ._messages import (
    Anthropic,
    AsyncAnthropic,
    AsyncMessages,
    AsyncMessageStream,
    AsyncStream,
    Messages,
    MessageStream,
    Stream,
)
from ._objects import Message
from ._observed import Recorded, Tap, meter_tool, record, record_batch_result, tool_event
from ._platform import (
    async_budgets,
    async_economics,
    async_jobs,
    async_platform,
    budgets,
    economics,
    job,
    jobs,
    platform,
    verify_webhook,
)
from ._scopes import meter, usage_metadata
from ._transport import async_http_client, http_client

# Of the loaded library, and the ABI version that this package was made for.
__version__ = version = _native.version().decode()
abi_version = _native.ABI

messages = Messages()
async_messages = AsyncMessages()

__all__ = [
    "APICancelledError",
    "APIConnectionError",
    "APIError",
    "APIStatusError",
    "APITimeoutError",
    "Anthropic",
    "AnthropicError",
    "AsyncAnthropic",
    "AsyncMessageStream",
    "AsyncMessages",
    "AsyncStream",
    "AuthenticationError",
    "BadRequestError",
    "BudgetExceededError",
    "ConflictError",
    "InternalServerError",
    "Message",
    "MessageStream",
    "Messages",
    "NotFoundError",
    "OverloadedError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "RateLimitError",
    "Recorded",
    "RequestTimeoutError",
    "RequestTooLargeError",
    "ReveniumError",
    "Status",
    "Stream",
    "Tap",
    "UnprocessableEntityError",
    "abi_version",
    "aflush",
    "ashutdown",
    "async_budgets",
    "async_economics",
    "async_http_client",
    "async_jobs",
    "async_messages",
    "async_platform",
    "budgets",
    "economics",
    "flush",
    "http_client",
    "init",
    "is_initialized",
    "job",
    "jobs",
    "messages",
    "meter",
    "meter_tool",
    "platform",
    "record",
    "record_batch_result",
    "shutdown",
    "status",
    "status_json",
    "tool_event",
    "usage_metadata",
    "verify_webhook",
    "version",
]
