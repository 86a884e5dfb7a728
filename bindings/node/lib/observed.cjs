'use strict';
// Calls that something else makes: metered as if this library had made them. Nothing here waits, and no record is lost
// when a process ends right after.

const core = require('./core.cjs');
const { check } = require('./errors.cjs').internal;
const { native, out, taken } = require('./native.cjs');
const scopes = require('./scopes.cjs').internal;

/** Names as they are here → as the library has them. */
const MEMBERS = {
  request: 'request',
  response: 'response',
  events: 'events',
  error: 'error',
  provider: 'provider',
  model: 'model',
  region: 'region',
  streamed: 'streamed',
  startedAt: 'started_at',
  durationMs: 'duration_ms',
  timeToFirstTokenMs: 'time_to_first_token_ms',
  attempts: 'attempts',
  usageMetadata: 'usage_metadata',
};

function textOf(call) {
  const told = {};
  for (const [name, value] of Object.entries(call)) {
    if (value !== undefined) told[MEMBERS[name] ?? name] = value instanceof Date ? value.getTime() : value;
  }
  return JSON.stringify(told);
}

/** Meter a call that is over and that this library did not make. */
const record = (call) => recordText(textOf(call), scopes.current());

/** Meter one line of a Message Batch's results, once, however often the results are read. */
const recordBatchResult = (batchId, line) =>
  recordText(batchText(batchId, typeof line === 'string' ? line : JSON.stringify(line)), scopes.current());

/** The line with our members in front of its own: its values keep their text. */
function batchText(batchId, line) {
  const start = line.indexOf('{') + 1;
  const comma = /^\s*\}\s*$/.test(line.slice(start)) ? '' : ',';
  return `{"batch":true,"batch_id":${JSON.stringify(batchId)}${comma}${line.slice(start)}`;
}

/** Meter one use of a tool. `event`: its `toolId`, and what else the library takes. */
const toolEvent = (event) => recordText(JSON.stringify(event), scopes.current(), native.tool_event);

/** Run a tool and meter it: how long it took, and whether it failed. Gives what the tool gives, a promise or a value. */
function meterTool(toolId, tool, more = {}) {
  const layer = scopes.current();
  const begun = Date.now();
  const from = performance.now();
  const tell = (failure) => {
    const event = { toolId, timestamp: begun, durationMs: performance.now() - from, ...more };
    try {
      if (failure !== undefined) {
        event.errorType = String(failure.name ?? 'Error');
        event.errorMessage = String(failure.message ?? failure);
      }
      recordText(JSON.stringify(event), layer, native.tool_event);
    } catch (error) {
      // Metering changes nothing of what the tool gave.
      process.emitWarning(`a tool event was not metered: ${error.message}`, { type: 'ReveniumWarning', code: error.code });
    }
  };
  const failed = (failure) => {
    tell(failure ?? new Error('unknown'));
    throw failure;
  };
  const done = (value) => {
    tell(undefined);
    return value;
  };
  let value;
  try {
    value = tool();
  } catch (failure) {
    return failed(failure);
  }
  return typeof value?.then === 'function' ? value.then(done, failed) : done(value);
}

function recordText(text, layer, make = native.record) {
  const made = within(text, layer, make);
  const { metered, transaction_id: transactionId } = JSON.parse(native.result_info(made, null));
  native.release(made);
  return { metered, transactionId };
}

/** Whether a call would be refused by a budget: JSON. Throws if it would. Never waits. */
function checkBudget(text, layer) {
  const made = within(text, layer, native.budget_check);
  const told = native.result_json(made, null);
  native.release(made);
  return told;
}

/** The handle that `make` makes of `text` in the scope of `layer`. */
function within(text, layer, make) {
  core.start();
  const bytes = Buffer.from(text);
  const scope = scopes.open(layer);
  out[0] = 0n;
  const code = make(bytes, bytes.length, scope, out);
  const handle = taken();
  scopes.close(scope);
  check(code, handle);
  return handle;
}

/** Those that nobody ended and nobody holds any more. */
const forgotten = new FinalizationRegistry((handle) => native.release(handle));

/** A call that something else is making. One that is closed, or forgotten, before its end was cancelled. */
class Tap {
  #handle;

  /** `call`: what is known of it, or that as JSON. `layer`: the scope it is in. */
  constructor(call, layer = scopes.current()) {
    this.#handle = within(typeof call === 'string' ? call : textOf(call), layer, native.tap_new);
    forgotten.register(this, this.#handle, this);
  }

  /** More bytes of the reply's body, without its content coding. */
  write(bytes) {
    if (this.#handle === 0) return;
    const chunk = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
    if (chunk.length > 0) native.tap_write(this.#handle, chunk, chunk.length);
  }

  /** The reply is over: whole, or as `{ status, error }` says. The first of `end` and `close` counts. */
  end(ending = null) {
    if (this.#handle === 0) return;
    const text = ending === null ? null : Buffer.from(JSON.stringify(ending));
    native.tap_end(this.#handle, text, text?.length ?? 0);
    this.close();
  }

  /** The call was given up, unless it has ended. */
  close() {
    const handle = this.#handle;
    this.#handle = 0;
    forgotten.unregister(this);
    native.release(handle);
  }
}

module.exports = { record, recordBatchResult, toolEvent, meterTool, Tap, internal: { batchText, recordText, checkBudget } };
