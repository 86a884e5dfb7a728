// Metadata that many calls share lies in their context; so does the choice of what is metered at all.
package main

import (
	"context"
	"fmt"
	"log"

	revenium "github.com/librevenium/librevenium/bindings/go"
)

const model = "claude-sonnet-5-5"

type fields = map[string]any

func ask(ctx context.Context, text string, metadata fields, options ...revenium.Option) {
	message, err := revenium.NewClient().Messages.New(ctx, revenium.MessageNewParams{
		Model:         model,
		MaxTokens:     100,
		Messages:      []revenium.MessageParam{revenium.NewUserMessage(revenium.NewTextBlock(text))},
		UsageMetadata: metadata,
	}, options...)
	if err != nil {
		log.Panic(err)
	}
	metered := "not metered"
	if message.Info().Metered {
		metered = "metered"
	}
	fmt.Printf("%s (%s)\n", message.Text(), metered)
}

// handle is code that knows nothing of customers: their scope comes with the context.
func handle(ctx context.Context) {
	ask(ctx, "In the scope of this thread.", nil)
	ctx = revenium.WithUsageMetadata(ctx, fields{"traceId": "trace-9f2c"})
	ask(ctx, "In a scope pushed over it.", nil)
}

func main() {
	// Selective metering: only calls in a marked context are metered. Without it every call is.
	if err := revenium.Init(revenium.Config{"selective_metering": true}); err != nil {
		log.Fatal(err)
	}
	background := context.Background()
	defer revenium.Shutdown(background)

	// A context is a value: made once, handed to any call in any goroutine. The mark is inherited.
	customer := revenium.WithMeter(background)
	customer = revenium.WithUsageMetadata(customer, fields{"organizationName": "Acme", "productName": "Support Desk"})
	agent := revenium.WithUsageMetadata(customer, fields{"agent": "summarizer", "taskType": "summarize"})
	ask(customer, "In the customer's scope.", nil)
	ask(agent, "In the agent's scope inside it.", nil)

	// What a call says itself wins over its context.
	ask(agent, "With a task type of its own.", fields{"taskType": "translate"})

	handle(agent)

	// Outside of every scope nothing is marked, unless the call is.
	ask(background, "In no scope.", nil)
	ask(background, "In no scope, but marked.", nil, revenium.WithMetering(true))
}
