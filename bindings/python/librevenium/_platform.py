"""What else Revenium offers: jobs and their outcomes, economics, budgets, webhooks."""

import json
import logging

from . import _core as core
from . import _errors as errors
from . import _native as native
from . import _observed as observed
from . import _scopes as scopes

_log = logging.getLogger("librevenium")
# How long the report of a job that failed may take.
PATIENCE_MS = 30_000


def platform(operation, params=None, *, timeout=None):
    """Ask Revenium for something and wait for the answer: `operation` is one of those in docs/platform.md of librevenium,
    "jobs.get" say, `params` a mapping of its parameters, named as in Revenium's API or in snake_case. Tried again where
    that may help, for minutes: `timeout`, in seconds, bounds it.

    Raises ReveniumError before anything is sent (`REVENIUM_E_ARGUMENT`, `REVENIUM_E_CONFIG`), and the class of the status
    for Revenium's refusals, whose `body["error"]["response"]` holds what it said."""
    call = core.begin_ask(operation.encode(), _text(params, timeout))
    try:
        while call.ended is None:
            core.advance(call)
    finally:
        core.finish(call)
    return _answer(call.ended)


async def async_platform(operation, params=None, *, timeout=None):
    """platform() without holding up the event loop."""
    call = core.begin_ask_async(operation.encode(), _text(params, timeout))
    try:
        while call.ended is None:
            await core.advance_async(call)
    finally:
        core.finish_async(call)
    return _answer(call.ended)


def _text(params, timeout):
    params = dict(params or {})
    if timeout is not None:
        params["timeoutMs"] = max(1, round(timeout * 1000))
    return json.dumps(params).encode()


def _answer(ended):
    if ended.code != native.OK:
        raise errors.of_call(ended)
    return json.loads(ended.body)


class Jobs:
    """Jobs: units of work with a business result. The methods give Revenium's JSON; fields are named as in Revenium's API
    or in snake_case. See platform() for errors and `timeout`. Those of `async_jobs` are awaited."""

    def __init__(self, ask):
        self._ask = ask

    def create(self, id, *, timeout=None, **fields):
        """Make a job before its first call does; one that exists is no error."""
        return self._ask("jobs.create", {**fields, "id": id}, timeout=timeout)

    def list(self, *, timeout=None, **filters):
        return self._ask("jobs.list", filters, timeout=timeout)

    def get(self, id, *, timeout=None):
        return self._ask("jobs.get", {"id": id}, timeout=timeout)

    def roi(self, id, *, timeout=None):
        return self._ask("jobs.roi", {"id": id}, timeout=timeout)

    def transactions(self, id, *, timeout=None, **page):
        return self._ask("jobs.transactions", {**page, "id": id}, timeout=timeout)

    def types(self, *, timeout=None):
        return self._ask("jobs.types", {}, timeout=timeout)

    def conversion_funnel(self, *, timeout=None, **filters):
        return self._ask("jobs.conversion_funnel", filters, timeout=timeout)

    def report_outcome(self, id, execution_status, *, timeout=None, **outcome):
        """Say how a job ended, once for each job: SUCCESS, FAILED or CANCELLED, and what else there is to tell, such as
        outcome_type, outcome_value, outcome_reason, metadata, metrics."""
        outcome = {**outcome, "id": id, "executionStatus": execution_status}
        return self._ask("jobs.report_outcome", outcome, timeout=timeout)

    def amend_outcome(self, id, *, timeout=None, **change):
        """Change what was reported. The version that was told last is the one that is meant."""
        return self._ask("jobs.amend_outcome", {**change, "id": id}, timeout=timeout)

    def append_metrics(self, id, metrics, *, timeout=None):
        return self._ask("jobs.append_metrics", {"id": id, "metrics": metrics}, timeout=timeout)

    def outcome_history(self, id, *, timeout=None):
        return self._ask("jobs.outcome_history", {"id": id}, timeout=timeout)


class Economics:
    """What a type of job costs without Claude."""

    def __init__(self, ask):
        self._ask = ask

    def get(self, type, *, timeout=None):
        return self._ask("economics.get", {"type": type}, timeout=timeout)

    def put(self, type, economics, *, timeout=None):
        return self._ask("economics.put", {"type": type, "economics": economics}, timeout=timeout)

    def baselines(self, type, *, timeout=None):
        return self._ask("economics.baselines", {"type": type}, timeout=timeout)

    def add_baseline(self, type, *, timeout=None, **baseline):
        return self._ask("economics.add_baseline", {**baseline, "type": type}, timeout=timeout)

    def add_facts(self, type, facts, *, timeout=None):
        return self._ask("economics.add_facts", {"type": type, "facts": facts}, timeout=timeout)


class Budgets:
    """The rules of Revenium's cost controls."""

    def __init__(self, ask):
        self._ask = ask

    def check(self, **params):
        """Whether a call with these params would go out, without making it: a mapping of `allowed`, `enforced`, and maybe
        `warnings` and `would_refuse`. Raises BudgetExceededError if it would not. Asks nobody and never waits: the rules
        are those fetched last."""
        handle = observed.within(json.dumps(params).encode(), scopes.current(), native.budget_check)
        try:
            return json.loads(native.text_of(native.result_json, handle))
        finally:
            native.release(handle)

    def list(self, *, timeout=None, **filters):
        return self._ask("budgets.list", filters, timeout=timeout)

    def roster(self, rule_id, *, timeout=None, **page):
        return self._ask("budgets.roster", {**page, "ruleId": rule_id}, timeout=timeout)


class job:
    """A job while it runs: `with job("loan-1", type="loan") as work:`, or `async with`. Calls inside carry the job's fields
    and `metadata`. Left by an exception the job is reported as FAILED with the exception's class, for at most half a minute,
    and the exception goes on; a report that fails is logged. How it ended otherwise, say with `work.report_outcome()`
    (`await work.areport_outcome()`)."""

    def __init__(self, id, *, name=None, type=None, version=None, **metadata):
        self.id = id
        told = {"agenticJobId": id, "agenticJobName": name, "agenticJobType": type, "agenticJobVersion": version}
        self._scope = scopes.usage_metadata({**metadata, **{key: value for key, value in told.items() if value is not None}})
        self._reported = False

    def report_outcome(self, execution_status, **outcome):
        answer = jobs.report_outcome(self.id, execution_status, **outcome)
        self._reported = True
        return answer

    async def areport_outcome(self, execution_status, **outcome):
        answer = await async_jobs.report_outcome(self.id, execution_status, **outcome)
        self._reported = True
        return answer

    def __enter__(self):
        self._scope.__enter__()
        return self

    def __exit__(self, kind, *_):
        self._scope.__exit__()
        if self._is_failure(kind):
            try:
                jobs.report_outcome(self.id, "FAILED", timeout=PATIENCE_MS / 1000, **_of_exception(kind))
            except errors.AnthropicError as error:
                _log.warning("a job was not reported as failed: %s", error)

    async def __aenter__(self):
        return self.__enter__()

    async def __aexit__(self, kind, *_):
        self._scope.__exit__()
        if self._is_failure(kind):
            try:
                await async_jobs.report_outcome(self.id, "FAILED", timeout=PATIENCE_MS / 1000, **_of_exception(kind))
            except errors.AnthropicError as error:
                _log.warning("a job was not reported as failed: %s", error)

    def _is_failure(self, kind):
        # A generator that is closed, and the end of the program, say nothing of the job.
        return kind is not None and not self._reported and issubclass(kind, Exception)


def _of_exception(kind):
    name = kind.__name__
    return {"outcomeReason": name, "metadata": {"error": name, "errorType": name}}


def verify_webhook(secret, timestamp, signature, body, *, tolerance_seconds=300):
    """Whether a webhook really comes from Revenium; False whatever is the matter with it. `timestamp` and `signature` are
    the headers X-Revenium-Webhook-Timestamp and X-Revenium-Signature-256, `body` the bytes that came, before anything
    parsed them. `secret`: one, or a list of which any will do; an empty one spoils them all."""
    secrets = [secret] if isinstance(secret, (str, bytes)) else list(secret or ())
    secrets = [one.encode() if isinstance(one, str) else one for one in secrets]
    if not secrets or not all(secrets):
        return False
    body = body.encode() if isinstance(body, str) else bytes(body)
    headers = [value.encode() if isinstance(value, str) else b"" for value in (timestamp, signature)]
    verdicts = [
        native.webhook_verify(one, len(one), *headers, body, len(body), int(tolerance_seconds)) for one in secrets
    ]
    return native.OK in verdicts


jobs, async_jobs = Jobs(platform), Jobs(async_platform)
economics, async_economics = Economics(platform), Economics(async_platform)
budgets, async_budgets = Budgets(platform), Budgets(async_platform)
