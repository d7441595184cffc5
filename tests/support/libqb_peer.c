/* A client and a server on libqb itself, for tests of ours against them.
 *
 *   libqb_peer server NAME shm|socket          echoes, until it is killed; prints "ready"
 *   libqb_peer client NAME FIRST COUNT WINDOW  sends COUNT messages, at most WINDOW of them unanswered, and looks
 *                                              whether what comes back is what was sent; prints "ok" and figures
 *   libqb_peer watch NAME                      connects, says hello, prints "ready" and then how an event loop sees the end
 *   libqb_peer connect NAME                    connects; prints "ok", or the error's number
 *
 * Message number n: libqb's header for responses, n, how it is to be answered, and bytes that follow from n. The
 * sizes follow from n as well: mostly small, now and then up to 120 KB.
 */

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <qb/qbipcc.h>
#include <qb/qbipcs.h>
#include <qb/qbloop.h>

enum { RESPONSE = 0, EVENT = 1, BOTH = 2, NEITHER = 3 };
enum { LARGEST = 131072, PERIOD = 251, PATIENCE_MS = 20000 };

struct message {
	struct qb_ipc_response_header header;
	uint32_t number __attribute__((aligned(8)));
	uint32_t answer;
	uint8_t content[];
};

static char buffer[LARGEST] __attribute__((aligned(8)));
static char received[LARGEST] __attribute__((aligned(8)));

static uint32_t scrambled(uint32_t number)
{
	uint32_t mixed = number * 2654435761u;

	return mixed ^ (mixed >> 15);
}

static size_t content_size(uint32_t number)
{
	uint32_t mixed = scrambled(number);

	return mixed % 16 == 0 ? (mixed >> 8) % 120000 : (mixed >> 8) % 2000;
}

static uint32_t answer_to(uint32_t number)
{
	return scrambled(number + 77) / 16 % 3;
}

static size_t compose(struct message *message, uint32_t number)
{
	size_t size = content_size(number);

	memset(message, 0, sizeof(*message));
	message->header.id = 1;
	message->header.size = (int32_t)(sizeof(*message) + size);
	message->number = number;
	message->answer = answer_to(number);
	for (size_t i = 0; i < size; i++)
		message->content[i] = (uint8_t)((number + i) % PERIOD);
	return sizeof(*message) + size;
}

static void fail(const char *what, long code)
{
	printf("failed: %s: %ld\n", what, code);
	exit(1);
}

/* The server. */

static qb_loop_t *loop;

static int32_t accept_client(qb_ipcs_connection_t *c, uid_t uid, gid_t gid)
{
	(void)c;
	(void)uid;
	(void)gid;
	return 0;
}

static void on_created(qb_ipcs_connection_t *c)
{
	(void)c;
}

static int32_t on_closed(qb_ipcs_connection_t *c)
{
	(void)c;
	return 0;
}

static void on_destroyed(qb_ipcs_connection_t *c)
{
	(void)c;
}

static void send_certainly(qb_ipcs_connection_t *c, const void *data, size_t size, int event)
{
	for (int tries = 0; tries < PATIENCE_MS * 10; tries++) {
		ssize_t sent = event ? qb_ipcs_event_send(c, data, size) : qb_ipcs_response_send(c, data, size);

		if (sent != -EAGAIN)
			return;
		usleep(100);
	}
}

static int32_t on_message(qb_ipcs_connection_t *c, void *data, size_t size)
{
	struct message *message = data;

	if (message->answer == RESPONSE || message->answer == BOTH)
		send_certainly(c, data, size, 0);
	if (message->answer == EVENT || message->answer == BOTH)
		send_certainly(c, data, size, 1);
	return 0;
}

static int32_t job_add(enum qb_loop_priority p, void *data, qb_loop_job_dispatch_fn fn)
{
	return qb_loop_job_add(loop, p, data, fn);
}

static int32_t dispatch_add(enum qb_loop_priority p, int32_t fd, int32_t events, void *data,
			    qb_ipcs_dispatch_fn_t fn)
{
	return qb_loop_poll_add(loop, p, fd, events, data, fn);
}

static int32_t dispatch_mod(enum qb_loop_priority p, int32_t fd, int32_t events, void *data,
			    qb_ipcs_dispatch_fn_t fn)
{
	return qb_loop_poll_mod(loop, p, fd, events, data, fn);
}

static int32_t dispatch_del(int32_t fd)
{
	return qb_loop_poll_del(loop, fd);
}

static int serve(const char *name, const char *transport)
{
	enum qb_ipc_type type = strcmp(transport, "shm") == 0 ? QB_IPC_SHM : QB_IPC_SOCKET;
	struct qb_ipcs_service_handlers handlers = {
		accept_client, on_created, on_message, on_closed, on_destroyed,
	};
	struct qb_ipcs_poll_handlers polling = { job_add, dispatch_add, dispatch_mod, dispatch_del };
	qb_ipcs_service_t *service = qb_ipcs_create(name, 0, type, &handlers);
	int32_t result;

	if (service == NULL)
		fail("qb_ipcs_create", errno);
	loop = qb_loop_create();
	qb_ipcs_poll_handlers_set(service, &polling);
	result = qb_ipcs_run(service);
	if (result < 0)
		fail("qb_ipcs_run", result);
	puts("ready");
	qb_loop_run(loop);
	return 0;
}

/* The client. */

static uint32_t following(uint32_t number, uint32_t other)
{
	while (answer_to(number) == other)
		number++;
	return number;
}

static void check(ssize_t size, uint32_t number, const char *what)
{
	size_t wanted = compose((struct message *)buffer, number);

	if ((size_t)size != wanted || memcmp(buffer, received, wanted) != 0) {
		printf("corrupt: %s %u of %zd bytes, not %zu\n", what, number, size, wanted);
		exit(1);
	}
}

static int nothing(ssize_t result)
{
	return result == -EAGAIN || result == -ETIMEDOUT;
}

static int run_client(const char *name, uint32_t first, uint32_t count, uint32_t window)
{
	qb_ipcc_connection_t *c = qb_ipcc_connect(name, LARGEST);
	uint32_t end = first + count, next = first, sent = 0, answered = 0, full = 0;
	uint32_t response = following(first, EVENT), event = following(first, RESPONSE);
	int idle = 0;

	if (c == NULL)
		fail("qb_ipcc_connect", errno);
	while (response < end || event < end) {
		int busy = 0;
		ssize_t result = 0;

		while (next < end && sent - answered < window) {
			result = qb_ipcc_send(c, buffer, compose((struct message *)buffer, next));
			if (result == -EAGAIN) {
				full++;
				break;
			}
			if (result < 0)
				fail("qb_ipcc_send", result);
			sent += answer_to(next) == BOTH ? 2 : 1;
			next++;
			busy = 1;
		}
		while (response < end && (result = qb_ipcc_recv(c, received, LARGEST, 0)) > 0) {
			check(result, response, "response");
			response = following(response + 1, EVENT);
			answered++;
			busy = 1;
		}
		if (response < end && result < 0 && !nothing(result))
			fail("qb_ipcc_recv", result);
		while (event < end && (result = qb_ipcc_event_recv(c, received, LARGEST, 0)) > 0) {
			check(result, event, "event");
			event = following(event + 1, RESPONSE);
			answered++;
			busy = 1;
		}
		if (event < end && result < 0 && !nothing(result))
			fail("qb_ipcc_event_recv", result);
		idle = busy ? 0 : idle + 1;
		if (idle > PATIENCE_MS)
			fail("nothing comes", idle);
		if (idle > 10)
			usleep(1000);
	}
	printf("ok %u messages, %u times full\n", count, full);
	qb_ipcc_disconnect(c);
	return 0;
}

/* How a program that waits for events learns of the end. */

static int watch(const char *name)
{
	qb_ipcc_connection_t *c = qb_ipcc_connect(name, LARGEST);
	struct pollfd polled = { .events = POLLIN };
	struct message hello = { .header = { .id = 1, .size = sizeof(hello) }, .answer = NEITHER };
	ssize_t result;
	int events = -1;

	if (c == NULL)
		fail("qb_ipcc_connect", errno);
	qb_ipcc_fd_get(c, &polled.fd);
	qb_ipcc_send(c, &hello, sizeof(hello));
	puts("ready");
	do {
		if (poll(&polled, 1, PATIENCE_MS) <= 0)
			fail("poll", errno);
		result = qb_ipcc_event_recv(c, received, LARGEST, 0);
		events++;
	} while (result > 0);
	printf("ended %zd connected %d events %d\n", result, qb_ipcc_is_connected(c), events);
	qb_ipcc_disconnect(c);
	return 0;
}

static int try_to_connect(const char *name)
{
	qb_ipcc_connection_t *c = qb_ipcc_connect(name, LARGEST);

	if (c == NULL) {
		printf("%d\n", errno);
		return 0;
	}
	puts("ok");
	qb_ipcc_disconnect(c);
	return 0;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 4 && strcmp(argv[1], "server") == 0)
		return serve(argv[2], argv[3]);
	if (argc == 6 && strcmp(argv[1], "client") == 0)
		return run_client(argv[2], (uint32_t)atoi(argv[3]), (uint32_t)atoi(argv[4]),
				  (uint32_t)atoi(argv[5]));
	if (argc == 3 && strcmp(argv[1], "watch") == 0)
		return watch(argv[2]);
	if (argc == 3 && strcmp(argv[1], "connect") == 0)
		return try_to_connect(argv[2]);
	fputs("usage: libqb_peer server|client|watch|connect NAME ...\n", stderr);
	return 2;
}
