// The official SDK, metered: one line is new.
import Anthropic from '@anthropic-ai/sdk';
import { fetch, withUsageMetadata } from 'librevenium';
import { model, textOf } from './model.mjs';

const client = new Anthropic({ fetch }); // this one
const params = (content) => ({ model, max_tokens: 100, messages: [{ role: 'user', content }] });

await withUsageMetadata({ organizationName: 'Acme', productName: 'Support Desk' }, async () => {
  console.log(textOf(await client.messages.create(params('Greet the world in five words.'))));

  const stream = client.messages.stream({ ...params('Say it again, slowly.'), usage_metadata: { taskType: 'greet' } });
  stream.on('text', (text) => process.stdout.write(text));
  const { usage } = await stream.finalMessage();
  console.log(`\n${usage.input_tokens} input tokens, ${usage.output_tokens} output tokens`);
});
