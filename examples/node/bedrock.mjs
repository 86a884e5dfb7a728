// Claude through AWS Bedrock: the same calls and results. AWS credentials come from where AWS's own tools take them.
import Anthropic, { init } from 'librevenium';
import { model, textOf } from './model.mjs';

// Without "provider", Bedrock is asked when there are AWS credentials and no key of Anthropic.
// bedrock_fallback: true, the default, would ask Anthropic where Bedrock fails and there is a key.
init({ provider: 'bedrock', bedrock_fallback: false });
const client = new Anthropic();
// The model is a name of the Messages API, an id of Bedrock or an ARN.
const params = (content) => ({ model, max_tokens: 100, messages: [{ role: 'user', content }] });

const { data, info } = await client.messages
  .create({ ...params('Greet the world from a region.'), usage_metadata: { organizationName: 'Acme', taskType: 'greeting' } })
  .withInfo();
console.log(textOf(data));
console.log(`answered by Bedrock: ${info.provider === 'bedrock' ? 'yes' : 'no'}`);

// This call chooses its region.
const stream = client.messages.stream({ ...params('Now from another one.'), revenium: { aws_region: 'eu-central-1' } });
stream.on('text', (text) => process.stdout.write(text));
const { usage } = await stream.finalMessage();
console.log(`\n${usage.input_tokens} input tokens, ${usage.output_tokens} output tokens`);
