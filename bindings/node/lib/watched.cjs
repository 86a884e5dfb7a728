'use strict';
// What goes to another service than Anthropic's own passes untouched, and is metered by what passes: Claude in AWS
// Bedrock, Google Vertex AI and Microsoft Foundry, and the results of Message Batches.

const { BudgetExceededError } = require('./errors.cjs');
const { Tap, internal } = require('./observed.cjs');
const scopes = require('./scopes.cjs').internal;
const { warnUnmetered } = require('./warn.cjs');

const BEDROCK = /\/model\/([^/]+)\/invoke(-with-response-stream)?$/;
const VERTEX = /\/publishers\/anthropic\/models\/([^/:]+):(rawPredict|streamRawPredict)$/;
const RESULTS = /\/v1\/messages\/batches\/([^/]+)\/results$/;

/** `{ provider, model, region, streamed }` of a request to one of them, or null. */
function serviceOf(method, url, headers) {
  if (method.toUpperCase() !== 'POST') return null;
  let part = BEDROCK.exec(url.pathname);
  if (part) {
    const signed = /Credential=[^/]+\/\d{8}\/([a-z0-9-]+)\//.exec(headers.get('authorization') ?? '');
    const hosted = /^bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\./.exec(url.hostname);
    return { provider: 'bedrock', model: decoded(part[1]), region: (signed ?? hosted)?.[1], streamed: Boolean(part[2]) };
  }
  part = VERTEX.exec(url.pathname);
  if (part && part[1] !== 'count-tokens') {
    const region = /\/locations\/([a-z0-9-]+)\//.exec(url.pathname)?.[1];
    return { provider: 'vertex', model: decoded(part[1]), region, streamed: part[2] === 'streamRawPredict' };
  }
  // The SDK's client for Foundry says so, wherever it is sent to.
  const isFoundry = url.hostname.endsWith('.azure.com') || /^AnthropicFoundry\b/.test(headers.get('user-agent') ?? '');
  return isFoundry && url.pathname.endsWith('/v1/messages') ? { provider: 'foundry' } : null;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The id of the batch whose results a request asks for, or undefined. */
const batchOf = (method, url) => (method.toUpperCase() === 'GET' ? RESULTS.exec(url.pathname)?.[1] : undefined);

/** Pass a request on, and meter what comes back. `last`: whoever made it will not try again. */
async function watch(service, text, headers, last, layer, input, init) {
  const startedAt = Date.now();
  const open = () => begun(service, text, startedAt, choicesOf(headers, last), layer);
  let response;
  try {
    response = await globalThis.fetch(input, init);
  } catch (error) {
    open()?.end({ error: causeOf(error) });
    throw error;
  }
  const tap = open();
  if (tap === null) return response;
  if (response.body === null) {
    tap.end({ status: response.status });
    return response;
  }
  return passing(response, {
    chunk: (bytes) => tap.write(bytes),
    end: () => tap.end(response.ok ? null : { status: response.status }),
    fail: (error) => tap.end(response.ok ? { error: causeOf(error) } : { status: response.status }),
    cancel: () => (response.ok ? tap.close() : tap.end({ status: response.status })),
  });
}

/** What the request says of itself, as of a call that the library makes. */
function choicesOf(headers, last) {
  const choices = { meter_retryable: last, dropin: true };
  for (const name of ['traceparent', 'tracestate']) {
    const value = headers.get(name);
    if (value !== null) choices[name] = value;
  }
  return choices;
}

/** The refusal of a budget, or null. Trouble of the library's own lets the call out. */
function refusal(service, text, layer) {
  try {
    internal.checkBudget(`{"request":${text},"admit":true,${JSON.stringify(service).slice(1)}`, layer);
    return null;
  } catch (error) {
    return error instanceof BudgetExceededError ? error : null;
  }
}

/** A tap, or null: metering never fails a call. */
function begun(service, text, startedAt, choices, layer) {
  const told = JSON.stringify({ ...service, started_at: startedAt });
  try {
    const within = scopes.layer(layer, { revenium: choices });
    return new Tap(`{"request":${text},${told.slice(1)}`, within);
  } catch (error) {
    warnUnmetered(error);
    return null;
  }
}

/** Pass a batch's results on, and meter them line by line. */
async function results(batch, input, init) {
  const response = await globalThis.fetch(input, init);
  if (!response.ok || response.body === null) return response;
  const layer = scopes.current();
  const decoder = new TextDecoder();
  let rest = '';
  const take = (line) => {
    if (line.trim() === '') return;
    try {
      internal.recordText(internal.batchText(batch, line), layer);
    } catch (error) {
      warnUnmetered(error);
    }
  };
  return passing(response, {
    chunk(bytes) {
      const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n');
      rest = lines.pop();
      lines.forEach(take);
    },
    end: () => take(rest),
    fail() {},
    cancel() {},
  });
}

/** The same response, whose body tells `watcher` what is read of it. Read only as it is read. */
function passing(response, watcher) {
  const reader = response.body.getReader();
  const source = {
    async pull(controller) {
      let read;
      try {
        read = await reader.read();
      } catch (error) {
        watcher.fail(error);
        throw error;
      }
      if (read.done) {
        watcher.end();
        controller.close();
        return;
      }
      watcher.chunk(read.value);
      controller.enqueue(read.value);
    },
    cancel(reason) {
      watcher.cancel();
      return reader.cancel(reason);
    },
  };
  const { status, statusText, headers } = response;
  const made = new Response(new ReadableStream(source, { highWaterMark: 0 }), { status, statusText, headers });
  return Object.defineProperty(made, 'url', { value: response.url });
}

const causeOf = (error) =>
  error?.name === 'AbortError' ? 'cancelled' : /timeout/i.test(`${error?.name} ${error?.cause?.name}`) ? 'timeout' : 'connection';

module.exports = { serviceOf, batchOf, refusal, watch, results };
