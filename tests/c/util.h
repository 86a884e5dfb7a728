/*
 * util.h - what the C tests share: checks that name their line, requests, and a look at the sandbox.
 *
 * A program is a main() that runs its cases and returns test_end(). tests/with_sandbox.sh gives it its sandbox.
 */
#ifndef UTIL_H
#define UTIL_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifdef _WIN32
#include "on_windows.h"
#else
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#endif
#include <errno.h>
#include <pthread.h>
#include <revenium.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- checks ---- */

static atomic_int checks_done, checks_failed;
static const char *running_case = "";

static inline int check(int holds, const char *file, int line, const char *format, ...) {
  enum { SHOWN = 20 };
  char text[600];
  va_list arguments;
  atomic_fetch_add(&checks_done, 1);
  if (holds || atomic_fetch_add(&checks_failed, 1) >= SHOWN) return holds;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  fprintf(stderr, "%s:%d: %s%s%s\n", strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line, running_case,
          *running_case ? ": " : "", text);
  return holds;
}

#define CHECK(condition) check(!!(condition), __FILE__, __LINE__, "%s", #condition)

/* Two whole numbers of any type are the same. */
#define CHECK_INT(actual, expected) \
  check_int((long long)(actual), (long long)(expected), __FILE__, __LINE__, #actual)
static inline int check_int(long long actual, long long expected, const char *file, int line, const char *what) {
  return check(actual == expected, file, line, "%s is %lld, expected %lld", what, actual, expected);
}

/* The same for codes, with their names. */
#define CHECK_CODE(actual, expected) check_code((actual), (expected), __FILE__, __LINE__, #actual)
static inline int check_code(int32_t actual, int32_t expected, const char *file, int line, const char *what) {
  return check(actual == expected, file, line, "%s is %s (%d), expected %s", what, revenium_code_name(actual), actual,
               revenium_code_name(expected));
}

#define CHECK_TEXT(actual, expected) check_text((actual), (expected), __FILE__, __LINE__, #actual)
static inline int check_text(const char *actual, const char *expected, const char *file, int line, const char *what) {
  return check(actual && strcmp(actual, expected) == 0, file, line, "%s is \"%s\", expected \"%s\"", what,
               actual ? actual : "(null)", expected);
}

/* `part` occurs in `text`. */
#define CHECK_HAS(text, part) check_has((text), (part), __FILE__, __LINE__)
static inline int check_has(const char *text, const char *part, const char *file, int line) {
  return check(text && strstr(text, part), file, line, "\"%s\" is not in: %s", part, text ? text : "(null)");
}

/* Without this the rest of the program makes no sense. */
#define REQUIRE(condition)                                             \
  do {                                                                 \
    if (!CHECK(condition)) exit(1);                                    \
  } while (0)

/* What another thread will bring about. Sixty seconds are not a promise, only an end to the waiting. */
#define CHECK_EVENTUALLY(condition)                                                              \
  do {                                                                                           \
    int waits = 0;                                                                               \
    while (!(condition) && waits++ < 6000) usleep(10 * 1000);                                    \
    check(waits < 6000, __FILE__, __LINE__, "never came true: %s", #condition);                  \
  } while (0)

#define RUN(test)           \
  do {                      \
    running_case = #test;   \
    test();                 \
    running_case = "";      \
  } while (0)

static inline int test_end(void) {
  int failed = atomic_load(&checks_failed);
  if (failed) fprintf(stderr, "%d of %d checks failed\n", failed, atomic_load(&checks_done));
  return failed ? 1 : 0;
}

/* ---- requests ---- */

/* A request the sandbox answers with "You said: Hello". `members` are further members, each with a comma before it. */
#define REQUEST(members)                                                                           \
  "{\"model\":\"claude-haiku-4-5\",\"max_tokens\":64,\"messages\":[{\"role\":\"user\",\"content\":" \
  "\"Hello\"}]" members "}"
#define REPLY "You said: Hello"
/* Choices for one call; and how the sandbox shall answer it, in the words of its x-sandbox header. */
#define CHOICES(choices) ",\"revenium\":{\"max_retries\":0," choices "}"
#define ANSWER(how) CHOICES("\"headers\":{\"x-sandbox\":\"" how "\"}")
#define STREAMED ",\"stream\":true"
/* Five seconds for each delta: a stream that goes on until it is cancelled. */
#define ENDLESS ANSWER("deltas=100000; gap_ms=5000")
/* A first byte that comes in ten minutes. */
#define SILENT ANSWER("delay_ms=600000")
#define TRACE(id) ",\"usage_metadata\":{\"trace_id\":\"" id "\"}"

/* ---- frames ---- */

/* Frames are read into a buffer that is aligned to 8. */
#define FRAME_BUFFER(name, bytes) uint64_t name[(bytes) / 8]
static inline const char *frame_body(const revenium_frame *frame) { return (const char *)(frame + 1); }
static inline const revenium_frame *frame_next(const revenium_frame *frame) {
  return (const revenium_frame *)((const char *)frame + frame->size);
}
#define FOR_EACH_FRAME(frame, buffer, used)                                    \
  for (const revenium_frame *frame = (const revenium_frame *)(buffer);         \
       (const char *)frame < (const char *)(buffer) + (used); frame = frame_next(frame))

/* ---- the sandbox ---- */

static inline int sandbox_connect(void) {
  const char *url = getenv("SANDBOX_URL");
  struct sockaddr_in address = {.sin_family = AF_INET};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(url && strncmp(url, "http://127.0.0.1:", 17) == 0);
  address.sin_port = htons((uint16_t)atoi(url + 17));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
  return fd;
}

/* One HTTP exchange; the body in memory to free(). */
static inline char *sandbox_http(const char *method, const char *path, const char *body, int expected_status) {
  char head[512];
  size_t size = 1 << 16, used = 0;
  char *text = (char *)malloc(size), *start;
  int fd = sandbox_connect(), status = 0;
  ssize_t got;
  int length = snprintf(head, sizeof head,
                        "%s %s HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n", method, path,
                        body ? strlen(body) : 0);
  REQUIRE(text && send(fd, head, (size_t)length, MSG_NOSIGNAL) == length);
  if (body) REQUIRE(send(fd, body, strlen(body), MSG_NOSIGNAL) == (ssize_t)strlen(body));
  while ((got = recv(fd, text + used, size - used - 1, 0)) > 0) {
    used += (size_t)got;
    if (used + 1 == size) REQUIRE((text = (char *)realloc(text, size *= 2)));
  }
  close(fd);
  text[used] = 0;
  REQUIRE(sscanf(text, "HTTP/1.1 %d", &status) == 1);
  REQUIRE(CHECK_INT(status, expected_status));
  REQUIRE((start = strstr(text, "\r\n\r\n")));
  memmove(text, start + 4, strlen(start + 4) + 1);
  return text;
}

static inline char *sandbox_get(const char *path) { return sandbox_http("GET", path, NULL, 200); }
static inline void sandbox_post(const char *path, const char *json) { free(sandbox_http("POST", path, json, 204)); }
static inline void sandbox_delete(const char *path) { free(sandbox_http("DELETE", path, NULL, 204)); }

/* A whole number out of JSON by its member's name, which must occur once or first; -1 without. */
static inline long long json_number(const char *json, const char *name) {
  char member[80];
  const char *at;
  snprintf(member, sizeof member, "\"%s\":", name);
  at = json ? strstr(json, member) : NULL;
  return at ? atoll(at + strlen(member)) : -1;
}

/* One of the sandbox's counters: "records", "requests", "streams_open", "client_disconnects"... */
static inline long long sandbox_count(const char *counter) {
  char *stats = sandbox_get("/sandbox/stats");
  long long count = json_number(stats, counter);
  free(stats);
  return count;
}

/* Waits until a counter is as high as `least`. */
#define SANDBOX_REACHES(counter, least) CHECK_EVENTUALLY(sandbox_count(counter) >= (least))

/* How many metering records hold `part`, and the last of them in memory to free(). */
static inline int sandbox_records(const char *part, char **record) {
  char *records = sandbox_get("/sandbox/records"), *rest = records, *line;
  int found = 0;
  if (record) *record = NULL;
  /* The sandbox writes each record on a line of its own. */
  while ((line = strsep(&rest, "\n"))) {
    if (!strstr(line, part)) continue;
    found++;
    if (record) free(*record), *record = strdup(line);
  }
  free(records);
  return found;
}

/* Flushes, and checks that exactly one metering record holds `part`. In memory to free(). */
static inline char *the_record(const char *part) {
  char *record;
  CHECK_CODE(revenium_flush(60000), REVENIUM_OK);
  check(sandbox_records(part, &record) == 1, __FILE__, __LINE__, "not exactly one record with %s", part);
  return record ? record : strdup("");
}

/* ---- processes ---- */

/* Runs this program again with `scenario` as its argument and gives its wait status: 0 is a clean end. */
#ifdef _WIN32
static inline int run_again(const char *scenario) {
  fflush(NULL);
  return (int)_spawnl(_P_WAIT, _pgmptr, "this", scenario, (char *)NULL);
}

#define CHECK_CLEAN(status) CHECK_INT((status), 0)
#else
static inline int run_again(const char *scenario) {
  int status = -1;
  pid_t child = fork();
  if (child == 0) {
    char self[4096] = "";
    if (!getenv("TESTS_RUN")) execl("/proc/self/exe", "scenario", scenario, (char *)NULL);
    /* A program of another platform needs what runs it. */
    if (readlink("/proc/self/exe", self, sizeof self - 1) > 0) {
      execl("/bin/sh", "sh", "-c", "exec $TESTS_RUN \"$0\" \"$1\"", self, scenario, (char *)NULL);
    }
    _exit(127);
  }
  REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
  return status;
}

#define CHECK_CLEAN(status) check_clean((status), __FILE__, __LINE__, #status)
static inline int check_clean(int status, const char *file, int line, const char *what) {
  if (WIFSIGNALED(status)) return check(0, file, line, "%s: killed by %s", what, strsignal(WTERMSIG(status)));
  return check(status == 0, file, line, "%s: ended with %d", what, WEXITSTATUS(status));
}
#endif

#endif
