/*
 * A load generator on libqb itself: one client keeps asking a service, checks every answer, and prints one line of
 * JSON as load.c does.
 *
 *   libqb NAME --depth=N --seconds=S --warmup=S --channel=response|event --size=BYTES
 *   libqb NAME --depth=N --seconds=S --warmup=S --channel=response|event --request=FILE --expect=TEXT [--first=FILE]
 *
 * Without a file the service is an echo: requests are what tests/support/libqb_peer.c makes of them, libqb's header
 * for responses, a number, and the channel that the answer comes by. A file holds a request as it travels, which is
 * sent again and again under numbers of its own; its answers hold the text, and responses the number. What stands in
 * the file named by --first is sent once before, and has no answer.
 *
 * Latencies are from the write of a request until its answer was taken.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <qb/qbipcc.h>

#include "latency.h"

enum { LARGEST = 131072, MAX_DEPTH = 64, PATIENCE_MS = 5000, SAMPLE = 400 };

struct message {
    struct qb_ipc_response_header header;
    uint32_t number __attribute__((aligned(8)));
    uint32_t answer;
};

struct options {
    double depth, seconds, warmup, size;
    const char *first, *request, *expect;
    int events;
};

static struct options options = {.depth = 1, .seconds = 2, .warmup = 0.2, .size = 200};
static char request[LARGEST] __attribute__((aligned(8)));
static char answer[LARGEST] __attribute__((aligned(8)));
static char sample[SAMPLE + 1];
static size_t length;
static uint64_t begun[MAX_DEPTH];

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}

static _Noreturn void fail(const char *what, long code)
{
    fprintf(stderr, "libqb: %s: %ld\n", what, code);
    exit(2);
}

static const char *text(const char *argument, const char *name, const char *otherwise)
{
    size_t named = strlen(name);
    return strncmp(argument, name, named) == 0 ? argument + named : otherwise;
}

static double number(const char *argument, const char *name, double otherwise)
{
    const char *given = text(argument, name, NULL);
    return given == NULL ? otherwise : atof(given);
}

static void read_options(int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        options.depth = number(argv[i], "--depth=", options.depth);
        options.seconds = number(argv[i], "--seconds=", options.seconds);
        options.warmup = number(argv[i], "--warmup=", options.warmup);
        options.size = number(argv[i], "--size=", options.size);
        options.first = text(argv[i], "--first=", options.first);
        options.request = text(argv[i], "--request=", options.request);
        options.expect = text(argv[i], "--expect=", options.expect);
        options.events |= strcmp(argv[i], "--channel=event") == 0;
    }
    int sized = options.size >= (double)sizeof(struct message) && options.size <= LARGEST;
    int paired = (options.request == NULL) == (options.expect == NULL);
    if (argc < 2 || options.depth < 1 || options.depth > MAX_DEPTH || !sized || !paired) {
        fprintf(stderr, "usage: libqb NAME [--depth= --seconds= --warmup= --channel= --size= | --request= --expect= --first=]\n");
        exit(2);
    }
}

static size_t read_message(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail(path, errno);
    size_t size = fread(request, 1, LARGEST, file);
    fclose(file);
    if (size < sizeof(struct qb_ipc_request_header))
        fail(path, (long)size);
    return size;
}

static void make_echo(void)
{
    struct message *made = (struct message *)request;
    length = (size_t)options.size;
    memset(request, 'x', length);
    memset(made, 0, sizeof *made);
    made->header.id = 1;
    made->header.size = (int32_t)length;
    made->answer = (uint32_t)options.events;
}

static void send_first(qb_ipcc_connection_t *c)
{
    size_t size = read_message(options.first);
    ssize_t result;
    do
        result = qb_ipcc_send(c, request, size);
    while (result == -EAGAIN);
    if (result < 0)
        fail("qb_ipcc_send", result);
}

static void name_request(uint32_t asked)
{
    struct message *sent = (struct message *)request;
    if (options.request == NULL)
        sent->number = asked;
    else
        sent->header.id = (int32_t)(asked + 1);
}

static int is_right(size_t size, uint32_t answered)
{
    const struct message *got = (const struct message *)answer;
    if (options.request == NULL)
        return size == length && got->number == answered;
    if (!options.events && got->header.id != (int32_t)(answered + 1))
        return 0;
    return memmem(answer, size, options.expect, strlen(options.expect)) != NULL;
}

/* What was wrong, as it may stand in a string of JSON. */
static void take_sample(size_t size)
{
    size_t header = sizeof(struct qb_ipc_response_header), kept = 0;
    for (size_t i = header; i < size && kept < SAMPLE; i++)
        sample[kept++] = answer[i] < ' ' || answer[i] == '"' || answer[i] == '\\' ? '.' : answer[i];
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    qb_ipcc_connection_t *c = qb_ipcc_connect(argv[1], LARGEST);
    if (c == NULL)
        fail("qb_ipcc_connect", errno);
    if (options.first != NULL)
        send_first(c);
    if (options.request == NULL)
        make_echo();
    else
        length = read_message(options.request);
    uint64_t start = now(), count_from = start + (uint64_t)(options.warmup * 1e9);
    uint64_t end = count_from + (uint64_t)(options.seconds * 1e9);
    uint64_t completed = 0, served = 0, wrong = 0, bytes = 0;
    uint32_t asked = 0, answered = 0;
    for (uint64_t at = start; at < end; at = now()) {
        while (asked - answered < (uint32_t)options.depth) {
            name_request(asked);
            begun[asked % MAX_DEPTH] = now();
            ssize_t result = qb_ipcc_send(c, request, length);
            if (result == -EAGAIN)
                break;
            if (result < 0)
                fail("qb_ipcc_send", result);
            asked++;
        }
        if (asked == answered)
            continue; /* the server has not given the room of the last request back */
        ssize_t result = options.events ? qb_ipcc_event_recv(c, answer, LARGEST, PATIENCE_MS)
                                        : qb_ipcc_recv(c, answer, LARGEST, PATIENCE_MS);
        if (result < 0)
            fail("no answer", result);
        if (!is_right((size_t)result, answered)) {
            if (wrong++ == 0)
                take_sample((size_t)result);
        }
        uint64_t taken = now();
        served++;
        bytes += (uint64_t)result;
        if (taken >= count_from && taken < end) {
            completed++;
            record(taken - begun[answered % MAX_DEPTH]);
        }
        answered++;
    }
    printf("{\"completed\": %" PRIu64 ", \"served\": %" PRIu64 ", \"errors\": 0, \"timeouts\": 0, ", completed, served);
    printf("\"wrong\": %" PRIu64 ", \"unfinished\": %u, ", wrong, asked - answered);
    printf("\"bytes\": %" PRIu64 ", \"rate\": %.1f, ", bytes, (double)completed / options.seconds);
    printf("\"p50_us\": %.1f, \"p99_us\": %.1f, ", quantile_us(0.50), quantile_us(0.99));
    printf("\"max_us\": %.1f, \"sample\": \"%s\"}\n", longest_us(), sample);
    qb_ipcc_disconnect(c);
    return 0;
}
