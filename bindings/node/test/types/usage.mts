// How the package is used, as a user would write it; and what must not compile.

import Anthropic, { BudgetExceededError, RateLimitError, budgets, flush, init, jobs, meter, onLog, shutdown, status, verifyWebhook, withUsageMetadata } from 'librevenium';

const client = new Anthropic();
const params = { model: 'claude-sonnet-5-5', max_tokens: 10, messages: [{ role: 'user' as const, content: 'hi' }] };

const text: string = await withUsageMetadata({ organizationName: 'acme', subscriber: { id: 'u' } }, async () => {
  const message = await client.messages.create({ ...params, usage_metadata: { task_type: 'chat' } });
  return message.content[0]?.type === 'text' ? message.content[0].text : '';
});
const { data, response, request_id } = await client.messages.create(params).withResponse();
const id: string | null = request_id ?? response.headers.get('x') ?? data.id;

for await (const event of await client.messages.create({ ...params, stream: true })) {
  if (event.type === 'content_block_delta' && event.delta.type === 'text_delta') console.log(event.delta.text);
}
const stream = client.messages.stream(params, { signal: AbortSignal.timeout(1) }).on('text', (delta) => delta.length);
const final: string = await stream.finalText();

try {
  meter(() => client.messages.create(params, { maxRetries: 0 }));
} catch (error) {
  if (error instanceof RateLimitError) console.log(error.status, error.headers?.get('retry-after'), error.requestID, error.code);
}

init({ selective_metering: true });
const stop: () => void = onLog((level, line) => console.log(level === 'error', line.length), 'debug');
const pending: number = status().eventsPending;
const flushed: boolean = (await flush(100)) && (await shutdown());
console.log(text, id, final, stop, pending, flushed);

const messages: Anthropic.MessageParam[] = [{ role: 'user', content: 'hi' }];
const again: Anthropic.Message = await client.messages.create({ ...params, messages, usage_metadata: { agentic_job_id: 'j' } });
messages.push({ role: 'assistant', content: again.content }, { role: 'user', content: [{ type: 'text', text: 'more' }] });

const answer: number = await jobs.run('loan-1', { type: 'loan', organizationName: 'acme' }, async (job) => {
  await job.reportOutcome({ executionStatus: 'SUCCESS', outcomeType: 'CONVERTED', outcomeValue: 5, metrics: [{ key: 'q', value: 1 }] });
  return 7;
});
try {
  const allowed: true = budgets.check(params).allowed;
  console.log(answer, allowed, verifyWebhook({ secret: ['a'], timestamp: '1', signature: undefined, body: '' }));
} catch (error) {
  if (error instanceof BudgetExceededError) console.log(error.ruleName, error.threshold, error.error.error.type === 'billing_error');
}
// @ts-expect-error no such status
jobs.reportOutcome('j', { executionStatus: 'DONE' });
// @ts-expect-error a misspelt field
jobs.reportOutcome('j', { executionStatus: 'SUCCESS', monetaryValue: 5 });

// @ts-expect-error a misspelt field
withUsageMetadata({ organisationName: 'acme' }, () => 1);
// @ts-expect-error a misspelt field in snake_case
client.messages.create({ ...params, usage_metadata: { task_typ: 'chat' } });
// @ts-expect-error a number
withUsageMetadata({ retryNumber: 'one' }, () => 1);
// @ts-expect-error messages are required
client.messages.create({ model: 'm', max_tokens: 1 });
// @ts-expect-error there is no such level
onLog(() => {}, 'loud');
// @ts-expect-error a number of milliseconds
flush('soon');
