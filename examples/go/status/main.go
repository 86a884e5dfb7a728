// How the library is doing: the counters as a struct, everything else as JSON.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"

	revenium "github.com/librevenium/librevenium/bindings/go"
)

const model = "claude-sonnet-5-5"

func main() {
	ctx := context.Background()
	defer revenium.Shutdown(ctx)
	_, err := revenium.NewClient().Messages.New(ctx, revenium.MessageNewParams{
		Model:     model,
		MaxTokens: 100,
		Messages: []revenium.MessageParam{
			revenium.NewUserMessage(revenium.NewTextBlock("One call, so that there is something to count.")),
		},
	})
	if err != nil {
		log.Panic(err)
	}
	if err := revenium.Flush(ctx); err != nil {
		log.Panic(err)
	}

	state, err := revenium.Status()
	if err != nil {
		log.Panic(err)
	}
	fmt.Printf("librevenium %s, ABI %d\n", revenium.Version(), revenium.ABIVersion())
	fmt.Println("provider:", state.Provider)
	fmt.Println("metering:", state.Metering)
	fmt.Printf("calls: %d started, %d failed, %d in flight\n", state.CallsStarted, state.CallsFailed, state.CallsInFlight)
	fmt.Printf("events: %d delivered, %d pending, %d dropped\n", state.EventsDelivered, state.EventsPending, state.EventsDropped)

	all, err := revenium.StatusJSON()
	if err != nil {
		log.Panic(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, all, "", "  "); err != nil {
		log.Panic(err)
	}
	fmt.Println(indented.String())
}
