import { ChatAnthropic } from '@langchain/anthropic';
import { fetch } from 'librevenium';
import { tell } from './tell.mjs';

const anthropicApiUrl = process.env.ANTHROPIC_BASE_URL;
tell((await new ChatAnthropic({ model: 'claude-test-1', anthropicApiUrl, clientOptions: { fetch } }).invoke('Hello')).content);
