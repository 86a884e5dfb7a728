// Many calls at a time, and many calls in a row.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { fresh, place, plan, records, runFile } from './tools.mjs';

beforeEach(fresh);

async function measured(file, options) {
  const { code, stdout, stderr } = await runFile(file, options);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

test('2,000 calls in flight take a handful of threads', async (t) => {
  const { baseURL, path } = place();
  await plan(path, [{ delay_ms: 2000 }]);
  const { inFlight, before, during, right } = await measured('load-many.mjs', { env: { BASE_URL: baseURL, REVENIUM_METERING_WORKERS: '64' } });
  t.diagnostic(
    `measured: ${inFlight} calls in flight, ${during.threads} threads, ${during.rss >> 10} MiB resident (before: ${before.threads} threads, ${before.rss >> 10} MiB)`,
  );
  assert.equal(inFlight, 2000);
  assert.equal(right, 2000);
  assert.ok(during.threads < 40, `${during.threads} threads`);
  assert.ok(during.rss - before.rss < 400 * 1024, `${during.rss - before.rss} KiB more`);
  assert.equal((await records(2001)).length, 2001);
});

test('10,000 calls leave nothing behind', async (t) => {
  const { sizes, descriptors, status } = await measured('leak.mjs', { env: { NODE_OPTIONS: '--expose-gc', REVENIUM_METERING_WORKERS: '64' } });
  const mib = sizes.map((size) => size >> 10);
  t.diagnostic(`measured: resident memory after each thousand calls, MiB: ${mib.join(' ')}`);
  assert.equal(status.callsInFlight, 0);
  assert.equal(status.callsStarted, 10000);
  // The first thousands fill heaps and caches; from then on it is flat: less than 2 KiB a call.
  assert.ok(sizes[9] - sizes[5] < 8 * 1024, mib.join());
  // Connections are pooled, at most one for each of the hundred calls at a time.
  assert.ok(descriptors[1] <= descriptors[0] + 100, descriptors.join());
  assert.equal((await records(10000)).length, 10000);
});
