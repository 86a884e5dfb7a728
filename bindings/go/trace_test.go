package revenium

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

const (
	traceID     = "4bf92f3577b34da6a3ce929d0e0e4736"
	ambient     = "00-" + traceID + "-00f067aa0ba902b7-01"
	traceparent = "00-" + traceID + "-00f067aa0ba902b8-01"
)

type spanKey struct{}

func TestTraceContextReachesProviderAndRecord(t *testing.T) {
	SetTraceContext(func(ctx context.Context) (string, string) {
		of, _ := ctx.Value(spanKey{}).(string)
		return of, "a=1"
	})
	defer SetTraceContext(nil)
	inSpan := context.WithValue(context.Background(), spanKey{}, ambient)
	inScope := WithUsageMetadata(inSpan, object{"revenium": object{"traceparent": traceparent}})
	for name, test := range map[string]struct {
		ctx     context.Context
		options []Option
		want    string
	}{
		"none":     {context.Background(), nil, ""},
		"ambient":  {inSpan, nil, ambient},
		"option":   {inSpan, []Option{WithTraceContext(traceparent, "")}, traceparent},
		"header":   {inSpan, []Option{WithHeader("traceparent", traceparent)}, traceparent},
		"scope":    {inScope, nil, traceparent},
		"base URL": {inSpan, []Option{planned(t, object{})}, ambient},
	} {
		t.Run(name, func(t *testing.T) {
			fresh(t)
			if _, err := NewClient().Messages.New(test.ctx, ask("hi"), test.options...); err != nil {
				t.Fatal(err)
			}
			if got := requests(t)[0].Headers["traceparent"]; got != test.want {
				t.Errorf("the provider got %q, want %q", got, test.want)
			}
			want := any(traceID)
			if test.want == "" {
				want = nil
			}
			if id := onlyRecord(t)["traceId"]; id != want {
				t.Errorf("the record is of trace %v, want %v", id, want)
			}
		})
	}
}

func TestHTTPClientHandsTraceContextOn(t *testing.T) {
	SetTraceContext(func(context.Context) (string, string) { return ambient, "" })
	defer SetTraceContext(nil)
	for _, own := range []string{"", traceparent} {
		fresh(t)
		request, _ := http.NewRequest("POST", os.Getenv("SANDBOX_URL")+"/v1/messages", strings.NewReader(`{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`))
		request.Header.Set("X-Api-Key", "sk-ant-sandbox")
		want := ambient
		if own != "" {
			request.Header.Set("Traceparent", own)
			want = own
		}
		response, err := HTTPClient().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(response.Body); response.StatusCode != 200 {
			t.Fatalf("%d %s", response.StatusCode, body)
		}
		response.Body.Close()
		if got := requests(t)[0].Headers["traceparent"]; got != want {
			t.Errorf("the provider got %q, want %q", got, want)
		}
		if id := onlyRecord(t)["traceId"]; id != traceID {
			t.Errorf("the record is of trace %v", id)
		}
	}
}

func TestWhatIsRecordedBelongsToTheContextsTrace(t *testing.T) {
	SetTraceContext(func(context.Context) (string, string) { return ambient, "" })
	defer SetTraceContext(nil)
	fresh(t)
	record := CallRecord{
		Request:  ask("hi"),
		Response: json.RawMessage(`{"type":"message","id":"msg_1","role":"assistant","model":"m","content":[],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2}}`),
	}
	if _, err := Record(context.Background(), record); err != nil {
		t.Fatal(err)
	}
	if id := onlyRecord(t)["traceId"]; id != traceID {
		t.Errorf("the record is of trace %v", id)
	}
}
