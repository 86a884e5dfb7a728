// One call inside a trace that somebody else has begun: with REVENIUM_OTLP=1 it is a span of that trace.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"

	revenium "github.com/librevenium/librevenium/bindings/go"
)

const model = "claude-sonnet-5-5"

func main() {
	// What HTTP servers get in the header of this name, and pass on. A program with OpenTelemetry says
	// revenium.SetTraceContext(reveniumotel.TraceContext) once, and has no need of it.
	traceparent := cmp.Or(os.Getenv("TRACEPARENT"), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")

	ctx := revenium.WithUsageMetadata(context.Background(), map[string]any{"organizationName": "Acme"})
	client := revenium.NewClient()
	message, err := client.Messages.New(ctx, revenium.MessageNewParams{
		Model:     model,
		MaxTokens: 100,
		Messages: []revenium.MessageParam{
			revenium.NewUserMessage(revenium.NewTextBlock("Greet the world in five words.")),
		},
	}, revenium.WithTraceContext(traceparent, ""))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(message.Text())
	if err := revenium.Shutdown(ctx); err != nil { // exports the span, too
		log.Fatal(err)
	}
}
