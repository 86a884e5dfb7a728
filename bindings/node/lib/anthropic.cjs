'use strict';
// The client, with the options of the official one.

const { Messages } = require('./messages.cjs');
const request = require('./request.cjs');
const { AnthropicError } = require('./errors.cjs');

class Anthropic {
  #apiKey;

  constructor(options = {}) {
    request.checkOptions(options);
    if (options.apiKey != null && options.authToken != null) {
      throw new TypeError('Pass at most one of apiKey and authToken.');
    }
    this.#apiKey = options.apiKey ?? null;
    this.options = options;
    this.baseURL = options.baseURL ?? null;
    this.authToken = options.authToken ?? null;
    this.timeout = options.timeout;
    this.maxRetries = options.maxRetries;
    this.provider = options.provider ?? null;
    this.defaultHeaders = options.defaultHeaders;
    this.messages = new Messages(this);
    // A key that is printed with the client is a key in a log.
    Object.defineProperty(this, 'options', { enumerable: false });
    Object.defineProperty(this, 'authToken', { enumerable: false });
    Object.defineProperty(this, 'defaultHeaders', { enumerable: false });
  }

  get apiKey() {
    return typeof this.#apiKey === 'string' ? this.#apiKey : null;
  }

  /** The same client with other options. */
  withOptions(options) {
    const { apiKey, authToken, ...rest } = this.options;
    // A new credential of either kind takes the place of the old one.
    const kept = options.apiKey != null || options.authToken != null ? {} : { apiKey, authToken };
    return new this.constructor({ ...rest, ...kept, ...options });
  }

  /** The key for one call, or a promise of it: a function is asked for each call. */
  keyForCall() {
    return typeof this.#apiKey === 'function' ? made(this.#apiKey) : this.#apiKey;
  }
}

async function made(apiKey) {
  const key = await apiKey();
  if (typeof key === 'string' && key !== '') return key;
  throw new AnthropicError('The `apiKey` function must return a non-empty string.');
}

module.exports = { Anthropic };
