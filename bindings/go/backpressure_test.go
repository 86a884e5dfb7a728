package revenium

import (
	"context"
	"encoding/json"
	"testing"
	"time"
)

// A stream that nobody reads is not read from the network either, and holds up no other call.
func TestASlowReader(t *testing.T) {
	const deltas = 800
	fresh(t)
	ctx := context.Background()
	// Far more than sockets hold.
	answer := planned(t, object{"deltas": deltas, "delta_bytes": 20000})
	stream := client.Messages.NewStreaming(ctx, ask("x"), answer)
	if !stream.Next() {
		t.Fatal(stream.Err())
	}
	must(client.Messages.New(ctx, ask("x")))
	time.Sleep(time.Second)
	var stats struct {
		Open int `json:"streams_open"`
	}
	if err := json.Unmarshal(sandbox(t, "GET", "stats", nil), &stats); err != nil || stats.Open < 1 {
		t.Errorf("the stream was read to its end: %v", err)
	}
	stream.call.mu.Lock()
	if kept := stream.call.bytes; kept > 2<<20 {
		t.Errorf("%d bytes are kept", kept)
	}
	stream.call.mu.Unlock()
	count := 0
	for event, err := range stream.All() {
		if err != nil {
			t.Fatal(err)
		}
		if event.Text() != "" {
			count++
			if count%100 == 0 {
				must(client.Messages.New(ctx, ask("in the loop")))
			}
		}
	}
	if count != deltas {
		t.Errorf("%d deltas", count)
	}

	// One that is left while it stands still ends all the same.
	left := client.Messages.NewStreaming(ctx, ask("x"), answer)
	left.Next()
	left.Close()
	untilIdle(t)
}
