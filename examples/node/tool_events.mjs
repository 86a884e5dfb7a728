// Tools that cost something by themselves have events of their own.
import { meterTool, withUsageMetadata } from 'librevenium';

await withUsageMetadata({ agent: 'writer' }, async () => {
  // How long it took, and whether it failed. What the tool gives comes back: a value, a promise or an error.
  const hits = await meterTool('search', async () => 3, { costUsd: 0.004 });
  console.log(`search: ${hits} hits`);
  try {
    await meterTool('crawl', async () => {
      throw new Error('the page is gone');
    });
  } catch (error) {
    console.log(`crawl: ${error.message}`);
  }
});
