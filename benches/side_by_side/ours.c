/* The library through its C ABI, configured by the environment: by the functions that wait, on --at-once threads, or
 * (--queue 1) by one thread that submits and reads a completion queue. */
#define _GNU_SOURCE
#include "measure.h"

#include "revenium.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

static atomic_int left;
static atomic_long deltas;

static void check(int32_t code, revenium_result why) {
    if (code == REVENIUM_OK) return;
    fprintf(stderr, "%s: ", revenium_code_name(code));
    fail(why ? revenium_result_message(why, NULL) : "");
}

static int32_t on_event(void *user, const revenium_event *event) {
    *(long *)user += event->text != NULL;
    return 0;
}

static void *caller(void *unused) {
    (void)unused;
    long texts = 0;
    while (atomic_fetch_sub(&left, 1) > 0) {
        revenium_result result;
        int64_t began = micros(CLOCK_MONOTONIC);
        int32_t code =
            O.streamed
                ? revenium_messages_stream(request, request_length, REVENIUM_SCOPE_NONE, on_event, &texts, &result)
                : revenium_messages_create(request, request_length, REVENIUM_SCOPE_NONE, &result);
        check(code, result);
        revenium_release(result);
        if (O.gap) {
            wait_was(micros(CLOCK_MONOTONIC) - began);
            nanosleep(&(struct timespec){.tv_nsec = O.gap * 1000L}, NULL);
        }
    }
    atomic_fetch_add(&deltas, texts);
    return NULL;
}

static void by_waiting(int calls) {
    atomic_store(&left, calls);
    if (O.at_once == 1) {
        caller(NULL);
        return;
    }
    pthread_t *threads = calloc((size_t)O.at_once, sizeof *threads);
    if (!threads) fail("no memory");
    for (int i = 0; i < O.at_once; i++)
        if (pthread_create(&threads[i], NULL, caller, NULL)) fail("no thread");
    for (int i = 0; i < O.at_once; i++) pthread_join(threads[i], NULL);
    free(threads);
}

static void submit(revenium_queue queue) {
    revenium_call call;
    check(revenium_messages_submit(request, request_length, REVENIUM_SCOPE_NONE, queue, 0, &call), 0);
}

static void by_queue(revenium_queue queue, int calls) {
    static _Alignas(8) char buffer[1 << 18];
    int begun = 0, ended = 0;
    for (; begun < calls && begun < O.at_once; begun++) submit(queue);
    while (ended < calls) {
        size_t used;
        check(revenium_queue_read(queue, buffer, sizeof buffer, 30000, &used), 0);
        for (size_t at = 0; at < used;) {
            const revenium_frame *frame = (const void *)(buffer + at);
            at += frame->size;
            if (frame->frame == REVENIUM_FRAME_EVENT) {
                if (frame->code == REVENIUM_EVENT_CONTENT_BLOCK_DELTA) atomic_fetch_add(&deltas, 1);
            } else if (frame->frame == REVENIUM_FRAME_RESULT) {
                check(frame->code, frame->call);
                revenium_release(frame->call);
                ended++;
                if (begun < calls) submit(queue), begun++;
            }
        }
    }
}

static void run(revenium_queue queue, int calls) {
    if (O.queue) by_queue(queue, calls);
    else by_waiting(calls);
}

int main(int count, char **words) {
    read_options(count, words);
    revenium_result why;
    check(revenium_init(O.spool ? NULL : "{\"spool_dir\":\"\"}", O.spool ? 0 : REVENIUM_NTS, &why), why);
    int64_t ready = cpu();
    revenium_queue queue = 0;
    if (O.queue) check(revenium_queue_new(&queue), 0);
    run(queue, O.warm);
    /* The records of the warm-up must not count. */
    if (O.warm) check(revenium_flush(60000), 0);
    atomic_store(&deltas, 0);
    start from = start_now(ready);
    run(queue, O.calls);
    if (O.leave) raise(SIGKILL);
    int64_t done = micros(CLOCK_MONOTONIC);
    if (O.calls) check(revenium_flush(60000), 0);
    print_measured(from, done, atomic_load(&deltas));
    revenium_release(queue);
    return revenium_shutdown(10000) == REVENIUM_OK ? 0 : 1;
}
