// Calls are children of the program's own spans.

import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { beforeEach, test } from 'node:test';
import { ROOT_CONTEXT, context, createTraceState, trace } from '@opentelemetry/api';
import Official from 'sdk-current';
import Anthropic, { fetch, flush, withUsageMetadata } from 'librevenium';
import { fresh, params, records, requests, sandbox } from './tools.mjs';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const ambient = `00-${traceId}-00f067aa0ba902b7-01`;
const own = `00-${traceId}-00f067aa0ba902b8-01`;

const storage = new AsyncLocalStorage();
context.setGlobalContextManager({
  active: () => storage.getStore() ?? ROOT_CONTEXT,
  with: (of, fn, self, ...args) => storage.run(of, () => fn.apply(self, args)),
  bind: (_, target) => target,
  enable() {
    return this;
  },
  disable() {
    return this;
  },
});

const span = { traceId, spanId: '00f067aa0ba902b7', traceFlags: 1, traceState: createTraceState('a=1') };
const inSpan = (fn, of = span) => context.with(trace.setSpanContext(ROOT_CONTEXT, of), fn);

beforeEach(fresh);

async function sent() {
  await flush(20000);
  return (await requests()).map(({ headers }) => headers.traceparent);
}

test('the active span is the parent, unless somebody names another', async () => {
  const client = new Anthropic();
  await client.messages.create(params());
  await inSpan(() => client.messages.create(params()));
  await inSpan(() => client.messages.create(params('hi', { revenium: { traceparent: own } })));
  await inSpan(() => client.messages.create(params(), { headers: { traceparent: own } }));
  await inSpan(() => withUsageMetadata({ revenium: { traceparent: own } }, () => client.messages.create(params())));
  await inSpan(() => client.messages.create(params()), { ...span, traceFlags: 0 });
  await inSpan(() => client.messages.create(params()), { ...span, traceId: '0'.repeat(32) });
  assert.deepEqual(await sent(), [undefined, ambient, own, own, own, ambient.replace(/1$/, '0'), undefined]);
  const ids = (await records(7)).map((record) => record.traceId);
  assert.equal(ids.filter((id) => id === traceId).length, 5);
  assert.equal((await requests())[1].headers.tracestate, 'a=1');
});

test('the drop-in hands on what the SDK sends', async () => {
  const client = new Official({ fetch, apiKey: 'sk-ant-sandbox', baseURL: sandbox });
  await inSpan(() => client.messages.create(params(), { headers: { traceparent: own } }));
  await inSpan(() => client.messages.create(params()));
  const [first, second] = await sent();
  // An SDK with telemetry of its own puts another span between.
  assert.equal(first.slice(0, 35), own.slice(0, 35));
  assert.equal(second.slice(0, 35), ambient.slice(0, 35));
});
