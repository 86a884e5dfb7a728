/*
 * A host that loads the library at run time and unloads it while calls are under way. It stays in memory (-z nodelete),
 * its calls go on, and loading it again finds it as it was. In one process, then in several, ten times.
 */
#include "util.h"

#ifndef _WIN32
#include <dlfcn.h>
#endif

#ifdef _WIN32
#define TIMES 3 /* Wine's server is busier with each process that ends with calls under way. */
#else
#define TIMES 10
#endif

static struct {
  void *library;
  __typeof__(&revenium_messages_create) create;
  __typeof__(&revenium_messages_start) start;
  __typeof__(&revenium_messages_submit) submit;
  __typeof__(&revenium_queue_new) queue_new;
  __typeof__(&revenium_result_text) text;
  __typeof__(&revenium_release) release;
  __typeof__(&revenium_flush) flush;
  __typeof__(&revenium_code_name) code_name;
} r;

/* Only here for CHECK_CODE(): this program is not linked with the library. */
const char *revenium_code_name(int32_t code) { return r.library ? r.code_name(code) : "(not loaded)"; }

static void load(void) {
  const char *path = getenv("REVENIUM_LIBRARY");
  REQUIRE(path && (r.library = dlopen(path, RTLD_NOW | RTLD_LOCAL)));
#define FIND(member, name) *(void **)&r.member = dlsym(r.library, #name); REQUIRE(r.member)
  FIND(create, revenium_messages_create);
  FIND(start, revenium_messages_start);
  FIND(submit, revenium_messages_submit);
  FIND(queue_new, revenium_queue_new);
  FIND(text, revenium_result_text);
  FIND(release, revenium_release);
  FIND(flush, revenium_flush);
  FIND(code_name, revenium_code_name);
#undef FIND
}

static void unload(void) {
  CHECK_INT(dlclose(r.library), 0);
  r.library = NULL;
}

static atomic_int events, dones;

static int32_t on_event(void *user, const revenium_event *event) {
  (void)user, (void)event;
  atomic_fetch_add(&events, 1);
  return 0;
}

static void on_done(void *user, revenium_result result) {
  (void)user, (void)result;
  atomic_fetch_add(&dones, 1);
}

static void *waits(void *unused) {
  revenium_result result = 0;
  CHECK_CODE(r.create(REQUEST(ANSWER("delay_ms=100")), REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result), REVENIUM_OK);
  r.release(result);
  return unused;
}

static void unload_with_calls_in_flight(void) {
  enum { CALLS = 10 };
  int before = atomic_load(&dones);
  revenium_result result;
  revenium_queue queue;
  load();
  CHECK_CODE(r.queue_new(&queue), REVENIUM_OK);
  CHECK_CODE(r.create(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result), REVENIUM_OK);
  for (int i = 0; i < CALLS; i++) {
    CHECK_CODE(r.start(REQUEST(ANSWER("deltas=20; gap_ms=5")), REVENIUM_NTS, REVENIUM_SCOPE_NONE, on_event, on_done, NULL, NULL),
               REVENIUM_OK);
    CHECK_CODE(r.submit(REQUEST(STREAMED ANSWER("deltas=20; gap_ms=5")), REVENIUM_NTS, REVENIUM_SCOPE_NONE, queue, 1, NULL),
               REVENIUM_OK);
  }
  unload();

  /* The started calls come to their end as if nothing had been. */
  CHECK_EVENTUALLY(atomic_load(&dones) == before + CALLS);

  load();
  CHECK_TEXT(r.text(result, NULL), REPLY);
  CHECK_CODE(r.release(result), REVENIUM_OK);
  CHECK_CODE(r.release(queue), REVENIUM_OK);
  CHECK_CODE(r.flush(60000), REVENIUM_OK);
  unload();
}

static void unload_with_a_thread_inside(void) {
  pthread_t thread;
  load();
  pthread_create(&thread, NULL, waits, NULL);
  SANDBOX_REACHES("requests", 1);
  unload();
  pthread_join(thread, NULL);
}

/* main() returns at once: exit(3) runs what the library left with atexit(3). */
static void unload_and_exit(void) {
  load();
  for (int i = 0; i < 10; i++) {
    CHECK_CODE(r.start(REQUEST(ENDLESS), REVENIUM_NTS, REVENIUM_SCOPE_NONE, on_event, on_done, NULL, NULL), REVENIUM_OK);
  }
  unload();
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "unload_and_exit") == 0) {
    RUN(unload_and_exit);
    return test_end();
  }
  if (argc > 1 && strcmp(argv[1], "unload_with_a_thread_inside") == 0) {
    RUN(unload_with_a_thread_inside);
    return test_end();
  }
  for (int time = 0; time < TIMES; time++) {
    CHECK_CLEAN(run_again("unload_and_exit"));
    sandbox_delete("/sandbox/requests");
    CHECK_CLEAN(run_again("unload_with_a_thread_inside"));
  }
  for (int time = 0; time < TIMES; time++) RUN(unload_with_calls_in_flight);
  return test_end();
}
