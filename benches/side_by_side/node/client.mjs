// The library from Node.js, configured by the environment: create, or streams whose events are all read.
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

import Anthropic, { flush, shutdown } from '../../../bindings/node/index.mjs';

const number = { type: 'string', default: '0' };
const { values } = parseArgs({
  options: { port: number, mode: { type: 'string', default: 'create' }, calls: number, warm: number, 'at-once': number },
});
const atOnce = Math.max(Number(values['at-once']), 1);
const client = new Anthropic();
const params = {
  model: 'claude-haiku-4-5',
  max_tokens: 1024,
  messages: [{ role: 'user', content: 'Say hello to the benchmark.' }],
};

async function call() {
  if (values.mode !== 'stream') {
    await client.messages.create(params);
    return 0;
  }
  let deltas = 0;
  for await (const event of await client.messages.create({ ...params, stream: true })) {
    if (event.type === 'content_block_delta') deltas += 1;
  }
  return deltas;
}

// So many calls; the deltas of their streams.
async function run(calls) {
  let begun = 0;
  let deltas = 0;
  const worker = async () => {
    while (begun < calls) {
      begun += 1;
      // In two steps: `deltas += await` would add to what it was before.
      const more = await call();
      deltas += more;
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, calls) }, worker));
  return deltas;
}

// Processor time of all threads, in microseconds.
function cpu() {
  const { user, system } = process.cpuUsage();
  return user + system;
}

// A line of /proc/self/status, in its unit.
function status(name) {
  return Number(new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))[1]);
}

const ready = cpu();
await run(Number(values.warm));
await flush(60000);
const start = cpu();
const idle = status('VmRSS');
const clock = process.hrtime.bigint();
const deltas = await run(Number(values.calls));
const wall = Number((process.hrtime.bigint() - clock) / 1000n);
await flush(60000);
console.log(
  JSON.stringify({
    ready_cpu_us: ready,
    cpu_us: cpu() - start,
    wall_us: wall,
    idle_kib: idle,
    peak_kib: status('VmHWM'),
    threads: status('Threads'),
    deltas,
  }),
);
await shutdown(10000);
