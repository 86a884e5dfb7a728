// The sandbox's page, as a developer uses it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import axe from 'axe-core';
import { OUT, SANDBOX, busyHalfHour, forget, meter, meterAll, record, send, shows, withPage } from './support.mjs';

const rows = (page) => page.locator('#list tbody tr');
const total = (page, name) => page.locator('#totals div', { hasText: name }).locator('dd');

test('records appear as they arrive', async () => {
  await forget();
  await withPage(async (page) => {
    await page.getByText('Nothing was metered so far.').waitFor();
    const lines = (await page.locator('#environment').textContent()).split('\n');
    assert.deepEqual([lines.length, lines.every((line) => line.startsWith('export ') && line.includes(`=${SANDBOX} `))], [3, true]);
    await meter(record({ model: 'claude-opus-5-5', organizationName: 'Acme', subscriber: { id: 'u1' } }));
    await shows(page, 1);
    assert.equal(await page.locator('#start').isVisible(), false);
    const cells = await rows(page).first().locator('td').allTextContents();
    // 1,000 tokens at 4 dollars a million and 100 at 20.
    assert.deepEqual([cells[1], cells[2], cells[9], cells[10]], ['claude-opus-5-5', 'Acme · u1', 'END', '≈ $0.006']);
    await meter(record({ model: 'claude-of-tomorrow' }));
    await shows(page, 2);
    assert.equal(await rows(page).first().locator('td').nth(10).textContent(), 'no price known');
    assert.match(await total(page, 'Estimated cost').textContent(), /^≈ \$0\.006 \+ 1 without a price$/);
    assert.match(await page.locator('#prices').textContent(), /estimates .* of \d{4}-\d\d-\d\d/);
    assert.equal(await total(page, 'Calls').textContent(), '2');

    await page.getByRole('button', { name: 'Pause' }).click();
    await meter(record());
    await send('GET', '/sandbox/wait?records=3');
    await page.getByRole('button', { name: 'Go on' }).click();
    await shows(page, 3);
    await forget();
    await shows(page, 0);
  });
});

test('filters choose, stay after a reload, and are left again', async () => {
  await forget();
  await meter(record({ organizationName: 'Acme', taskType: 'chat' }));
  await meter(record({ organizationName: 'Globex', taskType: 'chat', stopReason: 'ERROR', errorReason: 'RateLimitError (HTTP 429)' }));
  await meter(record({ organizationName: 'Globex', taskType: 'summary', ticketId: 'ABC-77' }));
  await withPage(async (page) => {
    await shows(page, 3);
    await page.locator('#dimension').selectOption('organization');
    await page.locator('#groups').getByRole('button', { name: 'Globex' }).click();
    await shows(page, 2);
    assert.equal(await page.locator('#filters [name=organization]').inputValue(), 'Globex');
    await page.reload();
    await shows(page, 2);
    await page.locator('#filters [name=outcome]').selectOption('failed');
    await shows(page, 1);
    assert.match(await rows(page).textContent(), /RateLimitError \(HTTP 429\)/);
    await page.getByRole('button', { name: 'Clear filters' }).click();
    await shows(page, 3);
    await page.locator('#filters [name=text]').fill('abc-77');
    await shows(page, 1);
    await page.locator('#filters [name=text]').fill('nothing has this');
    await page.getByText('No record fits the filters.').waitFor();
  });
});

test('the chart follows what is chosen', async () => {
  await forget();
  await meterAll(busyHalfHour(200));
  await withPage(async (page) => {
    await shows(page, 200);
    const painted = () =>
      page.locator('#chart canvas').evaluate((canvas) => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.filter(Boolean).length);
    assert.ok((await painted()) > 1000);
    const legend = () => page.locator('#chart .u-legend .u-label').allTextContents();
    assert.deepEqual((await legend()).slice(1).sort(), ['claude-haiku-5-5', 'claude-opus-5-5', 'claude-sonnet-5-5', 'us.anthropic.claude-sonnet-4-5-20250929-v1:0']);
    await page.locator('#dimension').selectOption('organization');
    await page.locator('#metric').selectOption('calls');
    assert.deepEqual((await legend()).slice(1).sort(), ['Acme', 'Globex', 'Initech']);
    const said = await page.locator('#chart').getAttribute('aria-label');
    const calls = [...said.matchAll(/(?:Acme|Globex|Initech) (\d+)/g)].reduce((sum, found) => sum + Number(found[1]), 0);
    assert.equal(calls, 200, said);
    for (const metric of ['cost', 'tokens', 'cached', 'latency', 'firstToken', 'failed']) await page.locator('#metric').selectOption(metric);
    assert.ok((await painted()) > 1000);
  });
});

test('a record shows all it says, by mouse and by keyboard', async () => {
  await forget();
  const body = record({ organizationName: 'Acme', somethingNew: { deep: [1, 2] } });
  await meter(body);
  await withPage(async (page) => {
    await shows(page, 1);
    await rows(page).first().locator('td').nth(1).click();
    const detail = page.getByRole('dialog');
    await detail.waitFor();
    assert.deepEqual(JSON.parse(await page.locator('#json').textContent()), body);
    const field = page.locator('#fields tr', { hasText: 'organizationName' });
    assert.match(await field.textContent(), /Acme.*on whose behalf/);
    assert.match(await page.locator('#fields tr', { hasText: 'somethingNew' }).textContent(), /\{"deep":\[1,2\]\}/);
    assert.match(await page.locator('#fields-link').getAttribute('href'), /^https:\/\//);
    await page.keyboard.press('Escape');
    await detail.waitFor({ state: 'hidden' });

    // The row that has the focus keeps it while others arrive above it.
    await rows(page).first().getByRole('button').focus();
    await meter(record());
    await shows(page, 2);
    assert.equal(await page.evaluate(() => document.activeElement.closest('tr')?.rowIndex), 2);
    await page.keyboard.press('Enter');
    await detail.waitFor();
    assert.deepEqual(JSON.parse(await page.locator('#json').textContent()), body);
  });
});

test('text from records never runs', async () => {
  await forget();
  const evil = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>"\'</script>';
  const fields = ['organizationName', 'productName', 'agent', 'taskType', 'errorReason', 'traceId', 'somethingElse'];
  await meter(record({ ...Object.fromEntries(fields.map((name) => [name, evil])), [evil]: evil, model: evil, subscriber: { id: evil }, agenticJobType: evil, agenticJobId: 'job', stopReason: 'ERROR' }));
  const rule = { name: evil, threshold: 0, denyMessage: evil, groupBy: 'ORGANIZATION', filters: [{ dimension: 'AGENT', operator: 'IS', value: evil }] };
  await send('PUT', '/sandbox/budgets', JSON.stringify({ rules: [rule] }), { 'content-type': 'application/json' });
  await withPage(async (page) => {
    await shows(page, 1);
    for (const dimension of ['model', 'organization', 'product', 'subscriber', 'agent', 'task']) await page.locator('#dimension').selectOption(dimension);
    await page.locator('#groups tbody button').first().click();
    await page.locator('#rules tbody tr', { hasText: evil }).waitFor();
    await page.locator('#job-list tbody tr', { hasText: evil }).waitFor();
    await rows(page).first().locator('td').nth(1).click();
    assert.ok((await page.locator('#fields').textContent()).includes(evil));
    assert.equal(await page.locator('img, #list script, #groups script, #fields script').count(), 0);
    assert.equal(await page.evaluate(() => window.hacked), undefined);
  });
  await send('PUT', '/sandbox/budgets', '{}', { 'content-type': 'application/json' });
});

test('what is shown can be taken along', async () => {
  await forget();
  await meter(record({ organizationName: 'Acme, "Inc"\nand sons', taskType: '=HYPERLINK("http://evil.example")' }));
  await meter(record({ organizationName: 'Globex', model: 'claude-of-tomorrow' }));
  const file = async (page, name) => {
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name }).click()]);
    return [download.suggestedFilename(), await readFile(await download.path(), 'utf8')];
  };
  await withPage(async (page) => {
    await shows(page, 2);
    const [csvName, csv] = await file(page, 'Export CSV');
    assert.equal(csvName, 'records.csv');
    const lines = csv.trimEnd().split('\r\n');
    assert.equal(lines.length, 3);
    assert.ok(csv.includes('"Acme, ""Inc""\nand sons"') && csv.includes(`"'=HYPERLINK(""http://evil.example"")"`), csv);
    assert.match(lines[0], /^time,kind,transaction_id,model,.*,estimated_cost_usd$/);
    const [jsonlName, jsonl] = await file(page, 'Export JSONL');
    const records = jsonl.trimEnd().split('\n').map((line) => JSON.parse(line));
    assert.deepEqual([jsonlName, records.map(({ estimated_cost_usd }) => estimated_cost_usd)], ['records.jsonl', [0.003, null]]);
    assert.equal(records[0].record.organizationName, 'Acme, "Inc"\nand sons');
    await page.locator('#filters [name=organization]').fill('Globex');
    await shows(page, 1);
    assert.equal((await file(page, 'Export JSONL'))[1].trimEnd().split('\n').length, 1);
  });
});

test('budgets and answers are set on the page', async () => {
  await forget();
  const key = { 'x-api-key': 'rev_sk_page' };
  const rules = () => send('GET', '/v2/api/ai/enforcement-rules/sandbox', undefined, key);
  await withPage(async (page) => {
    const form = page.locator('#rule');
    await form.locator('[name=name]').fill('Acme cap');
    await form.locator('[name=threshold]').fill('0.005');
    await form.locator('[name=dimension]').selectOption('ORGANIZATION');
    await form.locator('[name=value]').fill('Acme');
    await form.locator('[name=denyMessage]').fill('Ask the boss.');
    await form.getByRole('button', { name: 'Add rule' }).click();
    const rule = page.locator('#rules tbody tr', { hasText: 'Acme cap' });
    await rule.getByText('open', { exact: true }).waitFor();
    await meter(record({ organizationName: 'Globex', outputTokenCount: 100000 }));
    await meter(record({ organizationName: 'Acme' }));
    await meter(record({ organizationName: 'Acme' }));
    await rule.getByText('over', { exact: true }).waitFor();
    const [answered] = JSON.parse((await rules()).text).rules;
    assert.deepEqual([answered.breached, answered.action, answered.denyMessage, answered.currentValue], [true, 'BLOCK', 'Ask the boss.', 0.006]);

    await page.getByText('Rules as JSON').click();
    await page.locator('#rules-json textarea').fill('{"rules": [{"name": "by hand", "breached": true}');
    await page.getByRole('button', { name: 'Set rules' }).click();
    await page.locator('#budget-problem', { hasText: 'not JSON' }).waitFor();
    await page.locator('#rules-json textarea').fill('{"rules": [{"name": "by hand", "breached": true}]}');
    await page.getByRole('button', { name: 'Set rules' }).click();
    await page.getByRole('button', { name: 'Remove the rule by hand' }).click();
    await page.getByText('No rules: nothing is limited.').waitFor();
    assert.equal((await rules()).status, 204);

    await page.locator('#answer [name=operation]').selectOption('jobs.get');
    await page.locator('#answer [name=json]').fill('{"status": 418}');
    await page.locator('#answer [name=times]').fill('2');
    await page.getByRole('button', { name: 'Set answers' }).click();
    await page.locator('#answers li', { hasText: 'jobs.get: the next 2' }).waitFor();
    const job = () => send('GET', '/profitstream/v2/api/jobs/any', undefined, key);
    assert.deepEqual([(await job()).status, (await job()).status, (await job()).status], [418, 418, 404]);

    await meter(record({ agenticJobId: 'loan-9', agenticJobType: 'loan' }));
    const report = { executionStatus: 'SUCCESS', outcomeType: 'CONVERTED', outcomeValue: 500 };
    const headers = { ...key, 'content-type': 'application/json' };
    assert.equal((await send('POST', '/profitstream/v2/api/jobs/loan-9/outcome', JSON.stringify(report), headers)).status, 200);
    await page.locator('#job-list tbody tr', { hasText: 'loan-9' }).getByText('SUCCESS, CONVERTED').waitFor();
    await page.locator('#job-list tbody tr', { hasText: '500 USD' }).waitFor();
    const event = { toolId: 'web_search', timestamp: new Date().toISOString(), durationMs: 40, success: false };
    await send('POST', '/meter/v2/tool/events', JSON.stringify(event), { ...key, 'idempotency-key': 'event-1' });
    await rows(page).filter({ hasText: 'tool web_search' }).getByText('failed').waitFor();
  });
});

test('a lost connection is said, what is shown stays, and it goes on with the next server', async () => {
  let child;
  const start = async (port) => {
    child = spawn(process.env.REVENIUM_COMMAND, ['sandbox', '--port', port], { stdio: ['ignore', 'pipe', 'inherit'] });
    for await (const line of createInterface(child.stdout)) {
      const found = /http:\/\/127\.0\.0\.1:\d+/.exec(line);
      if (found) return `${found[0]}/`;
    }
    throw new Error('the sandbox did not start');
  };
  const meterAt = (url) =>
    fetch(`${url}meter/v2/ai/completions`, {
      method: 'POST', headers: { 'x-api-key': 'rev_mk_page', 'idempotency-key': randomUUID() }, body: JSON.stringify(record()),
    }).then((answer) => assert.equal(answer.status, 201));
  try {
    const url = await start('0');
    await withPage(async (page) => {
      for (const count of [1, 2]) {
        await meterAt(url);
        await shows(page, count);
      }
      child.kill('SIGKILL');
      await once(child, 'exit');
      await page.locator('#connection[data-state=lost]').waitFor();
      assert.match(await page.locator('#connection').textContent(), /what is shown stays/);
      await shows(page, 2);
      await start(new URL(url).port);
      await page.locator('#connection[data-state=live]').waitFor({ timeout: 60000 });
      // This one knows nothing of those before.
      await shows(page, 0);
      await meterAt(url);
      await shows(page, 1);
    }, { url, lost: true });
  } finally {
    child?.kill('SIGKILL');
  }
});

test('a hundred thousand records', async (t) => {
  await forget();
  const begun = Date.now();
  await meterAll(busyHalfHour(100000));
  t.diagnostic(`measured: 100,000 records posted in ${Date.now() - begun} ms`);
  await withPage(async (page) => {
    const opened = Date.now();
    page.setDefaultTimeout(180000);
    await shows(page, 100000);
    t.diagnostic(`measured: 100,000 records shown in ${Date.now() - opened} ms`);
    await meter(record({ organizationName: 'The last one' }));
    await shows(page, 100001);
    assert.match(await rows(page).first().textContent(), /The last one/);
    assert.equal(await rows(page).count(), 50, 'a page of the list at a time');
    await page.getByRole('button', { name: 'Older' }).click();
    const searched = Date.now();
    await page.locator('#filters [name=text]').fill('the last one');
    await shows(page, 1);
    t.diagnostic(`measured: 100,000 records searched in ${Date.now() - searched} ms`);
    await page.getByRole('button', { name: 'Clear filters' }).click();
    await page.locator('#dimension').selectOption('subscriber');
    assert.equal(await page.locator('#groups tbody tr').count(), 8);
  });
  await forget();
});

test('readable for everybody, in light and dark, large and small', async () => {
  await forget();
  await meterAll(busyHalfHour(240));
  await meter(record({ agenticJobId: 'loan-9', agenticJobType: 'loan', organizationName: 'Acme' }));
  const rule = { name: 'Acme, this month', threshold: 1, denyMessage: 'Ask the boss.', filters: [{ dimension: 'ORGANIZATION', operator: 'IS', value: 'Acme' }] };
  await send('PUT', '/sandbox/budgets', JSON.stringify({ rules: [rule] }), { 'content-type': 'application/json' });
  const check = async (page) => {
    // As an expression, because the page's policy lets no script in.
    await page.evaluate(`${axe.source}; undefined`);
    const found = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }));
    const told = found.violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.html).join(' ')}`);
    assert.deepEqual(told, []);
  };
  for (const scheme of ['light', 'dark']) {
    await withPage(async (page) => {
      await shows(page, 241);
      await page.locator('#dimension').selectOption('organization');
      await page.locator('#rules tbody tr', { hasText: 'Acme' }).waitFor();
      assert.equal(await page.locator('html').getAttribute('data-theme'), scheme);
      await check(page);
      await page.screenshot({ path: `${OUT}sandbox-${scheme}.png` });
      await rows(page).first().getByRole('button').click();
      await check(page);
      await page.screenshot({ path: `${OUT}record-${scheme}.png` });
    }, { scheme, width: 1280, height: 900 });
  }
  await withPage(async (page) => {
    await shows(page, 241);
    assert.equal(await page.evaluate(() => document.scrollingElement.scrollWidth > innerWidth), false, 'scrolls sideways');
    await check(page);
    await page.screenshot({ path: `${OUT}phone.png` });
    await page.locator('#records').scrollIntoViewIfNeeded();
    await page.screenshot({ path: `${OUT}phone-records.png` });
    // The first stop of the keyboard leads to the records.
    await page.reload();
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the records');
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'records');
    await page.getByRole('button', { name: 'Dark' }).click();
    assert.equal(await page.locator('html').getAttribute('data-theme'), 'dark');
  }, { width: 390, height: 844 });
  await send('PUT', '/sandbox/budgets', '{}', { 'content-type': 'application/json' });
});
