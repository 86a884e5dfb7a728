'use strict';
// Headers on their way in and out.

/** Later layers go over earlier ones, whatever the case of a name; null takes a header away, undefined says nothing. */
function merge(...layers) {
  const merged = {};
  for (const layer of layers) {
    const entries = typeof layer?.entries === 'function' ? layer.entries() : Object.entries(layer ?? {});
    for (const [name, value] of entries) {
      if (value !== undefined) merged[name.toLowerCase()] = value === null ? null : String(value);
    }
  }
  return merged;
}

/** A response's headers. A value that no Headers may hold, bytes beyond Latin-1 say, is left out. */
function ofResponse(object) {
  const headers = new Headers();
  for (const [name, value] of Object.entries(object ?? {})) {
    try {
      headers.append(name, value);
    } catch {
      // It was the provider's, and nothing depends on it.
    }
  }
  return headers;
}

module.exports = { merge, ofResponse };
