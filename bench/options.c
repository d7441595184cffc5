#include "options.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CLIENTS = 4096, MAX_DEPTH = 4096, MAX_SECONDS = 600 };

const char *const MODES[] = {"unix-connect", "unix-keep", "unix-pipe", "http",
                             "binrpc-connect", "binrpc", "binrpc-udp"};

static const char USAGE[] =
    "usage: load MODE --address PATH|127.0.0.1:PORT --request TEXT [--request TEXT...] [--expect TEXT]\n"
    "            [--clients N] [--depth N] [--seconds S] [--warmup S] [--patience S] [--drain S]";

void fail(const char *text)
{
    fprintf(stderr, "load: %s\n", text);
    exit(2);
}

static double number(const char *text, double low, double high, const char *complaint)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= low && value <= high))
        fail(complaint);
    return value;
}

static enum mode mode_of(const char *name)
{
    for (enum mode mode = UNIX_CONNECT; mode <= BINRPC_UDP; mode++)
        if (strcmp(name, MODES[mode]) == 0)
            return mode;
    fail("unknown mode; known are unix-connect, unix-keep, unix-pipe, http, binrpc-connect, binrpc and binrpc-udp");
}

static void resolve_unix(struct options *o)
{
    o->peer.un.sun_family = AF_UNIX;
    if (strlen(o->address) >= sizeof o->peer.un.sun_path)
        fail("--address: the path is too long for a unix socket");
    strcpy(o->peer.un.sun_path, o->address);
    o->peer_size = sizeof o->peer.un;
}

static void resolve_port(struct options *o)
{
    char host[INET_ADDRSTRLEN] = "";
    const char *colon = strrchr(o->address, ':');
    if (!colon || (size_t)(colon - o->address) >= sizeof host)
        fail("--address: 127.0.0.1:PORT is wanted");
    memcpy(host, o->address, (size_t)(colon - o->address));
    o->peer.in.sin_family = AF_INET;
    o->peer.in.sin_port = htons((uint16_t)number(colon + 1, 1, 65535, "--address: the port is out of range"));
    if (inet_pton(AF_INET, host, &o->peer.in.sin_addr) != 1 || ntohl(o->peer.in.sin_addr.s_addr) >> 24 != 127)
        fail("--address: only 127.0.0.0/8 is loaded");
    o->peer_size = sizeof o->peer.in;
}

static void take(struct options *o, int option, const char *value)
{
    switch (option) {
    case 'a': o->address = value; break;
    case 'c': o->clients = (unsigned)number(value, 1, MAX_CLIENTS, "--clients is out of range"); break;
    case 'd': o->depth = (unsigned)number(value, 1, MAX_DEPTH, "--depth is out of range"); break;
    case 's': o->seconds = number(value, 0.01, MAX_SECONDS, "--seconds is out of range"); break;
    case 'w': o->warmup = number(value, 0, MAX_SECONDS, "--warmup is out of range"); break;
    case 'p': o->patience = number(value, 0.01, MAX_SECONDS, "--patience is out of range"); break;
    case 'D': o->drain = number(value, 0, MAX_SECONDS, "--drain is out of range"); break;
    case 'e': o->expected = value; break;
    case 'r':
        if (o->body_count == MAX_REQUESTS)
            fail("too many --request");
        o->bodies[o->body_count++] = value;
        break;
    default: fail(USAGE);
    }
}

struct options parse(int argc, char **argv)
{
    static const struct option NAMES[] = {
        {"address", 1, 0, 'a'},  {"clients", 1, 0, 'c'}, {"depth", 1, 0, 'd'},  {"seconds", 1, 0, 's'},
        {"warmup", 1, 0, 'w'},   {"expect", 1, 0, 'e'},  {"drain", 1, 0, 'D'},  {"request", 1, 0, 'r'},
        {"patience", 1, 0, 'p'}, {0, 0, 0, 0},
    };
    struct options o = {.clients = 1, .depth = 1, .seconds = 1.0, .warmup = 0.1, .patience = 10.0, .expected = ""};
    int option;
    while ((option = getopt_long(argc, argv, "", NAMES, NULL)) != -1)
        take(&o, option, optarg);
    if (optind != argc - 1 || !o.address || !o.body_count)
        fail(USAGE);
    o.mode = mode_of(argv[optind]);
    if (o.mode != UNIX_PIPE && o.mode != BINRPC)
        o.depth = 1;
    if (o.address[0] == '/')
        resolve_unix(&o);
    else
        resolve_port(&o);
    return o;
}
