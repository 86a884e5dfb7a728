// The text as it comes, then what it used.
package main

import (
	"context"
	"fmt"
	"log"

	revenium "github.com/librevenium/librevenium/bindings/go"
)

const model = "claude-sonnet-5-5"

func main() {
	ctx := context.Background()
	defer revenium.Shutdown(ctx)
	stream := revenium.NewClient().Messages.NewStreaming(ctx, revenium.MessageNewParams{
		Model:     model,
		MaxTokens: 200,
		Messages: []revenium.MessageParam{
			revenium.NewUserMessage(revenium.NewTextBlock("Name the planets, nearest to the sun first.")),
		},
		UsageMetadata: map[string]any{"organizationName": "Acme", "taskType": "teach"},
	})
	defer stream.Close()
	for stream.Next() {
		event := stream.Current()
		fmt.Print(event.Text())
	}
	fmt.Println()
	message, err := stream.Message()
	if err != nil {
		log.Panic(err) // log.Fatal would skip the Shutdown
	}
	fmt.Printf("%d input tokens, %d output tokens\n", message.Usage.InputTokens, message.Usage.OutputTokens)
}
