"""Jobs: calls that belong to one unit of work, and what came of it. Needs a key that may do more than meter."""

import os

import librevenium

MODEL = os.environ.get("MODEL", "claude-sonnet-5-5")
client = librevenium.Anthropic()

# Every call made inside carries the job's id. Left by an exception, the job is reported as failed.
with librevenium.job("loan-1", type="loan") as job:
    question = [{"role": "user", "content": "Is the loan granted?"}]
    print(client.messages.create(model=MODEL, max_tokens=100, messages=question).text)

    # Once its records have arrived, Revenium knows the job. Until then it is asked again, for at most ten seconds.
    librevenium.flush(10_000)
    job.report_outcome("SUCCESS", outcome_type="CONVERTED", outcome_value=500, timeout=10)
    print("jobs.report_outcome: done")

librevenium.jobs.amend_outcome("loan-1", outcome_value=700, reason="corrected", timeout=10)
print("jobs.amend_outcome: done")
