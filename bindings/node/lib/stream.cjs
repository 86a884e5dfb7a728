'use strict';
// A streamed reply as an iterable of events: what `create({ stream: true })` gives.

const { AnthropicError } = require('./errors.cjs');

/** Events on their way from the queue to one reader. */
class Inbox {
  #items = [];
  #ended = false;
  #error = null;
  #wake = null;
  #taken;

  /** `taken(item)`: called when the reader takes it. */
  constructor(taken = () => {}) {
    this.#taken = taken;
  }

  push(item) {
    if (this.#ended) return;
    this.#items.push(item);
    this.#wake?.();
  }

  /** Nothing follows. `error`: what the reader gets after the items that came before. */
  end(error = null) {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator]() {
    for (;;) {
      const items = this.#items;
      this.#items = [];
      for (const item of items) {
        this.#taken(item);
        yield item;
      }
      if (this.#items.length > 0) continue;
      if (this.#error) throw this.#error;
      if (this.#ended) return;
      await new Promise((resolve) => (this.#wake = resolve));
      this.#wake = null;
    }
  }
}

class Stream {
  #iterate;

  /** `iterate` is called once and gives an async iterator of events. */
  constructor(iterate, controller) {
    this.#iterate = iterate;
    this.controller = controller;
  }

  /** The stream of a call: `inbox` has arrays of events as text. Leaving early ends the call. */
  static ofInbox(inbox, controller) {
    let consumed = false;
    async function* iterate() {
      if (consumed) throw new AnthropicError('Cannot iterate over a consumed stream; `.tee()` makes two of it.');
      consumed = true;
      let whole = false;
      try {
        for await (const texts of inbox) {
          // Much quicker than one by one, and as safe: the library passes on nothing but whole JSON objects.
          for (const event of JSON.parse(`[${texts.join()}]`)) yield event;
        }
        whole = true;
      } finally {
        if (!whole) controller.abort();
      }
    }
    return new Stream(iterate, controller);
  }

  [Symbol.asyncIterator]() {
    return this.#iterate();
  }

  /** Two streams of the same events, each read at its own pace. */
  tee() {
    const iterator = this.#iterate();
    const waiting = [[], []];
    const half = (mine) => async function* () {
      for (;;) {
        if (mine.length === 0) {
          const next = iterator.next();
          for (const queue of waiting) queue.push(next);
        }
        const { value, done } = await mine.shift();
        if (done) return;
        yield value;
      }
    };
    return waiting.map((mine) => new Stream(half(mine), this.controller));
  }

  /** The events as lines of JSON, to be sent on. */
  toReadableStream() {
    const encoder = new TextEncoder();
    const iterator = this[Symbol.asyncIterator]();
    return new ReadableStream({
      async pull(controller) {
        const { value, done } = await iterator.next();
        if (done) controller.close();
        else controller.enqueue(encoder.encode(`${JSON.stringify(value)}\n`));
      },
      async cancel() {
        await iterator.return?.();
      },
    });
  }
}

module.exports = { Stream, Inbox };
