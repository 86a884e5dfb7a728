package revenium

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
)

func TestMetadataOfContexts(t *testing.T) {
	with := WithUsageMetadata
	background := context.Background()
	type fields struct {
		Agent string `json:"agent,omitempty"`
	}
	for name, test := range map[string]struct {
		ctx  context.Context
		call any
		want object
	}{
		"none":        {background, nil, object{}},
		"one":         {with(background, fields{"a"}), nil, object{"agent": "a"}},
		"inner wins":  {with(with(background, object{"trace_id": "outer", "agent": "a"}), object{"traceId": "inner"}), nil, object{"traceId": "inner", "agent": "a"}},
		"other way":   {with(with(background, object{"traceId": "outer"}), object{"trace_id": "inner"}), nil, object{"traceId": "inner"}},
		"camel wins":  {with(background, object{"trace_id": "snake", "traceId": "camel"}), nil, object{"traceId": "camel"}},
		"blank":       {with(with(background, object{"agent": "a"}), object{"agent": ""}), object{"agent": nil}, object{"agent": "a"}},
		"old name":    {with(with(background, object{"organizationName": "outer"}), object{"organization_id": "inner"}), nil, object{"organizationName": "inner"}},
		"call wins":   {with(background, object{"agent": "a", "taskType": "t"}), object{"task_type": "own"}, object{"agent": "a", "taskType": "own"}},
		"subscriber":  {with(with(background, object{"subscriber": object{"id": "o", "email": "o@example.com"}}), object{"subscriber": object{"id": "i"}}), nil, object{"subscriber": object{"id": "i"}}},
		"no object":   {with(with(background, object{"agent": "a"}), []int{1}), nil, object{"agent": "a"}},
		"nil":         {with(with(background, object{"agent": "a"}), nil), nil, object{"agent": "a"}},
		"unmarshable": {with(background, object{"agent": "a", "responseQualityScore": math.NaN(), "traceId": func() {}}), nil, object{"agent": "a"}},
		"bad type":    {with(with(background, fields{"a"}), math.Inf(1)), nil, object{"agent": "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			fresh(t)
			params := ask("x")
			params.UsageMetadata = test.call
			if _, err := client.Messages.New(test.ctx, params); err != nil {
				t.Fatal(err)
			}
			if sent := requests(t)[0].Raw; strings.Contains(sent, "usage_metadata") {
				t.Errorf("metadata reached the provider: %s", sent)
			}
			record, got := onlyRecord(t), object{}
			for _, field := range []string{"agent", "traceId", "taskType", "organizationName", "subscriber", "responseQualityScore"} {
				if value, ok := record[field]; ok {
					got[field] = value
				}
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// Two customers whose goroutines interleave never see each other's metadata.
func TestConcurrentScopes(t *testing.T) {
	fresh(t)
	const customers, calls = 20, 15
	var wait sync.WaitGroup
	for customer := range customers {
		ctx := WithUsageMetadata(context.Background(), object{"organizationName": fmt.Sprint("customer-", customer)})
		for call := range calls {
			wait.Add(1)
			go func() {
				defer wait.Done()
				inner := WithUsageMetadata(ctx, object{"traceId": fmt.Sprintf("%d/%d", customer, call)})
				params := ask(fmt.Sprintf("%d/%d", customer, call))
				params.UsageMetadata = object{"agent": fmt.Sprintf("agent-%d-%d", customer, call)}
				var message *Message
				var err error
				if call%2 == 0 {
					message, err = client.Messages.New(inner, params)
				} else {
					message, err = client.Messages.NewStreaming(inner, params).Message()
				}
				if err != nil || message.Text() != fmt.Sprintf("You said: %d/%d", customer, call) {
					t.Error(message, err)
				}
			}()
		}
	}
	wait.Wait()
	all := records(t)
	seen := map[string]bool{}
	for _, record := range all {
		var customer, call int
		trace, _ := record["traceId"].(string)
		if _, err := fmt.Sscanf(trace, "%d/%d", &customer, &call); err != nil || seen[trace] {
			t.Fatalf("trace %q: %v", trace, err)
		}
		seen[trace] = true
		if record["organizationName"] != fmt.Sprint("customer-", customer) || record["agent"] != fmt.Sprintf("agent-%d-%d", customer, call) {
			t.Errorf("%v", record)
		}
	}
	if len(all) != customers*calls {
		t.Errorf("%d records of %d calls", len(all), customers*calls)
	}
}

func TestSelectiveMetering(t *testing.T) {
	inChild(t, func() {
		if err := Init(Config{"selective_metering": true}); err != nil {
			t.Fatal(err)
		}
		fresh(t)
		background := context.Background()
		marked := WithUsageMetadata(WithMeter(background), object{"agent": "inner"})
		for i, test := range []struct {
			ctx     context.Context
			options []Option
			metered bool
		}{
			{background, nil, false},
			{WithUsageMetadata(background, object{"agent": "a"}), nil, false},
			{WithMeter(background), nil, true},
			{marked, nil, true},
			{marked, []Option{WithMetering(false)}, false},
			{background, []Option{WithMetering(true)}, true},
		} {
			message, err := client.Messages.New(test.ctx, ask("x"), test.options...)
			if err != nil || message.Info().Metered != test.metered {
				t.Errorf("%d: metered is %v, %v", i, !test.metered, err)
			}
		}
		if n := len(records(t)); n != 3 {
			t.Errorf("%d records", n)
		}
		if state := must(Status()); state.Metering != MeteringSelective {
			t.Errorf("%+v", state)
		}
	})
}

func TestUnmetered(t *testing.T) {
	inChild(t, func() {
		os.Unsetenv("REVENIUM_METERING_API_KEY")
		if IsInitialized() {
			t.Error("initialized without a key")
		}
		message, err := client.Messages.New(WithMeter(context.Background()), ask("x"))
		if err != nil || message.Info().Metered {
			t.Error(message, err)
		}
		if state := must(Status()); state.Metering != MeteringOff || state.Metering.String() != "off, no key" {
			t.Errorf("%+v", state)
		}
	})
}

// keysOf are the Idempotency-Keys of the records that arrived, by their trace.
func keysOf(t *testing.T) map[string]string {
	t.Helper()
	if err := Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	var records []struct {
		Key  string `json:"idempotency_key"`
		Body struct{ TraceID string }
	}
	if err := json.Unmarshal(sandbox(t, "GET", "records", nil), &records); err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	for _, record := range records {
		keys[record.Body.TraceID] = record.Key
	}
	return keys
}

// The calls of one context are numbered in their order, whatever lies over and under it.
func TestIdempotencyScopes(t *testing.T) {
	fresh(t)
	SetTraceContext(func(context.Context) (string, string) { return ambient, "" })
	defer SetTraceContext(nil)
	scope := func(key string) context.Context {
		return WithUsageMetadata(context.Background(), object{"revenium": object{"idempotency_key": key}})
	}
	call := func(ctx context.Context, trace string) {
		t.Helper()
		if _, err := client.Messages.New(WithUsageMetadata(ctx, object{"traceId": trace}), ask("x")); err != nil {
			t.Fatal(err)
		}
	}
	one := scope("job-1")
	call(one, "first")
	body := strings.NewReader(`{"model":"claude-test-1","max_tokens":9,"messages":[{"role":"user","content":"x"}]}`)
	request := must(http.NewRequestWithContext(WithUsageMetadata(one, object{"traceId": "drop-in"}), "POST", os.Getenv("SANDBOX_URL")+"/v1/messages", body))
	request.Header.Set("X-Api-Key", "sk-ant-sandbox")
	must(HTTPClient().Do(request)).Body.Close()
	call(WithMeter(one), "third")
	must(Record(WithUsageMetadata(one, object{"traceId": "recorded"}), CallRecord{Response: json.RawMessage(`{"id":"msg_recorded","content":[]}`)}))
	call(WithUsageMetadata(one, object{"revenium": object{"idempotency_key": "inner"}}), "inner")
	call(one, "last")
	want := map[string]string{"first": "job-1", "drop-in": "job-1:2", "third": "job-1:3", "recorded": "job-1:4", "inner": "inner", "last": "job-1:5"}
	if keys := keysOf(t); !reflect.DeepEqual(keys, want) {
		t.Errorf("got %v, want %v", keys, want)
	}
	// The same work begun anew has the same keys.
	fresh(t)
	call(scope("job-1"), "again")
	if keys := keysOf(t); keys["again"] != "job-1" {
		t.Errorf("begun anew: %v", keys)
	}
	if _, err := client.Messages.New(scope("no key"), ask("x")); !errors.Is(err, ErrConfig) {
		t.Errorf("a bad key: %v", err)
	}
}

func TestIdempotencyScopesOfManyGoroutines(t *testing.T) {
	fresh(t)
	var wait sync.WaitGroup
	want := map[string]bool{}
	for scope := range 4 {
		key := fmt.Sprint("many-", scope)
		ctx := WithUsageMetadata(context.Background(), object{"revenium": object{"idempotency_key": key}})
		for call := range 10 {
			wait.Add(1)
			go func() {
				defer wait.Done()
				if _, err := client.Messages.New(WithUsageMetadata(ctx, object{"traceId": fmt.Sprintf("%s/%d", key, call)}), ask("x")); err != nil {
					t.Error(err)
				}
			}()
			number := fmt.Sprint(":", call+1)
			if call == 0 {
				number = ""
			}
			want[key+number] = true
		}
	}
	wait.Wait()
	got := map[string]bool{}
	for trace, key := range keysOf(t) {
		if !strings.HasPrefix(key, strings.Split(trace, "/")[0]) {
			t.Errorf("%s has the key %s", trace, key)
		}
		got[key] = true
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
