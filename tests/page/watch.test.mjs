// `revenium watch` beside a real program whose records can't be delivered at first.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { OUT, SANDBOX, forget, send, shows, withPage } from './support.mjs';

const run = promisify(execFile);
const COMMAND = process.env.REVENIUM_COMMAND;
const CLIENT = new URL('../spool/client.py', import.meta.url).pathname;
const COLLECTOR = '/meter/v2/ai/completions';

/** The page's address, once it is served. */
async function watch(environment) {
  const child = spawn(COMMAND, ['watch', '--port', '0', '--seconds', '120'], { env: environment, stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const line of createInterface(child.stdout)) {
    const url = line.match(/http:\S+/)?.[0];
    if (url) return { child, url };
  }
  throw new Error('revenium watch ended');
}

/** Names and sizes of all files below a directory. */
async function contents(directory) {
  const names = (await readdir(directory, { recursive: true })).sort();
  return Promise.all(names.map(async (name) => [name, (await stat(join(directory, name))).mtimeMs]));
}

test('what waits is shown, changed in nothing, and followed until it is gone', async () => {
  await forget();
  const spool = await mkdtemp(join(tmpdir(), 'revenium-watch-'));
  const env = { ...process.env, REVENIUM_SPOOL_DIR: spool };
  const down = JSON.stringify({ path: COLLECTOR, answers: [{ status: 503, 'retry-after': 1 }] });
  assert.equal((await send('POST', '/sandbox/plan', down)).status, 204);
  await run('python3', [CLIENT, 'call:3', 'kill'], { env }).catch((killed) => assert.equal(killed.signal, 'SIGKILL'));
  const before = await contents(spool);
  const { child, url } = await watch(env);
  try {
    assert.match(new URL(url).pathname, /^\/[0-9a-f]{32}\/$/);
    for (const path of ['/', '/sandbox/live', `${new URL(url).pathname.slice(0, -2)}/sandbox/live`]) {
      assert.equal((await fetch(new URL(path, url))).status, 404, 'without the secret');
    }
    await withPage(async (page) => {
      await shows(page, 3);
      const states = page.locator('#list tbody td[data-label=State]');
      assert.match(await states.first().textContent(), /^waiting: left behind/);
      assert.equal(await page.locator('#budgets').isVisible(), false);
      assert.match(await page.locator('#prices').textContent(), /read only/);
      await page.locator('#list tbody tr').first().getByRole('button').click();
      const shown = await page.locator('#json').textContent();
      assert.ok(shown.includes('"agent": "spool-test"') && !shown.includes('someone@example.com'), shown);
      await page.keyboard.press('Escape');
      assert.deepEqual(await contents(spool), before, 'something was changed');
      await page.screenshot({ path: `${OUT}watch.png` });

      assert.equal((await send('DELETE', '/sandbox/plan')).status, 204);
      await run(COMMAND, ['spool', 'send'], { env });
      await page.locator('#filters [name=state]').selectOption('waiting');
      await shows(page, 0);
      await page.getByRole('button', { name: 'Clear filters' }).click();
      await shows(page, 3);
      assert.match(await states.first().textContent(), /^(gone|delivered)/);
    }, { url });
    assert.equal(JSON.parse((await send('GET', '/sandbox/records')).text).length, 3);
  } finally {
    child.kill();
    await send('DELETE', '/sandbox/plan');
    await rm(spool, { recursive: true });
  }
});

test('what Revenium refuses is shown with its answer', async () => {
  await forget();
  const spool = await mkdtemp(join(tmpdir(), 'revenium-watch-'));
  const env = { ...process.env, REVENIUM_SPOOL_DIR: spool };
  // The second record waits, and keeps the first one in the file.
  const answers = [{ status: 422, json: { error: 'no' } }, { status: 503, 'retry-after': 1 }];
  assert.equal((await send('POST', '/sandbox/plan', JSON.stringify({ path: COLLECTOR, answers }))).status, 204);
  const { child, url } = await watch(env);
  const host = run('python3', [CLIENT, 'call:1', 'flush:20000', 'call:1', 'pause'], { env });
  host.catch(() => {}); // It is killed in the end.
  try {
    await withPage(async (page) => {
      await shows(page, 2);
      await page.locator('#filters [name=state]').selectOption('refused');
      await shows(page, 1);
      const state = await page.locator('#list tbody td[data-label=State]').first().textContent();
      assert.match(state, /^refused: Revenium answered with HTTP status 422/);
    }, { url });
  } finally {
    host.child.kill('SIGKILL');
    child.kill();
    await send('DELETE', '/sandbox/plan');
    await rm(spool, { recursive: true });
  }
});

test('it says why there is nothing to watch', async () => {
  const env = { ...process.env, REVENIUM_METERING_API_KEY: '' };
  await assert.rejects(run(COMMAND, ['watch'], { env }), (failed) => failed.code === 1 && /no Revenium key/.test(failed.stderr));
  assert.ok(SANDBOX.startsWith('http://127.0.0.1:'));
});
