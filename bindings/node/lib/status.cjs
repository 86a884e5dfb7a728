'use strict';
// The library as a whole: start, state, flush, end, and what it has to say.

const { setTimeout: sleep } = require('node:timers/promises');
const { native, CODE, FRAME, out, taken } = require('./native.cjs');
const { check } = require('./errors.cjs').internal;
const core = require('./core.cjs');

const LEVELS = { error: 1, warn: 2, info: 3, debug: 4 };
const PROVIDERS = [null, 'anthropic', 'bedrock'];
const METERING = ['off', 'on', 'selective'];

/** sizeof(revenium_state), and its 64-bit counters in order. */
const STATE_BYTES = 80;
const COUNTERS = [
  'callsInFlight',
  'callsStarted',
  'callsFailed',
  'eventsPending',
  'eventsDelivered',
  'eventsRetried',
  'eventsDropped',
];

/** Waiting is done in slices of the event loop, longer and longer. */
const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 50;
const HURRY_MS = 1000;

function init(config) {
  core.init(config, isRunning());
}

function isInitialized() {
  return native.is_initialized() === 1;
}

/** revenium_state as it lies in memory, or the code that says why not. */
function read() {
  const memory = new ArrayBuffer(STATE_BYTES);
  const words = new Int32Array(memory);
  words[0] = STATE_BYTES;
  const code = native.status(words);
  return { code, words, counters: Array.from(new BigInt64Array(memory, 16, COUNTERS.length), Number) };
}

function status() {
  const { code, words, counters } = read();
  check(code);
  const state = {
    initialized: words[1] === 1,
    provider: PROVIDERS[words[2]] ?? null,
    metering: METERING[words[3]] ?? 'off',
  };
  for (const [at, name] of COUNTERS.entries()) state[name] = counters[at];
  state.lastError = words[18] === 0 ? null : native.code_name(words[18]);
  state.lastHttpStatus = words[19] === 0 ? null : words[19];
  return state;
}

function statusJson() {
  out[0] = 0n;
  const code = native.status_json(out);
  const result = taken();
  check(code, result);
  try {
    return JSON.parse(native.result_json(result, null));
  } finally {
    native.release(result);
  }
}

async function flush(timeoutMs = 5000) {
  check(read().code);
  return delivered(Date.now() + timeoutMs);
}

/** Wait until no record is pending. The library is asked to hurry only now and then: each time it tries all again. */
function delivered(deadline) {
  let hurryAt = 0;
  return until(deadline, () => {
    if (Date.now() >= hurryAt) {
      hurryAt = Date.now() + HURRY_MS;
      if (native.flush(0) !== CODE.TIMEOUT) return true;
    }
    return read().counters[COUNTERS.indexOf('eventsPending')] === 0;
  });
}

/** The end that was begun last: who asks once more waits for the same. */
let ending = Promise.resolve(true);

async function shutdown(timeoutMs = 5000) {
  const { counted, last } = core.leave();
  if (last) ending = end(counted, Date.now() + timeoutMs);
  else if (counted) native.shutdown(0);
  return ending;
}

async function end(counted, deadline) {
  const idle = await until(deadline, () => core.underWay() === 0);
  const flushed = await delivered(deadline);
  // All that takes time is done, or its time is up. The last start of the process to be undone stops the threads.
  const code = counted ? native.shutdown(0) : CODE.OK;
  return idle && flushed && code !== CODE.TIMEOUT;
}

function isRunning() {
  const { code, words } = read();
  return code === CODE.OK && words[1] === 1;
}

/** Ask until `done` says yes: true, or the time is up: false. */
async function until(deadline, done) {
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
    if (done()) return true;
    const left = deadline - Date.now();
    if (left <= 0) return false;
    await sleep(Math.min(pause, left));
  }
}

/** Listeners with the level that each wants. */
const logListeners = new Map();
const meteringListeners = new Set();

function onLog(listener, level = 'info') {
  if (!Object.hasOwn(LEVELS, level)) throw new TypeError(`level must be one of ${Object.keys(LEVELS).join(', ')}`);
  const entry = { listener, level: LEVELS[level] };
  logListeners.set(entry, entry.level);
  subscribe();
  return () => {
    if (logListeners.delete(entry)) subscribe();
  };
}

function onMetering(listener) {
  const entry = { listener };
  meteringListeners.add(entry);
  subscribe();
  return () => {
    if (meteringListeners.delete(entry)) subscribe();
  };
}

function subscribe() {
  core.subscribe(notify, Math.max(0, ...logListeners.values()), meteringListeners.size > 0);
}

function notify(frame, code, text) {
  if (frame === FRAME.METERING) {
    const report = JSON.parse(text);
    for (const { listener } of meteringListeners) listener(report);
    return;
  }
  const name = Object.keys(LEVELS)[code - 1];
  for (const { listener, level } of logListeners.keys()) {
    if (code <= level) listener(name, text);
  }
}

module.exports = { init, isInitialized, status, statusJson, flush, shutdown, onLog, onMetering };
