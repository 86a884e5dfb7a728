// Many calls at once, first for their replies, then as streams; cancelling one.
import Anthropic from 'librevenium';
import { model, textOf } from './model.mjs';

const client = new Anthropic();
const params = (content) => ({ model, max_tokens: 500, messages: [{ role: 'user', content }] });
const print = (number, text) => console.log(`call ${number}: ${text}`);

// ---- replies ----

const questions = ['First callback.', 'Second callback.', 'Third callback.'];
const replies = await Promise.all(questions.map((question) => client.messages.create(params(question))));
for (const [at, reply] of replies.entries()) print(at + 1, textOf(reply));

// ---- streams ----

let pieces = 0;
const whole = client.messages.create(params('Into the queue, whole.'));
const streamed = client.messages.stream(params('Into the queue, piece by piece.')).on('text', () => pieces++);
const cancelled = client.messages.stream(params('Count from one to fifty in words. The end of it will reach nobody.'));
cancelled.on('text', () => cancelled.abort());

const texts = [whole.then(textOf), streamed.finalText(), cancelled.finalText()];
for (const [at, { value, reason }] of (await Promise.allSettled(texts)).entries()) print(at + 1, value ?? reason.code);
console.log(`call 2 came ${pieces > 1 ? 'in pieces' : 'in one piece'}`);
