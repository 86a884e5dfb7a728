// The chart over time, and the table of the same groups.

const METRICS = {
  cost: { title: 'estimated cost', show: (value) => `≈ ${money(value)}` },
  calls: { title: 'calls', show: count },
  tokens: { title: 'tokens', show: count },
  cached: { title: 'share read from the cache', show: percent },
  latency: { title: 'mean latency', show: duration },
  firstToken: { title: 'mean time to first token', show: duration },
  failed: { title: 'failures', show: count },
};
/** In seconds; the chart takes the first that gives no more than this many points. */
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400, 604800, 2592000];
const POINTS = 120;
const LINES = 6;
const COLOURS = {
  light: ['#1257c7', '#b3541e', '#18794e', '#8a3ffc', '#a8174d', '#5b5b0b', '#59636f'],
  dark: ['#8ab4f8', '#f0a36b', '#6fcf97', '#c39bff', '#ff8fab', '#d6d66b', '#a3aebb'],
};
/** Lines differ by more than their colour. */
const DASHES = [[], [8, 4], [2, 3], [12, 4, 2, 4], [6, 6], [3, 6], [1, 2]];

const chart = { plot: null, drawn: '' };

function nameOf(dimension, value) {
  return value === '' ? `(no ${DIMENSIONS[dimension]})` : value;
}

function drawChart(rows, dimension, metric) {
  const groups = groupsOf(rows, dimension, metric);
  drawGroups(groups, dimension, metric);
  const top = groups.slice(0, LINES).map(([name]) => name);
  const { times, lines, step } = seriesOf(rows, dimension, metric, top);
  const names = top.map((name) => nameOf(dimension, name));
  if (groups.length > LINES) names.push('all others');
  const title = `${METRICS[metric].title} by ${DIMENSIONS[dimension]}`;
  const theme = document.documentElement.dataset.theme === 'dark' ? 'dark' : 'light';
  const drawn = JSON.stringify([names, dimension, metric, theme]);
  if (chart.plot && chart.drawn === drawn) {
    chart.plot.setData([times, ...lines]);
  } else {
    chart.plot?.destroy();
    chart.plot = plotOf(names, metric, theme, [times, ...lines]);
    chart.drawn = drawn;
  }
  const parts = groups.slice(0, LINES).map(([name, sum]) => `${nameOf(dimension, name)} ${METRICS[metric].show(sum[metric])}`);
  $('chart').setAttribute('aria-label', `Line chart over time: ${title}. In all: ${parts.join(', ') || 'nothing yet'}.`);
  $('chart-note').textContent = times.length === 0 ? 'Nothing to draw yet.' : `Each point is ${stepName(step)} of ${title}.`;
}

function stepName(step) {
  for (const [seconds, name] of [[86400, 'day'], [3600, 'hour'], [60, 'minute']]) {
    if (step % seconds === 0) return step === seconds ? `one ${name}` : `${step / seconds} ${name}s`;
  }
  return step === 1 ? 'one second' : `${step} seconds`;
}

/** For each of the top groups, and for all others, a value for each step of time. */
function seriesOf(rows, dimension, metric, top) {
  if (rows.length === 0) return { times: [], lines: top.map(() => []), step: 1 };
  let [from, to] = [Infinity, -Infinity];
  for (const row of rows) {
    if (row.time < from) from = row.time;
    if (row.time > to) to = row.time;
  }
  const span = (to - from) / 1000;
  const step = STEPS.find((step) => span / step < POINTS) ?? Math.ceil(span / POINTS);
  const start = Math.floor(from / 1000 / step) * step;
  const times = [];
  for (let time = start; time <= to / 1000; time += step) times.push(time);
  const place = new Map(top.map((name, at) => [name, at]));
  const sums = Array.from({ length: top.length + 1 }, () => new Array(times.length));
  let others = false;
  for (const row of rows) {
    const line = place.get(row[dimension]) ?? top.length;
    others ||= line === top.length;
    const at = Math.floor((row.time / 1000 - start) / step);
    (sums[line][at] ??= new Sum()).add(row);
  }
  if (!others) sums.pop();
  // Where nothing happened a sum is zero, and a mean is nothing.
  const empty = ['cost', 'calls', 'tokens', 'failed'].includes(metric) ? 0 : null;
  const value = (sum) => (sum && Number.isFinite(sum[metric]) ? sum[metric] : empty);
  const lines = sums.map((line) => Array.from(line, value));
  if (times.length === 1) {
    // A point alone stands in the middle of a minute.
    times.unshift(times[0] - 30);
    times.push(times[1] + 30);
    for (const line of lines) [line[1], line[0], line[2]] = [line[0], null, null];
  }
  return { times, lines, step };
}

function plotOf(names, metric, theme, data) {
  const style = getComputedStyle(document.documentElement);
  const [soft, line] = [style.getPropertyValue('--soft').trim(), style.getPropertyValue('--line').trim()];
  const show = (value) => (value === null || value === undefined ? '–' : METRICS[metric].show(value));
  const axis = { stroke: soft, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
  const series = names.map((label, at) => ({
    label,
    stroke: COLOURS[theme][at],
    dash: DASHES[at],
    width: 2,
    spanGaps: true,
    value: (_, value) => show(value),
  }));
  const options = {
    width: Math.max(200, $('chart').clientWidth),
    height: 240,
    series: [{ label: 'time' }, ...series],
    axes: [axis, { ...axis, size: 78, values: (_, ticks) => ticks.map(show) }],
    scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), high > 0 ? high * 1.08 : 1] } },
  };
  $('chart').replaceChildren();
  return new uPlot(options, data, $('chart'));
}

new ResizeObserver(() => chart.plot?.setSize({ width: Math.max(200, $('chart').clientWidth), height: 240 })).observe($('chart'));

function drawGroups(groups, dimension, metric) {
  const head = [DIMENSIONS[dimension], 'calls', 'failed', 'tokens in', 'out', 'cached', 'latency', 'first token', 'est. cost'];
  $('groups').tHead.replaceChildren(tableRow(head.map((text, at) => (at === 0 ? text : { number: text })), 'th'));
  const more = groups.length - 25;
  const rows = groups.slice(0, 25).map(([name, sum]) => {
    const pick = make('button', { type: 'button', data: { dimension, value: name } }, nameOf(dimension, name));
    // There is no filter for what a record doesn't say.
    const cost = sum.unpriced ? `${estimated(sum.cost)}, ${count(sum.unpriced)} unknown` : estimated(sum.cost);
    const cells = [count(sum.calls), count(sum.failed), count(sum.input), count(sum.output), percent(sum.cached)];
    const rest = [...cells, duration(sum.latency), duration(sum.firstToken), cost].map((text) => ({ number: text }));
    return tableRow([name === '' ? nameOf(dimension, name) : pick, ...rest]);
  });
  if (more > 0) rows.push(tableRow([`and ${count(more)} more, smaller by ${METRICS[metric].title}`]));
  $('groups').tBodies[0].replaceChildren(...rows);
}
