//go:build cgo

package revenium

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// What goes to another service than Anthropic's own passes untouched, and is metered by what passes.

// watched is such a request.
type watched struct {
	service, model, region string
	streamed               bool
}

var (
	bedrockPath = regexp.MustCompile(`/model/([^/]+)/invoke(-with-response-stream)?$`)
	vertexPath  = regexp.MustCompile(`/publishers/anthropic/models/([^/:]+):(rawPredict|streamRawPredict)$`)
	vertexPlace = regexp.MustCompile(`/locations/([a-z0-9-]+)/`)
	resultsPath = regexp.MustCompile(`/v1/messages/batches/([^/]+)/results$`)
	awsRegion   = regexp.MustCompile(`Credential=[^/]+/\d{8}/([a-z0-9-]+)/`)
	awsHost     = regexp.MustCompile(`^bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.`)
)

// watchedBy is nil for what is not a message of another service.
func watchedBy(request *http.Request) *watched {
	if request.Method != http.MethodPost || request.Body == nil {
		return nil
	}
	path, host := request.URL.EscapedPath(), request.URL.Hostname()
	if part := bedrockPath.FindStringSubmatch(path); part != nil {
		model, err := url.PathUnescape(part[1])
		if err != nil {
			model = part[1]
		}
		region := awsRegion.FindStringSubmatch(request.Header.Get("Authorization"))
		if region == nil {
			region = awsHost.FindStringSubmatch(host)
		}
		w := &watched{service: "bedrock", model: model, streamed: part[2] != ""}
		if region != nil {
			w.region = region[1]
		}
		return w
	}
	if part := vertexPath.FindStringSubmatch(path); part != nil && part[1] != "count-tokens" {
		w := &watched{service: "vertex", model: part[1], streamed: part[2] == "streamRawPredict"}
		if place := vertexPlace.FindStringSubmatch(path); place != nil {
			w.region = place[1]
		}
		return w
	}
	if strings.HasSuffix(request.URL.Path, messagesPath) && strings.HasSuffix(host, ".azure.com") {
		return &watched{service: "foundry"}
	}
	return nil
}

// watch passes a request on and meters what comes back.
func (t *transport) watch(request *http.Request, w *watched) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	if closeErr := request.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	if !isObject(body) {
		return directly(request, body)
	}
	sent := body
	if !isSigned(request) {
		sent = withoutOurs(body)
	}
	call, err := w.call(body, time.Now())
	if err != nil {
		warnUnmetered(err)
		return directly(request, sent)
	}
	if refusal := overOtherBudget(request, call); refusal != nil {
		return refusal, nil
	}
	response, err := directly(request, sent)
	if err == nil && isCoded(response.Header) {
		// The transport decodes what it asked for itself; this was asked for by somebody who wants it so.
		warnUnmetered(&Error{Code: ErrUnsupported, Message: "The reply is compressed, and the program decompresses it itself."})
		return response, nil
	}
	tap := t.tap(request, call)
	switch {
	case tap == nil:
	case err != nil:
		tap.End(failureOf(request.Context(), err))
	default:
		response.Body = &watchedBody{ReadCloser: response.Body, ctx: request.Context(), tap: tap, status: response.StatusCode}
	}
	return response, err
}

// overOtherBudget is the answer to a call that a budget refuses, nil where it may go out. Trouble of the library's own lets it.
func overOtherBudget(request *http.Request, call []byte) *http.Response {
	err := within(scopeAt(request.Context()), func(scope handle) error {
		_, err := nativeBudgetCheck(appendMember(call, `"admit":true`), scope)
		return err
	})
	if errors.Is(err, ErrBudgetExceeded) {
		return overBudget(request, err)
	}
	return nil
}

// call is what the request tells, as JSON.
func (w *watched) call(body []byte, begun time.Time) ([]byte, error) {
	call := CallRecord{
		Request: json.RawMessage(body), Service: w.service, Model: w.model, Region: w.region, StartedAt: begun,
	}
	if w.service != "foundry" { // whose body says it
		call.Streamed = &w.streamed
	}
	return json.Marshal(call)
}

// tap is for the call of this request. nil: it goes unmetered.
func (t *transport) tap(request *http.Request, call []byte) *Tap {
	attempt, err := strconv.Atoi(request.Header.Get("X-Stainless-Retry-Count"))
	known := err == nil
	last := !known || attempt >= t.maxRetries
	metadata := scopeAt(request.Context())
	if known && attempt > 0 {
		metadata = metadata.over(&scope{fields: marshalFields(map[string]any{"retryNumber": attempt})})
	}
	choices := map[string]any{"revenium": choices{
		MeterRetryable: &last, Dropin: true,
		Traceparent: request.Header.Get("Traceparent"), Tracestate: request.Header.Get("Tracestate"),
	}}
	metadata = &scope{parent: metadata, fields: marshalFields(choices)}
	tap, err := newTap(call, metadata)
	if err != nil {
		warnUnmetered(err)
	}
	return tap
}

func isCoded(headers http.Header) bool {
	coding := strings.ToLower(strings.TrimSpace(headers.Get("Content-Encoding")))
	return coding != "" && coding != "identity"
}

func failureOf(ctx context.Context, err error) *CallError {
	var timeout net.Error
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return &CallError{Type: "cancelled"}
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return &CallError{Type: "timeout"}
	}
	return &CallError{Type: "connection"}
}

// watchedBody is a reply on its way to whoever asked.
type watchedBody struct {
	io.ReadCloser
	ctx    context.Context
	tap    *Tap
	status int
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	_, _ = b.tap.Write(p[:n])
	switch {
	case err == io.EOF && b.status >= 300:
		b.tap.End(&CallError{Status: b.status})
	case err == io.EOF:
		b.tap.End(nil)
	case err != nil:
		b.tap.End(failureOf(b.ctx, err))
	}
	return n, err
}

func (b *watchedBody) Close() error {
	if b.status >= 300 {
		b.tap.End(&CallError{Status: b.status})
	}
	_ = b.tap.Close()
	return b.ReadCloser.Close()
}

// ---- results of a Message Batch ----

// longestLine bounds what is kept of a line that goes on.
const longestLine = 64 << 20

// batchOf is the id of the batch whose results a request asks for, "" for other requests.
func batchOf(request *http.Request) string {
	if request.Method != http.MethodGet {
		return ""
	}
	if part := resultsPath.FindStringSubmatch(request.URL.Path); part != nil {
		return part[1]
	}
	return ""
}

// results passes a batch's results on and meters them line by line.
func results(request *http.Request, batch string) (*http.Response, error) {
	response, err := http.DefaultTransport.RoundTrip(request)
	if err == nil && response.StatusCode == http.StatusOK && !isCoded(response.Header) {
		response.Body = &resultsBody{ReadCloser: response.Body, ctx: request.Context(), batch: batch}
	}
	return response, err
}

type resultsBody struct {
	io.ReadCloser
	ctx   context.Context
	batch string
	line  []byte
}

func (b *resultsBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	rest := p[:n]
	for {
		part, after, found := bytes.Cut(rest, []byte{'\n'})
		if len(b.line)+len(part) <= longestLine {
			b.line = append(b.line, part...)
		}
		if !found {
			break
		}
		b.take()
		rest = after
	}
	if err == io.EOF {
		b.take()
	}
	return n, err
}

func (b *resultsBody) take() {
	line := bytes.TrimSpace(b.line)
	b.line = b.line[:0]
	if len(line) == 0 {
		return
	}
	if _, err := RecordBatchResult(b.ctx, b.batch, line); err != nil {
		warnUnmetered(err)
	}
}
