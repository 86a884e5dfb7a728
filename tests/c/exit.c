/*
 * A host that ends while calls are under way: its exit status is its own, and the records of the calls that had ended
 * reach the collector, by the flush that exit(3) brings. Each scenario runs a few times, each time in a fresh process.
 *
 * Nothing is sent by a process of Windows that ends, but by its successor.
 */
#include "util.h"

#ifdef _WIN32
#define TIMES 3 /* Wine's server is busier with each process that ends with calls under way. */
#else
#define TIMES 10
#endif
#define ENDED 5 /* calls that have ended before the exit */

static int32_t never(void *user, const revenium_event *event) {
  (void)user, (void)event;
  return 0;
}

static void done(void *user, revenium_result result) { (void)user, (void)result; }

static void calls_that_end(void) {
  for (int i = 0; i < ENDED; i++) {
    revenium_result result;
    CHECK_CODE(revenium_messages_create(REQUEST(",\"usage_metadata\":{\"agent\":\"ended\"}"), REVENIUM_NTS, REVENIUM_SCOPE_NONE,
                                        &result),
               REVENIUM_OK);
    revenium_release(result);
  }
}

static void wait_until_in_flight(int64_t calls) {
  revenium_state state = {.struct_size = sizeof state};
  CHECK_EVENTUALLY(revenium_status(&state) == REVENIUM_OK && state.calls_in_flight == calls);
}

/* ---- scenarios: what is under way when main() returns ---- */

static void nothing(void) {}

static void *blocks(void *streamed) {
  revenium_result result;
  if (streamed) revenium_messages_stream(REQUEST(ENDLESS), REVENIUM_NTS, REVENIUM_SCOPE_NONE, never, NULL, &result);
  else revenium_messages_create(REQUEST(SILENT), REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result);
  return NULL;
}

static void threads_that_wait(void) {
  pthread_t thread;
  for (int i = 0; i < 4; i++) pthread_create(&thread, NULL, blocks, i % 2 ? "streamed" : NULL);
  wait_until_in_flight(4);
}

static void calls_with_callbacks(void) {
  for (int i = 0; i < 10; i++) {
    CHECK_CODE(revenium_messages_start(REQUEST(ANSWER("deltas=100000; gap_ms=1")), REVENIUM_NTS, REVENIUM_SCOPE_NONE, never,
                                       done, NULL, NULL),
               REVENIUM_OK);
  }
  wait_until_in_flight(10);
}

static void calls_with_a_queue(void) {
  FRAME_BUFFER(buffer, 65536);
  revenium_queue queue;
  size_t used;
  revenium_queue_new(&queue);
  for (int i = 0; i < 10; i++) {
    CHECK_CODE(revenium_messages_submit(REQUEST(STREAMED ANSWER("deltas=100000; gap_ms=1")), REVENIUM_NTS,
                                        REVENIUM_SCOPE_NONE, queue, 1, NULL),
               REVENIUM_OK);
  }
  CHECK_CODE(revenium_queue_read(queue, buffer, sizeof buffer, 60000, &used), REVENIUM_OK);
}

static void *reads_for_ever(void *unused) {
  FRAME_BUFFER(buffer, 256);
  revenium_queue queue;
  size_t used;
  revenium_queue_new(&queue);
  revenium_queue_read(queue, buffer, sizeof buffer, REVENIUM_FOREVER, &used);
  return unused;
}

static void a_thread_that_reads_a_queue(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, reads_for_ever, NULL);
}

static void *exits(void *unused) {
  (void)unused;
  exit(test_end());
}

static void another_thread_that_exits(void) {
  pthread_t thread;
  calls_with_callbacks();
  pthread_create(&thread, NULL, exits, NULL);
  pthread_join(thread, NULL);
}

static void count_line(void *user, int32_t level, const char *text, size_t text_len) {
  (void)level, (void)text, (void)text_len;
  atomic_fetch_add((atomic_int *)user, 1);
}

static void a_log_callback(void) {
  static atomic_int lines;
  CHECK_CODE(revenium_set_log(count_line, &lines, REVENIUM_LOG_DEBUG), REVENIUM_OK);
  calls_with_callbacks();
}

static void shut_down_before(void) {
  calls_with_callbacks();
  CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
}

static void succeed(void) { CHECK_CODE(revenium_flush(60000), REVENIUM_OK); }

static const struct {
  const char *name;
  void (*run)(void);
} scenarios[] = {
    {"nothing", nothing},
    {"threads_that_wait", threads_that_wait},
    {"calls_with_callbacks", calls_with_callbacks},
    {"calls_with_a_queue", calls_with_a_queue},
    {"a_thread_that_reads_a_queue", a_thread_that_reads_a_queue},
    {"another_thread_that_exits", another_thread_that_exits},
    {"a_log_callback", a_log_callback},
    {"shut_down_before", shut_down_before},
};

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "succeed") == 0) {
    RUN(succeed);
    return test_end();
  }
  for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
    running_case = scenarios[i].name;
    if (argc > 1 && strcmp(argv[1], scenarios[i].name) == 0) {
      calls_that_end();
      scenarios[i].run();
      return test_end();
    }
    for (int time = 0; argc == 1 && time < TIMES; time++) {
      sandbox_delete("/sandbox/records");
      CHECK_CLEAN(run_again(scenarios[i].name));
#ifdef _WIN32
      CHECK_CLEAN(run_again("succeed"));
#else
      CHECK_INT(sandbox_count("repeats"), 0);
#endif
      CHECK_INT(sandbox_records("\"agent\":\"ended\"", NULL), ENDED);
    }
  }
  return test_end();
}
