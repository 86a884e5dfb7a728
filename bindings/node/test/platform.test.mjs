// Revenium's platform: jobs, budgets, webhooks. What needs settings of its own runs in a process of its own.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { beforeEach, test } from 'node:test';
import { verifyWebhook } from 'librevenium';
import { fresh, plan, records, run, sandbox } from './tools.mjs';

beforeEach(fresh);

const JOBS = '/profitstream/v2/api/jobs';
const RULES = '/v2/api/ai/enforcement-rules/T';
const RULE = { ruleId: 9, name: 'cap-1', breached: true, currentValue: 12.5, threshold: 10, denyMessage: 'Ask.' };
const env = { REVENIUM_METERING_API_KEY: 'rev_sk_tenant_0123456789abcdef', REVENIUM_TEAM_ID: 'T' };
const budget = { ...env, REVENIUM_CIRCUIT_BREAKER_ENABLED: 'true' };
const TOOLS = `import { params } from ${JSON.stringify(new URL('./tools.mjs', import.meta.url).href)};
import { setTimeout as sleep } from 'node:timers/promises';
const tell = (value) => console.log(JSON.stringify(value));
async function fetched() {
  for (let round = 0; round < 3000; round++) {
    try { revenium.budgets.check(params()); } catch { return; }
    await sleep(10);
  }
}
`;

/** What the program tells. */
async function told(program, env) {
  const { code, stdout, stderr } = await run(TOOLS + program, { env });
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

const seen = async (service) => (await fetch(`${sandbox}/sandbox/requests?service=${service}`)).json();
const asked = () => seen('platform');

test('jobs', async () => {
  await plan(`${JOBS}/loan-1/outcome`, [{ json: { entityVersion: 4 } }]);
  const answer = await told(
    `tell(await revenium.jobs.reportOutcome('loan-1', { executionStatus: 'SUCCESS', outcomeType: 'CONVERTED', outcomeValue: 5, metadata: { a: 1 } }));`,
    env,
  );
  assert.deepEqual(answer, { entityVersion: 4 });
  const [{ method, query, body }] = await asked();
  assert.deepEqual([method, query], ['POST', 'teamId=T']);
  assert.deepEqual(body, {
    executionStatus: 'SUCCESS',
    outcomeType: 'CONVERTED',
    outcomeValue: 5,
    outcomeCurrency: 'USD',
    metadata: '{"a":1}',
  });
});

test('errors of the platform, and of what is asked', async () => {
  await plan(`${JOBS}/j/outcome`, [{ status: 409, json: { details: { guidance: 'PATCH' } } }]);
  await plan(`${JOBS}/types`, ['stall']);
  const errors = await told(
    `
    const of = (promise) => promise.then(() => null, (error) => [error.constructor.name, error.code ?? null, error.error ?? null]);
    tell([
      await of(revenium.jobs.reportOutcome('j', { executionStatus: 'FAILED' })),
      await of(revenium.jobs.get('')),
      await of(revenium.platform('jobs.explode')),
      await of(revenium.jobs.types({ signal: AbortSignal.timeout(50) })),
      await of(revenium.jobs.types({ timeout: 50 })),
    ]);
  `,
    env,
  );
  assert.deepEqual(
    errors.map(([kind, code]) => [kind, code]),
    [
      ['ConflictError', 'REVENIUM_E_CONFLICT'],
      ['ReveniumError', 'REVENIUM_E_ARGUMENT'],
      ['ReveniumError', 'REVENIUM_E_ARGUMENT'],
      ['DOMException', 23],
      ['APIConnectionTimeoutError', 'REVENIUM_E_TIMEOUT'],
    ],
  );
  assert.equal(errors[0][2].error.already_reported, true);
});

test('a job that throws is reported as failed, and its calls carry its id', async () => {
  await plan(`${JOBS}/loan-1/outcome`, [{ json: {} }]);
  const thrown = await told(
    `
    const client = new Anthropic();
    try {
      await revenium.jobs.run('loan-1', { type: 'loan', organizationName: 'Acme' }, async () => {
        await client.messages.create(params());
        throw new RangeError('secret words');
      });
    } catch (error) { tell(error.message); }
    await revenium.flush(20000);
  `,
    env,
  );
  assert.equal(thrown, 'secret words');
  const [record] = await records(1);
  assert.deepEqual([record.agenticJobId, record.agenticJobType, record.organizationName], ['loan-1', 'loan', 'Acme']);
  const [report] = await asked();
  assert.deepEqual([report.body.executionStatus, report.body.outcomeReason], ['FAILED', 'RangeError']);
  assert.ok(!report.raw.includes('secret'));
});

test('a job that was reported, or ended well, is not reported as failed', async () => {
  await plan(`${JOBS}/loan-1/outcome`, [{ json: {} }]);
  const value = await told(
    `
    await revenium.jobs.run('loan-1', {}, async (job) => {
      await job.reportOutcome({ executionStatus: 'CANCELLED' });
      throw new Error('x');
    }).catch(() => {});
    tell(await revenium.jobs.run('loan-2', {}, () => 7));
  `,
    env,
  );
  assert.equal(value, 7);
  assert.deepEqual((await asked()).map(({ body }) => body.executionStatus), ['CANCELLED']);
});

test('a budget refuses: an error of its own, and 402 under the SDK, with nothing sent', async () => {
  await plan(RULES, [{ json: { rules: [RULE] } }]);
  const [own, checked, response] = await told(
    `
    await fetched();
    const facts = (error) => [error.constructor.name, error.code, error.status, error.type, error.ruleName, error.ruleId,
      error.currentValue, error.threshold, error.resetsAt, error.denyMessage];
    const client = new Anthropic();
    const own = await client.messages.create(params()).catch(facts);
    let checked;
    try { revenium.budgets.check(params()); } catch (error) { checked = facts(error); }
    const answer = await revenium.fetch(process.env.ANTHROPIC_BASE_URL + '/v1/messages', { method: 'POST', body: JSON.stringify(params()) });
    tell([own, checked, [answer.status, answer.headers.get('x-should-retry'), await answer.json()]]);
  `,
    budget,
  );
  const facts = ['BudgetExceededError', 'REVENIUM_E_BUDGET', 402, 'billing_error', 'cap-1', 9, 12.5, 10, null, 'Ask.'];
  assert.deepEqual([own, checked], [facts, facts]);
  assert.deepEqual(response.slice(0, 2), [402, 'false']);
  assert.deepEqual([response[2].error.type, response[2].error.rule_name], ['billing_error', 'cap-1']);
  assert.deepEqual(await seen('anthropic'), []);
});

test('the official SDK raises its own error after one attempt', async () => {
  await plan(RULES, [{ json: { rules: [RULE] } }]);
  const facts = await told(
    `
    const { default: SDK } = await import('sdk-current');
    await fetched();
    const attempts = [];
    const fetch = (...args) => { attempts.push(1); return revenium.fetch(...args); };
    const error = await new SDK({ fetch, apiKey: 'sk-of-the-sdk' }).messages.create(params()).catch((error) => error);
    tell([error.status, error.error.error.type, attempts.length]);
  `,
    budget,
  );
  assert.deepEqual(facts, [402, 'billing_error', 1]);
});

test('a budget refuses what the library only watches, with nothing sent', async () => {
  await plan(RULES, [{ json: { rules: [RULE] } }]);
  const answers = await told(
    `
    await fetched();
    const { model, ...body } = params();
    const answers = [];
    for (const [path, more] of [
      ['/model/anthropic.claude-haiku-4-5/invoke', {}],
      ['/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-haiku-4-5:streamRawPredict', {}],
      ['/v1/messages', { 'user-agent': 'AnthropicFoundry/JS 0.2' }],
    ]) {
      const init = { method: 'POST', headers: more, body: JSON.stringify(body) };
      const answer = await revenium.fetch(process.env.ANTHROPIC_BASE_URL + path, init);
      answers.push([answer.status, answer.headers.get('x-should-retry'), (await answer.json()).error.rule_name]);
    }
    tell(answers);
  `,
    budget,
  );
  assert.deepEqual(answers, Array(3).fill([402, 'false', 'cap-1']));
  for (const service of ['anthropic', 'bedrock', 'unknown']) assert.deepEqual(await seen(service), []);
});

test('webhooks', () => {
  const timestamp = String(Math.floor(Date.now() / 1000));
  const body = '{"event":"x"}';
  const signature = `sha256=${createHmac('sha256', 's1').update(`${timestamp}.${body}`).digest('hex')}`;
  const webhook = { secret: 's1', timestamp, signature, body };
  assert.ok(verifyWebhook(webhook));
  assert.ok(verifyWebhook({ ...webhook, secret: ['a', 's1'], body: Buffer.from(body) }));
  for (const wrong of [{ secret: ['', 's1'] }, { secret: [] }, { secret: 's2' }, { timestamp: undefined }, { signature: undefined }, { body: `${body} ` }]) {
    assert.ok(!verifyWebhook({ ...webhook, ...wrong }), JSON.stringify(wrong));
  }
});
