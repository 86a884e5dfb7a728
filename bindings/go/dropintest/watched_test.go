package dropintest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/bedrock"
	"github.com/anthropics/anthropic-sdk-go/option"
	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/librevenium/librevenium/bindings/go"
)

// Clients for other services, whose requests pass untouched: the same bytes on the wire, one record each.

const bedrockModel = "us.anthropic.claude-haiku-4-5-20251001-v1:0"

func bedrockClient(client *http.Client) anthropic.Client {
	keys := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKIDEXAMPLE12345678", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG"}, nil
	})
	options := []option.RequestOption{
		bedrock.WithConfig(aws.Config{Region: "eu-west-1", Credentials: keys}), option.WithBaseURL(os.Getenv("SANDBOX_URL")),
	}
	if client != nil {
		options = append(options, option.WithHTTPClient(client))
	}
	return anthropic.NewClient(options...)
}

func bedrockParams() anthropic.MessageNewParams {
	return anthropic.MessageNewParams{
		Model: bedrockModel, MaxTokens: 100,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("Hello"))},
	}
}

func has(t *testing.T, record object, want object) {
	t.Helper()
	for name, value := range want {
		if record[name] != value {
			t.Errorf("%s is %v, want %v", name, record[name], value)
		}
	}
}

func theRecord(t *testing.T) object {
	t.Helper()
	made := records(t)
	if len(made) != 1 {
		t.Fatalf("%d records", len(made))
	}
	return made[0]
}

func TestWatchedBedrock(t *testing.T) {
	fresh(t)
	ctx := revenium.WithUsageMetadata(context.Background(), object{"agent": "a"})
	plain := bedrockClient(nil)
	if _, err := plain.Messages.New(ctx, bedrockParams()); err != nil {
		t.Fatal(err)
	}
	client := bedrockClient(revenium.HTTPClient())
	message, err := client.Messages.New(ctx, bedrockParams())
	if err != nil {
		t.Fatal(err)
	}
	wire := requests(t)
	if wire[0].Raw != wire[1].Raw || wire[0].Path != wire[1].Path {
		t.Errorf("%+v is not %+v", wire[1], wire[0])
	}
	for _, request := range wire {
		maps.DeleteFunc(request.Headers, func(name, _ string) bool { return strings.Contains("authorization x-amz-date", name) })
	}
	if !maps.Equal(wire[0].Headers, wire[1].Headers) {
		t.Errorf("%v is not %v", wire[1].Headers, wire[0].Headers)
	}
	has(t, theRecord(t), object{
		"provider": "AWS", "model": bedrockModel, "region": "eu-west-1", "transactionId": message.ID, "agent": "a",
		"isStreamed": false, "outputTokenCount": float64(message.Usage.OutputTokens),
	})
}

func TestWatchedBedrockStream(t *testing.T) {
	fresh(t)
	client := bedrockClient(revenium.HTTPClient())
	stream := client.Messages.NewStreaming(context.Background(), bedrockParams())
	message := anthropic.Message{}
	for stream.Next() {
		if err := message.Accumulate(stream.Current()); err != nil {
			t.Fatal(err)
		}
	}
	if stream.Err() != nil || message.Content[0].Text != "You said: Hello" {
		t.Fatal(stream.Err(), message)
	}
	stream.Close()
	record := theRecord(t)
	has(t, record, object{"provider": "AWS", "isStreamed": true, "stopReason": "END", "transactionId": message.ID})
	if record["timeToFirstToken"] == nil {
		t.Error("no first token")
	}
}

func TestWatchedFailureIsOneRecord(t *testing.T) {
	fresh(t)
	answers := []object{{"status": 429}, {"status": 503}, {"status": 400}}
	sandbox(t, "POST", "plan", object{"path": "/model/" + url.QueryEscape(bedrockModel) + "/invoke", "answers": answers})
	client := bedrockClient(revenium.HTTPClient())
	if _, err := client.Messages.New(context.Background(), bedrockParams()); err == nil {
		t.Fatal("no error")
	}
	has(t, theRecord(t), object{"provider": "AWS", "stopReason": "ERROR", "errorCode": 400.0, "retryNumber": 2.0})
}

// A client of Vertex AI is any HTTP client to these paths.
func TestWatchedVertex(t *testing.T) {
	const path = "/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-haiku-4-5@20251001:streamRawPredict"
	fresh(t)
	sandbox(t, "POST", "plan", object{"path": path, "answers": []object{sse("ok", streamed...)}})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	body := `{"anthropic_version":"vertex-2023-10-16","stream":true,"usage_metadata":{"agent":"a"}}`
	request, _ := http.NewRequestWithContext(ctx, "POST", os.Getenv("SANDBOX_URL")+path, strings.NewReader(body))
	response, err := revenium.HTTPClient().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil || !bytes.Contains(text, []byte("message_stop")) {
		t.Fatal(err, string(text))
	}
	response.Body.Close()
	if strings.Contains(requests(t)[0].Raw, "usage_metadata") {
		t.Error("our member went to the provider")
	}
	has(t, theRecord(t), object{
		"provider": "Google", "region": "us-east5", "agent": "a", "isStreamed": true, "outputTokenCount": 5.0, "model": "m",
	})
}

func TestWatchedBatchResults(t *testing.T) {
	const base = "/v1/messages/batches/msgbatch_go/results"
	fresh(t)
	line := func(id, result string) string { return `{"custom_id":"` + id + `","result":` + result + "}\n" }
	text := line("one", `{"type":"succeeded","message":`+everyKind+`}`) + line("two", `{"type":"expired"}`) +
		line("three", `{"type":"succeeded","message":`+everyKind+`}`)
	for range 2 {
		sandbox(t, "POST", "plan", object{"path": base, "answers": []object{{"chunks": []string{text[:70], text[70:]}}}})
		response, err := revenium.HTTPClient().Get(os.Getenv("SANDBOX_URL") + base)
		if err != nil {
			t.Fatal(err)
		}
		if read, _ := io.ReadAll(response.Body); string(read) != text {
			t.Fatalf("%s is not %s", read, text)
		}
		response.Body.Close()
	}
	ids := []string{}
	for _, record := range records(t) {
		ids = append(ids, record["transactionId"].(string))
		has(t, record, object{"pricingTier": "BATCH", "inputTokenCount": 7.0})
	}
	slices.Sort(ids)
	if !slices.Equal(ids, []string{"msgbatch_go-one", "msgbatch_go-three"}) {
		t.Error(ids)
	}
}

func TestRecordAndTap(t *testing.T) {
	fresh(t)
	ctx := revenium.WithUsageMetadata(context.Background(), object{"agent": "scope"})
	done, err := revenium.Record(ctx, revenium.CallRecord{
		Request: bedrockParams(), Response: json.RawMessage(everyKind), Service: "foundry",
		StartedAt: time.UnixMilli(1795392233412), Duration: 5 * time.Millisecond,
	})
	if err != nil || !done.Metered || done.TransactionID == "" {
		t.Fatal(done, err)
	}
	tap, err := revenium.NewTap(ctx, revenium.CallRecord{Request: bedrockParams(), Service: "bedrock", Model: bedrockModel})
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range streamed {
		_, _ = io.WriteString(tap, "data: "+event+"\n\n")
	}
	tap.End(nil)
	tap.End(&revenium.CallError{Status: 500})
	_ = tap.Close()
	_, err = revenium.Record(ctx, revenium.CallRecord{Response: json.RawMessage(everyKind), Service: "nobody"})
	if failure, ok := err.(*revenium.Error); !ok || failure.Code != revenium.ErrArgument {
		t.Error(err)
	}
	made := records(t)
	slices.SortFunc(made, func(a, b object) int { return strings.Compare(a["provider"].(string), b["provider"].(string)) })
	if len(made) != 2 {
		t.Fatal(made)
	}
	has(t, made[0], object{"provider": "AWS", "model": bedrockModel, "isStreamed": true, "outputTokenCount": 5.0})
	has(t, made[1], object{"provider": "Foundry", "agent": "scope", "requestTime": "2026-11-23T00:03:53.412Z"})
}

func TestMeterTool(t *testing.T) {
	fresh(t)
	ctx := revenium.WithUsageMetadata(context.Background(), object{"agent": "a"})
	if err := revenium.MeterTool(ctx, "plain", func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := revenium.MeterTool(ctx, "failing", func(context.Context) error { return io.ErrClosedPipe }); err != io.ErrClosedPipe {
		t.Fatal(err)
	}
	done, err := revenium.ToolEvent(ctx, object{"toolId": "told", "usageMetadata": object{"pages": 3}})
	if err != nil || !done.Metered {
		t.Fatal(done, err)
	}
	idle(t)
	var events []struct{ Body object }
	if err := json.Unmarshal(sandbox(t, "GET", "tool-events", nil), &events); err != nil {
		t.Fatal(err)
	}
	made := map[string]object{}
	for _, event := range events {
		made[event.Body["toolId"].(string)] = event.Body
	}
	has(t, made["plain"], object{"agent": "a", "success": true, "operation": "execute"})
	has(t, made["failing"], object{"success": false, "errorMessage": "*errors.errorString"})
	has(t, made["told"], object{"agent": "a"})
}
