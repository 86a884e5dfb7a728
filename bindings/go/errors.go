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

const (
	codeOK     Code = 0
	codeEmpty  Code = 1
	codeBuffer Code = -12 // the buffer of this binding grows

	ErrInternal      Code = -1 // a mistake of the library; the process is intact
	ErrArgument      Code = -2
	ErrUTF8          Code = -3
	ErrJSON          Code = -4 // the request is not a JSON object
	ErrHandle        Code = -5
	ErrConfig        Code = -6 // a setting is missing or malformed
	ErrAlready       Code = -7 // running with other settings
	ErrClosed        Code = -8 // after Shutdown
	ErrWouldDeadlock Code = -9
	ErrTimeout       Code = -10 // also matches context.DeadlineExceeded
	ErrCancelled     Code = -11 // also matches context.Canceled
	ErrBusy          Code = -13 // more calls in flight than allowed
	ErrForked        Code = -14
	ErrUnsupported   Code = -15
	ErrConnection    Code = -20 // DNS, TCP, TLS
	ErrStream        Code = -21 // broke off or was not readable
	ErrAWS           Code = -22 // AWS credentials or signing

	// The provider answered with an error.

	ErrAPI              Code = -40 // any other HTTP status
	ErrBadRequest       Code = -41 // HTTP 400
	ErrAuthentication   Code = -42 // HTTP 401
	ErrPermissionDenied Code = -43 // HTTP 403
	ErrNotFound         Code = -44 // HTTP 404
	ErrConflict         Code = -45 // HTTP 409
	ErrRequestTooLarge  Code = -46 // HTTP 413
	ErrUnprocessable    Code = -47 // HTTP 422
	ErrRateLimit        Code = -48 // HTTP 429
	ErrInternalServer   Code = -49 // HTTP 5xx
	ErrOverloaded       Code = -50 // HTTP 529
)

// String is the code's name in the C header, such as REVENIUM_E_RATE_LIMIT.
func (c Code) String() string { return nativeCodeName(c) }

// Error makes a code an error to compare with.
func (c Code) Error() string { return c.String() }

// isProviders tells whether the provider said so itself.
func (c Code) isProviders() bool { return c <= ErrAPI }

// Error is why a call, or anything else here, failed.
type Error struct {
	Code Code
	// Message is one sentence for a person. It never holds a key or a prompt.
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

// Is matches the error's code, and the context errors that mean the same.
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
