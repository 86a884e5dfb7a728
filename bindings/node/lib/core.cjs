'use strict';
// CORE: one completion queue for each thread. Frames that came are read in batches and given to their calls. Everything
// asynchronous in this package passes here.

const { AsyncLocalStorage } = require('node:async_hooks');
const { isMainThread } = require('node:worker_threads');
const { CODE, FRAME, FRAME_HEADER, TOPIC } = require('./constants.cjs');
const { native, out, taken } = require('./native.cjs');
const { check } = require('./errors.cjs').internal;
const scopes = require('./scopes.cjs').internal;
const { wake } = require('./wake.cjs');

/** What usage records name as their source. */
const MIDDLEWARE_SOURCE = 'revenium-anthropic-node';
/** Bytes read at a time, and how often in one turn of the event loop: timers and sockets have their turn in between. */
const READ_BYTES = 256 * 1024;
const READS_PER_TURN = 8;
/** Characters of one call's events: while more lies unread, the library reads no more of it from the network. */
const MAX_UNREAD = 256 * 1024;

/** Run things outside any request's asynchronous context, which would else live as long as they do. */
const outside = AsyncLocalStorage.snapshot();

/**
 * A call under way. `handler` has `result(ended)`, called exactly once, and if it wants what comes before,
 * `head(text)` and `events(kinds, texts)`.
 */
class Call {
  constructor(tag, handler) {
    this.tag = tag;
    this.handler = handler;
    this.handle = 0;
    this.unread = 0;
    this.paused = false;
  }

  /** So many characters lie there for a reader. */
  holds(characters) {
    this.unread += characters;
    if (this.unread <= MAX_UNREAD || this.paused || this.handle === 0) return;
    this.paused = true;
    native.call_pause(this.handle);
  }

  /** The reader has taken so many. */
  gave(characters) {
    this.unread -= characters;
    if (!this.paused || this.unread > MAX_UNREAD / 2) return;
    this.paused = false;
    if (this.handle !== 0) native.call_resume(this.handle);
  }

  /** Ask it to end. It still reports its result. Too late or twice is fine. */
  cancel() {
    if (this.handle !== 0) native.call_cancel(this.handle);
  }
}

/** tag → Call, for the calls under way. */
const calls = new Map();
/** `notify(frame, code, text)`: where LOG and METERING frames go. */
let notify = () => {};
let queue = null;
let lastTag = 0;
let started = false;
let closed = false;
/** The starts that this thread has made and not undone; `implicit`: one of them was its first call's. */
let inits = 0;
let implicit = false;

/** Start the library. `config`: its settings as an object. `runs`: it does so already. */
function init(config, runs) {
  begin(config);
  inits += 1;
  if (!implicit) return;
  // What the first call started belongs to whoever says so now.
  implicit = false;
  inits -= 1;
  if (runs) native.shutdown(0);
}

function begin(config = {}) {
  const text = Buffer.from(JSON.stringify({ middleware_source: MIDDLEWARE_SOURCE, ...config }));
  out[0] = 0n;
  const code = native.init(text, text.length, out);
  check(code, taken());
  started = true;
  closed = false;
}

/** Start the library from the environment, unless it runs: another thread may have started it, in its own way. */
function start() {
  if (closed) check(CODE.CLOSED);
  if (started) return;
  try {
    begin();
    inits = 1;
    implicit = true;
  } catch (error) {
    if (error.code !== 'REVENIUM_E_ALREADY') throw error;
    started = true;
  }
}

/**
 * Undo one start of this thread. `counted`: the library counts it. `last`: no call begins here any more, and those
 * under way are asked to end.
 */
function leave() {
  const counted = inits > 0;
  const last = started && inits <= 1;
  if (counted) inits -= 1;
  if (last) {
    implicit = false;
    started = false;
    closed = true;
    for (const call of calls.values()) call.cancel();
  }
  return { counted, last };
}

/**
 * Begin a call. Throws, and reports nothing, when the library refuses the request.
 * @param {string} request the body with the members `usage_metadata` and `revenium`
 * @param layer the scope layers that the call runs in, or undefined
 */
function submit(request, layer, handler) {
  const bytes = Buffer.from(request);
  return beginCall(handler, (tag) => {
    const scope = scopes.open(layer);
    out[0] = 0n;
    const code = native.messages_submit(bytes, bytes.length, scope, queue.handle, tag, out);
    const handle = taken();
    scopes.close(scope);
    return { code, handle };
  });
}

/** Ask Revenium's platform. Throws, and sends nothing, when the library refuses it. */
function ask(operation, params, handler) {
  const bytes = Buffer.from(params);
  const name = Buffer.from(`${operation}\0`);
  return beginCall(handler, (tag) => {
    out[0] = 0n;
    const code = native.platform_submit(name, bytes, bytes.length, queue.handle, tag, out);
    return { code, handle: taken() };
  });
}

/** A call that `submit(tag)` begins. */
function beginCall(handler, submit) {
  start();
  queue ??= outside(openQueue);
  const call = new Call(++lastTag, handler);
  const { code, handle } = submit(call.tag);
  check(code, handle);
  call.handle = handle;
  if (calls.size === 0) queue.wake.ref();
  calls.set(call.tag, call);
  return call;
}

function openQueue() {
  out[0] = 0n;
  const code = native.queue_new(out);
  const handle = taken();
  check(code, handle);
  // A worker that ends takes its calls with it. (The library itself ends with the process.)
  if (!isMainThread) process.once('exit', () => native.release(handle));
  return { handle, wake: wake(handle, drain), ...room(READ_BYTES), draining: false };
}

/** A buffer and the same bytes as words: frames are in host byte order. */
function room(size) {
  const memory = new ArrayBuffer(size);
  return { bytes: Buffer.from(memory), words: new Uint32Array(memory) };
}

function drain() {
  // The next turn is taken already.
  if (queue.draining) return;
  for (let reads = 0; reads < READS_PER_TURN; reads++) {
    const code = native.queue_read(queue.handle, queue.bytes, queue.bytes.length, 0, out);
    if (code === CODE.OK) deliver(taken());
    else if (code === CODE.BUFFER) Object.assign(queue, room(taken()));
    else return;
  }
  queue.draining = true;
  setImmediate(() => {
    queue.draining = false;
    drain();
  });
}

/** Give each frame in the first `used` bytes of the buffer to its call. */
function deliver(used) {
  for (let at = 0; at < used; ) {
    const first = at;
    const frame = frameAt(first);
    // The events of one call that lie together are handed over together: one by one they would cost it more.
    do at += sizeAt(at);
    while (frame === FRAME.EVENT && at < used && frameAt(at) === frame && tagAt(at) === tagAt(first));
    try {
      if (frame === FRAME.LOG || frame === FRAME.METERING) notify(frame, codeAt(first), textAt(first));
      else report(frame, first, at);
    } catch (error) {
      // A listener's mistake is its own; the frames behind this one are others'.
      queueMicrotask(() => {
        throw error;
      });
    }
  }
  // A large reply needed more: that room goes back.
  if (queue.bytes.length > READ_BYTES) Object.assign(queue, room(READ_BYTES));
}

/** Where the words of a frame lie, from its begin. */
const [SIZE, BODY_SIZE, TAG, KIND, NUMBER] = ['size', 'body_size', 'tag', 'frame', 'code'].map((name) => FRAME_HEADER[name] / 4);
const HEADER = FRAME_HEADER.bytes;

/** What the frame that begins at byte `at` says. */
const sizeAt = (at) => queue.words[at / 4 + SIZE];
const tagAt = (at) => queue.words[at / 4 + TAG] + queue.words[at / 4 + TAG + 1] * 2 ** 32;
const frameAt = (at) => queue.words[at / 4 + KIND];
const codeAt = (at) => queue.words[at / 4 + NUMBER] | 0;
const textAt = (at) => queue.bytes.toString('utf8', at + HEADER, at + HEADER + queue.words[at / 4 + BODY_SIZE]);

/** A frame of a call, or the events from byte `at` to `end`. */
function report(frame, at, end) {
  const call = calls.get(tagAt(at));
  if (call === undefined) return;
  if (frame === FRAME.EVENT) events(call.handler, at, end);
  else if (frame === FRAME.HEAD) call.handler.head?.(textAt(at));
  else if (frame === FRAME.RESULT) result(call, codeAt(at), textAt(at));
}

function events(handler, at, end) {
  if (!handler.events) return;
  const kinds = [];
  const texts = [];
  for (; at < end; at += sizeAt(at)) {
    kinds.push(codeAt(at));
    texts.push(textAt(at));
  }
  handler.events(kinds, texts);
}

function result(call, code, body) {
  calls.delete(call.tag);
  if (calls.size === 0) queue.wake.unref();
  const ended = {
    code,
    body,
    info: native.result_info(call.handle, null),
    requestId: native.result_request_id(call.handle, null),
    message: code === CODE.OK ? '' : native.result_message(call.handle, null),
  };
  native.release(call.handle);
  call.handle = 0;
  call.handler.result(ended);
}

/** Receive LOG frames up to `level` (0: none) and METERING frames. */
function subscribe(listener, level, metering) {
  notify = listener;
  queue ??= outside(openQueue);
  const topics = (level > 0 ? TOPIC.LOG : 0) | (metering ? TOPIC.METERING : 0);
  check(native.queue_subscribe(queue.handle, topics, level));
}

/** How many calls of this thread have not reported their result. */
const underWay = () => calls.size;

module.exports = { init, start, submit, ask, subscribe, leave, underWay };
