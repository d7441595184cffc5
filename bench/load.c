/*
 * A load generator for control channels: keeps N clients asking, checks every answer, prints one line of JSON.
 *
 *   unix-connect   connect, send the request, read to the end of the stream, connect again
 *   unix-keep      one connection a client, kept open; one request at a time; an answer ends at a newline
 *   unix-pipe      the same with --depth requests outstanding on every connection
 *   http           one keep-alive connection a client; POST, one request at a time
 *   binrpc-connect connect, send the request, read its answer, close, connect again
 *   binrpc         one connection a client, kept open, with --depth requests outstanding
 *   binrpc-udp     one datagram socket a client; one request at a time
 *
 * Requests of the binrpc modes are given in hexadecimal; all answers must have the request's cookie.
 *
 * One thread, one epoll set, level-triggered. Speaks to unix sockets and to 127.0.0.0/8 only. Ends by itself: after
 * --warmup, --seconds and at most --drain (until the last answers are there, nothing new being asked), or a little
 * later by SIGALRM whatever happens.
 *
 * Latencies: from the start of connect() (unix-connect) or from the write of the request until the answer is
 * complete. A request that is still unanswered at the end counts in the percentiles with its age so far and not in
 * `completed`: a server that stalls shows it in its p99, not only in its rate.
 *
 *   errors      connections refused, reset, or ended before the answer was
 *   timeouts    requests given up after --patience
 *   wrong       complete answers without the expected text, or with an HTTP status other than 200
 *   served      complete answers, those of the warm-up and of the drain included
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "latency.h"
#include "options.h"

#define SECOND UINT64_C(1000000000)
#define MILLISECOND UINT64_C(1000000)

enum {
    READ_SIZE = 1 << 18,
    MAX_ANSWER = 1 << 28, /* more than any answer here: a server that never ends one is stopped */
    MAX_HEAD = 1 << 16,
    SAMPLE_SIZE = 200, /* bytes of the first wrong answer that are shown */
    EVENTS = 256,
};

static const uint64_t SWEEP = 50 * MILLISECOND;  /* how often given-up requests are looked for */
static const uint64_t RETRY = 1 * MILLISECOND;   /* after a failed connection: do not spin on a refusal */
static const char KEEP_ALIVE[] = "//keep-alive\n";

enum state { CLOSED, CONNECTING, OPEN };

struct bytes {
    char *data;
    size_t size;
    size_t room;
};

struct connection {
    int fd;
    enum state state;
    uint64_t retry_at;
    bool writing; /* EPOLLOUT is asked for */
    bool last;    /* the server said that it closes after this answer */
    struct bytes in;
    struct bytes out;
    const struct bytes *request;
    uint64_t *sent_at; /* ring of the outstanding requests' times */
    unsigned first;
    unsigned outstanding;
};

static struct options options;
static size_t expected_size;
static struct bytes requests[MAX_REQUESTS];
static struct connection *connections;
static int poller;
static bool retries_waiting;
static bool draining;

/* What was seen. */
static uint64_t counting_from;
static uint64_t counting_until;
static uint64_t completed, served, errors, timeouts, wrong, unfinished, received;
static char sample[SAMPLE_SIZE];
static size_t sample_size;

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static void reserve(struct bytes *b, size_t more)
{
    if (b->room - b->size >= more)
        return;
    size_t room = b->room ? b->room : 4096;
    while (room - b->size < more)
        room *= 2;
    b->data = realloc(b->data, room);
    if (!b->data)
        fail("out of memory");
    b->room = room;
}

static void append(struct bytes *b, const char *data, size_t size)
{
    reserve(b, size);
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

static void drop(struct bytes *b, size_t size)
{
    b->size -= size;
    memmove(b->data, b->data + size, b->size);
}

/* ---- connections ---- */

static void watch(struct connection *c, int operation, bool writing)
{
    struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = c};
    c->writing = writing;
    if (epoll_ctl(poller, operation, c->fd, &event) < 0)
        fail(strerror(errno));
}

static void shut(struct connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->state = CLOSED;
    c->in.size = c->out.size = 0;
    c->first = c->outstanding = 0;
    c->last = false;
}

static void dial_later(struct connection *c, uint64_t at)
{
    shut(c);
    c->retry_at = at + RETRY;
    retries_waiting = true;
}

static void broken(struct connection *c, uint64_t at)
{
    errors++;
    dial_later(c, at);
}

static void flush(struct connection *c)
{
    while (c->out.size) {
        ssize_t n = send(c->fd, c->out.data, c->out.size, MSG_NOSIGNAL);
        if (n >= 0) {
            drop(&c->out, (size_t)n);
        } else if (errno == EAGAIN) {
            break;
        } else if (errno == EPIPE || errno == ECONNRESET) {
            c->out.size = 0; /* what the server still says, or its end, is read first */
            break;
        } else {
            broken(c, now());
            return;
        }
    }
    if (c->writing != (c->out.size > 0))
        watch(c, EPOLL_CTL_MOD, c->out.size > 0);
}

static void ask(struct connection *c, uint64_t at)
{
    while (!draining && c->outstanding < options.depth) {
        append(&c->out, c->request->data, c->request->size);
        c->sent_at[(c->first + c->outstanding++) % options.depth] = at;
    }
    flush(c);
}

static void opened(struct connection *c, uint64_t since)
{
    c->state = OPEN;
    if (options.mode == UNIX_KEEP || options.mode == UNIX_PIPE)
        append(&c->out, KEEP_ALIVE, sizeof KEEP_ALIVE - 1);
    ask(c, since);
}

static void dial(struct connection *c)
{
    uint64_t at = now();
    int kind = options.mode == BINRPC_UDP ? SOCK_DGRAM : SOCK_STREAM;
    c->fd = socket(options.peer.any.sa_family, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        fail(strerror(errno));
    if (options.peer.any.sa_family == AF_INET && kind == SOCK_STREAM)
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(c->fd, &options.peer.any, options.peer_size) == 0) {
        watch(c, EPOLL_CTL_ADD, false);
        opened(c, at);
    } else if (errno == EINPROGRESS) {
        c->state = CONNECTING;
        watch(c, EPOLL_CTL_ADD, true);
    } else if (errno == EAGAIN) {
        dial_later(c, at); /* a unix listener's queue is full: wait, as a blocking client would */
    } else {
        broken(c, at);
    }
}

static void reopen(struct connection *c)
{
    shut(c);
    if (!draining)
        dial(c);
}

/* ---- answers ---- */

static void note_wrong(const char *answer, size_t size)
{
    if (!wrong++) {
        sample_size = size < SAMPLE_SIZE ? size : SAMPLE_SIZE;
        memcpy(sample, answer, sample_size);
    }
}

static void answered(struct connection *c, bool good, const char *answer, size_t size, uint64_t at)
{
    if (!c->outstanding) {
        note_wrong(answer, size);
        return;
    }
    uint64_t since = c->sent_at[c->first];
    c->first = (c->first + 1) % options.depth;
    c->outstanding--;
    if (!good || !memmem(answer, size, options.expected, expected_size)) {
        note_wrong(answer, size);
        return;
    }
    served++;
    if (at < counting_from || at >= counting_until)
        return;
    completed++;
    record(at - since);
}

static void take_lines(struct connection *c, uint64_t at)
{
    size_t used = 0;
    char *end;
    while ((end = memchr(c->in.data + used, '\n', c->in.size - used))) {
        size_t size = (size_t)(end - c->in.data) - used;
        answered(c, true, c->in.data + used, size, at);
        used += size + 1;
    }
    drop(&c->in, used);
}

/* The value of a header of an answer's head, or NULL; the head is terminated by a NUL. */
static const char *header(const char *head, const char *name)
{
    size_t size = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, size) == 0 && line[2 + size] == ':')
            return line + 3 + size + strspn(line + 3 + size, " \t");
    }
    return NULL;
}

/* Takes one HTTP answer; false when it is not complete, or when the connection was given up. */
static bool take_http(struct connection *c, uint64_t at)
{
    char *end = memmem(c->in.data, c->in.size, "\r\n\r\n", 4);
    if (!end) {
        if (c->in.size > MAX_HEAD)
            broken(c, at);
        return false;
    }
    size_t head = (size_t)(end - c->in.data) + 4;
    *end = '\0';
    const char *length = header(c->in.data, "Content-Length");
    const char *connection = header(c->in.data, "Connection");
    size_t body = length ? strtoul(length, NULL, 10) : 0;
    int status = 0;
    bool known = sscanf(c->in.data, "HTTP/%*d.%*d %d", &status) == 1 && length && body <= MAX_ANSWER;
    c->last = connection && strncasecmp(connection, "close", 5) == 0;
    *end = '\r';
    if (!known) {
        note_wrong(c->in.data, head);
        dial_later(c, at);
        return false;
    }
    if (c->in.size - head < body)
        return false;
    bool good = status == 200;
    answered(c, good, c->in.data + (good ? head : 0), good ? body : head + body, at);
    drop(&c->in, head + body);
    return true;
}

/* Takes one BINRPC packet; false when it is not complete, or when the connection was given up. */
static bool take_packet(struct connection *c, uint64_t at)
{
    const unsigned char *head = (const unsigned char *)c->in.data;
    if (c->in.size < 4)
        return false;
    size_t lengths = (head[1] >> 2 & 3) + 1u, cookies = (head[1] & 3) + 1u, body = 0;
    if (c->in.size < 2 + lengths + cookies)
        return false;
    for (size_t i = 0; i < lengths; i++)
        body = body << 8 | head[2 + i];
    size_t start = 2 + lengths + cookies;
    if (head[0] != 0xa1 || body > MAX_ANSWER) {
        note_wrong(c->in.data, c->in.size);
        dial_later(c, at);
        return false;
    }
    if (c->in.size < start + body)
        return false;
    const unsigned char *asked = (const unsigned char *)c->request->data;
    bool good = head[1] >> 4 == 1 && cookies == 1 && head[2 + lengths] == asked[3];
    answered(c, good, c->in.data + start, body, at);
    drop(&c->in, start + body);
    return true;
}

/* All packets that are there. */
static void take_packets(struct connection *c, uint64_t at)
{
    while (c->in.size && take_packet(c, at))
        if (options.mode == BINRPC_CONNECT) {
            reopen(c);
            return;
        }
    if (c->state == OPEN && options.mode != BINRPC_CONNECT)
        ask(c, at);
}

/* What to do with the bytes that came. */
static void digest(struct connection *c, uint64_t at)
{
    switch (options.mode) {
    case UNIX_CONNECT:
        return;
    case UNIX_KEEP:
    case UNIX_PIPE:
        take_lines(c, at);
        break;
    case HTTP:
        while (c->in.size && take_http(c, at))
            if (c->last) {
                reopen(c);
                return;
            }
        break;
    case BINRPC_CONNECT:
    case BINRPC:
    case BINRPC_UDP:
        take_packets(c, at);
        return;
    }
    if (c->state == OPEN)
        ask(c, at);
}

static void ended(struct connection *c, uint64_t at)
{
    if (options.mode == UNIX_CONNECT && c->in.size) {
        answered(c, true, c->in.data, c->in.size, at);
        reopen(c);
    } else {
        broken(c, at);
    }
}

static void readable(struct connection *c)
{
    for (;;) {
        reserve(&c->in, READ_SIZE);
        ssize_t n = recv(c->fd, c->in.data + c->in.size, READ_SIZE, 0);
        uint64_t at = now();
        if (n > 0) {
            c->in.size += (size_t)n;
            received += (uint64_t)n;
            if (c->in.size > MAX_ANSWER) {
                broken(c, at);
                return;
            }
            if (options.mode == UNIX_CONNECT)
                continue; /* its end is mostly there already */
            digest(c, at);
            return;
        }
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            broken(c, at);
        else
            ended(c, at);
        return;
    }
}

static void ready(struct connection *c, uint32_t events)
{
    if (c->state == CONNECTING) {
        int error = 0;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error});
        if (error)
            broken(c, now());
        else
            opened(c, now());
        return;
    }
    if (events & EPOLLOUT)
        flush(c);
    if (c->state == OPEN && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        readable(c);
}

/* ---- the run ---- */

static void dial_again(uint64_t at)
{
    if (!retries_waiting || draining)
        return;
    retries_waiting = false;
    for (unsigned i = 0; i < options.clients; i++) {
        struct connection *c = &connections[i];
        if (c->state != CLOSED)
            continue;
        if (c->retry_at <= at)
            dial(c);
        else
            retries_waiting = true;
    }
}

/* How long the nth outstanding request has waited; one that was written after `at` has not waited at all. */
static uint64_t age(const struct connection *c, unsigned n, uint64_t at)
{
    uint64_t since = c->sent_at[(c->first + n) % options.depth];
    return at > since ? at - since : 0;
}

static void give_up_the_late(uint64_t at)
{
    for (unsigned i = 0; i < options.clients; i++) {
        struct connection *c = &connections[i];
        if (c->outstanding && age(c, 0, at) > (uint64_t)(options.patience * 1e9)) {
            timeouts++;
            record(age(c, 0, at));
            dial_later(c, at);
        }
    }
}

static void count_the_unfinished(uint64_t at)
{
    for (unsigned i = 0; i < options.clients; i++) {
        struct connection *c = &connections[i];
        for (unsigned j = 0; j < c->outstanding; j++) {
            unfinished++;
            record(age(c, j, at));
        }
    }
}

static bool all_answered(void)
{
    for (unsigned i = 0; i < options.clients; i++)
        if (connections[i].outstanding)
            return false;
    return true;
}

static void turn(uint64_t at, uint64_t until)
{
    struct epoll_event events[EVENTS];
    uint64_t wait = (until - at) / MILLISECOND + 1;
    int limit = retries_waiting ? 1 : wait < SWEEP / MILLISECOND ? (int)wait : (int)(SWEEP / MILLISECOND);
    int n = epoll_wait(poller, events, EVENTS, limit);
    if (n < 0 && errno != EINTR)
        fail(strerror(errno));
    for (int i = 0; i < n; i++)
        ready(events[i].data.ptr, events[i].events);
}

static void run(void)
{
    uint64_t at = now(), sweep_at = at + SWEEP;
    counting_from = at + (uint64_t)(options.warmup * 1e9);
    counting_until = counting_from + (uint64_t)(options.seconds * 1e9);
    for (unsigned i = 0; i < options.clients; i++)
        dial(&connections[i]);
    while ((at = now()) < counting_until) {
        dial_again(at);
        if (at >= sweep_at) {
            give_up_the_late(at);
            sweep_at = at + SWEEP;
        }
        turn(at, counting_until);
    }
    count_the_unfinished(at);
    draining = true;
    uint64_t drained = counting_until + (uint64_t)(options.drain * 1e9);
    while ((at = now()) < drained && !all_answered())
        turn(at, drained);
}

static void print_report(void)
{
    printf("{\"mode\": \"%s\", \"clients\": %u, ", MODES[options.mode], options.clients);
    printf("\"depth\": %u, \"seconds\": %.3f, ", options.depth, options.seconds);
    printf("\"completed\": %" PRIu64 ", \"served\": %" PRIu64 ", \"errors\": %" PRIu64 ", ", completed, served, errors);
    printf("\"timeouts\": %" PRIu64 ", \"wrong\": %" PRIu64 ", ", timeouts, wrong);
    printf("\"unfinished\": %" PRIu64 ", \"bytes\": %" PRIu64 ", ", unfinished, received);
    printf("\"rate\": %.1f, \"p50_us\": %.1f, ", (double)completed / options.seconds, quantile_us(0.50));
    printf("\"p99_us\": %.1f, \"max_us\": %.1f, \"sample\": \"", quantile_us(0.99), longest_us());
    for (size_t i = 0; i < sample_size; i++) {
        unsigned char byte = (unsigned char)sample[i];
        printf(byte < 0x20 || byte > 0x7e || byte == '"' || byte == '\\' ? "\\u%04x" : "%c", byte);
    }
    printf("\"}\n");
}

static void write_requests(void)
{
    char head[512];
    for (unsigned i = 0; i < options.body_count; i++) {
        if (options.mode == HTTP) {
            int size = snprintf(head, sizeof head,
                                "POST / HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
                                "Content-Length: %zu\r\n\r\n",
                                options.address, strlen(options.bodies[i]));
            append(&requests[i], head, (size_t)size);
        }
        if (options.mode >= BINRPC_CONNECT) {
            unsigned byte;
            for (const char *hex = options.bodies[i]; sscanf(hex, "%2x", &byte) == 1; hex += 2)
                append(&requests[i], &(char){(char)byte}, 1);
            if (requests[i].size < 4)
                fail("--request: a BINRPC request in hexadecimal is wanted");
            continue;
        }
        append(&requests[i], options.bodies[i], strlen(options.bodies[i]));
        if (options.mode == UNIX_KEEP || options.mode == UNIX_PIPE)
            append(&requests[i], "\n", 1);
    }
}

static void prepare(void)
{
    connections = calloc(options.clients, sizeof *connections);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (!connections || poller < 0)
        fail("out of memory");
    for (unsigned i = 0; i < options.clients; i++) {
        connections[i].fd = -1;
        connections[i].request = &requests[i % options.body_count];
        connections[i].sent_at = calloc(options.depth, sizeof(uint64_t));
        if (!connections[i].sent_at)
            fail("out of memory");
    }
}

int main(int argc, char **argv)
{
    options = parse(argc, argv);
    expected_size = strlen(options.expected);
    write_requests();
    prepare();
    alarm((unsigned)(options.warmup + options.seconds + options.drain) + 10);
    run();
    print_report();
    return 0;
}
