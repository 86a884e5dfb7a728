//go:build cgo

package revenium

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Model names a model; any string will do.
type Model = string

// Models of the day this was written. What the provider adds later needs no constant.
const (
	ModelClaudeOpus5_5   Model = "claude-opus-5-5"
	ModelClaudeSonnet5_5 Model = "claude-sonnet-5-5"
	ModelClaudeHaiku5_5  Model = "claude-haiku-5-5"
)

// MessageNewParams is the body of a request to the Messages API. What is missing here goes into Extra; or give any other
// value that marshals to such a body in place of this struct.
type MessageNewParams struct {
	Model         Model           `json:"model"`
	MaxTokens     int64           `json:"max_tokens"`
	Messages      []MessageParam  `json:"messages"`
	System        []ContentBlock  `json:"system,omitempty"`
	Temperature   *float64        `json:"temperature,omitempty"`
	TopP          *float64        `json:"top_p,omitempty"`
	TopK          *int64          `json:"top_k,omitempty"`
	StopSequences []string        `json:"stop_sequences,omitempty"`
	Tools         []Tool          `json:"tools,omitempty"`
	ToolChoice    *ToolChoice     `json:"tool_choice,omitempty"`
	Thinking      *ThinkingConfig `json:"thinking,omitempty"`
	ServiceTier   string          `json:"service_tier,omitempty"`
	// UsageMetadata are Revenium's fields for this one call, over those of the context. They never reach the provider.
	UsageMetadata any `json:"usage_metadata,omitempty"`
	// Extra holds any other members.
	Extra map[string]any `json:"-"`
}

func (p MessageNewParams) MarshalJSON() ([]byte, error) {
	type plain MessageNewParams
	if metadata, ok := p.UsageMetadata.(map[string]any); ok && metadata == nil {
		p.UsageMetadata = nil // a nil map in an interface is no empty value to package json
	}
	text, err := json.Marshal(plain(p))
	if err != nil || len(p.Extra) == 0 {
		return text, err
	}
	members := map[string]any{}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(text, &given); err != nil {
		return nil, err
	}
	for name, value := range given {
		members[name] = value
	}
	maps.Copy(members, p.Extra)
	return json.Marshal(members)
}

// MessageParam is one message of a conversation.
type MessageParam struct {
	Role    string         `json:"role"`
	Content []ContentBlock `json:"content"`
}

// NewUserMessage is a message of the user.
func NewUserMessage(blocks ...ContentBlock) MessageParam { return MessageParam{"user", blocks} }

// NewAssistantMessage is a message of the model.
func NewAssistantMessage(blocks ...ContentBlock) MessageParam {
	return MessageParam{"assistant", blocks}
}

// ContentBlock is one block of a message, to the model or from it. A block that came from the model marshals to exactly
// what came, so that blocks newer than this package pass through.
type ContentBlock struct {
	Type string `json:"type"`
	// Type text
	Text string `json:"text,omitempty"`
	// Type thinking
	Thinking  string `json:"thinking,omitempty"`
	Signature string `json:"signature,omitempty"`
	// Type tool_use
	ID    string          `json:"id,omitempty"`
	Name  string          `json:"name,omitempty"`
	Input json.RawMessage `json:"input,omitempty"`
	// Type tool_result
	ToolUseID string         `json:"tool_use_id,omitempty"`
	Content   []ContentBlock `json:"content,omitempty"`
	IsError   bool           `json:"is_error,omitempty"`
	// Type image or document
	Source *Source `json:"source,omitempty"`

	CacheControl *CacheControl `json:"cache_control,omitempty"`
	// Raw is the block as it came; if set, it is all that is sent.
	Raw json.RawMessage `json:"-"`
}

func (b ContentBlock) MarshalJSON() ([]byte, error) {
	if b.Raw != nil {
		return b.Raw, nil
	}
	if b.isPlainText() {
		text, err := json.Marshal(b.Text)
		return append(append([]byte(`{"type":"text","text":`), text...), '}'), err
	}
	type plain ContentBlock
	if b.Type != "text" || b.Text != "" {
		return json.Marshal(plain(b))
	}
	return json.Marshal(struct {
		plain
		Text string `json:"text"` // an empty text is one too
	}{plain: plain(b)})
}

// isPlainText: a text and nothing else, as most blocks of a request are; these take no reflection.
func (b *ContentBlock) isPlainText() bool {
	return b.Type == "text" && b.CacheControl == nil && b.Thinking == "" && b.Signature == "" && b.ID == "" && b.Name == "" &&
		len(b.Input) == 0 && b.ToolUseID == "" && len(b.Content) == 0 && !b.IsError && b.Source == nil
}

func (b *ContentBlock) UnmarshalJSON(text []byte) error {
	type plain ContentBlock
	err := lenient(text, (*plain)(b))
	b.Raw = clone(text)
	return err
}

// NewTextBlock is a block of text.
func NewTextBlock(text string) ContentBlock { return ContentBlock{Type: "text", Text: text} }

// NewImageBlockBase64 is an image.
func NewImageBlockBase64(mediaType, data string) ContentBlock {
	return ContentBlock{Type: "image", Source: &Source{Type: "base64", MediaType: mediaType, Data: data}}
}

// NewToolResultBlock answers a tool_use block.
func NewToolResultBlock(toolUseID, text string, isError bool) ContentBlock {
	return ContentBlock{Type: "tool_result", ToolUseID: toolUseID, IsError: isError, Content: []ContentBlock{NewTextBlock(text)}}
}

// Source is where an image or a document comes from.
type Source struct {
	Type      string `json:"type"`
	MediaType string `json:"media_type,omitempty"`
	Data      string `json:"data,omitempty"`
	URL       string `json:"url,omitempty"`
	FileID    string `json:"file_id,omitempty"`
}

// CacheControl marks the end of what the provider should cache.
type CacheControl struct {
	Type string `json:"type"`
	TTL  string `json:"ttl,omitempty"`
}

// Tool is one that the model may use. InputSchema is anything that marshals to a JSON schema.
type Tool struct {
	Type         string        `json:"type,omitempty"`
	Name         string        `json:"name"`
	Description  string        `json:"description,omitempty"`
	InputSchema  any           `json:"input_schema,omitempty"`
	CacheControl *CacheControl `json:"cache_control,omitempty"`
}

// ToolChoice is which tools the model may or must use.
type ToolChoice struct {
	Type                   string `json:"type"`
	Name                   string `json:"name,omitempty"`
	DisableParallelToolUse bool   `json:"disable_parallel_tool_use,omitempty"`
}

// ThinkingConfig is how much the model may think.
type ThinkingConfig struct {
	Type         string `json:"type"`
	BudgetTokens int64  `json:"budget_tokens,omitempty"`
}

// Message is a reply.
type Message struct {
	ID           string         `json:"id"`
	Type         string         `json:"type"`
	Role         string         `json:"role"`
	Model        string         `json:"model"`
	Content      []ContentBlock `json:"content"`
	StopReason   string         `json:"stop_reason"`
	StopSequence string         `json:"stop_sequence"`
	Usage        Usage          `json:"usage"`
	// Raw is the reply as the provider sent it; of a stream, what its events add up to.
	Raw json.RawMessage `json:"-"`

	info []byte
}

func (m *Message) UnmarshalJSON(text []byte) error { return m.own(clone(text)) }

// own reads a message that keeps text. Through json.Unmarshal it would be read twice as often.
func (m *Message) own(text []byte) error {
	type plain Message
	m.Raw = text
	return lenient(text, (*plain)(m))
}

// Text is that of all text blocks.
func (m *Message) Text() string {
	var text strings.Builder
	for _, block := range m.Content {
		if block.Type == "text" {
			text.WriteString(block.Text)
		}
	}
	return text.String()
}

// ToParam is the reply as a message of the next request.
func (m *Message) ToParam() MessageParam { return MessageParam{Role: "assistant", Content: m.Content} }

// Info tells about the call rather than its content.
func (m *Message) Info() Info { return parseInfo(m.info) }

// Usage counts tokens.
type Usage struct {
	InputTokens              int64 `json:"input_tokens"`
	OutputTokens             int64 `json:"output_tokens"`
	CacheCreationInputTokens int64 `json:"cache_creation_input_tokens"`
	CacheReadInputTokens     int64 `json:"cache_read_input_tokens"`
}

func (u *Usage) UnmarshalJSON(text []byte) error {
	type plain Usage
	err := json.Unmarshal(text, (*plain)(u))
	var mistyped *json.UnmarshalTypeError
	if !errors.As(err, &mistyped) {
		return err
	}
	// Gateways write counts as floats or in quotes. What is no count at all is 0.
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil {
		return nil
	}
	*u = Usage{
		InputTokens:              count(members["input_tokens"]),
		OutputTokens:             count(members["output_tokens"]),
		CacheCreationInputTokens: count(members["cache_creation_input_tokens"]),
		CacheReadInputTokens:     count(members["cache_read_input_tokens"]),
	}
	return nil
}

func count(text json.RawMessage) int64 {
	digits := strings.TrimSpace(strings.Trim(string(text), `"`))
	number, err := strconv.ParseFloat(digits, 64)
	// What Go alone takes for a number is none.
	if err != nil || !(number > 0 && number < 1<<53) || strings.ContainsAny(digits, "_xX") {
		return 0
	}
	return int64(number)
}

// Info is what is known about a call beside its reply.
type Info struct {
	// Provider is who answered: "anthropic" or "bedrock".
	Provider   string
	Model      string
	StopReason string
	RequestID  string
	// TransactionID is that of the usage record.
	TransactionID string
	// Metered tells whether the call was handed to metering.
	Metered    bool
	StatusCode int
	Headers    http.Header
	Attempts   int
	Duration   time.Duration
	// TimeToFirstToken is 0 where nothing was streamed.
	TimeToFirstToken time.Duration
	// RetryAfter is how long the provider asked to wait.
	RetryAfter time.Duration
}

func parseInfo(text []byte) Info {
	var in struct {
		Provider         string            `json:"provider"`
		Model            string            `json:"model"`
		StopReason       string            `json:"stop_reason"`
		RequestID        string            `json:"request_id"`
		TransactionID    string            `json:"transaction_id"`
		Metered          bool              `json:"metered"`
		HTTPStatus       int               `json:"http_status"`
		Headers          map[string]string `json:"headers"`
		Attempts         int               `json:"attempts"`
		DurationMS       int64             `json:"duration_ms"`
		TimeToFirstToken int64             `json:"time_to_first_token_ms"`
		RetryAfterMS     int64             `json:"retry_after_ms"`
	}
	if len(text) == 0 || json.Unmarshal(text, &in) != nil {
		return Info{}
	}
	return Info{
		Provider: in.Provider, Model: in.Model, StopReason: in.StopReason, RequestID: in.RequestID,
		TransactionID: in.TransactionID, Metered: in.Metered, StatusCode: in.HTTPStatus, Headers: headersOf(in.Headers),
		Attempts: in.Attempts, Duration: time.Duration(in.DurationMS) * time.Millisecond,
		TimeToFirstToken: time.Duration(in.TimeToFirstToken) * time.Millisecond,
		RetryAfter:       time.Duration(in.RetryAfterMS) * time.Millisecond,
	}
}

func headersOf(headers map[string]string) http.Header {
	if headers == nil {
		return nil
	}
	out := make(http.Header, len(headers))
	for name, value := range headers {
		out.Set(name, value)
	}
	return out
}

// MessageStreamEvent is one event of a streamed reply. Which members are set depends on its type; the others are zero.
type MessageStreamEvent struct {
	// Type is message_start, content_block_start, content_block_delta, content_block_stop, message_delta, message_stop,
	// ping, or something newer than this package.
	Type         string       `json:"type"`
	Index        int64        `json:"index"`
	Message      Message      `json:"message"`
	ContentBlock ContentBlock `json:"content_block"`
	Delta        Delta        `json:"delta"`
	Usage        Usage        `json:"usage"`
	// Raw is the event as the provider sent it.
	Raw json.RawMessage `json:"-"`
}

func (e *MessageStreamEvent) UnmarshalJSON(text []byte) error { return e.own(clone(text)) }

// own reads an event that keeps text. Through json.Unmarshal it would be read twice as often.
func (e *MessageStreamEvent) own(text []byte) error {
	type plain MessageStreamEvent
	e.Raw = text
	return lenient(text, (*plain)(e))
}

// Text is what a text delta adds, "" for any other event.
func (e *MessageStreamEvent) Text() string {
	if e.Delta.Type != "text_delta" {
		return ""
	}
	return e.Delta.Text
}

// Delta is what an event adds to a block, or to the message.
type Delta struct {
	// Type is text_delta, input_json_delta, thinking_delta, signature_delta or another; "" in message_delta.
	Type         string `json:"type"`
	Text         string `json:"text"`
	PartialJSON  string `json:"partial_json"`
	Thinking     string `json:"thinking"`
	Signature    string `json:"signature"`
	StopReason   string `json:"stop_reason"`
	StopSequence string `json:"stop_sequence"`
}

// lenient reads what it can. A member of an unexpected type is not worth an error: Raw has it.
func lenient(text []byte, into any) error {
	err := json.Unmarshal(text, into)
	var mistyped *json.UnmarshalTypeError
	if errors.As(err, &mistyped) {
		return nil
	}
	return err
}
