/*
 * A forked child gets a library of its own on its first call, with the parent's settings; what the parent began stays
 * the parent's. Each scenario runs ten times, each time in a fresh process.
 */
#include "util.h"

#define TIMES 10

static char trace[64]; /* marks the record of one process of one run */

static void call_with_trace(const char *format, int number) {
  char request[512];
  revenium_result result;
  snprintf(trace, sizeof trace, format, (int)getpid(), number);
  snprintf(request, sizeof request, "{\"model\":\"claude-haiku-4-5\",\"max_tokens\":64,\"messages\":[{\"role\":\"user\","
           "\"content\":\"Hello\"}],\"usage_metadata\":{\"trace_id\":\"%s\"}}", trace);
  CHECK_CODE(revenium_messages_create(request, REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result), REVENIUM_OK);
  CHECK_TEXT(revenium_result_text(result, NULL), REPLY);
  CHECK_CODE(revenium_release(result), REVENIUM_OK);
}

static void my_record_arrived_once(void) {
  CHECK_CODE(revenium_flush(60000), REVENIUM_OK);
  CHECK_INT(sandbox_records(trace, NULL), 1);
}

static void ends_clean(pid_t child) {
  int status = -1;
  REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
  CHECK_CLEAN(status);
}

/* Things the parent holds when it forks. */
static struct {
  revenium_result result;
  revenium_scope scope;
  revenium_queue queue;
  revenium_call call; /* under way */
} of_parent;

static void make_things(void) {
  CHECK_CODE(revenium_messages_create(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, &of_parent.result), REVENIUM_OK);
  CHECK_CODE(revenium_scope_new(REVENIUM_SCOPE_NONE, "{\"agent\":\"parent\"}", REVENIUM_NTS, 0, &of_parent.scope), REVENIUM_OK);
  CHECK_CODE(revenium_queue_new(&of_parent.queue), REVENIUM_OK);
  CHECK_CODE(revenium_messages_submit(REQUEST(STREAMED ANSWER("deltas=20; gap_ms=10")), REVENIUM_NTS, of_parent.scope,
                                      of_parent.queue, 1, &of_parent.call),
             REVENIUM_OK);
}

/* After the children are gone the parent's call goes on to its end, and all its things work. */
static void parent_is_unaffected(void) {
  FRAME_BUFFER(buffer, 65536);
  size_t used;
  int results = 0;
  while (!results) {
    if (!CHECK_CODE(revenium_queue_read(of_parent.queue, buffer, sizeof buffer, 60000, &used), REVENIUM_OK)) break;
    FOR_EACH_FRAME(frame, buffer, used) {
      if (frame->frame != REVENIUM_FRAME_RESULT) continue;
      results++;
      CHECK_CODE(frame->code, REVENIUM_OK);
    }
  }
  CHECK_TEXT(revenium_result_text(of_parent.result, NULL), REPLY);
  CHECK_INT(strlen(revenium_result_text(of_parent.call, NULL)), 20 * strlen("token "));
  CHECK_CODE(revenium_release(of_parent.call), REVENIUM_OK);
  CHECK_CODE(revenium_release(of_parent.scope), REVENIUM_OK);
  CHECK_CODE(revenium_release(of_parent.result), REVENIUM_OK);
  CHECK_CODE(revenium_release(of_parent.queue), REVENIUM_OK);
  call_with_trace("parent-%d-%d", 0);
  my_record_arrived_once();
}

static void the_parents_handles_are_forked(void) {
  FRAME_BUFFER(buffer, 256);
  revenium_usage usage = {.struct_size = sizeof usage};
  revenium_result out;
  size_t used;
  CHECK_CODE(revenium_result_code(of_parent.result), REVENIUM_E_FORKED);
  CHECK(revenium_result_text(of_parent.result, NULL) == NULL);
  CHECK_CODE(revenium_result_usage(of_parent.result, &usage), REVENIUM_E_FORKED);
  CHECK_CODE(revenium_scope_push(of_parent.scope), REVENIUM_E_FORKED);
  CHECK_CODE(revenium_messages_create(REQUEST(""), REVENIUM_NTS, of_parent.scope, &out), REVENIUM_E_FORKED);
  CHECK_CODE(revenium_result_code(out), REVENIUM_E_FORKED);
  revenium_release(out);
  CHECK_CODE(revenium_call_cancel(of_parent.call), REVENIUM_E_FORKED);
  CHECK_CODE(revenium_queue_read(of_parent.queue, buffer, sizeof buffer, 0, &used), REVENIUM_E_FORKED);
  CHECK_CODE(revenium_messages_submit(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, of_parent.queue, 1, NULL),
             REVENIUM_E_FORKED);
  CHECK_CODE(revenium_release(of_parent.result), REVENIUM_E_FORKED);
  CHECK_CODE(revenium_release(of_parent.scope), REVENIUM_E_FORKED);
  CHECK_CODE(revenium_release(of_parent.queue), REVENIUM_E_FORKED);
  CHECK_CODE(revenium_release(of_parent.call), REVENIUM_E_FORKED);
}

/* ---- scenarios ---- */

/* As daemons do: the numbers of the library's descriptors are sockets of the child's by the time it calls. */
static void child_closes_all_descriptors_and_opens_its_own(void) {
  enum { PAIRS = 100 };
  pid_t child;
  make_things();
  if ((child = fork()) == 0) {
    int pairs[PAIRS][2];
    char byte = 0;
    for (int fd = 3; fd < 1024; fd++) close(fd);
    for (int i = 0; i < PAIRS; i++) {
      REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pairs[i]) == 0);
      for (int end = 0; end < 2; end++) REQUIRE(write(pairs[i][end], "x", 1) == 1);
    }
    call_with_trace("closed-%d-%d", 0);
    my_record_arrived_once();
    CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
    for (int i = 0; i < PAIRS; i++) {
      for (int end = 0; end < 2; end++) {
        CHECK(read(pairs[i][end], &byte, 1) == 1 || (fprintf(stderr, "fd %d %m\n", pairs[i][end]), 0));
        CHECK_INT(read(pairs[i][end], &byte, 1), -1);
        CHECK_INT(errno, EAGAIN);
      }
    }
    exit(test_end());
  }
  ends_clean(child);
  parent_is_unaffected();
}


static void child_calls_after_the_parent_called(void) {
  pid_t child;
  make_things();
  if ((child = fork()) == 0) {
    call_with_trace("child-%d-%d", 0);
    the_parents_handles_are_forked();
    my_record_arrived_once();
    exit(test_end());
  }
  ends_clean(child);
  parent_is_unaffected();
}

static void child_looks_at_handles_before_it_calls(void) {
  pid_t child;
  make_things();
  if ((child = fork()) == 0) {
    the_parents_handles_are_forked();
    call_with_trace("child-%d-%d", 0);
    my_record_arrived_once();
    CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
    exit(test_end());
  }
  ends_clean(child);
  parent_is_unaffected();
}

static void idle_child_exits_clean(void) {
  pid_t child;
  make_things();
  if ((child = fork()) == 0) exit(0);
  ends_clean(child);
  if ((child = fork()) == 0) _exit(0);
  ends_clean(child);
  parent_is_unaffected();
}

static void child_exits_without_flushing(void) {
  pid_t child;
  make_things();
  if ((child = fork()) == 0) {
    call_with_trace("exits-%d-%d", 0);
    exit(test_end());
  }
  snprintf(trace, sizeof trace, "exits-%d-%d", (int)child, 0);
  ends_clean(child);
  CHECK_INT(sandbox_records(trace, NULL), 1);
  parent_is_unaffected();
}

static void fork_before_the_first_call(void) {
  pid_t child;
  CHECK_CODE(revenium_init("{\"metadata\":{\"agent\":\"settings of the parent\"}}", REVENIUM_NTS, NULL), REVENIUM_OK);
  if ((child = fork()) == 0) {
    char *record;
    call_with_trace("first-%d-%d", 0);
    record = the_record(trace);
    CHECK_HAS(record, "settings of the parent");
    free(record);
    exit(test_end());
  }
  ends_clean(child);
  make_things();
  parent_is_unaffected();
}

static void fork_before_anything(void) {
  pid_t child;
  if ((child = fork()) == 0) {
    call_with_trace("anything-%d-%d", 0);
    my_record_arrived_once();
    exit(test_end());
  }
  ends_clean(child);
  make_things();
  parent_is_unaffected();
}

static void four_children_and_a_grandchild(void) {
  enum { CHILDREN = 4, CALLS = 5 };
  pid_t children[CHILDREN], grandchild;
  make_things();
  for (int i = 0; i < CHILDREN; i++) {
    if ((children[i] = fork()) != 0) continue;
    for (int call = 0; call < CALLS; call++) {
      call_with_trace("many-%d-%d", call);
      my_record_arrived_once();
    }
    if (i == 0) {
      if ((grandchild = fork()) == 0) {
        call_with_trace("grandchild-%d-%d", 0);
        my_record_arrived_once();
        exit(test_end());
      }
      ends_clean(grandchild);
    }
    exit(test_end());
  }
  for (int i = 0; i < CHILDREN; i++) ends_clean(children[i]);
  parent_is_unaffected();
}

/* The thread that forks holds nothing; others are in the middle of everything. */
static atomic_int keep_busy;

static void *busy(void *unused) {
  revenium_result result;
  revenium_scope scope;
  while (atomic_load(&keep_busy)) {
    CHECK_CODE(revenium_scope_new(REVENIUM_SCOPE_NONE, "{\"agent\":\"busy\"}", REVENIUM_NTS, 0, &scope), REVENIUM_OK);
    CHECK_CODE(revenium_messages_create(REQUEST(""), REVENIUM_NTS, scope, &result), REVENIUM_OK);
    revenium_release(result);
    revenium_release(scope);
  }
  return unused;
}

static void fork_while_other_threads_call(void) {
  pthread_t threads[4];
  atomic_store(&keep_busy, 1);
  make_things();
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, busy, NULL);
  for (int i = 0; i < 5; i++) {
    pid_t child = fork();
    if (child == 0) {
      call_with_trace("busy-%d-%d", 0);
      my_record_arrived_once();
      exit(test_end());
    }
    ends_clean(child);
  }
  atomic_store(&keep_busy, 0);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  parent_is_unaffected();
}

static const struct {
  const char *name;
  void (*run)(void);
} scenarios[] = {
    {"child_calls_after_the_parent_called", child_calls_after_the_parent_called},
    {"child_looks_at_handles_before_it_calls", child_looks_at_handles_before_it_calls},
    {"child_closes_all_descriptors_and_opens_its_own", child_closes_all_descriptors_and_opens_its_own},
    {"idle_child_exits_clean", idle_child_exits_clean},
    {"child_exits_without_flushing", child_exits_without_flushing},
    {"fork_before_the_first_call", fork_before_the_first_call},
    {"fork_before_anything", fork_before_anything},
    {"four_children_and_a_grandchild", four_children_and_a_grandchild},
    {"fork_while_other_threads_call", fork_while_other_threads_call},
};

int main(int argc, char **argv) {
  for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
    running_case = scenarios[i].name;
    if (argc > 1 && strcmp(argv[1], scenarios[i].name) == 0) {
      scenarios[i].run();
      return test_end();
    }
    for (int time = 0; argc == 1 && time < TIMES; time++) CHECK_CLEAN(run_again(scenarios[i].name));
  }
  return test_end();
}
