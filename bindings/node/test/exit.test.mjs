// However a process ends, it ends as asked: no crash, no hang, no lost record. Ten times each.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { fresh, place, plan, records, run } from './tools.mjs';

beforeEach(fresh);

const TIMES = 10;
const TOOLS = `import { params } from ${JSON.stringify(new URL('./tools.mjs', import.meta.url).href)};
import { Worker } from 'node:worker_threads';
`;

/** Ten runs of a program whose calls to `baseURL` take their time, a few at a time. */
async function runs(program, answers) {
  const { baseURL, path } = place();
  await plan(path, answers);
  const source = `${TOOLS}const client = new Anthropic(), slow = client.withOptions({ baseURL: ${JSON.stringify(baseURL)} });\n${program}`;
  const ends = [];
  for (let at = 0; at < TIMES; at += 2) ends.push(...(await Promise.all([run(source), run(source)])));
  return ends;
}

const BUSY = `
const streams = await Promise.all([1, 2, 3, 4].map(() => slow.messages.create(params('', { stream: true }))));
await streams[0][Symbol.asyncIterator]().next();
await client.messages.create(params('done'));
`;
const LONG = [{ deltas: 100000, gap_ms: 20 }];

function clean(ends, code) {
  for (const end of ends) assert.deepEqual([end.code, end.signal, end.stderr], [code, null, '']);
}

/** The finished calls and the abandoned ones are all recorded. */
async function recorded() {
  const reasons = (await records(TIMES * 5)).map((record) => record.stopReason);
  assert.equal(reasons.filter((reason) => reason === 'END').length, TIMES);
  assert.equal(reasons.filter((reason) => reason === 'CANCELLED').length, TIMES * 4);
}

test('natural end: calls under way are waited for', async () => {
  clean(await runs(`slow.messages.create(params()).then(() => (process.exitCode = 3));`, [{ delay_ms: 100 }]), 3);
  assert.equal((await records(TIMES)).length, TIMES);
});

test('natural end: an idle library, with listeners and streams left unread, holds nothing', async () => {
  clean(
    await runs(
      `revenium.onLog(() => {});
       revenium.onMetering(() => {});
       await slow.messages.create(params());
       await slow.messages.create(params('', { stream: true }));`,
      [{ deltas: 3 }],
    ),
    0,
  );
  assert.equal((await records(TIMES * 2)).length, TIMES * 2);
});

test('as on Windows, where a thread waits: calls at once, streams, listeners, and a natural end', async () => {
  const { baseURL, path } = place();
  await plan(path, [{ deltas: 5, gap_ms: 20 }]);
  const program = `${TOOLS}
    const slow = new Anthropic({ baseURL: ${JSON.stringify(baseURL)} });
    const lines = [];
    revenium.onLog((line) => lines.push(line), 'debug');
    const events = [];
    for await (const event of await slow.messages.create(params('', { stream: true }))) events.push(event.type);
    const texts = await Promise.all(Array.from({ length: 200 }, () => slow.messages.create(params('hello'))));
    await new Promise((resolve) => setTimeout(resolve, 300));
    console.log(events.at(-1), texts.length, revenium.status().callsInFlight, lines.length > 0);
  `;
  const end = await run(program, { args: ['--require', fileURLToPath(new URL('as_on_windows.cjs', import.meta.url))] });
  assert.deepEqual([end.code, end.stderr, end.stdout], [0, '', 'message_stop 200 0 true\n']);
  assert.equal((await records(201)).length, 201);
});

test('process.exit with calls under way', async () => {
  clean(await runs(`${BUSY} process.exit(7);`, LONG), 7);
  await recorded();
});

test('an uncaught exception with calls under way', async () => {
  for (const end of await runs(`${BUSY} throw new Error('on purpose');`, LONG)) {
    assert.deepEqual([end.code, end.signal], [1, null]);
    assert.match(end.stderr, /Error: on purpose/);
  }
  await recorded();
});

test('a worker terminated in mid-stream, and others that go on', async () => {
  const worker = `
    const { workerData, parentPort } = require('node:worker_threads');
    const Anthropic = require(workerData.library);
    (async () => {
      const client = new Anthropic({ baseURL: workerData.baseURL });
      const stream = await client.messages.create({ ...workerData.params, stream: true });
      let text = '';
      for await (const event of stream) {
        text += event.delta?.text ?? '';
        if (event.type === 'content_block_delta') parentPort.postMessage('streaming');
      }
      parentPort.postMessage(text);
    })();`;
  const ends = await runs(
    `
    const worker = (baseURL) => new Worker(${JSON.stringify(worker)}, {
      eval: true,
      execArgv: [],
      workerData: { baseURL, params: params('worker'), library: ${JSON.stringify(new URL('../index.cjs', import.meta.url).pathname)} },
    });
    const stopped = worker(slow.baseURL);
    await new Promise((resolve) => stopped.once('message', resolve));
    const others = [worker(), worker()].map((other) => new Promise((resolve, reject) => {
      other.on('message', (text) => text !== 'streaming' && resolve(text));
      other.on('error', reject);
    }));
    await stopped.terminate();
    console.log((await Promise.all(others)).join(), (await client.messages.create(params('main'))).content[0].text);
    `,
    LONG,
  );
  clean(ends, 0);
  for (const end of ends) assert.equal(end.stdout, 'You said: worker,You said: worker You said: main\n');
});

test('a worker that exits by itself takes its calls with it', async () => {
  const worker = `
    const { workerData } = require('node:worker_threads');
    const Anthropic = require(workerData.library);
    (async () => {
      const stream = await new Anthropic({ baseURL: workerData.baseURL }).messages.create({ ...workerData.params, stream: true });
      await stream[Symbol.asyncIterator]().next();
      process.exit();
    })();`;
  const ends = await runs(
    `
    const gone = new Worker(${JSON.stringify(worker)}, {
      eval: true,
      execArgv: [],
      workerData: { baseURL: slow.baseURL, params: params(), library: ${JSON.stringify(new URL('../index.cjs', import.meta.url).pathname)} },
    });
    await new Promise((resolve) => gone.once('exit', resolve));
    while (revenium.status().callsInFlight > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    `,
    LONG,
  );
  clean(ends, 0);
  assert.equal((await records(TIMES)).every((record) => record.stopReason === 'CANCELLED'), true);
});

test('a signal ends the process cleanly through shutdown()', async () => {
  const ends = await runs(
    `${BUSY}
     process.once('SIGTERM', () => revenium.shutdown().then(() => process.exit(0)));
     process.kill(process.pid, 'SIGTERM');
     setInterval(() => {}, 1000);`,
    LONG,
  );
  clean(ends, 0);
  await recorded();
});
