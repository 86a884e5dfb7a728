// One call 10,000 times: prints the resident memory after each thousand, in KiB, and the open descriptors at both ends.

import { readFileSync, readdirSync } from 'node:fs';
import Anthropic, { flush, status, withUsageMetadata } from 'librevenium';
import { params } from './tools.mjs';

const client = new Anthropic();
const rss = () => (gc(), Number(readFileSync('/proc/self/status', 'utf8').match(/VmRSS:\s+(\d+)/)[1]));
const descriptors = () => readdirSync('/proc/self/fd').length;

async function call(n) {
  await withUsageMetadata({ agent: 'leak', taskType: `t${n % 7}` }, async () => {
    if (n % 10 === 0) await client.messages.create(params('', { max_tokens: 0 })).catch(() => {});
    else if (n % 3 === 0) for await (const _ of await client.messages.create(params('x', { stream: true })));
    else await client.messages.create(params('x'));
  });
}

const sizes = [];
let open;
for (let thousand = 0; thousand < 10; thousand++) {
  for (let hundred = 0; hundred < 10; hundred++) {
    await Promise.all(Array.from({ length: 100 }, (_, n) => call(n)));
  }
  await flush(30000);
  sizes.push(rss());
  open ??= descriptors();
}
console.log(JSON.stringify({ sizes, descriptors: [open, descriptors()], status: status() }));
