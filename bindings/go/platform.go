//go:build cgo

package revenium

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"time"
)

// Platform asks Revenium for something and gives its answer, JSON.
//
// operation is one of those in docs/platform.md of librevenium, "jobs.get" say; params is nil, a map, a struct with JSON tags, or
// anything else that marshals to a JSON object, named as in Revenium's API ("teamId" wins over the setting team_id). It is
// tried again where that may help, for minutes: the context's deadline bounds it.
//
// An unknown operation or parameter, a missing or malformed one (ErrArgument), and a key that may not do it (ErrConfig) are
// told before anything is sent. What Revenium refuses has the code of its status, and its own words in the member
// error.response of [Error.Raw].
func Platform(ctx context.Context, operation string, params any) (json.RawMessage, error) {
	return platformWith(ctx, operation, params, "", nil)
}

// platformWith is the same with one parameter more, unless it has no name.
func platformWith(ctx context.Context, operation string, params any, name string, value any) (json.RawMessage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	text, err := paramsOf(ctx, params, name, value)
	if err != nil {
		return nil, err
	}
	d, err := started()
	if err != nil {
		return nil, err
	}
	c, err := d.submit(ctx, false, func(queue handle, tag uint64) (handle, error) {
		return nativePlatformSubmit(operation, text, queue, tag)
	})
	if err != nil {
		return nil, err
	}
	r, err := c.wait(ctx)
	if err != nil {
		return nil, err
	}
	if r.code != codeOK {
		return nil, newError(r)
	}
	return json.RawMessage(r.json), nil
}

// paramsOf are the parameters with one more, and with the time that the context leaves.
func paramsOf(ctx context.Context, params any, name string, value any) ([]byte, error) {
	members := map[string]any{}
	if params != nil {
		var told map[string]json.RawMessage
		text, err := json.Marshal(params)
		if err == nil {
			err = json.Unmarshal(text, &told)
		}
		if err != nil {
			return nil, &Error{Code: ErrJSON, Message: "The parameters are no JSON object: " + err.Error() + "."}
		}
		for name, value := range told {
			members[name] = value
		}
	}
	if name != "" {
		members[name] = value
	}
	if left := timeLeft(ctx, math.MaxInt64); left < math.MaxInt64 && members["timeoutMs"] == nil {
		members["timeoutMs"] = max(1, left.Milliseconds())
	}
	return json.Marshal(members)
}

// Outcome is how a job ended. Zero fields are left out.
type Outcome struct {
	ExecutionStatus string   `json:"executionStatus,omitempty"` // SUCCESS, FAILED or CANCELLED
	OutcomeType     string   `json:"outcomeType,omitempty"`     // CONVERTED, ESCALATED, DEFLECTED, UNSUCCESSFUL or CUSTOM
	OutcomeValue    *float64 `json:"outcomeValue,omitempty"`    // needs an OutcomeType
	OutcomeCurrency string   `json:"outcomeCurrency,omitempty"` // USD if not given
	OutcomeReason   string   `json:"outcomeReason,omitempty"`   // at most 2048 characters
	Metadata        any      `json:"metadata,omitempty"`        // an object
	ReportedBy      string   `json:"reportedBy,omitempty"`
	Metrics         []Metric `json:"metrics,omitempty"`
	TeamID          string   `json:"teamId,omitempty"`
}

// Amendment is what changes in an outcome that was reported. The version that was told last is the one that is meant.
type Amendment struct {
	Outcome
	Reason                string `json:"reason,omitempty"`
	ExpectedEntityVersion int64  `json:"expectedEntityVersion,omitempty"`
}

// Metric is a fact about a job, besides its outcome.
type Metric struct {
	Key        string `json:"key"`
	Value      any    `json:"value"`
	Provenance string `json:"provenance,omitempty"` // MEASURED, SELF_REPORTED, DERIVED or ATTESTED
	RecordedBy string `json:"recordedBy,omitempty"`
	Source     string `json:"source,omitempty"`
	Reason     string `json:"reason,omitempty"`
	RecordedAt string `json:"recordedAt,omitempty"`
}

// Jobs are units of work with a business result. The methods give Revenium's JSON; their params are nil, the structs of
// this package, or anything else that marshals to an object of the fields of Revenium's API. See [Platform] for errors.
var Jobs JobService

// JobService is the type of [Jobs].
type JobService struct{}

// Create makes a job before its first call does; one that exists is no error.
func (JobService) Create(ctx context.Context, id string, params any) (json.RawMessage, error) {
	return platformWith(ctx, "jobs.create", params, "id", id)
}

// List takes type, executionStatus, outcomeType, environment, startDate, endDate, page, size and sort.
func (JobService) List(ctx context.Context, params any) (json.RawMessage, error) {
	return Platform(ctx, "jobs.list", params)
}

func (JobService) Get(ctx context.Context, id string) (json.RawMessage, error) {
	return platformWith(ctx, "jobs.get", nil, "id", id)
}

func (JobService) ROI(ctx context.Context, id string) (json.RawMessage, error) {
	return platformWith(ctx, "jobs.roi", nil, "id", id)
}

// Transactions takes page, size and sort.
func (JobService) Transactions(ctx context.Context, id string, params any) (json.RawMessage, error) {
	return platformWith(ctx, "jobs.transactions", params, "id", id)
}

func (JobService) Types(ctx context.Context) (json.RawMessage, error) {
	return Platform(ctx, "jobs.types", nil)
}

// ConversionFunnel takes startDate, endDate, type and environment.
func (JobService) ConversionFunnel(ctx context.Context, params any) (json.RawMessage, error) {
	return Platform(ctx, "jobs.conversion_funnel", params)
}

// ReportOutcome says how a job ended, once for each job; params is an [Outcome] or the like.
func (JobService) ReportOutcome(ctx context.Context, id string, params any) (json.RawMessage, error) {
	return platformWith(ctx, "jobs.report_outcome", params, "id", id)
}

// AmendOutcome changes what was reported; params is an [Amendment] or the like.
func (JobService) AmendOutcome(ctx context.Context, id string, params any) (json.RawMessage, error) {
	return platformWith(ctx, "jobs.amend_outcome", params, "id", id)
}

func (JobService) AppendMetrics(ctx context.Context, id string, metrics []Metric) (json.RawMessage, error) {
	return Platform(ctx, "jobs.append_metrics", map[string]any{"id": id, "metrics": metrics})
}

func (JobService) OutcomeHistory(ctx context.Context, id string) (json.RawMessage, error) {
	return platformWith(ctx, "jobs.outcome_history", nil, "id", id)
}

// patience is how long the report of a job that failed may take.
const patience = 30 * time.Second

// Run runs work as the job id: calls made with the context it gets carry metadata (as in [WithUsageMetadata], such as
// agenticJobType) and the job's id. When work returns an error or panics, the job is reported as FAILED with the error's
// type, for at most half a minute, and the error or panic goes on; a report that fails is logged. How the job ended
// otherwise, work says with [JobService.ReportOutcome].
func (JobService) Run(ctx context.Context, id string, metadata any, work func(context.Context) error) (err error) {
	inside := WithUsageMetadata(WithUsageMetadata(ctx, metadata), map[string]any{"agenticJobId": id})
	defer func() {
		if thrown := recover(); thrown != nil {
			reportFailure(ctx, id, "panic")
			panic(thrown)
		}
		if err != nil {
			reportFailure(ctx, id, fmt.Sprintf("%T", err))
		}
	}()
	return work(inside)
}

// reportFailure reports even where the job failed because its context had ended.
func reportFailure(ctx context.Context, id, kind string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	_, err := Jobs.ReportOutcome(ctx, id, Outcome{
		ExecutionStatus: "FAILED", OutcomeReason: kind, Metadata: map[string]string{"error": kind, "errorType": kind},
	})
	if err != nil {
		slog.Warn("revenium: a job was not reported as failed", "reason", err.Error())
	}
}

// Economics are what a type of job costs without Claude.
var Economics EconomicsService

// EconomicsService is the type of [Economics].
type EconomicsService struct{}

func (EconomicsService) Get(ctx context.Context, jobType string) (json.RawMessage, error) {
	return platformWith(ctx, "economics.get", nil, "type", jobType)
}

// Put replaces them; economics marshals to a JSON object.
func (EconomicsService) Put(ctx context.Context, jobType string, economics any) (json.RawMessage, error) {
	return Platform(ctx, "economics.put", map[string]any{"type": jobType, "economics": economics})
}

func (EconomicsService) Baselines(ctx context.Context, jobType string) (json.RawMessage, error) {
	return platformWith(ctx, "economics.baselines", nil, "type", jobType)
}

// AddBaseline takes effectiveFrom, costPerUnit and currency.
func (EconomicsService) AddBaseline(ctx context.Context, jobType string, params any) (json.RawMessage, error) {
	return platformWith(ctx, "economics.add_baseline", params, "type", jobType)
}

// AddFacts takes a list.
func (EconomicsService) AddFacts(ctx context.Context, jobType string, facts any) (json.RawMessage, error) {
	return Platform(ctx, "economics.add_facts", map[string]any{"type": jobType, "facts": facts})
}

// Budgets are the rules of Revenium's cost controls.
var Budgets BudgetService

// BudgetService is the type of [Budgets].
type BudgetService struct{}

// BudgetVerdict is what [BudgetService.Check] says of a call that would go out.
type BudgetVerdict struct {
	Allowed bool `json:"allowed"`
	// Enforced is whether the setting budget_enforcement is on.
	Enforced bool `json:"enforced"`
	// Warnings are the rules that only warn.
	Warnings []BudgetRule `json:"warnings"`
	// WouldRefuse is why the call would be refused if budget_shadow were off; "" if it would not.
	WouldRefuse string `json:"would_refuse"`
}

// Check tells whether a call with these params, as for [MessageService.New], would go out, without making it: an
// [ErrBudgetExceeded] if it would not. It asks nobody and never waits: the rules are those fetched last.
func (BudgetService) Check(ctx context.Context, params any, options ...Option) (*BudgetVerdict, error) {
	request, err := requestOf(ctx, params, false, options)
	if err != nil {
		return nil, err
	}
	verdict := new(BudgetVerdict)
	err = within(scopeOf(ctx).at(chosen(options)), func(scope handle) error {
		text, err := nativeBudgetCheck(request, scope)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, verdict); err != nil {
			return unreadable(err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return verdict, nil
}

// List gives the rules that are in force for the team; it takes ruleId and include.
func (BudgetService) List(ctx context.Context, params any) (json.RawMessage, error) {
	return Platform(ctx, "budgets.list", params)
}

// Roster gives whom a rule concerns; it takes page, size, search and band.
func (BudgetService) Roster(ctx context.Context, ruleID string, params any) (json.RawMessage, error) {
	return platformWith(ctx, "budgets.roster", params, "ruleId", ruleID)
}

// WebhookTolerance is how far the time of a webhook may be from now, unless another is given.
const WebhookTolerance = 300 * time.Second

// VerifyWebhook tells whether a webhook really comes from Revenium; false whatever is the matter with it.
//
// timestamp and signature are the headers X-Revenium-Webhook-Timestamp and X-Revenium-Signature-256, body what came, before
// anything parsed it. Of several secrets any will do; an empty one spoils them all. tolerance: see [WebhookTolerance].
func VerifyWebhook(timestamp, signature string, body []byte, tolerance time.Duration, secrets ...string) bool {
	valid := false
	for _, secret := range secrets {
		if secret == "" {
			return false
		}
		seconds := int32(min(max(tolerance/time.Second, 0), math.MaxInt32))
		valid = nativeWebhookVerify([]byte(secret), timestamp, signature, body, seconds) == codeOK || valid
	}
	return valid
}
