// Types as an ES module sees them.
import OfficialAnthropic from 'sdk-current';
import Anthropic, { fetch, version, withUsageMetadata } from 'librevenium';

const text: string = version;
const official = new OfficialAnthropic({ fetch });
await withUsageMetadata({ organizationName: 'Acme', taskType: text }, async () => {
  await official.messages.create({ model: 'm', max_tokens: 1, messages: [] });
  await new Anthropic().messages.create({ model: 'm', max_tokens: 1, messages: [] });
});
// @ts-expect-error a version is no number
export const wrong: number = version;
