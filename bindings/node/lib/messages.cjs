'use strict';
// `client.messages`: what the official SDK calls Messages.

const core = require('./core.cjs');
const { CODE, EVENT } = require('./constants.cjs');
const { APIUserAbortError, APIConnectionTimeoutError, APIConnectionError, internal } = require('./errors.cjs');
const scopes = require('./scopes.cjs').internal;
const { ofResponse } = require('./headers.cjs');
const { Inbox, Stream } = require('./stream.cjs');
const { MessageStream } = require('./message-stream.cjs');
const request = require('./request.cjs');
const { tidy } = require('./usage.cjs');

class Messages {
  #client;

  constructor(client) {
    this.#client = client;
  }

  /** Send a message: a promise of the reply, or with `stream: true` of a Stream. */
  create(params, options = {}) {
    const layer = scopes.current();
    return APIPromise.of(params.stream ? this.#stream(params, options, layer) : this.#reply(params, options, layer));
  }

  /** Send a message and follow the reply with listeners, promises or iteration. */
  stream(params, options = {}) {
    const layer = scopes.current();
    return new MessageStream(async (signal) => {
      const { data, whole } = await this.#stream(params, options, layer, signal);
      return { stream: data, ended: whole };
    });
  }

  async #reply(params, options, layer) {
    const text = request.body(params, this.#client, await this.#client.keyForCall(), options, false);
    const { body, info, requestId } = await new Promise((resolve, reject) => {
      let call = null;
      const forget = onAbort(options.signal, () => {
        call?.cancel();
        reject(new APIUserAbortError());
      });
      if (options.signal?.aborted) return;
      call = begin(text, scopes.at(this.#client.baseURL, layer), [forget], {
        // A long reply is streamed underneath; only the whole of it counts here.
        result(ended) {
          forget();
          if (ended.code === CODE.OK) resolve(ended);
          else reject(failure(ended));
        },
      });
    });
    const data = parse(body);
    tidy(data.usage);
    return { data: withRequestId(data, requestId), info };
  }

  /** `signal`: another one beside that of the options. */
  async #stream(params, options, layer, signal) {
    const text = request.body(params, this.#client, await this.#client.keyForCall(), options, true);
    const timeout = options.timeout ?? this.#client.timeout;
    const controller = new AbortController();
    let call = null;
    const inbox = new Inbox((texts) => call.gave(lengthOf(texts)));
    const whole = deferred();
    return new Promise((resolve, reject) => {
      let timer;
      const stop = (error, iterationError) => {
        clearTimeout(timer);
        call?.cancel();
        reject(error);
        whole.reject(error);
        inbox.end(iterationError);
      };
      const forgets = [
        onAbort(options.signal, () => controller.abort()),
        onAbort(signal, () => controller.abort()),
        // Aborting before the answer rejects; afterwards the iteration ends quietly, as in the official SDK.
        onAbort(controller.signal, () => stop(new APIUserAbortError(), null)),
      ];
      if (controller.signal.aborted) return;
      call = begin(text, scopes.at(this.#client.baseURL, layer), forgets, {
        head(head) {
          clearTimeout(timer);
          resolve({ data: Stream.ofInbox(inbox, controller), info: head, whole: whole.promise });
        },
        events(kinds, texts) {
          const wanted = texts.filter((_, at) => kinds[at] !== EVENT.PING);
          call.holds(lengthOf(wanted));
          inbox.push(wanted);
        },
        result(ended) {
          for (const forget of forgets) forget();
          if (ended.code !== CODE.OK) {
            const error = failure(ended);
            stop(error, error);
            return;
          }
          whole.resolve(ended);
          inbox.end();
        },
      });
      if (timeout !== undefined) timer = setTimeout(() => stop(new APIConnectionTimeoutError()), timeout).unref();
    });
  }
}

/** Begin a call; when it is refused, nothing is left behind. */
function begin(text, layer, forgets, handler) {
  try {
    return core.submit(text, layer, handler);
  } catch (error) {
    for (const forget of forgets) forget();
    throw error;
  }
}

const lengthOf = (texts) => texts.reduce((sum, text) => sum + text.length, 0);

function failure(ended) {
  return internal.ofCall({ ...ended, info: JSON.parse(ended.info) });
}

/** A promise to be settled from outside; nobody need wait for it. */
function deferred() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  made.promise.catch(() => {});
  return made;
}

/** Call `listener` once when `signal` aborts, at once if it has; gives a function that forgets it. */
function onAbort(signal, listener) {
  if (!signal) return () => {};
  if (signal.aborted) listener();
  else signal.addEventListener('abort', listener, { once: true });
  return () => signal.removeEventListener('abort', listener);
}

function parse(body) {
  try {
    return JSON.parse(body);
  } catch (cause) {
    throw new APIConnectionError({ message: 'The reply is not JSON.', cause });
  }
}

/** As the official SDK does, beside the reply's own members. */
function withRequestId(data, requestId) {
  return Object.defineProperty(data, '_request_id', { value: requestId || null, enumerable: false, configurable: true });
}

/** A promise that can also give the response's head. */
class APIPromise extends Promise {
  /** As text: few users ask. */
  #info;

  /** `begun`: a promise of `{ data, info }`. */
  static of(begun) {
    const promise = new APIPromise((resolve, reject) => {
      begun.then(({ data, info }) => {
        promise.#info = info;
        resolve(data);
      }, reject);
    });
    return promise;
  }

  static get [Symbol.species]() {
    return Promise;
  }

  /** The status and headers; the body is read already. */
  async asResponse() {
    await this;
    const { http_status: status, headers } = JSON.parse(this.#info);
    return new Response(null, { status, headers: ofResponse(headers) });
  }

  /** What the library knows about a reply beside its content. Of a stream: what was known when it began. */
  async withInfo() {
    const data = await this;
    return { data, info: JSON.parse(this.#info) };
  }

  async withResponse() {
    const [data, response] = [await this, await this.asResponse()];
    return { data, response, request_id: response.headers.get('request-id') };
  }
}

module.exports = { Messages };
