/* Calls that nobody waits for one by one: first with callbacks, then with a completion queue in an event loop. */
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "example.h"

enum { CALLS = 3, STREAMED = 1, CANCELLED = 2 }; /* the queue's calls, by their tags */

#define QUESTION(text) "model": MODEL, "max_tokens": 500, "messages": [{"role": "user", "content": text}]

static void print_result(int number, revenium_call call) {
  int32_t code = revenium_result_code(call);
  printf("call %d: %s\n", number, code == REVENIUM_OK ? revenium_result_text(call, NULL) : revenium_code_name(code));
}

/* ---- callbacks ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int running = CALLS;

/* Runs on a thread of the library, so it only says that a call is done. */
static void on_done(void *user, revenium_result result) {
  (void)user;
  (void)result;
  pthread_mutex_lock(&lock);
  running--;
  pthread_cond_signal(&changed);
  pthread_mutex_unlock(&lock);
}

static void with_callbacks(void) {
  static const char *requests[CALLS] = {
    JSON({QUESTION("First callback.")}),
    JSON({QUESTION("Second callback.")}),
    JSON({QUESTION("Third callback.")}),
  };
  revenium_call calls[CALLS];
  for (int i = 0; i < CALLS; i++)
    check(revenium_messages_start(requests[i], REVENIUM_NTS, REVENIUM_SCOPE_NONE, NULL, on_done, NULL, &calls[i]), &calls[i]);

  pthread_mutex_lock(&lock);
  while (running > 0) pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);

  for (int i = 0; i < CALLS; i++) {
    check(revenium_result_code(calls[i]), &calls[i]);
    print_result(i + 1, calls[i]);
    revenium_release(calls[i]);
  }
}

/* ---- completion queue ---- */

/* Reads every frame that is there, and returns how many calls have ended. */
static int drain(revenium_queue queue, int deltas[CALLS]) {
  static uint64_t buffer[8192]; /* of 64-bit words, because frames are aligned to 8 */
  size_t used;
  int32_t code;
  int ended = 0;
  while ((code = revenium_queue_read(queue, buffer, sizeof buffer, 0, &used)) == REVENIUM_OK) {
    for (size_t at = 0; at < used;) {
      const revenium_frame *frame = (const void *)((const char *)buffer + at);
      if (frame->frame == REVENIUM_FRAME_RESULT) ended++;
      if (frame->frame == REVENIUM_FRAME_EVENT && frame->code == REVENIUM_EVENT_CONTENT_BLOCK_DELTA) {
        deltas[frame->tag]++;
        if (frame->tag == CANCELLED) check(revenium_call_cancel(frame->call), NULL);
      }
      at += frame->size;
    }
  }
  check(code, NULL); /* REVENIUM_EMPTY is no error */
  return ended;
}

static void with_a_queue(void) {
  static const char *requests[CALLS] = {
    JSON({QUESTION("Into the queue, whole.")}),
    JSON({QUESTION("Into the queue, piece by piece."), "stream": true}),
    JSON({QUESTION("Count from one to fifty in words. The end of it will reach nobody."), "stream": true}),
  };
  revenium_queue queue;
  revenium_call calls[CALLS];
  int wake, deltas[CALLS] = {0};
  check(revenium_queue_new(&queue), NULL);
  check(revenium_queue_wake_fd(queue, &wake), NULL);
  for (int i = 0; i < CALLS; i++)
    check(revenium_messages_submit(requests[i], REVENIUM_NTS, REVENIUM_SCOPE_NONE, queue, (uint64_t)i, &calls[i]), &calls[i]);

  for (int ended = 0; ended < CALLS;) {
    struct pollfd readable = {.fd = wake, .events = POLLIN};
    char dropped[64];
    poll(&readable, 1, -1); /* an event loop would watch its other descriptors here too */
    while (recv(wake, dropped, sizeof dropped, 0) > 0) continue;
    ended += drain(queue, deltas);
  }

  for (int i = 0; i < CALLS; i++) {
    print_result(i + 1, calls[i]);
    revenium_release(calls[i]);
  }
  printf("call %d came %s\n", STREAMED + 1, deltas[STREAMED] > 1 ? "in pieces" : "in one piece");
  revenium_release(queue);
  close(wake);
}

int main(void) {
  with_callbacks();
  with_a_queue();
  revenium_shutdown(5000);
  return 0;
}
