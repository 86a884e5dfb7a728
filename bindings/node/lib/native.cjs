'use strict';
// NATIVE: the functions of revenium.h that this binding uses. Nothing else knows C.
// Only what returns at once is declared: no callback comes from a foreign thread, and nothing blocks the event loop.

const koffi = require('koffi');
const { ABI } = require('./constants.cjs');
const { find } = require('./locate.cjs');

/** Result, then parameters. `void *` takes bytes to be read or filled; handles and tags fit a Number. */
const FUNCTIONS = {
  revenium_version: ['str'],
  revenium_abi_version: ['uint32'],
  revenium_code_name: ['str', 'int32'],

  revenium_init: ['int32', 'void *', 'size_t', 'void *'],
  revenium_flush: ['int32', 'int32'],
  revenium_shutdown: ['int32', 'int32'],
  revenium_is_initialized: ['int32'],
  revenium_status: ['int32', 'void *'],
  revenium_status_json: ['int32', 'void *'],
  revenium_release: ['int32', 'uint64'],

  revenium_scope_new: ['int32', 'uint64', 'void *', 'size_t', 'uint32', 'void *'],

  revenium_messages_submit: ['int32', 'void *', 'size_t', 'uint64', 'uint64', 'uint64', 'void *'],
  revenium_call_cancel: ['int32', 'uint64'],
  revenium_call_pause: ['int32', 'uint64'],
  revenium_call_resume: ['int32', 'uint64'],

  revenium_record: ['int32', 'void *', 'size_t', 'uint64', 'void *'],
  revenium_tool_event: ['int32', 'void *', 'size_t', 'uint64', 'void *'],
  revenium_tap_new: ['int32', 'void *', 'size_t', 'uint64', 'void *'],
  revenium_tap_write: ['int32', 'uint64', 'void *', 'size_t'],
  revenium_tap_end: ['int32', 'uint64', 'void *', 'size_t'],
  revenium_platform_submit: ['int32', 'void *', 'void *', 'size_t', 'uint64', 'uint64', 'void *'],
  revenium_budget_check: ['int32', 'void *', 'size_t', 'uint64', 'void *'],
  revenium_webhook_verify: ['int32', 'void *', 'size_t', 'void *', 'void *', 'void *', 'size_t', 'int32'],

  revenium_queue_new: ['int32', 'void *'],
  revenium_queue_read: ['int32', 'uint64', 'void *', 'size_t', 'int32', 'void *'],
  revenium_queue_wake_fd: ['int32', 'uint64', 'void *'],
  revenium_queue_subscribe: ['int32', 'uint64', 'uint32', 'int32'],

  revenium_result_json: ['str', 'uint64', 'void *'],
  revenium_result_message: ['str', 'uint64', 'void *'],
  revenium_result_info: ['str', 'uint64', 'void *'],
  revenium_result_request_id: ['str', 'uint64', 'void *'],
};

/** The functions of the header that are not declared above, and why. */
const LEFT_OUT = {
  revenium_messages_create: 'waits, and would block the event loop',
  revenium_messages_stream: 'waits, and would block the event loop',
  revenium_messages_start: 'calls back on threads of the library',
  revenium_platform_call: 'waits, and would block the event loop',
  revenium_set_log: 'calls back on any thread',
  revenium_scope_push: 'belongs to an OS thread, which all requests of a server share',
  revenium_scope_pop: 'belongs to an OS thread, which all requests of a server share',
  revenium_result_code: 'the RESULT frame brings it',
  revenium_result_text: 'the reply is parsed anyway',
  revenium_result_usage: 'the reply is parsed anyway',
};

function load() {
  const { library, path } = find((path) => koffi.load(path));
  const native = { path };
  for (const [name, [result, ...parameters]] of Object.entries(FUNCTIONS)) {
    try {
      native[name.slice('revenium_'.length)] = library.func(name, result, parameters);
    } catch (cause) {
      throw new Error(`${path} is no librevenium of ABI ${ABI}: it lacks ${name}`, { cause });
    }
  }
  const abi = native.abi_version();
  if (abi !== ABI) {
    throw new Error(`${path} has ABI version ${abi}, but this package needs ${ABI}: install matching versions`);
  }
  return native;
}

/** Room for one handle or size that a function fills in. Node runs one call at a time, so one room serves all. */
const out = new BigUint64Array(1);
/** The number that the last function left in `out`. */
const taken = () => Number(out[0]);

module.exports = { native: load(), FUNCTIONS, LEFT_OUT, out, taken };
