'use strict';
// RETRIES of frameworks. The official SDK says in a header which attempt a request is; a framework that tries again by
// itself says nothing. All that shows of it is the same request again, soon after it failed.

const { createHash } = require('node:crypto');

/** The longest wait between two attempts of the frameworks we know is LangChain's: 64 seconds. */
const WINDOW_MS = 70_000;
/** Failed requests that are remembered. */
const REMEMBERED = 1000;

/** Digest of a request → `{ attempt, at }` of the attempts that failed and after which none came, oldest first. */
const failures = new Map();
let lastFailure = -Infinity;

/** Which attempt of it this request is, from 0. */
function attemptOf(url, text) {
  // Nothing is looked at where nothing failed of late.
  if (performance.now() - lastFailure >= WINDOW_MS) failures.clear();
  if (failures.size === 0) return 0;
  const key = digest(url, text);
  const waiting = failures.get(key);
  if (!waiting) return 0;
  const { attempt, at } = waiting.shift();
  if (waiting.length === 0) failures.delete(key);
  return performance.now() - at < WINDOW_MS ? attempt + 1 : 0;
}

/** This attempt failed: another may come. */
function failed(url, text, attempt) {
  const at = performance.now();
  lastFailure = at;
  const key = digest(url, text);
  const waiting = failures.get(key) ?? [];
  waiting.push({ attempt, at });
  // The youngest stand last.
  failures.delete(key);
  failures.set(key, waiting);
  for (const [oldest, list] of failures) {
    if (failures.size <= REMEMBERED && at - list[list.length - 1].at < WINDOW_MS) break;
    failures.delete(oldest);
  }
}

/** A digest, so that no prompt is kept. */
const digest = (url, text) => createHash('sha256').update(url).update('\n').update(text).digest('base64');

module.exports = { attemptOf, failed };
