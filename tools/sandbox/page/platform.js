// Budgets, jobs, and the answers that are set.

const platform = { set: {} };

async function loadPlatform() {
  const response = await fetch('sandbox/state');
  if (!response.ok) return;
  const state = await response.json();
  platform.set = state.budgets.set;
  drawRules(state.budgets.answer?.rules ?? []);
  drawJobs(state.jobs);
  drawAnswers(state.answers);
  const choices = $('answer').elements.operation;
  if (choices.options.length === 0) choices.append(...state.operations.map((name) => make('option', {}, name)));
  const json = $('rules-json').elements.json;
  if (document.activeElement !== json) json.value = JSON.stringify(state.budgets.set, null, 2);
}

function drawRules(rules) {
  const head = ['Rule', 'Counts', 'Now', 'Ends at', 'State', 'Then', 'Change'];
  $('rules').tHead.replaceChildren(tableRow(head, 'th'));
  const unit = (rule, value) => (['TOKEN_COUNT', 'REQUEST_COUNT'].includes(rule.metric) ? count(value) : `≈ ${money(value)}`);
  const rows = rules.map((rule, at) => {
    const filters = (rule.filters ?? []).map((f) => `${f.dimension} ${f.operator} ${f.value ?? (f.values ?? []).join(', ')}`);
    const each = rule.groupBy ? `for each ${rule.groupBy}` : 'all together';
    const over = (rule.groupBreakdown ?? []).filter((group) => group.breached).map((group) => group.groupValue);
    const state = rule.groupBy ? (over.length ? `over: ${over.join(', ')}` : 'open') : rule.breached ? 'over' : 'open';
    const drop = make('button', { type: 'button', data: { rule: at } }, 'Remove');
    drop.setAttribute('aria-label', `Remove the rule ${rule.name}`);
    const then = rule.denyMessage ? `${rule.action}: ${rule.denyMessage}` : String(rule.action);
    return tableRow([String(rule.name), [each, ...filters].join(', '), unit(rule, rule.currentValue), unit(rule, rule.threshold), state, then, drop]);
  });
  $('rules').tBodies[0].replaceChildren(...(rows.length ? rows : [tableRow(['No rules: nothing is limited.'])]));
}

function drawJobs(jobs) {
  const head = ['Job', 'Type', 'Calls', 'Est. cost', 'Outcome', 'Value', 'Version'];
  $('job-list').tHead.replaceChildren(tableRow(head, 'th'));
  const rows = jobs.slice(-100).map((job) => {
    const outcome = [job.executionStatus ?? 'not reported', job.outcomeType, job.outcomeReason].filter(Boolean).join(', ');
    const value = job.outcomeValue === undefined ? '' : `${job.outcomeValue} ${job.outcomeCurrency ?? 'USD'}`;
    const cells = [String(job.agenticJobId), String(job.type ?? ''), count(job.transactionCount), estimated(job.totalCost), outcome, value];
    return tableRow([...cells, String(job.entityVersion)]);
  });
  $('job-list').tBodies[0].replaceChildren(...(rows.length ? rows : [tableRow(['No jobs yet: a record with agenticJobId makes one.'])]));
}

function drawAnswers(answers) {
  const lines = Object.entries(answers).map(([operation, left]) => {
    const drop = make('button', { type: 'button', data: { operation } }, 'Take back');
    drop.setAttribute('aria-label', `Take back the answers of ${operation}`);
    return make('li', {}, `${operation}: the next ${left.length}, first ${JSON.stringify(left[0])} `, drop);
  });
  $('answers').replaceChildren(...lines);
}

/** Sends a setting; what is wrong with it is said at `problem`. */
async function send(path, body, problem) {
  const response = await fetch(path, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  const refused = response.ok ? '' : await response.text();
  let message = refused;
  try { message = JSON.parse(refused).message ?? refused; } catch { /* it was no JSON */ }
  $(problem).textContent = message;
  await loadPlatform();
  return response.ok;
}

function setRules(rules) {
  const set = { ...platform.set, rules };
  return send('sandbox/budgets', rules.length || Object.keys(set).length > 1 ? set : {}, 'budget-problem');
}

$('rule').addEventListener('submit', (event) => {
  event.preventDefault();
  const form = $('rule').elements;
  const rule = { name: form.name.value, threshold: Number(form.threshold.value), metric: form.metric.value, action: form.action.value };
  if (form.groupBy.value) rule.groupBy = form.groupBy.value;
  if (form.dimension.value) rule.filters = [{ dimension: form.dimension.value, operator: 'IS', value: form.value.value }];
  if (form.denyMessage.value) rule.denyMessage = form.denyMessage.value;
  setRules([...(platform.set.rules ?? []), rule]);
});

$('rules').addEventListener('click', (event) => {
  const at = event.target.dataset.rule;
  if (at !== undefined) setRules(platform.set.rules.filter((_, other) => other !== Number(at)));
});

/** `undefined` and a sentence where the text is no JSON. */
function parsed(text, problem) {
  try {
    return JSON.parse(text);
  } catch (error) {
    $(problem).textContent = `That is not JSON: ${error.message}`;
    return undefined;
  }
}

$('rules-json').addEventListener('submit', (event) => {
  event.preventDefault();
  const set = parsed($('rules-json').elements.json.value || '{}', 'budget-problem');
  if (set !== undefined) send('sandbox/budgets', set, 'budget-problem');
});

$('answer').addEventListener('submit', (event) => {
  event.preventDefault();
  const form = $('answer').elements;
  const answer = parsed(form.json.value || form.answer.value, 'answer-problem');
  if (answer === undefined) return;
  const answers = Array.from({ length: Number(form.times.value) }, () => answer);
  send('sandbox/answers', { operation: form.operation.value, answers }, 'answer-problem');
});

$('answers').addEventListener('click', (event) => {
  const operation = event.target.dataset.operation;
  if (operation) send('sandbox/answers', { operation, answers: [] }, 'answer-problem');
});
