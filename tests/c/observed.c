/* Calls that something else made: records of calls that are over, and taps on replies that pass by. */
#include "util.h"

#define MESSAGE(id)                                                                                              \
  "{\"id\":\"" id "\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-haiku-4-5-20251001\",\"content\":[" \
  "{\"type\":\"text\",\"text\":\"Hi\"}],\"stop_reason\":\"max_tokens\",\"usage\":{\"input_tokens\":12,\"output_tokens\":7,"  \
  "\"cache_read_input_tokens\":5}}"
#define EVENT(name, members) "event: " name "\ndata: {\"type\":\"" name "\"" members "}\n\n"
#define START(id)                                                                                               \
  EVENT("message_start", ",\"message\":{\"id\":\"" id "\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[]," \
                         "\"model\":\"claude-haiku-4-5-20251001\",\"usage\":{\"input_tokens\":12,\"output_tokens\":1}}")
#define DELTA                                                                                           \
  EVENT("content_block_start", ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}")        \
  EVENT("content_block_delta", ",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}")
#define END                                                                                                       \
  EVENT("message_delta", ",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":7}") EVENT("message_stop", "")

/* Records a call and gives its detail. */
static revenium_result recorded(const char *record, revenium_scope scope) {
  revenium_result detail = 0;
  CHECK_CODE(revenium_record(record, REVENIUM_NTS, scope, &detail), REVENIUM_OK);
  return detail;
}

static revenium_tap tap_of(const char *request, revenium_scope scope) {
  revenium_tap tap = 0;
  CHECK_CODE(revenium_tap_new(request, REVENIUM_NTS, scope, &tap), REVENIUM_OK);
  return tap;
}

static void write_all(revenium_tap tap, const char *bytes, size_t at_a_time) {
  for (size_t at = 0, length = strlen(bytes); at < length; at += at_a_time) {
    size_t size = length - at < at_a_time ? length - at : at_a_time;
    CHECK_CODE(revenium_tap_write(tap, bytes + at, size), REVENIUM_OK);
  }
}

static void a_call_that_is_over(void) {
  revenium_usage usage = {.struct_size = sizeof usage};
  revenium_scope scope = 0;
  revenium_result detail;
  char *record;
  CHECK_CODE(revenium_scope_new(REVENIUM_SCOPE_NONE, "{\"agent\":\"gateway\"}", REVENIUM_NTS, 0, &scope), REVENIUM_OK);
  detail = recorded("{\"request\":" REQUEST(",\"tools\":[{\"name\":\"t\"}],\"usage_metadata\":{\"trace_id\":\"over\"}") ",\"response\":" MESSAGE(
                        "msg_over") ",\"provider\":\"foundry\",\"started_at\":\"2026-11-23T00:03:53.412Z\",\"duration_ms\":185,\"attempts\":3}",
                    scope);
  CHECK_HAS(revenium_result_info(detail, NULL), "\"transaction_id\":\"msg_over\"");
  CHECK_HAS(revenium_result_info(detail, NULL), "\"metered\":true");
  CHECK_HAS(revenium_result_info(detail, NULL), "\"attempts\":3");
  CHECK_CODE(revenium_result_usage(detail, &usage), REVENIUM_OK);
  CHECK_INT(usage.output_tokens, 7);
  CHECK_INT(usage.metered, 1);
  revenium_release(detail);
  revenium_release(scope);

  record = the_record("\"transactionId\":\"msg_over\"");
  CHECK_HAS(record, "\"provider\":\"Foundry\"");
  CHECK_HAS(record, "\"model\":\"claude-haiku-4-5-20251001\"");
  CHECK_HAS(record, "\"requestTime\":\"2026-11-23T00:03:53.412Z\"");
  CHECK_HAS(record, "\"responseTime\":\"2026-11-23T00:03:53.597Z\"");
  CHECK_HAS(record, "\"requestDuration\":185");
  CHECK_HAS(record, "\"stopReason\":\"TOKEN_LIMIT\"");
  CHECK_HAS(record, "\"operationType\":\"TOOL_CALL\"");
  CHECK_HAS(record, "\"isStreamed\":false");
  CHECK_HAS(record, "\"traceId\":\"over\"");
  CHECK_HAS(record, "\"agent\":\"gateway\"");
  CHECK_INT(json_number(record, "inputTokenCount"), 12);
  CHECK_INT(json_number(record, "totalTokenCount"), 19);
  CHECK_INT(json_number(record, "cacheReadTokenCount"), 5);
  free(record);
}

static void a_stream_that_is_over(void) {
  char *record;
  revenium_release(recorded("{\"request\":{\"anthropic_version\":\"vertex-2023-10-16\",\"stream\":true},\"model\":\"claude-haiku-4-5@20251001\","
                            "\"events\":\"event: message_start\\ndata: {\\\"type\\\":\\\"message_start\\\",\\\"message\\\":{\\\"id\\\":\\\"msg_vertex\\\","
                            "\\\"usage\\\":{\\\"input_tokens\\\":3,\\\"output_tokens\\\":1}}}\\n\\n\","
                            "\"error\":{\"type\":\"connection\"},\"duration_ms\":50,\"time_to_first_token_ms\":20}",
                            REVENIUM_SCOPE_NONE));
  record = the_record("\"transactionId\":\"msg_vertex\"");
  CHECK_HAS(record, "\"provider\":\"Google\"");
  CHECK_HAS(record, "\"model\":\"claude-haiku-4-5@20251001\"");
  CHECK_HAS(record, "\"stopReason\":\"ERROR\"");
  CHECK_HAS(record, "\"errorReason\":\"APIConnectionError\"");
  CHECK_HAS(record, "\"isStreamed\":true");
  CHECK_INT(json_number(record, "timeToFirstToken"), 20);
  CHECK_INT(json_number(record, "inputTokenCount"), 3);
  free(record);
}

static void a_call_that_failed(void) {
  char *record;
  revenium_release(recorded("{\"request\":" REQUEST(TRACE("failed")) ",\"error\":{\"status\":429,\"type\":\"rate_limit_error\"}}", REVENIUM_SCOPE_NONE));
  record = the_record("\"traceId\":\"failed\"");
  CHECK_HAS(record, "\"errorReason\":\"RateLimitError (HTTP 429)\"");
  CHECK_INT(json_number(record, "errorCode"), 429);
  CHECK_HAS(record, "\"model\":\"claude-haiku-4-5\"");
  CHECK_INT(json_number(record, "totalTokenCount"), 0);
  free(record);
  /* A failure that will be tried again is no call of its own. */
  revenium_release(recorded("{\"request\":" REQUEST(TRACE("again") CHOICES("\"meter_retryable\":false")) ",\"error\":{\"status\":529}}", REVENIUM_SCOPE_NONE));
  CHECK_CODE(revenium_flush(60000), REVENIUM_OK);
  CHECK_INT(sandbox_records("\"traceId\":\"again\"", NULL), 0);
}

static void batches_are_recorded_once(void) {
#define LINE(custom, result) "{\"batch\":true,\"batch_id\":\"msgbatch_1\",\"custom_id\":\"" custom "\",\"result\":" result "}"
  char *record;
  for (int time = 0; time < 3; time++) {
    revenium_result detail = recorded(LINE("one", "{\"type\":\"succeeded\",\"message\":" MESSAGE("msg_batch") "}"), REVENIUM_SCOPE_NONE);
    CHECK_HAS(revenium_result_info(detail, NULL), time ? "\"metered\":false" : "\"transaction_id\":\"msgbatch_1-one\"");
    revenium_release(detail);
  }
  revenium_release(recorded(LINE("two", "{\"type\":\"errored\",\"error\":{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\"}}}"), REVENIUM_SCOPE_NONE));
  revenium_release(recorded(LINE("three", "{\"type\":\"expired\"}"), REVENIUM_SCOPE_NONE));
  record = the_record("\"transactionId\":\"msgbatch_1-one\"");
  CHECK_HAS(record, "\"pricingTier\":\"BATCH\"");
  CHECK_INT(json_number(record, "outputTokenCount"), 7);
  free(record);
  record = the_record("\"transactionId\":\"msgbatch_1-two\"");
  CHECK_HAS(record, "\"stopReason\":\"ERROR\"");
  free(record);
  CHECK_INT(sandbox_records("msgbatch_1-three", NULL), 0);
}

/* Another run of the library, over the same spool. */
static void again_after_a_restart(void) {
  revenium_result detail;
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
  CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
  detail = recorded(LINE("one", "{\"type\":\"succeeded\",\"message\":" MESSAGE("msg_batch") "}"), REVENIUM_SCOPE_NONE);
  CHECK_HAS(revenium_result_info(detail, NULL), "\"metered\":false");
  revenium_release(detail);
}

static void replies_that_pass_by(void) {
  static const size_t sizes[] = {1, 17, 100000};
  char *record;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    char request[400], part[80];
    revenium_tap tap;
    snprintf(request, sizeof request, REQUEST(STREAMED ",\"usage_metadata\":{\"trace_id\":\"tap-%zu\"}"), sizes[i]);
    tap = tap_of(request, REVENIUM_SCOPE_NONE);
    write_all(tap, START("msg_tap") DELTA END, sizes[i]);
    CHECK_CODE(revenium_tap_end(tap, NULL, 0), REVENIUM_OK);
    CHECK_CODE(revenium_tap_end(tap, NULL, 0), REVENIUM_OK);
    CHECK_CODE(revenium_tap_write(tap, "more", 4), REVENIUM_OK);
    CHECK_CODE(revenium_release(tap), REVENIUM_OK);
    CHECK_CODE(revenium_tap_end(tap, NULL, 0), REVENIUM_E_HANDLE);
    snprintf(part, sizeof part, "\"traceId\":\"tap-%zu\"", sizes[i]);
    record = the_record(part);
    CHECK_HAS(record, "\"transactionId\":\"msg_tap");
    CHECK_HAS(record, "\"isStreamed\":true");
    CHECK_HAS(record, "\"stopReason\":\"END\"");
    CHECK_HAS(record, "\"provider\":\"ANTHROPIC\"");
    CHECK(json_number(record, "timeToFirstToken") >= 0);
    CHECK_INT(json_number(record, "outputTokenCount"), 7);
    free(record);
  }
}

static void replies_that_fail(void) {
  static const struct {
    const char *trace, *bytes, *ending, *part;
  } table[] = {
      {"whole", MESSAGE("msg_whole"), NULL, "\"stopReason\":\"TOKEN_LIMIT\""},
      {"cut", START("msg_cut") DELTA, NULL, "\"errorReason\":\"RemoteProtocolError\""},
      {"status", "{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"x\"}}", "{\"status\":500}", "\"errorReason\":\"InternalServerError (HTTP 500)\""},
      {"broken", START("msg_broken"), "{\"error\":\"connection\"}", "\"errorReason\":\"APIConnectionError\""},
      {"event", START("msg_event") EVENT("error", ",\"error\":{\"type\":\"overloaded_error\"}"), NULL, "\"errorReason\":\"APIStatusError (HTTP 200)\""},
      {"cancelled", START("msg_cancelled"), "{\"error\":\"cancelled\"}", "\"stopReason\":\"CANCELLED\""},
      {"nothing", "", NULL, "\"stopReason\":\"ERROR\""},
      {"late", START("msg_late") DELTA END, "{\"error\":\"connection\"}", "\"stopReason\":\"END\""},
      {"page", "<html>no</html>", NULL, "\"stopReason\":\"ERROR\""},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    char request[400], part[80], *record;
    revenium_tap tap;
    snprintf(request, sizeof request, "{\"request\":" REQUEST(",\"usage_metadata\":{\"trace_id\":\"%s\"}") ",\"provider\":\"bedrock\","
             "\"model\":\"us.anthropic.claude-x-v1:0\",\"region\":\"eu-west-1\"}", table[i].trace);
    tap = tap_of(request, REVENIUM_SCOPE_NONE);
    write_all(tap, table[i].bytes, 1000);
    CHECK_CODE(revenium_tap_end(tap, table[i].ending, REVENIUM_NTS), REVENIUM_OK);
    revenium_release(tap);
    snprintf(part, sizeof part, "\"traceId\":\"%s\"", table[i].trace);
    record = the_record(part);
    CHECK_HAS(record, table[i].part);
    CHECK_HAS(record, "\"provider\":\"AWS\"");
    CHECK_HAS(record, "\"model\":\"us.anthropic.claude-x-v1:0\"");
    CHECK_HAS(record, "\"region\":\"eu-west-1\"");
    free(record);
  }
}

static void taps_that_nobody_ends(void) {
  revenium_tap released = tap_of(REQUEST(STREAMED TRACE("released")), REVENIUM_SCOPE_NONE);
  revenium_tap left = tap_of(REQUEST(STREAMED TRACE("left")), REVENIUM_SCOPE_NONE);
  char *record;
  write_all(released, START("msg_released") DELTA, 50);
  CHECK_CODE(revenium_release(released), REVENIUM_OK);
  write_all(left, START("msg_left") DELTA, 50);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
  CHECK_CODE(revenium_tap_write(left, "x", 1), REVENIUM_OK);
  CHECK_CODE(revenium_release(left), REVENIUM_OK);
  CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
  record = the_record("\"traceId\":\"released\"");
  CHECK_HAS(record, "\"stopReason\":\"CANCELLED\"");
  CHECK_INT(json_number(record, "inputTokenCount"), 12);
  free(record);
  record = the_record("\"traceId\":\"left\"");
  CHECK_HAS(record, "\"stopReason\":\"CANCELLED\"");
  free(record);
}

static void tools_have_a_place_of_their_own(void) {
  revenium_scope scope = 0;
  revenium_result detail = 0;
  char *requests;
  CHECK_CODE(revenium_scope_new(REVENIUM_SCOPE_NONE, "{\"agent\":\"toolsmith\"}", REVENIUM_NTS, 0, &scope), REVENIUM_OK);
  CHECK_CODE(revenium_tool_event("{\"toolId\":\"search\",\"durationMs\":12,\"usageMetadata\":{\"pages\":3}}", REVENIUM_NTS, scope, &detail), REVENIUM_OK);
  CHECK_HAS(revenium_result_info(detail, NULL), "\"metered\":true");
  revenium_release(detail);
  revenium_release(scope);
  CHECK_CODE(revenium_flush(60000), REVENIUM_OK);
  requests = sandbox_get("/sandbox/tool-events");
  CHECK_HAS(requests, "\"toolId\":\"search\"");
  CHECK_HAS(requests, "\"agent\":\"toolsmith\"");
  CHECK_HAS(requests, "\"usageMetadata\":{\"pages\":3}");
  free(requests);
}

static void what_is_not_metered_leaves_nothing(void) {
  revenium_tap tap = tap_of(REQUEST(TRACE("unmetered") CHOICES("\"meter\":false")), REVENIUM_SCOPE_NONE);
  write_all(tap, MESSAGE("msg_unmetered"), 10);
  CHECK_CODE(revenium_tap_end(tap, NULL, 0), REVENIUM_OK);
  revenium_release(tap);
  CHECK_CODE(revenium_flush(60000), REVENIUM_OK);
  CHECK_INT(sandbox_records("unmetered", NULL), 0);
}

int main(void) {
  CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
  RUN(a_call_that_is_over);
  RUN(a_stream_that_is_over);
  RUN(a_call_that_failed);
  RUN(batches_are_recorded_once);
  RUN(again_after_a_restart);
  RUN(replies_that_pass_by);
  RUN(replies_that_fail);
  RUN(taps_that_nobody_ends);
  RUN(tools_have_a_place_of_their_own);
  RUN(what_is_not_metered_leaves_nothing);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
  return test_end();
}
