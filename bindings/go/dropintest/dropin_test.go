package dropintest

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/librevenium/librevenium/bindings/go"
)

// call is what a test asks of an SDK.
type call struct {
	client  *http.Client // nil: the SDK's own
	base    string
	text    string
	token   string // instead of a key
	retries int
	members map[string]any // of the body, beside the SDK's own
}

// reply is what a test looks at.
type reply struct {
	ID, Text, Thinking, ToolInput, StopReason string
	Kinds                                     []string
	Input, Output                             int64
}

// failure is an error of the SDK, taken apart.
type failure struct {
	Status                     int
	RequestID, Raw, RetryAfter string
}

func (f *failure) Error() string { return fmt.Sprint(f.Status, " ", f.Raw) }

// sdk is one version of Anthropic's SDK.
type sdk interface {
	message(context.Context, call) (reply, error)
	stream(ctx context.Context, c call, each func(kind string) bool) (reply, error)
	beta(context.Context, call) (reply, error)
	countTokens(context.Context, call) (int64, error)
	create(context.Context, call) (reply, error)
	createStreaming(context.Context, call) (reply, error)
}

var sdks = map[string]sdk{}

func TestMain(m *testing.M) {
	if os.Getenv("SANDBOX_URL") != "" {
		os.Exit(m.Run())
	}
	again := exec.Command("../../../tests/with_sandbox.sh", os.Args...)
	again.Stdin, again.Stdout, again.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := again.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type object = map[string]any

func sandbox(t *testing.T, method, path string, body any) []byte {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, _ := http.NewRequest(method, os.Getenv("SANDBOX_URL")+"/sandbox/"+path, bytes.NewReader(text))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %s %v", method, path, response.Status, answer, err)
	}
	return answer
}

// planned is a base URL below which the sandbox answers so.
func planned(t *testing.T, answers ...any) string {
	t.Helper()
	base := "/" + strings.ReplaceAll(t.Name(), "/", "_")
	sandbox(t, "POST", "plan", object{"path": base + "/v1/messages", "answers": answers})
	return os.Getenv("SANDBOX_URL") + base
}

func fresh(t *testing.T) {
	t.Helper()
	idle(t)
	sandbox(t, "DELETE", "records", nil)
	sandbox(t, "DELETE", "requests", nil)
}

// idle waits until every call has ended and every record is delivered.
func idle(t *testing.T) {
	t.Helper()
	for {
		state, err := revenium.Status()
		if err != nil {
			t.Fatal(err)
		}
		if state.CallsInFlight == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err := revenium.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func records(t *testing.T) []object {
	t.Helper()
	idle(t)
	var records []struct{ Body object }
	if err := json.Unmarshal(sandbox(t, "GET", "records", nil), &records); err != nil {
		t.Fatal(err)
	}
	bodies := make([]object, len(records))
	for i, record := range records {
		bodies[i] = record.Body
	}
	return bodies
}

type sent struct {
	Path, Query, Raw string
	Headers          map[string]string
}

func requests(t *testing.T) (requests []sent) {
	t.Helper()
	if err := json.Unmarshal(sandbox(t, "GET", "requests", nil), &requests); err != nil {
		t.Fatal(err)
	}
	return requests
}

func sse(end string, events ...string) object {
	chunks := make([]string, len(events))
	for i, event := range events {
		var typed struct{ Type string }
		_ = json.Unmarshal([]byte(event), &typed)
		chunks[i] = "event: " + typed.Type + "\ndata: " + event + "\n\n"
	}
	return object{"headers": object{"content-type": "text/event-stream"}, "chunks": chunks, "end": end}
}

func labelled(kind string, events ...string) object {
	answer := sse("ok", events...)
	answer["headers"] = object{"content-type": kind}
	return answer
}

const everyKind = `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[` +
	`{"type":"thinking","thinking":"Hm.","signature":"s"},{"type":"text","text":"Yes"},` +
	`{"type":"tool_use","id":"t","name":"look","input":{"a":[1]}},{"type":"hologram","depth":3}],` +
	`"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":7,"output_tokens":5}}`

var streamed = []string{
	`{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":7,"output_tokens":1}}}`,
	`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`,
	`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm."}}`,
	`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s"}}`,
	`{"type":"content_block_stop","index":0}`,
	`{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}`,
	`{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Yes"}}`,
	`{"type":"content_block_stop","index":1}`,
	`{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t","name":"look","input":{}}}`,
	`{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}`,
	`{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"[1]}"}}`,
	`{"type":"content_block_stop","index":2}`,
	`{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":5}}`,
	`{"type":"message_stop"}`,
}

func forEach(t *testing.T, test func(t *testing.T, s sdk)) {
	if len(sdks) != 2 {
		t.Fatalf("%d SDKs", len(sdks))
	}
	for name, s := range sdks {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
}

// Whatever the provider answers, a program sees the same with the transport as without it.
func TestSameAsWithout(t *testing.T) {
	failed := `{"type":"error","error":{"type":"rate_limit_error","message":"slow down"},"request_id":"req_x"}`
	overloaded := `{"type":"error","error":{"type":"overloaded_error","message":"m"}}`
	forEach(t, func(t *testing.T, s sdk) {
		for name, answer := range map[string]object{
			"every kind":    {"text": everyKind, "headers": object{"content-type": "application/json"}},
			"rate limit":    {"status": 429, "text": failed, "headers": object{"retry-after": "3", "content-type": "application/json"}},
			"bad request":   {"status": 400, "text": failed, "headers": object{"content-type": "application/json"}},
			"page":          {"status": 502, "text": "<h1>Bad gateway</h1>", "headers": object{"content-type": "text/html"}},
			"empty":         {"status": 500, "text": ""},
			"stream":        sse("ok", streamed...),
			"error event":   sse("ok", append(streamed[:7:7], overloaded)...),
			"broken stream": sse("cut", streamed[:7]...),
			// As gateways do: errors with the status of a success, and labels that are wrong.
			"error with 200":           {"text": overloaded, "headers": object{"content-type": "application/json"}},
			"nameless error with 200":  {"text": `{"error":{"message":"no","code":502}}`, "headers": object{"content-type": "application/json"}},
			"streamed error with 200":  {"chunks": []string{overloaded}, "headers": object{"content-type": "application/json"}},
			"events labelled JSON":     labelled("application/json", streamed...),
			"events labelled as text":  labelled("text/plain", streamed...),
			"message labelled events":  {"chunks": []string{everyKind}, "headers": object{"content-type": "text/event-stream"}},
			"message for a stream":     {"chunks": []string{everyKind}, "headers": object{"content-type": "application/json"}},
			"message labelled as text": {"text": everyKind, "headers": object{"content-type": "text/plain"}},
		} {
			t.Run(name, func(t *testing.T) {
				c := call{base: planned(t, answer), text: "hello"}
				ask := s.message
				if answer["chunks"] != nil {
					ask = func(ctx context.Context, c call) (reply, error) { return s.stream(ctx, c, nil) }
				}
				plain, plainErr := ask(context.Background(), c)
				fresh(t)
				c.client = revenium.HTTPClient(revenium.MaxRetries(0))
				got, err := ask(context.Background(), c)
				if !reflect.DeepEqual(got, plain) {
					t.Errorf("got %+v, without %+v", got, plain)
				}
				var failed, plainFailed *failure
				if errors.As(plainErr, &plainFailed) {
					if !errors.As(err, &failed) {
						t.Fatalf("got %v, without %v", err, plainErr)
					}
					failed.RequestID, plainFailed.RequestID = "", "" // the sandbox counts them
					if *failed != *plainFailed {
						t.Errorf("got %+v, without %+v", failed, plainFailed)
					}
				} else if (err == nil) != (plainErr == nil) || (err != nil && errors.Is(plainErr, io.ErrUnexpectedEOF) != errors.Is(err, io.ErrUnexpectedEOF)) {
					t.Errorf("got %v, without %v", err, plainErr)
				}
				if n := len(records(t)); n != 1 {
					t.Errorf("%d records", n)
				}
			})
		}
	})
}

// What a proxy compresses, asked for or not, is to the program what it is without that: in any coding, flushed by event,
// without its trailer, and announced but not done.
func TestCompressed(t *testing.T) {
	whole := []string{everyKind}
	events := sse("ok", streamed...)["chunks"].([]string)
	forEach(t, func(t *testing.T, s sdk) {
		for name, test := range map[string]struct {
			pieces []string
			kind   string
			ask    func(context.Context, call) (reply, error)
		}{
			"message": {whole, "application/json", s.message},
			"stream":  {events, "text/event-stream", func(ctx context.Context, c call) (reply, error) { return s.stream(ctx, c, nil) }},
		} {
			t.Run(name, func(t *testing.T) {
				answer := func(coding string, pieces []string) object {
					chunks := make([]object, len(pieces))
					for i, piece := range pieces {
						chunks[i] = object{"base64": base64.StdEncoding.EncodeToString([]byte(piece))}
					}
					return object{"chunks": chunks, "headers": object{"content-type": test.kind, "content-encoding": coding}}
				}
				want, err := test.ask(context.Background(), call{base: planned(t, answer("identity", test.pieces))})
				if err != nil || want.Text != "Yes" {
					t.Fatal(want, err)
				}
				zipped, deflated, raw := coded(t, test.pieces, "gzip"), coded(t, test.pieces, "zlib"), coded(t, test.pieces, "flate")
				joined := strings.Join(zipped, "")
				answers := map[string]object{
					"gzip": answer("gzip", zipped), "deflate": answer("deflate", deflated), "raw deflate": answer("deflate", raw),
					"byte by byte": answer("gzip", strings.Split(joined, "")), "no trailer": answer("gzip", []string{joined[:len(joined)-8]}),
					"not done": answer("gzip", test.pieces), "br, not done": answer("br", test.pieces),
				}
				for name, answer := range answers {
					fresh(t)
					got, err := test.ask(context.Background(), call{client: revenium.HTTPClient(), base: planned(t, answer)})
					if err != nil || !reflect.DeepEqual(got, want) {
						t.Errorf("%s: %+v %v, without compression %+v", name, got, err, want)
					}
					if all := records(t); len(all) != 1 || all[0]["outputTokenCount"] != 5.0 {
						t.Errorf("%s: %v", name, all)
					}
				}
			})
		}
	})
}

// coded are the pieces, each flushed, as who streams does.
func coded(t *testing.T, pieces []string, coding string) []string {
	t.Helper()
	var out bytes.Buffer
	var writer interface {
		io.WriteCloser
		Flush() error
	}
	switch coding {
	case "gzip":
		writer = gzip.NewWriter(&out)
	case "zlib":
		writer = zlib.NewWriter(&out)
	default:
		writer, _ = flate.NewWriter(&out, flate.DefaultCompression)
	}
	var all []string
	for _, piece := range pieces {
		if _, err := io.WriteString(writer, piece); err != nil {
			t.Fatal(err)
		}
		if err := writer.Flush(); err != nil {
			t.Fatal(err)
		}
		all = append(all, out.String())
		out.Reset()
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return append(all, out.String())
}

// The provider gets what the SDK would have sent itself.
func TestSameRequest(t *testing.T) {
	forEach(t, func(t *testing.T, s sdk) {
		for name, ask := range map[string]func(context.Context, call) (reply, error){
			"message": s.message, "beta": s.beta,
			"stream": func(ctx context.Context, c call) (reply, error) { return s.stream(ctx, c, nil) },
		} {
			for _, token := range []string{"", "token-1"} {
				fresh(t)
				c := call{base: os.Getenv("SANDBOX_URL"), text: "hello <&> \u2028", token: token}
				without, err := ask(context.Background(), c)
				c.client = revenium.HTTPClient()
				with, withErr := ask(context.Background(), c)
				if err != nil || withErr != nil || with.Text != without.Text || with.Text == "" {
					t.Fatal(name, err, withErr)
				}
				both := requests(t)
				if len(both) != 2 {
					t.Fatalf("%s: %d requests", name, len(both))
				}
				for _, request := range both {
					delete(request.Headers, "accept-encoding") // the transport's own affair
				}
				if !reflect.DeepEqual(both[0], both[1]) {
					t.Errorf("%s\nwithout %+v\nwith    %+v", name, both[0], both[1])
				}
			}
		}
	})
}

func TestMetadata(t *testing.T) {
	forEach(t, func(t *testing.T, s sdk) {
		fresh(t)
		ctx := revenium.WithUsageMetadata(context.Background(), object{"organizationName": "Acme", "agent": "scope"})
		c := call{
			client: revenium.HTTPClient(), base: os.Getenv("SANDBOX_URL"), text: "hello",
			members: object{"usage_metadata.agent": "call", "usage_metadata.taskType": "greet"},
		}
		if _, err := s.message(ctx, c); err != nil {
			t.Fatal(err)
		}
		if _, err := s.stream(ctx, c, nil); err != nil {
			t.Fatal(err)
		}
		for _, request := range requests(t) {
			credential := request.Headers["x-api-key"] + request.Headers["authorization"]
			if strings.Contains(request.Raw, "usage_metadata") || strings.TrimPrefix(credential, "Bearer ") != "sk-ant-of-the-sdk" {
				t.Errorf("%+v", request)
			}
		}
		all := records(t)
		for _, record := range all {
			if record["organizationName"] != "Acme" || record["agent"] != "call" || record["taskType"] != "greet" || record["middlewareSource"] != "revenium-anthropic-go" {
				t.Errorf("%v", record)
			}
		}
		if len(all) != 2 {
			t.Errorf("%d records", len(all))
		}
	})
}

// One call is one record, whatever the SDK retried.
func TestRetries(t *testing.T) {
	busy := object{"status": 529, "headers": object{"retry-after-ms": "1"}}
	forEach(t, func(t *testing.T, s sdk) {
		for name, test := range map[string]struct {
			retries  int
			client   *http.Client
			answers  []any
			requests int
			want     object
		}{
			"succeeds":      {2, revenium.HTTPClient(), []any{busy, "close", object{}}, 3, object{"stopReason": "END", "retryNumber": 2.0}},
			"gives up":      {2, revenium.HTTPClient(), []any{busy}, 3, object{"stopReason": "ERROR", "retryNumber": 2.0, "errorCode": 529.0}},
			"is refused":    {2, revenium.HTTPClient(), []any{busy, object{"status": 400}}, 2, object{"stopReason": "ERROR", "retryNumber": 1.0, "errorCode": 400.0}},
			"never retries": {0, revenium.HTTPClient(revenium.MaxRetries(0)), []any{busy}, 1, object{"stopReason": "ERROR", "retryNumber": 0.0, "errorCode": 529.0}},
		} {
			t.Run(name, func(t *testing.T) {
				fresh(t)
				_, err := s.message(context.Background(), call{client: test.client, retries: test.retries, text: "again", base: planned(t, test.answers...)})
				if (err == nil) != (test.want["stopReason"] == "END") {
					t.Error(err)
				}
				all, asked := records(t), requests(t)
				if len(all) != 1 || len(asked) != test.requests {
					t.Fatalf("%d requests, %v", len(asked), all)
				}
				for field, want := range test.want {
					if all[0][field] != want {
						t.Errorf("%s: %v, want %v", field, all[0][field], want)
					}
				}
				for i, request := range asked {
					if request.Headers["x-stainless-retry-count"] != fmt.Sprint(i) {
						t.Errorf("request %d is counted as %s", i, request.Headers["x-stainless-retry-count"])
					}
				}
			})
		}
	})
}

func TestCancelling(t *testing.T) {
	forEach(t, func(t *testing.T, s sdk) {
		fresh(t)
		c := call{client: revenium.HTTPClient(), base: planned(t, object{"end": "stall"}), retries: 2}
		ctx, cancel := context.WithCancel(context.Background())
		if _, err := s.stream(ctx, c, func(kind string) bool { cancel(); return true }); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		// Left early: the SDK closes the body.
		if _, err := s.stream(context.Background(), c, func(kind string) bool { return kind != "content_block_delta" }); err != nil {
			t.Error(err)
		}
		c.base = planned(t, "stall")
		ctx, cancel = context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if _, err := s.message(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		reasons := map[any]int{}
		for _, record := range records(t) {
			reasons[record["stopReason"]]++
		}
		if reasons["CANCELLED"] != 2 || reasons["ERROR"] != 1 {
			t.Errorf("%v", reasons)
		}
	})
}

func TestNetworkErrors(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	forEach(t, func(t *testing.T, s sdk) {
		_, err := s.message(context.Background(), call{client: revenium.HTTPClient(), base: "http://" + listener.Addr().String()})
		if !errors.Is(err, revenium.ErrConnection) {
			t.Error(err)
		}
	})
}

func TestOtherEndpoints(t *testing.T) {
	forEach(t, func(t *testing.T, s sdk) {
		fresh(t)
		base := "/" + strings.ReplaceAll(t.Name(), "/", "_")
		sandbox(t, "POST", "plan", object{"path": base + "/v1/messages/count_tokens", "answers": []any{object{"text": `{"input_tokens":12}`, "headers": object{"content-type": "application/json"}}}})
		n, err := s.countTokens(context.Background(), call{client: revenium.HTTPClient(), base: os.Getenv("SANDBOX_URL") + base, text: "x"})
		if err != nil || n != 12 {
			t.Error(n, err)
		}
		if all := records(t); len(all) != 0 {
			t.Errorf("%v", all)
		}
	})
}

// The SDK's types without its client.
func TestCreateWithTheSDKsTypes(t *testing.T) {
	forEach(t, func(t *testing.T, s sdk) {
		want := reply{
			ID: "msg_1", Text: "Yes", Thinking: "Hm.", ToolInput: `{"a":[1]}`, StopReason: "tool_use",
			Kinds: []string{"thinking", "text", "tool_use"}, Input: 7, Output: 5,
		}
		got, err := s.createStreaming(context.Background(), call{text: "x", base: planned(t, sse("ok", streamed...))})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v %v", got, err)
		}
		got, err = s.create(context.Background(), call{text: "x", base: planned(t, object{"text": everyKind})})
		want.Kinds = append(want.Kinds, "hologram")
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v %v", got, err)
		}
	})
}

// v1_test.go is v2_test.go for the other version.
func TestBothAreTestedAlike(t *testing.T) {
	file := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(string(text), "\nfunc header(")
		return strings.TrimSpace(strings.NewReplacer("/v2", "", "sdkV2", "sdkV1", `"v2"`, `"v1"`, "\t\"net/http\"\n", "").Replace(head))
	}
	if file("v1_test.go") != file("v2_test.go") {
		t.Error("v1_test.go and v2_test.go differ in more than the version")
	}
}
