//go:build cgo

package revenium

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// ToolEvent meters one use of a tool: a search, a crawl, a run of code, anything that costs beside the model's tokens. Each
// event is one billable transaction at Revenium.
//
// event marshals to the object of revenium_tool_event: its toolId, and operation, durationMs, success, costUsd,
// usageMetadata and so on. Who it was for comes from the context. It never waits for the network.
func ToolEvent(ctx context.Context, event any) (Recorded, error) {
	text, err := json.Marshal(event)
	if err != nil {
		return Recorded{}, &Error{Code: ErrJSON, Message: "The event does not marshal: " + err.Error() + "."}
	}
	return recorded(ctx, text, nativeToolEvent)
}

// MeterTool runs a tool and meters it: how long it took, and whether it failed. It gives back what the tool gave, and a panic
// goes on; metering changes neither.
func MeterTool(ctx context.Context, toolID string, tool func(context.Context) error) (err error) {
	begun, ended := time.Now(), false
	defer func() {
		event := map[string]any{
			"toolId": toolID, "durationMs": float64(time.Since(begun)) / float64(time.Millisecond), "timestamp": begun.UnixMilli(),
		}
		switch {
		case !ended:
			event["errorType"] = "panic"
		case err != nil:
			event["errorType"], event["errorMessage"] = fmt.Sprintf("%T", err), err.Error()
		}
		if _, failed := ToolEvent(context.WithoutCancel(ctx), event); failed != nil {
			warnUnmetered(failed)
		}
	}()
	err = tool(ctx)
	ended = true
	return err
}
