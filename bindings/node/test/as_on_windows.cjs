// To be required first: the binding waits as it does on Windows, with a thread of libuv's pool.
'use strict';

const { platform } = process;
require('../lib/native.cjs');
Object.defineProperty(process, 'platform', { value: 'win32' });
require('../lib/wake.cjs');
Object.defineProperty(process, 'platform', { value: platform });
