/*
 * SIGPIPE has its default action here: whoever writes to a closed socket without care kills this process.
 * Providers and collectors that close at the worst moment, and a wake descriptor that nobody reads.
 */
#include "util.h"

#include <signal.h>

#define TIMES 10

/* ---- a server that closes in the middle of a request, which the sandbox reads to its end ---- */

static int rude_port;

static void *rude(void *listener) {
  int connection;
  while ((connection = accept(*(int *)listener, NULL, NULL)) >= 0) {
    struct linger reset = {1, 0};
    char byte;
    if (recv(connection, &byte, 1, 0) == 1) setsockopt(connection, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(connection);
  }
  return NULL;
}

static void start_rude_server(void) {
  static int listener;
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t size = sizeof address;
  pthread_t thread;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE((listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0);
  REQUIRE(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 64) == 0);
  REQUIRE(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
  rude_port = ntohs(address.sin_port);
  REQUIRE(pthread_create(&thread, NULL, rude, &listener) == 0);
}

/* A request of eight megabytes, far more than a socket takes in at once. */
static char *large_request(const char *members) {
  enum { SIZE = 8 << 20 };
  char *request = (char *)malloc(SIZE + 1024);
  size_t used;
  REQUIRE(request);
  strcpy(request, "{\"model\":\"claude-haiku-4-5\",\"max_tokens\":64,\"messages\":[{\"role\":\"user\",\"content\":\"");
  used = strlen(request);
  memset(request + used, 'x', SIZE);
  sprintf(request + used + SIZE, "\"}]%s}", members);
  return request;
}

static int32_t go_on(void *user, const revenium_event *event) {
  (void)user, (void)event;
  return 0;
}

static void fails(const char *request) {
  revenium_result result;
  int32_t code = revenium_messages_create(request, REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result);
  check(code == REVENIUM_E_CONNECTION || code == REVENIUM_E_STREAM, __FILE__, __LINE__, "create: %s", revenium_code_name(code));
  revenium_release(result);
  code = revenium_messages_stream(request, REVENIUM_NTS, REVENIUM_SCOPE_NONE, go_on, NULL, &result);
  check(code == REVENIUM_E_CONNECTION || code == REVENIUM_E_STREAM, __FILE__, __LINE__, "stream: %s", revenium_code_name(code));
  revenium_release(result);
}

static void works(void) {
  revenium_result result;
  CHECK_CODE(revenium_messages_create(REQUEST(""), REVENIUM_NTS, REVENIUM_SCOPE_NONE, &result), REVENIUM_OK);
  revenium_release(result);
}

/* ---- scenarios ---- */

static void provider_closes(void) { fails(REQUEST(ANSWER("end=close"))); }
static void provider_resets(void) { fails(REQUEST(ANSWER("deltas=50; delta_bytes=2000; end=reset"))); }
static void provider_cuts(void) { fails(REQUEST(ANSWER("deltas=50; gap_ms=1; end=cut"))); }

static void provider_closes_within_the_request(void) {
  char choices[128];
  char *request;
  start_rude_server();
  snprintf(choices, sizeof choices, CHOICES("\"api_key\":\"k\",\"base_url\":\"http://127.0.0.1:%d\""), rude_port);
  request = large_request(choices);
  fails(request);
  free(request);
}

static void provider_closes_many_kept_connections(void) {
  /* Connections that were answered and are kept, then closed by the peer, are written to again. */
  for (int i = 0; i < 5; i++) {
    works();
    fails(REQUEST(ANSWER("end=close")));
  }
}

static void collector_closes_within_the_record(void) {
  char config[256];
  start_rude_server();
  snprintf(config, sizeof config, "{\"metering_base_url\":\"http://127.0.0.1:%d\",\"metering_max_retries\":1,\"spool_dir\":\"\"}", rude_port);
  CHECK_CODE(revenium_init(config, REVENIUM_NTS, NULL), REVENIUM_OK);
  for (int i = 0; i < 20; i++) works();
  /* Nothing can be delivered, and no call noticed. */
  CHECK_CODE(revenium_flush(300), REVENIUM_E_TIMEOUT);
  CHECK_CODE(revenium_shutdown(300), REVENIUM_E_TIMEOUT);
}

static void nobody_reads_the_wake_descriptor(void) {
  FRAME_BUFFER(buffer, 65536);
  revenium_queue queue;
  revenium_call call;
  int32_t fd;
  size_t used;
  revenium_queue_new(&queue);
  CHECK_CODE(revenium_queue_wake_fd(queue, &fd), REVENIUM_OK);
  close(fd);
  for (int i = 0; i < 5; i++) {
    CHECK_CODE(revenium_messages_submit(REQUEST(STREAMED), REVENIUM_NTS, REVENIUM_SCOPE_NONE, queue, 1, &call), REVENIUM_OK);
    CHECK_EVENTUALLY(revenium_result_code(call) == REVENIUM_OK);
    while (revenium_queue_read(queue, buffer, sizeof buffer, 0, &used) == REVENIUM_OK) continue;
    revenium_release(call);
  }
  revenium_release(queue);
}

static const struct {
  const char *name;
  void (*run)(void);
} scenarios[] = {
    {"provider_closes", provider_closes},
    {"provider_resets", provider_resets},
    {"provider_cuts", provider_cuts},
    {"provider_closes_within_the_request", provider_closes_within_the_request},
    {"provider_closes_many_kept_connections", provider_closes_many_kept_connections},
    {"collector_closes_within_the_record", collector_closes_within_the_record},
    {"nobody_reads_the_wake_descriptor", nobody_reads_the_wake_descriptor},
};

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_DFL); /* whatever the shell left us */
  for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
    running_case = scenarios[i].name;
    if (argc > 1 && strcmp(argv[1], scenarios[i].name) == 0) {
      scenarios[i].run();
      if (strncmp(scenarios[i].name, "collector", 9)) works();
      return test_end();
    }
    for (int time = 0; argc == 1 && time < TIMES; time++) CHECK_CLEAN(run_again(scenarios[i].name));
  }
  return test_end();
}
