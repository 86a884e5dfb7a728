//go:build cgo

package revenium

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

const messagesPath = "/v1/messages"

// sdkRetries is how often Anthropic's SDK tries again unless it is told otherwise.
const sdkRetries = 2

// HTTPClient is for Anthropic's own SDK: anthropic.NewClient(option.WithHTTPClient(revenium.HTTPClient())).
//
// Requests to POST .../v1/messages go through librevenium, which meters them: to the URL and with the headers that the
// SDK chose, its credential among them. All other requests go through [http.DefaultTransport], untouched. Those among them
// that go to Claude in AWS Bedrock, Google Vertex AI or Microsoft Foundry are metered by what passes, and so are the results
// of Message Batches as they are read. Metadata comes from the request's context and from the member usage_metadata of its
// body; a request that is signed for AWS must not have one, it would reach AWS.
//
// The SDK goes on to retry. A failure after which it tries again leaves no record, the last one does; see [MaxRetries].
func HTTPClient(options ...HTTPOption) *http.Client {
	t := &transport{maxRetries: sdkRetries}
	for _, option := range options {
		option(t)
	}
	return &http.Client{Transport: t, CheckRedirect: checkRedirect}
}

// HTTPOption is a choice for [HTTPClient].
type HTTPOption func(*transport)

// MaxRetries says how often the SDK tries again, for a client with an option.WithMaxRetries: only the attempt after which
// it gives up leaves a record of a failure, and the SDK tells its transport no more than which attempt this is.
func MaxRetries(n int) HTTPOption { return func(t *transport) { t.maxRetries = n } }

// transport answers for the Messages API through the library.
type transport struct {
	maxRetries int
}

func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if w := watchedBy(request); w != nil {
		return t.watch(request, w)
	}
	if batch := batchOf(request); batch != "" {
		return results(request, batch)
	}
	if request.Method != http.MethodPost || !strings.HasSuffix(request.URL.Path, messagesPath) || isSigned(request) || request.Body == nil {
		return http.DefaultTransport.RoundTrip(request)
	}
	body, err := io.ReadAll(request.Body)
	if closeErr := request.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	ctx := request.Context()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !isObject(body) {
		return directly(request, body) // nothing to meter; the provider says what is wrong with it
	}
	attempt, err := strconv.Atoi(request.Header.Get("X-Stainless-Retry-Count"))
	if err != nil {
		attempt = t.maxRetries // of another client, which may not try again
	}
	metadata := scopeAt(ctx)
	if err == nil && attempt > 0 {
		// Under what the program says itself.
		metadata = metadata.over(&scope{fields: marshalFields(map[string]any{"retryNumber": attempt})})
	}
	streamed := string(member(body, "stream")) == "true"
	d, err := started()
	var c *call
	if err == nil {
		choices := choicesOf(request, attempt >= t.maxRetries)
		c, err = d.begin(ctx, addChoices(ctx, body, choices), metadata.at(choices), streamed)
	}
	if errors.Is(err, ErrBudgetExceeded) {
		return overBudget(request, err), nil
	}
	if err != nil {
		warnUnmetered(err)
		return directly(request, withoutOurs(body))
	}
	if streamed {
		head, err := c.answered(ctx)
		if err != nil {
			return nil, err
		}
		if head != nil {
			return streamedResponse(ctx, request, c, head), nil
		}
	}
	r, err := c.wait(ctx)
	if err != nil {
		return nil, err
	}
	return wholeResponse(request, r)
}

// overBudget is what the SDK makes its own error of, after one attempt.
func overBudget(request *http.Request, err error) *http.Response {
	var failure *Error
	errors.As(err, &failure)
	headers := http.Header{"Content-Type": {"application/json"}, "X-Should-Retry": {"false"}}
	response := responseOf(request, http.StatusPaymentRequired, headers)
	response.Body = io.NopCloser(bytes.NewReader(failure.Raw))
	response.ContentLength = int64(len(failure.Raw))
	return response
}

// isSigned: AWS checks a signature over the very bytes and headers.
func isSigned(request *http.Request) bool {
	return strings.HasPrefix(request.Header.Get("Authorization"), "AWS4-")
}

// directly sends the request without the library.
func directly(request *http.Request, body []byte) (*http.Response, error) {
	again := request.Clone(request.Context())
	again.Body = io.NopCloser(bytes.NewReader(body))
	again.ContentLength = int64(len(body))
	return http.DefaultTransport.RoundTrip(again)
}

var warned sync.Map // by code

// warnUnmetered tells, once for each reason, that the library took no call. Metering never fails a call.
func warnUnmetered(err error) {
	var failure *Error
	if !errors.As(err, &failure) {
		return
	}
	if _, before := warned.LoadOrStore(failure.Code, true); !before {
		slog.Warn("revenium: a call went out unmetered (said once for this reason)", "reason", failure.Error())
	}
}

// choicesOf send the request where, and with what, the SDK wanted to send it. last: it will not try again.
func choicesOf(request *http.Request, last bool) choices {
	never := 0 // the SDK does
	base := url.URL{
		Scheme:   request.URL.Scheme,
		Host:     request.URL.Host,
		Path:     strings.TrimSuffix(request.URL.Path, messagesPath),
		RawPath:  strings.TrimSuffix(request.URL.RawPath, messagesPath),
		RawQuery: request.URL.RawQuery, // beta=true
	}
	c := choices{
		BaseURL: base.String(), Provider: ProviderAnthropic.String(), Headers: map[string]*string{},
		MaxRetries: &never, MeterRetryable: &last, Dropin: true,
	}
	for name, values := range request.Header {
		if !isTransportHeader(name) {
			value := strings.Join(values, ", ")
			c.Headers[name] = &value
		}
	}
	if request.Host != "" && request.Host != request.URL.Host {
		c.host = request.Host
	}
	if request.Header.Get("X-Api-Key") == "" && request.Header.Get("Authorization") == "" {
		// The SDK has no credential, so this process's own must not go to wherever it sends its request.
		none := ""
		c.Headers["X-Api-Key"] = &none
	}
	return c
}

// isTransportHeader: of the connection rather than of the request, or about the body's bytes, which are the library's.
func isTransportHeader(name string) bool {
	switch name {
	case "Accept-Encoding", "Connection", "Content-Length", "Expect", "Host", "Keep-Alive", "Proxy-Connection", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// wholeResponse is the response that the result of a call tells of, or the error, if there was none.
func wholeResponse(request *http.Request, r *result) (*http.Response, error) {
	info := parseInfo(r.info)
	if info.Headers == nil {
		info.Headers = http.Header{}
	}
	body := []byte(r.json)
	if r.code == codeOK {
		if !isJSON(info.Headers) {
			info.Headers.Set("Content-Type", "application/json") // a long reply, streamed underneath
		}
	} else {
		sent, something := sentBody(r)
		// A success of another shape than the Messages API's, or one that is an error: the SDK judges it. But not the
		// error of a long reply that was streamed underneath: that one came in an event.
		odd := something && (r.code == ErrStream || r.code.isProviders() && isJSON(info.Headers))
		if info.StatusCode < 300 && !odd {
			return nil, newError(r)
		}
		body = sent
	}
	response := responseOf(request, info.StatusCode, info.Headers)
	response.Body = io.NopCloser(bytes.NewReader(body))
	response.ContentLength = int64(len(body))
	response.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return response, nil
}

// sentBody is the body of a failed call as the provider sent it. The library puts what is no error object into one of
// its own, with the sentence of the result as its message.
func sentBody(r *result) (body []byte, something bool) {
	var wrapped struct {
		Error struct {
			Message string  `json:"message"`
			Body    *string `json:"body"`
		} `json:"error"`
	}
	if json.Unmarshal(r.json, &wrapped) != nil || wrapped.Error.Message != r.message {
		return r.json, true
	}
	if wrapped.Error.Body == nil {
		return nil, false
	}
	return []byte(*wrapped.Error.Body), true
}

// streamedResponse is the response of which the head has come.
func streamedResponse(ctx context.Context, request *http.Request, c *call, head []byte) *http.Response {
	info := parseInfo(head)
	if info.Headers == nil {
		info.Headers = http.Header{}
	}
	response := responseOf(request, info.StatusCode, info.Headers)
	response.ContentLength = -1
	response.Body = &streamBody{ctx: ctx, call: c, plain: isJSON(info.Headers)}
	return response
}

func responseOf(request *http.Request, status int, headers http.Header) *http.Response {
	// The body is decoded, and of another length.
	for _, name := range []string{"Connection", "Content-Encoding", "Content-Length", "Keep-Alive", "Transfer-Encoding"} {
		headers.Del(name)
	}
	return &http.Response{
		Status:     strconv.Itoa(status) + " " + http.StatusText(status),
		StatusCode: status,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     headers,
		Request:    request,
	}
}

// streamBody turns events back into the lines they came in.
type streamBody struct {
	ctx     context.Context
	call    *call
	plain   bool // one JSON document was announced instead of events
	begun   bool // events came, whatever was announced
	unread  []byte
	err     error
	stopped bool
}

func (b *streamBody) Read(p []byte) (int, error) {
	for len(b.unread) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		events, end, err := b.call.nextEvents(b.ctx)
		if err != nil {
			b.err = err
			continue
		}
		b.unread = b.unread[:0]
		for _, event := range events {
			b.unread = appendEvent(b.unread, typeOf(event), event.json)
		}
		b.begun = b.begun || len(events) > 0
		if end == nil {
			continue
		}
		b.err = io.EOF
		switch {
		case end.code == codeOK && b.begun:
		case end.code == codeOK, end.code.isProviders() && b.plain && !b.begun:
			b.unread = end.json
		case end.code.isProviders():
			b.unread = appendEvent(b.unread, "error", end.json)
		default:
			b.err = newError(end)
			if end.code == ErrStream {
				b.err = errors.Join(io.ErrUnexpectedEOF, b.err)
			}
		}
	}
	n := copy(p, b.unread)
	b.unread = b.unread[n:]
	return n, nil
}

// Close cancels the call, unless it has ended.
func (b *streamBody) Close() error {
	if !b.stopped {
		b.stopped = true
		b.call.cancel()
		b.call.abandon()
	}
	return nil
}

func typeOf(e event) string {
	if e.kind > 0 && int(e.kind) < len(eventTypes) {
		return eventTypes[e.kind]
	}
	var event struct {
		Type string `json:"type"`
	}
	_ = json.Unmarshal(e.json, &event)
	return event.Type
}

func appendEvent(out []byte, name string, data []byte) []byte {
	if name != "" && !strings.ContainsAny(name, "\r\n") {
		out = append(append(append(out, "event: "...), name...), '\n')
	}
	for _, line := range bytes.Split(data, []byte{'\n'}) {
		out = append(append(append(out, "data: "...), line...), '\n')
	}
	return append(out, '\n')
}

func isJSON(headers http.Header) bool {
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(headers.Get("Content-Type"))), "application/json")
}

func isObject(body []byte) bool {
	body = bytes.TrimLeft(body, " \t\r\n")
	return len(body) > 0 && body[0] == '{' && utf8.Valid(body) && json.Valid(body)
}

// checkRedirect follows as net/http does, but never with a message: that one answers where it was sent to.
func checkRedirect(request *http.Request, via []*http.Request) error {
	if via[0].Method == http.MethodPost && strings.HasSuffix(via[0].URL.Path, messagesPath) {
		return http.ErrUseLastResponse
	}
	if len(via) >= 10 {
		return errors.New("stopped after 10 redirects")
	}
	return nil
}
