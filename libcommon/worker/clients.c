/* SPDX-License-Identifier: MIT */
/* Clients cost little until they have said what they want: no thread, and few bytes. */

#include "worker/clients.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "pager/pager.h"
#include "protocol/reader.h"
#include "protocol/request.h"
#include "service/failpoint.h"
#include "service/service.h"
#include "worker/control.h"

#define SILENT_US  10000000 /* for the next bytes of a request */
#define SAYING_US  60000000 /* for all of it */
#define READING_US 20000    /* at one client, before the others are looked after */
#define SERVED     32       /* at a time */
#define QUICK      8        /* beside them, that want nothing but to be told something */
#define TURN_MS    10       /* until one that waits is thought of again */
#define DEAF_US    100000   /* after one could not be taken in */
#define CHUNK      8192

struct waiting_client {
	struct pager *pager;
	int fd;
	uint64_t since_us, deadline_us;
	struct request_reader reader;
	bool whole; /* it has said what it wants */
	struct session_request request;
};

static void free_client(struct waiting_client *client)
{
	cleanup_close(&client->fd);
	reader_free(&client->reader);
	free(client);
}

/* Forgets a client that has another owner now, or is gone already. */
static void take_out(struct clients *clients, unsigned int i)
{
	clients->count--;
	for (; i < clients->count; i++)
		clients->all[i] = clients->all[i + 1];
}

static void refuse_client(struct clients *clients, unsigned int i, const struct error *error)
{
	struct waiting_client *client = clients->all[i];

	clients->whole -= client->whole;
	take_out(clients, i);
	control_refuse(client->fd, error);
	free_client(client);
}

unsigned int clients_poll(const struct clients *clients, struct pollfd *fds, int *most)
{
	uint64_t now = now_us();

	if (clients->whole)
		*most = (int)min_u64((uint64_t)*most, TURN_MS);
	if (now < clients->deaf_until_us)
		*most = (int)min_u64((uint64_t)*most, (clients->deaf_until_us - now) / 1000 + 1);
	for (unsigned int i = 0; i < clients->count; i++) {
		const struct waiting_client *client = clients->all[i];
		uint64_t left = client->deadline_us > now ? (client->deadline_us - now) / 1000 + 1 : 0;

		fds[i] = (struct pollfd){.fd = client->whole ? -1 : client->fd, .events = POLLIN};
		if (!client->whole)
			*most = (int)min_u64((uint64_t)*most, left);
	}
	return clients->count;
}

/* The one that has been silent for longest, or, when all have spoken, nobody. */
static bool make_room(struct clients *clients)
{
	struct error error = {0};

	for (unsigned int i = 0; i < clients->count; i++) {
		if (clients->all[i]->whole)
			continue;
		error_set(&error, -EBUSY, "too many others ask", "try again", "read the request");
		refuse_client(clients, i, &error);
		return true;
	}
	return false;
}

int clients_listen(const struct clients *clients, const struct pager *pager)
{
	return now_us() < clients->deaf_until_us ? -1 : pager->serving.control;
}

void clients_accept(struct clients *clients, struct pager *pager)
{
	int fd = accept4(pager->serving.control, NULL, NULL, SOCK_CLOEXEC);
	uint64_t now = now_us();
	struct waiting_client *client;
	struct error error = {0};

	if (fd < 0) { /* who could not be taken in is still there */
		clients->deaf_until_us = now + DEAF_US;
		return;
	}
	client = control_may_ask(fd) ? calloc(1, sizeof(*client)) : NULL;
	if (!client) {
		close(fd);
		return;
	}
	*client = (struct waiting_client){.pager = pager, .fd = fd, .since_us = now, .deadline_us = now + SILENT_US};
	if (clients->count == CLIENTS_WAITING && !make_room(clients)) {
		error_set(&error, -EBUSY, "too many others ask", "try again", "read the request");
		control_refuse(fd, &error);
		free_client(client);
		return;
	}
	clients->all[clients->count++] = client;
}

static void *connection_main(void *argument)
{
	struct waiting_client *client = argument;
	struct pager *pager = client->pager;

	control_serve(pager, steal_fd(&client->fd), &client->request);
	free_client(client);
	service_shrink_stack();
	atomic_fetch_sub(&pager->serving.clients, 1);
	return NULL;
}

/* Returns 0, or -EAGAIN when there is no thread for it now. */
static int start_serving(struct waiting_client *client)
{
	struct pager *pager = client->pager; /* the client may be gone at any time then */
	pthread_t thread;

	atomic_fetch_add(&pager->serving.clients, 1);
	if (pthread_create(&thread, NULL, connection_main, client) == 0) {
		pthread_detach(thread);
		return 0;
	}
	atomic_fetch_sub(&pager->serving.clients, 1);
	return -EAGAIN;
}

static int take_request(struct waiting_client *client, struct error *error)
{
	json_t *object;
	int rc = reader_finish(&client->reader, &object, error);

	if (rc < 0)
		return rc;
	rc = request_decode(object, &client->reader.regions, &client->request, error);
	client->whole = rc == 0;
	json_decref(object);
	return rc;
}

/* Reads what is there. Returns as reader_feed; a client that has gone before it was ready is -EINVAL. */
static int read_some(struct waiting_client *client, struct error *error)
{
	const uint64_t until_us = now_us() + READING_US;
	char bytes[CHUNK];
	int rc = 0;

	while (rc == 0 && now_us() < until_us) {
		ssize_t n = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n < 0 && errno != ECONNRESET)
			return error_set(error, -errno, NULL, "try again", "read the request");
		if (n <= 0)
			return error_set(error, -EINVAL, "it is no JSON object", NULL, "read the request");
		client->deadline_us = min_u64(now_us() + SILENT_US, client->since_us + SAYING_US);
		rc = reader_feed(&client->reader, bytes, (size_t)n, error);
	}
	return rc > 0 ? take_request(client, error) : rc;
}

static bool may_begin(const struct waiting_client *client)
{
	unsigned int served = atomic_load(&client->pager->serving.clients);

	return served < SERVED || (request_is_quick(&client->request) && served < SERVED + QUICK);
}

/* Whether one that was there has gone from the list. */
static bool serve_one(struct clients *clients, unsigned int i, bool readable)
{
	struct waiting_client *client = clients->all[i];
	struct error error = {0};
	int rc = 0;

	if (readable && !client->whole) {
		bool force = confine_force(false);

		rc = read_some(client, &error);
		if (rc == 0 && client->whole)
			failpoint("asked");
		confine_force(force);
		clients->whole += client->whole;
	}
	if (rc == 0 && !client->whole && now_us() > client->deadline_us)
		rc = error_set(&error, -EINVAL, "it did not come in time", NULL, "read the request");
	if (rc < 0) {
		refuse_client(clients, i, &error);
		return true;
	}
	if (!client->whole || !may_begin(client) || start_serving(client) < 0)
		return false;
	clients->whole--;
	take_out(clients, i);
	return true;
}

void clients_serve(struct clients *clients, const struct pollfd *fds, unsigned int count)
{
	unsigned int at = 0;

	for (unsigned int i = 0; i < count; i++)
		at += !serve_one(clients, at, fds[i].revents);
}

void clients_end(struct clients *clients)
{
	while (clients->count)
		free_client(clients->all[--clients->count]);
	clients->whole = 0;
}
