export * from './index.js';
export { Anthropic as default } from './index.js';
