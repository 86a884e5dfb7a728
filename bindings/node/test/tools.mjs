// What the tests share: the sandbox they run beside, and programs run in child processes.

import { spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const sandbox = process.env.SANDBOX_URL;
if (!sandbox) throw new Error('run these tests through tests/node.sh: they need the sandbox');

/** A spool for each process: what one leaves behind, the next would send. tests/with_sandbox.sh removes them. */
const spools = process.env.REVENIUM_SPOOL_DIR;
const spool = () => mkdtempSync(`${spools}-`);
process.env.REVENIUM_SPOOL_DIR = spool();

export const params = (text = 'Hello', more = {}) => ({
  model: 'claude-test-1',
  max_tokens: 100,
  messages: [{ role: 'user', content: text }],
  ...more,
});

export const control = async (path, init) => {
  const response = await fetch(`${sandbox}/sandbox/${path}`, init);
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response;
};

/** Answers of the sandbox to the next requests for `path`, in order; the last one repeats. */
export const plan = (path, answers) => control('plan', { method: 'POST', body: JSON.stringify({ path, answers }) });

/** Before each test: what the one before left to this process is done, and forgotten. */
export async function fresh() {
  const { flush, status } = await import('librevenium');
  while (status().callsInFlight > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  await flush(20000);
  await reset();
}

/** Forget all that the sandbox was told and asked. */
export async function reset() {
  for (const what of ['plan', 'records', 'requests']) await control(what, { method: 'DELETE' });
}

/** The usage records of the sandbox, once there are `count`. */
export async function records(count) {
  await control(`wait?records=${count}&timeout_ms=100000`);
  return (await (await control('records')).json()).map((record) => record.body);
}

export const requests = async () => (await control('requests')).json();

export const stats = async () => (await control('stats')).json();

/** A base URL of its own on the sandbox: what is planned for it meets no other test. */
let places = 0;
export function place() {
  const name = `/at-${process.pid}-${++places}`;
  return { baseURL: sandbox + name, path: `${name}/v1/messages` };
}

/** An answer that tells what it was asked, slowly enough to be interrupted. */
export const slow = (deltas = 200) => ({ deltas, gap_ms: 20 });

const here = (file) => fileURLToPath(new URL(file, import.meta.url));

/** Run a program text as an ES module in a process of its own: `{ code, signal, stdout, stderr }`. */
export function run(program, { env = {}, args = [] } = {}) {
  const source = `import Anthropic, * as revenium from ${JSON.stringify(here('../index.mjs'))};\n${program}`;
  return collect(spawn(process.execPath, [...args, '--input-type=module', '-e', source], options(env)));
}

export function runFile(file, { env = {} } = {}) {
  return collect(spawn(process.execPath, [here(file)], options(env)));
}

const options = (env) => ({ env: { ...process.env, REVENIUM_SPOOL_DIR: spool(), ...env }, stdio: ['ignore', 'pipe', 'pipe'] });

export function collect(child) {
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) child[name].on('data', (chunk) => (texts[name] += chunk));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, ...texts }));
  });
}
