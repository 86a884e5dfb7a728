'use strict';
// Where the shared library lies: the environment's choice, a platform package, a checkout, the loader's search path.

const fs = require('node:fs');
const path = require('node:path');

const FILE = { win32: 'revenium.dll', darwin: 'librevenium.dylib' }[process.platform] ?? 'librevenium.so';
/** What the loader searches for: the name that carries the ABI version, as an installed library has it. */
const INSTALLED =
  { win32: 'revenium.dll', darwin: 'librevenium.1.dylib' }[process.platform] ?? 'librevenium.so.1';

/** Whether this Node.js was built for musl, as Alpine's is: its libraries are others. */
const onMusl = () => process.platform === 'linux' && !process.report.getReport().header.glibcVersionRuntime;
/** The package that brings the library for this platform; one that depends on librevenium gets it with that. */
const packageName = () => `librevenium-${process.platform}-${process.arch}${onMusl() ? '-musl' : ''}`;

/** The places in order: a path, or for a place that does not exist the reason why it is passed over. */
function places(environment) {
  const chosen = environment.REVENIUM_LIBRARY;
  // An explicit choice that does not load is an error, never a reason to take another library.
  if (chosen) return [{ what: 'REVENIUM_LIBRARY', path: chosen }];
  const found = [];
  const packaged = packageName();
  try {
    found.push({ what: packaged, path: require.resolve(`${packaged}/${FILE}`) });
  } catch {
    found.push({ what: `package ${packaged}`, missing: 'not installed' });
  }
  for (const profile of ['release', 'debug']) {
    const file = path.join(__dirname, '..', '..', '..', 'target', profile, FILE);
    found.push(fs.existsSync(file) ? { what: 'checkout', path: file } : { what: file, missing: 'no such file' });
  }
  found.push({ what: "the loader's search path", path: INSTALLED });
  return found;
}

/** What to do about it: one sentence. */
function advice(environment) {
  if (environment.REVENIUM_LIBRARY) return 'REVENIUM_LIBRARY decides alone: name a file that can be loaded, or unset it.';
  const name = packageName();
  const built = `build it (make build in a checkout of librevenium) and set REVENIUM_LIBRARY to the path of ${FILE}, or install it (make install)`;
  return (
    `npm install ${name} brings it where there is such a package; npm leaves it out under --omit=optional, and when node_modules ` +
    `were installed on another platform. Or ${built}. In a bundle, leave librevenium and ${name} external. ` +
    'docs/install.md of librevenium has more.'
  );
}

/** Load the first library that `load` can load: `{ library, path }`. Throws one error that lists what was tried, with advice. */
function find(load, environment = process.env) {
  const tried = [];
  for (const place of places(environment)) {
    if (place.missing) {
      tried.push(`${place.what}: ${place.missing}`);
      continue;
    }
    try {
      return { library: load(place.path), path: place.path };
    } catch (cause) {
      tried.push(`${place.what} (${place.path}): ${cause.message}`);
    }
  }
  const list = tried.map((line) => `  - ${line}`).join('\n');
  throw new Error(`librevenium was not found. Tried:\n${list}\n${advice(environment)}`);
}

module.exports = { find };
