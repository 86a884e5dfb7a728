/* measure.h: what the clients in C share: their options, clocks, and the line of JSON that each prints. Linux. */
#ifndef MEASURE_H
#define MEASURE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct {
    int port;
    int streamed; /* --mode stream */
    int calls;
    int warm; /* calls before the measured ones */
    int at_once;
    int queue; /* ours: through a completion queue */
    int spool; /* ours: 0 turns it off */
    int leave; /* ours: end by a kill, so that the records stay in the spool */
    int gap; /* microseconds between calls that are made one after the other; then each call's wait is measured */
} options;

static options O = {.at_once = 1, .spool = 1};
static char request[256];
static size_t request_length;

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void read_options(int count, char **words) {
    for (int i = 1; i < count; i += 2) {
        const char *name = words[i], *value = i + 1 < count ? words[i + 1] : NULL;
        if (!value) fail("each option has a value");
        if (!strcmp(name, "--port")) O.port = atoi(value);
        else if (!strcmp(name, "--mode")) O.streamed = !strcmp(value, "stream");
        else if (!strcmp(name, "--calls")) O.calls = atoi(value);
        else if (!strcmp(name, "--warm")) O.warm = atoi(value);
        else if (!strcmp(name, "--at-once")) O.at_once = atoi(value);
        else if (!strcmp(name, "--queue")) O.queue = atoi(value);
        else if (!strcmp(name, "--spool")) O.spool = atoi(value);
        else if (!strcmp(name, "--leave")) O.leave = atoi(value);
        else if (!strcmp(name, "--gap")) O.gap = atoi(value);
        else fail("unknown option");
    }
    request_length = (size_t)snprintf(request, sizeof request,
        "{\"model\":\"claude-haiku-4-5\",\"max_tokens\":1024,%s\"messages\":[{\"role\":\"user\","
        "\"content\":\"Say hello to the benchmark.\"}]}",
        O.streamed ? "\"stream\":true," : "");
}

static int64_t micros(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

/* Processor time of all threads, user and system. */
static int64_t cpu(void) { return micros(CLOCK_PROCESS_CPUTIME_ID); }

/* A line of /proc/self/status, in its unit. */
static long status(const char *name) {
    char line[256];
    long value = 0;
    size_t length = strlen(name);
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, name, length) && line[length] == ':') value = atol(line + length + 1);
    if (file) fclose(file);
    return value;
}

/* What callers waited, in microseconds, of the calls since the last start_now(). */
static long waits[1 << 16];
static size_t waited;

static inline void wait_was(int64_t micros_long) {
    if (waited < sizeof waits / sizeof *waits) waits[waited++] = (long)micros_long;
}

static int by_size(const void *one, const void *other) {
    long a = *(const long *)one, b = *(const long *)other;
    return (a > b) - (a < b);
}

static long waited_at(int hundredth) {
    qsort(waits, waited, sizeof *waits, by_size);
    return waited ? waits[(waited - 1) * (size_t)hundredth / 100] : 0;
}

/* The moment before the measured calls. */
typedef struct {
    int64_t ready; /* processor time when the program could begin */
    long idle;     /* resident memory, KiB */
    int64_t cpu, clock;
} start;

static start start_now(int64_t ready) {
    waited = 0;
    return (start){.ready = ready, .idle = status("VmRSS"), .cpu = cpu(), .clock = micros(CLOCK_MONOTONIC)};
}

/* done: when the last call had returned. Processor time is counted up to now. */
static void print_measured(start from, int64_t done, long deltas) {
    long long used = cpu() - from.cpu, wall = done - from.clock, ready = from.ready;
    printf("{\"ready_cpu_us\":%lld,\"cpu_us\":%lld,\"wall_us\":%lld,\"idle_kib\":%ld,\"peak_kib\":%ld,"
           "\"threads\":%ld,\"deltas\":%ld,\"p50_us\":%ld,\"p99_us\":%ld}\n",
           ready, used, wall, from.idle, status("VmHWM"), status("Threads"), deltas, waited_at(50), waited_at(99));
    fflush(stdout);
}

#endif
