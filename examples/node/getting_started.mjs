// One call: its text and what it used.
import Anthropic from 'librevenium';

const client = new Anthropic();
const message = await client.messages.create({
  model: process.env.MODEL ?? 'claude-sonnet-5-5',
  max_tokens: 100,
  messages: [{ role: 'user', content: 'Greet the world in five words.' }],
});
console.log(message.content[0].text);
console.log(`${message.usage.input_tokens} input tokens, ${message.usage.output_tokens} output tokens`);
