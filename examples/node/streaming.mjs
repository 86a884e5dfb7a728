// The text as it comes, then what it used.
import Anthropic from 'librevenium';
import { model } from './model.mjs';

const client = new Anthropic();
const stream = client.messages.stream({
  model,
  max_tokens: 200,
  messages: [{ role: 'user', content: 'Name the planets, nearest to the sun first.' }],
  usage_metadata: { organizationName: 'Acme', taskType: 'teach' },
});
stream.on('text', (text) => process.stdout.write(text));
const { usage } = await stream.finalMessage();
console.log(`\n${usage.input_tokens} input tokens, ${usage.output_tokens} output tokens`);
