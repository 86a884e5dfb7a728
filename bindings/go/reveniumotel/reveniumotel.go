// Package reveniumotel makes calls of librevenium children of OpenTelemetry's spans. It is a module of its own, so that
// programs without OpenTelemetry do not get its packages:
//
//	revenium.SetTraceContext(reveniumotel.TraceContext)
package reveniumotel

import (
	"context"

	"go.opentelemetry.io/otel/trace"
)

// TraceContext is the W3C trace context of ctx's span; empty where there is none.
func TraceContext(ctx context.Context) (traceparent, tracestate string) {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() {
		return "", ""
	}
	flags := span.TraceFlags() & trace.FlagsSampled
	return "00-" + span.TraceID().String() + "-" + span.SpanID().String() + "-" + flags.String(), span.TraceState().String()
}
