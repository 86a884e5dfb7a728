// Claude through AWS Bedrock: the same calls and results. AWS credentials come from where AWS's own tools take them.
package main

import (
	"context"
	"fmt"
	"log"

	revenium "github.com/librevenium/librevenium/bindings/go"
)

// A name of the Messages API, an id of Bedrock or an ARN.
const model = "claude-sonnet-5-5"

func main() {
	// Without "provider", Bedrock is asked when there are AWS credentials and no key of Anthropic.
	// "bedrock_fallback": true, the default, would ask Anthropic where Bedrock fails and there is a key.
	if err := revenium.Init(revenium.Config{"provider": "bedrock", "bedrock_fallback": false}); err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer revenium.Shutdown(ctx)
	client := revenium.NewClient()

	message, err := client.Messages.New(ctx, revenium.MessageNewParams{
		Model:     model,
		MaxTokens: 100,
		Messages: []revenium.MessageParam{
			revenium.NewUserMessage(revenium.NewTextBlock("Greet the world from a region.")),
		},
		UsageMetadata: map[string]any{"organizationName": "Acme", "taskType": "greeting"},
	})
	if err != nil {
		log.Panic(err) // log.Fatal would skip the Shutdown
	}
	fmt.Println(message.Text())
	answered := "no"
	if message.Info().Provider == "bedrock" {
		answered = "yes"
	}
	fmt.Println("answered by Bedrock:", answered)

	// This call chooses its region.
	stream := client.Messages.NewStreaming(ctx, map[string]any{
		"model": model, "max_tokens": 100, "revenium": map[string]any{"aws_region": "eu-central-1"},
		"messages": []map[string]any{{"role": "user", "content": "Now from another one."}},
	})
	defer stream.Close()
	for stream.Next() {
		event := stream.Current()
		fmt.Print(event.Text())
	}
	fmt.Println()
	other, err := stream.Message()
	if err != nil {
		log.Panic(err)
	}
	fmt.Printf("%d input tokens, %d output tokens\n", other.Usage.InputTokens, other.Usage.OutputTokens)
}
