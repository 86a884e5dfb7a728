/*
 * Every function with what it must not be given: the right code each time, and nothing worse. Then from eight threads.
 *
 * run.sh checks that every exported function is named here.
 */
#include "util.h"

static const char good[] = REQUEST("");
static const char not_utf8[] = "{\"model\":\"\xff\"}";
static const char cut_utf8[] = "{\"model\":\"\xe2\x82\"}";

/* Handles of each kind, good during the test; and some that are none. */
static revenium_result a_result;
static revenium_scope a_scope;
static revenium_queue a_queue;
static revenium_call a_call; /* has ended */
static revenium_handle stale;
#define NO_HANDLES(kind) {0, 2, 15, stale, UINT64_MAX, UINT64_C(1) << 53, kind}
#define LENGTH(array) (sizeof(array) / sizeof *(array))

/* A length that no memory has, and that is not REVENIUM_NTS. */
#define HUGE_LENGTH (SIZE_MAX - 1)

static int32_t never_event(void *user, const revenium_event *event) {
  (void)user, (void)event;
  CHECK(!"an event of a call that never began");
  return 0;
}

static void never_done(void *user, revenium_result result) {
  (void)user, (void)result;
  CHECK(!"the result of a call that never began");
}

static void never_log(void *user, int32_t level, const char *text, size_t text_len) {
  (void)user, (void)level, (void)text, (void)text_len;
  CHECK(!"a line for a logger that was refused");
}

/* The code is as expected, and `out` is a result that says the same in words. */
#define REFUSED(code, call, out)                                      \
  do {                                                                \
    (out) = 12345;                                                    \
    CHECK_CODE((call), (code));                                       \
    CHECK_CODE(revenium_result_code(out), (code));                    \
    CHECK(*revenium_result_message((out), NULL));                     \
    CHECK_HAS(revenium_result_json((out), NULL), "\"type\":\"error\""); \
    CHECK_CODE(revenium_release(out), REVENIUM_OK);                   \
  } while (0)

/* ---- one request, four ways ---- */

static void requests(void) {
  static const struct {
    int32_t code;
    const char *request;
    size_t length;
  } table[] = {
      {REVENIUM_E_ARGUMENT, NULL, 0},
      {REVENIUM_E_ARGUMENT, NULL, 5},
      {REVENIUM_E_ARGUMENT, NULL, REVENIUM_NTS},
      {REVENIUM_E_ARGUMENT, NULL, HUGE_LENGTH},
      {REVENIUM_E_ARGUMENT, good, HUGE_LENGTH},
      {REVENIUM_E_ARGUMENT, good, (size_t)PTRDIFF_MAX + 1},
      {REVENIUM_E_UTF8, not_utf8, REVENIUM_NTS},
      {REVENIUM_E_UTF8, cut_utf8, REVENIUM_NTS},
      {REVENIUM_E_JSON, good, 0},
      {REVENIUM_E_JSON, good, 10},
      {REVENIUM_E_JSON, good, sizeof good}, /* with its NUL */
      {REVENIUM_E_JSON, "", REVENIUM_NTS},
      {REVENIUM_E_JSON, "hello", REVENIUM_NTS},
      {REVENIUM_E_JSON, "[]", REVENIUM_NTS},
      {REVENIUM_E_JSON, "null", REVENIUM_NTS},
      {REVENIUM_E_JSON, "{\"model\":}", REVENIUM_NTS},
      {REVENIUM_E_JSON, "{} {}", REVENIUM_NTS},
      {REVENIUM_E_CONFIG, REQUEST(",\"revenium\":[]"), REVENIUM_NTS},
      {REVENIUM_E_CONFIG, REQUEST(",\"revenium\":{\"timeout\":1}"), REVENIUM_NTS},
      {REVENIUM_E_CONFIG, REQUEST(",\"revenium\":{\"timeout_ms\":-1}"), REVENIUM_NTS},
      {REVENIUM_E_CONFIG, REQUEST(",\"revenium\":{\"base_url\":\"no url\"}"), REVENIUM_NTS},
      {REVENIUM_E_CONFIG, REQUEST(",\"revenium\":{\"provider\":\"nobody\"}"), REVENIUM_NTS},
      {REVENIUM_E_CONFIG, REQUEST(",\"revenium\":{\"headers\":{\"a b\":\"c\"}}"), REVENIUM_NTS},
      {REVENIUM_E_CONFIG, REQUEST(",\"revenium\":{\"headers\":{\"a\":\"c\\r\\nd: e\"}}"), REVENIUM_NTS},
  };
  for (size_t i = 0; i < LENGTH(table); i++) {
    const char *request = table[i].request;
    size_t length = table[i].length;
    int32_t code = table[i].code;
    revenium_handle out;
    REFUSED(code, revenium_messages_create(request, length, 0, &out), out);
    REFUSED(code, revenium_messages_stream(request, length, 0, never_event, NULL, &out), out);
    REFUSED(code, revenium_messages_start(request, length, 0, never_event, never_done, NULL, &out), out);
    REFUSED(code, revenium_messages_submit(request, length, 0, a_queue, 1, &out), out);
    CHECK_CODE(revenium_messages_start(request, length, 0, NULL, never_done, NULL, NULL), code);
    CHECK_CODE(revenium_messages_submit(request, length, 0, a_queue, 1, NULL), code);
  }
}

static void message_arguments(void) {
  revenium_handle out;
  const revenium_handle no_scopes[] = {2, 15, stale, UINT64_MAX, a_result, a_queue, a_call};
  const revenium_handle no_queues[] = NO_HANDLES(a_scope);
  const revenium_handle no_calls[] = NO_HANDLES(a_result);
  CHECK_CODE(revenium_messages_create(good, REVENIUM_NTS, 0, NULL), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_messages_stream(good, REVENIUM_NTS, 0, never_event, NULL, NULL), REVENIUM_E_ARGUMENT);
  REFUSED(REVENIUM_E_ARGUMENT, revenium_messages_stream(good, REVENIUM_NTS, 0, NULL, NULL, &out), out);
  REFUSED(REVENIUM_E_ARGUMENT, revenium_messages_start(good, REVENIUM_NTS, 0, never_event, NULL, NULL, &out), out);
  for (size_t i = 0; i < LENGTH(no_scopes); i++) {
    REFUSED(REVENIUM_E_HANDLE, revenium_messages_create(good, REVENIUM_NTS, no_scopes[i], &out), out);
    REFUSED(REVENIUM_E_HANDLE, revenium_messages_stream(good, REVENIUM_NTS, no_scopes[i], never_event, NULL, &out), out);
    REFUSED(REVENIUM_E_HANDLE, revenium_messages_start(good, REVENIUM_NTS, no_scopes[i], NULL, never_done, NULL, &out), out);
    REFUSED(REVENIUM_E_HANDLE, revenium_messages_submit(good, REVENIUM_NTS, no_scopes[i], a_queue, 1, &out), out);
  }
  for (size_t i = 0; i < LENGTH(no_queues); i++) {
    REFUSED(REVENIUM_E_HANDLE, revenium_messages_submit(good, REVENIUM_NTS, 0, no_queues[i], 1, &out), out);
  }
  for (size_t i = 0; i < LENGTH(no_calls); i++) {
    CHECK_CODE(revenium_call_cancel(no_calls[i]), REVENIUM_E_HANDLE);
    CHECK_CODE(revenium_call_pause(no_calls[i]), REVENIUM_E_HANDLE);
    CHECK_CODE(revenium_call_resume(no_calls[i]), REVENIUM_E_HANDLE);
  }
}

/* ---- library ---- */

static void library(void) {
  revenium_state state = {.struct_size = 0};
  revenium_result out;
  REFUSED(REVENIUM_E_ARGUMENT, revenium_init(NULL, 5, &out), out);
  REFUSED(REVENIUM_E_ARGUMENT, revenium_init("{}", HUGE_LENGTH, &out), out);
  REFUSED(REVENIUM_E_UTF8, revenium_init(not_utf8, REVENIUM_NTS, &out), out);
  REFUSED(REVENIUM_E_JSON, revenium_init("{}", 1, &out), out);
  REFUSED(REVENIUM_E_JSON, revenium_init("3", REVENIUM_NTS, &out), out);
  REFUSED(REVENIUM_E_CONFIG, revenium_init("{\"no_such\":1}", REVENIUM_NTS, &out), out);
  REFUSED(REVENIUM_E_ALREADY, revenium_init("{\"max_retries\":7}", REVENIUM_NTS, &out), out);
  CHECK_CODE(revenium_init("3", REVENIUM_NTS, NULL), REVENIUM_E_JSON);
  CHECK_CODE(revenium_flush(-2), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_flush(INT32_MIN), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_shutdown(-2), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_status(NULL), REVENIUM_E_ARGUMENT);
  for (uint32_t size = 0; size < 8; size++) {
    state.struct_size = size;
    CHECK_CODE(revenium_status(&state), REVENIUM_E_ARGUMENT);
  }
  CHECK_CODE(revenium_status_json(NULL), REVENIUM_E_ARGUMENT);
  CHECK_INT(revenium_is_initialized(), 1);
  CHECK_INT(revenium_abi_version(), REVENIUM_ABI_VERSION);
  CHECK(*revenium_version());
  CHECK_TEXT(revenium_code_name(INT32_MIN), "REVENIUM_E_UNKNOWN");
  CHECK_TEXT(revenium_code_name(2), "REVENIUM_E_UNKNOWN");
  CHECK_CODE(revenium_set_log(never_log, NULL, 0), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_set_log(never_log, NULL, 5), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_set_log(never_log, NULL, INT32_MIN), REVENIUM_E_ARGUMENT);
}

static void release(void) {
  const revenium_handle none[] = {1, 2, 15, stale, UINT64_MAX, UINT64_C(1) << 53};
  CHECK_CODE(revenium_release(0), REVENIUM_OK);
  for (size_t i = 0; i < LENGTH(none); i++) CHECK_CODE(revenium_release(none[i]), REVENIUM_E_HANDLE);
}

/* ---- scopes ---- */

static void scopes(void) {
  revenium_scope out;
  const revenium_handle no_parents[] = {2, 15, stale, UINT64_MAX, a_result, a_queue, a_call};
  const revenium_handle no_scopes[] = {0, 1, 2, 15, stale, UINT64_MAX, a_result, a_queue, a_call};
  CHECK_CODE(revenium_scope_new(REVENIUM_SCOPE_NONE, "{}", REVENIUM_NTS, 0, NULL), REVENIUM_E_ARGUMENT);
  REFUSED(REVENIUM_E_ARGUMENT, revenium_scope_new(REVENIUM_SCOPE_NONE, NULL, 5, 0, &out), out);
  REFUSED(REVENIUM_E_ARGUMENT, revenium_scope_new(REVENIUM_SCOPE_NONE, "{}", HUGE_LENGTH, 0, &out), out);
  REFUSED(REVENIUM_E_ARGUMENT, revenium_scope_new(REVENIUM_SCOPE_NONE, "{}", REVENIUM_NTS, 2, &out), out);
  REFUSED(REVENIUM_E_ARGUMENT, revenium_scope_new(REVENIUM_SCOPE_NONE, "{}", REVENIUM_NTS, UINT32_MAX, &out), out);
  REFUSED(REVENIUM_E_UTF8, revenium_scope_new(REVENIUM_SCOPE_NONE, not_utf8, REVENIUM_NTS, 0, &out), out);
  REFUSED(REVENIUM_E_JSON, revenium_scope_new(REVENIUM_SCOPE_NONE, "", REVENIUM_NTS, 0, &out), out);
  REFUSED(REVENIUM_E_JSON, revenium_scope_new(REVENIUM_SCOPE_NONE, "[]", REVENIUM_NTS, 0, &out), out);
  REFUSED(REVENIUM_E_JSON, revenium_scope_new(REVENIUM_SCOPE_NONE, "{", REVENIUM_NTS, 0, &out), out);
  for (size_t i = 0; i < LENGTH(no_parents); i++) {
    REFUSED(REVENIUM_E_HANDLE, revenium_scope_new(no_parents[i], NULL, 0, 0, &out), out);
  }
  for (size_t i = 0; i < LENGTH(no_scopes); i++) {
    CHECK_CODE(revenium_scope_push(no_scopes[i]), REVENIUM_E_HANDLE);
    CHECK_CODE(revenium_scope_pop(no_scopes[i]), REVENIUM_E_HANDLE);
  }
  CHECK_CODE(revenium_scope_pop(a_scope), REVENIUM_E_HANDLE); /* never pushed */
}

/* ---- calls that something else makes ---- */

static void observed(void) {
  static const struct {
    int32_t code;
    const char *text;
    size_t length;
  } table[] = {
      {REVENIUM_E_ARGUMENT, NULL, 0},
      {REVENIUM_E_ARGUMENT, NULL, 5},
      {REVENIUM_E_ARGUMENT, "{}", HUGE_LENGTH},
      {REVENIUM_E_UTF8, not_utf8, REVENIUM_NTS},
      {REVENIUM_E_JSON, "", REVENIUM_NTS},
      {REVENIUM_E_JSON, "[]", REVENIUM_NTS},
      {REVENIUM_E_ARGUMENT, "{\"request\":5}", REVENIUM_NTS},
      {REVENIUM_E_ARGUMENT, "{\"request\":{},\"no_such\":1}", REVENIUM_NTS},
      {REVENIUM_E_ARGUMENT, "{\"request\":{},\"provider\":\"nobody\"}", REVENIUM_NTS},
      {REVENIUM_E_CONFIG, "{\"request\":{\"revenium\":[]},\"error\":{}}", REVENIUM_NTS},
  };
  const revenium_handle no_scopes[] = {2, 15, stale, UINT64_MAX, a_result, a_queue, a_call};
  const revenium_handle no_taps[] = NO_HANDLES(a_scope);
  revenium_handle out;
  revenium_tap tap;
  for (size_t i = 0; i < LENGTH(table); i++) {
    REFUSED(table[i].code, revenium_record(table[i].text, table[i].length, 0, &out), out);
    CHECK_CODE(revenium_record(table[i].text, table[i].length, 0, NULL), table[i].code);
    /* A tap learns how the call ended later. */
    if (table[i].code == REVENIUM_E_CONFIG) continue;
    REFUSED(table[i].code, revenium_tap_new(table[i].text, table[i].length, 0, &out), out);
  }
  REFUSED(REVENIUM_E_ARGUMENT, revenium_tool_event("{}", REVENIUM_NTS, 0, &out), out);
  REFUSED(REVENIUM_E_JSON, revenium_tool_event("[]", REVENIUM_NTS, 0, &out), out);
  REFUSED(REVENIUM_E_UTF8, revenium_tool_event(not_utf8, REVENIUM_NTS, 0, &out), out);
  REFUSED(REVENIUM_E_ARGUMENT, revenium_tool_event(NULL, 0, 0, &out), out);
  REFUSED(REVENIUM_E_ARGUMENT, revenium_record("{}", REVENIUM_NTS, 0, &out), out);
  REFUSED(REVENIUM_E_ARGUMENT, revenium_tap_new("{\"request\":{},\"response\":{}}", REVENIUM_NTS, 0, &out), out);
  CHECK_CODE(revenium_tap_new(good, REVENIUM_NTS, 0, NULL), REVENIUM_E_ARGUMENT);
  for (size_t i = 0; i < LENGTH(no_scopes); i++) {
    REFUSED(REVENIUM_E_HANDLE, revenium_record("{\"error\":{}}", REVENIUM_NTS, no_scopes[i], &out), out);
    REFUSED(REVENIUM_E_HANDLE, revenium_tap_new(good, REVENIUM_NTS, no_scopes[i], &out), out);
  }
  for (size_t i = 0; i < LENGTH(no_taps); i++) {
    CHECK_CODE(revenium_tap_write(no_taps[i], "x", 1), REVENIUM_E_HANDLE);
    CHECK_CODE(revenium_tap_end(no_taps[i], NULL, 0), REVENIUM_E_HANDLE);
  }
  CHECK_CODE(revenium_tap_new(REQUEST(CHOICES("\"meter\":false")), REVENIUM_NTS, 0, &tap), REVENIUM_OK);
  CHECK_CODE(revenium_tap_write(tap, NULL, 1), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_tap_write(tap, "x", HUGE_LENGTH), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_tap_write(tap, NULL, 0), REVENIUM_OK);
  CHECK_CODE(revenium_tap_end(tap, "[]", REVENIUM_NTS), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_tap_end(tap, "{", REVENIUM_NTS), REVENIUM_E_JSON);
  CHECK_CODE(revenium_tap_end(tap, "{\"status\":1}", REVENIUM_NTS), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_release(tap), REVENIUM_OK);
}

/* ---- queues ---- */

static void queues(void) {
  FRAME_BUFFER(buffer, 256);
  const revenium_handle no_queues[] = NO_HANDLES(a_result);
  size_t used = 77;
  int32_t fd;
  CHECK_CODE(revenium_queue_new(NULL), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_queue_read(a_queue, NULL, 256, 0, &used), REVENIUM_E_ARGUMENT);
  CHECK_INT(used, 0);
  CHECK_CODE(revenium_queue_read(a_queue, buffer, sizeof buffer, 0, NULL), REVENIUM_E_ARGUMENT);
  for (size_t off = 1; off < 8; off++) {
    CHECK_CODE(revenium_queue_read(a_queue, (char *)buffer + off, 128, 0, &used), REVENIUM_E_ARGUMENT);
  }
  CHECK_CODE(revenium_queue_read(a_queue, buffer, HUGE_LENGTH, 0, &used), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_queue_read(a_queue, buffer, sizeof buffer, -2, &used), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_queue_wake_fd(a_queue, NULL), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_queue_subscribe(a_queue, 4, REVENIUM_LOG_WARN), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_queue_subscribe(a_queue, UINT32_MAX, REVENIUM_LOG_WARN), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_queue_subscribe(a_queue, REVENIUM_TOPIC_LOG, 0), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_queue_subscribe(a_queue, REVENIUM_TOPIC_LOG, 5), REVENIUM_E_ARGUMENT);
  for (size_t i = 0; i < LENGTH(no_queues); i++) {
    used = 77, fd = 77;
    CHECK_CODE(revenium_queue_read(no_queues[i], buffer, sizeof buffer, 0, &used), REVENIUM_E_HANDLE);
    CHECK_INT(used, 0);
    CHECK_CODE(revenium_queue_wake_fd(no_queues[i], &fd), REVENIUM_E_HANDLE);
    CHECK_INT(fd, -1);
    CHECK_CODE(revenium_queue_subscribe(no_queues[i], REVENIUM_TOPIC_METERING, 0), REVENIUM_E_HANDLE);
  }
  /* No room is no fault: nothing is there, or the next frame is larger. */
  CHECK_CODE(revenium_queue_read(a_queue, buffer, 0, 0, &used), REVENIUM_EMPTY);
}

/* ---- Revenium's platform ---- */

static void platform(void) {
  static const struct {
    int32_t code;
    const char *operation, *params;
    size_t length;
  } table[] = {
      {REVENIUM_E_ARGUMENT, NULL, NULL, 0},
      {REVENIUM_E_ARGUMENT, "", NULL, 0},
      {REVENIUM_E_ARGUMENT, "jobs.explode", NULL, 0},
      {REVENIUM_E_UTF8, "\xff", NULL, 0},
      {REVENIUM_E_ARGUMENT, "jobs.get", NULL, 5},
      {REVENIUM_E_ARGUMENT, "jobs.get", "{}", HUGE_LENGTH},
      {REVENIUM_E_ARGUMENT, "jobs.get", "{}", REVENIUM_NTS},
      {REVENIUM_E_ARGUMENT, "jobs.get", NULL, 0},
      {REVENIUM_E_JSON, "jobs.get", "[]", REVENIUM_NTS},
      {REVENIUM_E_JSON, "jobs.get", "{", REVENIUM_NTS},
      {REVENIUM_E_UTF8, "jobs.get", not_utf8, REVENIUM_NTS},
      /* The sandbox's key only meters. */
      {REVENIUM_E_CONFIG, "jobs.get", "{\"id\":\"j\"}", REVENIUM_NTS},
  };
  const revenium_handle no_queues[] = NO_HANDLES(a_scope);
  const revenium_handle no_scopes[] = {2, 15, stale, UINT64_MAX, a_result, a_queue, a_call};
  revenium_handle out;
  for (size_t i = 0; i < LENGTH(table); i++) {
    REFUSED(table[i].code, revenium_platform_call(table[i].operation, table[i].params, table[i].length, &out), out);
    REFUSED(table[i].code,
            revenium_platform_submit(table[i].operation, table[i].params, table[i].length, a_queue, 1, &out), out);
    CHECK_CODE(revenium_platform_submit(table[i].operation, table[i].params, table[i].length, a_queue, 1, NULL),
               table[i].code);
  }
  CHECK_CODE(revenium_platform_call("budgets.list", NULL, 0, NULL), REVENIUM_E_ARGUMENT);
  for (size_t i = 0; i < LENGTH(no_queues); i++) {
    REFUSED(REVENIUM_E_HANDLE, revenium_platform_submit("budgets.list", NULL, 0, no_queues[i], 1, &out), out);
  }

  CHECK_CODE(revenium_budget_check(good, REVENIUM_NTS, 0, NULL), REVENIUM_E_ARGUMENT);
  REFUSED(REVENIUM_E_ARGUMENT, revenium_budget_check(NULL, 0, 0, &out), out);
  REFUSED(REVENIUM_E_UTF8, revenium_budget_check(not_utf8, REVENIUM_NTS, 0, &out), out);
  REFUSED(REVENIUM_E_JSON, revenium_budget_check("[]", REVENIUM_NTS, 0, &out), out);
  for (size_t i = 0; i < LENGTH(no_scopes); i++) {
    REFUSED(REVENIUM_E_HANDLE, revenium_budget_check(good, REVENIUM_NTS, no_scopes[i], &out), out);
  }
  CHECK_CODE(revenium_budget_check(good, REVENIUM_NTS, a_scope, &out), REVENIUM_OK);
  CHECK_CODE(revenium_release(out), REVENIUM_OK);

  CHECK_CODE(revenium_webhook_verify(NULL, 0, "1", "x", "", 0, 300), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_webhook_verify(NULL, 4, "1", "x", "", 0, 300), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_webhook_verify("", REVENIUM_NTS, "1", "x", "", 0, 300), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_webhook_verify("s", 1, "1", "x", NULL, 4, 300), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_webhook_verify("s", 1, "1", "x", "", HUGE_LENGTH, 300), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_webhook_verify("s", 1, "1", "x", "", 0, -1), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_webhook_verify("s", 1, NULL, NULL, NULL, 0, 300), REVENIUM_E_AUTHENTICATION);
  CHECK_CODE(revenium_webhook_verify("s", 1, "\xff", "\xff", "", 0, 300), REVENIUM_E_AUTHENTICATION);
}

/* ---- results ---- */

static void results(void) {
  static const char *(*const readers[])(revenium_result, size_t *) = {
      revenium_result_json, revenium_result_text, revenium_result_message, revenium_result_request_id, revenium_result_info};
  const revenium_handle no_results[] = {0, 1, 2, 15, stale, UINT64_MAX, a_scope, a_queue};
  revenium_usage usage = {.struct_size = sizeof usage};
  for (size_t i = 0; i < LENGTH(no_results); i++) {
    CHECK_CODE(revenium_result_code(no_results[i]), REVENIUM_E_HANDLE);
    usage.struct_size = sizeof usage, usage.input_tokens = 77;
    CHECK_CODE(revenium_result_usage(no_results[i], &usage), REVENIUM_E_HANDLE);
    CHECK_INT(usage.input_tokens, 0);
    for (size_t r = 0; r < LENGTH(readers); r++) {
      size_t len = 77;
      CHECK(readers[r](no_results[i], &len) == NULL);
      CHECK_INT(len, 0);
      CHECK(readers[r](no_results[i], NULL) == NULL);
    }
  }
  CHECK_CODE(revenium_result_usage(a_result, NULL), REVENIUM_E_ARGUMENT);
  for (uint32_t size = 0; size < 8; size++) {
    usage.struct_size = size;
    CHECK_CODE(revenium_result_usage(a_result, &usage), REVENIUM_E_ARGUMENT);
  }
  /* A call that has ended is a result. */
  for (size_t r = 0; r < LENGTH(readers); r++) CHECK(readers[r](a_call, NULL) && readers[r](a_result, NULL));
}

/* ---- all of it ---- */

static void *everything(void *rounds) {
  for (int i = 0; i < *(int *)rounds; i++) {
    requests();
    message_arguments();
    library();
    release();
    scopes();
    observed();
    queues();
    platform();
    results();
  }
  return NULL;
}

int main(void) {
  enum { THREADS = 8 };
  pthread_t threads[THREADS];
  int rounds = 5;
  long long requests_before;
  CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
  CHECK_CODE(revenium_queue_new(&a_queue), REVENIUM_OK);
  CHECK_CODE(revenium_scope_new(REVENIUM_SCOPE_NONE, NULL, 0, 0, &a_scope), REVENIUM_OK);
  CHECK_CODE(revenium_messages_create(good, REVENIUM_NTS, 0, &a_result), REVENIUM_OK);
  CHECK_CODE(revenium_messages_create(good, REVENIUM_NTS, 0, &stale), REVENIUM_OK);
  CHECK_CODE(revenium_release(stale), REVENIUM_OK);
  CHECK_CODE(revenium_messages_submit(good, REVENIUM_NTS, 0, a_queue, 1, &a_call), REVENIUM_OK);
  FRAME_BUFFER(buffer, 4096);
  size_t used;
  CHECK_CODE(revenium_queue_read(a_queue, buffer, sizeof buffer, 60000, &used), REVENIUM_OK);
  requests_before = sandbox_count("requests");

  RUN(requests);
  RUN(message_arguments);
  RUN(library);
  RUN(release);
  RUN(scopes);
  RUN(observed);
  RUN(queues);
  RUN(platform);
  RUN(results);
  running_case = "eight threads at once";
  for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, everything, &rounds);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  running_case = "";

  /* Nothing was sent, and all is well. */
  CHECK_INT(sandbox_count("requests"), requests_before);
  CHECK_CODE(revenium_result_code(a_result), REVENIUM_OK);
  CHECK_CODE(revenium_release(a_result), REVENIUM_OK);
  CHECK_CODE(revenium_messages_create(good, REVENIUM_NTS, a_scope, &a_result), REVENIUM_OK);
  CHECK_CODE(revenium_release(a_result), REVENIUM_OK);
  CHECK_CODE(revenium_release(a_scope), REVENIUM_OK);
  CHECK_CODE(revenium_release(a_call), REVENIUM_OK);
  CHECK_CODE(revenium_release(a_queue), REVENIUM_OK);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
  return test_end();
}
