/* What the load generator's command line says; the modes are described in load.c. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { MAX_REQUESTS = 16 };

enum mode { UNIX_CONNECT, UNIX_KEEP, UNIX_PIPE, HTTP, BINRPC_CONNECT, BINRPC, BINRPC_UDP };

extern const char *const MODES[];

struct options {
    enum mode mode;
    const char *address;
    union {
        struct sockaddr any;
        struct sockaddr_un un;
        struct sockaddr_in in;
    } peer;
    socklen_t peer_size;
    unsigned clients;
    unsigned depth; /* 1 but for UNIX_PIPE and BINRPC */
    double seconds;
    double warmup;
    double patience;
    double drain;
    const char *expected;
    const char *bodies[MAX_REQUESTS];
    unsigned body_count;
};

/* Reads the command line; a wrong one ends the program with a word about it. */
struct options parse(int argc, char **argv);

/* Ends the program, exit status 2. */
_Noreturn void fail(const char *text);

#endif
