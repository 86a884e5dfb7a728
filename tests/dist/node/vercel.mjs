import { createAnthropic } from '@ai-sdk/anthropic';
import { generateText } from 'ai';
import { fetch } from 'librevenium';
import { tell } from './tell.mjs';

globalThis.AI_SDK_LOG_WARNINGS = false; // of a model that it does not know
const anthropic = createAnthropic({ baseURL: `${process.env.ANTHROPIC_BASE_URL}/v1`, fetch });
tell((await generateText({ model: anthropic('claude-test-1'), prompt: 'Hello' })).text);
