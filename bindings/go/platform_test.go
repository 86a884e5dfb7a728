package revenium

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

const jobsPath = "/profitstream/v2/api/jobs"

// withTeam starts the library afresh, with a key that may do more than meter.
func withTeam(t *testing.T, more object) {
	t.Helper()
	fresh(t)
	sandbox(t, "DELETE", "plan", nil)
	if err := Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	config := Config{"metering_api_key": "rev_sk_tenant_0123456789abcdef", "team_id": "T"}
	for name, value := range more {
		config[name] = value
	}
	if err := Init(config); err != nil {
		t.Fatal(err)
	}
}

func planPath(t *testing.T, path string, answers ...any) {
	sandbox(t, "POST", "plan", object{"path": path, "answers": answers})
}

func asked(t *testing.T) (requests []sentRequest) {
	if err := json.Unmarshal(sandbox(t, "GET", "requests?service=platform", nil), &requests); err != nil {
		t.Fatal(err)
	}
	return requests
}

func TestJobs(t *testing.T) {
	inChild(t, func() {
		withTeam(t, nil)
		ctx := context.Background()
		value := 5.0
		planPath(t, jobsPath+"/loan-1/outcome", object{"json": object{"entityVersion": 4}})
		answer, err := Jobs.ReportOutcome(ctx, "loan-1", Outcome{
			ExecutionStatus: "SUCCESS", OutcomeType: "CONVERTED", OutcomeValue: &value, Metadata: object{"a": 1},
		})
		if err != nil || string(answer) != `{"entityVersion":4}` {
			t.Fatal(string(answer), err)
		}
		_, err = Jobs.AmendOutcome(ctx, "loan-1", Amendment{Outcome: Outcome{OutcomeType: "ESCALATED"}, Reason: "fix"})
		if err != nil {
			t.Fatal(err)
		}
		sent := asked(t)
		if sent[0].Query != "teamId=T" || sent[0].Body["outcomeCurrency"] != "USD" || sent[0].Body["metadata"] != `{"a":1}` {
			t.Error(sent[0])
		}
		if sent[1].Body["expectedEntityVersion"] != 4.0 || sent[1].Body["reason"] != "fix" {
			t.Error(sent[1])
		}

		planPath(t, jobsPath+"/j/outcome", object{"status": 409, "json": object{"details": object{"guidance": "PATCH"}}})
		_, err = Jobs.ReportOutcome(ctx, "j", Outcome{ExecutionStatus: "FAILED"})
		var failure *Error
		if !errors.Is(err, ErrConflict) || !errors.As(err, &failure) || !strings.Contains(string(failure.Raw), `"already_reported":true`) {
			t.Error(err)
		}
		if _, err := Jobs.Get(ctx, ""); !errors.Is(err, ErrArgument) {
			t.Error(err)
		}
		if _, err := Platform(ctx, "jobs.explode", nil); !errors.Is(err, ErrArgument) {
			t.Error(err)
		}
		if _, err := Platform(ctx, "jobs.types", 7); !errors.Is(err, ErrJSON) {
			t.Error(err)
		}
		planPath(t, jobsPath+"/types", "stall")
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		if _, err := Jobs.Types(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestJobRun(t *testing.T) {
	inChild(t, func() {
		withTeam(t, nil)
		ctx := context.Background()
		planPath(t, jobsPath+"/loan-1/outcome", object{"json": object{}})
		wrong := fmt.Errorf("secret %w", io.ErrUnexpectedEOF)
		err := Jobs.Run(ctx, "loan-1", object{"agenticJobType": "loan"}, func(ctx context.Context) error {
			must(client.Messages.New(ctx, ask("x")))
			return wrong
		})
		if err != wrong {
			t.Error(err)
		}
		if record := onlyRecord(t); record["agenticJobId"] != "loan-1" || record["agenticJobType"] != "loan" {
			t.Error(record)
		}
		func() {
			defer func() {
				if thrown := recover(); thrown != "at once" {
					t.Error(thrown)
				}
			}()
			_ = Jobs.Run(ctx, "loan-1", nil, func(context.Context) error { panic("at once") })
		}()
		if err := Jobs.Run(ctx, "loan-2", nil, func(context.Context) error { return nil }); err != nil {
			t.Error(err)
		}
		sent := asked(t)
		if len(sent) != 2 || sent[0].Body["outcomeReason"] != "*fmt.wrapError" || sent[1].Body["outcomeReason"] != "panic" {
			t.Error(sent)
		}
		for _, report := range sent {
			if report.Body["executionStatus"] != "FAILED" || strings.Contains(report.Raw, "secret") {
				t.Error(report)
			}
		}
	})
}

func TestBudgetExceeded(t *testing.T) {
	inChild(t, func() {
		withTeam(t, object{"budget_enforcement": true})
		planPath(t, "/v2/api/ai/enforcement-rules/T", object{"json": object{"rules": []object{{
			"ruleId": 9, "name": "cap-1", "breached": true, "currentValue": 12.5, "threshold": 10, "denyMessage": "Ask.",
		}}}})
		ctx := context.Background()
		for {
			if _, err := Budgets.Check(ctx, ask("x")); err != nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		_, err := client.Messages.New(ctx, ask("x"))
		_, checked := Budgets.Check(ctx, ask("x"))
		for _, err := range []error{err, checked, client.Messages.NewStreaming(ctx, ask("x")).lastError()} {
			var failure *Error
			if !errors.Is(err, ErrBudgetExceeded) || !errors.As(err, &failure) {
				t.Fatal(err)
			}
			rule := failure.BudgetRule()
			if rule == nil || rule.Name != "cap-1" || string(rule.ID) != "9" || *rule.CurrentValue != 12.5 || *rule.Threshold != 10 ||
				rule.DenyMessage != "Ask." || rule.ResetsAt != "" || failure.StatusCode != 402 {
				t.Error(rule, failure)
			}
		}
		body, _ := json.Marshal(ask("x"))
		response := must(HTTPClient().Post(os.Getenv("SANDBOX_URL")+"/v1/messages", "application/json", strings.NewReader(string(body))))
		var answer struct{ Error object }
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
			t.Error(err)
		}
		if response.StatusCode != http.StatusPaymentRequired || response.Header.Get("X-Should-Retry") != "false" ||
			answer.Error["type"] != "billing_error" || answer.Error["rule_name"] != "cap-1" {
			t.Error(response, answer)
		}
		// What the library only watches is judged, too.
		for _, path := range []string{
			"/model/anthropic.claude-haiku-4-5/invoke", "/model/anthropic.claude-haiku-4-5/invoke-with-response-stream",
			"/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-haiku-4-5:rawPredict",
		} {
			response := must(HTTPClient().Post(os.Getenv("SANDBOX_URL")+path, "application/json", strings.NewReader(string(body))))
			answer.Error = nil
			err := json.NewDecoder(response.Body).Decode(&answer)
			if err != nil || response.StatusCode != http.StatusPaymentRequired || response.Header.Get("X-Should-Retry") != "false" ||
				answer.Error["rule_name"] != "cap-1" {
				t.Error(path, response, answer, err)
			}
		}
		for _, service := range []string{"anthropic", "bedrock", "unknown"} {
			if sent := string(sandbox(t, "GET", "requests?service="+service, nil)); sent != "[]" {
				t.Error(sent)
			}
		}
		if other := (&Error{Code: ErrBusy}).BudgetRule(); other != nil {
			t.Error(other)
		}
	})
}

func TestVerifyWebhook(t *testing.T) {
	now, body := fmt.Sprint(time.Now().Unix()), []byte(`{"event":"x"}`)
	mac := hmac.New(sha256.New, []byte("s1"))
	fmt.Fprintf(mac, "%s.%s", now, body)
	signature := "sha256=" + hex.EncodeToString(mac.Sum(nil))
	for _, secrets := range [][]string{{"s1"}, {"a", "s1"}} {
		if !VerifyWebhook(now, signature, body, WebhookTolerance, secrets...) {
			t.Error(secrets)
		}
	}
	for _, secrets := range [][]string{{}, {"s2"}, {"", "s1"}, {"s1", ""}} {
		if VerifyWebhook(now, signature, body, WebhookTolerance, secrets...) {
			t.Error(secrets)
		}
	}
	if VerifyWebhook("", signature, body, WebhookTolerance, "s1") || VerifyWebhook(now, "", nil, WebhookTolerance, "s1") {
		t.Error("something is missing")
	}
}
