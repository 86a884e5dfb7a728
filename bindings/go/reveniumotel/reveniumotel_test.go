package reveniumotel

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/trace"
)

func TestTraceContext(t *testing.T) {
	state, err := trace.ParseTraceState("a=1,b=2")
	if err != nil {
		t.Fatal(err)
	}
	config := trace.SpanContextConfig{
		TraceID: trace.TraceID{0x4b, 15: 0x36}, SpanID: trace.SpanID{0xf0, 7: 0xb7}, TraceState: state,
	}
	for flags, want := range map[trace.TraceFlags]string{
		0:                         "00-4b000000000000000000000000000036-f0000000000000b7-00",
		trace.FlagsSampled:        "00-4b000000000000000000000000000036-f0000000000000b7-01",
		trace.FlagsSampled | 1<<1: "00-4b000000000000000000000000000036-f0000000000000b7-01",
	} {
		config.TraceFlags = flags
		ctx := trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(config))
		if parent, state := TraceContext(ctx); parent != want || state != "a=1,b=2" {
			t.Errorf("%q, %q; want %q", parent, state, want)
		}
	}
	if parent, state := TraceContext(context.Background()); parent != "" || state != "" {
		t.Errorf("%q, %q of no span", parent, state)
	}
}
