"""Budgets: a call that a rule of Revenium's cost controls blocks does not leave. Needs REVENIUM_TEAM_ID."""

import os
import time

import librevenium

MODEL = os.environ.get("MODEL", "claude-sonnet-5-5")
librevenium.init(budget_enforcement=True)
client = librevenium.Anthropic()


def params(agent):
    question = [{"role": "user", "content": "Greet the world."}]
    return {"model": MODEL, "max_tokens": 100, "messages": question, "usage_metadata": {"agent": agent}}


# The first question starts the fetching of the rules, and calls pass until they are there: a server asks at its start.
for _ in range(500):
    librevenium.budgets.check(**params("nobody"))
    if librevenium.status_json()["budgets"]["fetched_seconds_ago"] is not None:
        break
    time.sleep(0.01)

for agent in ("reader", "writer"):
    try:
        print(f"{agent}: {client.messages.create(**params(agent)).text}")
    except librevenium.BudgetExceededError as error:
        # Nothing was sent. error.rule_name, current_value, threshold and resets_at say more.
        print(f"{agent}: {error}")
