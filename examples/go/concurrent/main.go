// Many calls at once: goroutines wait, threads do not. The last of them is cancelled.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"

	revenium "github.com/librevenium/librevenium/bindings/go"
)

const model = "claude-sonnet-5-5"

var client = revenium.NewClient()

func question(text string) revenium.MessageNewParams {
	return revenium.MessageNewParams{
		Model:     model,
		MaxTokens: 500,
		Messages:  []revenium.MessageParam{revenium.NewUserMessage(revenium.NewTextBlock(text))},
	}
}

// result is what a call came to: its text, or the code of its error.
func result(message *revenium.Message, err error) string {
	var failure *revenium.Error
	switch {
	case err == nil:
		return message.Text()
	case errors.As(err, &failure):
		return failure.Code.String()
	case errors.Is(err, context.Canceled):
		return revenium.ErrCancelled.String()
	}
	return err.Error()
}

// atOnce runs the calls in goroutines and prints their results in order.
func atOnce(calls ...func() (*revenium.Message, error)) {
	results := make([]string, len(calls))
	var all sync.WaitGroup
	for i, call := range calls {
		all.Add(1)
		go func() {
			defer all.Done()
			results[i] = result(call())
		}()
	}
	all.Wait()
	for i, text := range results {
		fmt.Printf("call %d: %s\n", i+1, text)
	}
}

func main() {
	background := context.Background()
	defer revenium.Shutdown(background)

	create := func(text string) func() (*revenium.Message, error) {
		return func() (*revenium.Message, error) { return client.Messages.New(background, question(text)) }
	}
	atOnce(create("First callback."), create("Second callback."), create("Third callback."))

	deltas := 0
	streamed := func() (*revenium.Message, error) {
		stream := client.Messages.NewStreaming(background, question("Into the queue, piece by piece."))
		for event, err := range stream.All() {
			if err != nil {
				return nil, err
			}
			if event.Type == "content_block_delta" {
				deltas++
			}
		}
		return stream.Message()
	}
	cancelled := func() (*revenium.Message, error) {
		ctx, cancel := context.WithCancel(background)
		defer cancel()
		stream := client.Messages.NewStreaming(ctx, question("Count from one to fifty in words. The end of it will reach nobody."))
		for stream.Next() {
			if stream.Current().Type == "content_block_delta" {
				cancel()
			}
		}
		return stream.Message()
	}
	atOnce(create("Into the queue, whole."), streamed, cancelled)
	pieces := "in one piece"
	if deltas > 1 {
		pieces = "in pieces"
	}
	fmt.Println("call 2 came", pieces)
	if err := revenium.Flush(background); err != nil {
		log.Print(err)
	}
}
