// A conversation with a tool: the model asks for it, the program runs it, the model answers.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"

	revenium "github.com/librevenium/librevenium/bindings/go"
)

const model = "claude-sonnet-5-5"

var schema = json.RawMessage(`{
	"type": "object",
	"properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}},
	"required": ["city"]
}`)

func weather(city string) string {
	if city == "Rome" {
		return "21 degrees, sunny"
	}
	return "4 degrees, snow"
}

// resultsOf runs each tool that the message asks for.
func resultsOf(message *revenium.Message) (results []revenium.ContentBlock) {
	for _, block := range message.Content {
		if block.Type != "tool_use" {
			continue
		}
		var input struct{ City string }
		if err := json.Unmarshal(block.Input, &input); err != nil {
			results = append(results, revenium.NewToolResultBlock(block.ID, err.Error(), true))
			continue
		}
		found := weather(input.City)
		fmt.Printf("%s %s: %s\n", block.Name, input.City, found)
		results = append(results, revenium.NewToolResultBlock(block.ID, found, false))
	}
	return results
}

func main() {
	ctx := revenium.WithUsageMetadata(context.Background(), map[string]any{
		"organizationName": "Acme", "taskType": "weather", "traceId": "conversation-1",
	})
	client := revenium.NewClient()
	params := revenium.MessageNewParams{
		Model:      model,
		MaxTokens:  200,
		Messages:   []revenium.MessageParam{revenium.NewUserMessage(revenium.NewTextBlock("What is the weather in Rome?"))},
		Tools:      []revenium.Tool{{Name: "weather", Description: "The weather in a city, now.", InputSchema: schema}},
		ToolChoice: &revenium.ToolChoice{Type: "any"},
	}
	var used revenium.Usage
	for {
		message, err := client.Messages.New(ctx, params)
		if err != nil {
			log.Fatal(err)
		}
		used.InputTokens += message.Usage.InputTokens
		used.OutputTokens += message.Usage.OutputTokens
		if message.StopReason != "tool_use" {
			fmt.Println(message.Text())
			break
		}
		params.Messages = append(params.Messages, message.ToParam(), revenium.NewUserMessage(resultsOf(message)...))
		params.ToolChoice = nil // from here on the model chooses
	}
	fmt.Printf("%d input tokens, %d output tokens\n", used.InputTokens, used.OutputTokens)
	if err := revenium.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
}
