'use strict';
// WAKE: how the event loop hears that frames have come: `wake(queue, read)` calls `read()` then. `ref()` while somebody waits
// for some, which keeps the process alive; `unref()` when nobody does any more.

const { AsyncLocalStorage } = require('node:async_hooks');
const net = require('node:net');
const { native } = require('./native.cjs');
const { check } = require('./errors.cjs').internal;

/** How long a thread of libuv's pool waits at a time, and how often what nobody waits for is looked for. */
const WAIT_MS = 100;
const LOOK_MS = 100;

/** A socket on the queue's wake descriptor. */
function bySocket(queue, read) {
  const fd = new Int32Array(1);
  check(native.queue_wake_fd(queue, fd));
  // What it reads says nothing, and always lands in the same few bytes.
  const onread = { buffer: Buffer.alloc(64), callback: read };
  const socket = new net.Socket({ fd: fd[0], readable: true, writable: false, onread });
  // Its end tells nothing that the frames do not tell.
  socket.on('error', () => {});
  socket.resume();
  // An idle library never keeps the process alive; calls under way do.
  return socket.unref();
}

/** On Windows Node.js takes no socket that it has not made: a thread of its pool waits in C. */
function byThread(queue, read) {
  const used = new BigUint64Array(1);
  // Outside of the request that happens to begin a wait: it would live as long as calls are under way.
  const outside = AsyncLocalStorage.snapshot();
  let wanted = false;
  let waiting = false;
  setInterval(() => wanted || read(), LOOK_MS).unref();

  function wait() {
    if (waiting || !wanted) return;
    waiting = true;
    // With room for no frame it only waits.
    native.queue_read.async(queue, null, 0, WAIT_MS, used, () => {
      waiting = false;
      read();
      wait();
    });
  }

  return {
    ref() {
      wanted = true;
      outside(wait);
    },
    unref() {
      wanted = false;
    },
  };
}

module.exports = { wake: process.platform === 'win32' ? byThread : bySocket };
