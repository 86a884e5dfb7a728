// The package as it is loaded: ESM and CommonJS, types, files.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { promisify } from 'node:util';

const require = createRequire(import.meta.url);
const root = new URL('../', import.meta.url);

test('import and require give the same', async () => {
  const esm = await import('librevenium');
  const cjs = require('librevenium');
  assert.equal(esm.default, cjs);
  assert.equal(esm.Anthropic, cjs);
  assert.equal(new cjs().constructor, esm.Anthropic);
  assert.deepEqual(Object.keys(esm).sort(), Object.keys(cjs).sort());
  for (const name of Object.keys(esm)) assert.equal(esm[name], cjs[name], name);
});

test('every export has a type, and every typed value exists', () => {
  const types = readFileSync(new URL('index.d.ts', root), 'utf8');
  const typed = [...types.matchAll(/^export (?:class|function|const) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual([...typed, 'default'].sort(), Object.keys(require('librevenium')).sort());
});

test('the types compile, and fit those of the official SDKs both ways', async () => {
  const tsc = new URL('node_modules/.bin/tsc', root).pathname;
  const project = new URL('test/types', root).pathname;
  await promisify(execFile)(tsc, ['-p', project]).catch((error) => assert.fail(error.stdout || error));
});

test('the package holds what it loads, and names no registry', () => {
  const { files } = require('librevenium/package.json');
  for (const file of ['index.cjs', 'index.mjs', 'index.d.ts', 'index.d.mts', 'types.d.ts']) assert.ok(files.includes(file), file);
  const lock = readFileSync(new URL('package-lock.json', root), 'utf8');
  assert.ok(!lock.includes('"resolved"'));
  for (const file of readdirSync(new URL('lib/', root))) {
    const lines = readFileSync(new URL(`lib/${file}`, root), 'utf8').split('\n').length;
    assert.ok(lines <= 400, `${file} has ${lines} lines`);
  }
});
