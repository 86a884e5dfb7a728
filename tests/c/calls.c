/*
 * The four ways to call: create and stream wait, start runs callbacks, submit fills a queue. All end in the same result.
 *
 * With "smoke" as its argument each way runs once, for tools that make programs slow.
 */
#include "util.h"

#ifdef _WIN32
#define poll WSAPoll
static int would_block(void) { return WSAGetLastError() == WSAEWOULDBLOCK; }
static int for_this_process_alone(int32_t socket) {
  DWORD flags = HANDLE_FLAG_INHERIT;
  return GetHandleInformation((HANDLE)(intptr_t)socket, &flags) && !(flags & HANDLE_FLAG_INHERIT);
}
#else
#include <fcntl.h>
#include <poll.h>
static int would_block(void) { return errno == EAGAIN; }
static int for_this_process_alone(int32_t fd) { return fcntl(fd, F_GETFD) & FD_CLOEXEC; }
#endif

/* ---- create: wait for the reply ---- */

/* What every reader gives for a successful reply to REQUEST(). */
static void check_reply(revenium_result result) {
  static const char *const facts[] = {
      "\"code\":\"REVENIUM_OK\"",       "\"http_status\":200",  "\"request_id\":\"req_sandbox_",
      "\"provider\":\"anthropic\"",     "\"model\":\"claude-", "\"stop_reason\":\"end_turn\"",
      "\"transaction_id\":\"msg_sandbox_", "\"duration_ms\":",     "\"attempts\":1",
      "\"metered\":true",               "\"headers\":{"};
  revenium_usage usage = {.struct_size = sizeof usage};
  size_t len;
  const char *json = revenium_result_json(result, &len);

  CHECK_CODE(revenium_result_code(result), REVENIUM_OK);
  CHECK_HAS(json, "\"type\":\"message\"");
  CHECK_HAS(json, REPLY);
  CHECK_INT(len, strlen(json));
  CHECK_TEXT(revenium_result_text(result, &len), REPLY);
  CHECK_INT(len, strlen(REPLY));
  CHECK_TEXT(revenium_result_message(result, &len), "");
  CHECK_INT(len, 0);
  CHECK_HAS(revenium_result_request_id(result, NULL), "req_sandbox_");
  for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) CHECK_HAS(revenium_result_info(result, NULL), facts[i]);

  CHECK_CODE(revenium_result_usage(result, &usage), REVENIUM_OK);
  CHECK_INT(usage.struct_size, sizeof usage);
  CHECK_INT(usage.metered, 1);
  CHECK_INT(usage.input_tokens, 10);
  CHECK_INT(usage.output_tokens, 4);
  CHECK_INT(usage.cache_creation_input_tokens, 0);
  CHECK_INT(usage.cache_read_input_tokens, 0);

  /* A pointer belongs to its handle: the second reading gives the same one. */
  CHECK(revenium_result_json(result, NULL) == json);
}

static void create(void) {
  revenium_result result;
  CHECK_CODE(revenium_messages_create(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_THREAD, &result), REVENIUM_OK);
  check_reply(result);
  CHECK_CODE(revenium_release(result), REVENIUM_OK);
  CHECK_CODE(revenium_release(result), REVENIUM_E_HANDLE);
  CHECK(revenium_result_json(result, NULL) == NULL);
}

static void create_with_stream_true_gives_the_same_result(void) {
  revenium_result result;
  CHECK_CODE(revenium_messages_create(REQUEST(STREAMED), REVENIUM_NTS, REVENIUM_SCOPE_THREAD, &result), REVENIUM_OK);
  check_reply(result);
  revenium_release(result);
}

static void a_length_instead_of_a_nul(void) {
  static const char bytes[] = REQUEST("") "and more";
  revenium_result result;
  CHECK_CODE(revenium_messages_create(bytes, strlen(REQUEST("")), REVENIUM_SCOPE_NONE, &result), REVENIUM_OK);
  CHECK_TEXT(revenium_result_text(result, NULL), REPLY);
  revenium_release(result);
}

static void what_is_sent_is_what_was_given_less_our_members(void) {
  static const char request[] =
      "{ \"max_tokens\" : 64, \"usage_metadata\":{\"trace_id\":\"secret\"},\"x_new\":[1.0e0],\"model\":\"sandbox-ok\","
      "\"revenium\":{\"max_retries\":0},\"messages\":[{\"role\":\"user\",\"content\":\"\\u0041\"}] }";
  revenium_result result;
  char *requests;
  sandbox_delete("/sandbox/requests");
  CHECK_CODE(revenium_messages_create(request, REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result), REVENIUM_OK);
  revenium_release(result);
  requests = sandbox_get("/sandbox/requests?service=anthropic");
  CHECK_HAS(requests, "\"x_new\":[1.0e0]");
  CHECK_HAS(requests, "\"\\u0041\"");
  CHECK(!strstr(requests, "usage_metadata"));
  CHECK(!strstr(requests, "max_retries"));
  CHECK(!strstr(requests, "secret"));
  free(requests);
}

static void handles_are_numbers_that_never_come_back(void) {
  revenium_result result, last = 15;
  for (int i = 0; i < 20; i++) {
    CHECK_CODE(revenium_messages_create(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result), REVENIUM_OK);
    CHECK(result > last && result < (UINT64_C(1) << 53));
    last = result;
    revenium_release(result);
  }
}

/* ---- stream: wait, with a callback on this thread ---- */

/* What the callbacks of one call saw. */
struct transcript {
  pthread_t thread;      /* where the events ran */
  revenium_call call;    /* what the events said */
  int stop_at;           /* the event to return non-zero at; 0: none */
  int events;
  int texts;
  char kinds[1024];      /* one digit for each event */
  char text[8192];
  revenium_result result; /* what on_done got */
  atomic_int done;
};

static int32_t on_event(void *user, const revenium_event *event) {
  struct transcript *seen = user;
  CHECK_INT(event->struct_size, sizeof *event);
  CHECK(!atomic_load(&seen->done));
  CHECK(event->json && event->json[event->json_len] == 0);
  CHECK_INT(strlen(event->json), event->json_len);
  CHECK_HAS(event->json, "\"type\":");
  if (event->text) {
    CHECK_INT(event->kind, REVENIUM_EVENT_CONTENT_BLOCK_DELTA);
    CHECK_INT(strlen(event->text), event->text_len);
    strcat(seen->text, event->text);
    seen->texts++;
  } else {
    CHECK_INT(event->text_len, 0);
  }
  seen->thread = pthread_self();
  seen->call = event->call;
  seen->kinds[seen->events++] = (char)('0' + event->kind);
  CHECK(!seen->stop_at || seen->events <= seen->stop_at);
  return seen->events == seen->stop_at;
}

static void stream(void) {
  struct transcript seen = {0};
  revenium_result result;
  CHECK_CODE(revenium_messages_stream(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_THREAD, on_event, &seen, &result),
             REVENIUM_OK);
  check_reply(result);
  CHECK(pthread_equal(seen.thread, pthread_self()));
  CHECK_INT(seen.call, 0);
  /* message_start, content_block_start, ping, a delta for each word, content_block_stop, message_delta, message_stop */
  CHECK_TEXT(seen.kinds, "127" "333" "456");
  CHECK_TEXT(seen.text, REPLY);
  CHECK_HAS(revenium_result_info(result, NULL), "\"time_to_first_token_ms\":");
  revenium_release(result);
}

static void a_callback_stops_its_stream(void) {
  struct transcript seen = {.stop_at = 5};
  revenium_usage usage = {.struct_size = sizeof usage};
  revenium_result result;
  CHECK_CODE(revenium_messages_stream(REQUEST(ANSWER("deltas=1000; gap_ms=20")), REVENIUM_NTS, REVENIUM_SCOPE_NONE,
                                      on_event, &seen, &result),
             REVENIUM_E_CANCELLED);
  CHECK_CODE(revenium_result_code(result), REVENIUM_E_CANCELLED);
  CHECK_INT(seen.events, 5);
  CHECK_TEXT(seen.text, "token token ");
  /* What had arrived is readable: at least what the callback was shown. */
  CHECK_HAS(revenium_result_text(result, NULL), "token token ");
  CHECK_CODE(revenium_result_usage(result, &usage), REVENIUM_OK);
  CHECK_INT(usage.input_tokens, 10);
  CHECK(strlen(revenium_result_message(result, NULL)) > 0);
  revenium_release(result);
}

static int32_t calls_again(void *user, const revenium_event *event) {
  revenium_result result;
  if (event->kind == REVENIUM_EVENT_MESSAGE_START) {
    *(int32_t *)user = revenium_messages_create(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result);
    revenium_release(result);
  }
  return 0;
}

static void a_stream_callback_may_wait_as_it_runs_on_the_callers_thread(void) {
  int32_t inner = -1;
  revenium_result result;
  CHECK_CODE(revenium_messages_stream(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, calls_again, &inner, &result),
             REVENIUM_OK);
  CHECK_CODE(inner, REVENIUM_OK);
  revenium_release(result);
}

/* ---- start: callbacks on threads of the library ---- */

static void on_done(void *user, revenium_result result) {
  struct transcript *seen = user;
  check_reply(result);
  CHECK(seen->events == 0 || seen->call == result);
  seen->result = result;
  atomic_fetch_add(&seen->done, 1);
}

static void start(void) {
  struct transcript seen = {0};
  revenium_call call;
  CHECK_CODE(revenium_messages_start(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, on_event, on_done, &seen, &call),
             REVENIUM_OK);
  CHECK_EVENTUALLY(atomic_load(&seen.done));
  CHECK(!pthread_equal(seen.thread, pthread_self()));
  CHECK_TEXT(seen.kinds, "127" "333" "456");
  CHECK_TEXT(seen.text, REPLY);
  /* Taken from start(), the handle outlives on_done and is the result. */
  CHECK_INT(seen.result, call);
  check_reply(call);
  CHECK_CODE(revenium_call_cancel(call), REVENIUM_OK);
  CHECK_CODE(revenium_release(call), REVENIUM_OK);
  CHECK_CODE(revenium_release(call), REVENIUM_E_HANDLE);
  CHECK_INT(atomic_load(&seen.done), 1);
}

static void start_without_taking_the_handle(void) {
  struct transcript seen = {0};
  CHECK_CODE(revenium_messages_start(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, NULL, on_done, &seen, NULL),
             REVENIUM_OK);
  CHECK_EVENTUALLY(atomic_load(&seen.done));
  CHECK_INT(seen.events, 0);
  /* The handle on_done got ends with on_done. */
  CHECK_EVENTUALLY(revenium_result_code(seen.result) == REVENIUM_E_HANDLE);
  CHECK_INT(atomic_load(&seen.done), 1);
}

static void start_and_release_at_once(void) {
  struct transcript seen = {0};
  revenium_call call;
  CHECK_CODE(revenium_messages_start(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, on_event, on_done, &seen, &call),
             REVENIUM_OK);
  /* The call goes on and still reports. */
  CHECK_CODE(revenium_release(call), REVENIUM_OK);
  CHECK_EVENTUALLY(atomic_load(&seen.done));
  CHECK_TEXT(seen.text, REPLY);
}

static void many_started_at_once_each_report_once(void) {
  enum { CALLS = 100 };
  static struct transcript seen[CALLS];
  for (int i = 0; i < CALLS; i++) {
    CHECK_CODE(revenium_messages_start(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, on_event, on_done, &seen[i], NULL),
               REVENIUM_OK);
  }
  for (int i = 0; i < CALLS; i++) {
    CHECK_EVENTUALLY(atomic_load(&seen[i].done));
    CHECK_TEXT(seen[i].text, REPLY);
  }
  for (int i = 0; i < CALLS; i++) CHECK_INT(atomic_load(&seen[i].done), 1);
}

/* ---- submit: events and results arrive in a queue ---- */

/* What a queue gave. */
struct inbox {
  char order[4096]; /* one letter for each frame: H, E, R */
  int frames;
  int results;
  int32_t code; /* of the last RESULT */
  char text[8192];
};

/* Reads frames of one call until its RESULT. */
static void read_result(revenium_queue queue, revenium_call call, uint64_t tag, struct inbox *inbox) {
  FRAME_BUFFER(buffer, 4096);
  size_t used;
  while (!inbox->results) {
    int32_t code = revenium_queue_read(queue, buffer, sizeof buffer, 60000, &used);
    if (!CHECK_CODE(code, REVENIUM_OK)) return;
    CHECK(used > 0 && used <= sizeof buffer);
    FOR_EACH_FRAME(frame, buffer, used) {
      const char *body = frame_body(frame);
      CHECK_INT(frame->tag, tag);
      CHECK_INT(frame->call, call);
      CHECK_INT(frame->size % 8, 0);
      CHECK(frame->size > sizeof *frame + frame->body_size);
      CHECK_INT(strlen(body), frame->body_size);
      if (frame->frame == REVENIUM_FRAME_HEAD) {
        CHECK_INT(frame->code, 200);
        CHECK_HAS(body, "\"http_status\":200");
        CHECK_HAS(body, "\"provider\":\"anthropic\"");
        CHECK_HAS(body, "\"content-type\":\"text/event-stream");
        inbox->order[inbox->frames++] = 'H';
      } else if (frame->frame == REVENIUM_FRAME_EVENT) {
        CHECK_HAS(body, "\"type\":");
        inbox->order[inbox->frames++] = 'E';
      } else if (CHECK_INT(frame->frame, REVENIUM_FRAME_RESULT)) {
        inbox->order[inbox->frames++] = 'R';
        inbox->code = frame->code;
        inbox->results++;
        strcpy(inbox->text, body);
      }
    }
  }
}

static void submit(void) {
  FRAME_BUFFER(buffer, 256);
  struct inbox inbox = {0};
  revenium_queue queue;
  revenium_call call;
  size_t used;
  CHECK_CODE(revenium_queue_new(&queue), REVENIUM_OK);
  CHECK_CODE(revenium_messages_submit(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, queue, UINT64_MAX, &call),
             REVENIUM_OK);
  read_result(queue, call, UINT64_MAX, &inbox);
  CHECK_TEXT(inbox.order, "R");
  CHECK_CODE(inbox.code, REVENIUM_OK);
  CHECK_TEXT(inbox.text, revenium_result_json(call, NULL));
  check_reply(call);
  CHECK_CODE(revenium_queue_read(queue, buffer, sizeof buffer, 0, &used), REVENIUM_EMPTY);
  CHECK_INT(used, 0);
  revenium_release(call);
  CHECK_CODE(revenium_release(queue), REVENIUM_OK);
  CHECK_CODE(revenium_queue_read(queue, buffer, sizeof buffer, 0, &used), REVENIUM_E_HANDLE);
}

static void submit_streamed(void) {
  struct inbox inbox = {0};
  revenium_queue queue;
  revenium_call call;
  revenium_queue_new(&queue);
  CHECK_CODE(revenium_messages_submit(REQUEST(STREAMED), REVENIUM_NTS, REVENIUM_SCOPE_NONE, queue, 7, &call), REVENIUM_OK);
  read_result(queue, call, 7, &inbox);
  CHECK_TEXT(inbox.order, "HEEEEEEEEER");
  CHECK_TEXT(inbox.text, revenium_result_json(call, NULL));
  check_reply(call);
  revenium_release(call);
  revenium_release(queue);
}

static void a_wake_descriptor_tells_when_to_read(void) {
  FRAME_BUFFER(buffer, 4096);
  revenium_queue queue;
  revenium_call call;
  int32_t fd = -1;
  int results = 0;
  size_t used;
  revenium_queue_new(&queue);
  CHECK_CODE(revenium_queue_wake_fd(queue, &fd), REVENIUM_OK);
  REQUIRE(fd >= 0);
  CHECK(for_this_process_alone(fd));
  CHECK_CODE(revenium_messages_submit(REQUEST(STREAMED ANSWER("deltas=10; gap_ms=5")), REVENIUM_NTS, REVENIUM_SCOPE_NONE,
                                      queue, 1, &call),
             REVENIUM_OK);
  while (!results) {
    struct pollfd wake = {.fd = fd, .events = POLLIN};
    char bytes[64];
    int32_t code;
    REQUIRE(poll(&wake, 1, 60000) == 1);
    /* It is a socket, and does not block. */
    while (recv(fd, bytes, sizeof bytes, 0) > 0) continue;
    CHECK(would_block());
    while ((code = revenium_queue_read(queue, buffer, sizeof buffer, 0, &used)) == REVENIUM_OK) {
      FOR_EACH_FRAME(frame, buffer, used) results += frame->frame == REVENIUM_FRAME_RESULT;
    }
    CHECK_CODE(code, REVENIUM_EMPTY);
  }
  CHECK_INT(results, 1);
  CHECK_CODE(revenium_release(call), REVENIUM_OK);
  CHECK_CODE(revenium_release(queue), REVENIUM_OK);
  CHECK_INT(close(fd), 0);
}

static void a_small_buffer_is_told_and_loses_nothing(void) {
  FRAME_BUFFER(buffer, 65536);
  char order[64] = "";
  revenium_queue queue;
  revenium_call call;
  size_t used, needed, frames = 0;
  revenium_queue_new(&queue);
  CHECK_CODE(revenium_messages_submit(REQUEST(STREAMED), REVENIUM_NTS, REVENIUM_SCOPE_NONE, queue, 1, &call), REVENIUM_OK);
  while (!strchr(order, 'R')) {
    /* Not even a header fits: nothing is written but what the next frame needs. */
    int32_t code = revenium_queue_read(queue, buffer, 8, 60000, &needed);
    if (!CHECK_CODE(code, REVENIUM_E_BUFFER)) break;
    if (!CHECK(needed >= sizeof(revenium_frame) && needed <= sizeof buffer)) break;
    CHECK_CODE(revenium_queue_read(queue, buffer, needed - 8, 0, &used), REVENIUM_E_BUFFER);
    CHECK_INT(used, needed);
    /* Just enough is enough, for this one frame. */
    CHECK_CODE(revenium_queue_read(queue, buffer, needed, 0, &used), REVENIUM_OK);
    CHECK_INT(used, needed);
    CHECK_INT(((revenium_frame *)buffer)->size, needed);
    order[frames++] = "?ER??H"[((revenium_frame *)buffer)->frame];
  }
  CHECK_TEXT(order, "HEEEEEEEEER");
  revenium_release(call);
  revenium_release(queue);
}

static void a_slow_reader_loses_nothing(void) {
  enum { DELTAS = 3000, BYTES = 1200 };
  FRAME_BUFFER(buffer, 65536);
  revenium_queue queue;
  revenium_call call;
  size_t used, texts = 0, results = 0;
  revenium_queue_new(&queue);
  CHECK_CODE(revenium_messages_submit(REQUEST(STREAMED ANSWER("deltas=3000; delta_bytes=1200")), REVENIUM_NTS,
                                      REVENIUM_SCOPE_NONE, queue, 1, &call),
             REVENIUM_OK);
  /* Other calls go on meanwhile. */
  for (int i = 0; i < 20; i++) create();
  CHECK_CODE(revenium_result_code(call), REVENIUM_EMPTY);
  while (!results) {
    if (!CHECK_CODE(revenium_queue_read(queue, buffer, sizeof buffer, 60000, &used), REVENIUM_OK)) break;
    FOR_EACH_FRAME(frame, buffer, used) {
      texts += frame->frame == REVENIUM_FRAME_EVENT && frame->code == REVENIUM_EVENT_CONTENT_BLOCK_DELTA;
      results += frame->frame == REVENIUM_FRAME_RESULT;
      /* The whole message is larger than this buffer: take it from the call, not from the frame. */
    }
    if (texts == DELTAS) break;
  }
  CHECK_INT(texts, DELTAS);
  CHECK_EVENTUALLY(revenium_result_code(call) == REVENIUM_OK);
  CHECK_INT(strlen(revenium_result_text(call, NULL)), DELTAS * BYTES);
  revenium_release(call);
  revenium_release(queue);
}

static void releasing_a_queue_cancels_its_calls(void) {
  revenium_queue queue;
  revenium_call call;
  revenium_queue_new(&queue);
  CHECK_CODE(revenium_messages_submit(REQUEST(STREAMED ENDLESS), REVENIUM_NTS, REVENIUM_SCOPE_NONE, queue, 1, &call),
             REVENIUM_OK);
  CHECK_CODE(revenium_release(queue), REVENIUM_OK);
  CHECK_EVENTUALLY(revenium_result_code(call) == REVENIUM_E_CANCELLED);
  revenium_release(call);
}

/* ---- readers ---- */

static void a_running_call_has_no_result_yet(void) {
  FRAME_BUFFER(buffer, 4096);
  revenium_usage usage = {.struct_size = sizeof usage};
  revenium_queue queue;
  revenium_call call;
  size_t used, len = 1;
  revenium_queue_new(&queue);
  CHECK_CODE(revenium_messages_submit(REQUEST(STREAMED ENDLESS), REVENIUM_NTS, REVENIUM_SCOPE_NONE, queue, 1, &call),
             REVENIUM_OK);
  CHECK_CODE(revenium_queue_read(queue, buffer, sizeof buffer, 60000, &used), REVENIUM_OK);
  CHECK_INT(((revenium_frame *)buffer)->frame, REVENIUM_FRAME_HEAD);
  CHECK_CODE(revenium_result_code(call), REVENIUM_EMPTY);
  CHECK(revenium_result_json(call, &len) == NULL);
  CHECK_INT(len, 0);
  CHECK(revenium_result_text(call, NULL) == NULL);
  CHECK(revenium_result_message(call, NULL) == NULL);
  CHECK(revenium_result_request_id(call, NULL) == NULL);
  CHECK_CODE(revenium_result_usage(call, &usage), REVENIUM_E_HANDLE);
  /* From the provider's first answer on. */
  CHECK_HAS(revenium_result_info(call, NULL), "\"http_status\":200");
  revenium_call_cancel(call);
  CHECK_EVENTUALLY(revenium_result_code(call) == REVENIUM_E_CANCELLED);
  CHECK(revenium_result_json(call, NULL) != NULL);
  revenium_release(call);
  revenium_release(queue);
}

/* Structs only grow at their end; both sides use what both know. */
static void structs_of_other_versions(void) {
  struct {
    revenium_usage usage;
    int64_t of_a_later_version;
  } later = {{.struct_size = sizeof later}, 77};
  revenium_usage earlier = {.struct_size = offsetof(revenium_usage, output_tokens), .output_tokens = 88};
  struct {
    revenium_state state;
    int64_t of_a_later_version;
  } later_state = {{.struct_size = sizeof later_state}, 99};
  revenium_state earlier_state = {.struct_size = offsetof(revenium_state, calls_failed), .calls_failed = 55};
  revenium_result result;
  revenium_messages_create(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result);

  CHECK_CODE(revenium_result_usage(result, &later.usage), REVENIUM_OK);
  CHECK_INT(later.usage.struct_size, sizeof(revenium_usage));
  CHECK_INT(later.usage.output_tokens, 4);
  CHECK_INT(later.of_a_later_version, 77);

  CHECK_CODE(revenium_result_usage(result, &earlier), REVENIUM_OK);
  CHECK_INT(earlier.struct_size, offsetof(revenium_usage, output_tokens));
  CHECK_INT(earlier.input_tokens, 10);
  CHECK_INT(earlier.output_tokens, 88);

  CHECK_CODE(revenium_status(&later_state.state), REVENIUM_OK);
  CHECK_INT(later_state.state.struct_size, sizeof(revenium_state));
  CHECK_INT(later_state.of_a_later_version, 99);

  CHECK_CODE(revenium_status(&earlier_state), REVENIUM_OK);
  CHECK(earlier_state.calls_started > 0);
  CHECK_INT(earlier_state.calls_failed, 55);
  revenium_release(result);
}

static void status_counts(void) {
  revenium_state before = {.struct_size = sizeof before}, after = before;
  revenium_result result;
  CHECK_CODE(revenium_flush(60000), REVENIUM_OK);
  CHECK_CODE(revenium_status(&before), REVENIUM_OK);
  CHECK_INT(before.initialized, 1);
  CHECK_INT(before.provider, REVENIUM_PROVIDER_ANTHROPIC);
  CHECK_INT(before.metering, 1);
  CHECK_INT(before.events_pending, 0);
  CHECK_INT(before.events_dropped, 0);
  CHECK_INT(before.last_error, 0);
  CHECK_INT(before.last_http_status, 0);
  CHECK_INT(revenium_is_initialized(), 1);

  revenium_messages_create(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result);
  revenium_release(result);
  CHECK_CODE(revenium_messages_create(REQUEST(ANSWER("status=400")), REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result),
             REVENIUM_E_BAD_REQUEST);
  revenium_release(result);
  CHECK_CODE(revenium_flush(60000), REVENIUM_OK);
  CHECK_CODE(revenium_status(&after), REVENIUM_OK);
  CHECK_INT(after.calls_in_flight, 0);
  CHECK_INT(after.calls_started - before.calls_started, 2);
  CHECK_INT(after.calls_failed - before.calls_failed, 1);
  CHECK_INT(after.events_delivered - before.events_delivered, 2);
  CHECK_INT(after.events_pending, 0);

  CHECK_CODE(revenium_status_json(&result), REVENIUM_OK);
  CHECK_HAS(revenium_result_json(result, NULL), "\"settings\":");
  CHECK(!strstr(revenium_result_json(result, NULL), "sk-ant-sandbox"));
  CHECK(!strstr(revenium_result_json(result, NULL), getenv("REVENIUM_METERING_API_KEY")));
  revenium_release(result);
}

static int notices_dropped(void) {
  revenium_result result;
  CHECK_CODE(revenium_status_json(&result), REVENIUM_OK);
  const char *count = strstr(revenium_result_json(result, NULL), "\"notices_dropped\":");
  CHECK(count);
  int dropped = atoi(count + strlen("\"notices_dropped\":"));
  revenium_release(result);
  return dropped;
}

static void notices_that_nobody_reads_are_counted(void) {
  revenium_queue queue;
  revenium_result result;
  CHECK_INT(notices_dropped(), 0);
  CHECK_CODE(revenium_queue_new(&queue), REVENIUM_OK);
  CHECK_CODE(revenium_queue_subscribe(queue, REVENIUM_TOPIC_LOG, REVENIUM_LOG_DEBUG), REVENIUM_OK);
  for (int calls = 0; calls < 2000 && notices_dropped() == 0; calls++) {
    revenium_messages_create(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result);
    revenium_release(result);
  }
  CHECK(notices_dropped() > 0);
  revenium_release(queue);
}

int main(int argc, char **argv) {
  int smoke = argc > 1 && strcmp(argv[1], "smoke") == 0;
  CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
  RUN(create);
  RUN(stream);
  RUN(start);
  RUN(submit_streamed);
  RUN(structs_of_other_versions);
  if (!smoke) {
    RUN(create_with_stream_true_gives_the_same_result);
    RUN(a_length_instead_of_a_nul);
    RUN(what_is_sent_is_what_was_given_less_our_members);
    RUN(handles_are_numbers_that_never_come_back);
    RUN(a_callback_stops_its_stream);
    RUN(a_stream_callback_may_wait_as_it_runs_on_the_callers_thread);
    RUN(start_without_taking_the_handle);
    RUN(start_and_release_at_once);
    RUN(many_started_at_once_each_report_once);
    RUN(submit);
    RUN(a_wake_descriptor_tells_when_to_read);
    RUN(a_small_buffer_is_told_and_loses_nothing);
    RUN(a_slow_reader_loses_nothing);
    RUN(releasing_a_queue_cancels_its_calls);
    RUN(a_running_call_has_no_result_yet);
    RUN(status_counts);
    RUN(notices_that_nobody_reads_are_counted);
  }
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
  return test_end();
}
