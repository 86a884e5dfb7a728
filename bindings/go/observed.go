//go:build cgo

package revenium

import (
	"context"
	"encoding/json"
	"runtime"
	"sync"
	"time"
)

// CallRecord tells of a call that this library did not make: one of another HTTP client, a gateway, Vertex AI, Foundry,
// Bedrock, or one answer of a Message Batch. All fields may be left out, but for what came of the call.
type CallRecord struct {
	// Request marshals to the request's body. Its members usage_metadata and revenium count as in a call of this library.
	Request any
	// Response marshals to the message, or to the body of an error.
	Response any
	// Events is the text of a stream, instead of a response.
	Events string
	// Error is how the call failed.
	Error *CallError
	// Service is "anthropic", "bedrock", "vertex" or "foundry".
	Service string
	// Model is what was called where the request does not say it, such as the id in a URL of Bedrock or Vertex AI.
	Model  string
	Region string
	// Streamed: nil is for the request or the reply to say.
	Streamed         *bool
	StartedAt        time.Time
	Duration         time.Duration
	TimeToFirstToken time.Duration
	Attempts         int
}

// CallError is how a call of something else failed.
type CallError struct {
	// Status is the HTTP status, 0 if no answer came.
	Status int `json:"status,omitempty"`
	// Type is the provider's error type, or "timeout", "connection" or "cancelled".
	Type string `json:"type,omitempty"`
}

// Recorded is what became of a recorded call.
type Recorded struct {
	// Metered is false where metering is off, or where the call was recorded before.
	Metered       bool   `json:"metered"`
	TransactionID string `json:"transaction_id"`
}

// Record meters a call that is over and that this library did not make. Each record is one billable transaction at
// Revenium. Metadata comes from the context and from the request. It never waits for the network.
func Record(ctx context.Context, call CallRecord) (Recorded, error) {
	text, err := json.Marshal(call)
	if err != nil {
		return Recorded{}, &Error{Code: ErrJSON, Message: "The record does not marshal: " + err.Error() + "."}
	}
	return recorded(ctx, text, nativeRecord)
}

// RecordBatchResult meters one line of a Message Batch's results, once, however often the results are read: what was
// recorded is remembered for 30 days. Requests that were cancelled or expired used nothing and leave no record.
func RecordBatchResult(ctx context.Context, batchID string, line []byte) (Recorded, error) {
	id, err := json.Marshal(batchID)
	if err != nil {
		return Recorded{}, err
	}
	return recorded(ctx, appendMember(line, `"batch":true,"batch_id":`+string(id)), nativeRecord)
}

func recorded(ctx context.Context, text []byte, native func(text []byte, scope handle) ([]byte, error)) (done Recorded, err error) {
	err = within(scopeAt(ctx), func(scope handle) error {
		info, err := native(text, scope)
		if err == nil {
			_ = json.Unmarshal(info, &done)
		}
		return err
	})
	return done, err
}

// within runs do with the library's scope for s, after the library was started where nobody had done so.
func within(s *scope, do func(scope handle) error) error {
	if _, err := started(); err != nil {
		return err
	}
	scope, err := s.open()
	if err != nil {
		return err
	}
	if scope != scopeNone {
		defer nativeRelease(scope)
	}
	return do(scope)
}

// MarshalJSON is the object of revenium_record().
func (c CallRecord) MarshalJSON() ([]byte, error) {
	out := map[string]any{}
	put := func(name string, is bool, value any) {
		if is {
			out[name] = value
		}
	}
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	put("request", c.Request != nil, c.Request)
	put("response", c.Response != nil, c.Response)
	put("events", c.Events != "", c.Events)
	put("error", c.Error != nil, c.Error)
	put("provider", c.Service != "", c.Service)
	put("model", c.Model != "", c.Model)
	put("region", c.Region != "", c.Region)
	put("streamed", c.Streamed != nil, c.Streamed)
	put("started_at", !c.StartedAt.IsZero(), c.StartedAt.UnixMilli())
	put("duration_ms", c.Duration > 0, ms(c.Duration))
	put("time_to_first_token_ms", c.TimeToFirstToken > 0, ms(c.TimeToFirstToken))
	put("attempts", c.Attempts > 0, c.Attempts)
	return json.Marshal(out)
}

// Tap watches a call that something else is making: write the reply's body to it as it comes, then End it. A tap that is
// closed, or forgotten, without that is a call that was cancelled. One goroutine at a time may use it.
type Tap struct {
	mu     sync.Mutex
	handle handle
}

// NewTap begins to watch a call. request tells what is known of it: Request, Service, Model, Region, Streamed, StartedAt.
func NewTap(ctx context.Context, request CallRecord) (*Tap, error) {
	text, err := json.Marshal(request)
	if err != nil {
		return nil, &Error{Code: ErrJSON, Message: "The request does not marshal: " + err.Error() + "."}
	}
	return newTap(text, scopeAt(ctx))
}

func newTap(text []byte, s *scope) (*Tap, error) {
	t := &Tap{}
	err := within(s, func(scope handle) (err error) {
		t.handle, err = nativeTapNew(text, scope)
		return err
	})
	if err != nil {
		return nil, err
	}
	runtime.SetFinalizer(t, (*Tap).Close) // who forgets it; AddCleanup wants Go 1.24
	return t, nil
}

// Write takes more bytes of the reply's body, without its content coding. It never fails.
func (t *Tap) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.handle != 0 && len(p) > 0 {
		nativeTapWrite(t.handle, p)
	}
	return len(p), nil
}

// End makes the record: nil is for a reply that came as the provider sent it. The first of End and Close counts.
func (t *Tap) End(failure *CallError) {
	ending := []byte(nil)
	if failure != nil {
		ending, _ = json.Marshal(failure)
	}
	t.close(func(h handle) { nativeTapEnd(h, ending) })
}

// Close ends a call that was given up. It never fails.
func (t *Tap) Close() error {
	t.close(func(handle) {})
	return nil
}

func (t *Tap) close(last func(handle)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.handle != 0 {
		last(t.handle)
		runtime.SetFinalizer(t, nil)
		nativeRelease(t.handle)
		t.handle = 0
	}
}
