// One call and one use of a tool inside a trace that somebody else has begun: with REVENIUM_OTLP=1 both are its spans.
import Anthropic, { meterTool, withUsageMetadata } from 'librevenium';

// What HTTP servers get in the header of this name, and pass on. Where @opentelemetry/api is installed, its active span is
// the parent, and this is not needed.
const traceparent = process.env.TRACEPARENT ?? '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

const client = new Anthropic();
await withUsageMetadata({ organizationName: 'Acme', revenium: { traceparent } }, async () => {
  const message = await client.messages.create({
    model: process.env.MODEL ?? 'claude-sonnet-5-5',
    max_tokens: 100,
    messages: [{ role: 'user', content: 'Greet the world in five words.' }],
  });
  await meterTool('search', async () => {}); // where a tool would run
  console.log(message.content[0].text);
});
