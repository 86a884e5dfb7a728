import Anthropic from 'librevenium';
import { tell } from './tell.mjs';

const params = { model: 'claude-test-1', max_tokens: 10, messages: [{ role: 'user', content: 'Hello' }] };
tell((await new Anthropic().messages.create(params)).content[0].text);
