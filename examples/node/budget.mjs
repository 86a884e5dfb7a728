// Budgets: a call that a rule of Revenium's cost controls blocks does not leave. Needs REVENIUM_TEAM_ID.
import { setTimeout as sleep } from 'node:timers/promises';
import Anthropic, { budgets, BudgetExceededError, init, statusJson } from 'librevenium';
import { model, textOf } from './model.mjs';

init({ budget_enforcement: true });
const client = new Anthropic();

const params = (agent) => ({
  model,
  max_tokens: 100,
  messages: [{ role: 'user', content: 'Greet the world.' }],
  usage_metadata: { agent },
});

// The first question starts the fetching of the rules, and calls pass until they are there: a server asks at its start.
for (let round = 0; round < 500 && statusJson().budgets?.fetched_seconds_ago == null; round++) {
  budgets.check(params('nobody'));
  await sleep(10);
}

for (const agent of ['reader', 'writer']) {
  try {
    console.log(`${agent}: ${textOf(await client.messages.create(params(agent)))}`);
  } catch (error) {
    if (!(error instanceof BudgetExceededError)) throw error;
    // Nothing was sent. error.ruleName, currentValue, threshold and resetsAt say more.
    console.log(`${agent}: ${error.message}`);
  }
}
