/* What hosts do to a library: bodies of strangers, sudden ends, threads and name servers that fail. */
#include "util.h"
#include <dlfcn.h>
#include <netdb.h>
#include <signal.h>

/* ---- the system's functions, which fail as a test wishes ---- */

/* Threads that may still start; negative: any number. */
static atomic_int threads_left = -1;

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *user) {
  static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
  if (atomic_load(&threads_left) >= 0 && atomic_fetch_sub(&threads_left, 1) <= 0) {
    atomic_store(&threads_left, 0);
    return EAGAIN;
  }
  return real(thread, attr, run, user);
}

static atomic_int look_ups_hang, hanging;

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
  static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
  if (name && !strcmp(name, "revenium.invalid")) {
    atomic_fetch_add(&hanging, 1);
    while (atomic_load(&look_ups_hang)) usleep(1000);
    return EAI_FAIL;
  }
  return real(name, service, hints, found);
}

/* ---- a stranger's endpoint: keeps what it is sent, and answers nothing ---- */

static int stranger;
static char heard[8192];

static int start_stranger(void) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof at;
  stranger = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(bind(stranger, (struct sockaddr *)&at, size) == 0 && listen(stranger, 8) == 0);
  CHECK(getsockname(stranger, (struct sockaddr *)&at, &size) == 0);
  return ntohs(at.sin_port);
}

static void *hear_one(void *unused) {
  int peer = accept(stranger, NULL, NULL);
  size_t got = 0;
  ssize_t n;
  (void)unused;
  while (!strstr(heard, "\r\n\r\n") && (n = read(peer, heard + got, sizeof heard - 1 - got)) > 0) heard[got += (size_t)n] = 0;
  close(peer);
  return NULL;
}

static int32_t create(const char *request, revenium_scope scope, const char *message) {
  revenium_result result;
  int32_t code = revenium_messages_create(request, REVENIUM_NTS, scope, &result);
  if (message) CHECK_HAS(revenium_result_message(result, NULL), message);
  revenium_release(result);
  return code;
}

/* What the stranger hears of a call, which fails in any case. */
static const char *heard_of(const char *request, revenium_scope scope) {
  pthread_t thread;
  memset(heard, 0, sizeof heard);
  pthread_create(&thread, NULL, hear_one, NULL);
  CHECK_CODE(create(request, scope, NULL), REVENIUM_E_CONNECTION);
  pthread_join(thread, NULL);
  return heard;
}

static void a_body_sends_no_key_of_the_process_anywhere(void) {
  int port = start_stranger();
  char with_key[256], without[256], url[64], scoped[256], header[256];
  revenium_scope scope, outer;
  CHECK_CODE(revenium_init("{\"anthropic_api_key\":\"sk-ant-process\",\"anthropic_custom_headers\":\"X-Gate: gate-secret\"}", REVENIUM_NTS, NULL),
             REVENIUM_OK);
  snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
#define BODY "{\"model\":\"m\",\"max_tokens\":1,\"messages\":[],\"revenium\":{\"max_retries\":0,%s\"base_url\":\"%s\"}}"
  snprintf(without, sizeof without, BODY, "", url);
  CHECK_CODE(create(without, REVENIUM_SCOPE_NONE, "beside it"), REVENIUM_E_CONFIG);
  snprintf(header, sizeof header, BODY, "\"headers\":{\"x-other\":\"1\",\"authorization\":null},", url);
  CHECK_CODE(create(header, REVENIUM_SCOPE_NONE, "beside it"), REVENIUM_E_CONFIG);
  snprintf(header, sizeof header, BODY, "\"provider\":\"bedrock\",\"api_key\":\"k\",", url);
  CHECK_CODE(create(header, REVENIUM_SCOPE_NONE, "Bedrock"), REVENIUM_E_CONFIG);
  CHECK_CODE(create("{\"model\":\"m\",\"revenium\":{\"headers\":{\"Host\":\"stranger.example\"}}}", REVENIUM_SCOPE_NONE, "host"),
             REVENIUM_E_CONFIG);

  snprintf(with_key, sizeof with_key, BODY, "\"api_key\":\"sk-of-the-body\",", url);
  heard_of(with_key, REVENIUM_SCOPE_NONE);
  CHECK_HAS(heard, "x-api-key: sk-of-the-body");
  CHECK(!strstr(heard, "sk-ant-process") && !strstr(heard, "gate-secret"));

  /* A scope is the host's own word. */
  snprintf(scoped, sizeof scoped, "{\"revenium\":{\"base_url\":\"%s\",\"headers\":{\"x-outer\":\"1\"}},\"agent\":\"a\"}", url);
  CHECK_CODE(revenium_scope_new(REVENIUM_SCOPE_NONE, scoped, REVENIUM_NTS, 0, &outer), REVENIUM_OK);
  CHECK_CODE(revenium_scope_new(outer, "{\"revenium\":{\"max_retries\":0,\"headers\":{\"x-inner\":\"1\"}}}", REVENIUM_NTS, 0, &scope), REVENIUM_OK);
  heard_of("{\"model\":\"m\",\"max_tokens\":1,\"messages\":[]}", scope);
  CHECK_HAS(heard, "sk-ant-process");
  CHECK_HAS(heard, "gate-secret");
  CHECK_HAS(heard, "x-outer: 1");
  CHECK_HAS(heard, "x-inner: 1");
  /* What a scope holds does not go where a body says either. */
  CHECK_CODE(revenium_scope_new(REVENIUM_SCOPE_NONE, "{\"revenium\":{\"api_key\":\"sk-of-the-scope\"}}", REVENIUM_NTS, 0, &outer), REVENIUM_OK);
  CHECK_CODE(create(without, outer, "beside it"), REVENIUM_E_CONFIG);
  heard_of(with_key, outer);
  CHECK(!strstr(heard, "sk-of-the-scope"));
  CHECK_CODE(revenium_scope_new(REVENIUM_SCOPE_NONE, "{\"revenium\":{\"max_retires\":1}}", REVENIUM_NTS, 0, &outer), REVENIUM_E_CONFIG);
  revenium_shutdown(0);

  CHECK_CODE(revenium_init("{\"body_choices\":false}", REVENIUM_NTS, NULL), REVENIUM_OK);
  CHECK_CODE(create(REQUEST(CHOICES("\"meter\":false")), REVENIUM_SCOPE_NONE, "body_choices"), REVENIUM_E_CONFIG);
  CHECK_CODE(create(REQUEST(""), REVENIUM_SCOPE_NONE, NULL), REVENIUM_OK);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
  close(stranger);
}

static atomic_int asked;

/* Answers everybody with more headers than anyone reads. */
static void *answers_with_many_headers(void *unused) {
  char request[8192];
  int peer;
  (void)unused;
  while ((peer = accept(stranger, NULL, NULL)) >= 0) {
    while (read(peer, request, sizeof request) == (ssize_t)sizeof request);
    atomic_fetch_add(&asked, 1);
    dprintf(peer, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n");
    for (int i = 0; i < 120; i++) dprintf(peer, "x-%d: 1\r\n", i);
    dprintf(peer, "\r\n{}");
    close(peer);
  }
  return NULL;
}

static void an_answer_that_began_is_not_asked_for_again(void) {
  char config[128];
  pthread_t thread;
  snprintf(config, sizeof config, "{\"anthropic_base_url\":\"http://127.0.0.1:%d\",\"max_retries\":3}", start_stranger());
  pthread_create(&thread, NULL, answers_with_many_headers, NULL);
  CHECK_CODE(revenium_init(config, REVENIUM_NTS, NULL), REVENIUM_OK);
  CHECK_CODE(create("{\"model\":\"m\",\"max_tokens\":1,\"messages\":[]}", REVENIUM_SCOPE_NONE, "cannot be read"), REVENIUM_E_STREAM);
  CHECK_INT(atomic_load(&asked), 1);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
  shutdown(stranger, SHUT_RDWR);
  pthread_join(thread, NULL);
  close(stranger);
}

/* ---- sudden ends ---- */

static void what_shutdown_cancels_is_metered(void) {
  enum { CALLS = 5 };
  revenium_state state = {.struct_size = sizeof state};
  revenium_queue queue;
  revenium_call calls[CALLS];
  CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
  CHECK_CODE(revenium_flush(60000), REVENIUM_OK);
  long long records = sandbox_count("records"), open = sandbox_count("streams_open");
  CHECK_CODE(revenium_queue_new(&queue), REVENIUM_OK);
  for (int i = 0; i < CALLS; i++)
    CHECK_CODE(revenium_messages_submit(REQUEST(",\"stream\":true" ANSWER("end=stall")), REVENIUM_NTS, REVENIUM_SCOPE_NONE, queue, 1, &calls[i]),
               REVENIUM_OK);
  CHECK_EVENTUALLY(sandbox_count("streams_open") >= open + CALLS);
  revenium_shutdown(0);
  for (int i = 0; i < CALLS; i++) CHECK_CODE(revenium_result_code(calls[i]), REVENIUM_E_CANCELLED);
  for (int i = 0; i < CALLS; i++) revenium_release(calls[i]);
  revenium_release(queue);
  CHECK_CODE(revenium_init(NULL, 0, NULL), REVENIUM_OK);
  CHECK_CODE(revenium_flush(60000), REVENIUM_OK);
  CHECK_INT(sandbox_count("records"), records + CALLS);
  CHECK_CODE(revenium_status(&state), REVENIUM_OK);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
}

static void *starts_and_stops(void *unused) {
  revenium_scope scope;
  (void)unused;
  for (int i = 0; i < 1000; i++) {
    CHECK_CODE(revenium_init("{\"metering_api_key\":\"\"}", REVENIUM_NTS, NULL), REVENIUM_OK);
    /* Between one's own init and shutdown the library is open, whatever others do. */
    CHECK_CODE(revenium_scope_new(REVENIUM_SCOPE_NONE, NULL, 0, 0, &scope), REVENIUM_OK);
    revenium_release(scope);
    CHECK_CODE(revenium_shutdown(1000), REVENIUM_OK);
  }
  return NULL;
}

static void inits_and_shutdowns_race(void) {
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, starts_and_stops, NULL);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
}

static void *releases(void *queue) {
  revenium_release(*(revenium_queue *)queue);
  return NULL;
}

static void no_call_outlives_its_queue(void) {
  revenium_state state = {.struct_size = sizeof state};
  CHECK_CODE(revenium_init("{\"metering_api_key\":\"\"}", REVENIUM_NTS, NULL), REVENIUM_OK);
  for (int i = 0; i < 300; i++) {
    revenium_queue queue;
    pthread_t thread;
    revenium_queue_new(&queue);
    pthread_create(&thread, NULL, releases, &queue);
    revenium_messages_submit(REQUEST(",\"stream\":true" ANSWER("end=stall")), REVENIUM_NTS, REVENIUM_SCOPE_NONE, queue, 1, NULL);
    pthread_join(thread, NULL);
  }
  CHECK_EVENTUALLY(revenium_status(&state) == REVENIUM_OK && state.calls_in_flight == 0);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
}

/* ---- a system that fails ---- */

static void done(void *user, revenium_result result) { (void)result; atomic_fetch_add((atomic_int *)user, 1); }

static void threads_that_cannot_start_are_an_error(void) {
  atomic_int ended = 0;
  CHECK_CODE(revenium_init("{\"worker_threads\":4}", REVENIUM_NTS, NULL), REVENIUM_OK);
  atomic_store(&threads_left, 2);
  CHECK_CODE(revenium_messages_start(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, NULL, done, &ended, NULL), REVENIUM_E_INTERNAL);
  atomic_store(&threads_left, 0);
  CHECK_CODE(revenium_messages_start(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, NULL, done, &ended, NULL), REVENIUM_E_INTERNAL);
  atomic_store(&threads_left, -1);
  CHECK_CODE(revenium_messages_start(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, NULL, done, &ended, NULL), REVENIUM_OK);
  CHECK_EVENTUALLY(atomic_load(&ended) == 1);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
}

static void a_name_server_that_hangs_for_revenium_delays_no_call(void) {
  char config[512];
  const char *url = getenv("SANDBOX_URL"), *port = strrchr(url, ':');
  atomic_store(&look_ups_hang, 1);
  snprintf(config, sizeof config,
           "{\"metering_base_url\":\"http://revenium.invalid:81\",\"spool_dir\":\"\",\"timeout_ms\":30000,\"max_retries\":0}");
  CHECK_CODE(revenium_init(config, REVENIUM_NTS, NULL), REVENIUM_OK);
  for (int i = 0; i < 8; i++) CHECK_CODE(create(REQUEST(""), REVENIUM_SCOPE_NONE, NULL), REVENIUM_OK);
  CHECK_EVENTUALLY(atomic_load(&hanging) >= 2);
  for (int i = 0; i < 16; i++) CHECK_CODE(create(REQUEST(""), REVENIUM_SCOPE_NONE, NULL), REVENIUM_OK);
  /* Every thread for metering's look-ups hangs by now, and nobody has asked for this name before. */
  snprintf(config, sizeof config, REQUEST(",\"revenium\":{\"base_url\":\"http://localhost%s\",\"api_key\":\"sk-ant-sandbox\"}"), port);
  CHECK_CODE(create(config, REVENIUM_SCOPE_NONE, NULL), REVENIUM_OK);
  revenium_shutdown(0);
  atomic_store(&look_ups_hang, 0);
}

/* ---- bounds ---- */

static void unread_results_are_bounded(void) {
  enum { BOUND = 4 };
  FRAME_BUFFER(buffer, 65536);
  revenium_state state = {.struct_size = sizeof state};
  revenium_queue queue, other;
  size_t used;
  int results = 0;
  CHECK_CODE(revenium_init("{\"metering_api_key\":\"\",\"max_in_flight\":4}", REVENIUM_NTS, NULL), REVENIUM_OK);
  CHECK_CODE(revenium_queue_new(&queue), REVENIUM_OK);
  CHECK_CODE(revenium_queue_new(&other), REVENIUM_OK);
#define SUBMIT(queue) revenium_messages_submit(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, queue, 1, NULL)
  for (int i = 0; i < BOUND; i++) CHECK_CODE(SUBMIT(queue), REVENIUM_OK);
  CHECK_EVENTUALLY(revenium_status(&state) == REVENIUM_OK && state.calls_in_flight == 0);
  CHECK_EVENTUALLY(SUBMIT(queue) == REVENIUM_E_BUSY);
  /* Another queue's reader has nothing to do with it. */
  CHECK_CODE(SUBMIT(other), REVENIUM_OK);
  while (results < BOUND && CHECK_CODE(revenium_queue_read(queue, buffer, sizeof buffer, 60000, &used), REVENIUM_OK))
    FOR_EACH_FRAME(frame, buffer, used) results += frame->frame == REVENIUM_FRAME_RESULT;
  CHECK_CODE(SUBMIT(queue), REVENIUM_OK);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
  revenium_release(queue);
  revenium_release(other);
}

static long resident_kib(void) {
  long kib = 0;
  char line[256];
  FILE *status = fopen("/proc/self/status", "r");
  while (fgets(line, sizeof line, status)) sscanf(line, "VmRSS: %ld", &kib);
  fclose(status);
  return kib;
}

static void starts_leave_no_settings_behind(void) {
  enum { MIB = 1 << 20, STARTS = 200 };
  char *config = malloc(MIB + 64), *at = config;
  long before = 0;
  at += sprintf(at, "{\"metering_api_key\":\"\",\"metadata\":{\"agent\":\"");
  memset(at, 'x', MIB);
  strcpy(at + MIB, "\"}}");
  for (int i = 0; i < STARTS; i++) {
    if (i == STARTS / 10) before = resident_kib();
    CHECK_CODE(revenium_init(config, REVENIUM_NTS, NULL), REVENIUM_OK);
    CHECK_CODE(revenium_shutdown(1000), REVENIUM_OK);
  }
  check(resident_kib() - before < 64 * 1024, __FILE__, __LINE__, "%d starts kept %ld KiB", STARTS, resident_kib() - before);
  free(config);
}

/* ---- a reader of many calls ---- */

/* The bytes of its events that come before nothing does for a while; -1 when its result came. */
static long long events_of(revenium_call call, revenium_queue queue, int timeout_ms) {
  /* A whole message is one frame. */
  enum { SIZE = 64 << 20 };
  static uint64_t buffer[SIZE / 8];
  long long bytes = 0;
  size_t used;
  while (revenium_queue_read(queue, buffer, SIZE, timeout_ms, &used) == REVENIUM_OK) {
    FOR_EACH_FRAME(frame, buffer, used) {
      if (frame->call != call) continue;
      if (frame->frame == REVENIUM_FRAME_RESULT) return -1;
      if (frame->frame == REVENIUM_FRAME_EVENT) bytes += frame->body_size;
    }
  }
  return bytes;
}

static void a_call_that_is_paused_reads_nothing_more(void) {
  FRAME_BUFFER(buffer, 1 << 18);
  revenium_queue queue;
  revenium_call paused, other;
  size_t used;
  int results = 0;
  CHECK_CODE(revenium_init("{\"metering_api_key\":\"\"}", REVENIUM_NTS, NULL), REVENIUM_OK);
  CHECK_CODE(revenium_queue_new(&queue), REVENIUM_OK);
  /* Far more than sockets hold. */
  CHECK_CODE(revenium_messages_submit(REQUEST(STREAMED ANSWER("deltas=2000; delta_bytes=20000")), REVENIUM_NTS, REVENIUM_SCOPE_NONE, queue, 1, &paused), REVENIUM_OK);
  CHECK_CODE(revenium_call_pause(paused), REVENIUM_OK);
  CHECK_CODE(revenium_call_pause(paused), REVENIUM_OK);
  /* All that comes is read, and still it stands. */
  CHECK(events_of(paused, queue, 500) >= 0);
  CHECK_CODE(revenium_messages_submit(REQUEST(STREAMED), REVENIUM_NTS, REVENIUM_SCOPE_NONE, queue, 2, &other), REVENIUM_OK);
  while (!results && CHECK_CODE(revenium_queue_read(queue, buffer, sizeof buffer, 60000, &used), REVENIUM_OK))
    FOR_EACH_FRAME(frame, buffer, used) results += frame->frame == REVENIUM_FRAME_RESULT && frame->tag == 2;
  CHECK_CODE(revenium_result_code(paused), REVENIUM_EMPTY);
  CHECK_CODE(revenium_call_resume(paused), REVENIUM_OK);
  CHECK_CODE(revenium_call_resume(paused), REVENIUM_OK);
  CHECK_INT(events_of(paused, queue, 60000), -1);
  CHECK_CODE(revenium_result_code(paused), REVENIUM_OK);
  CHECK_CODE(revenium_call_pause(paused), REVENIUM_OK);

  /* And one that is cancelled ends. */
  CHECK_CODE(revenium_messages_submit(REQUEST(STREAMED ANSWER("deltas=2000; delta_bytes=20000")), REVENIUM_NTS, REVENIUM_SCOPE_NONE, queue, 1, &other), REVENIUM_OK);
  CHECK_CODE(revenium_call_pause(other), REVENIUM_OK);
  CHECK_CODE(revenium_call_cancel(other), REVENIUM_OK);
  CHECK_INT(events_of(other, queue, 60000), -1);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
  revenium_release(queue);
}

/* ---- a host that is stopped, changes its environment, or has no home ---- */

static int32_t first_event(void *user, const revenium_event *event) {
  (void)event;
  if (*(int *)user >= 0) {
    REQUIRE(write(*(int *)user, "x", 1) == 1);
    *(int *)user = -1;
  }
  return 0;
}

/* In a process of its own, which its parent stops after the first event. */
static void is_stopped(const char *threads) {
  char config[128];
  revenium_result result;
  int told = STDOUT_FILENO;
  snprintf(config, sizeof config, "{\"read_timeout_ms\":4000,\"max_retries\":0,\"worker_threads\":%s}", threads);
  CHECK_CODE(revenium_init(config, REVENIUM_NTS, NULL), REVENIUM_OK);
  CHECK_CODE(revenium_messages_stream(REQUEST(ANSWER("deltas=30; gap_ms=300")), REVENIUM_NTS, REVENIUM_SCOPE_NONE, first_event, &told, &result),
             REVENIUM_OK);
  CHECK_TEXT(revenium_result_message(result, NULL), "");
  revenium_release(result);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
}

static void what_came_while_the_process_was_stopped_counts(void) {
  enum { HOSTS = 4 };
  pid_t children[HOSTS];
  for (int i = 0; i < HOSTS; i++) {
    int told[2];
    char byte;
    REQUIRE(pipe(told) == 0);
    if ((children[i] = fork()) == 0) {
      dup2(told[1], STDOUT_FILENO);
      execl("/proc/self/exe", "host", i % 2 ? "stopped-4" : "stopped-1", (char *)NULL);
      _exit(127);
    }
    close(told[1]);
    CHECK(read(told[0], &byte, 1) == 1);
    close(told[0]);
    REQUIRE(kill(children[i], SIGSTOP) == 0);
  }
  /* Longer than read_timeout_ms, and than the streams. */
  sleep(10);
  for (int i = 0; i < HOSTS; i++) REQUIRE(kill(children[i], SIGCONT) == 0);
  for (int i = 0; i < HOSTS; i++) {
    int status = -1;
    REQUIRE(waitpid(children[i], &status, 0) == children[i]);
    CHECK_CLEAN(status);
  }
}

static atomic_int calling;

static void *changes_the_environment(void *unused) {
  char name[32];
  (void)unused;
  for (int i = 0; atomic_load(&calling); i++) {
    snprintf(name, sizeof name, "HOST_%d", i % 5000);
    if (i % 3) setenv(name, "some value of the host", 1);
    else unsetenv(name);
  }
  return NULL;
}

/* In a process of its own: where the library reads the environment meanwhile, it crashes. */
static void calls_while_the_environment_changes(void) {
  pthread_t thread;
  atomic_store(&calling, 1);
  CHECK_CODE(revenium_init("{\"metering_api_key\":\"\"}", REVENIUM_NTS, NULL), REVENIUM_OK);
  /* With its one client made. */
  CHECK_CODE(create(REQUEST(""), REVENIUM_SCOPE_NONE, NULL), REVENIUM_OK);
  pthread_create(&thread, NULL, changes_the_environment, NULL);
  for (int i = 0; i < 20000; i++) CHECK_INT(revenium_is_initialized(), 0);
  for (int i = 0; i < 50; i++) CHECK_CODE(create(REQUEST(""), REVENIUM_SCOPE_NONE, NULL), REVENIUM_OK);
  atomic_store(&calling, 0);
  pthread_join(thread, NULL);
  CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
}

static atomic_int warnings;

static void hears(void *user, int32_t level, const char *line, size_t len) {
  (void)user, (void)len;
  if (level == REVENIUM_LOG_WARN && strstr(line, "in memory only")) atomic_fetch_add(&warnings, 1);
}

static void without_a_home_somebody_is_told(void) {
  const char *spool = strdup(getenv("REVENIUM_SPOOL_DIR")), *home = strdup(getenv("HOME"));
  CHECK_CODE(revenium_set_log(hears, NULL, REVENIUM_LOG_WARN), REVENIUM_OK);
  unsetenv("REVENIUM_SPOOL_DIR");
  unsetenv("XDG_STATE_HOME");
  unsetenv("HOME");
  for (int asked_for = 0; asked_for < 2; asked_for++) {
    CHECK_CODE(revenium_init(asked_for ? "{\"spool_dir\":\"\"}" : NULL, asked_for ? REVENIUM_NTS : 0, NULL), REVENIUM_OK);
    for (int i = 0; i < 3; i++) CHECK_CODE(create(REQUEST(""), REVENIUM_SCOPE_NONE, NULL), REVENIUM_OK);
    CHECK_CODE(revenium_shutdown(60000), REVENIUM_OK);
    CHECK_INT(atomic_load(&warnings), 1);
  }
  setenv("HOME", home, 1);
  setenv("REVENIUM_SPOOL_DIR", spool, 1);
  CHECK_CODE(revenium_set_log(NULL, NULL, REVENIUM_LOG_WARN), REVENIUM_OK);
}

int main(int argc, char **argv) {
  if (argc > 1 && !strncmp(argv[1], "stopped-", 8)) {
    is_stopped(argv[1] + 8);
    return test_end();
  }
  if (argc > 1 && !strcmp(argv[1], "environment")) {
    calls_while_the_environment_changes();
    return test_end();
  }
  RUN(a_body_sends_no_key_of_the_process_anywhere);
  RUN(an_answer_that_began_is_not_asked_for_again);
  RUN(what_shutdown_cancels_is_metered);
  RUN(inits_and_shutdowns_race);
  RUN(no_call_outlives_its_queue);
  RUN(threads_that_cannot_start_are_an_error);
  RUN(a_name_server_that_hangs_for_revenium_delays_no_call);
  RUN(unread_results_are_bounded);
  RUN(starts_leave_no_settings_behind);
  RUN(a_call_that_is_paused_reads_nothing_more);
  RUN(what_came_while_the_process_was_stopped_counts);
  for (int i = 0; i < 6; i++) CHECK_CLEAN(run_again("environment"));
  RUN(without_a_home_somebody_is_told);
  return test_end();
}
