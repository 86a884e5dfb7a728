// The page as a whole: the stream comes in, the choices are made, everything is drawn.

const { about, prices, fields } = JSON.parse($('about').textContent);
const watching = about.mode === 'watch';
/** Between two drawings; a long list takes longer to draw. */
const DRAW = 250;
const DRAW_LONG = 1000;
/** Between two sentences of a screen reader about what arrived. */
const SAY = 10000;

const state = { paused: false, timer: null, due: false, platformTimer: null, said: 0, saidAt: 0 };

function draw() {
  const rows = store.shown;
  drawTotals(rows);
  drawChart(rows, $('dimension').value, $('metric').value);
  drawList(rows, watching);
  drawChoices();
  say();
}

/** Soon, and not too often. */
function schedule() {
  if (state.paused || state.timer !== null) return;
  state.timer = setTimeout(() => {
    state.timer = null;
    draw();
  }, store.rows.length > 20000 ? DRAW_LONG : DRAW);
}

function drawTotals(rows) {
  const sum = sumOf(rows);
  const calls = rows.filter((row) => !row.tool);
  const durations = calls.map((row) => row.duration);
  const firsts = calls.filter((row) => row.first !== null).map((row) => row.first);
  const both = (values) => (values.length ? `${duration(quantile(values, 0.5))} / ${duration(quantile(values, 0.95))}` : '–');
  const unknown = sum.unpriced ? ` + ${count(sum.unpriced)} without a price` : '';
  const parts = {
    'Calls': count(sum.calls),
    'Estimated cost': `${estimated(sum.cost)}${unknown}`,
    'Tokens in / out': `${count(sum.input)} / ${count(sum.output)}`,
    'Read from the cache': percent(sum.cached),
    'Latency, median / 95 %': both(durations),
    'First token, median / 95 %': both(firsts),
    'Failed or cancelled': count(sum.failed),
  };
  if (sum.tools) parts['Tool events'] = count(sum.tools);
  if (watching) parts['Waiting'] = count(rows.filter((row) => row.state === 'waiting').length);
  const lines = Object.entries(parts).map(([name, value]) => make('div', {}, make('dt', {}, name), make('dd', {}, value)));
  $('totals').replaceChildren(...lines);
}

function drawChoices() {
  for (const [name, values] of Object.entries(store.values)) {
    const datalist = $(`values-${name}`);
    if (datalist.childElementCount === values.size) continue;
    datalist.replaceChildren(...[...values].sort().map((value) => make('option', { value })));
  }
}

function say() {
  const fresh = store.rows.length - state.said;
  if (fresh <= 0 || Date.now() - state.saidAt < SAY) return;
  $('said').textContent = `${count(fresh)} new records, ${count(store.rows.length)} in all`;
  [state.said, state.saidAt] = [store.rows.length, Date.now()];
}

/** Jobs and budgets change with every record: asked for again soon, and not too often. */
function platformChanged() {
  if (watching || state.platformTimer !== null) return;
  state.platformTimer = setTimeout(() => {
    state.platformTimer = null;
    loadPlatform().catch(() => {});
  }, 500);
}

function connect() {
  const source = new EventSource('sandbox/live');
  const connection = (text, how) => {
    $('connection').textContent = text;
    $('connection').dataset.state = how;
  };
  source.addEventListener('open', () => connection('live', 'live'));
  source.addEventListener('error', () => connection('not connected; what is shown stays, trying again', 'lost'));
  source.addEventListener('reset', () => {
    store.clear();
    [state.said, list.page] = [0, 0];
    schedule();
    platformChanged();
  });
  source.addEventListener('items', (event) => {
    store.add(JSON.parse(event.data));
    schedule();
    platformChanged();
  });
}

/** The filters stand in the address, so that a reload keeps them. */
function filtered(remember = true) {
  const filter = Object.fromEntries([...new FormData($('filters'))].filter(([, value]) => value !== ''));
  if (remember) history.replaceState(null, '', `#${new URLSearchParams(filter)}`);
  store.select(filter);
  list.page = 0;
  draw();
}

function filterBy(name, value) {
  $('filters').elements[name].value = value;
  filtered();
  $('filters').elements[name].focus();
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $('theme').textContent = theme === 'dark' ? 'Light' : 'Dark';
}

function begin() {
  const title = watching ? 'Revenium watch' : 'Revenium sandbox';
  document.title = $('title').textContent = title;
  for (const [name, { title }] of Object.entries(METRICS)) $('metric').append(make('option', { value: name }, title));
  for (const [name, title] of Object.entries(DIMENSIONS)) {
    $('dimension').append(make('option', { value: name }, title));
    $('lists').append(make('datalist', { id: `values-${name}` }));
  }
  const source = make('a', { href: prices.source, target: '_blank', rel: 'noreferrer noopener' }, 'price list');
  $('prices').append('Costs are estimates from Anthropic’s ', source, ` of ${prices.as_of}. Left out: ${prices.left_out}. `);
  if (about.place) $('prices').append(about.place);
  $('environment').textContent = (about.environment ?? []).join('\n').replaceAll('{url}', location.origin);
  $('clear').hidden = $('budgets').hidden = $('jobs').hidden = watching;
  $('state-filter').hidden = !watching;

  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    if ($('filters').elements[name]) $('filters').elements[name].value = value;
  }
  setTheme(localStorage.getItem('theme') ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'));
  filtered(false);
  if (!watching) loadPlatform().catch(() => {});
  connect();
}

$('filters').addEventListener('input', () => filtered());
$('filters').addEventListener('submit', (event) => event.preventDefault());
$('filters').addEventListener('reset', () => setTimeout(filtered));
$('metric').addEventListener('change', draw);
$('dimension').addEventListener('change', draw);
$('groups').addEventListener('click', (event) => {
  const { dimension, value } = event.target.dataset;
  if (dimension) filterBy(dimension, value);
});
$('list').addEventListener('click', (event) => {
  const id = event.target.closest('[data-open]')?.dataset.open;
  if (id) showRecord(id, fields);
});
$('newer').addEventListener('click', () => { list.page -= 1; drawList(store.shown, watching); });
$('older').addEventListener('click', () => { list.page += 1; drawList(store.shown, watching); });
$('csv').addEventListener('click', () => save(csvOf(store.shown), 'text/csv;charset=utf-8', 'records.csv'));
$('jsonl').addEventListener('click', () => save(jsonlOf(store.shown), 'application/x-ndjson', 'records.jsonl'));
$('copy').addEventListener('click', async () => {
  await navigator.clipboard.writeText($('json').textContent).catch(() => {});
  $('said').textContent = 'Copied';
});
$('pause').addEventListener('click', () => {
  state.paused = !state.paused;
  $('pause').setAttribute('aria-pressed', String(state.paused));
  $('pause').textContent = state.paused ? 'Go on' : 'Pause';
  schedule();
});
$('theme').addEventListener('click', () => {
  const theme = document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark';
  localStorage.setItem('theme', theme);
  setTheme(theme);
  draw();
});
$('clear').addEventListener('click', async () => {
  if (confirm('Forget all records, jobs and tool events?')) await fetch('sandbox/records', { method: 'DELETE' });
});

begin();
