package dropintest

import (
	"context"
	"errors"
	"net/http"

	"github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/option"

	"github.com/librevenium/librevenium/bindings/go"
)

func init() { sdks["v2"] = sdkV2{} }

// sdkV2 makes calls as a program that uses this version of the SDK does.
type sdkV2 struct{}

func (sdkV2) options(c call) []option.RequestOption {
	options := []option.RequestOption{option.WithBaseURL(c.base), option.WithMaxRetries(c.retries)}
	if c.token != "" {
		options = append(options, option.WithAuthToken(c.token))
	} else {
		options = append(options, option.WithAPIKey("sk-ant-of-the-sdk"))
	}
	if c.client != nil {
		options = append(options, option.WithHTTPClient(c.client))
	}
	for name, value := range c.members {
		options = append(options, option.WithJSONSet(name, value))
	}
	return options
}

func (sdkV2) params(c call) anthropic.MessageNewParams {
	return anthropic.MessageNewParams{
		Model: "claude-sonnet-5-5", MaxTokens: 100,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(c.text))},
	}
}

func (s sdkV2) message(ctx context.Context, c call) (reply, error) {
	client := anthropic.NewClient(s.options(c)...)
	message, err := client.Messages.New(ctx, s.params(c))
	if err != nil {
		return reply{}, s.failure(err)
	}
	return s.reply(message), nil
}

func (s sdkV2) stream(ctx context.Context, c call, each func(kind string) bool) (reply, error) {
	client := anthropic.NewClient(s.options(c)...)
	stream := client.Messages.NewStreaming(ctx, s.params(c))
	defer stream.Close()
	message := anthropic.Message{}
	for stream.Next() {
		event := stream.Current()
		if err := message.Accumulate(event); err != nil {
			return reply{}, err
		}
		if each != nil && !each(event.Type) {
			break
		}
	}
	return s.reply(&message), s.failure(stream.Err())
}

func (s sdkV2) beta(ctx context.Context, c call) (reply, error) {
	client := anthropic.NewClient(s.options(c)...)
	message, err := client.Beta.Messages.New(ctx, anthropic.BetaMessageNewParams{
		Model: "claude-sonnet-5-5", MaxTokens: 100, Betas: []anthropic.AnthropicBeta{"one", "two"},
		Messages: []anthropic.BetaMessageParam{anthropic.NewBetaUserMessage(anthropic.NewBetaTextBlock(c.text))},
	})
	if err != nil {
		return reply{}, s.failure(err)
	}
	return reply{ID: message.ID, Text: message.Content[0].Text}, nil
}

func (s sdkV2) countTokens(ctx context.Context, c call) (int64, error) {
	client := anthropic.NewClient(s.options(c)...)
	count, err := client.Messages.CountTokens(ctx, anthropic.MessageCountTokensParams{
		Model: "claude-sonnet-5-5", Messages: s.params(c).Messages,
	})
	if err != nil {
		return 0, err
	}
	return count.InputTokens, nil
}

func (s sdkV2) create(ctx context.Context, c call) (reply, error) {
	message, err := revenium.Create[anthropic.Message](ctx, s.params(c), revenium.WithBaseURL(c.base))
	if err != nil {
		return reply{}, err
	}
	return s.reply(message), nil
}

func (s sdkV2) createStreaming(ctx context.Context, c call) (reply, error) {
	message := anthropic.Message{}
	for event, err := range revenium.CreateStreaming[anthropic.MessageStreamEventUnion](ctx, s.params(c), revenium.WithBaseURL(c.base)).All() {
		if err == nil {
			err = message.Accumulate(event)
		}
		if err != nil {
			return reply{}, err
		}
	}
	return s.reply(&message), nil
}

func (sdkV2) reply(m *anthropic.Message) reply {
	r := reply{ID: m.ID, StopReason: string(m.StopReason), Input: m.Usage.InputTokens, Output: m.Usage.OutputTokens}
	for _, block := range m.Content {
		r.Kinds = append(r.Kinds, string(block.Type))
		r.Text += block.Text
		r.Thinking += block.Thinking
		r.ToolInput += string(block.Input)
	}
	return r
}

// failure takes the SDK's error apart.
func (sdkV2) failure(err error) error {
	var api *anthropic.Error
	if !errors.As(err, &api) {
		return err
	}
	return &failure{Status: api.StatusCode, RequestID: api.RequestID, Raw: api.RawJSON(), RetryAfter: header(api.Response, "retry-after")}
}

func header(r *http.Response, name string) string {
	if r == nil {
		return ""
	}
	return r.Header.Get(name)
}
