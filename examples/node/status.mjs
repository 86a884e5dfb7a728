// How the library is doing: the counters, then everything else.
import Anthropic, { abiVersion, flush, status, statusJson, version } from 'librevenium';
import { model } from './model.mjs';

const client = new Anthropic();
await client.messages.create({
  model,
  max_tokens: 100,
  messages: [{ role: 'user', content: 'One call, so that there is something to count.' }],
});
await flush(5000);

const state = status();
console.log(`librevenium ${version}, ABI ${abiVersion}`);
console.log(`provider: ${state.provider ?? 'unknown'}`);
console.log(`metering: ${state.metering === 'off' ? 'off, no key' : state.metering}`);
console.log(`calls: ${state.callsStarted} started, ${state.callsFailed} failed, ${state.callsInFlight} in flight`);
console.log(`events: ${state.eventsDelivered} delivered, ${state.eventsPending} pending, ${state.eventsDropped} dropped`);
console.log(JSON.stringify(statusJson(), null, 2));
