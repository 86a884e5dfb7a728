// Tools that cost something by themselves have events of their own.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"

	revenium "github.com/librevenium/librevenium/bindings/go"
)

func main() {
	ctx := revenium.WithUsageMetadata(context.Background(), map[string]any{"agent": "writer"})

	// How long it took, and whether it failed.
	err := revenium.MeterTool(ctx, "search", func(context.Context) error {
		fmt.Println("search: 3 hits")
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	err = revenium.MeterTool(ctx, "crawl", func(context.Context) error { return errors.New("the page is gone") })
	fmt.Printf("crawl: %v\n", err) // as the tool gave it

	if err := revenium.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
}
