// Frameworks that try again by themselves, over revenium.fetch: each attempt that fails is known for what it is.

import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { createAnthropic } from '@ai-sdk/anthropic';
import { ChatAnthropic } from '@langchain/anthropic';
import { generateText, streamText } from 'ai';
import { createFetch, fetch as metered } from 'librevenium';
import { fresh, place, plan, records, requests } from './tools.mjs';

beforeEach(fresh);

/** Vercel waits as it is told to, LangChain a second at least. */
const busy = { status: 529, headers: { 'retry-after-ms': '1' } };

const langchain = (fetch, baseURL, prompt, maxRetries) =>
  new ChatAnthropic({ apiKey: 'k', model: 'claude-test-1', anthropicApiUrl: baseURL, maxRetries, clientOptions: { fetch } })
    .invoke(prompt)
    .then((message) => message.content);
const vercel = (fetch, baseURL, prompt, maxRetries) =>
  generateText({
    model: createAnthropic({ apiKey: 'k', baseURL: `${baseURL}/v1`, fetch })('claude-test-1'),
    prompt,
    maxRetries,
  }).then(({ text }) => text);

const told = (found) => found.map(({ retryNumber = 0, stopReason }) => `${retryNumber} ${stopReason}`).sort();

for (const [name, ask, retries] of [
  ['LangChain.js', langchain, 1],
  ['Vercel’s AI SDK', vercel, 2],
]) {
  describe(name, () => {
    const failures = Array.from({ length: retries + 1 }, (_, at) => `${at} ERROR`);

    test('each failed attempt is a record that says which it was', async () => {
      const { path, baseURL } = place();
      await plan(path, [busy]);
      await assert.rejects(ask(metered, baseURL, 'a prompt', retries));
      assert.equal((await requests()).length, retries + 1);
      assert.deepEqual(told(await records(retries + 1)), failures);
    });

    test('with its number of retries, a call that fails is one record', async () => {
      const { path, baseURL } = place();
      await plan(path, [busy]);
      await assert.rejects(ask(createFetch({ maxRetries: retries }), baseURL, 'a prompt', retries));
      assert.equal((await requests()).length, retries + 1);
      assert.deepEqual(told(await records(1)), [`${retries} ERROR`]);
    });

    test('and so is one that succeeds after all; the same prompt once more is a call of its own', async () => {
      const { path, baseURL } = place();
      await plan(path, [busy, {}]);
      const fetch = createFetch({ maxRetries: retries });
      assert.equal(await ask(fetch, baseURL, 'again', retries), 'You said: again');
      assert.equal(await ask(fetch, baseURL, 'again', retries), 'You said: again');
      assert.deepEqual(told(await records(2)), ['0 END', '1 END']);
    });

    test('a refusal that nobody tries again is one record', async () => {
      const { path, baseURL } = place();
      await plan(path, [{ status: 400 }]);
      await assert.rejects(ask(createFetch({ maxRetries: retries }), baseURL, 'a prompt', retries));
      assert.equal((await requests()).length, 1);
      assert.deepEqual(told(await records(1)), ['0 ERROR']);
    });
  });
}

test('calls with the same prompt at a time are told apart by their number', async () => {
  const { path, baseURL } = place();
  await plan(path, [busy, busy, busy, {}]);
  const fetch = createFetch({ maxRetries: 5 });
  const asked = [1, 2, 3].map(() => vercel(fetch, baseURL, 'same', 5));
  assert.deepEqual(await Promise.all(asked), Array(3).fill('You said: same'));
  assert.deepEqual(told(await records(3)), ['1 END', '1 END', '1 END']);
});

test('streams of both', async () => {
  const { baseURL } = place();
  const chat = new ChatAnthropic({ apiKey: 'k', model: 'claude-test-1', anthropicApiUrl: baseURL, clientOptions: { fetch: metered } });
  let text = '';
  for await (const chunk of await chat.stream('one two')) text += chunk.text;
  const model = createAnthropic({ apiKey: 'k', baseURL: `${baseURL}/v1`, fetch: metered })('claude-test-1');
  text += await streamText({ model, prompt: 'three' }).text;
  assert.equal(text, 'You said: one twoYou said: three');
  assert.deepEqual((await records(2)).map((record) => record.isStreamed), [true, true]);
});
