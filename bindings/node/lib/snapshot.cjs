'use strict';
// The message as far as a stream has come: each event laid over what came before, as the Messages API defines it.

const { PartialJson, partialJson } = require('./partial-json.cjs');
const { tidy } = require('./usage.cjs');

/**
 * What has arrived of a tool's input, by content block: its text, and its value as far as somebody asked. Kept beside
 * the block, which the user sees.
 */
const inputs = new WeakMap();

/** The snapshot after `event`; undefined before message_start. Changes `snapshot`. What an event lacks changes nothing. */
function apply(snapshot, event) {
  if (event.type === 'message_start') {
    const begun = structuredClone(event.message ?? {});
    return Object.assign(begun, { content: begun.content ?? [], usage: tidy(begun.usage) ?? {} });
  }
  if (snapshot === undefined) return undefined;
  if (event.type === 'message_delta') close(snapshot, event);
  if (!isIndex(event.index)) return snapshot;
  if (event.type === 'content_block_start') snapshot.content[event.index] = { ...event.content_block };
  else if (event.type === 'content_block_delta') grow(snapshot.content[event.index], event.delta ?? {});
  else if (event.type === 'content_block_stop') finish(snapshot.content[event.index]);
  return snapshot;
}

const isIndex = (index) => Number.isInteger(index) && index >= 0;

function grow(block, delta) {
  if (block === undefined) return;
  switch (delta.type) {
    case 'text_delta':
      block.text = (block.text ?? '') + (delta.text ?? '');
      break;
    case 'thinking_delta':
      block.thinking = (block.thinking ?? '') + (delta.thinking ?? '');
      break;
    case 'signature_delta':
      block.signature = delta.signature;
      break;
    case 'citations_delta':
      block.citations = [...(block.citations ?? []), delta.citation];
      break;
    case 'input_json_delta': {
      const input = inputs.get(block) ?? { text: '', read: 0, partial: new PartialJson() };
      input.text += delta.partial_json ?? '';
      inputs.set(block, input);
      break;
    }
  }
}

function finish(block) {
  const text = block && inputs.get(block)?.text;
  // An input that was cut off, at max_tokens say, keeps what was whole.
  if (text) block.input = partialJson(text) ?? block.input;
}

function close(snapshot, { delta, usage }) {
  for (const [name, value] of Object.entries(delta ?? {})) {
    // The other members may become null again; a container that is not told of stays.
    if (name !== 'container' || value !== null) snapshot[name] = value;
  }
  for (const [name, value] of Object.entries(usage ?? {})) {
    // Totals, not increments; null says nothing.
    if (value !== null) snapshot.usage[name] = value;
  }
  tidy(snapshot.usage);
}

/** What has arrived of a tool's input, as far as it is whole: an object that grows with the next deltas. */
function inputSoFar(block) {
  const input = inputs.get(block);
  if (input === undefined) return {};
  input.partial.push(input.text.slice(input.read));
  input.read = input.text.length;
  return input.partial.value ?? {};
}

module.exports = { apply, inputSoFar };
