// The examples print what they print in every language. (The one that cancels half way needs a slow provider: the demo.)

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { beforeEach, test } from 'node:test';
import { collect, fresh, records } from './tools.mjs';

beforeEach(fresh);

const examples = new URL('../../../examples/', import.meta.url);

async function output(name) {
  const child = spawn(new URL('node/run', examples).pathname, [name], { stdio: ['ignore', 'pipe', 'pipe'] });
  const { code, stdout, stderr } = await collect(child);
  assert.deepEqual([code, stderr], [0, ''], name);
  // What follows in braces differs from machine to machine.
  return stdout.replace(/^\{$[^]*/m, '');
}

for (const [name, count] of [['getting_started', 1], ['metadata', 1], ['streaming', 1], ['tools', 2], ['scopes', 6], ['status', 1], ['otel', 1], ['record', 2], ['tool_events', 0]]) {
  test(name, async () => {
    assert.equal(await output(name), readFileSync(new URL(`expected/${name}.txt`, examples), 'utf8'));
    assert.equal((await records(count)).length, count);
  });
}

test('dropin', async () => {
  const expected = ['You said: Greet the world in five words.', 'You said: Say it again, slowly.', '14 input tokens, 8 output tokens', ''];
  assert.equal(await output('dropin'), expected.join('\n'));
  const found = await records(2);
  assert.deepEqual(found.map((record) => record.organizationName), ['Acme', 'Acme']);
  assert.deepEqual(found.map((record) => record.taskType).sort(), ['greet', undefined]);
});
