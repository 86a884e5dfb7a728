// The binding against the header, and where it finds the library.

import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { build } from 'esbuild';
import { run } from './tools.mjs';

const require = createRequire(import.meta.url);
const { native, FUNCTIONS, LEFT_OUT } = require('../lib/native.cjs');
const { CODE } = require('../lib/constants.cjs');
const { find } = require('../lib/locate.cjs');
const header = readFileSync(new URL('../../../include/revenium.h', import.meta.url), 'utf8').replace(/\/\*[^]*?\*\//g, '');

/** `int32_t name(type name, ...)` → `{ name: [result, ...parameters] }`, in the binding's words. */
function prototypes() {
  const found = {};
  const code = header.replace(/^#.*$/gm, '');
  for (const [, result, name, list] of code.matchAll(/([\w][\w \n]*?[*\s]+)(revenium_\w+)\s*\(([^()]*)\)\s*;/g)) {
    const parameters = list.trim() === 'void' ? [] : list.split(',').map((text) => text.trim().replace(/\w+$/, ''));
    found[name] = [type(result, true), ...parameters.map((text) => type(text, false))];
  }
  return found;
}

function type(text, isResult) {
  const plain = text.replace(/\bextern\b|\bstruct\b/g, '').replace(/\s+/g, ' ').replace(/ ?\*/, ' *').trim();
  if (isResult && plain === 'const char *') return 'str';
  if (plain.includes('*')) return 'void *';
  const names = { int32_t: 'int32', uint32_t: 'uint32', uint64_t: 'uint64', size_t: 'size_t', uintptr_t: 'size_t' };
  if (names[plain]) return names[plain];
  return plain.endsWith('_fn') ? 'callback' : 'uint64';
}

test('every function of the header is declared as it stands there, or left out for a reason', () => {
  const inHeader = prototypes();
  assert.ok(Object.keys(inHeader).length >= 29, Object.keys(inHeader).join());
  assert.deepEqual(Object.keys({ ...FUNCTIONS, ...LEFT_OUT }).sort(), Object.keys(inHeader).sort());
  for (const [name, signature] of Object.entries(FUNCTIONS)) assert.deepEqual(signature, inHeader[name], name);
});

test('the generated numbers are fresh, and the library’s', () => {
  const { status, stderr } = spawnSync('python3', [fileURLToPath(new URL('../../generate.py', import.meta.url)), '--check']);
  assert.equal(status, 0, String(stderr));
  for (const [name, code] of Object.entries(CODE)) {
    assert.equal(native.code_name(code), code < 0 ? `REVENIUM_E_${name}` : `REVENIUM_${name}`);
  }
});

test('no callback from foreign threads, no struct conversion, and the thread pool on Windows alone', () => {
  const lib = new URL('../lib/', import.meta.url);
  for (const file of readdirSync(lib)) {
    const text = readFileSync(new URL(file, lib), 'utf8');
    for (const word of ['koffi.register(', 'koffi.struct', 'koffi.proto']) assert.ok(!text.includes(word), `${file}: ${word}`);
    assert.ok(!text.includes('.async(') || file === 'wake.cjs', file);
  }
});

test('an error names every place that was tried, and what to do', () => {
  const refuse = (path) => {
    throw new Error(`cannot load ${path}`);
  };
  assert.throws(() => find(refuse, {}), (error) => {
    for (const part of [`librevenium-${process.platform}-${process.arch}`, 'target', 'search path', `npm install librevenium-${process.platform}`, 'make build', 'set REVENIUM_LIBRARY', 'make install', 'external']) assert.ok(error.message.includes(part), part);
    return true;
  });
  assert.throws(() => find(refuse, { REVENIUM_LIBRARY: '/no/such.so' }), /REVENIUM_LIBRARY \(\/no\/such\.so\)[^]*or unset it/);
});

test('REVENIUM_LIBRARY decides, and nothing else is taken instead', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'librevenium-'));
  try {
    const copy = join(directory, 'elsewhere.so');
    copyFileSync(native.path, copy);
    const good = await run('console.log(revenium.version)', { env: { REVENIUM_LIBRARY: copy } });
    assert.equal(good.stdout.trim(), native.version(), good.stderr);
    const bad = await run('', { env: { REVENIUM_LIBRARY: join(directory, 'none.so') } });
    assert.equal(bad.code, 1);
    assert.match(bad.stderr, /librevenium was not found[^]*none\.so/);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('a library that is not ours is refused in words', async () => {
  const other = readFileSync('/proc/self/maps', 'utf8').match(/\/\S*libc\.so\.6/)?.[0];
  if (!other) return;
  const { code, stderr } = await run('', { env: { REVENIUM_LIBRARY: other } });
  assert.equal(code, 1);
  assert.match(stderr, /is no librevenium of ABI 1: it lacks revenium_version/);
});

test('a bundle that leaves the package external runs', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'librevenium-'));
  try {
    const entry = join(directory, 'entry.mjs');
    writeFileSync(entry, "import { version } from 'librevenium';\nconsole.log(version);\n");
    const packages = join(directory, 'node_modules');
    mkdirSync(packages);
    symlinkSync(fileURLToPath(new URL('..', import.meta.url)), join(packages, 'librevenium'));
    for (const format of ['esm', 'cjs']) {
      const outfile = join(directory, `bundle.${format === 'esm' ? 'mjs' : 'cjs'}`);
      await build({ entryPoints: [entry], outfile, format, bundle: true, platform: 'node', external: ['librevenium'] });
      const { status, stdout, stderr } = spawnSync(process.execPath, [outfile], { encoding: 'utf8', cwd: directory });
      assert.deepEqual([status, stdout.trim()], [0, native.version()], stderr);
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});
