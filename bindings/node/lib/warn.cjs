'use strict';
// One process warning for each reason: metering never fails a call.

const warned = new Set();

function warn(code, text) {
  if (warned.has(code)) return;
  warned.add(code);
  process.emitWarning(text, { type: 'ReveniumWarning', code });
}

const warnUnmetered = (error) => warn(error.code, `a call went out unmetered: ${error.message}`);

module.exports = { warn, warnUnmetered };
