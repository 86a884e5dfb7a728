// What the Node.js binding does where no event loop takes the library's wake descriptor: calls in every way, and an end.

import assert from 'node:assert/strict';
import Anthropic, { flush, onLog, shutdown, status } from 'librevenium';

const client = new Anthropic();
const params = { model: 'claude-haiku-4-5', max_tokens: 20, messages: [{ role: 'user', content: 'hello' }] };
assert.equal(process.platform, 'win32');
const lines = [];
onLog((level, line) => lines.push(line), 'debug');

assert.equal((await client.messages.create(params)).content[0].text, 'You said: hello');
const events = [];
for await (const event of await client.messages.create({ ...params, stream: true })) events.push(event.type);
assert.equal(events.at(-1), 'message_stop');
assert.equal((await client.messages.stream(params).finalMessage()).content[0].text, 'You said: hello');
const cut = await client.messages.create({ ...params, stream: true });
for await (const event of cut) if (event.type === 'content_block_delta') break;
assert.equal((await Promise.all(Array.from({ length: 200 }, () => client.messages.create(params)))).length, 200);
await assert.rejects(client.messages.create({ model: 'x' }), /./);

assert.equal(await flush(20000), true);
assert.ok(lines.length > 0);
const { callsInFlight, eventsPending, eventsDelivered } = status();
assert.deepEqual([callsInFlight, eventsPending], [0, 0]);
await shutdown();
console.log(`${eventsDelivered} records passed on`);
