// Calls that something else made, each metered once: one that is over, and one whose reply passes by.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"time"

	revenium "github.com/librevenium/librevenium/bindings/go"
)

const model = "claude-sonnet-5-5"

// What a gateway hands on: the events of a reply, cut anywhere.
var pieces = []string{
	"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_2\",\"model\":\"" + model + "\",\"usage\":{\"inp",
	"ut_tokens\":9,\"output_tokens\":1}}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0," +
		"\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi there.\"}}\n\n",
	"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}," +
		"\"usage\":{\"output_tokens\":4}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
}

func main() {
	// Whose they were comes from the context, as it does for calls of this library.
	ctx := revenium.WithUsageMetadata(context.Background(), map[string]any{"organizationName": "Acme"})
	params := revenium.MessageNewParams{
		Model: model, MaxTokens: 100, Messages: []revenium.MessageParam{revenium.NewUserMessage(revenium.NewTextBlock("Hello!"))},
	}

	_, err := revenium.Record(ctx, revenium.CallRecord{
		Service: "vertex", Region: "europe-west1", Model: model, Duration: 812 * time.Millisecond, Request: params,
		Response: json.RawMessage(`{"id": "msg_1", "content": [{"type": "text", "text": "Hi."}], "stop_reason": "end_turn",
			"usage": {"input_tokens": 9, "output_tokens": 3}}`),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("told when it was over (recorded)")

	tap, err := revenium.NewTap(ctx, revenium.CallRecord{Request: params})
	if err != nil {
		log.Fatal(err)
	}
	for _, piece := range pieces {
		fmt.Fprint(tap, piece)
	}
	tap.End(nil)
	fmt.Println("watched as it passed by (recorded)")

	if err := revenium.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
}
