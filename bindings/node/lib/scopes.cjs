'use strict';
// Metadata that many calls share, and the meter mark. It follows the asynchronous context, so two requests that take
// turns on the one thread never see each other's. How layers go over one another is the library's business.

const { AsyncLocalStorage } = require('node:async_hooks');
const { SCOPE } = require('./constants.cjs');
const { native, out, taken } = require('./native.cjs');
const { traceContext } = require('./trace.cjs');

/** `{ outer, metadata, meter }`: one layer over those around it. Never changes. */
const context = new AsyncLocalStorage();

/** Run `fn` with `fields` as usage metadata of every call it makes, directly or after any await. */
function withUsageMetadata(fields, fn) {
  return context.run(layer(context.getStore(), fields, false), fn);
}

/** Run `fn` with the meter mark: its calls are metered even if metering is selective. */
function meter(fn) {
  return context.run(layer(context.getStore(), null, true), fn);
}

/** `fields` are copied here, as text: what becomes of the object afterwards changes nothing. */
function layer(outer, fields, meter) {
  return { outer, metadata: text(fields), meter };
}

/**
 * `outer` for calls that go to `base`. The program chose it, so the library's own credential may go there, which it may not
 * where a request's body says so.
 */
const at = (base, outer) => (base ? layer(outer, { revenium: { base_url: base } }, false) : outer);

/** A field that has no JSON is left out: metadata never fails a call. */
function text(fields) {
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) return null;
  try {
    return Buffer.from(JSON.stringify(fields));
  } catch {
    const kept = Object.entries(fields).filter(([, value]) => hasJson(value));
    return Buffer.from(JSON.stringify(Object.fromEntries(kept)));
  }
}

function hasJson(value) {
  try {
    JSON.stringify(value);
    return true;
  } catch {
    return false;
  }
}

/** The native scope of `layer` and of all around it, for one submit; give it to `close` right after. */
function open(layer) {
  if (!layer) return SCOPE.NONE;
  const outer = open(layer.outer);
  const { metadata } = layer;
  const code = native.scope_new(outer, metadata, metadata?.length ?? 0, layer.meter ? SCOPE.METER : 0, out);
  const made = taken();
  if (code < 0) {
    native.release(made);
    return outer;
  }
  close(outer);
  return made;
}

function close(scope) {
  if (scope !== SCOPE.NONE) native.release(scope);
}

/** The layers of the running request, with the span that it runs in under them all; undefined where there is nothing. */
function current() {
  const layers = context.getStore();
  const trace = traceContext();
  return trace ? under(layers, layer(undefined, { revenium: trace }, false)) : layers;
}

/** `upper` and all around it over `lowest`. */
const under = (upper, lowest) => (upper ? { ...upper, outer: under(upper.outer, lowest) } : lowest);

module.exports = { withUsageMetadata, meter, internal: { current, layer, at, under, open, close } };
