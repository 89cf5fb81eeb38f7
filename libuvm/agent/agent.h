/* SPDX-License-Identifier: MIT */
/* The swap agent's own memory, and what its files share. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/protocol.h"
#include "ring/layout.h"

#define AGENT_STACK      (256 * 1024)
#define AGENT_STORED_FDS 512

/* Where the agent waits for those of one kind, one at a time. Descriptors are in the thread's own table; -1: none. */
struct agent_endpoint {
	char name[40]; /* of the socket, behind its leading zero */
	int listener, connection;
};

/* What a swap session has of the agent, until it says that it is over. */
struct agent_session {
	int memory_uffd, staging_uffd;        /* -1: none */
	uint64_t staging;                     /* address; 0: none */
	bool moved;                           /* so pages may be out */
	uint64_t kept[AGENT_STORED_FDS / 64]; /* numbers of descriptors that are held for it */
};

struct agent_buffers {
	/* Behind each its regions. */
	_Alignas(8) char request[sizeof(struct agent_request) + AGENT_REGIONS * sizeof(struct agent_region)];
	_Alignas(8) char reply[sizeof(struct agent_reply) + AGENT_REGIONS * sizeof(struct agent_region)];
	char text[4096];            /* of /proc/self/maps */
	unsigned char in_core[512]; /* of one superpage */
};

/*
 * All that the agent's thread touches: this, its stack and the shared page. It lies between two pages that nobody can
 * touch, so that it never becomes one mapping with memory of the program.
 */
struct swap_agent {
	uint64_t own_start, own_end;
	uint64_t page;
	uint64_t top; /* of what it maps (far.h) */
	struct agent_shared *shared;
	int memfd; /* of the shared page; in the thread's own table */

	uint32_t state; /* enum agent_state; futex */
	int result;     /* of starting */

	struct agent_endpoint swap, reclaim;
	struct agent_session session;
	int passed, answer;      /* descriptors that came with a request, go with the reply; -1: none */
	uint64_t rseq;           /* address of the thread's own area; 0: none */
	bool deaf;               /* a connection could not be taken: for want of descriptors, it is still there */
	struct ring_shared ring; /* the beginning of a ring, as it was when a reclaimer's request was looked at */

	struct agent_request *request; /* in the buffers */
	struct agent_reply *reply;
	struct agent_buffers buffers;
};

enum agent_state {
	AGENT_STARTING,
	AGENT_RUNNING,
	AGENT_STOPPING, /* asked to; the next connection makes it look */
	AGENT_STOPPED,
};

/* serve.c: the thread. */
void *agent_main(void *argument);

/* message.c */

/* The next request of a connection, into agent->request. Returns false when there is none any more. */
bool agent_next(struct swap_agent *agent, int connection);

/* Sends agent->reply, with this result. */
void agent_answer(struct swap_agent *agent, int connection, int64_t result);

/* Closes what came with a request and was not kept. */
void agent_drop_passed(struct swap_agent *agent);

/* reclaim.c: serves what a reclaimer asks for next, or ends its connection. */
void agent_serve_reclaimer(struct swap_agent *agent);

/* handshake.c */

/*
 * Both userfaultfds and the staging area, or those of a session that ended without saying so, in one message. Returns
 * 0, or -errno: nobody took it.
 */
int agent_greet(struct swap_agent *agent);

/* A staging area, into agent->session.staging. Returns 0 or -errno. */
int agent_map_staging(struct swap_agent *agent);

/* Tells a second client that the agent is in use. */
void agent_refuse(const struct swap_agent *agent, int connection);

/* The greeting of a reclaimer, which gets nothing: all before it is over. Returns 0 or -errno. */
int agent_greet_reclaimer(const struct swap_agent *agent, int connection);

/* Closes and unmaps what agent_greet made, and lets forks go on. */
void agent_release(struct swap_agent *agent);

/* A userfaultfd that handles faults in kernel mode too, before its handshake, or a negative errno. */
int agent_open_uffd(void);

/* superpages.c: superpages with a page in core, from `from` on, into agent->reply. Returns 0 or -errno. */
int agent_superpages(struct swap_agent *agent, uint64_t from, uint64_t most);
