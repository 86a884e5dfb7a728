// A conversation with a tool: the model asks for it, the program runs it, the model answers.
import Anthropic, { withUsageMetadata } from 'librevenium';
import { model, textOf } from './model.mjs';

const weather = (city) => (city === 'Rome' ? '21 degrees, sunny' : '4 degrees, snow');

/** Runs each tool that `content` asks for, and gives their results. */
function resultsOf(content) {
  return content.filter((block) => block.type === 'tool_use').map(({ id, name, input }) => {
    const found = weather(input.city);
    console.log(`${name} ${input.city}: ${found}`);
    return { type: 'tool_result', tool_use_id: id, content: found };
  });
}

const client = new Anthropic();
const messages = [{ role: 'user', content: 'What is the weather in Rome?' }];
const tools = [
  {
    name: 'weather',
    description: 'The weather in a city, now.',
    input_schema: {
      type: 'object',
      properties: { city: { type: 'string', enum: ['Rome', 'Oslo'] } },
      required: ['city'],
    },
  },
];

await withUsageMetadata({ organizationName: 'Acme', taskType: 'weather', traceId: 'conversation-1' }, async () => {
  const used = { input: 0, output: 0 };
  // The first answer has to use a tool; from then on the model chooses.
  for (let tool_choice = { type: 'any' }; ; tool_choice = undefined) {
    const { content, stop_reason, usage } = await client.messages.create({ model, max_tokens: 200, messages, tools, tool_choice });
    used.input += usage.input_tokens;
    used.output += usage.output_tokens;
    if (stop_reason !== 'tool_use') {
      console.log(textOf({ content }));
      break;
    }
    messages.push({ role: 'assistant', content }, { role: 'user', content: resultsOf(content) });
  }
  console.log(`${used.input} input tokens, ${used.output} output tokens`);
});
