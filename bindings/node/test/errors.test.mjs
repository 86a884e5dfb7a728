// Every way to fail is a class that users of the official SDK know.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import * as revenium from 'librevenium';
import { fresh, params, place, plan, records } from './tools.mjs';

beforeEach(fresh);

const STATUSES = [
  [400, 'BadRequestError', 'REVENIUM_E_BAD_REQUEST'],
  [401, 'AuthenticationError', 'REVENIUM_E_AUTHENTICATION'],
  [402, 'PaymentRequiredError', 'REVENIUM_E_API'],
  [403, 'PermissionDeniedError', 'REVENIUM_E_PERMISSION_DENIED'],
  [404, 'NotFoundError', 'REVENIUM_E_NOT_FOUND'],
  [408, 'RequestTimeoutError', 'REVENIUM_E_API'],
  [409, 'ConflictError', 'REVENIUM_E_CONFLICT'],
  [413, 'ContentTooLargeError', 'REVENIUM_E_REQUEST_TOO_LARGE'],
  [418, 'APIError', 'REVENIUM_E_API'],
  [422, 'UnprocessableEntityError', 'REVENIUM_E_UNPROCESSABLE'],
  [429, 'RateLimitError', 'REVENIUM_E_RATE_LIMIT'],
  [500, 'InternalServerError', 'REVENIUM_E_INTERNAL_SERVER'],
  [503, 'InternalServerError', 'REVENIUM_E_INTERNAL_SERVER'],
  [529, 'OverloadedError', 'REVENIUM_E_OVERLOADED'],
];

test('each status has its class', async () => {
  for (const stream of [false, true]) {
    for (const [status, name, code] of STATUSES) {
      const { baseURL, path } = place();
      await plan(path, [{ status, headers: { 'x-extra': 'e' } }]);
      const client = new revenium.Anthropic({ baseURL, maxRetries: 0 });
      await assert.rejects(client.messages.create(params('', { stream })), (error) => {
        assert.equal(error.constructor.name, name);
        assert.equal(error.name, name);
        assert.ok(error instanceof revenium.APIError && error instanceof revenium.AnthropicError);
        assert.deepEqual([error.status, error.code], [status, code]);
        assert.equal(error.headers.get('x-extra'), 'e');
        assert.match(error.requestID, /^req_sandbox_/);
        assert.equal(error.error.type, 'error');
        assert.equal(error.type, error.error.error.type);
        assert.ok(error.message.startsWith(`${status} {`), error.message);
        return true;
      });
    }
  }
  assert.equal((await records(2 * STATUSES.length)).every((record) => record.stopReason === 'ERROR'), true);
});

test('a page that is no error object is kept', async () => {
  const { baseURL, path } = place();
  await plan(path, [{ status: 502, text: '<html>gateway</html>' }]);
  const client = new revenium.Anthropic({ baseURL, maxRetries: 0 });
  await assert.rejects(client.messages.create(params()), (error) => {
    assert.ok(error instanceof revenium.InternalServerError);
    assert.ok(JSON.stringify(error.error).includes('gateway'));
    return true;
  });
});

test('no answer is a connection error', async () => {
  const { baseURL, path } = place();
  await plan(path, ['close']);
  for (const url of [baseURL, 'http://127.0.0.1:9']) {
    const client = new revenium.Anthropic({ baseURL: url, maxRetries: 0 });
    await assert.rejects(client.messages.create(params()), (error) => {
      assert.ok(error instanceof revenium.APIConnectionError);
      assert.deepEqual([error.status, error.code], [undefined, 'REVENIUM_E_CONNECTION']);
      return true;
    });
  }
});

test('a reply that breaks off or is no JSON is an error', async () => {
  for (const answer of [{ end: 'cut' }, { text: 'not json' }]) {
    const { baseURL, path } = place();
    await plan(path, [answer]);
    const client = new revenium.Anthropic({ baseURL, maxRetries: 0 });
    await assert.rejects(client.messages.create(params()), revenium.APIConnectionError);
  }
});

test('what the library refuses has its code, and sends nothing', async () => {
  for (const [options, code] of [
    [{ baseURL: 'no url' }, 'REVENIUM_E_CONFIG'],
    [{ maxRetries: 1000 }, 'REVENIUM_E_CONFIG'],
    [{ provider: 'nobody' }, 'REVENIUM_E_CONFIG'],
    [{ defaultHeaders: { 'bad name': 'x' } }, 'REVENIUM_E_CONFIG'],
  ]) {
    const client = new revenium.Anthropic(options);
    for (const stream of [false, true]) {
      await assert.rejects(client.messages.create(params('', { stream })), (error) => {
        assert.ok(error instanceof revenium.ReveniumError, error.stack);
        assert.equal(error.code, code);
        assert.ok(error.message.endsWith('.'), error.message);
        return true;
      });
    }
  }
});
