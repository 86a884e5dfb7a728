// Jobs: calls that belong to one unit of work, and what came of it. Needs a key that may do more than meter.
import Anthropic, { flush, jobs } from 'librevenium';
import { model, textOf } from './model.mjs';

const client = new Anthropic();

// Every call made inside carries the job's id. When the function throws, the job is reported as failed.
await jobs.run('loan-1', { type: 'loan' }, async () => {
  const messages = [{ role: 'user', content: 'Is the loan granted?' }];
  console.log(textOf(await client.messages.create({ model, max_tokens: 100, messages })));
});

// Once its records have arrived, Revenium knows the job. Until then it is asked again, for at most ten seconds.
await flush(10_000);
const outcome = { executionStatus: 'SUCCESS', outcomeType: 'CONVERTED', outcomeValue: 500 };
await jobs.reportOutcome('loan-1', outcome, { timeout: 10_000 });
console.log('jobs.report_outcome: done');
await jobs.amendOutcome('loan-1', { outcomeValue: 700, reason: 'corrected' }, { timeout: 10_000 });
console.log('jobs.amend_outcome: done');
