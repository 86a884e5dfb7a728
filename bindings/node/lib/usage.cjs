'use strict';
// Token counts as numbers, however a gateway wrote them.

const COUNTS = ['input_tokens', 'output_tokens', 'cache_creation_input_tokens', 'cache_read_input_tokens'];

/** A decimal number: what else Number() reads is no count. */
const NUMBER = /^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i;

/** `usage` with whole numbers for floats and for numbers in quotes, and 0 for what is no count. null stays. Changes it. */
function tidy(usage) {
  if (typeof usage !== 'object' || usage === null) return usage;
  for (const name of COUNTS) {
    const given = usage[name];
    if (given !== undefined && given !== null && !Number.isSafeInteger(given)) usage[name] = count(given);
  }
  return usage;
}

function count(given) {
  const number = typeof given === 'string' ? (NUMBER.test(given) ? Number(given) : 0) : given;
  return typeof number === 'number' && number > 0 && number < 2 ** 53 ? Math.trunc(number) : 0;
}

module.exports = { tidy };
