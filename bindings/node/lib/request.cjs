'use strict';
// What a user's params, request options and client options become: the text that the library takes.

const { merge } = require('./headers.cjs');

/** Options of the official client that would change how a request is made, and that this one has no way to honour. */
const UNSUPPORTED = [
  'fetch',
  'fetchOptions',
  'httpAgent',
  'middleware',
  'defaultQuery',
  'credentials',
  'config',
  'profile',
];

function checkOptions(options) {
  for (const name of UNSUPPORTED) {
    if (options[name] != null) {
      throw new TypeError(
        `The option ${name} is not supported here; give librevenium's fetch to the official client instead`,
      );
    }
  }
}

/** The body with the members that are for the library. `usageMetadata` is the same as `usage_metadata`, and wins. */
function body(params, client, options, stream) {
  const { usageMetadata, usage_metadata, revenium, ...rest } = params;
  return JSON.stringify({
    ...rest,
    stream: stream || undefined,
    usage_metadata: usageMetadata ? { ...usage_metadata, ...usageMetadata } : usage_metadata,
    revenium: { ...choices(client, options, stream), ...revenium },
  });
}

/** The choices for this one call; what is undefined stays as the settings say. */
function choices(client, options, stream) {
  const timeout = options.timeout ?? client.timeout;
  const credential = client.authToken ? { authorization: `Bearer ${client.authToken}` } : {};
  return {
    api_key: client.apiKey ?? undefined,
    base_url: client.baseURL ?? undefined,
    provider: client.provider ?? undefined,
    max_retries: options.maxRetries ?? client.maxRetries,
    // A stream may run for hours: there the timeout counts until the first answer, and the caller watches it.
    timeout_ms: stream || timeout === undefined ? undefined : Math.max(1, Math.round(timeout)),
    headers: merge(credential, client.defaultHeaders, options.headers),
  };
}

module.exports = { checkOptions, body };
