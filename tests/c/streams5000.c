/*
 * Five thousand slow streams at a time, in one process, through one queue, read by one thread: all complete, no thread
 * is spent on them, and each is metered exactly once. Prints what a stream costs in memory.
 */
#include "util.h"

#include <sys/resource.h>

#define STREAMS 5000
#define SPARE 200     /* descriptors for everything else */
#define FEW_THREADS 12

/* A line of /proc/self/status: "Threads", or "VmRSS" in kB. */
static long from_status(const char *name) {
  char line[256];
  long value = -1;
  FILE *status = fopen("/proc/self/status", "r");
  REQUIRE(status);
  while (fgets(line, sizeof line, status)) {
    if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':') value = atol(line + strlen(name) + 1);
  }
  fclose(status);
  return value;
}

/* As many streams as there may be sockets, here and in the sandbox, which inherits the same limit. */
static int affordable_streams(void) {
  struct rlimit files;
  REQUIRE(getrlimit(RLIMIT_NOFILE, &files) == 0);
  files.rlim_cur = files.rlim_max;
  REQUIRE(setrlimit(RLIMIT_NOFILE, &files) == 0);
  return files.rlim_cur >= STREAMS + SPARE ? STREAMS : (int)files.rlim_cur - SPARE;
}

int main(void) {
  static uint64_t buffer[(1 << 20) / 8];
  /* Each stream lasts over ten seconds: time to open all before the first ends. */
  static const char request[] = REQUEST(STREAMED ANSWER("deltas=10; gap_ms=1500"));
  static unsigned char results[STREAMS];
  static unsigned short texts[STREAMS];
  revenium_state state = {.struct_size = sizeof state};
  revenium_queue queue;
  revenium_result warm_up;
  size_t used;
  int streams = affordable_streams(), ended = 0, heads = 0, most_open = 0;
  long rss_before, most_rss = 0, most_threads = 0;

  REQUIRE(streams > 0);
  CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
  CHECK_CODE(revenium_messages_create(REQUEST(CHOICES("\"meter\":false")), REVENIUM_NTS, REVENIUM_SCOPE_NONE, &warm_up), REVENIUM_OK);
  revenium_release(warm_up);
  CHECK_CODE(revenium_queue_new(&queue), REVENIUM_OK);
  rss_before = from_status("VmRSS");

  for (int i = 0; i < streams; i++) {
    CHECK_CODE(revenium_messages_submit(request, REVENIUM_NTS, REVENIUM_SCOPE_NONE, queue, (uint64_t)i, NULL), REVENIUM_OK);
  }
  while (ended < streams) {
    if (!CHECK_CODE(revenium_queue_read(queue, buffer, sizeof buffer, 60000, &used), REVENIUM_OK)) break;
    FOR_EACH_FRAME(frame, buffer, used) {
      REQUIRE(frame->tag < (uint64_t)streams);
      heads += frame->frame == REVENIUM_FRAME_HEAD;
      texts[frame->tag] += frame->frame == REVENIUM_FRAME_EVENT && frame->code == REVENIUM_EVENT_CONTENT_BLOCK_DELTA;
      if (frame->frame == REVENIUM_FRAME_RESULT) {
        CHECK_CODE(frame->code, REVENIUM_OK);
        results[frame->tag]++;
        ended++;
      }
    }
    if (heads - ended > most_open) most_open = heads - ended;
    if (from_status("VmRSS") > most_rss) most_rss = from_status("VmRSS");
    if (from_status("Threads") > most_threads) most_threads = from_status("Threads");
  }
  for (int i = 0; i < streams; i++) {
    CHECK_INT(results[i], 1);
    CHECK_INT(texts[i], 10);
  }
  check(most_threads > 0 && most_threads < FEW_THREADS, __FILE__, __LINE__, "%ld threads", most_threads);

  CHECK_CODE(revenium_flush(120000), REVENIUM_OK);
  CHECK_CODE(revenium_status(&state), REVENIUM_OK);
  CHECK_INT(state.calls_in_flight, 0);
  CHECK_INT(state.events_delivered, streams);
  CHECK_INT(state.events_pending, 0);
  CHECK_INT(state.events_dropped, 0);
  CHECK_INT(sandbox_count("records"), streams);
  CHECK_INT(sandbox_count("repeats"), 0);

  printf("note: %d streams%s, %d open at a time, %ld threads, %.1f kB a stream\n", streams,
         streams < STREAMS ? ", no more as the hard limit of open files is low" : "", most_open, most_threads,
         (double)(most_rss - rss_before) / streams);
  CHECK_CODE(revenium_release(queue), REVENIUM_OK);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
  return test_end();
}
