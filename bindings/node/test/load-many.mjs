// 2,000 calls in flight at a time: prints threads and memory at that moment, and how many replies were right.

import { readFileSync } from 'node:fs';
import Anthropic, { status } from 'librevenium';
import { params } from './tools.mjs';

const COUNT = 2000;
const client = new Anthropic({ baseURL: process.env.BASE_URL, maxRetries: 0 });
await client.withOptions({ baseURL: null }).messages.create(params());

const proc = (name) => Number(readFileSync('/proc/self/status', 'utf8').match(new RegExp(`${name}:\\s+(\\d+)`))[1]);
const before = { threads: proc('Threads'), rss: proc('VmRSS') };
const calls = Array.from({ length: COUNT }, (_, n) => client.messages.create(params(`call ${n}`)));
await new Promise((resolve) => setImmediate(resolve));
const inFlight = status().callsInFlight;
// They wait for the provider: all of them, until it answers the first.
const first = await Promise.race(calls);
const during = { threads: proc('Threads'), rss: proc('VmRSS') };
const right = (await Promise.all(calls)).filter((message, n) => message.content[0].text === `You said: call ${n}`).length;
console.log(JSON.stringify({ inFlight, before, during, right, first: first.type }));
