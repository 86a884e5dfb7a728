// Elements and numbers. Text from records only ever becomes text: nothing here makes HTML of a string.

const $ = (id) => document.getElementById(id);

/** An element; `properties` are set on it, `data` and `aria` members as attributes. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === 'data') Object.assign(element.dataset, value);
    else if (name.startsWith('aria')) element.setAttribute(name.replace('aria', 'aria-').toLowerCase(), value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A row of a table; a cell is a text, an element, or `{ number: text }`. */
function tableRow(cells, kind = 'td') {
  const cell = (content) => {
    if (content?.number !== undefined) return make(kind, { className: 'number' }, content.number);
    return make(kind, {}, content ?? '');
  };
  const row = make('tr', {}, ...cells.map(cell));
  if (kind === 'th') for (const head of row.children) head.scope = 'col';
  return row;
}

const counting = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const count = (number) => counting.format(number);

/** USD, with as many decimals as a small amount needs. */
function money(dollars) {
  if (dollars === 0) return '$0';
  const size = Math.abs(dollars);
  const decimals = size >= 100 ? 2 : size >= 0.01 ? 4 : 6;
  return '$' + dollars.toLocaleString(undefined, { minimumFractionDigits: 2, maximumFractionDigits: decimals });
}

/** A cost nobody has been billed: always marked as an estimate. */
const estimated = (cost) => (cost === null ? 'no price known' : `≈ ${money(cost)}`);

function duration(milliseconds) {
  if (!Number.isFinite(milliseconds)) return '–';
  return milliseconds < 10000 ? `${count(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

const percent = (share) => (Number.isFinite(share) ? `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %` : '–');

/** Today only the time of day; longer ago the date as well. */
function clock(milliseconds) {
  const time = new Date(milliseconds);
  if (Number.isNaN(time.getTime())) return '–';
  const today = time.toDateString() === new Date().toDateString();
  return today ? time.toLocaleTimeString() : time.toLocaleString();
}
