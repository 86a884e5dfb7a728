// Streams: create({ stream: true }) and messages.stream().

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { beforeEach, test } from 'node:test';
import Anthropic, { APIConnectionError, APIError, APIUserAbortError, OverloadedError, Stream, createFetch, status } from 'librevenium';
import { fresh, params, place, plan, records, requests, reset, run, slow, stats } from './tools.mjs';

const require = createRequire(import.meta.url);
const { PartialJson, partialJson } = require('../lib/partial-json.cjs');
const snapshots = require('../lib/snapshot.cjs');
const client = new Anthropic();
const streamed = (text, more) => params(text, { stream: true, ...more });
beforeEach(fresh);

const TYPES = ['message_start', 'content_block_start', 'content_block_delta', 'content_block_stop', 'message_delta', 'message_stop'];

async function all(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

/** An answer that streams these events. */
const sse = (events) => ({
  headers: { 'content-type': 'text/event-stream' },
  chunks: events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`),
});

const textOf = (events) => events.map((event) => event.delta?.text ?? '').join('');

test('events come in order, without pings, and are the provider’s', async () => {
  const stream = await client.messages.create(streamed('one two three'));
  assert.ok(stream instanceof Stream);
  const events = await all(stream);
  assert.deepEqual([...new Set(events.map((event) => event.type))], TYPES);
  assert.equal(textOf(events), 'You said: one two three');
  assert.equal((await requests())[0].body.stream, true);
  await assert.rejects(all(stream), /consumed/);
  const [record] = await records(1);
  assert.equal(record.isStreamed, true);
  assert.equal(record.stopReason, 'END');
});

test('leaving the loop early ends the call', async () => {
  const { baseURL, path } = place();
  await plan(path, [slow(100000)]);
  const before = (await stats()).client_disconnects;
  const stream = await client.withOptions({ baseURL }).messages.create(streamed());
  for await (const event of stream) if (event.type === 'content_block_delta') break;
  assert.ok(stream.controller.signal.aborted);
  assert.equal((await records(1))[0].stopReason, 'CANCELLED');
  assert.ok((await stats()).client_disconnects > before);
});

test('an abort ends the iteration without an error, as in the official SDK', async () => {
  const { baseURL, path } = place();
  await plan(path, [slow(100000)]);
  const own = client.withOptions({ baseURL });
  const first = await own.messages.create(streamed());
  let seen = 0;
  for await (const event of first) if (++seen === 4) first.controller.abort(event);
  const controller = new AbortController();
  for await (const event of await own.messages.create(streamed(), { signal: controller.signal })) {
    if (event.type === 'content_block_delta') controller.abort();
  }
  assert.deepEqual((await records(2)).map((record) => record.stopReason), ['CANCELLED', 'CANCELLED']);
});

test('an error before the first event rejects', async () => {
  await assert.rejects(client.messages.create(streamed('', { max_tokens: 0 })), (error) => error.status === 400);
});

test('a stream that breaks gives its events, then an error', async () => {
  for (const end of ['cut', 'reset']) {
    const { baseURL, path } = place();
    await plan(path, [{ end }]);
    const events = [];
    const stream = await client.withOptions({ baseURL }).messages.create(streamed('abc'));
    await assert.rejects(async () => {
      for await (const event of stream) events.push(event);
    }, (error) => error instanceof APIConnectionError && error.code === 'REVENIUM_E_STREAM');
    assert.equal(textOf(events), 'You said: abc', end);
  }
});

test('an error event is the provider’s error', async () => {
  const { baseURL, path } = place();
  await plan(path, [{ error: 'overloaded_error' }]);
  const stream = await client.withOptions({ baseURL }).messages.create(streamed());
  await assert.rejects(all(stream), (error) => {
    assert.ok(error instanceof OverloadedError);
    assert.equal(error.status, undefined);
    assert.equal(error.type, 'overloaded_error');
    assert.match(error.requestID, /^req_/);
    return true;
  });
});

test('a provider that does not stream gives no events', async () => {
  const { baseURL, path } = place();
  await plan(path, [{ json: { type: 'message', id: 'msg_1', content: [], usage: { input_tokens: 1, output_tokens: 1 } } }]);
  assert.deepEqual(await all(await client.withOptions({ baseURL }).messages.create(streamed())), []);
});

test('tee and toReadableStream give the same events', async () => {
  const [left, right] = (await client.messages.create(streamed('a b c'))).tee();
  assert.deepEqual(await all(left), await all(right));
  const text = await new Response((await client.messages.create(streamed('a b c'))).toReadableStream()).text();
  assert.equal(textOf(text.trim().split('\n').map((line) => JSON.parse(line))), 'You said: a b c');
  const cancelled = (await client.messages.create(streamed('a b c'))).toReadableStream();
  await cancelled.cancel();
});

test('listeners hear everything in order', async () => {
  const heard = [];
  const stream = client.messages.stream(params('one two'));
  for (const event of ['connect', 'text', 'contentBlock', 'message', 'finalMessage', 'end', 'error', 'abort']) {
    stream.on(event, (...values) => heard.push([event, ...structuredClone(values)]));
  }
  let events = 0;
  stream.on('streamEvent', (event, snapshot) => {
    events += 1;
    assert.equal(snapshot.type, 'message');
    assert.equal(stream.currentMessage, snapshot);
  });
  const message = await stream.finalMessage();
  assert.deepEqual(heard.map(([event]) => event), ['connect', 'text', 'text', 'text', 'text', 'contentBlock', 'message', 'finalMessage', 'end']);
  assert.deepEqual(heard[2], ['text', 'said: ', 'You said: ']);
  assert.deepEqual(heard.at(-3)[1], message);
  assert.equal(await stream.finalText(), 'You said: one two');
  assert.deepEqual([stream.ended, stream.errored, stream.aborted, stream.currentMessage], [true, false, false, undefined]);
  assert.ok(events > 6);
  assert.deepEqual((await records(1))[0].transactionId, message.id);
});

test('the snapshot adds up to the message', async () => {
  let last;
  const tools = [{ name: 'weather', input_schema: { type: 'object', properties: { city: { type: 'string' } } } }];
  for (const given of [params('a b c'), params('x', { tools, tool_choice: { type: 'tool', name: 'weather' } })]) {
    const stream = client.messages.stream(given).on('streamEvent', (_, snapshot) => (last = snapshot));
    assert.deepEqual(last && structuredClone(await stream.finalMessage()), last);
  }
});

test('a tool’s input is heard as it grows', async () => {
  const grown = [];
  const tools = [{ name: 'weather', input_schema: { type: 'object', properties: { city: { type: 'string' } } } }];
  const stream = client.messages.stream(params('Rome', { tools, tool_choice: { type: 'any' } }));
  const message = await stream.on('inputJson', (_, snapshot) => grown.push(snapshot)).finalMessage();
  assert.ok(grown.length > 0);
  assert.deepEqual(grown.at(-1), message.content[0].input);
  for (const [text, value] of [
    ['', undefined],
    ['{', {}],
    ['{"a": 1', {}],
    ['{"a": 1, "b', { a: 1 }],
    ['{"a": {"b": [1, {"c": "}"}', { a: { b: [1, { c: '}' }] } }],
    ['{"a": {"b": [1, 2', { a: { b: [1] } }],
    ['{"a": "x\\"y", "b": tr', { a: 'x"y' }],
    ['[1, 2]', [1, 2]],
  ]) {
    assert.deepEqual(partialJson(text), value, text);
  }
});

test('JSON in pieces is what it is in one, wherever it is cut', () => {
  const texts = [
    '{"a": "x\\"y\\\\", "b": {"c": [1, -2.5e3, true, null, {}], "__proto__": "own"}, "d": [[], "}"]}',
    ' [ {"a":1} , "\\u00e4\\\\" , false ] ',
  ];
  for (const text of texts) {
    const whole = JSON.parse(text);
    for (let cut = 0; cut <= text.length; cut++) {
      const partial = new PartialJson().push(text.slice(0, cut));
      const before = structuredClone(partial.value);
      assert.deepEqual(before, new PartialJson().push(text.slice(0, cut)).value);
      assert.deepEqual(partial.push(text.slice(cut)).value, whole, `cut at ${cut}`);
    }
    const single = new PartialJson();
    for (const char of text) single.push(char);
    assert.deepEqual(single.value, whole);
  }
  for (const text of ['{"a": x}', '{{', '}', '[1] [2]']) assert.equal(new PartialJson().push(text).value, undefined, text);
});

test('a tool’s input is read once, however many deltas it comes in', (t) => {
  let snapshot = snapshots.apply(undefined, { type: 'message_start', message: { content: [] } });
  snapshot = snapshots.apply(snapshot, { type: 'content_block_start', index: 0, content_block: { type: 'tool_use', input: {} } });
  const text = JSON.stringify({ words: Array.from({ length: 2000 }, (_, at) => `word ${at}`) });
  const parse = t.mock.method(JSON, 'parse');
  for (let at = 0; at < text.length; at += 5) {
    snapshots.apply(snapshot, { type: 'content_block_delta', index: 0, delta: { type: 'input_json_delta', partial_json: text.slice(at, at + 5) } });
    snapshots.inputSoFar(snapshot.content[0]);
  }
  const read = parse.mock.calls.reduce((sum, call) => sum + call.arguments[0].length, 0);
  parse.mock.restore();
  assert.deepEqual(snapshots.inputSoFar(snapshot.content[0]), JSON.parse(text));
  assert.ok(read <= text.length, `${read} characters of ${text.length}`);
});

test('events that lack what they should have disturb no message stream', async () => {
  const { baseURL, path } = place();
  const events = [
    { type: 'message_start', message: { id: 'msg_1', type: 'message', role: 'assistant', model: 'm' } },
    { type: 'content_block_start', index: 0, content_block: { type: 'text' } },
    { type: 'content_block_delta', index: 0 },
    { type: 'content_block_delta' },
    { type: 'content_block_delta', index: 0, delta: { type: 'text_delta' } },
    { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Hello' } },
    { type: 'content_block_delta', index: 7, delta: { type: 'text_delta', text: 'nowhere' } },
    { type: 'content_block_stop', index: 9 },
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta' },
    { type: 'message_delta', usage: { output_tokens: 3 } },
    { type: 'something_new' },
    { type: 'message_stop' },
  ];
  await plan(path, [sse(events)]);
  const texts = [];
  let last;
  const stream = client.withOptions({ baseURL }).messages.stream(params());
  stream.on('text', (text) => texts.push(text)).on('streamEvent', (_, snapshot) => (last = structuredClone(snapshot)));
  await stream.done();
  assert.equal(texts.join(''), 'Hello');
  assert.equal(last.content[0].text, 'Hello');
  assert.equal(last.usage.output_tokens, 3);
});

test('once, off and emitted', async () => {
  const heard = [];
  const stream = client.messages.stream(params('a b c'));
  const never = () => heard.push('never');
  stream.once('text', () => heard.push('once')).on('text', never).off('text', never);
  assert.equal((await stream.emitted('message')).type, 'message');
  await stream.done();
  assert.deepEqual(heard, ['once']);
});

test('a message stream can be iterated, and left', async () => {
  assert.equal(textOf(await all(client.messages.stream(params('a b')))), 'You said: a b');
  const { baseURL, path } = place();
  await plan(path, [slow(100000)]);
  const stream = client.withOptions({ baseURL }).messages.stream(params());
  for await (const event of stream) if (event.type === 'content_block_delta') break;
  assert.deepEqual((await records(2)).map((record) => record.stopReason).sort(), ['CANCELLED', 'END']);
});

test('abort() of a message stream rejects its promises', async () => {
  const { baseURL, path } = place();
  await plan(path, [slow(100000)]);
  const own = client.withOptions({ baseURL });
  const stream = own.messages.stream(params());
  stream.on('text', () => stream.abort());
  await assert.rejects(stream.finalMessage(), APIUserAbortError);
  assert.deepEqual([stream.aborted, stream.errored, stream.ended], [true, true, true]);

  const controller = new AbortController();
  const other = own.messages.stream(params(), { signal: controller.signal }).on('text', () => controller.abort());
  await assert.rejects(all(other), APIUserAbortError);
  const early = own.messages.stream(params(), { signal: AbortSignal.abort() });
  await assert.rejects(early.done(), APIUserAbortError);
});

test('a failing message stream tells its listeners', async () => {
  const errors = [];
  const stream = client.messages.stream(params('', { max_tokens: 0 })).on('error', (error) => errors.push(error));
  await assert.rejects(stream.finalText(), APIError);
  assert.equal(errors.length, 1);
  const other = client.messages.stream(params('', { max_tokens: 0 }));
  await assert.rejects(other.emitted('text'), APIError);
});

test('a listener that throws fails its own stream only', async () => {
  const stream = client.messages.stream(params('a')).on('text', () => {
    throw new Error('mine');
  });
  const other = client.messages.stream(params('b'));
  await assert.rejects(stream.done(), /mine/);
  assert.equal(await other.finalText(), 'You said: b');
});

test('an error that nobody takes is an unhandled rejection', async () => {
  const { code, stderr } = await run(`new Anthropic().messages.stream({ model: 'claude-test-1', max_tokens: 0, messages: [] });`);
  assert.equal(code, 1);
  assert.match(stderr, /BadRequestError/);
});

test('a slow reader gets everything', async () => {
  const { baseURL, path } = place();
  await plan(path, [{ deltas: 20000, delta_bytes: 100 }]);
  const stream = await client.withOptions({ baseURL }).messages.create(streamed());
  let length = 0;
  for await (const event of stream) {
    if (length % 100_000 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    length += event.delta?.text?.length ?? 0;
  }
  assert.equal(length, 2_000_000);
});

/** Far more than sockets hold. */
const huge = { deltas: 800, delta_bytes: 20000 };

test('a stream that nobody reads is not read from the network, and holds up no other call', async () => {
  const { baseURL, path } = place();
  await plan(path, [huge]);
  const own = client.withOptions({ baseURL });
  const stream = await own.messages.create(streamed());
  const response = await createFetch()(`${baseURL}/v1/messages`, {
    method: 'POST',
    headers: { 'x-api-key': 'sk-ant-sandbox' },
    body: JSON.stringify(streamed()),
  });
  await client.messages.create(params());
  await new Promise((resolve) => setTimeout(resolve, 1000));
  assert.ok((await stats()).streams_open >= 2);
  let deltas = 0;
  for await (const event of stream) {
    if (event.type === 'content_block_delta' && ++deltas % 100 === 0) await client.messages.create(params('in the loop'));
  }
  assert.equal(deltas, huge.deltas);
  assert.equal((await response.text()).match(/content_block_delta"/g).length, huge.deltas);

  // One that is left while it stands still ends all the same.
  const left = await own.messages.create(streamed());
  for await (const _ of left) break;
  while (status().callsInFlight > 0) await new Promise((resolve) => setTimeout(resolve, 1));
});
