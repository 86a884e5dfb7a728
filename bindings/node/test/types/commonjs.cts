// The same package for `require`.

import Anthropic = require('librevenium');

const client: Anthropic.Anthropic = new Anthropic.Anthropic({ apiKey: 'k' });
const reply: Promise<Anthropic.Message> = client.messages.create({ model: 'm', max_tokens: 1, messages: [] });
const error: Anthropic.APIError = new Anthropic.APIConnectionError();
console.log(reply, error, new Anthropic.default());
