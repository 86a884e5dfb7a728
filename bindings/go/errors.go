//go:build cgo

package revenium

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// Code says what kind of failure an [Error] is. Codes are named as in Anthropic's own SDKs, and are errors themselves,
// so that errors.Is(err, revenium.ErrRateLimit) works.
type Code int32

// String is the code's name in the C header, such as REVENIUM_E_RATE_LIMIT.
func (c Code) String() string { return nativeCodeName(c) }

// Error makes a code an error to compare with.
func (c Code) Error() string { return c.String() }

// isProviders tells whether the provider said so itself.
func (c Code) isProviders() bool { return c <= ErrAPI }

// Error is why a call, or anything else here, failed.
type Error struct {
	Code Code
	// Message is one sentence for a person, with what the provider says of a request that it refused, 200 characters at
	// most; that can repeat a part of the request. It never holds a key. The setting quote_errors turns the quote off.
	Message string
	// StatusCode is the HTTP status of the provider's answer, 0 if there was none.
	StatusCode int
	// RequestID is the provider's, "" if it gave none.
	RequestID string
	// RetryAfter is how long the provider asked to wait, 0 if it did not.
	RetryAfter time.Duration
	// Headers are those of the provider's answer, nil if there was none.
	Headers http.Header
	// Raw is {"type":"error","error":{...}}, as the provider sent it where it sent one. It may quote the prompt.
	Raw json.RawMessage
	// Text and Usage are what had arrived of a stream that broke off.
	Text  string
	Usage Usage
}

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code.String()
	}
	return e.Code.String() + ": " + e.Message
}

// Is matches the error's code, and the context errors that mean the same: context.DeadlineExceeded for ErrTimeout,
// context.Canceled for ErrCancelled.
func (e *Error) Is(target error) bool {
	switch target {
	case context.DeadlineExceeded:
		return e.Code == ErrTimeout
	case context.Canceled:
		return e.Code == ErrCancelled
	}
	return target == e.Code
}

// Timeout makes an ErrTimeout one for package net as well.
func (e *Error) Timeout() bool { return e.Code == ErrTimeout }

// BudgetRule is what refused a call: a rule of Revenium's cost controls. Fields that Revenium did not tell are nil or "".
type BudgetRule struct {
	Name         string          `json:"rule_name"`
	ID           json.RawMessage `json:"rule_id"` // a number or a string
	CurrentValue *float64        `json:"current_value"`
	Threshold    *float64        `json:"threshold"`
	ResetsAt     string          `json:"resets_at"`
	DenyMessage  string          `json:"deny_message"`
}

// BudgetRule is the rule behind an [ErrBudgetExceeded]; nil for every other error, and where no rule said so: none is known,
// and the setting budget_fail_mode is closed.
func (e *Error) BudgetRule() *BudgetRule {
	var body struct{ Error BudgetRule }
	if e.Code != ErrBudgetExceeded || json.Unmarshal(e.Raw, &body) != nil || body.Error.Name == "" {
		return nil
	}
	return &body.Error
}

func newError(r *result) *Error {
	info := parseInfo(r.info)
	return &Error{
		Code:       r.code,
		Message:    r.message,
		StatusCode: info.StatusCode,
		RequestID:  r.requestID,
		RetryAfter: info.RetryAfter,
		Headers:    info.Headers,
		Raw:        r.json,
		Text:       r.text,
		Usage:      r.usage,
	}
}
