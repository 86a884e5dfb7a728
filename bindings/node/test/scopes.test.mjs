// Usage metadata follows the asynchronous context: no request ever sees another's.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import Anthropic, { fetch, flush, meter, record, withUsageMetadata } from 'librevenium';
import { control, fresh, params, records, reset, run, sandbox } from './tools.mjs';

const client = new Anthropic();
beforeEach(fresh);

/** The record of one call made by `fn`. */
async function recorded(fn) {
  const message = await fn();
  const found = (await records(1)).find((record) => record.transactionId === message.id);
  await reset();
  return found;
}

test('layers go over one another', async () => {
  const record = await recorded(() =>
    withUsageMetadata({ organizationName: 'outer', product_name: 'p', agent: 'a', subscriber: { id: 's', email: 'e@x' } }, () =>
      withUsageMetadata({ organization_name: 'inner', agent: '', subscriber: { id: 't' } }, () =>
        client.messages.create(params('', { usage_metadata: { task_type: 'snake', taskType: 'camel', traceId: 'call' } })),
      ),
    ),
  );
  assert.equal(record.organizationName, 'inner');
  assert.equal(record.productName, 'p');
  assert.equal(record.agent, 'a', 'a blank never erases');
  assert.deepEqual(record.subscriber, { id: 't' }, 'replaced as a whole');
  assert.equal(record.taskType, 'camel', 'the wire name wins');
  assert.equal(record.traceId, 'call');
});

test('a scope ends with its function, and follows what that started', async () => {
  let later;
  const value = withUsageMetadata({ agent: 'inside' }, () => {
    later = sleep(20).then(() => client.messages.create(params()));
    return 7;
  });
  assert.equal(value, 7);
  const outside = await client.messages.create(params());
  const inside = await later;
  const agents = new Map((await records(2)).map((record) => [record.transactionId, record.agent]));
  assert.deepEqual([agents.get(outside.id), agents.get(inside.id)], [undefined, 'inside']);
});

test('fields are copied when the scope is made', async () => {
  const fields = { agent: 'before' };
  const record = await recorded(() =>
    withUsageMetadata(fields, () => {
      fields.agent = 'after';
      return client.messages.create(params());
    }),
  );
  assert.equal(record.agent, 'before');
});

test('metadata that cannot be said never fails a call', async () => {
  const circular = {};
  circular.self = circular;
  for (const bad of [null, undefined, 7, 'x', [1], { agent: 1n }, { agent: circular }, { agent: () => {} }]) {
    const record = await recorded(() =>
      withUsageMetadata({ taskType: 'outer' }, () => withUsageMetadata(bad, () => client.messages.create(params()))),
    );
    assert.equal(record.taskType, 'outer');
  }
  const record = await recorded(() => withUsageMetadata({ agent: 1n, taskType: 'kept' }, () => client.messages.create(params())));
  assert.equal(record.taskType, 'kept');
});

test('requests that take turns on the one thread never see each other’s metadata', async () => {
  const pause = () => sleep(Math.random() * 5);
  const ids = new Map();
  const handle = (customer) =>
    withUsageMetadata({ organizationName: customer, subscriber: { id: `user-${customer}` } }, async () => {
      await pause();
      const first = await client.messages.create(params(customer));
      await pause();
      const [second, third] = await Promise.all([
        withUsageMetadata({ agent: `agent-${customer}` }, async () => {
          await pause();
          return client.messages.stream(params(customer)).finalMessage();
        }),
        pause().then(async () => {
          const stream = await client.messages.create(params(customer, { stream: true }));
          let id;
          for await (const event of stream) id ??= event.message?.id;
          return { id };
        }),
      ]);
      await pause();
      const fourth = await client.messages.create(params(customer));
      ids.set(first.id, [customer]).set(second.id, [customer, `agent-${customer}`]).set(third.id, [customer]).set(fourth.id, [customer]);
    });
  await Promise.all(Array.from({ length: 50 }, (_, n) => handle(`customer-${n}`)));
  const all = await records(200);
  assert.equal(all.length, 200);
  for (const record of all) {
    const [customer, agent] = ids.get(record.transactionId);
    assert.equal(record.organizationName, customer);
    assert.equal(record.subscriber.id, `user-${customer}`);
    assert.equal(record.agent, agent);
  }
});

test('selective metering records marked calls only', async () => {
  const { code, stdout, stderr } = await run(`
    import { params, records, reset } from ${JSON.stringify(new URL('./tools.mjs', import.meta.url).href)};
    revenium.init({ selective_metering: true });
    const client = new Anthropic();
    await client.messages.create(params());
    const { id } = await revenium.meter(async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      return revenium.withUsageMetadata({ agent: 'a' }, () => client.messages.create(params()));
    });
    await client.messages.create(params());
    console.log(await revenium.flush(), revenium.status().metering, (await records(1)).map((r) => r.transactionId === id && r.agent).join());
  `);
  assert.equal(stdout.trim(), 'true selective a', stderr);
  assert.equal(code, 0);
});

/** The Idempotency-Keys of the records that arrived, by their trace. */
async function keys() {
  await flush(20000);
  const arrived = await (await control('records')).json();
  return Object.fromEntries(arrived.map(({ body, idempotency_key: key }) => [body.traceId, key]));
}

const numbered = (key, fn) => withUsageMetadata({ revenium: { idempotency_key: key } }, fn);
const traced = (traceId, more) => params('', { usage_metadata: { traceId }, ...more });

test('the calls of a scope with an idempotency key are numbered in their order', async () => {
  await numbered('job-1', async () => {
    await client.messages.create(traced('first'));
    const headers = { 'x-api-key': 'sk-ant-sandbox', 'x-stainless-retry-count': '1' };
    await fetch(`${sandbox}/v1/messages`, { method: 'POST', headers, body: JSON.stringify(traced('drop-in')) });
    await meter(() => withUsageMetadata({ agent: 'a' }, () => client.messages.create(traced('third'))));
    record({ response: { id: 'msg_recorded', content: [] }, usageMetadata: { traceId: 'recorded' } });
    await numbered('inner', () => client.messages.create(traced('inner')));
    await client.messages.create(traced('last'));
  });
  const expected = { first: 'job-1', 'drop-in': 'job-1:2', third: 'job-1:3', recorded: 'job-1:4', inner: 'inner', last: 'job-1:5' };
  assert.deepEqual(await keys(), expected);
  await reset();
  await numbered('job-1', () => client.messages.create(traced('again')));
  assert.deepEqual(await keys(), { again: 'job-1' }, 'the same work begun anew has the same keys');
});

test('scopes with idempotency keys that run beside one another number their own calls', async () => {
  const work = (key) =>
    numbered(key, () => Promise.all(Array.from({ length: 10 }, (_, n) => client.messages.create(traced(`${key}/${n}`)))));
  await Promise.all(['a', 'b', 'c'].map(work));
  const found = await keys();
  for (const key of ['a', 'b', 'c']) {
    const own = Object.keys(found).filter((trace) => trace.startsWith(key));
    const expected = [key, ...Array.from({ length: 9 }, (_, n) => `${key}:${n + 2}`)];
    assert.deepEqual(own.map((trace) => found[trace]).sort(), expected.sort());
  }
});

test('a choice of a scope that is none is refused before anything runs', () => {
  for (const [choices, why] of [
    [{ idempotency_key: 'no key' }, /visible ASCII/],
    [{ timeout_ms: 'soon' }, /timeout_ms/],
    [{ anything: 1 }, /anything/],
  ]) {
    const run = () => withUsageMetadata({ agent: 'a', revenium: choices }, () => assert.fail('it ran'));
    assert.throws(run, (error) => error.code === 'REVENIUM_E_CONFIG' && why.test(error.message));
  }
});
