/* From init to shutdown and back, without a key, and where the log goes. */
#include "util.h"

static int32_t ask(void) {
  revenium_result result;
  int32_t code = revenium_messages_create(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_THREAD, &result);
  CHECK_CODE(revenium_result_code(result), code);
  revenium_release(result);
  return code;
}

static int32_t initialized(void) {
  revenium_state state = {.struct_size = sizeof state};
  return revenium_status(&state) == REVENIUM_OK ? state.initialized : -1;
}

/* ---- init and shutdown ---- */

static void the_first_call_starts_the_library(void) {
  CHECK_INT(initialized(), 0);
  CHECK_INT(revenium_is_initialized(), 1); /* it can start from the environment, and there is a key */
  CHECK_CODE(ask(), REVENIUM_OK);
  CHECK_INT(initialized(), 1);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
}

static void init_is_counted(void) {
  CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
  CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
  CHECK_CODE(revenium_init("{}", REVENIUM_NTS, NULL), REVENIUM_OK);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
  CHECK_CODE(ask(), REVENIUM_OK);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
  CHECK_CODE(ask(), REVENIUM_OK);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
  CHECK_CODE(ask(), REVENIUM_E_CLOSED);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_E_CLOSED);
}

static void other_settings_are_refused_while_it_runs(void) {
  static const char ours[] = "{\"max_retries\":1}";
  revenium_result detail;
  CHECK_CODE(revenium_init(ours, REVENIUM_NTS, &detail), REVENIUM_OK);
  CHECK_INT(detail, 0);
  CHECK_CODE(revenium_init(ours, REVENIUM_NTS, NULL), REVENIUM_OK);
  CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
  CHECK_CODE(revenium_init("{\"max_retries\":5}", REVENIUM_NTS, &detail), REVENIUM_E_ALREADY);
  CHECK_CODE(revenium_result_code(detail), REVENIUM_E_ALREADY);
  CHECK(strlen(revenium_result_message(detail, NULL)) > 0);
  revenium_release(detail);
  /* The refused one does not count. */
  for (int i = 0; i < 3; i++) CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_E_CLOSED);
}

static void a_bad_setting_is_named(void) {
  static const struct {
    const char *config;
    int32_t code;
    const char *named;
  } table[] = {
      {"{\"max_retires\":3}", REVENIUM_E_CONFIG, "max_retires"},
      {"{\"max_retries\":\"many\"}", REVENIUM_E_CONFIG, "max_retries"},
      {"{\"max_in_flight\":-1}", REVENIUM_E_CONFIG, "max_in_flight"},
      {"{\"anthropic_base_url\":\"not a url\"}", REVENIUM_E_CONFIG, "anthropic_base_url"},
      {"{\"anthropic_api_key\":[\"sk-ant-secret\"]}", REVENIUM_E_CONFIG, "anthropic_api_key"},
      {"[]", REVENIUM_E_JSON, ""},
      {"{", REVENIUM_E_JSON, ""},
      {"", REVENIUM_E_JSON, ""},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    revenium_result detail;
    CHECK_CODE(revenium_init(table[i].config, REVENIUM_NTS, &detail), table[i].code);
    CHECK_CODE(revenium_result_code(detail), table[i].code);
    CHECK_HAS(revenium_result_message(detail, NULL), table[i].named);
    CHECK(strlen(revenium_result_message(detail, NULL)) > 0);
    CHECK(!strstr(revenium_result_message(detail, NULL), "secret"));
    CHECK_CODE(revenium_release(detail), REVENIUM_OK);
    /* Nobody has to look. */
    CHECK_CODE(revenium_init(table[i].config, REVENIUM_NTS, NULL), table[i].code);
  }
}

static void quotes_of_the_provider_can_be_turned_off(void) {
  for (int quoted = 0; quoted < 2; quoted++) {
    revenium_result result;
    CHECK_CODE(revenium_init(quoted ? NULL : "{\"quote_errors\":false}", quoted ? 0 : REVENIUM_NTS, NULL), REVENIUM_OK);
    CHECK_CODE(revenium_messages_create("{}", REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result), REVENIUM_E_BAD_REQUEST);
    CHECK_HAS(revenium_result_message(result, NULL), "The provider answered 400 invalid_request_error");
    CHECK_INT(strstr(revenium_result_message(result, NULL), "Field required") != NULL, quoted);
    /* The provider's own body stays. */
    CHECK_HAS(revenium_result_json(result, NULL), "Field required");
    revenium_release(result);
    CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
  }
}

static void after_shutdown_everything_is_safe(void) {
  FRAME_BUFFER(buffer, 4096);
  revenium_usage usage = {.struct_size = sizeof usage};
  revenium_state state = {.struct_size = sizeof state};
  revenium_result result, refused;
  revenium_scope scope, fresh_scope;
  revenium_queue queue, fresh_queue;
  revenium_call call, cancelled;
  size_t used;
  CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
  revenium_messages_create(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result);
  CHECK_CODE(revenium_scope_new(REVENIUM_SCOPE_NONE, NULL, 0, 0, &scope), REVENIUM_OK);
  CHECK_CODE(revenium_queue_new(&queue), REVENIUM_OK);
  revenium_messages_submit(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, queue, 1, &call);
  CHECK_EVENTUALLY(revenium_result_code(call) == REVENIUM_OK);
  CHECK_CODE(revenium_messages_submit(REQUEST(SILENT), REVENIUM_NTS, REVENIUM_SCOPE_NONE, queue, 2, &cancelled), REVENIUM_OK);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);

  CHECK_CODE(revenium_messages_create(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, &refused), REVENIUM_E_CLOSED);
  CHECK_CODE(revenium_result_code(refused), REVENIUM_E_CLOSED);
  revenium_release(refused);
  CHECK_CODE(revenium_messages_submit(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, queue, 1, NULL), REVENIUM_E_CLOSED);
  CHECK_CODE(revenium_scope_new(REVENIUM_SCOPE_NONE, NULL, 0, 0, &fresh_scope), REVENIUM_E_CLOSED);
  revenium_release(fresh_scope);
  CHECK_CODE(revenium_queue_new(&fresh_queue), REVENIUM_E_CLOSED);
  revenium_release(fresh_queue);
  CHECK_CODE(revenium_scope_push(scope), REVENIUM_E_CLOSED);
  CHECK_CODE(revenium_flush(1000), REVENIUM_E_CLOSED);
  CHECK_CODE(revenium_shutdown(1000), REVENIUM_E_CLOSED);
  CHECK_CODE(revenium_status(&state), REVENIUM_E_CLOSED);
  CHECK_CODE(revenium_status_json(&refused), REVENIUM_E_CLOSED);
  revenium_release(refused);
  CHECK_INT(revenium_is_initialized(), 0);

  /* What was got before can be read and released. */
  CHECK_TEXT(revenium_result_text(result, NULL), REPLY);
  CHECK_CODE(revenium_result_usage(result, &usage), REVENIUM_OK);
  CHECK_TEXT(revenium_result_text(call, NULL), REPLY);
  /* The calls that were under way have reported. */
  CHECK_CODE(revenium_result_code(cancelled), REVENIUM_E_CANCELLED);
  CHECK_CODE(revenium_queue_read(queue, buffer, sizeof buffer, 0, &used), REVENIUM_OK);
  CHECK_INT(((revenium_frame *)buffer)->tag, 1);
  CHECK_INT(frame_next((revenium_frame *)buffer)->tag, 2);
  CHECK_CODE(frame_next((revenium_frame *)buffer)->code, REVENIUM_E_CANCELLED);
  CHECK_CODE(revenium_queue_read(queue, buffer, sizeof buffer, 60000, &used), REVENIUM_E_CLOSED);
  CHECK_CODE(revenium_release(result), REVENIUM_OK);
  CHECK_CODE(revenium_release(call), REVENIUM_OK);
  CHECK_CODE(revenium_release(cancelled), REVENIUM_OK);
  CHECK_CODE(revenium_release(scope), REVENIUM_OK);
  CHECK_CODE(revenium_release(queue), REVENIUM_OK);
  CHECK_CODE(revenium_release(queue), REVENIUM_E_HANDLE);

  /* And afresh. */
  CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
  CHECK_CODE(ask(), REVENIUM_OK);
  CHECK_CODE(revenium_flush(60000), REVENIUM_OK);
  CHECK_CODE(revenium_status(&state), REVENIUM_OK);
  CHECK_INT(state.calls_started, 1); /* counters run since init */
  CHECK_INT(state.events_delivered, 1);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
}

static void *waits_for_a_reply(void *user) {
  revenium_result result;
  int32_t code = revenium_messages_create(REQUEST(SILENT), REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result);
  CHECK_CODE(revenium_result_code(result), code);
  revenium_release(result);
  *(int32_t *)user = code;
  return NULL;
}

static void *waits_for_a_frame(void *user) {
  FRAME_BUFFER(buffer, 256);
  size_t used;
  revenium_queue queue;
  revenium_queue_new(&queue);
  *(int32_t *)user = revenium_queue_read(queue, buffer, sizeof buffer, REVENIUM_FOREVER, &used);
  revenium_release(queue);
  return NULL;
}

static void shutdown_wakes_whoever_waits(void) {
  revenium_state state = {.struct_size = sizeof state};
  pthread_t reply, frame;
  int32_t reply_code = 99, frame_code = 99;
  CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
  pthread_create(&frame, NULL, waits_for_a_frame, &frame_code);
  pthread_create(&reply, NULL, waits_for_a_reply, &reply_code);
  CHECK_EVENTUALLY(revenium_status(&state) == REVENIUM_OK && state.calls_in_flight == 1);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
  pthread_join(reply, NULL);
  pthread_join(frame, NULL);
  CHECK_CODE(reply_code, REVENIUM_E_CANCELLED);
  CHECK_CODE(frame_code, REVENIUM_E_CLOSED);
}

/* In a process of its own, because this wants one in which nothing has happened yet. */
static void a_flush_alone_leaves_the_settings_open(void) {
  revenium_state state = {.struct_size = sizeof state};
  CHECK_CODE(revenium_flush(60000), REVENIUM_OK);
  CHECK_CODE(revenium_status(&state), REVENIUM_OK);
  CHECK(state.initialized == 0);
  CHECK_CODE(revenium_init("{\"max_retries\": 7}", REVENIUM_NTS, NULL), REVENIUM_OK);
  CHECK_CODE(ask(), REVENIUM_OK);
  CHECK_CODE(revenium_init("{\"max_retries\": 6}", REVENIUM_NTS, NULL), REVENIUM_E_ALREADY);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
}

static void init_and_shutdown_again_and_again(void) {
  for (int i = 0; i < 20; i++) {
    CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
    CHECK_CODE(ask(), REVENIUM_OK);
    CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
  }
}

/* ---- without a Revenium key ---- */

static void without_a_key_calls_work_unmetered(void) {
  revenium_state state = {.struct_size = sizeof state};
  revenium_usage usage = {.struct_size = sizeof usage};
  revenium_result result;
  char *key = strdup(getenv("REVENIUM_METERING_API_KEY"));
  long long records = sandbox_count("records");
  unsetenv("REVENIUM_METERING_API_KEY");
  CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
  CHECK_CODE(revenium_status(&state), REVENIUM_OK);
  CHECK_INT(state.initialized, 1);
  CHECK_INT(state.metering, 0);
  CHECK_INT(revenium_is_initialized(), 0);
  CHECK_CODE(revenium_messages_create(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result), REVENIUM_OK);
  CHECK_TEXT(revenium_result_text(result, NULL), REPLY);
  CHECK_CODE(revenium_result_usage(result, &usage), REVENIUM_OK);
  CHECK_INT(usage.metered, 0);
  CHECK_HAS(revenium_result_info(result, NULL), "\"metered\":false");
  revenium_release(result);
  CHECK_CODE(revenium_flush(60000), REVENIUM_OK);
  CHECK_INT(sandbox_count("records"), records);

  /* A key that appears later is used from then on. */
  setenv("REVENIUM_METERING_API_KEY", key, 1);
  CHECK_EVENTUALLY(revenium_is_initialized() == 1);
  CHECK_CODE(ask(), REVENIUM_OK);
  CHECK_CODE(revenium_status(&state), REVENIUM_OK);
  CHECK_INT(state.metering, 1);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
  CHECK_INT(sandbox_count("records"), records + 1);
  free(key);
}

/* ---- the log ---- */

struct lines {
  atomic_int dead; /* set when it must not be written to any more */
  atomic_int count;
  atomic_int highest;
  char text[1 << 18];
};

static void write_line(void *user, int32_t level, const char *text, size_t text_len) {
  struct lines *lines = user;
  CHECK_INT(atomic_load(&lines->dead), 0);
  CHECK_INT(strlen(text), text_len);
  CHECK(level >= REVENIUM_LOG_ERROR && level <= REVENIUM_LOG_DEBUG);
  if (level > atomic_load(&lines->highest)) atomic_store(&lines->highest, level);
  if (strlen(lines->text) + text_len + 2 < sizeof lines->text) strcat(strcat(lines->text, text), "\n");
  atomic_fetch_add(&lines->count, 1);
}

/* A call whose record is turned away with `status`, which is worth a warning the first time. */
static void make_noise(int status) {
  char plan[128];
  snprintf(plan, sizeof plan, "{\"path\":\"/meter/v2/ai/completions\",\"answers\":[{\"status\":%d},{}]}", status);
  sandbox_post("/sandbox/plan", plan);
  CHECK_CODE(ask(), REVENIUM_OK);
  CHECK_CODE(revenium_flush(60000), REVENIUM_OK);
  sandbox_delete("/sandbox/plan");
}

static void the_log_goes_where_it_is_sent(void) {
  static struct lines all, few;
  CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
  CHECK_CODE(revenium_set_log(write_line, &all, REVENIUM_LOG_DEBUG), REVENIUM_OK);
  make_noise(400);
  CHECK_CODE(revenium_set_log(write_line, &few, REVENIUM_LOG_WARN), REVENIUM_OK);
  int count = atomic_load(&all.count);
  make_noise(422);
  CHECK_CODE(revenium_set_log(NULL, NULL, REVENIUM_LOG_ERROR), REVENIUM_OK);
  CHECK(count > 0);
  CHECK_INT(atomic_load(&all.count), count);
  CHECK(atomic_load(&few.count) > 0);
  CHECK(atomic_load(&few.highest) <= REVENIUM_LOG_WARN);
  CHECK_CODE(revenium_set_log(write_line, &all, 0), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_set_log(write_line, &all, 5), REVENIUM_E_ARGUMENT);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
}

static void no_key_and_no_prompt_is_ever_logged(void) {
  static struct lines lines;
  revenium_result result;
  char *metering_key = strdup(getenv("REVENIUM_METERING_API_KEY"));
  CHECK_CODE(revenium_set_log(write_line, &lines, REVENIUM_LOG_DEBUG), REVENIUM_OK);
  CHECK_CODE(revenium_init("{\"anthropic_api_key\":\"sk-ant-setting-k3y\",\"metadata\":{\"subscriber\":{\"id\":\"s\",\"email\":"
                           "\"some.body@example.com\"}}}",
                           REVENIUM_NTS, NULL),
             REVENIUM_OK);
  make_noise(400);
  CHECK_CODE(revenium_messages_create("{\"model\":\"sandbox-400\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":"
                                      "\"a private prompt\"}],\"revenium\":{\"api_key\":\"sk-ant-call-k3y\"}}",
                                      REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result),
             REVENIUM_E_BAD_REQUEST);
  revenium_release(result);
  CHECK_CODE(revenium_messages_create(REQUEST(CHOICES("\"api_key\":\"sk-ant-call-k3y\",\"base_url\":\"http://127.0.0.1:9\"")),
                                      REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result),
             REVENIUM_E_CONNECTION);
  CHECK(!strstr(revenium_result_message(result, NULL), "k3y"));
  CHECK(!strstr(revenium_result_json(result, NULL), "k3y"));
  CHECK(!strstr(revenium_result_info(result, NULL), "k3y"));
  revenium_release(result);
  CHECK_CODE(revenium_status_json(&result), REVENIUM_OK);
  CHECK(!strstr(revenium_result_json(result, NULL), "k3y"));
  CHECK(!strstr(revenium_result_json(result, NULL), metering_key));
  revenium_release(result);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
  CHECK_CODE(revenium_set_log(NULL, NULL, REVENIUM_LOG_ERROR), REVENIUM_OK);
  CHECK(atomic_load(&lines.count) > 0);
  CHECK(!strstr(lines.text, "k3y"));
  CHECK(!strstr(lines.text, metering_key));
  CHECK(!strstr(lines.text, "private prompt"));
  CHECK(!strstr(lines.text, "some.body@"));
  free(metering_key);
}

static atomic_int keep_calling;

static void *keeps_logging(void *unused) {
  revenium_result result;
  while (atomic_load(&keep_calling)) {
    CHECK_CODE(revenium_messages_create(REQUEST(ANSWER("status=529")), REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result),
               REVENIUM_E_OVERLOADED);
    revenium_release(result);
  }
  return unused;
}

static void after_set_log_the_former_callback_never_runs(void) {
  enum { CALLERS = 4, CALLBACKS = 300 };
  static struct lines lines[CALLBACKS];
  pthread_t callers[CALLERS];
  int count = 0;
  CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
  atomic_store(&keep_calling, 1);
  CHECK_CODE(revenium_set_log(write_line, &lines[0], REVENIUM_LOG_DEBUG), REVENIUM_OK);
  for (int i = 0; i < CALLERS; i++) pthread_create(&callers[i], NULL, keeps_logging, NULL);
  for (int i = 1; i < CALLBACKS; i++) {
    usleep(500);
    CHECK_CODE(revenium_set_log(write_line, &lines[i], REVENIUM_LOG_DEBUG), REVENIUM_OK);
    /* write_line() would notice. */
    atomic_store(&lines[i - 1].dead, 1);
  }
  CHECK_CODE(revenium_set_log(NULL, NULL, REVENIUM_LOG_ERROR), REVENIUM_OK);
  atomic_store(&lines[CALLBACKS - 1].dead, 1);
  atomic_store(&keep_calling, 0);
  for (int i = 0; i < CALLERS; i++) pthread_join(callers[i], NULL);
  for (int i = 0; i < CALLBACKS; i++) count += atomic_load(&lines[i].count);
  CHECK(count > 0);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
}

static void log_lines_come_through_a_queue_too(void) {
  FRAME_BUFFER(buffer, 65536);
  revenium_queue queue;
  size_t used;
  int lines = 0, reports = 0;
  CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
  CHECK_CODE(revenium_queue_new(&queue), REVENIUM_OK);
  CHECK_CODE(revenium_queue_subscribe(queue, REVENIUM_TOPIC_LOG | REVENIUM_TOPIC_METERING, REVENIUM_LOG_DEBUG), REVENIUM_OK);
  make_noise(400);
  while (revenium_queue_read(queue, buffer, sizeof buffer, 0, &used) == REVENIUM_OK) {
    FOR_EACH_FRAME(frame, buffer, used) {
      CHECK_INT(frame->call, 0);
      lines += frame->frame == REVENIUM_FRAME_LOG;
      if (frame->frame == REVENIUM_FRAME_METERING) {
        reports++;
        CHECK_HAS(frame_body(frame), "\"http_status\":400");
      }
    }
  }
  CHECK(lines > 0);
  CHECK_INT(reports, 1);
  /* No topic: no more frames. */
  CHECK_CODE(revenium_queue_subscribe(queue, 0, 0), REVENIUM_OK);
  make_noise(422);
  CHECK_CODE(revenium_queue_read(queue, buffer, sizeof buffer, 0, &used), REVENIUM_EMPTY);
  revenium_release(queue);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
}

/* ---- races ---- */

static void *starts_calls_and_ends(void *unused) {
  (void)unused;
  for (int i = 0; i < 60; i++) {
    /* Whatever the others end just now: from here to the shutdown below it runs. */
    CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
    CHECK_CODE(ask(), REVENIUM_OK);
    CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
  }
  return NULL;
}

static void init_beside_the_last_shutdown(void) {
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, starts_calls_and_ends, NULL);
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  CHECK_INT(initialized(), -1);
}

static void *submits(void *queue) {
  revenium_call call;
  int32_t code = revenium_messages_submit(REQUEST(STREAMED SILENT), REVENIUM_NTS, REVENIUM_SCOPE_NONE, *(revenium_queue *)queue,
                                          1, &call);
  CHECK(code == REVENIUM_OK || code == REVENIUM_E_HANDLE || code == REVENIUM_E_CLOSED);
  return NULL;
}

static long long in_flight(void) {
  revenium_state state = {.struct_size = sizeof state};
  CHECK_CODE(revenium_status(&state), REVENIUM_OK);
  return (long long)state.calls_in_flight;
}

static void submit_beside_the_release_of_its_queue(void) {
  CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
  for (int i = 0; i < 300; i++) {
    revenium_queue queue;
    pthread_t thread;
    CHECK_CODE(revenium_queue_new(&queue), REVENIUM_OK);
    revenium_queue shared = queue;
    pthread_create(&thread, NULL, submits, &shared);
    revenium_release(queue);
    pthread_join(thread, NULL);
  }
  /* Nobody is left to read them, so nobody waits for them either. */
  CHECK_EVENTUALLY(in_flight() == 0);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
}

/* ---- without the library running ---- */

static void names_and_versions_are_always_there(void) {
  char version[32];
  snprintf(version, sizeof version, "%d.%d.%d", REVENIUM_VERSION_MAJOR, REVENIUM_VERSION_MINOR, REVENIUM_VERSION_PATCH);
  CHECK_TEXT(revenium_version(), version);
  CHECK_INT(revenium_abi_version(), REVENIUM_ABI_VERSION);
  CHECK_TEXT(revenium_code_name(REVENIUM_E_RATE_LIMIT), "REVENIUM_E_RATE_LIMIT");
  CHECK_TEXT(revenium_code_name(REVENIUM_OK), "REVENIUM_OK");
  CHECK_TEXT(revenium_code_name(REVENIUM_EMPTY), "REVENIUM_EMPTY");
  CHECK_TEXT(revenium_code_name(-1000), "REVENIUM_E_UNKNOWN");
  CHECK_CODE(revenium_release(0), REVENIUM_OK);
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "a_flush_alone") == 0) {
    RUN(a_flush_alone_leaves_the_settings_open);
    return test_end();
  }
  CHECK_CLEAN(run_again("a_flush_alone"));
  RUN(names_and_versions_are_always_there);
  RUN(a_bad_setting_is_named);
  RUN(the_first_call_starts_the_library);
  RUN(names_and_versions_are_always_there);
  RUN(init_is_counted);
  RUN(other_settings_are_refused_while_it_runs);
  RUN(quotes_of_the_provider_can_be_turned_off);
  RUN(after_shutdown_everything_is_safe);
  RUN(shutdown_wakes_whoever_waits);
  RUN(init_and_shutdown_again_and_again);
  RUN(init_beside_the_last_shutdown);
  RUN(submit_beside_the_release_of_its_queue);
  RUN(without_a_key_calls_work_unmetered);
  RUN(the_log_goes_where_it_is_sent);
  RUN(no_key_and_no_prompt_is_ever_logged);
  RUN(after_set_log_the_former_callback_never_runs);
  RUN(log_lines_come_through_a_queue_too);
  return test_end();
}
