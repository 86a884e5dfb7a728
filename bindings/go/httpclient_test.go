package revenium

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func post(t *testing.T, ctx context.Context, base, body string, headers ...string) *http.Request {
	t.Helper()
	request := must(http.NewRequestWithContext(ctx, "POST", base+"/v1/messages", strings.NewReader(body)))
	request.Header.Set("X-Api-Key", "sk-ant-of-the-sdk")
	request.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	return request
}

func answerOf(t *testing.T, c *http.Client, request *http.Request) (*http.Response, string) {
	t.Helper()
	response, err := c.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response, string(must(io.ReadAll(response.Body)))
}

// provider answers as told, and keeps the last request.
func provider(t *testing.T, answer http.HandlerFunc) (url string, last func() (*http.Request, string)) {
	t.Helper()
	type received struct {
		request *http.Request
		body    string
	}
	var latest atomic.Pointer[received]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		latest.Store(&received{r, string(must(io.ReadAll(r.Body)))})
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, func() (*http.Request, string) { return latest.Load().request, latest.Load().body }
}

func reply(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Request-Id", "req_1")
	w.Header().Set("Content-Encoding", "identity")
	_, _ = io.WriteString(w, everyKind)
}

func TestTransportSendsWhatItGot(t *testing.T) {
	fresh(t)
	url, last := provider(t, reply)
	ctx := WithUsageMetadata(context.Background(), object{"agent": "scope", "traceId": "scope"})
	text := `{"model":"m","max_tokens" : 9,"messages":[],"top_k":1.0e1,"usage_metadata":{"traceId":"own"},"revenium":{"headers":{"x-mine":"2"}}}`
	request := post(t, ctx, url+"/proxy%2Fx", text, "Anthropic-Version", "2030-01-01", "X-Mine", "1", "Accept-Encoding", "compress")
	request.URL.RawQuery = "beta=true"
	request.Host = "other.example"
	request.Header["Anthropic-Beta"] = []string{"a", "b"}
	response, body := answerOf(t, HTTPClient(), request)
	if response.StatusCode != 200 || body != everyKind || response.Header.Get("Request-Id") != "req_1" ||
		response.ContentLength != int64(len(everyKind)) || response.Request == nil {
		t.Errorf("%+v %s", response, body)
	}
	sent, sentBody := last()
	if sent.URL.RawPath != "/proxy%2Fx/v1/messages" || sent.URL.RawQuery != "beta=true" || sent.Host != "other.example" {
		t.Errorf("%s at %s", sent.URL, sent.Host)
	}
	if sentBody != `{"model":"m","max_tokens" : 9,"messages":[],"top_k":1.0e1}` {
		t.Errorf("the body changed: %s", sentBody)
	}
	for name, want := range map[string]string{
		"X-Api-Key": "sk-ant-of-the-sdk", "Authorization": "", "Anthropic-Version": "2030-01-01", "Anthropic-Beta": "a, b", "X-Mine": "2",
	} {
		if got := strings.Join(sent.Header[name], "|"); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	// What is decoded by the library is asked for by the library, and nobody decodes it once more.
	if coding := sent.Header.Get("Accept-Encoding"); strings.Contains(coding, "compress") {
		t.Errorf("asked for %q", coding)
	}
	if coding, given := response.Header["Content-Encoding"]; given {
		t.Errorf("handed over as %q", coding)
	}
	if record := onlyRecord(t); record["agent"] != "scope" || record["traceId"] != "own" {
		t.Errorf("%v", record)
	}
}

func TestTransportSendsTheSDKsCredentialOnly(t *testing.T) {
	url, last := provider(t, reply)
	for name, test := range map[string]struct{ key, token, wantKey, wantToken string }{
		"key":   {"k", "", "k", ""},
		"token": {"", "Bearer t", "", "Bearer t"},
		"both":  {"k", "Bearer t", "k", "Bearer t"},
		"none":  {"", "", "", ""}, // not ours either
	} {
		request := post(t, context.Background(), url, `{"model":"m"}`)
		request.Header.Del("X-Api-Key")
		if test.key != "" {
			request.Header.Set("X-Api-Key", test.key)
		}
		if test.token != "" {
			request.Header.Set("Authorization", test.token)
		}
		answerOf(t, HTTPClient(), request)
		sent, _ := last()
		if sent.Header.Get("X-Api-Key") != test.wantKey || sent.Header.Get("Authorization") != test.wantToken {
			t.Errorf("%s: %v", name, sent.Header)
		}
	}
}

func TestTransportLeavesOtherRequestsAlone(t *testing.T) {
	fresh(t)
	started := must(Status()).CallsStarted
	url, last := provider(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/from" {
			http.Redirect(w, r, "/to", http.StatusFound)
			return
		}
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "other")
	})
	for _, test := range []struct{ method, path, body, reached string }{
		{"GET", "/v1/messages", "", "/v1/messages"},
		{"POST", "/v1/messages/count_tokens", `{"usage_metadata":{}}`, "/v1/messages/count_tokens"},
		{"POST", "/v1/messages/batches", `{}`, "/v1/messages/batches"},
		{"GET", "/from", "", "/to"},
		{"POST", "/v1/messages", "no JSON", "/v1/messages"},
		{"POST", "/v1/messages", "{\"a\":\"\xff\"}", "/v1/messages"},
		{"POST", "/v1/messages", `[1]`, "/v1/messages"},
	} {
		request := must(http.NewRequest(test.method, url+test.path, strings.NewReader(test.body)))
		response, body := answerOf(t, HTTPClient(), request)
		sent, sentBody := last()
		if response.StatusCode != 418 || body != "other" || sent.URL.Path != test.reached || sentBody != test.body {
			t.Errorf("%v: %s %s %s", test, response.Status, sent.URL, sentBody)
		}
	}
	if n := must(Status()).CallsStarted; n != started {
		t.Errorf("%d calls went through the library", n-started)
	}
}

func TestTransportGivesErrorsAsTheyCame(t *testing.T) {
	ours := `{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}`
	for name, test := range map[string]struct {
		status       int
		kind, answer string
	}{
		"error object":  {429, "application/json", ours},
		"other JSON":    {500, "application/json", `{"detail":"gateway"}`},
		"page":          {502, "text/html", "<h1>Bad gateway</h1>"},
		"nothing":       {503, "", ""},
		"redirect":      {307, "text/plain", "elsewhere"},
		"odd success":   {200, "text/plain", "hello"},
		"error with OK": {200, "application/json", ours},
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int32
			url, _ := provider(t, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				w.Header().Set("Content-Type", test.kind)
				w.Header().Set("Retry-After", "3")
				if test.status == 307 {
					w.Header().Set("Location", "/elsewhere")
				}
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.answer)
			})
			for _, body := range []string{`{"model":"m"}`, `{"model":"m","stream":true}`} {
				if test.status == 200 && strings.Contains(body, "stream") {
					continue // no stream at all
				}
				calls.Store(0)
				response, got := answerOf(t, HTTPClient(), post(t, context.Background(), url, body))
				if response.StatusCode != test.status || got != test.answer || response.Header.Get("Retry-After") != "3" || calls.Load() != 1 {
					t.Errorf("%s %q after %d requests, want %d %q", response.Status, got, calls.Load(), test.status, test.answer)
				}
			}
		})
	}
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	listener.Close()
	_, err := HTTPClient().Do(post(t, context.Background(), "http://"+listener.Addr().String(), `{"model":"m"}`))
	if !errors.Is(err, ErrConnection) {
		t.Error(err)
	}
}

func TestTransportStreams(t *testing.T) {
	var stream strings.Builder
	for _, event := range everyKindStreamed {
		var typed struct{ Type string }
		_ = json.Unmarshal([]byte(event), &typed)
		stream.WriteString("event: " + typed.Type + "\ndata: " + event + "\n\n")
	}
	whole := stream.String()
	streamed := `{"model":"m","stream":true}`
	failure := `{"type":"error","error":{"type":"overloaded_error","message":"m"}}`
	half := whole[:strings.Index(whole, `event: message_delta`)]
	for name, test := range map[string]struct {
		sent, got string
		kind      string
		cut       bool
		err       error
	}{
		"whole":       {sent: whole, got: whole},
		"lines":       {sent: strings.ReplaceAll(whole, `"index":0`, "\ndata: \"index\":0"), got: strings.ReplaceAll(whole, `"index":0`, "\ndata: \"index\":0")},
		"error event": {sent: half + "event: error\ndata: " + failure + "\n\n", got: half + "event: error\ndata: " + failure + "\n\n"},
		"broken":      {sent: half, got: half, cut: true, err: ErrStream},
		"no stream":   {sent: everyKind, got: everyKind, kind: "application/json"},
	} {
		t.Run(name, func(t *testing.T) {
			url, _ := provider(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				if test.kind != "" {
					w.Header().Set("Content-Type", test.kind)
				}
				_, _ = io.WriteString(w, test.sent)
				w.(http.Flusher).Flush()
				if test.cut {
					panic(http.ErrAbortHandler)
				}
			})
			response, err := HTTPClient().Do(post(t, context.Background(), url, streamed))
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			got, err := io.ReadAll(response.Body)
			if string(got) != test.got || !errors.Is(err, test.err) {
				t.Errorf("%v\ngot  %s\nwant %s", err, got, test.got)
			}
			if test.cut && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Error(err)
			}
			if response.ContentLength != -1 || response.Header.Get("Content-Length") != "" {
				t.Errorf("%v", response.Header)
			}
		})
	}
}

func TestTransportHeadComesFirst(t *testing.T) {
	fresh(t)
	goOn := make(chan struct{})
	url, _ := provider(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Request-Id", "req_early")
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		select {
		case <-goOn:
		case <-r.Context().Done():
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	response, err := HTTPClient().Do(post(t, ctx, url, `{"model":"m","stream":true}`))
	if err != nil || response.Header.Get("Request-Id") != "req_early" {
		t.Fatal(response, err)
	}
	read := make(chan error)
	go func() {
		_, err := io.ReadAll(response.Body)
		read <- err
	}()
	cancel()
	if err := <-read; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	response.Body.Close()

	// Closing the body cancels the call, too.
	response, err = HTTPClient().Do(post(t, context.Background(), url, `{"model":"m","stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	response.Body.Close()
	untilIdle(t)
	close(goOn)
	for _, record := range records(t) {
		if record["stopReason"] != "CANCELLED" {
			t.Errorf("%v", record)
		}
	}
}

func TestTransportContext(t *testing.T) {
	url, _ := provider(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithCancel(context.Background())
	for range 2 { // before, and when it has ended
		time.AfterFunc(20*time.Millisecond, cancel)
		if _, err := HTTPClient().Do(post(t, ctx, url, `{"model":"m"}`)); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	ctx, cancel = context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	var timeout net.Error
	if _, err := HTTPClient().Do(post(t, ctx, url, `{"model":"m"}`)); !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Error(err)
	}
	limited := HTTPClient()
	limited.Timeout = 20 * time.Millisecond
	if _, err := limited.Do(post(t, context.Background(), url, `{"model":"m"}`)); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestTransportLongReplies(t *testing.T) {
	// More than ten minutes' worth of tokens is streamed underneath; the caller asked for one document and gets it.
	base := os.Getenv("SANDBOX_URL")
	response, body := answerOf(t, HTTPClient(), post(t, context.Background(), base,
		`{"model":"m","max_tokens":100000,"messages":[{"role":"user","content":"long"}]}`, "X-Api-Key", "sk-ant-sandbox"))
	if !isJSON(response.Header) || !strings.Contains(body, "You said: long") || response.ContentLength != int64(len(body)) {
		t.Errorf("%v %s", response.Header, body)
	}
}

func TestTransportRetries(t *testing.T) {
	fresh(t)
	base := os.Getenv("SANDBOX_URL")
	sandbox(t, "POST", "plan", object{"path": "/transport/v1/messages", "answers": []any{object{"status": 529}, object{"status": 400}}})
	for i, test := range []struct {
		client  *http.Client
		attempt string
		records int
	}{
		{HTTPClient(), "0", 0}, // it will try again
		{HTTPClient(), "1", 1}, // 400: it will not
		{HTTPClient(), "2", 1}, // it gives up
		{HTTPClient(MaxRetries(0)), "0", 1},
		{HTTPClient(MaxRetries(5)), "2", 0},
		{HTTPClient(), "", 1}, // another client
	} {
		status := 529
		if i == 1 {
			status = 400
		}
		sandbox(t, "POST", "plan", object{"path": "/transport/v1/messages", "answers": []any{object{"status": status}}})
		fresh(t)
		request := post(t, context.Background(), base+"/transport", `{"model":"m"}`)
		if test.attempt != "" {
			request.Header.Set("X-Stainless-Retry-Count", test.attempt)
		}
		response, _ := answerOf(t, test.client, request)
		if asked := requests(t); response.StatusCode != status || len(asked) != 1 || test.attempt != "" && asked[0].Headers["x-stainless-retry-count"] != test.attempt {
			t.Errorf("%d: %s, %v", i, response.Status, asked)
		}
		all := records(t)
		if len(all) != test.records {
			t.Errorf("%d: %v", i, all)
		}
	}
}

func TestTransportWithoutLibrary(t *testing.T) {
	inChild(t, func() {
		if err := Init(Config{"max_in_flight": 1}); err != nil {
			t.Fatal(err)
		}
		url, last := provider(t, reply)
		busy := client.Messages.NewStreaming(context.Background(), ask("x"), planned(t, stalled))
		busy.Next()
		text := `{"model":"m","usage_metadata":{"agent":"a"},"n":1.0e1,"revenium":{"meter":true},"stream":false}`
		for range 2 {
			_, body := answerOf(t, HTTPClient(), post(t, context.Background(), url, text))
			sent, sentBody := last()
			if body != everyKind || sentBody != `{"model":"m","n":1.0e1,"stream":false}` || sent.Header.Get("X-Api-Key") != "sk-ant-of-the-sdk" {
				t.Errorf("%s of %s", body, sentBody)
			}
			if err := Shutdown(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		signed := post(t, context.Background(), url, text, "Authorization", "AWS4-HMAC-SHA256 Credential=x")
		answerOf(t, HTTPClient(), signed)
		if _, sentBody := last(); sentBody != text {
			t.Errorf("signed bytes changed: %s", sentBody)
		}
	})
}
