// What arrived, and which of it is shown.

const DIMENSIONS = {
  model: 'model',
  organization: 'organisation',
  product: 'product',
  subscriber: 'subscriber',
  agent: 'agent',
  task: 'task',
};
const FAILED = ['ERROR', 'CANCELLED', 'TIMEOUT'];
/** More choices than this help nobody. */
const CHOICES = 200;

const store = {
  rows: [],
  byId: new Map(),
  shown: [],
  values: {},
  filter: {},

  clear() {
    this.rows = [];
    this.shown = [];
    this.byId.clear();
    for (const name of Object.keys(DIMENSIONS)) this.values[name] = new Set();
  },

  /** Takes items of the stream in; tells whether one spoke of the platform's state. */
  add(items) {
    let platform = false;
    let again = false;
    for (const item of items) {
      if (item.kind === 'state') {
        platform = true;
        continue;
      }
      const id = `${item.kind} ${item.n}`;
      const row = rowOf(id, item);
      const known = this.byId.get(id);
      if (known) {
        // What is written of it anew is what counts.
        Object.assign(known, row);
        again = true;
        continue;
      }
      this.byId.set(id, row);
      this.rows.push(row);
      for (const name of Object.keys(DIMENSIONS)) {
        if (row[name] && this.values[name].size < CHOICES) this.values[name].add(row[name]);
      }
      if (fits(row, this.filter)) this.shown.push(row);
    }
    if (again) this.select(this.filter);
    return platform;
  },

  select(filter) {
    this.filter = filter;
    this.shown = this.rows.filter((row) => fits(row, filter));
  },
};
store.clear();

function rowOf(id, item) {
  const body = item.body ?? {};
  const text = (value) => (typeof value === 'string' ? value : '');
  const number = (value) => (typeof value === 'number' ? value : 0);
  const person = body.subscriber ?? {};
  const tool = item.kind === 'tool';
  const time = Date.parse(tool ? body.timestamp : body.requestTime);
  const outcome = tool ? (body.success === false ? 'failed' : 'ok') : text(body.stopReason);
  return {
    id,
    tool,
    n: item.n,
    at: item.at,
    time: Number.isNaN(time) ? item.at : time,
    key: text(item.key),
    cost: tool ? 0 : (item.cost ?? null),
    state: text(item.state),
    why: text(item.why),
    body,
    model: tool ? '' : text(body.model),
    organization: text(body.organizationName),
    product: text(body.productName),
    subscriber: text(person.id) || text(person.email) || text(person.credential?.name) || text(body.subscriberCredential),
    agent: text(body.agent),
    task: tool ? text(body.toolId) : text(body.taskType),
    input: number(body.inputTokenCount),
    output: number(body.outputTokenCount),
    read: number(body.cacheReadTokenCount),
    written: number(body.cacheCreationTokenCount),
    duration: number(tool ? body.durationMs : body.requestDuration),
    first: body.isStreamed && typeof body.timeToFirstToken === 'number' ? body.timeToFirstToken : null,
    outcome,
    failed: tool ? body.success === false : FAILED.includes(outcome),
    words: null,
  };
}

function fits(row, filter) {
  for (const name of Object.keys(DIMENSIONS)) {
    if (filter[name] && row[name] !== filter[name]) return false;
  }
  if (filter.state && row.state !== filter.state) return false;
  switch (filter.outcome) {
    case 'ok': if (row.failed || row.tool) return false; break;
    case 'failed': if (!row.failed) return false; break;
    case 'unpriced': if (row.cost !== null) return false; break;
    case 'tool': if (!row.tool) return false; break;
  }
  if (!filter.text) return true;
  row.words ??= JSON.stringify(row.body).toLowerCase();
  return row.words.includes(filter.text.toLowerCase());
}

/** Sums over rows: what the totals, the groups and the chart show. */
class Sum {
  calls = 0; tools = 0; failed = 0; input = 0; output = 0; read = 0; written = 0; cost = 0; unpriced = 0;
  duration = 0; first = 0; firsts = 0;

  add(row) {
    if (row.failed) this.failed += 1;
    if (row.tool) {
      this.tools += 1;
      return;
    }
    this.calls += 1;
    this.input += row.input;
    this.output += row.output;
    this.read += row.read;
    this.written += row.written;
    this.duration += row.duration;
    if (row.cost === null) this.unpriced += 1;
    else this.cost += row.cost;
    if (row.first !== null) {
      this.first += row.first;
      this.firsts += 1;
    }
  }

  get tokens() { return this.input + this.output; }
  /** Of everything that went in, what came from the cache. */
  get cached() { return this.read / (this.input + this.read + this.written); }
  get latency() { return this.duration / this.calls; }
  get firstToken() { return this.first / this.firsts; }
}

function sumOf(rows) {
  const sum = new Sum();
  for (const row of rows) sum.add(row);
  return sum;
}

/** The groups of a dimension, the largest by `metric` first. */
function groupsOf(rows, dimension, metric) {
  const groups = new Map();
  for (const row of rows) {
    const name = row[dimension];
    let sum = groups.get(name);
    if (!sum) groups.set(name, (sum = new Sum()));
    sum.add(row);
  }
  const size = (sum) => (Number.isFinite(sum[metric]) ? sum[metric] : -1);
  return [...groups].sort((a, b) => size(b[1]) - size(a[1]));
}

/** The value that `share` of the rows don't exceed; nothing for no rows. */
function quantile(values, share) {
  if (values.length === 0) return NaN;
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}
