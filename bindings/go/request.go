//go:build cgo

package revenium

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"time"
)

// Option is a choice for one call, or for all calls of a [Client].
type Option func(*choices)

// choices are the members of "revenium" in a request.
type choices struct {
	TimeoutMS int64              `json:"timeout_ms,omitempty"`
	Provider  string             `json:"provider,omitempty"`
	APIKey    string             `json:"api_key,omitempty"`
	BaseURL   string             `json:"base_url,omitempty"`
	Headers   map[string]*string `json:"headers,omitempty"`
	Meter     *bool              `json:"meter,omitempty"`
	// MeterRetryable is false where a failure that may be tried again leaves no record.
	MeterRetryable *bool `json:"meter_retryable,omitempty"`
	MaxRetries     *int  `json:"max_retries,omitempty"`
	// Whose child the call is, as the W3C has it.
	Traceparent string `json:"traceparent,omitempty"`
	Tracestate  string `json:"tracestate,omitempty"`
	// Dropin is true of the calls of an SDK, which makes spans of its own.
	Dropin bool `json:"dropin,omitempty"`
	// host is the Host header where it is not that of BaseURL.
	host string
}

// WithAPIKey sends this key to the provider.
func WithAPIKey(key string) Option { return func(c *choices) { c.APIKey = key } }

// WithBaseURL asks the Messages API below this URL.
func WithBaseURL(url string) Option { return func(c *choices) { c.BaseURL = url } }

// WithHeader sends this header to the provider.
func WithHeader(name, value string) Option { return func(c *choices) { c.header(name, &value) } }

// WithHeaderDel leaves this header out.
func WithHeaderDel(name string) Option { return func(c *choices) { c.header(name, nil) } }

// WithMaxRetries is how often a call is tried again on connection errors and on 408, 409, 429 and 5xx.
func WithMaxRetries(n int) Option { return func(c *choices) { c.MaxRetries = &n } }

// WithRequestTimeout bounds a whole call, its retries included. A context's deadline does the same.
func WithRequestTimeout(d time.Duration) Option { return func(c *choices) { c.timeout(d) } }

// WithProvider asks this provider, whatever the settings say.
func WithProvider(p Provider) Option { return func(c *choices) { c.Provider = p.String() } }

// WithMetering decides whether a call is metered.
func WithMetering(on bool) Option { return func(c *choices) { c.Meter = &on } }

// WithTraceContext makes a call the child of this W3C trace context, whatever the context.Context says: see
// [SetTraceContext]. tracestate may be empty.
func WithTraceContext(traceparent, tracestate string) Option {
	return func(c *choices) { c.Traceparent, c.Tracestate = traceparent, tracestate }
}

func (c *choices) header(name string, value *string) {
	headers := maps.Clone(c.Headers) // a client's calls share its map
	if headers == nil {
		headers = map[string]*string{}
	}
	headers[http.CanonicalHeaderKey(name)] = value
	c.Headers = headers
}

// timeout makes the call end after d, if it does not end sooner anyway.
func (c *choices) timeout(d time.Duration) {
	ms := max(1, (d + time.Millisecond - 1).Milliseconds())
	if c.TimeoutMS == 0 || ms < c.TimeoutMS {
		c.TimeoutMS = ms
	}
}

func chosen(options ...[]Option) choices {
	var c choices
	for _, options := range options {
		for _, option := range options {
			option(&c)
		}
	}
	return c
}

// requestOf is the request that the library gets: params as JSON, and the choices in its member "revenium".
func requestOf(ctx context.Context, params any, stream bool, options ...[]Option) ([]byte, error) {
	c := chosen(options...)
	body, err := marshalRequest(params)
	if err != nil {
		return nil, &Error{Code: ErrJSON, Message: "The request does not marshal: " + err.Error() + "."}
	}
	if stream {
		body = appendMember(body, `"stream":true`)
	}
	return addChoices(ctx, body, c), nil
}

func marshalRequest(params any) ([]byte, error) {
	switch p := params.(type) {
	case json.RawMessage:
		return p, nil
	case []byte:
		return p, nil
	case string:
		return []byte(p), nil
	case MessageNewParams:
		return p.MarshalJSON() // json.Marshal would read it once more
	}
	return json.Marshal(params)
}

// addChoices lays the request's own member "revenium" over c, but for the context's deadline, which holds in any case.
// c's base URL is left out: it belongs to the scope, see [scope.at].
func addChoices(ctx context.Context, body []byte, c choices) []byte {
	c.BaseURL = ""
	if own := member(body, "revenium"); own != nil {
		merged := c
		merged.Headers = nil
		decoder := json.NewDecoder(bytes.NewReader(own))
		decoder.DisallowUnknownFields()
		if decoder.Decode(&merged) != nil {
			return body // the library says what is wrong with it
		}
		over := merged.Headers
		merged.Headers = c.Headers
		for name, value := range over {
			merged.header(name, value)
		}
		c = merged
	}
	if deadline, ok := ctx.Deadline(); ok {
		c.timeout(time.Until(deadline))
	}
	if reflect.ValueOf(c).IsZero() {
		return body
	}
	text, err := json.Marshal(c)
	if err != nil || string(text) == "{}" {
		return body
	}
	// The last of several members with one name counts, and all of them are taken out, so the rest of the bytes stays.
	return appendMember(body, `"revenium":`+string(text))
}

// appendMember adds a member to the end of a JSON object. What is none stays as it is.
func appendMember(object []byte, member string) []byte {
	object = bytes.TrimRight(object, " \t\r\n")
	if len(object) < 2 || object[len(object)-1] != '}' {
		return object
	}
	inside := object[:len(object)-1]
	out := make([]byte, 0, len(object)+len(member)+1)
	out = append(out, inside...)
	if start := bytes.TrimSpace(inside); len(start) > 1 {
		out = append(out, ',')
	}
	out = append(out, member...)
	return append(out, '}')
}

// member is the last member of this name of a JSON object, nil if it has none.
func member(object []byte, name string) (found json.RawMessage) {
	if !bytes.Contains(object, []byte(`"`+name+`"`)) {
		return nil // the usual case, without reading megabytes of images
	}
	eachMember(object, func(key string, value json.RawMessage) {
		if key == name {
			found = value
		}
	})
	return found
}

// eachMember goes through the members of a JSON object in order, as far as it is one.
func eachMember(object []byte, each func(name string, value json.RawMessage)) {
	decoder := json.NewDecoder(bytes.NewReader(object))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return
		}
		var value json.RawMessage
		if decoder.Decode(&value) != nil {
			return
		}
		each(key.(string), value)
	}
}

// withoutOurs is a request without the members that the library would have taken out.
func withoutOurs(object []byte) []byte {
	if member(object, "usage_metadata") == nil && member(object, "revenium") == nil {
		return object
	}
	out := []byte("{}")
	eachMember(object, func(name string, value json.RawMessage) {
		if name != "usage_metadata" && name != "revenium" {
			quoted, _ := json.Marshal(name)
			out = appendMember(out, string(quoted)+":"+string(value))
		}
	})
	return out
}
