// Scopes: metadata that many calls share, and the choice of what is metered at all.
import Anthropic, { init, meter, withUsageMetadata } from 'librevenium';
import { model, textOf } from './model.mjs';

// Selective metering: only calls in a marked scope are metered. Without it every call is.
init({ selective_metering: true });
const client = new Anthropic();

async function ask(content, more) {
  const params = { model, max_tokens: 100, messages: [{ role: 'user', content }], ...more };
  const { data, info } = await client.messages.create(params).withInfo();
  console.log(`${textOf(data)} (${info.metered ? 'metered' : 'not metered'})`);
}

// A scope holds for everything that its function starts, whatever other requests do meanwhile. The mark is inherited.
const customer = (fn) => meter(() => withUsageMetadata({ organizationName: 'Acme', productName: 'Support Desk' }, fn));
const agent = (fn) => customer(() => withUsageMetadata({ agent: 'summarizer', taskType: 'summarize' }, fn));

await customer(() => ask("In the customer's scope."));
await agent(() => ask("In the agent's scope inside it."));

// What a call says itself wins over its scope.
await agent(() => ask('With a task type of its own.', { usage_metadata: { taskType: 'translate' } }));

// Code that knows nothing of scopes is in the one of its caller, also after a pause.
await agent(async () => {
  await new Promise((resolve) => setTimeout(resolve, 1));
  await ask('In the scope of this thread.');
  await withUsageMetadata({ traceId: 'trace-9f2c' }, () => ask('In a scope pushed over it.'));
});

// Outside of every scope nothing is marked, unless the call is.
await ask('In no scope.');
await ask('In no scope, but marked.', { revenium: { meter: true } });
