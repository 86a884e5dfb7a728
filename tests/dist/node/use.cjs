// CommonJS: which library was found, and a call.
const path = require('node:path');
const Anthropic = require('librevenium');
const { native } = require('./node_modules/librevenium/lib/native.cjs');

const params = { model: 'claude-test-1', max_tokens: 10, messages: [{ role: 'user', content: 'Hello' }] };
new Anthropic().messages.create(params).then(({ content }) => console.log(path.relative(__dirname, native.path), content[0].text));
