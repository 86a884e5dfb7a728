// The list of records, a page of it at a time, and one record with all its fields.

const PAGE = 50;
const COLUMNS = ['Time', 'Model', 'On behalf of', 'Agent and task', 'In', 'Out', 'Cached', 'Latency', 'First token', 'Outcome', 'Est. cost'];

const list = { page: 0, opened: null };

function drawList(rows, watching) {
  const pages = Math.max(1, Math.ceil(rows.length / PAGE));
  list.page = Math.min(list.page, pages - 1);
  const end = rows.length - list.page * PAGE;
  const wanted = rows.slice(Math.max(0, end - PAGE), end).reverse();
  const columns = watching ? [...COLUMNS, 'State'] : COLUMNS;
  if ($('list').tHead.rows.length === 0) $('list').tHead.append(tableRow(columns, 'th'));
  keep($('list').tBodies[0], wanted, columns);
  $('empty').hidden = rows.length > 0;
  $('empty').textContent = store.rows.length > 0 ? 'No record fits the filters.' : 'Nothing was metered so far.';
  $('start').hidden = watching || store.rows.length > 0;
  const range = rows.length > PAGE ? `, ${count(list.page * PAGE + 1)} to ${count(rows.length - Math.max(0, end - PAGE))} shown` : '';
  const all = store.rows.length === rows.length ? '' : ` of ${count(store.rows.length)}`;
  $('count').textContent = `${count(rows.length)}${all}${range}`;
  $('count').dataset.shown = rows.length;
  $('newer').disabled = list.page === 0;
  $('older').disabled = list.page >= pages - 1;
  $('csv').disabled = $('jsonl').disabled = rows.length === 0;
}

/** Makes the body hold these rows. A row that stays is not touched, so that it keeps the focus. */
function keep(body, wanted, columns) {
  let next = body.firstElementChild;
  const names = new Set(wanted.map((row) => row.id + row.state));
  for (const row of wanted) {
    while (next && !names.has(next.dataset.name)) {
      const gone = next;
      next = next.nextElementSibling;
      gone.remove();
    }
    if (next?.dataset.name === row.id + row.state) next = next.nextElementSibling;
    else body.insertBefore(listRow(row, columns), next);
  }
  while (next) {
    const gone = next;
    next = next.nextElementSibling;
    gone.remove();
  }
}

function listRow(row, columns) {
  const whom = [row.organization, row.product, row.subscriber].filter(Boolean).join(' · ');
  const work = [row.agent, row.tool ? '' : row.task].filter(Boolean).join(' · ');
  const what = row.tool ? `tool ${row.task}` : row.model;
  const counts = row.tool ? ['', '', ''] : [count(row.input), count(row.output), row.read ? percent(row.read / (row.input + row.read + row.written)) : ''];
  const open = make('button', { type: 'button', data: { open: row.id } }, clock(row.time));
  open.setAttribute('aria-label', `Record of ${clock(row.time)}, ${what}`);
  const cells = [
    open, what, whom, work, ...counts.map((text) => ({ number: text })), { number: duration(row.duration) },
    { number: row.first === null ? '' : duration(row.first) }, row.failed && row.body.errorReason ? String(row.body.errorReason) : row.outcome,
    { number: row.tool ? '' : estimated(row.cost) },
  ];
  if (columns.length > cells.length) cells.push(row.why ? `${row.state}: ${row.why}` : row.state);
  const element = tableRow(cells);
  columns.forEach((column, at) => (element.cells[at].dataset.label = column));
  element.cells[9].className = 'outcome';
  element.className = row.failed ? 'failed' : '';
  element.dataset.name = row.id + row.state;
  element.dataset.open = row.id;
  return element;
}

function showRecord(id, fields) {
  const row = store.byId.get(id);
  if (!row) return;
  list.opened = id;
  const known = fields[row.tool ? 'tool' : 'completion'] ?? {};
  const shown = (value) => (typeof value === 'string' ? value : JSON.stringify(value));
  const line = (name, value, meaning) =>
    make('tr', {}, make('th', { scope: 'row' }, name), make('td', {}, value), make('td', { className: 'meaning' }, meaning));
  const ours = [
    ['(received)', new Date(row.at).toISOString(), 'When it came here.'],
    ['(Idempotency-Key)', row.key, 'Sent with each attempt, so that the record is stored once.'],
    ['(estimated cost)', row.tool ? 'none' : estimated(row.cost), 'At list price; see the note under the totals.'],
  ];
  if (row.state) ours.push(['(state)', row.why ? `${row.state}: ${row.why}` : row.state, 'What became of it on its way to Revenium.']);
  const theirs = Object.entries(row.body).map(([name, value]) => [name, shown(value), known[name] ?? '']);
  $('detail-title').textContent = row.tool ? `Tool event ${row.body.toolId ?? ''}` : `Record ${row.body.transactionId ?? row.n}`;
  $('fields').tBodies[0].replaceChildren(...[...theirs, ...ours].map(([name, value, meaning]) => line(name, value, meaning)));
  $('json').textContent = JSON.stringify(row.body, null, 2);
  $('fields-link').href = fields.link;
  if (!$('detail').open) $('detail').showModal();
}
