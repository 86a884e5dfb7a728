/* How calls fail: provider errors, broken streams, timeouts, cancellation, too many calls, waiting where one must not. */
#include "util.h"

/* ---- what the provider answers ---- */

static void http_statuses_are_codes(void) {
  static const struct {
    int status;
    int32_t code;
  } table[] = {
      {400, REVENIUM_E_BAD_REQUEST},       {401, REVENIUM_E_AUTHENTICATION},
      {403, REVENIUM_E_PERMISSION_DENIED}, {404, REVENIUM_E_NOT_FOUND},
      {409, REVENIUM_E_CONFLICT},          {413, REVENIUM_E_REQUEST_TOO_LARGE},
      {418, REVENIUM_E_API},               {422, REVENIUM_E_UNPROCESSABLE},
      {429, REVENIUM_E_RATE_LIMIT},        {500, REVENIUM_E_INTERNAL_SERVER},
      {503, REVENIUM_E_INTERNAL_SERVER},   {529, REVENIUM_E_OVERLOADED},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    for (int streamed = 0; streamed < 2; streamed++) {
      revenium_usage usage = {.struct_size = sizeof usage};
      revenium_result result;
      char request[512], expected[64];
      snprintf(request, sizeof request, "%s,\"stream\":%s,\"revenium\":{\"max_retries\":0,\"headers\":{\"x-sandbox\":\"status=%d\"}}}",
               "{\"model\":\"claude-haiku-4-5\",\"max_tokens\":64,\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]",
               streamed ? "true" : "false", table[i].status);
      CHECK_CODE(revenium_messages_create(request, REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result), table[i].code);
      CHECK_CODE(revenium_result_code(result), table[i].code);
      /* The body is what the provider sent. */
      CHECK_HAS(revenium_result_json(result, NULL), "\"type\":\"error\"");
      CHECK_HAS(revenium_result_json(result, NULL), "lanned by the sandbox");
      CHECK_TEXT(revenium_result_text(result, NULL), "");
      /* What it says of the request is for a person, too; what it says of itself is not. */
      CHECK_HAS(revenium_result_message(result, NULL), "The provider answered ");
      CHECK(!strstr(revenium_result_message(result, NULL), "It says: \"") == (table[i].status >= 500 || table[i].status == 418));
      CHECK_HAS(revenium_result_request_id(result, NULL), "req_sandbox_");
      snprintf(expected, sizeof expected, "\"http_status\":%d", table[i].status);
      CHECK_HAS(revenium_result_info(result, NULL), expected);
      CHECK_HAS(revenium_result_info(result, NULL), "\"attempts\":1");
      CHECK_CODE(revenium_result_usage(result, &usage), REVENIUM_OK);
      CHECK_INT(usage.input_tokens, -1);
      CHECK_INT(usage.output_tokens, -1);
      CHECK_INT(usage.metered, 1);
      revenium_release(result);
    }
  }
}

static void retry_after_is_told(void) {
  revenium_result result;
  CHECK_CODE(revenium_messages_create(REQUEST(ANSWER("status=429; retry-after=7")), REVENIUM_NTS, REVENIUM_SCOPE_NONE,
                                      &result),
             REVENIUM_E_RATE_LIMIT);
  CHECK_INT(json_number(revenium_result_info(result, NULL), "retry_after_ms"), 7000);
  revenium_release(result);
}

static void a_passing_fault_is_retried(void) {
  revenium_result result;
  sandbox_post("/sandbox/plan", "{\"path\":\"/v1/messages\",\"answers\":[{\"status\":529},\"reset\",{}]}");
  CHECK_CODE(revenium_messages_create(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result), REVENIUM_OK);
  CHECK_TEXT(revenium_result_text(result, NULL), REPLY);
  CHECK_INT(json_number(revenium_result_info(result, NULL), "attempts"), 3);
  revenium_release(result);
  sandbox_delete("/sandbox/plan");
}

static void nobody_listens(void) {
  revenium_result result;
  CHECK_CODE(revenium_messages_create(REQUEST(CHOICES("\"api_key\":\"k\",\"base_url\":\"http://127.0.0.1:9\"")), REVENIUM_NTS,
                                      REVENIUM_SCOPE_NONE, &result),
             REVENIUM_E_CONNECTION);
  /* An error of ours has the shape of the provider's. */
  CHECK_HAS(revenium_result_json(result, NULL), "\"type\":\"error\"");
  CHECK_TEXT(revenium_result_request_id(result, NULL), "");
  revenium_release(result);
}

/* ---- streams that break ---- */

static int32_t go_on(void *user, const revenium_event *event) {
  *(int *)user += event->text != NULL;
  return 0;
}

static void a_broken_stream_keeps_what_arrived(void) {
  static const struct {
    const char *request;
    int32_t code;
  } table[] = {
      {REQUEST(ANSWER("deltas=4; end=cut")), REVENIUM_E_STREAM},
      {REQUEST(ANSWER("deltas=4; gap_ms=5; end=cut")), REVENIUM_E_STREAM},
      {REQUEST(ANSWER("deltas=4; error=overloaded_error")), REVENIUM_E_OVERLOADED},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    revenium_usage usage = {.struct_size = sizeof usage};
    revenium_result result;
    int texts = 0;
    CHECK_CODE(revenium_messages_stream(table[i].request, REVENIUM_NTS, REVENIUM_SCOPE_NONE, go_on, &texts, &result),
               table[i].code);
    CHECK_INT(texts, 4);
    CHECK_TEXT(revenium_result_text(result, NULL), "token token token token ");
    CHECK_CODE(revenium_result_usage(result, &usage), REVENIUM_OK);
    CHECK_INT(usage.input_tokens, 10);
    CHECK_INT(usage.output_tokens, 1); /* what message_start said */
    CHECK_INT(usage.metered, 1);
    CHECK_HAS(revenium_result_json(result, NULL), "\"type\":\"error\"");
    revenium_release(result);
  }
}

static void a_stream_that_never_began(void) {
  static const char *const requests[] = {REQUEST(ANSWER("end=close")), REQUEST(ANSWER("end=reset; deltas=0"))};
  for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
    revenium_result result;
    int texts = 0;
    int32_t code =
        revenium_messages_stream(requests[i], REVENIUM_NTS, REVENIUM_SCOPE_NONE, go_on, &texts, &result);
    /* A reset may overtake the first bytes. */
    CHECK(code == REVENIUM_E_CONNECTION || code == REVENIUM_E_STREAM);
    CHECK_TEXT(revenium_result_text(result, NULL), "");
    revenium_release(result);
  }
}

/* ---- deadlines ---- */

static void timeout_ms_ends_a_call(void) {
  revenium_result result;
  int texts = 0;
  CHECK_CODE(revenium_messages_create(REQUEST(CHOICES("\"timeout_ms\":50,\"headers\":{\"x-sandbox\":\"delay_ms=600000\"}")),
                                      REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result),
             REVENIUM_E_TIMEOUT);
  revenium_release(result);
  /* Long enough for the deltas, which come at once; the end never does. */
  CHECK_CODE(revenium_messages_stream(
                 REQUEST(CHOICES("\"timeout_ms\":2000,\"headers\":{\"x-sandbox\":\"deltas=2; end=stall\"}")), REVENIUM_NTS,
                 REVENIUM_SCOPE_NONE, go_on, &texts, &result),
             REVENIUM_E_TIMEOUT);
  CHECK_TEXT(revenium_result_text(result, NULL), "token token ");
  revenium_release(result);
}

static void a_queue_is_waited_for_no_longer_than_asked(void) {
  FRAME_BUFFER(buffer, 256);
  revenium_queue queue;
  size_t used = 1;
  revenium_queue_new(&queue);
  CHECK_CODE(revenium_queue_read(queue, buffer, sizeof buffer, 0, &used), REVENIUM_EMPTY);
  CHECK_INT(used, 0);
  CHECK_CODE(revenium_queue_read(queue, buffer, sizeof buffer, 20, &used), REVENIUM_EMPTY);
  revenium_release(queue);
}

/* ---- cancellation ---- */

/* Reads until `call` has its result; `cancel_at` >= 0: cancels twice before reading that frame. */
static int32_t read_cancelling(revenium_queue queue, revenium_call call, int cancel_at) {
  FRAME_BUFFER(buffer, 65536);
  int32_t result = REVENIUM_EMPTY;
  size_t used;
  int frames = 0, results = 0;
  while (!results) {
    if (frames >= cancel_at && cancel_at >= 0) {
      CHECK_CODE(revenium_call_cancel(call), REVENIUM_OK);
      CHECK_CODE(revenium_call_cancel(call), REVENIUM_OK);
      cancel_at = -1;
    }
    if (!CHECK_CODE(revenium_queue_read(queue, buffer, sizeof buffer, 60000, &used), REVENIUM_OK)) break;
    FOR_EACH_FRAME(frame, buffer, used) {
      CHECK_INT(results, 0); /* the result is the last frame of its call */
      frames++;
      if (frame->frame == REVENIUM_FRAME_RESULT) results++, result = frame->code;
    }
  }
  return result;
}

static void a_cancelled_call_reports_exactly_once(void) {
  FRAME_BUFFER(buffer, 4096);
  revenium_queue queue;
  revenium_call call;
  size_t used;
  revenium_queue_new(&queue);

  /* Before the first byte. */
  revenium_messages_submit(REQUEST(SILENT), REVENIUM_NTS, REVENIUM_SCOPE_NONE, queue, 1, &call);
  CHECK_CODE(read_cancelling(queue, call, 0), REVENIUM_E_CANCELLED);
  CHECK_CODE(revenium_result_code(call), REVENIUM_E_CANCELLED);
  revenium_release(call);

  /* In the stream, after the HEAD and the first events. */
  revenium_messages_submit(REQUEST(STREAMED ENDLESS), REVENIUM_NTS, REVENIUM_SCOPE_NONE, queue, 2, &call);
  CHECK_CODE(read_cancelling(queue, call, 3), REVENIUM_E_CANCELLED);
  revenium_release(call);

  /* Too late: how it ended stays. */
  revenium_messages_submit(REQUEST(STREAMED), REVENIUM_NTS, REVENIUM_SCOPE_NONE, queue, 3, &call);
  CHECK_CODE(read_cancelling(queue, call, -1), REVENIUM_OK);
  CHECK_CODE(revenium_call_cancel(call), REVENIUM_OK);
  CHECK_CODE(revenium_result_code(call), REVENIUM_OK);
  CHECK_TEXT(revenium_result_text(call, NULL), REPLY);
  revenium_release(call);
  CHECK_EVENTUALLY(revenium_call_cancel(call) == REVENIUM_E_HANDLE);

  /* At any moment: whoever is first decides, and there is one result in either case. */
  for (int pause = 0; pause < 60; pause++) {
    revenium_messages_submit(REQUEST(STREAMED), REVENIUM_NTS, REVENIUM_SCOPE_NONE, queue, 4, &call);
    usleep((useconds_t)(pause * 50));
    int32_t code = read_cancelling(queue, call, 0);
    CHECK(code == REVENIUM_OK || code == REVENIUM_E_CANCELLED);
    CHECK_CODE(revenium_result_code(call), code);
    revenium_release(call);
  }
  CHECK_CODE(revenium_queue_read(queue, buffer, sizeof buffer, 0, &used), REVENIUM_EMPTY);
  revenium_release(queue);
}

struct reports {
  atomic_int events;
  atomic_int done;
  atomic_int code;
};

static int32_t count_event(void *user, const revenium_event *event) {
  struct reports *reports = user;
  (void)event;
  CHECK_INT(atomic_load(&reports->done), 0);
  atomic_fetch_add(&reports->events, 1);
  return 0;
}

static void count_done(void *user, revenium_result result) {
  struct reports *reports = user;
  atomic_store(&reports->code, revenium_result_code(result));
  atomic_fetch_add(&reports->done, 1);
}

static void a_cancelled_start_calls_done_exactly_once(void) {
  for (int events = 0; events < 4; events++) {
    struct reports reports = {0};
    revenium_call call;
    revenium_messages_start(REQUEST(ENDLESS), REVENIUM_NTS, REVENIUM_SCOPE_NONE, count_event, count_done, &reports, &call);
    CHECK_EVENTUALLY(atomic_load(&reports.events) >= events);
    CHECK_CODE(revenium_call_cancel(call), REVENIUM_OK);
    CHECK_CODE(revenium_call_cancel(call), REVENIUM_OK);
    CHECK_EVENTUALLY(atomic_load(&reports.done));
    CHECK_CODE(atomic_load(&reports.code), REVENIUM_E_CANCELLED);
    CHECK_CODE(revenium_call_cancel(call), REVENIUM_OK);
    revenium_release(call);
    /* Whatever else were to come would come before this. */
    CHECK_CODE(revenium_flush(60000), REVENIUM_OK);
    CHECK_INT(atomic_load(&reports.done), 1);
  }
}

/* ---- limits ---- */

static void above_max_in_flight_comes_busy(void) {
  struct reports reports = {0}, refused = {0};
  revenium_call calls[2];
  revenium_result result;
  for (int i = 0; i < 2; i++) {
    CHECK_CODE(revenium_messages_start(REQUEST(SILENT), REVENIUM_NTS, REVENIUM_SCOPE_NONE, NULL, count_done, &reports,
                                       &calls[i]),
               REVENIUM_OK);
  }
  CHECK_CODE(revenium_messages_create(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result), REVENIUM_E_BUSY);
  CHECK_CODE(revenium_result_code(result), REVENIUM_E_BUSY);
  CHECK(strlen(revenium_result_message(result, NULL)) > 0);
  revenium_release(result);
  CHECK_CODE(revenium_messages_start(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, NULL, count_done, &refused, &result),
             REVENIUM_E_BUSY);
  CHECK_CODE(revenium_result_code(result), REVENIUM_E_BUSY);
  revenium_release(result);

  for (int i = 0; i < 2; i++) revenium_call_cancel(calls[i]);
  CHECK_EVENTUALLY(atomic_load(&reports.done) == 2);
  CHECK_CODE(revenium_messages_create(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result), REVENIUM_OK);
  revenium_release(result);
  /* A call that was refused has no callback. */
  CHECK_INT(atomic_load(&refused.done), 0);
  for (int i = 0; i < 2; i++) revenium_release(calls[i]);
}

/* ---- waiting inside callbacks ---- */

static void ignore_log(void *user, int32_t level, const char *text, size_t text_len) {
  (void)user, (void)level, (void)text, (void)text_len;
}

/* Everything that waits says so; everything else works. */
static void try_all(revenium_queue queue) {
  FRAME_BUFFER(buffer, 256);
  revenium_state state = {.struct_size = sizeof state};
  revenium_result result;
  revenium_scope scope;
  size_t used;
  int unused = 0;
  CHECK_CODE(revenium_messages_create(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result), REVENIUM_E_WOULD_DEADLOCK);
  CHECK_CODE(revenium_result_code(result), REVENIUM_E_WOULD_DEADLOCK);
  revenium_release(result);
  CHECK_CODE(revenium_messages_stream(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, go_on, &unused, &result),
             REVENIUM_E_WOULD_DEADLOCK);
  revenium_release(result);
  CHECK_CODE(revenium_flush(1000), REVENIUM_E_WOULD_DEADLOCK);
  CHECK_CODE(revenium_shutdown(1000), REVENIUM_E_WOULD_DEADLOCK);
  CHECK_CODE(revenium_queue_read(queue, buffer, sizeof buffer, 1000, &used), REVENIUM_E_WOULD_DEADLOCK);
  CHECK_CODE(revenium_queue_read(queue, buffer, sizeof buffer, REVENIUM_FOREVER, &used), REVENIUM_E_WOULD_DEADLOCK);
  CHECK_CODE(revenium_set_log(ignore_log, NULL, REVENIUM_LOG_ERROR), REVENIUM_E_WOULD_DEADLOCK);

  CHECK_CODE(revenium_queue_read(queue, buffer, sizeof buffer, 0, &used), REVENIUM_EMPTY);
  CHECK_CODE(revenium_status(&state), REVENIUM_OK);
  CHECK_CODE(revenium_scope_new(REVENIUM_SCOPE_NONE, NULL, 0, 0, &scope), REVENIUM_OK);
  CHECK_CODE(revenium_release(scope), REVENIUM_OK);
}

struct nested {
  revenium_queue queue;
  struct reports reports;
  struct reports inner;
  atomic_int lines;
};

static int32_t try_in_event(void *user, const revenium_event *event) {
  struct nested *nested = user;
  if (event->kind == REVENIUM_EVENT_MESSAGE_START) try_all(nested->queue);
  return count_event(&nested->reports, event);
}

static void try_in_done(void *user, revenium_result result) {
  struct nested *nested = user;
  try_all(nested->queue);
  /* Another call may begin here. */
  CHECK_CODE(revenium_messages_start(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, NULL, count_done, &nested->inner, NULL),
             REVENIUM_OK);
  count_done(&nested->reports, result);
}

static void try_in_log(void *user, int32_t level, const char *text, size_t text_len) {
  struct nested *nested = user;
  (void)level, (void)text, (void)text_len;
  if (atomic_fetch_add(&nested->lines, 1) == 0) try_all(nested->queue);
}

static void waiting_inside_a_callback_is_refused(void) {
  struct nested nested = {0};
  revenium_queue_new(&nested.queue);
  CHECK_CODE(revenium_messages_start(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, try_in_event, try_in_done, &nested, NULL),
             REVENIUM_OK);
  CHECK_EVENTUALLY(atomic_load(&nested.reports.done) && atomic_load(&nested.inner.done));
  CHECK_CODE(atomic_load(&nested.reports.code), REVENIUM_OK);
  CHECK_CODE(atomic_load(&nested.inner.code), REVENIUM_OK);
  revenium_release(nested.queue);
}

static void waiting_inside_a_log_callback_is_refused(void) {
  struct nested nested = {0};
  revenium_result result;
  revenium_queue_new(&nested.queue);
  CHECK_CODE(revenium_set_log(try_in_log, &nested, REVENIUM_LOG_DEBUG), REVENIUM_OK);
  /* A call whose record the collector turns away is worth a line. */
  sandbox_post("/sandbox/plan", "{\"path\":\"/meter/v2/ai/completions\",\"answers\":[{\"status\":400},{}]}");
  revenium_messages_create(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result);
  revenium_release(result);
  CHECK_CODE(revenium_flush(60000), REVENIUM_OK);
  CHECK_CODE(revenium_set_log(NULL, NULL, REVENIUM_LOG_WARN), REVENIUM_OK);
  CHECK(atomic_load(&nested.lines) > 0);
  sandbox_delete("/sandbox/plan");
  revenium_release(nested.queue);
}

int main(void) {
  CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
  RUN(http_statuses_are_codes);
  RUN(retry_after_is_told);
  RUN(a_passing_fault_is_retried);
  RUN(nobody_listens);
  RUN(a_broken_stream_keeps_what_arrived);
  RUN(a_stream_that_never_began);
  RUN(timeout_ms_ends_a_call);
  RUN(a_queue_is_waited_for_no_longer_than_asked);
  RUN(a_cancelled_call_reports_exactly_once);
  RUN(a_cancelled_start_calls_done_exactly_once);
  RUN(waiting_inside_a_callback_is_refused);
  RUN(waiting_inside_a_log_callback_is_refused);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);

  CHECK_CODE(revenium_init("{\"max_in_flight\":2}", REVENIUM_NTS, NULL), REVENIUM_OK);
  RUN(above_max_in_flight_comes_busy);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
  return test_end();
}
