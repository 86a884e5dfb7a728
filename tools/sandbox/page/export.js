// What is shown, as a file.

const CSV = {
  time: (row) => new Date(row.time).toISOString(),
  kind: (row) => (row.tool ? 'tool' : 'completion'),
  transaction_id: (row) => row.body.transactionId,
  model: (row) => row.model,
  provider: (row) => row.body.provider,
  organization: (row) => row.organization,
  product: (row) => row.product,
  subscriber: (row) => row.subscriber,
  agent: (row) => row.agent,
  task: (row) => row.task,
  input_tokens: (row) => row.input,
  output_tokens: (row) => row.output,
  cache_read_tokens: (row) => row.read,
  cache_creation_tokens: (row) => row.written,
  duration_ms: (row) => row.duration,
  time_to_first_token_ms: (row) => row.first,
  outcome: (row) => row.outcome,
  error: (row) => row.body.errorReason,
  estimated_cost_usd: (row) => row.cost,
};

function csvCell(value) {
  if (value === null || value === undefined) return '';
  if (typeof value === 'number') return String(value);
  let text = String(value);
  // A spreadsheet would run what begins like a formula.
  if (/^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function csvOf(rows) {
  const cells = Object.values(CSV);
  const lines = rows.map((row) => cells.map((cell) => csvCell(cell(row))).join(',') + '\r\n');
  return [Object.keys(CSV).join(',') + '\r\n', ...lines];
}

function jsonlOf(rows) {
  return rows.map((row) => {
    const about = { kind: row.tool ? 'tool' : 'completion', received_at: new Date(row.at).toISOString(), idempotency_key: row.key };
    return JSON.stringify({ ...about, estimated_cost_usd: row.cost, record: row.body }) + '\n';
  });
}

function save(parts, type, name) {
  const url = URL.createObjectURL(new Blob(parts, { type }));
  make('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
