/*
 * A program for every platform, with nothing of POSIX: it makes metered calls in every way, and ends as it is told to.
 *
 *   client STEP...   create:N, stream:N, queue:N (calls in each way), flush:MS, wake (what there is to wait at), pending:N
 *                    (so many records wait), hurry (ends as when it is killed), exit
 */
#include <revenium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <winsock2.h>
#define close(socket) closesocket((SOCKET)(socket))
#else
#include <signal.h>
#include <unistd.h>
#endif

#define REQUEST(more)                                                                                       \
  "{\"model\":\"claude-haiku-4-5\",\"max_tokens\":64,\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]" more "}"
#define REPLY "You said: Hello"

static void fail(const char *what, int32_t code) {
  fprintf(stderr, "client: %s: %s (%d)\n", what, revenium_code_name(code), (int)code);
  exit(1);
}

static void needs_reply(revenium_result result, int32_t code) {
  size_t length = 0;
  const char *text;
  if (code != REVENIUM_OK) {
    fprintf(stderr, "client: %s\n", revenium_result_json(result, &length));
    fail("the call failed", code);
  }
  text = revenium_result_text(result, &length);
  if (!text || strcmp(text, REPLY) != 0 || length != strlen(REPLY)) fail(text ? text : "no text", 0);
  revenium_release(result);
}

static void create(void) {
  revenium_result result = 0;
  int32_t code = revenium_messages_create(REQUEST(""), REVENIUM_NTS, 0, &result);
  needs_reply(result, code);
}

static int32_t on_event(void *user, const revenium_event *event) {
  char *text = user;
  if (event->text && strlen(text) + event->text_len < 200) strncat(text, event->text, event->text_len);
  return 0;
}

static void stream(void) {
  char text[256] = "";
  revenium_result result = 0;
  int32_t code = revenium_messages_stream(REQUEST(",\"stream\":true"), REVENIUM_NTS, 0, on_event, text, &result);
  needs_reply(result, code);
  if (strcmp(text, REPLY) != 0) fail("the events make another text", 0);
}

/* All at once; their frames are read until each has ended. */
static void queue(int calls) {
  static uint64_t buffer[8192];
  revenium_queue queue = 0;
  int32_t code = revenium_queue_new(&queue);
  int ended = 0, events = 0;
  if (code != REVENIUM_OK) fail("no queue", code);
  for (int i = 0; i < calls; i++) {
    revenium_call call = 0;
    code = revenium_messages_submit(REQUEST(",\"stream\":true"), REVENIUM_NTS, 0, queue, (uint64_t)i, &call);
    if (code != REVENIUM_OK) fail("submit", code);
  }
  while (ended < calls) {
    size_t used = 0;
    code = revenium_queue_read(queue, buffer, sizeof buffer, 60000, &used);
    if (code != REVENIUM_OK) fail("nothing comes", code);
    for (const char *at = (const char *)buffer; at < (const char *)buffer + used;) {
      const revenium_frame *frame = (const revenium_frame *)at;
      if (frame->frame == REVENIUM_FRAME_EVENT) events++;
      if (frame->frame == REVENIUM_FRAME_RESULT) {
        if (frame->code != REVENIUM_OK) fail("a call of the queue failed", frame->code);
        ended++;
      }
      at += frame->size;
    }
  }
  if (events < calls) fail("there are too few events", events);
  revenium_release(queue);
}

static void wake(void) {
  revenium_queue queue = 0;
  int32_t fd = 7, code = revenium_queue_new(&queue);
  if (code != REVENIUM_OK) fail("no queue", code);
  code = revenium_queue_wake_fd(queue, &fd);
  if (code != REVENIUM_OK || fd < 0) fail("wake", code);
  if (close(fd) != 0) fail("the wake descriptor is none", fd);
  revenium_release(queue);
}

static void pending(long long wanted) {
  revenium_state state = {.struct_size = sizeof state};
  int32_t code = revenium_status(&state);
  if (code != REVENIUM_OK) fail("status", code);
  if (state.events_pending != wanted) fail("another number of records waits", (int32_t)state.events_pending);
}

static void hurry(void) {
#ifdef _WIN32
  TerminateProcess(GetCurrentProcess(), 9);
#else
  kill(getpid(), SIGKILL);
#endif
}

int main(int count, char **steps) {
  for (int i = 1; i < count; i++) {
    const char *colon = strchr(steps[i], ':');
    int number = colon ? atoi(colon + 1) : 1;
    size_t length = colon ? (size_t)(colon - steps[i]) : strlen(steps[i]);
    int32_t code;
#define IS(step) (length == strlen(step) && strncmp(steps[i], step, length) == 0)
    if (IS("create")) {
      for (int n = 0; n < number; n++) create();
    } else if (IS("stream")) {
      for (int n = 0; n < number; n++) stream();
    } else if (IS("queue")) {
      queue(number);
    } else if (IS("flush")) {
      if ((code = revenium_flush(number)) != REVENIUM_OK) fail("flush", code);
    } else if (IS("wake")) {
      wake();
    } else if (IS("pending")) {
      pending(number);
    } else if (IS("hurry")) {
      hurry();
    } else if (IS("exit")) {
      return 0;
    } else {
      fail(steps[i], 0);
    }
  }
  return 0;
}
