//go:build cgo

package revenium

import (
	"context"
	"sync/atomic"
)

// traceContext is what SetTraceContext was given.
var traceContext atomic.Pointer[func(context.Context) (traceparent, tracestate string)]

// SetTraceContext says how to find the W3C trace context in a context.Context, so that calls become children of the
// program's own spans. The module reveniumotel knows OpenTelemetry's:
//
//	revenium.SetTraceContext(reveniumotel.TraceContext)
//
// of is called once for each call, on its goroutine; an empty traceparent means that there is none. It lies under
// everything that a call, its headers or [WithUsageMetadata] say. The provider gets the context whether or not spans are
// exported; the setting otlp exports them. nil takes it back. For all of the process, at any time.
func SetTraceContext(of func(ctx context.Context) (traceparent, tracestate string)) {
	if of == nil {
		traceContext.Store(nil)
		return
	}
	traceContext.Store(&of)
}

// scopeAt is the scope of what is metered in ctx: its metadata, and its span if it has one.
func scopeAt(ctx context.Context) *scope {
	s := scopeOf(ctx)
	of := traceContext.Load()
	if of == nil {
		return s
	}
	traceparent, tracestate := (*of)(ctx)
	if traceparent == "" {
		return s
	}
	trace := choices{Traceparent: traceparent, Tracestate: tracestate}
	return s.over(&scope{fields: marshalFields(map[string]any{"revenium": trace})})
}
