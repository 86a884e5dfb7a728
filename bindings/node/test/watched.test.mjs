// Clients of the official SDKs for other services, whose requests pass untouched: the same bytes on the wire, one record
// each. And calls that nobody but the program knows of.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { AnthropicBedrock } from '@anthropic-ai/bedrock-sdk';
import { AnthropicFoundry } from '@anthropic-ai/foundry-sdk';
import { AnthropicVertex } from '@anthropic-ai/vertex-sdk';
import Anthropic from 'sdk-current';
import { Tap, fetch as metered, flush, meterTool, record, recordBatchResult, toolEvent, withUsageMetadata } from 'librevenium';
import { fresh, params, plan, records, requests, sandbox } from './tools.mjs';

beforeEach(fresh);

const MODEL = 'us.anthropic.claude-haiku-4-5-20251001-v1:0';
const VERTEX = '/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-haiku-4-5@20251001';
const MESSAGE = {
  id: 'msg_watched', type: 'message', role: 'assistant', model: 'claude-haiku-4-5-20251001',
  content: [{ type: 'text', text: 'Hi' }], stop_reason: 'end_turn', stop_sequence: null,
  usage: { input_tokens: 12, output_tokens: 7 },
};
const EVENTS = [
  { type: 'message_start', message: { ...MESSAGE, content: [], stop_reason: null } },
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Hi' } },
  { type: 'content_block_stop', index: 0 },
  { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 7 } },
  { type: 'message_stop' },
];
const chunks = EVENTS.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
const SSE = { headers: { 'content-type': 'text/event-stream' }, chunks };

const has = (record, members) =>
  assert.deepEqual(Object.fromEntries(Object.keys(members).map((name) => [name, record[name]])), members);

const bedrock = (options = { fetch: metered }) =>
  new AnthropicBedrock({ baseURL: sandbox, awsAccessKey: 'AKIDEXAMPLE12345678', awsSecretKey: 'wJalrXUtnFEMI/K7MDENG', awsRegion: 'eu-west-1', ...options });

const vertex = (options = {}) =>
  new AnthropicVertex({
    baseURL: `${sandbox}/v1`, region: 'us-east5', projectId: 'p', fetch: metered,
    authClient: { getRequestHeaders: async () => new Headers({ authorization: 'Bearer t' }), projectId: 'p' }, ...options,
  });

/** What of a request does not change from one to the next. */
const wire = ({ path, raw, headers }) => {
  const varies = new Set(['authorization', 'x-amz-date', 'amz-sdk-invocation-id']);
  return { path, raw, headers: Object.fromEntries(Object.entries(headers).filter(([name]) => !varies.has(name))) };
};

test('Bedrock: the bytes are the SDK’s, and there is one record', async () => {
  const plain = await bedrock({}).messages.create(params('Hello', { model: MODEL }));
  const message = await withUsageMetadata({ agent: 'a' }, () => bedrock().messages.create(params('Hello', { model: MODEL })));
  assert.deepEqual(message.content, plain.content);
  const [one, other] = await requests();
  assert.deepEqual(wire(one), wire(other));
  const [made] = await records(1);
  has(made, { provider: 'AWS', model: MODEL, region: 'eu-west-1', transactionId: message.id, isStreamed: false, agent: 'a', outputTokenCount: message.usage.output_tokens });
});

test('Bedrock streams', async () => {
  const kinds = [];
  for await (const event of await bedrock().messages.create(params('Hello', { model: MODEL, stream: true }))) kinds.push(event.type);
  assert.equal(kinds.at(-1), 'message_stop');
  const [made] = await records(1);
  has(made, { provider: 'AWS', model: MODEL, isStreamed: true, stopReason: 'END' });
  assert.ok(made.outputTokenCount > 0 && made.timeToFirstToken >= 0);
});

test('a call that fails after its retries is one record', async () => {
  await plan(`/model/${MODEL}/invoke`, [{ status: 429 }, { status: 503 }, { status: 400 }]);
  await assert.rejects(bedrock().messages.create(params('Hello', { model: MODEL })), { status: 400 });
  await flush(20000);
  const made = await records(1);
  assert.equal(made.length, 1);
  has(made[0], { provider: 'AWS', stopReason: 'ERROR', errorCode: 400, retryNumber: 2 });
});

test('Vertex AI', async () => {
  await plan(`${VERTEX}:rawPredict`, [{ json: MESSAGE }]);
  const request = params('Hello', { model: 'claude-haiku-4-5@20251001' });
  await vertex().messages.create({ ...request, usage_metadata: { agent: 'a' } });
  const [made] = await records(1);
  has(made, { provider: 'Google', region: 'us-east5', model: MESSAGE.model, agent: 'a', isStreamed: false });
  assert.ok(!(await requests())[0].raw.includes('usage_metadata'));

  await fresh();
  await plan(`${VERTEX}:streamRawPredict`, [SSE]);
  let seen = 0;
  for await (const _ of await vertex().messages.create({ ...request, stream: true })) seen++;
  assert.equal(seen, EVENTS.length);
  has((await records(1))[0], { provider: 'Google', isStreamed: true, outputTokenCount: 7, stopReason: 'END' });
});

test('a stream that is given up', async () => {
  await plan(`${VERTEX}:streamRawPredict`, [{ ...SSE, gap_ms: 50 }]);
  const stream = await vertex().messages.create(params('Hello', { model: 'claude-haiku-4-5@20251001', stream: true }));
  for await (const _ of stream) break;
  has((await records(1))[0], { stopReason: 'CANCELLED', inputTokenCount: 12 });
});

test('Foundry', async () => {
  const client = new AnthropicFoundry({ apiKey: 'k', baseURL: `${sandbox}/anthropic`, fetch: metered });
  const message = await client.messages.create(params());
  await client.messages.stream(params()).finalMessage();
  const made = (await records(2)).sort((a, b) => a.isStreamed - b.isStreamed);
  has(made[0], { provider: 'Foundry', transactionId: message.id, isStreamed: false });
  has(made[1], { provider: 'Foundry', isStreamed: true, stopReason: 'END' });
});

test('nobody answers', async () => {
  const client = vertex({ baseURL: 'http://127.0.0.1:9/v1', maxRetries: 0, fetch: metered });
  await assert.rejects(client.messages.create(params('Hello', { model: 'm' })));
  // Of an SDK that retries twice, by the fetch's account; the only attempt says it is the first.
  await flush(20000);
  assert.equal((await records(0)).length, 0);
});

test('results of a batch are recorded once', async () => {
  const lines = [
    { custom_id: 'one', result: { type: 'succeeded', message: MESSAGE } },
    { custom_id: 'two', result: { type: 'expired' } },
    { custom_id: 'three', result: { type: 'succeeded', message: { ...MESSAGE, id: 'msg_é' } } },
  ];
  const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
  const base = '/v1/messages/batches/msgbatch_node';
  const client = new Anthropic({ baseURL: sandbox, apiKey: 'k', fetch: metered });
  for (let time = 0; time < 2; time++) {
    await plan(base, [{ json: { id: 'msgbatch_node', type: 'message_batch', processing_status: 'ended', results_url: `${sandbox}${base}/results` } }]);
    await plan(`${base}/results`, [{ headers: { 'content-type': 'application/x-jsonl' }, chunks: [text.slice(0, 90), text.slice(90)] }]);
    const seen = [];
    for await (const result of await client.messages.batches.results('msgbatch_node')) seen.push(result.custom_id);
    assert.deepEqual(seen, ['one', 'two', 'three']);
  }
  await flush(20000);
  const made = (await records(2)).map((record) => record.transactionId).sort();
  assert.deepEqual(made, ['msgbatch_node-one', 'msgbatch_node-three']);
  assert.deepEqual(recordBatchResult('msgbatch_node', lines[0]), { metered: false, transactionId: undefined });
});

test('record and Tap', async () => {
  const done = record({ request: params(), response: MESSAGE, provider: 'foundry', startedAt: new Date(1795392233412), durationMs: 5, usageMetadata: { agent: 'own' } });
  assert.ok(done.metered && done.transactionId.startsWith('msg_watched'));
  const tap = new Tap({ request: params('Hello', { stream: true }), provider: 'bedrock', model: MODEL });
  for (const chunk of chunks) tap.write(chunk);
  tap.end();
  tap.end();
  tap.close();
  new Tap({ request: params() }).end({ status: 529 });
  assert.throws(() => record({ request: params(), response: MESSAGE, provider: 'nobody' }), { code: 'REVENIUM_E_ARGUMENT' });
  const made = Object.fromEntries((await records(3)).map((record) => [record.provider + record.stopReason, record]));
  has(made.FoundryEND, { agent: 'own', requestTime: '2026-11-23T00:03:53.412Z' });
  has(made.AWSEND, { model: MODEL, isStreamed: true });
  has(made.ANTHROPICERROR, { errorCode: 529 });
});

test('tools', async () => {
  const done = withUsageMetadata({ agent: 'a' }, () => {
    assert.equal(meterTool('plain', () => 7), 7);
    return toolEvent({ toolId: 'told', durationMs: 12, usageMetadata: { pages: 3 } });
  });
  assert.ok(done.metered);
  assert.equal(await meterTool('promise', async () => 8, { workflowId: 'w' }), 8);
  await assert.rejects(meterTool('rejected', async () => { throw new RangeError('no'); }), RangeError);
  assert.throws(() => meterTool('thrown', () => { throw new TypeError('no'); }), TypeError);
  assert.throws(() => toolEvent({ tool: 1 }), { code: 'REVENIUM_E_ARGUMENT' });
  await flush(20000);
  const events = await (await fetch(`${sandbox}/sandbox/tool-events`)).json();
  const made = Object.fromEntries(events.map(({ body }) => [body.toolId, body]));
  has(made.plain, { agent: 'a', success: true, operation: 'execute' });
  has(made.told, { agent: 'a', durationMs: 12, usageMetadata: { pages: 3 } });
  has(made.promise, { workflowId: 'w', success: true });
  has(made.rejected, { success: false, errorMessage: 'RangeError' });
  has(made.thrown, { success: false, errorMessage: 'TypeError' });
});
