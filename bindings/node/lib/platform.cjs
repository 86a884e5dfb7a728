'use strict';
// What else Revenium offers: jobs and their outcomes, economics, budgets, webhooks.

const core = require('./core.cjs');
const { CODE } = require('./constants.cjs');
const { internal } = require('./errors.cjs');
const { native } = require('./native.cjs');
const observed = require('./observed.cjs').internal;
const { withUsageMetadata, internal: scopes } = require('./scopes.cjs');

/** How long the report of a job that failed may take. */
const PATIENCE_MS = 30_000;

/**
 * Ask Revenium for something: `operation` is one of those in revenium.h. Rejects with ReveniumError before anything is
 * sent, with the class of the HTTP status for Revenium's refusals.
 */
function platform(operation, params = {}, { signal, timeout } = {}) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    let call = null;
    const abort = () => call?.cancel();
    const text = JSON.stringify(timeout === undefined ? params : { ...params, timeoutMs: timeout });
    call = core.ask(operation, text, {
      result(ended) {
        signal?.removeEventListener('abort', abort);
        if (ended.code === CODE.OK) resolve(JSON.parse(ended.body));
        else if (ended.code === CODE.CANCELLED && signal?.aborted) reject(signal.reason);
        else reject(internal.ofCall({ ...ended, info: JSON.parse(ended.info) }));
      },
    });
    signal?.addEventListener('abort', abort, { once: true });
  });
}

const jobs = {
  create: (id, fields, options) => platform('jobs.create', { ...fields, id }, options),
  list: (filters, options) => platform('jobs.list', filters, options),
  get: (id, options) => platform('jobs.get', { id }, options),
  roi: (id, options) => platform('jobs.roi', { id }, options),
  transactions: (id, page, options) => platform('jobs.transactions', { ...page, id }, options),
  types: (options) => platform('jobs.types', {}, options),
  conversionFunnel: (filters, options) => platform('jobs.conversion_funnel', filters, options),
  reportOutcome: (id, outcome, options) => platform('jobs.report_outcome', { ...outcome, id }, options),
  amendOutcome: (id, change, options) => platform('jobs.amend_outcome', { ...change, id }, options),
  appendMetrics: (id, metrics, options) => platform('jobs.append_metrics', { id, metrics }, options),
  outcomeHistory: (id, options) => platform('jobs.outcome_history', { id }, options),
  run,
};

/**
 * Run `fn(job)` as the job `id`: its calls carry the job's fields. When it throws, the job is reported as FAILED with the
 * error's class, and the error goes on.
 */
async function run(id, { name, type, version, ...metadata }, fn) {
  const fields = { ...metadata, agenticJobId: id };
  if (name !== undefined) fields.agenticJobName = name;
  if (type !== undefined) fields.agenticJobType = type;
  if (version !== undefined) fields.agenticJobVersion = version;
  let reported = false;
  const job = {
    id,
    async reportOutcome(outcome, options) {
      const answer = await jobs.reportOutcome(id, outcome, options);
      reported = true;
      return answer;
    },
  };
  try {
    return await withUsageMetadata(fields, async () => fn(job));
  } catch (error) {
    if (!reported) await reportFailure(id, error);
    throw error;
  }
}

/** The error that ended the job is what its caller gets, whatever becomes of the report. */
async function reportFailure(id, error) {
  const kind = error?.name ?? error?.constructor?.name ?? typeof error;
  const failed = { executionStatus: 'FAILED', outcomeReason: kind, metadata: { error: kind, errorType: kind } };
  try {
    await jobs.reportOutcome(id, failed, { timeout: PATIENCE_MS });
  } catch (cause) {
    const text = `the job was not reported as failed: ${cause.message}`;
    process.emitWarning(text, { type: 'ReveniumWarning', code: cause.code ?? undefined });
  }
}

const economics = {
  get: (type, options) => platform('economics.get', { type }, options),
  put: (type, economics, options) => platform('economics.put', { type, economics }, options),
  baselines: (type, options) => platform('economics.baselines', { type }, options),
  addBaseline: (type, baseline, options) => platform('economics.add_baseline', { ...baseline, type }, options),
  addFacts: (type, facts, options) => platform('economics.add_facts', { type, facts }, options),
};

const budgets = {
  /** Whether a call with these params would go out, without making it. Throws BudgetExceededError if it would not. */
  check(params) {
    const { usageMetadata, ...body } = params;
    if (usageMetadata !== undefined) body.usage_metadata = { ...body.usage_metadata, ...usageMetadata };
    return JSON.parse(observed.checkBudget(JSON.stringify(body), scopes.current()));
  },
  list: (filters, options) => platform('budgets.list', filters, options),
  roster: (ruleId, page, options) => platform('budgets.roster', { ...page, ruleId }, options),
};

/**
 * Whether a webhook really comes from Revenium. `secret`: one, or several of which any will do; `body`: its bytes as they
 * came, or the same as text.
 */
function verifyWebhook({ secret, timestamp, signature, body, toleranceSeconds = 300 }) {
  const secrets = (Array.isArray(secret) ? secret : [secret]).map((secret) => Buffer.from(secret ?? ''));
  // An empty secret is a mistake in the configuration: nobody may come in by it.
  if (secrets.length === 0 || secrets.some((secret) => secret.length === 0)) return false;
  const bytes = Buffer.from(body);
  const header = (value) => Buffer.from(`${typeof value === 'string' ? value : ''}\0`);
  const valid = (secret) =>
    native.webhook_verify(
      secret,
      secret.length,
      header(timestamp),
      header(signature),
      bytes,
      bytes.length,
      Math.trunc(toleranceSeconds),
    ) === CODE.OK;
  return secrets.some(valid);
}

module.exports = { platform, jobs, economics, budgets, verifyWebhook };
