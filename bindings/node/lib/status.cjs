'use strict';
// The library as a whole: start, state, flush, end, and what it has to say.

const os = require('node:os');
const { setTimeout: sleep } = require('node:timers/promises');
const { CODE, FRAME, LOG, PROVIDER, STATE } = require('./constants.cjs');
const { native, out, taken } = require('./native.cjs');
const { check } = require('./errors.cjs').internal;
const core = require('./core.cjs');

/** The library writes in the order of this machine. */
const LITTLE = os.endianness() === 'LE';
const lowered = (numbers) => Object.fromEntries(Object.entries(numbers).map(([name, number]) => [name.toLowerCase(), number]));
const LEVELS = lowered(LOG);
const PROVIDERS = { [PROVIDER.ANTHROPIC]: 'anthropic', [PROVIDER.BEDROCK]: 'bedrock' };
const METERING = ['off', 'on', 'selective'];

/** The counters of the state, and what they are called here. */
const COUNTERS = Object.keys(STATE)
  .filter((member) => /^(calls|events)_/.test(member))
  .map((member) => [member, member.replaceAll(/_./g, ([, letter]) => letter.toUpperCase())]);

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
  const memory = new DataView(new ArrayBuffer(STATE.bytes));
  const number = (member) => memory.getInt32(STATE[member], LITTLE);
  memory.setUint32(STATE.struct_size, STATE.bytes, LITTLE);
  const code = native.status(memory.buffer);
  return { code, number, counter: (member) => Number(memory.getBigInt64(STATE[member], LITTLE)) };
}

function status() {
  const { code, number, counter } = read();
  check(code);
  const state = {
    initialized: number('initialized') === 1,
    provider: PROVIDERS[number('provider')] ?? null,
    metering: METERING[number('metering')] ?? 'off',
  };
  for (const [member, name] of COUNTERS) state[name] = counter(member);
  state.lastError = number('last_error') === 0 ? null : native.code_name(number('last_error'));
  state.lastHttpStatus = number('last_http_status') || null;
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
    return read().counter('events_pending') === 0;
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
  const { code, number } = read();
  return code === CODE.OK && number('initialized') === 1;
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
