// Budgets: a call that a rule of Revenium's cost controls blocks does not leave. Needs REVENIUM_TEAM_ID.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"time"

	revenium "github.com/librevenium/librevenium/bindings/go"
)

const model = "claude-sonnet-5-5"

func params(agent string) revenium.MessageNewParams {
	return revenium.MessageNewParams{
		Model: model, MaxTokens: 100, UsageMetadata: map[string]any{"agent": agent},
		Messages: []revenium.MessageParam{revenium.NewUserMessage(revenium.NewTextBlock("Greet the world."))},
	}
}

// The first question starts the fetching of the rules, and calls pass until they are there: a server asks at its start.
func waitForRules(ctx context.Context) {
	for range 500 {
		if _, err := revenium.Budgets.Check(ctx, params("nobody")); err != nil {
			log.Fatal(err)
		}
		var status struct {
			Budgets struct {
				FetchedSecondsAgo *int `json:"fetched_seconds_ago"`
			} `json:"budgets"`
		}
		text, err := revenium.StatusJSON()
		if err != nil || json.Unmarshal([]byte(text), &status) != nil {
			log.Fatal(err)
		}
		if status.Budgets.FetchedSecondsAgo != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func main() {
	ctx := context.Background()
	if err := revenium.Init(revenium.Config{"budget_enforcement": true}); err != nil {
		log.Fatal(err)
	}
	client := revenium.NewClient()
	waitForRules(ctx)
	for _, agent := range []string{"reader", "writer"} {
		message, err := client.Messages.New(ctx, params(agent))
		var failure *revenium.Error
		switch {
		case errors.As(err, &failure) && failure.Code == revenium.ErrBudgetExceeded:
			// Nothing was sent. BudgetRule() has the rule, its value and its threshold.
			fmt.Printf("%s: %s\n", agent, failure.Message)
		case err != nil:
			log.Fatal(err)
		default:
			fmt.Printf("%s: %s\n", agent, message.Text())
		}
	}
	if err := revenium.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
}
