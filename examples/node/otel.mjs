// One call inside a trace that somebody else has begun: with REVENIUM_OTLP=1 it is a span of that trace.
import Anthropic from 'librevenium';

// What HTTP servers get in the header of this name, and pass on. Where @opentelemetry/api is installed, its active span is
// the parent, and this is not needed.
const traceparent = process.env.TRACEPARENT ?? '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

const client = new Anthropic();
const message = await client.messages.create({
  model: process.env.MODEL ?? 'claude-sonnet-5-5',
  max_tokens: 100,
  messages: [{ role: 'user', content: 'Greet the world in five words.' }],
  usage_metadata: { organizationName: 'Acme' },
  revenium: { traceparent },
});
console.log(message.content[0].text);
