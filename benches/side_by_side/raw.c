/* The least that a call can cost: prepared bytes written to a kept-alive socket, the reply read until its end and
 * forgotten. No library, and no memory for a call but its descriptor. */
#define _GNU_SOURCE
#include "measure.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD = -1, CHUNKED = -2 };

typedef struct {
    int socket;
    long left; /* of the reply's body, or HEAD, or CHUNKED */
    char tail[5];
} connection;

static char sent[1024], received[1 << 16];
static size_t sent_length;
static connection *all;
static int epoll;

static void connect_to_server(connection *to) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)O.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1;
    to->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (to->socket < 0 || connect(to->socket, (struct sockaddr *)&address, sizeof address)) fail("no connection");
    setsockopt(to->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = to};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, to->socket, &event)) fail("no memory");
}

static void begin(connection *on) {
    if (!on->socket) connect_to_server(on);
    on->left = HEAD;
    memset(on->tail, 0, sizeof on->tail);
    if (write(on->socket, sent, sent_length) != (ssize_t)sent_length) fail("a request was not written");
}

/* A chunked body ends with an empty chunk, whose five bytes come nowhere else in what the server streams. */
static int has_last_chunk(connection *on, const char *bytes, long count) {
    long kept = count < 5 ? 5 - count : 0;
    memmove(on->tail, on->tail + 5 - kept, (size_t)kept);
    memcpy(on->tail + kept, bytes + count - (5 - kept), (size_t)(5 - kept));
    return !memcmp(on->tail, "0\r\n\r\n", 5);
}

/* Read once; whether the reply is over. */
static int more(connection *on) {
    long count = read(on->socket, received, sizeof received - 1);
    if (count <= 0) fail("the server closed a connection");
    char *body = received;
    if (on->left == HEAD) {
        received[count] = 0;
        char *end = strstr(received, "\r\n\r\n");
        if (!end || strncmp(received, "HTTP/1.1 200 ", 13)) fail("not the head of a good reply");
        *end = 0;
        char *length = strcasestr(received, "\r\ncontent-length: ");
        on->left = length ? atol(length + 18) : CHUNKED;
        body = end + 4;
        count -= body - received;
        if (!count) return 0;
    }
    if (on->left == CHUNKED) return has_last_chunk(on, body, count);
    on->left -= count;
    return on->left <= 0;
}

static void run(int calls) {
    if (O.at_once == 1) {
        for (int i = 0; i < calls; i++) {
            begin(all);
            while (!more(all));
        }
        return;
    }
    int begun = 0, ended = 0;
    struct epoll_event events[256];
    for (; begun < calls && begun < O.at_once; begun++) begin(&all[begun]);
    while (ended < calls) {
        int count = epoll_wait(epoll, events, 256, 30000);
        if (count <= 0) fail("no reply for 30 s");
        for (int i = 0; i < count; i++) {
            connection *on = events[i].data.ptr;
            if (!more(on)) continue;
            ended++;
            if (begun < calls) begin(on), begun++;
        }
    }
}

int main(int count, char **words) {
    read_options(count, words);
    sent_length = (size_t)snprintf(sent, sizeof sent,
        "POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-type: application/json\r\n"
        "x-api-key: sk-ant-sandbox\r\nanthropic-version: 2023-06-01\r\ncontent-length: %zu\r\n\r\n%s",
        O.port, request_length, request);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    all = calloc((size_t)O.at_once, sizeof *all);
    if (!all || epoll < 0) fail("no memory");
    int64_t ready = cpu();
    run(O.warm);
    start from = start_now(ready);
    run(O.calls);
    print_measured(from, micros(CLOCK_MONOTONIC), 0);
    return 0;
}
