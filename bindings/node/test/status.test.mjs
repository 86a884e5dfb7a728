// The library as a whole: start, state, flush, end, log. Each test in a process of its own.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { fresh, plan, records, reset, run } from './tools.mjs';

beforeEach(fresh);

const COLLECTOR = '/meter/v2/ai/completions';
const TOOLS = `import { params, place, plan, reset } from ${JSON.stringify(new URL('./tools.mjs', import.meta.url).href)};
const client = new Anthropic();
const failure = (fn) => { try { fn(); } catch (error) { return error.code; } };
`;

/** The lines that a program prints, parsed. */
async function lines(program, options) {
  const { code, stdout, stderr } = await run(TOOLS + program, options);
  assert.equal(code, 0, stderr);
  return stdout.trim().split('\n').map((line) => JSON.parse(line));
}

test('init: once, again with the same settings, not with others, not with wrong ones', async () => {
  const [codes] = await lines(`
    const codes = [failure(() => revenium.init({ no_such_setting: 1 })), failure(() => revenium.init({ max_retries: -1 }))];
    revenium.init({ max_retries: 1 });
    revenium.init({ max_retries: 1 });
    codes.push(failure(() => revenium.init({ max_retries: 2 })));
    await client.messages.create(params());
    console.log(JSON.stringify(codes));
  `);
  assert.deepEqual(codes, ['REVENIUM_E_CONFIG', 'REVENIUM_E_CONFIG', 'REVENIUM_E_ALREADY']);
});

test('status before, during and after', async () => {
  const [before, after, json] = await lines(`
    console.log(JSON.stringify([revenium.isInitialized(), revenium.status()]));
    await client.messages.create(params());
    await client.messages.create({ ...params(), max_tokens: 0 }).catch(() => {});
    await revenium.flush();
    console.log(JSON.stringify([revenium.isInitialized(), revenium.status()]));
    console.log(JSON.stringify(revenium.statusJson()));
  `);
  const zero = {
    callsInFlight: 0, callsStarted: 0, callsFailed: 0, eventsPending: 0, eventsDelivered: 0, eventsRetried: 0, eventsDropped: 0,
    lastError: null, lastHttpStatus: null,
  };
  assert.deepEqual(before, [true, { ...zero, initialized: false, provider: 'anthropic', metering: 'on' }]);
  assert.deepEqual(after, [
    true,
    { ...zero, initialized: true, provider: 'anthropic', metering: 'on', callsStarted: 2, callsFailed: 1, eventsDelivered: 2 },
  ]);
  assert.equal(json.settings.middleware_source, 'revenium-anthropic-node');
  assert.ok(!JSON.stringify(json).includes('sandbox_0123'), 'no key');
});

test('without a Revenium key calls work, unmetered', async () => {
  const [result] = await lines(
    `console.log(JSON.stringify([revenium.isInitialized(), revenium.status().metering, (await client.messages.create(params())).type]));`,
    { env: { REVENIUM_METERING_API_KEY: '' } },
  );
  assert.deepEqual(result, [false, 'off', 'message']);
});

test('flush waits for what is pending, and leaves the event loop alone', async () => {
  await plan(COLLECTOR, [{ status: 503 }]);
  const [late, state, ticks, done] = await lines(`
    let ticks = 0;
    setInterval(() => ticks++, 1).unref();
    await client.messages.create(params());
    console.log(await revenium.flush(200));
    console.log(JSON.stringify([revenium.status().eventsPending, revenium.status().lastHttpStatus]));
    console.log(ticks);
    await reset();
    console.log(await revenium.flush(20000));
  `);
  assert.equal(late, false);
  assert.deepEqual(state, [1, 503]);
  assert.ok(ticks > 3, `${ticks} ticks`);
  assert.equal(done, true);
});

test('shutdown ends the calls under way, delivers, and is final until the next init', async () => {
  const results = await lines(`
    const { baseURL, path } = place();
    await plan(path, [{ delay_ms: 60000 }]);
    await client.messages.create(params());
    const pending = client.withOptions({ baseURL }).messages.create(params()).catch((error) => error.constructor.name);
    await new Promise((resolve) => setTimeout(resolve, 20));
    console.log(JSON.stringify(await revenium.shutdown()));
    console.log(JSON.stringify(await pending));
    const code = (promise) => promise.then(() => 'no error', (error) => error.code);
    console.log(JSON.stringify([await code(client.messages.create(params())), failure(revenium.status), await code(revenium.flush()), await revenium.shutdown()]));
    revenium.init();
    console.log(JSON.stringify([(await client.messages.create(params())).type, revenium.status().callsStarted, await revenium.shutdown()]));
  `);
  assert.deepEqual(results, [
    true,
    'APIUserAbortError',
    ['REVENIUM_E_CLOSED', 'REVENIUM_E_CLOSED', 'REVENIUM_E_CLOSED', true],
    ['message', 1, true],
  ]);
  assert.deepEqual((await records(3)).map((record) => record.stopReason).sort(), ['CANCELLED', 'END', 'END']);
});

test('each init wants a shutdown, and the start by the first call belongs to the first init', async () => {
  const [ends] = await lines(`
    const ends = [];
    await client.messages.create(params());
    for (let at = 0; at < 2; at++) revenium.init({});
    ends.push(await revenium.shutdown(), (await client.messages.create(params())).type);
    ends.push(await revenium.shutdown(), failure(revenium.status));
    console.log(JSON.stringify(ends));
  `);
  assert.deepEqual(ends, [true, 'message', true, 'REVENIUM_E_CLOSED']);
});

test('after shutdown a sentence says so', async () => {
  const [messages] = await lines(`
    const messages = [];
    await client.messages.create(params());
    await Promise.all([revenium.shutdown(), revenium.shutdown()]);
    for (const fn of [revenium.status, revenium.statusJson]) try { fn(); } catch (error) { messages.push(error.message); }
    await client.messages.create(params()).catch((error) => messages.push(error.message));
    console.log(JSON.stringify(messages));
  `);
  assert.equal(messages.length, 3);
  for (const message of messages) assert.match(message, /was shut down/);
});

test('a failure leaves no handle behind', async () => {
  const [[message, left]] = await lines(`
    import { createRequire } from 'node:module';
    const { native, out, taken } = createRequire(${JSON.stringify(import.meta.url)})('../lib/native.cjs');
    revenium.init();
    const next = () => (native.queue_new(out), taken());
    const first = next();
    native.release(first);
    await revenium.shutdown();
    let message;
    try { revenium.onLog(() => {}); } catch (error) { message = error.message; }
    const last = next();
    native.release(last);
    const left = [];
    for (let handle = first; handle <= last; handle++) if (native.result_info(handle, null) !== null) left.push(handle);
    console.log(JSON.stringify([message, left]));
  `);
  assert.match(message, /was shut down/);
  assert.deepEqual(left, []);
});

test('shutdown of one thread leaves the calls of the others alone', async () => {
  const worker = `
    const { workerData, parentPort } = require('node:worker_threads');
    const Anthropic = require(workerData.library);
    (async () => {
      const stream = await new Anthropic({ baseURL: workerData.baseURL }).messages.create({ ...workerData.params, stream: true });
      let last;
      for await (const event of stream) {
        if (event.type === 'content_block_start') parentPort.postMessage('streaming');
        last = event.type;
      }
      parentPort.postMessage(last);
    })();`;
  const [ended, last, closed] = await lines(`
    import { Worker } from 'node:worker_threads';
    const { baseURL, path } = place();
    await plan(path, [{ deltas: 20, gap_ms: 20 }]);
    revenium.init();
    const other = new Worker(${JSON.stringify(worker)}, {
      eval: true, execArgv: [],
      workerData: { baseURL, params: params(), library: ${JSON.stringify(new URL('../index.cjs', import.meta.url).pathname)} },
    });
    const next = () => new Promise((resolve) => other.once('message', resolve));
    await next();
    const end = next();
    console.log(await revenium.shutdown());
    console.log(JSON.stringify(await end));
    console.log(JSON.stringify(await client.messages.create(params()).then(() => null, (error) => error.code)));
  `);
  assert.deepEqual([ended, last, closed], [true, 'message_stop', 'REVENIUM_E_CLOSED']);
  assert.equal((await records(1))[0].stopReason, 'END');
});

test('shutdown has a deadline', async () => {
  await plan(COLLECTOR, [{ status: 503 }]);
  const [ended] = await lines(`
    await client.messages.create(params());
    console.log(await revenium.shutdown(50));
  `);
  assert.equal(ended, false);
});

test('log lines up to a level, until told to stop', async () => {
  const [heard, levels] = await lines(`
    const { baseURL, path } = place();
    await plan(path, [{ status: 529, headers: { 'retry-after-ms': '1' } }, {}]);
    const heard = [];
    const stop = revenium.onLog((level, line) => heard.push([level, line]), 'debug');
    const errors = [];
    revenium.onLog((level) => errors.push(level), 'error');
    await client.withOptions({ baseURL }).messages.create(params());
    await new Promise((resolve) => setTimeout(resolve, 50));
    stop();
    const before = heard.length;
    await client.messages.create(params());
    await new Promise((resolve) => setTimeout(resolve, 50));
    console.log(JSON.stringify([heard, before === heard.length, errors]));
    console.log(JSON.stringify(failure(() => revenium.onLog(() => {}, 'loud')) ?? null));
  `);
  assert.ok(heard[0].some(([level, line]) => level === 'debug' && line.includes('attempt 1 failed')), JSON.stringify(heard));
  assert.deepEqual([heard[1], heard[2], levels], [true, [], null]);
});

test('reports of failed deliveries, until told to stop', async () => {
  await plan(COLLECTOR, [{ status: 400 }]);
  const [reports] = await lines(`
    const reports = [];
    const stop = revenium.onMetering((report) => reports.push(report));
    await client.messages.create(params());
    while (reports.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    stop();
    console.log(JSON.stringify(reports));
  `);
  assert.equal(reports.length, 1);
  assert.equal(reports[0].http_status, 400);
});

test('a listener’s mistake is an uncaught exception, and loses nobody’s frames', async () => {
  const [seen] = await lines(`
    const seen = [];
    process.on('uncaughtException', (error) => seen.push(error.message));
    revenium.onLog(() => { throw new Error('mine'); }, 'debug');
    const { baseURL, path } = place();
    await plan(path, [{ status: 529, headers: { 'retry-after-ms': '1' } }, {}]);
    seen.push((await client.withOptions({ baseURL }).messages.create(params())).type);
    console.log(JSON.stringify(seen));
  `);
  assert.ok(seen.includes('mine') && seen.includes('message'), seen.join());
});
