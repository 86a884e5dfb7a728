// The same as index.cjs, by name for `import`. A test compares the two lists.

import Anthropic from './index.cjs';

export default Anthropic;
export const {
  Stream,
  MessageStream,
  createFetch,
  fetch,
  withUsageMetadata,
  meter,
  version,
  abiVersion,
  init,
  isInitialized,
  status,
  statusJson,
  flush,
  shutdown,
  onLog,
  onMetering,
  AnthropicError,
  ReveniumError,
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
} = Anthropic;
export { Anthropic };
