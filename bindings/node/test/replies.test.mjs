// Replies as gateways hand them on: over revenium.fetch the official SDK makes of them what it makes of the same reply
// untouched, alone. Each is one record.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { beforeEach, describe, test } from 'node:test';
import zlib from 'node:zlib';
import Current from 'sdk-current';
import Previous from 'sdk-previous';
import { fetch as metered } from 'librevenium';
import { fresh, params, place, plan, records } from './tools.mjs';

beforeEach(fresh);

const usage = { input_tokens: 25, output_tokens: 15 };
const message = {
  id: 'msg_1', type: 'message', role: 'assistant', model: 'm', stop_reason: 'end_turn', stop_sequence: null,
  content: [{ type: 'text', text: 'Hällo there.' }], usage,
};
const delta = (text) => ({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } });
const events = [
  { type: 'message_start', message: { ...message, content: [], stop_reason: null, usage: { ...usage, output_tokens: 1 } } },
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
  delta('Hällo'),
  delta(' there.'),
  { type: 'content_block_stop', index: 0 },
  { type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage: { output_tokens: 15 } },
  { type: 'message_stop' },
];
const overloaded = { type: 'error', error: { type: 'overloaded_error', message: 'Busy' } };
const sse = (all) => all.map((event) => Buffer.from(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`));
const forms = { events: [sse(events), 'text/event-stream'], JSON: [[Buffer.from(JSON.stringify(message))], 'application/json'] };

const CODERS = {
  gzip: [zlib.createGzip, zlib.constants.Z_SYNC_FLUSH],
  deflate: [zlib.createDeflate, zlib.constants.Z_SYNC_FLUSH],
  'deflate, raw': [zlib.createDeflateRaw, zlib.constants.Z_SYNC_FLUSH],
  br: [zlib.createBrotliCompress, zlib.constants.BROTLI_OPERATION_FLUSH],
  // Since Node.js 22.
  ...(zlib.createZstdCompress && { zstd: [zlib.createZstdCompress, zlib.constants.ZSTD_e_flush] }),
};

/** `pieces` in this coding, each flushed. */
async function compressed(coding, pieces) {
  const [create, flush] = CODERS[coding];
  const coder = create();
  const coded = [];
  for (const piece of pieces) {
    coder.write(piece);
    await new Promise((resolve) => coder.flush(flush, resolve));
    coded.push(coder.read() ?? Buffer.alloc(0));
  }
  coder.end();
  coder.on('data', (rest) => coded.push(rest));
  await once(coder, 'end');
  return coded;
}

const answer = (pieces, kind, coding, end = 'ok') => ({
  chunks: pieces.map((piece) => ({ base64: piece.toString('base64') })),
  headers: { 'content-type': kind, ...(coding && { 'content-encoding': coding }) },
  end,
});
const bytewise = (pieces) => [...Buffer.concat(pieces)].map((byte) => Buffer.from([byte]));

for (const [name, SDK] of [['sdk-current', Current], ['sdk-previous', Previous]]) {
  describe(name, () => {
    /** What a program sees of this answer. */
    const seen = async (planned, stream, options) => {
      const { path, baseURL } = place();
      await plan(path, [planned]);
      const client = new SDK({ apiKey: 'k', baseURL, maxRetries: 0, ...options });
      try {
        if (!stream) return { ...(await client.messages.create(params())) };
        const kinds = [];
        const streamed = client.messages.stream(params()).on('streamEvent', (event) => kinds.push(event.type));
        return { final: { ...(await streamed.finalMessage()) }, kinds };
      } catch (error) {
        return { kind: error.constructor.name, status: error.status, error: error.error };
      }
    };
    const ours = { fetch: metered };

    for (const [form, [pieces, kind]] of Object.entries(forms)) {
      const stream = form === 'events';
      test(`${form}, compressed in any way, flushed, byte by byte, cut at the end`, async () => {
        const plain = await seen(answer(pieces, kind), stream);
        assert.equal((plain.final ?? plain).content[0].text, 'Hällo there.');
        let count = 0;
        for (const coding of Object.keys(CODERS)) {
          const coded = await compressed(coding, pieces);
          const declared = coding.split(',')[0];
          const variants = [coded, bytewise(coded)];
          if (coding === 'gzip') variants.push([Buffer.concat(coded).subarray(0, -8)]);
          for (const variant of variants) {
            assert.deepEqual(await seen(answer(variant, kind, declared), stream, ours), plain, coding);
            count++;
          }
          // Announced and not done.
          assert.deepEqual(await seen(answer(pieces, kind, declared), stream, ours), plain, coding);
          count++;
        }
        for (const record of await records(count)) {
          assert.deepEqual([record.outputTokenCount, record.isStreamed, record.stopReason], [15, stream, 'END']);
        }
      });
    }

    test('an error with the status of a success is what it is to the SDK alone', async () => {
      const bodies = [overloaded, { error: overloaded.error }, { error: { message: 'no', code: 502 } }];
      for (const body of bodies) {
        const text = [Buffer.from(JSON.stringify(body))];
        for (const stream of [false, true]) {
          const planned = answer(text, 'application/json');
          assert.deepEqual(await seen(planned, stream, ours), await seen(planned, stream), JSON.stringify([stream, body]));
        }
      }
      const inStream = answer(sse([...events.slice(0, 3), overloaded]), 'text/event-stream');
      assert.deepEqual(await seen(inStream, true, ours), await seen(inStream, true));
      const all = await records(2 * bodies.length + 1);
      assert.deepEqual(new Set(all.map((record) => record.stopReason)), new Set(['ERROR']));
    });

    test('an error that is labelled as events is an error, where the SDK alone sees nothing', async () => {
      const planned = answer([Buffer.from(JSON.stringify(overloaded))], 'text/event-stream');
      const found = await seen(planned, true, ours);
      assert.equal(found.error?.error?.type ?? found.error?.type, 'overloaded_error', JSON.stringify(found));
      assert.equal((await records(1))[0].stopReason, 'ERROR');
    });

    test('what is mislabelled is what it is to the SDK alone', async () => {
      const cases = [
        [true, forms.events[0], 'application/json'],
        [true, forms.events[0], 'text/plain'],
        [true, forms.JSON[0], 'text/event-stream'],
        [true, forms.JSON[0], 'application/json'],
      ];
      for (const [stream, pieces, kind] of cases) {
        const planned = answer(pieces, kind);
        assert.deepEqual(await seen(planned, stream, ours), await seen(planned, stream), `${stream} ${kind}`);
      }
      for (const record of await records(cases.length)) assert.equal(record.outputTokenCount, 15);
    });

    test('a message is a message, whatever it is labelled and however it came', async () => {
      const labels = ['text/event-stream', 'text/plain', 'application/octet-stream'];
      for (const kind of labels) assert.deepEqual(await seen(answer(forms.JSON[0], kind), false, ours), message);
      for (const kind of [...labels, 'application/json']) {
        assert.deepEqual(await seen(answer(forms.events[0], kind), false, ours), message, kind);
      }
      for (const record of await records(2 * labels.length + 1)) assert.equal(record.outputTokenCount, 15);
    });
  });
}
