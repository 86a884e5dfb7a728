// client.messages.create(): replies, requests, cancellation.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import Anthropic, { BadRequestError, APIUserAbortError, APIConnectionTimeoutError, ReveniumError } from 'librevenium';
import { fresh, params, place, plan, records, requests, stats } from './tools.mjs';

const client = new Anthropic();
beforeEach(fresh);

/** Wait until the sandbox has seen the client go away. */
async function disconnected(before) {
  while ((await stats()).client_disconnects <= before) await new Promise((resolve) => setTimeout(resolve, 5));
}

test('a reply is the provider’s message', async () => {
  const message = await client.messages.create(params('Grüße 🌍'));
  assert.equal(message.type, 'message');
  assert.equal(message.content[0].text, 'You said: Grüße 🌍');
  assert.equal(message.usage.output_tokens > 0, true);
  assert.match(message._request_id, /^req_sandbox_/);
  assert.ok(!Object.keys(message).includes('_request_id'));
  const [record] = await records(1);
  assert.equal(record.transactionId, message.id);
  assert.equal(record.middlewareSource, 'revenium-anthropic-node');
});

test('counts are numbers, however they were written', async () => {
  const written = [
    [{ input_tokens: 7.0, output_tokens: '5', cache_read_input_tokens: ' 3 ' }, { input_tokens: 7, output_tokens: 5, cache_read_input_tokens: 3 }],
    [{ input_tokens: null, output_tokens: 1e2, cache_creation_input_tokens: '2.9' }, { input_tokens: null, output_tokens: 100, cache_creation_input_tokens: 2 }],
    [{ input_tokens: {}, output_tokens: 'many', cache_read_input_tokens: -1.5 }, { input_tokens: 0, output_tokens: 0, cache_read_input_tokens: 0 }],
    [{ input_tokens: '0x10', output_tokens: '1_0', cache_read_input_tokens: 'Infinity' }, { input_tokens: 0, output_tokens: 0, cache_read_input_tokens: 0 }],
    [undefined, undefined],
  ];
  for (const [usage, wanted] of written) {
    const { baseURL, path } = place();
    const message = { type: 'message', id: 'msg_1', role: 'assistant', model: 'm', content: [] };
    await plan(path, [{ json: { ...message, usage } }]);
    const client = new Anthropic({ baseURL });
    assert.deepEqual((await client.messages.create(params())).usage, wanted);
  }
});

test('what is sent is what was given, without our members', async () => {
  const given = params('hi', { system: 'S', tools: [{ name: 't', input_schema: { type: 'object' } }], temperature: 0.5 });
  const frozen = JSON.stringify(given);
  await client.messages.create({ ...given, usage_metadata: { agent: 'a' }, usageMetadata: { agent: 'b' } });
  assert.equal(JSON.stringify(given), frozen);
  const [request] = await requests();
  assert.equal(request.raw, frozen);
  assert.equal((await records(1))[0].agent, 'b');
});

test('client and request options reach the provider', async () => {
  const { baseURL, path } = place();
  const own = new Anthropic({ apiKey: 'sk-own', baseURL, defaultHeaders: { 'X-One': '1', 'x-two': 'gone' }, maxRetries: 0 });
  await own.messages.create(params(), { headers: { 'X-TWO': '2', 'x-three': undefined } });
  const [request] = await requests();
  assert.equal(request.path, path);
  assert.equal(request.headers['x-api-key'], 'sk-own');
  assert.equal(request.headers['x-one'], '1');
  assert.equal(request.headers['x-two'], '2');

  await own.withOptions({ authToken: 'token' }).messages.create(params());
  const last = (await requests()).at(-1);
  assert.equal(last.headers.authorization, 'Bearer token');
  assert.equal(last.headers['x-api-key'], undefined);
  assert.equal(last.path, path);
});

test('a key may come from a function', async () => {
  let asked = 0;
  const own = new Anthropic({ apiKey: async () => `sk-${++asked}` });
  await own.messages.create(params());
  await own.messages.create(params());
  assert.deepEqual((await requests()).map((request) => request.headers['x-api-key']), ['sk-1', 'sk-2']);
  await assert.rejects(new Anthropic({ apiKey: () => '' }).messages.create(params()), /apiKey/);
});

test('a client that is printed shows no secret', async () => {
  const { inspect } = await import('node:util');
  const own = new Anthropic({ apiKey: 'sk-secret', defaultHeaders: { authorization: 'sk-secret' } });
  assert.ok(!inspect(own, { depth: 9 }).includes('sk-secret'));
  assert.ok(!JSON.stringify(own).includes('sk-secret'));
});

test('options that cannot be honoured are refused', () => {
  for (const name of ['fetch', 'fetchOptions', 'middleware', 'defaultQuery']) {
    assert.throws(() => new Anthropic({ [name]: {} }), new RegExp(`${name} is not supported`));
  }
  assert.throws(() => new Anthropic({ apiKey: 'a', authToken: 'b' }), /at most one/);
});

test('the library retries, and one call is one record', async () => {
  const { baseURL, path } = place();
  await plan(path, [{ status: 529, headers: { 'retry-after-ms': '1' } }, {}]);
  const { data, response, request_id } = await client.withOptions({ baseURL }).messages.create(params()).withResponse();
  assert.equal(data.type, 'message');
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('request-id'), request_id);
  assert.equal((await requests()).length, 2);
  assert.equal((await records(1)).length, 1);
});

test('the library tells about a call, and takes choices for it', async () => {
  const { data, info } = await client.messages.create(params()).withInfo();
  assert.deepEqual([info.code, info.metered, info.attempts, info.provider], ['REVENIUM_OK', true, 1, 'anthropic']);
  assert.equal(info.transaction_id, data.id);
  const stream = client.messages.stream(params('', { revenium: { meter: false, headers: { 'x-one': '1' } } }));
  assert.equal((await stream.finalInfo()).metered, false);
  assert.equal((await requests())[1].headers['x-one'], '1');
  assert.equal((await records(1)).length, 1);
});

test('an abort rejects, ends the call and is recorded', async () => {
  const { baseURL, path } = place();
  await plan(path, [{ delay_ms: 60000 }]);
  const before = (await stats()).client_disconnects;
  const controller = new AbortController();
  const call = client.withOptions({ baseURL }).messages.create(params(), { signal: controller.signal });
  const failed = assert.rejects(call, (error) => error instanceof APIUserAbortError && error.code === 'REVENIUM_E_CANCELLED');
  while ((await requests()).length === 0);
  controller.abort();
  await failed;
  await disconnected(before);
  assert.equal((await records(1))[0].stopReason, 'CANCELLED');
});

test('a signal that has aborted sends nothing', async () => {
  const signal = AbortSignal.abort();
  await assert.rejects(client.messages.create(params(), { signal }), APIUserAbortError);
  await assert.rejects(client.messages.create(params('', { stream: true }), { signal }), APIUserAbortError);
  await client.messages.create(params());
  assert.equal((await requests()).length, 1);
});

test('a signal outlives its calls without holding them', async () => {
  const { getEventListeners } = await import('node:events');
  const { signal } = new AbortController();
  await client.messages.create(params(), { signal });
  for await (const event of await client.messages.create(params('', { stream: true }), { signal })) assert.ok(event);
  await assert.rejects(client.messages.create({ ...params(), max_tokens: 0 }, { signal }));
  await assert.rejects(client.messages.create(params(), { signal, maxRetries: -1 }), ReveniumError);
  assert.equal(getEventListeners(signal, 'abort').length, 0);
});

test('a timeout is an error of its own', async () => {
  const { baseURL, path } = place();
  await plan(path, [{ delay_ms: 60000 }]);
  const own = new Anthropic({ baseURL, timeout: 30, maxRetries: 0 });
  await assert.rejects(own.messages.create(params()), APIConnectionTimeoutError);
  await assert.rejects(own.messages.create(params('', { stream: true })), APIConnectionTimeoutError);
});

test('a reply that is larger than the buffer comes whole', async () => {
  const { baseURL, path } = place();
  await plan(path, [{ deltas: 1, delta_bytes: 3_000_000 }]);
  const own = client.withOptions({ baseURL });
  const [large, small] = await Promise.all([own.messages.create(params()), client.messages.create(params('small'))]);
  assert.equal(large.content[0].text.length, 3_000_000);
  assert.equal(small.content[0].text, 'You said: small');
  assert.equal((await own.messages.create(params())).content[0].text.length, 3_000_000);
});

test('a long reply is streamed underneath, and comes as a message', async () => {
  const message = await client.messages.create(params('long', { max_tokens: 64000 }));
  assert.equal(message.content[0].text, 'You said: long');
  assert.equal((await requests())[0].body.stream, true);
});

test('what JSON cannot say is an error of the caller', async () => {
  await assert.rejects(client.messages.create(params('', { tools: [1n] })), TypeError);
  // Half a surrogate pair is JSON all the same: the provider says what it thinks of it.
  await assert.rejects(client.messages.create(params('\ud800')), BadRequestError);
});

test('many calls at once each get their own reply', async () => {
  const texts = Array.from({ length: 200 }, (_, n) => `call ${n}`);
  const replies = await Promise.all(texts.map((text) => client.messages.create(params(text))));
  assert.deepEqual(replies.map((message) => message.content[0].text), texts.map((text) => `You said: ${text}`));
});
