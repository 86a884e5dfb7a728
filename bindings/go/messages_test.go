package revenium

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

var client = NewClient()

const everyKind = `{"id":"msg_1","type":"message","role":"assistant","model":"claude-test","content":[` +
	`{"type":"thinking","thinking":"Hm.","signature":"sig"},` +
	`{"type":"text","text":"One "},{"type":"text","text":"two"},` +
	`{"type":"tool_use","id":"toolu_1","name":"look","input":{"at":1.50,"deep":{"x":[1,2]}}},` +
	`{"type":"hologram","depth":3,"text":{"not":"text"}}],` +
	`"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":7,"output_tokens":5,"cache_read_input_tokens":2}}`

var everyKindStreamed = []string{
	`{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-test","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":7,"output_tokens":1,"cache_read_input_tokens":2}}}`,
	`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`,
	`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm."}}`,
	`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"sig"}}`,
	`{"type":"content_block_stop","index":0}`,
	`{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}`,
	`{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"One "}}`,
	`{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"two"}}`,
	`{"type":"content_block_stop","index":1}`,
	`{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_1","name":"look","input":{}}}`,
	`{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"at\":1.50,"}}`,
	`{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"\"deep\":{\"x\":[1,2]}}"}}`,
	`{"type":"content_block_stop","index":2}`,
	`{"type":"content_block_start","index":3,"content_block":{"type":"hologram","depth":3,"text":{"not":"text"}}}`,
	`{"type":"content_block_stop","index":3}`,
	`{"type":"weather","sky":"blue"}`,
	`{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":5}}`,
	`{"type":"message_stop"}`,
}

func checkEveryKind(t *testing.T, m *Message) {
	t.Helper()
	if m.ID != "msg_1" || m.Role != "assistant" || m.StopReason != "tool_use" || m.Text() != "One two" {
		t.Errorf("%s", m.Raw)
	}
	if (m.Usage != Usage{InputTokens: 7, OutputTokens: 5, CacheReadInputTokens: 2}) {
		t.Errorf("usage: %+v", m.Usage)
	}
	var kinds []string
	for _, block := range m.Content {
		kinds = append(kinds, block.Type)
		switch block.Type {
		case "thinking":
			if block.Thinking != "Hm." || block.Signature != "sig" {
				t.Errorf("thinking: %s", block.Raw)
			}
		case "tool_use":
			if block.ID != "toolu_1" || block.Name != "look" || string(block.Input) != `{"at":1.50,"deep":{"x":[1,2]}}` {
				t.Errorf("tool_use: %s", block.Raw)
			}
		case "hologram":
			if string(block.Raw) != `{"type":"hologram","depth":3,"text":{"not":"text"}}` {
				t.Errorf("an unknown block changed: %s", block.Raw)
			}
		}
	}
	if got := strings.Join(kinds, " "); !strings.HasPrefix(got, "thinking text ") || !strings.HasSuffix(got, "tool_use hologram") {
		t.Errorf("blocks: %s", got)
	}
	// Sent back, each block is what it was.
	sent := string(must(json.Marshal(m.ToParam())))
	for _, block := range m.Content {
		if !strings.Contains(sent, string(block.Raw)) {
			t.Errorf("%s is not in %s", block.Raw, sent)
		}
	}
}

func TestEveryKindOfContent(t *testing.T) {
	ctx := context.Background()
	message, err := client.Messages.New(ctx, ask("x"), planned(t, object{"text": everyKind}))
	if err != nil {
		t.Fatal(err)
	}
	checkEveryKind(t, message)
	if string(message.Raw) != everyKind {
		t.Errorf("the reply's bytes changed: %s", message.Raw)
	}

	stream := client.Messages.NewStreaming(ctx, ask("x"), planned(t, sse(everyKindStreamed...), object{}))
	var text strings.Builder
	for i := 0; stream.Next(); i++ {
		event := stream.Current()
		text.WriteString(event.Text())
		if string(event.Raw) != everyKindStreamed[i] {
			t.Errorf("event %d: %s", i, event.Raw)
		}
	}
	if stream.Err() != nil || text.String() != "One two" {
		t.Errorf("%q, %v", text.String(), stream.Err())
	}
	message, err = stream.Message()
	if err != nil {
		t.Fatal(err)
	}
	checkEveryKind(t, message)
	if info := message.Info(); info.Provider != "anthropic" || info.StatusCode != 200 || !strings.HasPrefix(info.TransactionID, "msg_1-") || !info.Metered {
		t.Errorf("%+v", info)
	}
}

func TestRequestsOfAnyType(t *testing.T) {
	ctx := context.Background()
	type own struct {
		Model     string          `json:"model"`
		MaxTokens int             `json:"max_tokens"`
		Messages  json.RawMessage `json:"messages"`
	}
	messages := `[{"role":"user","content":"hello"}]`
	text := `{"model":"m", "max_tokens": 9, "messages":` + messages + `}`
	for name, params := range map[string]any{
		"map":    object{"model": "m", "max_tokens": 9, "messages": json.RawMessage(messages)},
		"struct": own{"m", 9, json.RawMessage(messages)},
		"string": text,
		"bytes":  []byte(text),
		"raw":    json.RawMessage(text),
	} {
		fresh(t)
		reply, err := Create[struct {
			Content []struct{ Text string }
		}](ctx, params)
		if err != nil || reply.Content[0].Text != "You said: hello" {
			t.Errorf("%s: %+v %v", name, reply, err)
		}
		if sent := requests(t)[0].Raw; name != "map" && name != "struct" && sent != text {
			t.Errorf("%s: the bytes changed: %s", name, sent)
		}
		var last struct{ Type string }
		stream := CreateStreaming[struct{ Type string }](ctx, params)
		for event, err := range stream.All() {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			last = event
		}
		if last.Type != "message_stop" {
			t.Errorf("%s ended with %q", name, last.Type)
		}
	}
	for _, params := range []any{func() {}, "[]", `{"model":`, nil} {
		if _, err := client.Messages.New(ctx, params); !errors.Is(err, ErrJSON) {
			t.Errorf("%T: %v", params, err)
		}
		stream := client.Messages.NewStreaming(ctx, params)
		if stream.Next() || !errors.Is(stream.Err(), ErrJSON) {
			t.Errorf("%T: %v", params, stream.Err())
		}
	}
	// A reply of another shape.
	if _, err := Create[[]int](ctx, ask("x")); !errors.Is(err, ErrStream) {
		t.Error(err)
	}
	if err := CreateStreaming[[]int](ctx, ask("x")).lastError(); !errors.Is(err, ErrStream) {
		t.Error(err)
	}
}

// lastError reads the stream to its end.
func (s *Stream[E]) lastError() error {
	for s.Next() {
	}
	return s.Err()
}

func TestTypedParams(t *testing.T) {
	fresh(t)
	half, k := 0.5, int64(3)
	params := MessageNewParams{
		Model: "m", MaxTokens: 10, System: []ContentBlock{NewTextBlock("be brief")}, Temperature: &half, TopK: &k,
		Messages: []MessageParam{
			NewUserMessage(NewTextBlock(""), NewImageBlockBase64("image/png", "AA==")),
			NewAssistantMessage(ContentBlock{Type: "tool_use", ID: "t1", Name: "look", Input: json.RawMessage(`{}`)}),
			NewUserMessage(NewToolResultBlock("t1", "seen", true)),
		},
		Tools:         []Tool{{Name: "look", InputSchema: object{"type": "object"}}},
		ToolChoice:    &ToolChoice{Type: "auto"},
		Thinking:      &ThinkingConfig{Type: "enabled", BudgetTokens: 1024},
		UsageMetadata: object{"agent": "a"},
		Extra:         object{"container": "c-1"},
	}
	if _, err := client.Messages.New(context.Background(), params, WithHeader("x-own", "1")); err != nil {
		t.Fatal(err)
	}
	want := `{"container":"c-1","max_tokens":10,"messages":[` +
		`{"role":"user","content":[{"type":"text","text":""},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA=="}}]},` +
		`{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"look","input":{}}]},` +
		`{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":[{"type":"text","text":"seen"}],"is_error":true}]}],` +
		`"model":"m","system":[{"type":"text","text":"be brief"}],"temperature":0.5,` +
		`"thinking":{"type":"enabled","budget_tokens":1024},"tool_choice":{"type":"auto"},` +
		`"tools":[{"name":"look","input_schema":{"type":"object"}}],"top_k":3}`
	sent := requests(t)[0]
	if sent.Headers["x-own"] != "1" {
		t.Errorf("headers: %v", sent.Headers)
	}
	var got, wanted any
	if json.Unmarshal([]byte(sent.Raw), &got) != nil || json.Unmarshal([]byte(want), &wanted) != nil || !reflect.DeepEqual(got, wanted) {
		t.Errorf("got  %s\nwant %s", sent.Raw, want)
	}
	if record := onlyRecord(t); record["agent"] != "a" || record["middlewareSource"] != middlewareSource {
		t.Errorf("%v", record)
	}
}

func TestChoices(t *testing.T) {
	soon, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	background := context.Background()
	for _, test := range []struct {
		ctx     context.Context
		body    string
		options []Option
		want    string
	}{
		{background, `{"a":1}`, nil, `{"a":1}`},
		{background, ` { } `, []Option{WithAPIKey("k")}, ` { "revenium":{"api_key":"k"}}`},
		{background, `{"a":{"revenium":{"meter":false}}}`, []Option{WithMaxRetries(0)},
			`{"a":{"revenium":{"meter":false}},"revenium":{"max_retries":0}}`},
		{background, `{"revenium":{"meter":false,"headers":{"a":"1"}}}`, []Option{WithMetering(true), WithHeader("A", "2"), WithHeaderDel("B")},
			`{"revenium":{"meter":false,"headers":{"a":"1"}},"revenium":{"headers":{"A":"1","B":null},"meter":false}}`},
		{background, `{"revenium":{"timeout_ms":5}}`, []Option{WithRequestTimeout(time.Second), WithProvider(ProviderBedrock)},
			`{"revenium":{"timeout_ms":5},"revenium":{"timeout_ms":5,"provider":"bedrock"}}`},
		{soon, `{"revenium":{"timeout_ms":5}}`, nil, `{"revenium":{"timeout_ms":5},"revenium":{"timeout_ms":5}}`},
		{soon, `{"revenium":{"timeout_ms":99999999}}`, nil, `{"revenium":{"timeout_ms":99999999},"revenium":{"timeout_ms":3600000}}`},
		{soon, `{}`, nil, `{"revenium":{"timeout_ms":3600000}}`},
		{soon, `{"revenium":{"typo":1}}`, nil, `{"revenium":{"typo":1}}`},
		{soon, `[1]`, nil, `[1]`},
	} {
		got := string(must(requestOf(test.ctx, test.body, false, test.options)))
		if got != test.want {
			t.Errorf("%s\ngot  %s\nwant %s", test.body, got, test.want)
		}
	}
	if got := string(must(requestOf(background, `{"stream":false}`, true))); got != `{"stream":false,"stream":true}` {
		t.Error(got)
	}
	if _, err := client.Messages.New(background, `{"revenium":{"typo":1}}`); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
}

func TestEventsThatLackMembers(t *testing.T) {
	option := planned(t, sse(
		`{"type":"message_start","message":{"id":"msg_1","type":"message","usage":{"input_tokens":"7","output_tokens":1.0}}}`,
		`{"type":"content_block_start","index":0}`,
		`{"type":"content_block_delta","index":0}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}`,
		`{"type":"content_block_stop","index":0}`,
		`{"type":"message_delta"}`,
		`{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":null}}`,
		`{"type":"message_stop"}`))
	stream := client.Messages.NewStreaming(context.Background(), ask("x"), option)
	var text string
	var input int64
	for stream.Next() {
		event := stream.Current()
		text += event.Delta.Text
		input = max(input, event.Message.Usage.InputTokens, event.Usage.InputTokens)
	}
	if text != "Hello" || input != 7 {
		t.Errorf("%q, %d input tokens", text, input)
	}
}

func TestCounts(t *testing.T) {
	for text, want := range map[string]Usage{
		`{"input_tokens":7,"output_tokens":5}`:                                                                                     {InputTokens: 7, OutputTokens: 5},
		`{"input_tokens":7.0,"output_tokens":"5","cache_read_input_tokens":" 3 "}`:                                                 {InputTokens: 7, OutputTokens: 5, CacheReadInputTokens: 3},
		`{"input_tokens":null,"output_tokens":1e2,"cache_creation_input_tokens":"2.9"}`:                                            {OutputTokens: 100, CacheCreationInputTokens: 2},
		`{"input_tokens":{},"output_tokens":"many","cache_read_input_tokens":-1.5,"cache_creation":1}`:                             {},
		`{"input_tokens":"0x10","output_tokens":"1_0","cache_read_input_tokens":"Infinity","cache_creation_input_tokens":"0x1p4"}`: {},
		`{}`:     {},
		`null`:   {},
		`"none"`: {},
	} {
		var usage Usage
		if err := json.Unmarshal([]byte(text), &usage); err != nil || usage != want {
			t.Errorf("%s: %+v %v", text, usage, err)
		}
	}
}
