'use strict';
// Metadata that many calls share, and the meter mark. It follows the asynchronous context, so two requests that take
// turns on the one thread never see each other's. How layers go over one another is the library's business.

const { AsyncLocalStorage } = require('node:async_hooks');
const { CODE, SCOPE } = require('./constants.cjs');
const { check } = require('./errors.cjs').internal;
const { native, out, taken } = require('./native.cjs');
const { traceContext } = require('./trace.cjs');

/** `{ outer, metadata, flags, kept }`: one layer over those around it. Never changes. */
const context = new AsyncLocalStorage();

/** Run `fn` with `fields` as usage metadata of every call it makes, directly or after any await. */
function withUsageMetadata(fields, fn) {
  return context.run(checked(layer(context.getStore(), fields)), fn);
}

/** Run `fn` with the meter mark: its calls are metered even if metering is selective. */
function meter(fn) {
  return context.run(layer(context.getStore(), null, SCOPE.METER), fn);
}

/** `fields` are copied here, as text: what becomes of the object afterwards changes nothing. */
function layer(outer, fields, flags = 0) {
  return { outer, metadata: text(fields), flags };
}

/** The scopes of layers that nobody holds any more. */
const forgotten = new FinalizationRegistry((scope) => native.release(scope));

/**
 * Throws, before anything runs, where a choice of the layer is none. One with an idempotency key numbers its calls, so it
 * keeps the library's scope.
 */
function checked(layer) {
  if (!layer.metadata?.includes('"revenium"')) return layer;
  const { code, made } = make(layer);
  if (code === CODE.CONFIG) check(code, made);
  const numbers = layer.metadata.includes('"idempotency_key"');
  if (numbers) layer.kept = { scope: SCOPE.NONE };
  if (numbers && code >= 0) keep(layer.kept, made);
  else native.release(made);
  return layer;
}

function keep(kept, scope) {
  kept.scope = scope;
  forgotten.register(kept, scope);
}

/**
 * `outer` for calls that go to `base`. The program chose it, so the library's own credential may go there, which it may not
 * where a request's body says so.
 */
const at = (base, outer) => (base ? layer(outer, { revenium: { base_url: base } }) : outer);

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
  const { kept } = layer;
  if (kept && kept.scope !== SCOPE.NONE) return native.scope_new(kept.scope, null, 0, 0, out) < 0 ? SCOPE.NONE : taken();
  const { code, made } = make(layer);
  if (code < 0) {
    native.release(made);
    return open(layer.outer);
  }
  if (!kept) return made;
  // The library was closed when the layer was made.
  keep(kept, made);
  return open(layer);
}

function make(layer) {
  const outer = open(layer.outer);
  const { metadata, flags } = layer;
  const code = native.scope_new(outer, metadata, metadata?.length ?? 0, flags, out);
  const made = taken();
  close(outer);
  return { code, made };
}

function close(scope) {
  if (scope !== SCOPE.NONE) native.release(scope);
}

/** The layers of the running request, with the span that it runs in under them all; undefined where there is nothing. */
function current() {
  const layers = context.getStore();
  const trace = traceContext();
  return trace ? under(layers, { revenium: trace }) : layers;
}

/** `fields` beneath `upper` and all around it. */
const under = (upper, fields) => layer(upper, fields, SCOPE.BENEATH);

module.exports = { withUsageMetadata, meter, internal: { current, layer, at, under, open, close } };
