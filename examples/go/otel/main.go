// One call and one use of a tool inside a trace that somebody else has begun: with REVENIUM_OTLP=1 both are its spans.
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

	ctx := revenium.WithUsageMetadata(context.Background(), map[string]any{
		"organizationName": "Acme", "revenium": map[string]any{"traceparent": traceparent},
	})
	client := revenium.NewClient()
	message, err := client.Messages.New(ctx, revenium.MessageNewParams{
		Model:     model,
		MaxTokens: 100,
		Messages: []revenium.MessageParam{
			revenium.NewUserMessage(revenium.NewTextBlock("Greet the world in five words.")),
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(message.Text())
	// The function is where a tool would run.
	if err := revenium.MeterTool(ctx, "search", func(context.Context) error { return nil }); err != nil {
		log.Fatal(err)
	}
	if err := revenium.Shutdown(ctx); err != nil { // exports the spans, too
		log.Fatal(err)
	}
}
