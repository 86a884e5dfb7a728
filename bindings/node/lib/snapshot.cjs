'use strict';
// The message as far as a stream has come: each event laid over what came before, as the Messages API defines it.

/** Text of a tool's input that has arrived, by content block. Kept beside the block, which the user sees. */
const inputs = new WeakMap();

/** The snapshot after `event`; undefined before message_start. Changes `snapshot`. */
function apply(snapshot, event) {
  if (event.type === 'message_start') return structuredClone(event.message);
  if (snapshot === undefined) return undefined;
  if (event.type === 'content_block_start') snapshot.content[event.index] = { ...event.content_block };
  else if (event.type === 'content_block_delta') grow(snapshot.content[event.index], event.delta);
  else if (event.type === 'content_block_stop') finish(snapshot.content[event.index]);
  else if (event.type === 'message_delta') close(snapshot, event);
  return snapshot;
}

function grow(block, delta) {
  if (block === undefined) return;
  switch (delta.type) {
    case 'text_delta':
      block.text = (block.text ?? '') + delta.text;
      break;
    case 'thinking_delta':
      block.thinking = (block.thinking ?? '') + delta.thinking;
      break;
    case 'signature_delta':
      block.signature = delta.signature;
      break;
    case 'citations_delta':
      block.citations = [...(block.citations ?? []), delta.citation];
      break;
    case 'input_json_delta':
      inputs.set(block, (inputs.get(block) ?? '') + delta.partial_json);
      break;
  }
}

function finish(block) {
  const text = block && inputs.get(block);
  // An input that was cut off, at max_tokens say, keeps what was whole.
  if (text) block.input = partialJson(text) ?? block.input;
}

function close(snapshot, { delta, usage }) {
  for (const [name, value] of Object.entries(delta)) {
    // The other members may become null again; a container that is not told of stays.
    if (name !== 'container' || value !== null) snapshot[name] = value;
  }
  for (const [name, value] of Object.entries(usage ?? {})) {
    // Totals, not increments; null says nothing.
    if (value !== null) snapshot.usage[name] = value;
  }
}

/** What has arrived of a tool's input, as far as it is whole. */
function inputSoFar(block) {
  return partialJson(inputs.get(block) ?? '') ?? {};
}

/** The value of a JSON text that may break off anywhere: an incomplete last member is left out. */
function partialJson(text) {
  const closers = [];
  // Where the text may be cut, and what closes it there.
  let cut = 0;
  let tail = '';
  let inText = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (inText) {
      if (char === '\\') at++;
      else if (char === '"') inText = false;
      continue;
    }
    if (char === '"') inText = true;
    else if (char === '{' || char === '[') {
      closers.unshift(char === '{' ? '}' : ']');
      [cut, tail] = [at + 1, closers.join('')];
    } else if (char === '}' || char === ']') {
      closers.shift();
      [cut, tail] = [at + 1, closers.join('')];
    } else if (char === ',') {
      [cut, tail] = [at, closers.join('')];
    }
  }
  for (const whole of [text, text.slice(0, cut) + tail]) {
    try {
      return JSON.parse(whole);
    } catch {
      // The next one is shorter.
    }
  }
  return undefined;
}

module.exports = { apply, inputSoFar, partialJson };
