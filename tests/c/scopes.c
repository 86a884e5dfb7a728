/* Scopes: metadata that many calls share. What counts is the record that reaches the collector. */
#include "util.h"

/* A scope with `metadata` over `parent`. */
static revenium_scope scope_of(revenium_scope parent, const char *metadata, uint32_t flags) {
  revenium_scope scope = 0;
  CHECK_CODE(revenium_scope_new(parent, metadata, REVENIUM_NTS, flags, &scope), REVENIUM_OK);
  return scope;
}

/* Calls in `scope`; gives the call's record in memory to free(). `members` are those of REQUEST(). */
#define RECORD_OF(scope, members) record_of(REQUEST(members), (scope))
static char *record_of(const char *request, revenium_scope scope) {
  char transaction[128] = "", *record;
  const char *id;
  revenium_result result;
  CHECK_CODE(revenium_messages_create(request, REVENIUM_NTS, scope, &result), REVENIUM_OK);
  id = strstr(revenium_result_info(result, NULL), "msg_sandbox_");
  if (id) snprintf(transaction, sizeof transaction, "\"transactionId\":\"%.*s\"", (int)strcspn(id, "\""), id);
  revenium_release(result);
  record = the_record(transaction);
  return record;
}

static void scopes_nest_and_the_inner_one_wins(void) {
  revenium_scope outer = scope_of(REVENIUM_SCOPE_NONE, "{\"trace_id\":\"outer\",\"task_type\":\"outer-task\",\"agent\":\"a\"}", 0);
  revenium_scope inner = scope_of(outer, "{\"task_type\":\"inner-task\",\"agent\":\"\"}", 0);
  char *record = RECORD_OF(inner, "");
  CHECK_HAS(record, "\"traceId\":\"outer\"");
  CHECK_HAS(record, "\"taskType\":\"inner-task\"");
  CHECK_HAS(record, "\"agent\":\"a\""); /* a blank does not erase */
  free(record);

  /* The call's own fields are over both. */
  record = RECORD_OF(inner, ",\"usage_metadata\":{\"trace_id\":\"call\"}");
  CHECK_HAS(record, "\"traceId\":\"call\"");
  CHECK_HAS(record, "\"taskType\":\"inner-task\"");
  free(record);

  /* The outer one has not changed. */
  record = RECORD_OF(outer, "");
  CHECK_HAS(record, "\"taskType\":\"outer-task\"");
  free(record);

  /* A parent may go before its children. */
  CHECK_CODE(revenium_release(outer), REVENIUM_OK);
  record = RECORD_OF(inner, "");
  CHECK_HAS(record, "\"traceId\":\"outer\"");
  free(record);
  CHECK_CODE(revenium_release(inner), REVENIUM_OK);
}

static void a_scope_beneath_another_gives_way(void) {
  revenium_scope upper = scope_of(REVENIUM_SCOPE_NONE,
                                  "{\"trace_id\":\"upper\",\"revenium\":{\"headers\":{\"x-who\":\"upper\"},\"idempotency_key\":\"beneath-1\"}}", 0);
  revenium_scope both = scope_of(upper, "{\"trace_id\":\"lower\",\"agent\":\"lower\",\"revenium\":{\"headers\":{\"x-who\":\"lower\"},\"meter\":true}}",
                                 REVENIUM_SCOPE_BENEATH);
  revenium_scope alone = scope_of(REVENIUM_SCOPE_NONE, "{\"agent\":\"alone\"}", REVENIUM_SCOPE_BENEATH);
  char *record = RECORD_OF(both, ""), *seen;
  CHECK_HAS(record, "\"traceId\":\"upper\"");
  CHECK_HAS(record, "\"agent\":\"lower\"");
  free(record);
  seen = sandbox_get("/sandbox/requests");
  CHECK_HAS(seen, "\"x-who\":\"upper\"");
  CHECK(!strstr(seen, "\"x-who\":\"lower\""));
  free(seen);
  record = RECORD_OF(alone, "");
  CHECK_HAS(record, "\"agent\":\"alone\"");
  free(record);
  /* The calls of both are those of one scope: the second one's key is the second. */
  free(RECORD_OF(upper, ""));
  record = sandbox_get("/sandbox/records");
  CHECK_HAS(record, "\"beneath-1\"");
  CHECK_HAS(record, "\"beneath-1:2\"");
  free(record);
  CHECK_CODE(revenium_release(alone), REVENIUM_OK);
  CHECK_CODE(revenium_release(both), REVENIUM_OK);
  CHECK_CODE(revenium_release(upper), REVENIUM_OK);
}

static void a_thread_has_a_stack_of_scopes(void) {
  revenium_scope outer = scope_of(REVENIUM_SCOPE_NONE, "{\"trace_id\":\"pushed-outer\",\"agent\":\"a\"}", 0);
  revenium_scope inner = scope_of(REVENIUM_SCOPE_NONE, "{\"trace_id\":\"pushed-inner\"}", 0);
  revenium_scope child;
  char *record;
  CHECK_CODE(revenium_scope_push(outer), REVENIUM_OK);
  record = RECORD_OF(REVENIUM_SCOPE_THREAD, "");
  CHECK_HAS(record, "\"traceId\":\"pushed-outer\"");
  free(record);

  /* A scope of its own replaces; only a child inherits. */
  CHECK_CODE(revenium_scope_push(inner), REVENIUM_OK);
  record = RECORD_OF(REVENIUM_SCOPE_THREAD, "");
  CHECK_HAS(record, "\"traceId\":\"pushed-inner\"");
  CHECK(!strstr(record, "\"agent\""));
  free(record);
  CHECK_CODE(revenium_scope_pop(outer), REVENIUM_E_HANDLE);
  record = RECORD_OF(REVENIUM_SCOPE_THREAD, "");
  CHECK_HAS(record, "\"traceId\":\"pushed-inner\""); /* nothing changed */
  free(record);
  CHECK_CODE(revenium_scope_pop(inner), REVENIUM_OK);

  child = scope_of(REVENIUM_SCOPE_THREAD, "{\"task_type\":\"child\"}", 0);
  record = RECORD_OF(child, "");
  CHECK_HAS(record, "\"traceId\":\"pushed-outer\"");
  CHECK_HAS(record, "\"taskType\":\"child\"");
  free(record);

  /* NONE is nothing at all, whatever is pushed. */
  record = RECORD_OF(REVENIUM_SCOPE_NONE, "");
  CHECK(!strstr(record, "pushed-"));
  free(record);

  CHECK_CODE(revenium_scope_pop(outer), REVENIUM_OK);
  CHECK_CODE(revenium_scope_pop(outer), REVENIUM_E_HANDLE);
  record = RECORD_OF(REVENIUM_SCOPE_THREAD, "");
  CHECK(!strstr(record, "pushed-"));
  free(record);
  revenium_release(outer);
  revenium_release(inner);
  revenium_release(child);
}

static void *of_another_thread(void *user) {
  revenium_scope theirs = *(revenium_scope *)user;
  char *record;
  CHECK_CODE(revenium_scope_pop(theirs), REVENIUM_E_HANDLE);
  record = RECORD_OF(REVENIUM_SCOPE_THREAD, "");
  CHECK(!strstr(record, "of-main"));
  free(record);
  /* The same scope may be pushed here too; and an exiting thread takes its stack with it. */
  CHECK_CODE(revenium_scope_push(theirs), REVENIUM_OK);
  record = RECORD_OF(REVENIUM_SCOPE_THREAD, "");
  CHECK_HAS(record, "of-main");
  free(record);
  return NULL;
}

static void what_is_pushed_is_of_its_thread_only(void) {
  revenium_scope scope = scope_of(REVENIUM_SCOPE_NONE, "{\"trace_id\":\"of-main\"}", 0);
  pthread_t other;
  CHECK_CODE(revenium_scope_push(scope), REVENIUM_OK);
  pthread_create(&other, NULL, of_another_thread, &scope);
  pthread_join(other, NULL);
  CHECK_CODE(revenium_scope_pop(scope), REVENIUM_OK);
  revenium_release(scope);
}

static void a_pushed_scope_may_be_released(void) {
  revenium_scope scope = scope_of(REVENIUM_SCOPE_NONE, "{\"trace_id\":\"pushed-and-released\"}", 0);
  char *record;
  CHECK_CODE(revenium_scope_push(scope), REVENIUM_OK);
  CHECK_CODE(revenium_release(scope), REVENIUM_OK);
  record = RECORD_OF(REVENIUM_SCOPE_THREAD, "");
  CHECK_HAS(record, "\"traceId\":\"pushed-and-released\"");
  free(record);
  CHECK_CODE(revenium_scope_pop(scope), REVENIUM_OK);
  CHECK_CODE(revenium_scope_push(scope), REVENIUM_E_HANDLE);
}

static void a_call_keeps_the_scope_it_began_with(void) {
  FRAME_BUFFER(buffer, 65536);
  revenium_scope scope = scope_of(REVENIUM_SCOPE_NONE, "{\"trace_id\":\"began-with\"}", 0);
  revenium_queue queue;
  size_t used;
  int results = 0;
  char *record;
  revenium_queue_new(&queue);
  CHECK_CODE(revenium_messages_submit(REQUEST(STREAMED ANSWER("deltas=5; gap_ms=20")), REVENIUM_NTS, scope, queue, 1, NULL),
             REVENIUM_OK);
  CHECK_CODE(revenium_release(scope), REVENIUM_OK);
  while (!results) {
    if (!CHECK_CODE(revenium_queue_read(queue, buffer, sizeof buffer, 60000, &used), REVENIUM_OK)) break;
    FOR_EACH_FRAME(frame, buffer, used) results += frame->frame == REVENIUM_FRAME_RESULT;
  }
  record = the_record("\"traceId\":\"began-with\"");
  CHECK_HAS(record, "\"isStreamed\":true");
  free(record);
  revenium_release(queue);
}

static void settings_and_environment_are_under_every_scope(void) {
  revenium_scope scope = scope_of(REVENIUM_SCOPE_NONE, "{\"trace_id\":\"over-settings\"}", 0);
  char *record = RECORD_OF(scope, "");
  CHECK_HAS(record, "\"traceId\":\"over-settings\"");
  CHECK_HAS(record, "\"productName\":\"of the settings\"");
  free(record);
  revenium_release(scope);
}

/* Whether a call in `scope` is metered, as its usage says. */
static int metered(revenium_scope scope, const char *request) {
  revenium_usage usage = {.struct_size = sizeof usage};
  revenium_result result;
  CHECK_CODE(revenium_messages_create(request, REVENIUM_NTS, scope, &result), REVENIUM_OK);
  CHECK_CODE(revenium_result_usage(result, &usage), REVENIUM_OK);
  revenium_release(result);
  return usage.metered;
}

static void with_selective_metering_the_mark_decides(void) {
  revenium_state state = {.struct_size = sizeof state};
  long long records = sandbox_count("records");
  revenium_scope plain = scope_of(REVENIUM_SCOPE_NONE, "{\"agent\":\"plain\"}", 0);
  revenium_scope marked = scope_of(plain, NULL, REVENIUM_SCOPE_METER);
  revenium_scope inherits = scope_of(marked, "{\"agent\":\"inherits\"}", 0);
  CHECK_CODE(revenium_status(&state), REVENIUM_OK);
  CHECK_INT(state.metering, 2);
  CHECK_INT(metered(REVENIUM_SCOPE_NONE, REQUEST("")), 0);
  CHECK_INT(metered(plain, REQUEST("")), 0);
  CHECK_INT(metered(marked, REQUEST("")), 1);
  CHECK_INT(metered(inherits, REQUEST("")), 1);
  CHECK_INT(metered(plain, REQUEST(CHOICES("\"meter\":true"))), 1);
  CHECK_INT(metered(marked, REQUEST(CHOICES("\"meter\":false"))), 0);
  CHECK_CODE(revenium_scope_push(marked), REVENIUM_OK);
  CHECK_INT(metered(REVENIUM_SCOPE_THREAD, REQUEST("")), 1);
  CHECK_CODE(revenium_scope_pop(marked), REVENIUM_OK);
  CHECK_INT(metered(REVENIUM_SCOPE_THREAD, REQUEST("")), 0);
  CHECK_CODE(revenium_flush(60000), REVENIUM_OK);
  CHECK_INT(sandbox_count("records"), records + 4);
  revenium_release(plain);
  revenium_release(marked);
  revenium_release(inherits);
}

/* What a destructor of thread-specific data gets: the library's own are over by then. Not on Windows, where libraries are told
 * of a thread's end after that. */
static int32_t in_destructor[3];
#ifdef _WIN32
enum { LATE = REVENIUM_OK };
#else
enum { LATE = REVENIUM_E_CLOSED };
#endif

static void late(void *scope) {
  revenium_result result = 0;
  in_destructor[0] = revenium_messages_create(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_THREAD, &result);
  CHECK_HAS(revenium_result_message(result, NULL), LATE == REVENIUM_OK ? "" : "ending");
  revenium_release(result);
  in_destructor[1] = revenium_scope_push(*(revenium_scope *)scope);
  in_destructor[2] = revenium_scope_pop(*(revenium_scope *)scope);
}

static void *ends_with_a_scope_pushed(void *scope) {
  pthread_key_t key;
  CHECK_CODE(revenium_scope_push(*(revenium_scope *)scope), REVENIUM_OK);
  pthread_key_create(&key, late);
  pthread_setspecific(key, scope);
  return NULL;
}

static void a_thread_that_ends_has_no_scopes_any_more(void) {
  revenium_scope scope = scope_of(REVENIUM_SCOPE_NONE, "{}", 0);
  pthread_t thread;
  pthread_create(&thread, NULL, ends_with_a_scope_pushed, &scope);
  pthread_join(thread, NULL);
  for (int i = 0; i < 3; i++) CHECK_CODE(in_destructor[i], LATE);
  revenium_release(scope);
}

int main(void) {
  CHECK_CODE(revenium_init("{\"metadata\":{\"product_name\":\"of the settings\",\"trace_id\":\"of the settings\"}}", REVENIUM_NTS,
                           NULL),
             REVENIUM_OK);
  RUN(scopes_nest_and_the_inner_one_wins);
  RUN(a_scope_beneath_another_gives_way);
  RUN(a_thread_has_a_stack_of_scopes);
  RUN(what_is_pushed_is_of_its_thread_only);
  RUN(a_pushed_scope_may_be_released);
  RUN(a_call_keeps_the_scope_it_began_with);
  RUN(settings_and_environment_are_under_every_scope);
  RUN(a_thread_that_ends_has_no_scopes_any_more);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);

  CHECK_CODE(revenium_init("{\"selective_metering\":true}", REVENIUM_NTS, NULL), REVENIUM_OK);
  RUN(with_selective_metering_the_mark_decides);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
  return test_end();
}
