// Jobs: calls that belong to one unit of work, and what came of it. Needs a key that may do more than meter.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	revenium "github.com/librevenium/librevenium/bindings/go"
)

const model = "claude-sonnet-5-5"

func main() {
	ctx := context.Background()
	client := revenium.NewClient()

	// Every call made with the inner context carries the job's id. When the function fails, the job is reported as failed.
	err := revenium.Jobs.Run(ctx, "loan-1", map[string]any{"agenticJobType": "loan"}, func(ctx context.Context) error {
		message, err := client.Messages.New(ctx, revenium.MessageNewParams{
			Model: model, MaxTokens: 100,
			Messages: []revenium.MessageParam{revenium.NewUserMessage(revenium.NewTextBlock("Is the loan granted?"))},
		})
		if err == nil {
			fmt.Println(message.Text())
		}
		return err
	})
	if err != nil {
		log.Fatal(err)
	}

	// Once its records have arrived, Revenium knows the job. Until then it is asked again, for at most ten seconds.
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := revenium.Flush(limited); err != nil {
		log.Fatal(err)
	}
	value := 500.0
	outcome := revenium.Outcome{ExecutionStatus: "SUCCESS", OutcomeType: "CONVERTED", OutcomeValue: &value}
	if _, err := revenium.Jobs.ReportOutcome(limited, "loan-1", outcome); err != nil {
		log.Fatal(err)
	}
	fmt.Println("jobs.report_outcome: done")
	change := map[string]any{"outcomeValue": 700, "reason": "corrected"}
	if _, err := revenium.Jobs.AmendOutcome(limited, "loan-1", change); err != nil {
		log.Fatal(err)
	}
	fmt.Println("jobs.amend_outcome: done")
	if err := revenium.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
}
