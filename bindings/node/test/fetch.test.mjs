// The drop-in: the official SDK, today's and its previous major, over revenium.fetch.

import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import Current from 'sdk-current';
import Previous from 'sdk-previous';
import { createFetch, fetch as metered, withUsageMetadata } from 'librevenium';
import { fresh, params, place, plan, records, requests, run, sandbox, slow, stats } from './tools.mjs';

beforeEach(fresh);

const STATUSES = [400, 401, 403, 404, 409, 413, 418, 422, 429, 500, 503, 529];

for (const [name, SDK, credential] of [
  ['sdk-current', Current, 'authorization'],
  ['sdk-previous', Previous, 'x-api-key'],
]) {
  describe(name, () => {
    const make = (options = {}) => new SDK({ fetch: metered, apiKey: 'sk-of-the-sdk', maxRetries: 0, ...options });

    test('a reply is the same as without, and recorded', async () => {
      const { path, baseURL } = place();
      await plan(path, [{ reply: 'planned', headers: { 'x-extra': 'e' } }]);
      const plain = await new SDK({ apiKey: 'k', baseURL }).messages.create(params());
      const { data, response, request_id } = await make({ baseURL }).messages.create(params()).withResponse();
      assert.deepEqual({ ...data, id: '' }, { ...plain, id: '' });
      assert.equal(response.headers.get('x-extra'), 'e');
      assert.equal(response.url, `${baseURL}/v1/messages`);
      assert.match(request_id, /^req_sandbox_/);
      assert.deepEqual((await records(1)).map((record) => record.transactionId), [data.id]);
    });

    test('the provider gets what the SDK sent, with the SDK’s credential alone', async () => {
      const given = params('hi', { system: 'S', metadata: { user_id: 'u' } });
      await new SDK({ apiKey: 'sk-of-the-sdk' }).messages.create(given);
      await make().messages.create({ ...given, usage_metadata: { agent: 'a' } });
      const [plain, ours] = await requests();
      assert.equal(ours.raw, plain.raw);
      assert.equal(ours.path, plain.path);
      for (const header of ['user-agent', 'anthropic-version', 'content-type', 'accept', 'x-stainless-lang', 'authorization', 'x-api-key']) {
        assert.equal(ours.headers[header], plain.headers[header], header);
      }
      assert.ok(ours.headers[credential].includes('sk-of-the-sdk'));
      assert.equal((await records(1))[0].agent, 'a');
    });

    test('metadata comes from the body, in either spelling, and from the scope', async () => {
      await withUsageMetadata({ organizationName: 'acme', agent: 'scope' }, () =>
        make().messages.create({ ...params(), usage_metadata: { agent: 'snake', taskType: 't' }, usageMetadata: { agent: 'camel' } }),
      );
      const [record] = await records(1);
      assert.deepEqual([record.organizationName, record.agent, record.taskType], ['acme', 'camel', 't']);
    });

    test('beta messages and their query', async () => {
      await make().beta.messages.create({ ...params(), betas: ['some-beta-2026-01-01'] });
      await make({ defaultQuery: { a: 'b' } }).messages.create(params());
      const [beta, query] = await requests();
      assert.ok(beta.headers['anthropic-beta'].includes('some-beta-2026-01-01'));
      assert.equal(query.query, 'a=b');
      assert.equal((await records(2)).length, 2);
    });

    test('a stream has the same events, text and final message', async () => {
      const read = async (client) => {
        const events = [];
        for await (const event of await client.messages.create(params('a b', { stream: true }))) events.push(event);
        return events.map((event) => (event.message ? { ...event, message: { ...event.message, id: '' } } : event));
      };
      assert.deepEqual(await read(make()), await read(new SDK({ apiKey: 'k' })));
      const texts = [];
      const stream = make().messages.stream(params('c d')).on('text', (delta) => texts.push(delta));
      assert.equal((await stream.finalMessage()).content[0].text, 'You said: c d');
      assert.equal(texts.join(''), 'You said: c d');
      assert.deepEqual((await records(2)).map((record) => record.isStreamed), [true, true]);
    });

    test('status and headers come before the first event; leaving early is recorded', async () => {
      const { path, baseURL } = place();
      await plan(path, [{ ...slow(100000), headers: { 'x-extra': 'e' } }]);
      const { data, response } = await make({ baseURL }).messages.create(params('', { stream: true })).withResponse();
      assert.equal(response.headers.get('x-extra'), 'e');
      assert.match(response.headers.get('content-type'), /event-stream/);
      const before = (await stats()).client_disconnects;
      for await (const event of data) if (event.type === 'content_block_delta') break;
      assert.equal((await records(1))[0].stopReason, 'CANCELLED');
      assert.ok((await stats()).client_disconnects > before);
    });

    test('errors are the SDK’s own', async () => {
      for (const stream of [false, true]) {
        for (const status of STATUSES) {
          const { path, baseURL } = place();
          await plan(path, [{ status, headers: { 'retry-after': '7' } }]);
          const failure = (client) => client.messages.create(params('', { stream })).then(assert.fail, (error) => error);
          const [ours, plain] = [await failure(make({ baseURL })), await failure(new SDK({ apiKey: 'k', baseURL, maxRetries: 0 }))];
          assert.equal(ours.constructor, plain.constructor);
          assert.equal(ours.status, status);
          assert.equal(ours.type, plain.type);
          assert.equal(ours.error.error.message, plain.error.error.message);
          assert.equal(ours.headers.get('retry-after'), '7');
          assert.match(ours.requestID, /^req_sandbox_/);
        }
      }
    });

    test('a page that is no error object reaches the user as it is', async () => {
      const { path, baseURL } = place();
      await plan(path, [{ status: 502, text: '<html>gateway</html>' }]);
      await assert.rejects(make({ baseURL }).messages.create(params()), /502 <html>gateway<\/html>/);
    });

    test('an error event, a cut and a reset in mid-stream', async () => {
      const failure = async (client) => {
        let text = '';
        try {
          for await (const event of await client.messages.create(params('abc', { stream: true }))) text += event.delta?.text ?? '';
        } catch (error) {
          return { text, error };
        }
        return { text };
      };
      for (const answer of [{ error: 'overloaded_error' }, { end: 'cut' }, { end: 'reset' }]) {
        const { path, baseURL } = place();
        await plan(path, [answer]);
        const [ours, plain] = [await failure(make({ baseURL })), await failure(new SDK({ apiKey: 'k', baseURL }))];
        assert.equal(ours.text, 'You said: abc');
        assert.equal(ours.text, plain.text);
        if (answer.error) {
          assert.equal(ours.error.constructor, plain.error.constructor);
          assert.equal(ours.error.type, 'overloaded_error');
          assert.equal(ours.error.message, plain.error.message);
        } else {
          // Node's own fetch takes a torn chunked body for whole when the answer said `connection: close`.
          assert.ok(ours.error instanceof TypeError && ours.error.message === 'terminated', ours.error);
        }
      }
    });

    test('the SDK retries: one call is one record, of the attempt that decided it', async () => {
      const { path, baseURL } = place();
      const busy = { status: 529, headers: { 'retry-after-ms': '1' } };
      await plan(path, [busy, 'close', {}]);
      const message = await make({ baseURL, maxRetries: 2 }).messages.create(params());
      assert.equal((await requests()).length, 3);
      const [found] = await records(1);
      assert.deepEqual([found.retryNumber, found.stopReason, found.transactionId], [2, 'END', message.id]);
    });

    test('the SDK gives up: one record of the failure', async () => {
      const { path, baseURL } = place();
      const busy = { status: 529, headers: { 'retry-after-ms': '1' } };
      await plan(path, [busy]);
      await assert.rejects(make({ baseURL, maxRetries: 2 }).messages.create(params()), (error) => error.status === 529);
      assert.equal((await requests()).length, 3);
      const [found] = await records(1);
      assert.deepEqual([found.retryNumber, found.stopReason, found.errorCode], [2, 'ERROR', 529]);
    });

    test('a client with other retries says so', async () => {
      const { path, baseURL } = place();
      const busy = { status: 529, headers: { 'retry-after-ms': '1' } };
      await plan(path, [busy]);
      const client = make({ baseURL, maxRetries: 1, fetch: createFetch({ maxRetries: 1 }) });
      await assert.rejects(client.messages.create(params()), (error) => error.status === 529);
      assert.equal((await requests()).length, 2);
      const [found] = await records(1);
      assert.deepEqual([found.retryNumber, found.stopReason], [1, 'ERROR']);
    });

    test('no answer is the SDK’s connection error, silence its timeout', async () => {
      const { path, baseURL } = place();
      await plan(path, ['close', 'stall']);
      const client = make({ baseURL });
      await assert.rejects(client.messages.create(params()), (error) => error.constructor === SDK.APIConnectionError);
      await assert.rejects(client.messages.create(params(), { timeout: 50 }), SDK.APIConnectionTimeoutError);
    });

    test('abort: before, during, in the stream', async () => {
      const { path, baseURL } = place();
      await plan(path, [{ delay_ms: 60000 }, slow(100000)]);
      const client = make({ baseURL });
      await assert.rejects(client.messages.create(params(), { signal: AbortSignal.abort() }), SDK.APIUserAbortError);
      assert.equal((await requests()).length, 0);

      const controller = new AbortController();
      const call = assert.rejects(client.messages.create(params(), { signal: controller.signal }), SDK.APIUserAbortError);
      while ((await requests()).length === 0);
      controller.abort();
      await call;

      const stream = client.messages.stream(params()).on('text', () => stream.abort());
      await assert.rejects(stream.done(), SDK.APIUserAbortError);
      assert.deepEqual((await records(2)).map((record) => record.stopReason), ['CANCELLED', 'CANCELLED']);
    });

    test('a provider that does not stream, and one that breaks off', async () => {
      const { path, baseURL } = place();
      const message = { type: 'message', id: 'msg_1', content: [], usage: { input_tokens: 1, output_tokens: 1 } };
      await plan(path, [{ json: message }, { end: 'cut' }]);
      const client = make({ baseURL });
      const response = await client.messages.create(params('', { stream: true })).asResponse();
      assert.deepEqual(await response.json(), message);
      await assert.rejects(client.messages.create(params()), SDK.APIConnectionError);
    });

    test('answers of another kind than announced or asked for are to the SDK what they are without us', async () => {
      const message = { type: 'message', id: 'msg_1', role: 'assistant', content: [{ type: 'text', text: 'a' }], usage: { input_tokens: 1, output_tokens: 1 } };
      const failure = { type: 'error', error: { type: 'overloaded_error', message: 'Busy' } };
      const seen = async (client, stream) => {
        try {
          const given = await client.messages.create(params('abc', { stream }));
          if (!stream) return { given };
          const events = [];
          for await (const event of given) events.push(event.type);
          return { events };
        } catch (error) {
          return { kind: error.constructor.name, type: error.type };
        }
      };
      for (const [stream, answer] of [
        [true, { json: message }],
        [true, { json: failure }],
        [true, { headers: { 'content-type': 'application/json' } }],
        [false, { json: failure }],
        // JSON labelled text/event-stream on a streamed request.
        [true, { json: message, headers: { 'content-type': 'text/event-stream' } }],
        [false, { json: { error: { message: 'no', code: 502 } } }],
      ]) {
        const { path, baseURL } = place();
        await plan(path, [answer]);
        const ours = await seen(make({ baseURL }), stream);
        assert.deepEqual(ours, await seen(new SDK({ apiKey: 'k', baseURL, maxRetries: 0 }), stream), JSON.stringify(answer));
      }
    });

    test('a stream that breaks off says why, behind what the SDK makes of it', async () => {
      const { path, baseURL } = place();
      await plan(path, [{ end: 'cut' }]);
      const stream = await make({ baseURL }).messages.create(params('', { stream: true }));
      await assert.rejects(async () => {
        for await (const _ of stream);
      }, (error) => {
        assert.equal(error.message, 'terminated');
        assert.equal(error.cause.code, 'REVENIUM_E_STREAM');
        assert.match(error.cause.message, /broke off/);
        return true;
      });
    });

    test('the coding of the answer is the library’s affair', async () => {
      const { path, baseURL } = place();
      await plan(path, [{ headers: { 'content-encoding': 'identity' } }]);
      const client = make({ baseURL, defaultHeaders: { 'accept-encoding': 'compress;q=1' } });
      const { response } = await client.messages.create(params()).withResponse();
      assert.deepEqual([response.headers.get('content-encoding'), response.headers.get('content-length')], [null, null]);
      assert.doesNotMatch((await requests())[0].headers['accept-encoding'] ?? '', /compress/);
    });

    test('a global fetch that a test has replaced is asked, and nobody else', async (t) => {
      const answer = { ...params(), type: 'message', id: 'msg_mock', content: [] };
      const mock = t.mock.method(globalThis, 'fetch', async () => Response.json(answer));
      assert.equal((await make().messages.create(params())).id, 'msg_mock');
      assert.equal(mock.mock.callCount(), 1);
      t.mock.restoreAll();
      assert.equal((await requests()).length, 0);
      const client = make({ fetch: createFetch({ passThrough: true }) });
      assert.equal((await client.messages.create(params())).type, 'message');
      assert.equal((await requests()).length, 1);
    });

    test('everything else goes to the global fetch', async () => {
      await assert.rejects(make().messages.countTokens({ model: 'm', messages: [] }), SDK.NotFoundError);
      await assert.rejects(make().models.list(), SDK.NotFoundError);
    });
  });
}

describe('as a fetch', () => {
  const url = `${sandbox}/v1/messages`;
  const headers = { 'x-api-key': 'k', 'anthropic-version': '2023-06-01' };
  const body = JSON.stringify(params('raw'));

  test('takes what fetch takes', async () => {
    const init = { method: 'post', headers, body };
    for (const response of [
      await metered(url, init),
      await metered(new URL(url), { ...init, headers: new Headers(headers) }),
      await metered(new Request(url, { ...init, method: 'POST' })),
      await metered(url, { ...init, body: new TextEncoder().encode(body) }),
      await metered(url, { ...init, body: Buffer.from(body), headers: Object.entries(headers) }),
    ]) {
      assert.equal((await response.json()).content[0].text, 'You said: raw');
    }
    assert.equal((await records(5)).length, 5);
  });

  test('values keep their text, whatever JavaScript would make of them', async () => {
    const odd = ` {"messages":[{"role":"user","content":"\\u0041"}], "model" : "m","max_tokens":10,"big":12345678901234567890, "f":1.0e1 } `;
    await metered(url, { method: 'POST', headers, body: odd });
    const [request] = await requests();
    const dense = (text) => text.replaceAll(/\s/g, '');
    assert.equal(dense(request.raw), dense(odd));
    await metered(url, { method: 'POST', headers, body: '{}' });
    assert.equal((await requests())[1].raw, '{}');
  });

  test('untouched: other methods, other paths, bodies that are no JSON object, signed requests', async (t) => {
    const seen = t.mock.method(globalThis, 'fetch', async () => new Response('theirs'));
    const inits = [
      [url, undefined],
      [`${url}/batches`, { method: 'POST', body: '{}' }],
      [url, { method: 'POST', body: 'no JSON' }],
      [url, { method: 'POST', body: '[1]' }],
      [url, { method: 'POST', body: new FormData() }],
      [url, { method: 'POST', body: new Blob(['{}']).stream(), duplex: 'half' }],
      ['https://bedrock-runtime.us-east-1.amazonaws.com/anthropic/v1/messages', { method: 'POST', body: '{}' }],
    ];
    for (const [input, init] of inits) assert.equal(await (await metered(input, init)).text(), 'theirs');
    for (const [at, call] of seen.mock.calls.entries()) {
      assert.equal(call.arguments[0], inits[at][0]);
      assert.equal(call.arguments[1], inits[at][1]);
    }
    assert.equal(seen.mock.callCount(), inits.length);
  });

  test('a signal’s own reason comes back', async () => {
    const reason = new Error('mine');
    await assert.rejects(metered(url, { method: 'POST', headers, body, signal: AbortSignal.abort(reason) }), reason);
    const { path, baseURL } = place();
    await plan(path, [slow(100000)]);
    const controller = new AbortController();
    const init = { method: 'POST', headers, body: JSON.stringify(params('', { stream: true })), signal: controller.signal };
    const reader = (await metered(baseURL + '/v1/messages', init)).body.getReader();
    await reader.read();
    controller.abort(reason);
    await assert.rejects(async () => {
      while (!(await reader.read()).done);
    }, reason);
  });

  test('a request that the library refuses goes out unmetered, with one warning', async () => {
    const { baseURL, path } = place();
    await plan(path, [{ delay_ms: 100 }]);
    const { code, stdout, stderr } = await run(`
      import { params } from ${JSON.stringify(new URL('./tools.mjs', import.meta.url).href)};
      revenium.init({ max_in_flight: 1 });
      const send = async (text) => {
        const init = { method: 'POST', headers: ${JSON.stringify(headers)}, body: JSON.stringify({ ...params(text), usage_metadata: { agent: 'a' } }) };
        return (await (await revenium.fetch('${baseURL}/v1/messages', init)).json()).content[0].text;
      };
      console.log((await Promise.all(['a', 'b', 'c'].map(send))).join());
      await revenium.shutdown();
      console.log(await send('d'));
    `);
    assert.equal(stdout, 'You said: a,You said: b,You said: c\nYou said: d\n');
    assert.equal(stderr.match(/ReveniumWarning/g).length, 2, stderr);
    assert.match(stderr, /REVENIUM_E_BUSY[^]*REVENIUM_E_CLOSED/);
    assert.equal(code, 0);
    assert.equal((await records(1)).length, 1);
  });
});
