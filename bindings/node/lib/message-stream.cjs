'use strict';
// `client.messages.stream()`: a reply as it grows, by listeners, by promise or by iteration.

const { AnthropicError, APIUserAbortError } = require('./errors.cjs');
const { Inbox, Stream } = require('./stream.cjs');
const snapshots = require('./snapshot.cjs');
const { tidy } = require('./usage.cjs');

class MessageStream {
  #listeners = new Map();
  #snapshot;
  #info;
  #ended = false;
  #errored = false;
  #aborted = false;
  /** Somebody will see an error, so it need not be reported as unhandled. */
  #watched = false;
  #done;

  /** `open(signal)` begins the call: `{ stream, ended }`, the latter a promise of how the library says it ended. */
  constructor(open) {
    this.controller = new AbortController();
    this.receivedMessages = [];
    this.#done = new Promise((resolve, reject) => {
      // Listeners that are added right after the construction miss nothing.
      queueMicrotask(() => this.#run(open).then(resolve, reject));
    });
    this.#done.catch(() => {});
  }

  async #run(open) {
    try {
      const { stream, ended } = await open(this.controller.signal);
      this.#emit('connect');
      for await (const event of stream) this.#take(event);
      if (stream.controller.signal.aborted) throw new APIUserAbortError();
      const { body, info } = await ended;
      this.#info = info;
      const whole = JSON.parse(body);
      tidy(whole.usage);
      this.receivedMessages.push(whole);
      this.#emit('message', whole);
      this.#emit('finalMessage', whole);
    } catch (error) {
      this.#fail(error);
      throw error;
    } finally {
      this.#ended = true;
      this.#emit('end');
    }
  }

  #fail(error) {
    this.#errored = true;
    this.controller.abort();
    this.#aborted = error instanceof APIUserAbortError;
    const event = this.#aborted ? 'abort' : 'error';
    if (!this.#watched && !this.#listeners.get(event)?.length) Promise.reject(error);
    this.#emit(event, error);
  }

  #take(event) {
    this.#snapshot = snapshots.apply(this.#snapshot, event);
    this.#emit('rawEvent', event);
    const snapshot = this.#snapshot;
    if (snapshot === undefined) return;
    this.#emit('streamEvent', event, snapshot);
    const block = snapshot.content[event.index];
    if (event.type === 'content_block_stop' && block) this.#emit('contentBlock', block);
    if (event.type === 'content_block_delta' && event.delta && block) this.#grew(event.delta, block);
  }

  #grew(delta, block) {
    switch (delta.type) {
      case 'text_delta':
        return this.#emit('text', delta.text, block.text);
      case 'thinking_delta':
        return this.#emit('thinking', delta.thinking, block.thinking);
      case 'signature_delta':
        return this.#emit('signature', block.signature);
      case 'citations_delta':
        return this.#emit('citation', delta.citation, block.citations);
      case 'input_json_delta':
        // Read only if somebody listens.
        if (!this.#listeners.get('inputJson')?.length) return;
        return this.#emit('inputJson', delta.partial_json, snapshots.inputSoFar(block));
    }
  }

  #emit(event, ...values) {
    for (const entry of [...(this.#listeners.get(event) ?? [])]) {
      if (entry.once) this.#remove(event, entry);
      entry.listener(...values);
    }
  }

  #add(event, listener, once) {
    if (!this.#listeners.has(event)) this.#listeners.set(event, []);
    this.#listeners.get(event).push({ listener, once });
    return this;
  }

  #remove(event, entry) {
    const entries = this.#listeners.get(event) ?? [];
    const at = entries.indexOf(entry);
    if (at >= 0) entries.splice(at, 1);
  }

  on(event, listener) {
    return this.#add(event, listener, false);
  }

  once(event, listener) {
    return this.#add(event, listener, true);
  }

  off(event, listener) {
    this.#remove(event, this.#listeners.get(event)?.find((entry) => entry.listener === listener));
    return this;
  }

  /** The values of the next `event`: nothing, the one, or all in an array. Rejects if the stream fails before. */
  emitted(event) {
    this.#watched = true;
    return new Promise((resolve, reject) => {
      if (event !== 'error') this.once('error', reject);
      if (event !== 'abort') this.once('abort', reject);
      this.once(event, (...values) => resolve(values.length > 1 ? values : values[0]));
    });
  }

  /** Resolves when the stream has ended well; rejects with its error. */
  async done() {
    this.#watched = true;
    await this.#done;
  }

  async finalMessage() {
    await this.done();
    return this.receivedMessages.at(-1);
  }

  async finalText() {
    const { content } = await this.finalMessage();
    const texts = content.filter((block) => block.type === 'text').map((block) => block.text);
    if (texts.length === 0) throw new AnthropicError('stream ended without producing a content block with type=text');
    return texts.join(' ');
  }

  /** What the library knows about the reply beside its content. */
  async finalInfo() {
    await this.done();
    return JSON.parse(this.#info);
  }

  /** End the call. What was used until then is metered. */
  abort() {
    this.controller.abort();
  }

  get ended() {
    return this.#ended;
  }

  get errored() {
    return this.#errored;
  }

  get aborted() {
    return this.#aborted;
  }

  /** The message as far as it has come. */
  get currentMessage() {
    return this.#ended ? undefined : this.#snapshot;
  }

  [Symbol.asyncIterator]() {
    const inbox = new Inbox();
    this.on('rawEvent', (event) => inbox.push(event));
    this.on('end', () => inbox.end());
    this.on('error', (error) => inbox.end(error));
    this.on('abort', (error) => inbox.end(error));
    if (this.#ended) inbox.end();
    const events = inbox[Symbol.asyncIterator]();
    return {
      next: () => events.next(),
      // A reader that leaves early ends the call.
      return: async () => {
        this.#watched = true;
        this.abort();
        return { value: undefined, done: true };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  toReadableStream() {
    return new Stream(() => this[Symbol.asyncIterator](), this.controller).toReadableStream();
  }
}

module.exports = { MessageStream };
