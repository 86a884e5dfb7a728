// Anthropic's own SDK, metered: one option more.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/option"

	revenium "github.com/librevenium/librevenium/bindings/go"
)

const model = "claude-sonnet-5-5"

func main() {
	ctx := context.Background()
	defer revenium.Shutdown(ctx)

	client := anthropic.NewClient(option.WithHTTPClient(revenium.HTTPClient())) // the one option

	ctx = revenium.WithUsageMetadata(ctx, map[string]any{"organizationName": "Acme"})
	message, err := client.Messages.New(ctx, anthropic.MessageNewParams{
		Model:     model,
		MaxTokens: 100,
		Messages: []anthropic.MessageParam{
			anthropic.NewUserMessage(anthropic.NewTextBlock("Greet the world in five words.")),
		},
	})
	if err != nil {
		log.Panic(err) // log.Fatal would skip the Shutdown
	}
	fmt.Println(message.Content[0].Text)
	fmt.Printf("%d input tokens, %d output tokens\n", message.Usage.InputTokens, message.Usage.OutputTokens)
}
