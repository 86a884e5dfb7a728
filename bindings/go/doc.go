// Package revenium calls Claude, and meters every call to Revenium: who called, what for, which model, how many tokens,
// how long. It is the Go binding of librevenium.
//
//	client := revenium.NewClient()
//	ctx = revenium.WithUsageMetadata(ctx, map[string]any{"organizationName": "Acme", "taskType": "greeting"})
//	message, err := client.Messages.New(ctx, revenium.MessageNewParams{
//		Model:     "claude-sonnet-5-5",
//		MaxTokens: 100,
//		Messages:  []revenium.MessageParam{revenium.NewUserMessage(revenium.NewTextBlock("Hello!"))},
//	})
//
// With Anthropic's own SDK one option is enough:
//
//	client := anthropic.NewClient(option.WithHTTPClient(revenium.HTTPClient()))
//
// The library starts by itself, with keys from the environment. A program should end with [Shutdown], see there.
//
// Ten thousand calls in flight are ten thousand goroutines that wait on channels; no OS thread waits with them.
package revenium
