"""Revenium's platform: jobs, budgets, webhooks. Each in a process of its own, with settings of its own."""

import hashlib
import hmac
import json
import time

import librevenium
import pytest
from conftest import control, params, run

JOBS = "/profitstream/v2/api/jobs"
RULES = "/v2/api/ai/enforcement-rules/T"
KEY = {"REVENIUM_METERING_API_KEY": "rev_sk_tenant_0123456789abcdef", "REVENIUM_TEAM_ID": "T"}
RULE = {"ruleId": 9, "name": "cap-1", "breached": True, "currentValue": 12.5, "threshold": 10, "denyMessage": "Ask."}
START = f"""
import asyncio, json, os, time, librevenium
params = {params()!r}
def fetched():
    for _ in range(3000):
        try:
            librevenium.budgets.check(**params)
        except librevenium.BudgetExceededError:
            return
        time.sleep(0.01)
"""


def plan(path, *answers):
    control("plan", "POST", {"path": path, "answers": list(answers)})


def asked(service="platform"):
    return json.loads(control(f"requests?service={service}"))


def program(text, **env):
    code, out, err = run(START + text, env={**KEY, **env})
    assert code == 0, err
    return json.loads(out)


def test_jobs(sandbox):
    plan(JOBS + "/loan-1/outcome", {"json": {"entityVersion": 4}})
    plan(JOBS + "/types", {"json": ["loan"]})
    answers = program("""
async def main():
    return await librevenium.async_jobs.types()
outcome = librevenium.jobs.report_outcome("loan-1", "SUCCESS", outcome_type="CONVERTED", outcome_value=5, metadata={"a": 1})
print(json.dumps([outcome, asyncio.run(main())]))
""")
    assert answers == [{"entityVersion": 4}, ["loan"]]
    report, types = asked()
    assert (report["method"], report["query"]) == ("POST", "teamId=T")
    assert report["body"] == {
        "executionStatus": "SUCCESS",
        "outcomeType": "CONVERTED",
        "outcomeValue": 5,
        "outcomeCurrency": "USD",
        "metadata": '{"a":1}',
    }
    assert types["path"] == JOBS + "/types"


def test_errors(sandbox):
    plan(JOBS + "/j/outcome", {"status": 409, "json": {"details": {"guidance": "PATCH"}}})
    errors = program("""
told = []
for ask in (lambda: librevenium.jobs.report_outcome("j", "FAILED"), lambda: librevenium.jobs.get(""),
            lambda: librevenium.platform("jobs.explode")):
    try:
        ask()
    except librevenium.AnthropicError as error:
        told.append([type(error).__name__, error.code, getattr(error, "body", None)])
print(json.dumps(told))
""")
    assert [error[:2] for error in errors] == [
        ["ConflictError", "REVENIUM_E_CONFLICT"],
        ["ReveniumError", "REVENIUM_E_ARGUMENT"],
        ["ReveniumError", "REVENIUM_E_ARGUMENT"],
    ]
    assert errors[0][2]["error"]["already_reported"] is True


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_job_scope(sandbox, asynchronous):
    plan(JOBS + "/loan-1/outcome", {"json": {}})
    way = "async with" if asynchronous else "with"
    result = program(f"""
async def main():
    try:
        {way} librevenium.job("loan-1", type="loan", organizationName="Acme"):
            librevenium.messages.create(**params)
            raise KeyError("secret words")
    except KeyError as error:
        return str(error)
words = asyncio.run(main())
librevenium.flush(20000)
print(json.dumps(words))
""")
    assert result == "'secret words'"
    (record,) = sandbox.records(1)
    assert (record["agenticJobId"], record["agenticJobType"], record["organizationName"]) == ("loan-1", "loan", "Acme")
    (report,) = asked()
    assert report["body"]["executionStatus"] == "FAILED"
    assert report["body"]["outcomeReason"] == "KeyError"
    assert "secret" not in report["raw"]


def test_a_job_that_was_reported_is_not_reported_again(sandbox):
    plan(JOBS + "/loan-1/outcome", {"json": {}})
    program("""
try:
    with librevenium.job("loan-1") as work:
        work.report_outcome("CANCELLED")
        raise ValueError
except ValueError:
    print("1")
with librevenium.job("loan-2"):
    pass
""")
    assert [request["body"]["executionStatus"] for request in asked()] == ["CANCELLED"]


def test_budget_exceeded(sandbox):
    plan(RULES, {"json": {"rules": [RULE]}})
    told = program(
        """
fetched()
told = []
for ask in (lambda: librevenium.messages.create(**params), lambda: librevenium.budgets.check(**params)):
    try:
        ask()
    except librevenium.BudgetExceededError as error:
        told.append([error.rule_name, error.rule_id, error.current_value, error.threshold, error.deny_message,
                     error.status_code, error.type, str(error)])
print(json.dumps(told))
""",
        REVENIUM_CIRCUIT_BREAKER_ENABLED="true",
    )
    text = "Request blocked by Revenium enforcement rule: cap-1. Ask."
    assert told == [["cap-1", 9, 12.5, 10, "Ask.", 402, "billing_error", text]] * 2
    assert asked("anthropic") == []


def test_budget_exceeded_under_the_sdk(sandbox):
    pytest.importorskip("anthropic")
    plan(RULES, {"json": {"rules": [RULE]}})
    told = program(
        """
import anthropic
fetched()
told = []
def tell(error):
    told.append([error.status_code, error.body["error"]["type"], error.body["error"]["rule_name"]])
try:
    anthropic.Anthropic(http_client=librevenium.http_client()).messages.create(**params)
except anthropic.APIStatusError as error:
    tell(error)
async def main():
    async with anthropic.AsyncAnthropic(http_client=librevenium.async_http_client()) as client:
        try:
            await client.messages.create(**params, stream=True)
        except anthropic.APIStatusError as error:
            tell(error)
asyncio.run(main())
print(json.dumps(told))
""",
        REVENIUM_CIRCUIT_BREAKER_ENABLED="true",
    )
    assert told == [[402, "billing_error", "cap-1"]] * 2
    assert asked("anthropic") == []


def test_a_budget_refuses_what_is_only_watched(sandbox):
    pytest.importorskip("anthropic")
    plan(RULES, {"json": {"rules": [RULE]}})
    told = program(
        """
fetched()
paths = ["/model/anthropic.claude-haiku-4-5/invoke",
         "/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-haiku-4-5:rawPredict"]
urls = [os.environ["ANTHROPIC_BASE_URL"] + path for path in paths]
def facts(answer):
    return [answer.status_code, answer.headers["x-should-retry"], answer.json()["error"]["rule_name"]]
with librevenium.http_client() as client:
    told = [facts(client.post(url, json=params)) for url in urls]
async def main():
    async with librevenium.async_http_client() as client:
        return [facts(await client.post(url, json=params)) for url in urls]
print(json.dumps(told + asyncio.run(main())))
""",
        REVENIUM_CIRCUIT_BREAKER_ENABLED="true",
    )
    assert told == [[402, "false", "cap-1"]] * 4
    assert [asked(service) for service in ("anthropic", "bedrock", "unknown")] == [[]] * 3


def test_webhooks():
    now, body = str(int(time.time())), b'{"event":"x"}'
    signature = "sha256=" + hmac.new(b"s1", now.encode() + b"." + body, hashlib.sha256).hexdigest()
    verify = librevenium.verify_webhook
    assert verify("s1", now, signature, body)
    assert verify(["a", "s1"], now, signature, body.decode())
    assert not verify(["", "s1"], now, signature, body)
    assert not verify([], now, signature, body)
    assert not verify("s2", now, signature, body)
    assert not verify("s1", None, signature, body)
    assert not verify("s1", now, signature, body + b" ")
