/* What records hold of a call's content, whose they are, and the idempotency keys that a host chooses. */
#include "util.h"

static revenium_scope scope_of(const char *metadata) {
  revenium_scope scope = 0;
  CHECK_CODE(revenium_scope_new(REVENIUM_SCOPE_NONE, metadata, REVENIUM_NTS, 0, &scope), REVENIUM_OK);
  return scope;
}

static void create(const char *request, revenium_scope scope, int32_t code) {
  revenium_result result;
  CHECK_CODE(revenium_messages_create(request, REVENIUM_NTS, scope, &result), code);
  revenium_release(result);
}

static int32_t ignore(void *user, const revenium_event *event) {
  (void)user, (void)event;
  return 0;
}

#define KEY "sk-ant-ahov29GNUbipw3AHOVcjqx4B"
#define SECRET_REQUEST(members)                                                                              \
  "{\"model\":\"claude-haiku-4-5\",\"max_tokens\":64,\"system\":\"Be kind. password=hunter2hunter2\",\"messages\":[{" \
  "\"role\":\"user\",\"content\":\"use " KEY "\"}]" members "}"

static void nothing_is_captured_unless_it_is_wanted(void) {
  char *record;
  create(REQUEST(TRACE("off")), REVENIUM_SCOPE_NONE, REVENIUM_OK);
  record = the_record("\"traceId\":\"off\"");
  CHECK(!strstr(record, "inputMessages") && !strstr(record, "outputResponse") && !strstr(record, "promptsTruncated"));
  free(record);
}

static void a_scope_captures_and_a_call_chooses_otherwise(void) {
  revenium_scope scope = scope_of("{\"revenium\":{\"capture_prompts\":true}}");
  char *record;
  create(SECRET_REQUEST(TRACE("on")), scope, REVENIUM_OK);
  record = the_record("\"traceId\":\"on\"");
  CHECK_HAS(record, "\"systemPrompt\":\"Be kind. password=***REDACTED***\"");
  CHECK_HAS(record, "use sk-ant-***REDACTED***");
  CHECK_HAS(record, "\"outputResponse\":\"You said: use sk-ant-***REDACTED***\"");
  CHECK_HAS(record, "\"promptsTruncated\":false");
  CHECK(!strstr(record, KEY) && !strstr(record, "hunter2"));
  free(record);
  create(REQUEST(TRACE("not-this") CHOICES("\"capture_prompts\":false")), scope, REVENIUM_OK);
  record = the_record("\"traceId\":\"not-this\"");
  CHECK(!strstr(record, "inputMessages"));
  free(record);
  create(REQUEST(TRACE("short") CHOICES("\"max_prompt_size\":200,\"headers\":{\"x-sandbox\":\"deltas=100\"}")), scope, REVENIUM_OK);
  record = the_record("\"traceId\":\"short\"");
  CHECK_HAS(record, "...[TRUNCATED]\"");
  CHECK_HAS(record, "\"promptsTruncated\":true");
  free(record);
  revenium_release(scope);
}

static void streams_and_what_others_call_too(void) {
  revenium_scope scope = scope_of("{\"revenium\":{\"capture_prompts\":true}}");
  revenium_result result;
  revenium_tap tap;
  char *record;
  CHECK_CODE(revenium_messages_stream(REQUEST(TRACE("streamed")), REVENIUM_NTS, scope, ignore, NULL, &result), REVENIUM_OK);
  revenium_release(result);
  record = the_record("\"traceId\":\"streamed\"");
  CHECK_HAS(record, "\"outputResponse\":\"" REPLY "\"");
  free(record);
  CHECK_CODE(revenium_tap_new(SECRET_REQUEST(TRACE("tapped")), REVENIUM_NTS, scope, &tap), REVENIUM_OK);
  static const char reply[] = "{\"id\":\"msg_tapped\",\"content\":[{\"type\":\"text\",\"text\":\"Hi\"}]}";
  CHECK_CODE(revenium_tap_write(tap, reply, sizeof reply - 1), REVENIUM_OK);
  CHECK_CODE(revenium_tap_end(tap, NULL, 0), REVENIUM_OK);
  revenium_release(tap);
  record = the_record("\"traceId\":\"tapped\"");
  CHECK_HAS(record, "\"outputResponse\":\"Hi\"");
  CHECK(!strstr(record, KEY));
  free(record);
  revenium_release(scope);
}

static void failures_capture_no_prompt(void) {
  revenium_scope scope = scope_of("{\"revenium\":{\"capture_prompts\":true,\"capture_error_messages\":true}}");
  char *record;
  create(SECRET_REQUEST(TRACE("failed") ANSWER("status=400")), scope, REVENIUM_E_BAD_REQUEST);
  record = the_record("\"traceId\":\"failed\"");
  CHECK(!strstr(record, "inputMessages"));
  CHECK_HAS(record, "\"errorReason\":\"BadRequestError: ");
  CHECK_HAS(record, "(HTTP 400)\"");
  free(record);
  create(REQUEST(TRACE("class") ANSWER("status=400")), REVENIUM_SCOPE_NONE, REVENIUM_E_BAD_REQUEST);
  record = the_record("\"traceId\":\"class\"");
  CHECK_HAS(record, "\"errorReason\":\"BadRequestError (HTTP 400)\"");
  free(record);
  revenium_release(scope);
}

/* The key of a request to the collector is in its headers, of which the sandbox tells. */
static int posted_with(const char *key, const char *trace) {
  char *records = sandbox_get("/sandbox/records"), *rest = records, *line;
  int found = 0;
  while ((line = strsep(&rest, "\n"))) found += strstr(line, key) && strstr(line, trace) ? 1 : 0;
  free(records);
  return found;
}

static void idempotency_keys_are_numbered_by_call(void) {
  revenium_scope scope = scope_of("{\"revenium\":{\"idempotency_key\":\"job-77\"}}");
  create(REQUEST(TRACE("first")), scope, REVENIUM_OK);
  create(REQUEST(TRACE("second")), scope, REVENIUM_OK);
  create(REQUEST(TRACE("own") CHOICES("\"idempotency_key\":\"own-key\"")), scope, REVENIUM_OK);
  CHECK_CODE(revenium_flush(60000), REVENIUM_OK);
  CHECK_INT(posted_with("\"job-77\"", "\"first\""), 1);
  CHECK_INT(posted_with("\"job-77:2\"", "\"second\""), 1);
  CHECK_INT(posted_with("\"own-key\"", "\"own\""), 1);
  revenium_release(scope);
}

static void *calls_of_an_account(void *user) {
  const char *name = user;
  char metadata[200], request[400];
  revenium_scope scope;
  snprintf(metadata, sizeof metadata, "{\"agent\":\"%s\",\"revenium\":{\"metering_api_key\":\"rev_mk_%s_0123456789\"}}", name, name);
  snprintf(request, sizeof request, REQUEST(",\"usage_metadata\":{\"trace_id\":\"of-%s\"}"), name);
  scope = scope_of(metadata);
  for (int i = 0; i < 10; i++) create(request, scope, REVENIUM_OK);
  revenium_release(scope);
  return NULL;
}

static void several_accounts_never_mix(void) {
  static char names[4][8] = {"anna", "bert", "carl", "dora"};
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, calls_of_an_account, names[i]);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  CHECK_CODE(revenium_flush(60000), REVENIUM_OK);
  for (int i = 0; i < 4; i++) {
    char key[64], trace[64];
    snprintf(key, sizeof key, "rev_mk_%s_0123456789", names[i]);
    snprintf(trace, sizeof trace, "\"of-%s\"", names[i]);
    CHECK_INT(sandbox_records(trace, NULL), 10);
    for (int j = 0; j < 4; j++) {
      snprintf(trace, sizeof trace, "\"of-%s\"", names[j]);
      CHECK_INT(posted_with(key, trace), j == i ? 10 : 0);
    }
  }
  /* A body must not send the process's key elsewhere. */
  create(REQUEST(CHOICES("\"metering_base_url\":\"http://127.0.0.1:9\"")), REVENIUM_SCOPE_NONE, REVENIUM_E_CONFIG);
  create(REQUEST(CHOICES("\"metering_base_url\":\"no url\",\"metering_api_key\":\"rev_mk_x\"")), REVENIUM_SCOPE_NONE, REVENIUM_E_CONFIG);
}

int main(void) {
  CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
  RUN(nothing_is_captured_unless_it_is_wanted);
  RUN(a_scope_captures_and_a_call_chooses_otherwise);
  RUN(streams_and_what_others_call_too);
  RUN(failures_capture_no_prompt);
  RUN(idempotency_keys_are_numbered_by_call);
  RUN(several_accounts_never_mix);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
  return test_end();
}
