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
function body(params, client, apiKey, options, stream) {
  const { usageMetadata, usage_metadata } = params;
  // V8 takes several times longer to build a literal with members behind a spread.
  const whole = Object.assign({}, params, {
    stream: stream || undefined,
    usageMetadata: undefined,
    usage_metadata: usageMetadata ? { ...usage_metadata, ...usageMetadata } : usage_metadata,
    revenium: Object.assign(choices(client, apiKey, options, stream), params.revenium),
  });
  // A call that chooses nothing is sent as it came: the library has nothing to take out.
  if (Object.values(whole.revenium).every((choice) => choice === undefined)) whole.revenium = undefined;
  return JSON.stringify(whole);
}

/** The choices for this one call but its base URL, which is the scope's; what is undefined stays as the settings say. */
function choices(client, apiKey, options, stream) {
  const timeout = options.timeout ?? client.timeout;
  const credential = client.authToken ? { authorization: `Bearer ${client.authToken}` } : undefined;
  const layers = [credential, client.defaultHeaders, options.headers];
  return {
    api_key: apiKey ?? undefined,
    provider: client.provider ?? undefined,
    max_retries: options.maxRetries ?? client.maxRetries,
    // A stream may run for hours: there the timeout counts until the first answer, and the caller watches it.
    timeout_ms: stream || timeout === undefined ? undefined : Math.max(1, Math.round(timeout)),
    headers: layers.some(Boolean) ? merge(...layers) : undefined,
  };
}

module.exports = { checkOptions, body };
