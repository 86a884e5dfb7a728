// Calls that something else made, each metered once: one that is over, and one whose reply passes by.
import { record, Tap, withUsageMetadata } from 'librevenium';
import { model } from './model.mjs';

const request = { model, max_tokens: 100, messages: [{ role: 'user', content: 'Hello!' }] };
// What a gateway hands on: the events of a reply, cut anywhere.
const pieces = [
  `event: message_start\ndata: {"type":"message_start","message":{"id":"msg_2","model":"${model}","usage":{"inp`,
  'ut_tokens":9,"output_tokens":1}}}\n\nevent: content_block_delta\ndata: {"type":"content_block_delta","index":0,' +
    '"delta":{"type":"text_delta","text":"Hi there."}}\n\n',
  'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},' +
    '"usage":{"output_tokens":4}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n',
];

// Whose they were comes from a scope, as it does for calls of this library.
withUsageMetadata({ organizationName: 'Acme' }, () => {
  const usage = { input_tokens: 9, output_tokens: 3 };
  const response = { id: 'msg_1', content: [{ type: 'text', text: 'Hi.' }], stop_reason: 'end_turn', usage };
  record({ provider: 'vertex', region: 'europe-west1', durationMs: 812, request, response });
  console.log('told when it was over (recorded)');

  const tap = new Tap({ request });
  for (const piece of pieces) tap.write(piece);
  tap.end();
  console.log('watched as it passed by (recorded)');
});
