'use strict';
// librevenium for Node.js. `require('librevenium')` is the client itself, with everything else as its members,
// so that `const Anthropic = require(...)` and `const { Anthropic, init } = require(...)` both work.

const { Anthropic } = require('./lib/anthropic.cjs');
const { internal, ...errors } = require('./lib/errors.cjs');
const { withUsageMetadata, meter } = require('./lib/scopes.cjs');
const { Stream } = require('./lib/stream.cjs');
const { MessageStream } = require('./lib/message-stream.cjs');
const { createFetch, fetch } = require('./lib/fetch.cjs');
const { record, recordBatchResult, toolEvent, meterTool, Tap } = require('./lib/observed.cjs');
const platform = require('./lib/platform.cjs');
const { native } = require('./lib/native.cjs');
const library = require('./lib/status.cjs');

module.exports = Object.assign(Anthropic, {
  Anthropic,
  default: Anthropic,
  Stream,
  MessageStream,
  createFetch,
  fetch,
  withUsageMetadata,
  meter,
  record,
  recordBatchResult,
  toolEvent,
  meterTool,
  Tap,
  /** The loaded library's version. */
  version: native.version(),
  abiVersion: native.abi_version(),
  ...platform,
  ...library,
  ...errors,
});
