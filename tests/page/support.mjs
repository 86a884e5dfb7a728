// A browser, and records to look at.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, request as ask } from 'node:http';
import { connect } from 'node:net';
import { after, before } from 'node:test';
import { chromium } from 'playwright-core';

export const SANDBOX = process.env.SANDBOX_URL;
export const OUT = new URL('../../out/page/', import.meta.url).pathname;

let browser;
before(async () => {
  // Chromium's own sandbox wants a user that is not root.
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ['--no-sandbox'] });
});
after(() => browser?.close());

/** A page that has watched for trouble since it was opened; `use` gets it, and at the end there must have been none. `lost`:
 * but for a server that is gone. */
export async function withPage(use, { url = `${SANDBOX}/`, width = 1400, height = 1000, scheme = 'light', lost = false } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, acceptDownloads: true });
  const trouble = [];
  const home = new URL(url).host;
  context.on('request', (request) => {
    const { protocol, host } = new URL(request.url());
    if (!['blob:', 'data:'].includes(protocol) && host !== home) trouble.push(`a request to ${request.url()}`);
  });
  const page = await context.newPage();
  // The browser says itself that a server is gone.
  const expected = (text) => lost && /^Failed to load resource: net::ERR_/.test(text);
  page.on('console', (message) => message.type() === 'error' && !expected(message.text()) && trouble.push(message.text()));
  page.on('pageerror', (error) => trouble.push(error.stack));
  try {
    await page.goto(url);
    await page.locator('#connection[data-state=live]').waitFor();
    await use(page);
  } finally {
    await context.close();
  }
  assert.deepEqual(trouble, []);
}

const agent = new Agent({ keepAlive: true, maxSockets: 16 });

/** One request to the sandbox: status and body. */
export function send(method, path, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const sent = ask(SANDBOX + path, { method, agent, headers }, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('end', () => resolve({ status: answer.statusCode, text: Buffer.concat(parts).toString() }));
      answer.on('error', reject);
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

let number = 0;

export function record(more = {}) {
  number += 1;
  const now = new Date().toISOString();
  return {
    model: 'claude-sonnet-5-5', provider: 'ANTHROPIC', transactionId: `msg_${number}`,
    inputTokenCount: 1000, outputTokenCount: 100, totalTokenCount: 1100, requestDuration: 400,
    requestTime: now, responseTime: now, completionStartTime: now, timeToFirstToken: 150,
    stopReason: 'END', costType: 'AI', isStreamed: true, middlewareSource: 'revenium-anthropic-node', ...more,
  };
}

export async function meter(body) {
  const headers = { 'x-api-key': 'rev_sk_page', 'idempotency-key': body.transactionId };
  const { status, text } = await send('POST', '/meter/v2/ai/completions', JSON.stringify(body), headers);
  assert.equal(status, 201, text);
}

export const forget = () => send('DELETE', '/sandbox/records');

/** Until the list on the page has so many records. */
export const shows = (page, count) => page.locator(`#count[data-shown="${count}"]`).waitFor();

/** Half an hour of several customers. */
export function busyHalfHour(count) {
  const models = ['claude-opus-5-5', 'claude-sonnet-5-5', 'claude-sonnet-5-5', 'claude-haiku-5-5', 'us.anthropic.claude-sonnet-4-5-20250929-v1:0'];
  const customers = [['Acme', 'Search'], ['Acme', 'Support'], ['Globex', 'Support'], ['Initech', 'Drafting']];
  const start = Date.now() - 30 * 60000;
  // The same waves each time, and no two alike.
  const wave = (at, speed) => 0.5 + 0.5 * Math.sin(at * speed) * Math.cos(at * 0.013);
  return Array.from({ length: count }, (_, at) => {
    const time = start + (at * 30 * 60000) / count;
    const [organizationName, productName] = customers[Math.floor(wave(at, 0.37) * customers.length) % customers.length];
    const tokens = Math.round(300 + 2400 * wave(at, 0.11));
    const wait = Math.round(500 + 1800 * wave(at, 0.23));
    const failed = at % 41 === 17;
    return record({
      model: models[Math.floor(wave(at, 0.71) * models.length) % models.length],
      organizationName, productName, agent: 'assistant', taskType: ['chat', 'summary', 'classify'][at % 3],
      subscriber: { id: `user-${at % 7}` }, inputTokenCount: tokens, outputTokenCount: failed ? 0 : Math.round(tokens / 5),
      totalTokenCount: tokens + Math.round(tokens / 5), cacheReadTokenCount: at % 4 ? tokens * 3 : 0,
      requestTime: new Date(time).toISOString(), responseTime: new Date(time + wait).toISOString(),
      completionStartTime: new Date(time + wait / 3).toISOString(), requestDuration: wait, timeToFirstToken: Math.round(wait / 3),
      ...(failed ? { stopReason: 'ERROR', errorReason: 'OverloadedError (HTTP 529)', errorCode: 529 } : {}),
    });
  });
}

/** Many at once, one after the other on a connection that doesn't wait for the answers. */
export async function meterAll(records) {
  const { hostname, port } = new URL(SANDBOX);
  const socket = connect(Number(port), hostname);
  const head = `POST /meter/v2/ai/completions HTTP/1.1\r\nhost: ${hostname}\r\nx-api-key: rev_sk_page\r\n`;
  const answered = new Promise((resolve, reject) => {
    let taken = 0;
    let rest = '';
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`${taken} of ${records.length} records were taken: ${rest}`)));
    socket.on('data', (data) => {
      const parts = (rest + data).split('HTTP/1.1 201 Created');
      taken += parts.length - 1;
      rest = parts.pop().slice(-30);
      if (taken === records.length) resolve();
    });
  });
  for (const record of records) {
    const body = JSON.stringify(record);
    const more = `idempotency-key: ${record.transactionId}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
    if (!socket.write(head + more)) await once(socket, 'drain');
  }
  await answered;
  socket.destroy();
}
