package revenium

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

func TestErrorsOfTheProvider(t *testing.T) {
	once := WithMaxRetries(0)
	for status, code := range map[int]Code{
		400: ErrBadRequest, 401: ErrAuthentication, 403: ErrPermissionDenied, 404: ErrNotFound, 409: ErrConflict,
		413: ErrRequestTooLarge, 418: ErrAPI, 422: ErrUnprocessable, 429: ErrRateLimit, 500: ErrInternalServer,
		503: ErrInternalServer, 529: ErrOverloaded,
	} {
		fresh(t)
		body := fmt.Sprintf(`{"type":"error","error":{"type":"t_%d","message":"x: Field %d"}}`, status, status)
		answer := planned(t, object{"status": status, "text": body, "headers": object{"retry-after": "7", "x-own": "1"}})
		message, err := client.Messages.New(context.Background(), ask("x"), once, answer)
		stream := client.Messages.NewStreaming(context.Background(), ask("x"), once, answer)
		for _, err := range []error{err, stream.lastError()} {
			var failure *Error
			if message != nil || !errors.Is(err, code) || !errors.As(err, &failure) {
				t.Fatalf("%d: %v", status, err)
			}
			if failure.StatusCode != status || !strings.HasPrefix(failure.RequestID, "req_") || failure.RetryAfter != 7*time.Second ||
				failure.Headers.Get("X-Own") != "1" || string(failure.Raw) != body || failure.Code != code {
				t.Errorf("%d: %v, %s", status, failure, failure.Raw)
			}
			// What the provider says of the request, and not what it says of itself.
			quoted := strings.HasSuffix(err.Error(), fmt.Sprintf(` It says: "x: Field %d"`, status))
			if text := err.Error(); !strings.HasPrefix(text, code.String()+": ") || quoted != (status < 500 && status != 418) {
				t.Errorf("%d: %s", status, text)
			}
			for _, other := range []error{ErrStream, context.Canceled, context.DeadlineExceeded, ErrClosed} {
				if errors.Is(err, other) {
					t.Errorf("%d is also %v", status, other)
				}
			}
		}
		for _, record := range records(t) {
			if record["stopReason"] != "ERROR" {
				t.Errorf("%d: %v", status, record)
			}
		}
	}
}

func TestErrorsOnTheWay(t *testing.T) {
	ctx := context.Background()
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	nobody := "http://" + listener.Addr().String()
	listener.Close()
	_, err := client.Messages.New(ctx, ask("x"), WithBaseURL(nobody), WithMaxRetries(0))
	if !errors.Is(err, ErrConnection) {
		t.Error(err)
	}

	half := everyKindStreamed[:7]
	broken := sse(half...)
	broken["end"] = "reset"
	stream := client.Messages.NewStreaming(ctx, ask("x"), planned(t, broken))
	var failure *Error
	if err := stream.lastError(); !errors.Is(err, ErrStream) || !errors.As(err, &failure) {
		t.Fatal(err)
	}
	if failure.Text != "One " || failure.Usage.InputTokens != 7 || failure.StatusCode != 200 {
		t.Errorf("%v, %q, %v", failure, failure.Text, failure.Usage)
	}
	if _, err := stream.Message(); err != failure {
		t.Error(err)
	}

	overloaded := sse(append(half[:len(half):len(half)], `{"type":"error","error":{"type":"overloaded_error","message":"m"}}`)...)
	last := error(nil)
	events := 0
	for _, err := range client.Messages.NewStreaming(ctx, ask("x"), planned(t, overloaded, object{})).All() {
		events++
		last = err
	}
	if !errors.Is(last, ErrOverloaded) || events != len(half)+1 {
		t.Errorf("%d events, %v", events, last)
	}
}

func TestRetriesAreTheLibrarys(t *testing.T) {
	fresh(t)
	answer := planned(t, object{"status": 529, "headers": object{"retry-after-ms": "1"}}, object{})
	message, err := client.Messages.New(context.Background(), ask("again"), answer)
	if err != nil || message.Text() != "You said: again" || message.Info().Attempts != 2 {
		t.Fatal(message, err)
	}
	onlyRecord(t)
}

func TestErrorWithoutMessage(t *testing.T) {
	if text := (&Error{Code: ErrClosed}).Error(); text != "REVENIUM_E_CLOSED" {
		t.Error(text)
	}
	if !(&Error{Code: ErrTimeout}).Timeout() || !errors.Is(&Error{Code: ErrTimeout}, context.DeadlineExceeded) {
		t.Error("a timeout is none")
	}
	if _, err := json.Marshal(Code(-48)); err != nil || Code(-999).String() != "REVENIUM_E_UNKNOWN" {
		t.Error(err, Code(-999))
	}
}
