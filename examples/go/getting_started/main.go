// One call: its text and what it used.
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
	fmt.Printf("%d input tokens, %d output tokens\n", message.Usage.InputTokens, message.Usage.OutputTokens)
	if err := revenium.Shutdown(ctx); err != nil { // delivers what is still on its way to Revenium
		log.Fatal(err)
	}
}
