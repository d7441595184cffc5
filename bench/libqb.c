/*
 * A load generator on libqb itself: one client keeps asking an echo service, checks every answer, and prints one
 * line of JSON as load.c does.
 *
 *   libqb NAME --depth=N --seconds=S --warmup=S --size=BYTES --channel=response|event
 *
 * Requests are what tests/support/libqb_peer.c makes of them: libqb's header for responses, a number, and the
 * channel that the answer comes by. Latencies are from the write of a request until its answer was taken.
 */
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

enum { LARGEST = 131072, MAX_DEPTH = 64, PATIENCE_MS = 5000 };

struct message {
    struct qb_ipc_response_header header;
    uint32_t number __attribute__((aligned(8)));
    uint32_t answer;
};

static char request[LARGEST] __attribute__((aligned(8)));
static char answer[LARGEST] __attribute__((aligned(8)));
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

static double number(const char *argument, const char *name, double otherwise)
{
    size_t length = strlen(name);
    return strncmp(argument, name, length) == 0 ? atof(argument + length) : otherwise;
}

int main(int argc, char **argv)
{
    double depth = 1, seconds = 2, warmup = 0.2, size = 200;
    int events = 0;
    for (int i = 2; i < argc; i++) {
        depth = number(argv[i], "--depth=", depth);
        seconds = number(argv[i], "--seconds=", seconds);
        warmup = number(argv[i], "--warmup=", warmup);
        size = number(argv[i], "--size=", size);
        events |= strcmp(argv[i], "--channel=event") == 0;
    }
    if (argc < 2 || depth < 1 || depth > MAX_DEPTH || size < (double)sizeof(struct message) || size > LARGEST) {
        fprintf(stderr, "usage: libqb NAME [--depth= --seconds= --warmup= --size= --channel=]\n");
        return 2;
    }
    qb_ipcc_connection_t *c = qb_ipcc_connect(argv[1], LARGEST);
    if (c == NULL)
        fail("qb_ipcc_connect", errno);
    struct message *sent = (struct message *)request, *got = (struct message *)answer;
    size_t length = (size_t)size;
    memset(request, 'x', length);
    memset(sent, 0, sizeof *sent);
    sent->header.id = 1;
    sent->header.size = (int32_t)length;
    sent->answer = (uint32_t)events;
    uint64_t start = now(), count_from = start + (uint64_t)(warmup * 1e9);
    uint64_t end = count_from + (uint64_t)(seconds * 1e9);
    uint64_t completed = 0, served = 0, wrong = 0;
    uint32_t asked = 0, answered = 0;
    for (uint64_t at = start; at < end; at = now()) {
        while (asked - answered < (uint32_t)depth) {
            sent->number = asked;
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
        ssize_t result = events ? qb_ipcc_event_recv(c, answer, LARGEST, PATIENCE_MS)
                                : qb_ipcc_recv(c, answer, LARGEST, PATIENCE_MS);
        if (result < 0)
            fail("no answer", result);
        if ((size_t)result != length || got->number != answered)
            wrong++;
        uint64_t taken = now();
        served++;
        if (taken >= count_from && taken < end) {
            completed++;
            record(taken - begun[answered % MAX_DEPTH]);
        }
        answered++;
    }
    printf("{\"completed\": %" PRIu64 ", \"served\": %" PRIu64 ", \"errors\": 0, \"timeouts\": 0, ", completed, served);
    printf("\"wrong\": %" PRIu64 ", \"unfinished\": %u, ", wrong, asked - answered);
    printf("\"bytes\": %" PRIu64 ", \"rate\": %.1f, ", served * (uint64_t)length, (double)completed / seconds);
    printf("\"p50_us\": %.1f, \"p99_us\": %.1f, ", quantile_us(0.50), quantile_us(0.99));
    printf("\"max_us\": %.1f, \"sample\": \"\"}\n", longest_us());
    qb_ipcc_disconnect(c);
    return 0;
}
