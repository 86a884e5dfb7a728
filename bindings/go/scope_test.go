package revenium

import (
	"context"
	"fmt"
	"math"
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
