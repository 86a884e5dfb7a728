'use strict';
// The span that a call is made in, where the program uses OpenTelemetry.

/** @opentelemetry/api, null where it is not installed, undefined until somebody asks. */
let api;

function opentelemetry() {
  if (api === undefined) {
    try {
      api = require('@opentelemetry/api');
    } catch {
      api = null;
    }
  }
  return api;
}

/** `{ traceparent, tracestate }` of the active span, or null. Tracing never fails a call. */
function traceContext() {
  try {
    const { trace, isSpanContextValid } = opentelemetry() ?? {};
    const span = trace?.getActiveSpan()?.spanContext();
    if (!span || !isSpanContextValid(span)) return null;
    const flags = span.traceFlags & 1 ? '01' : '00';
    return { traceparent: `00-${span.traceId}-${span.spanId}-${flags}`, tracestate: span.traceState?.serialize() };
  } catch {
    return null;
  }
}

module.exports = { traceContext };
