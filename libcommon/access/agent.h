/* SPDX-License-Identifier: MIT */
/* The other end of a program's swap agent (uvm_swap_agent(3)): finding it, its greeting, requests. */
#pragma once

#include <stdbool.h>
#include <sys/uio.h>

#include "agent/protocol.h"
#include "base/region.h"
#include "proc/target.h"
#include "report/error.h"

/* What the kernel writes to in a thread's memory: the word of clear_child_tid, the area of rseq(2). 0: none. */
struct thread_words {
	uint64_t word, rseq;
};

/* A connection. Survives fork: a child may go on where its parent was, one at a time. */
struct agent {
	int socket; /* -1: none */
	int memfd;
	struct agent_shared *shared; /* its page, written by the target too */
	struct region staging;
	int mem_fd;                /* /proc/PID/mem, to read from */
	struct thread_words words; /* of its own thread */
	uint32_t number;           /* of the last request */
	bool late;                 /* an answer is still to come: nothing new until it did */
};

#define AGENT_NONE ((struct agent){.socket = -1, .memfd = -1, .mem_fd = -1})

/*
 * The agent of a target: *tid is its thread, `name` the rest of an abstract socket's name behind the zero, the one that
 * begins with `kind` (AGENT_NAME or AGENT_RECLAIM). Found through /proc, and so in another pid or network namespace
 * too. Returns 0, -ENOENT when there is none, -EACCES when this user may not look.
 */
int agent_find(const struct target *target, const char *kind, pid_t *tid, char name[64]);

/*
 * Connects, checks by the peer's credentials that it is the target who answers, and takes the greeting. uffd[] receives
 * the two userfaultfds (the caller's). Returns 0, or a negative errno: -ENOENT no agent, -EPERM another process answers
 * or the agent turned us away, -EBUSY it has a session, -ETIMEDOUT; with `what` set to what failed in the program
 * ("userfaultfd", "staging area") when the greeting says so.
 */
int agent_connect(struct agent *agent, const struct target *target, struct agent_greeting *greeting, int uffd[2],
		  pid_t *tid, const char **what);

/*
 * The same for a reclaimer: no descriptors, no area. Returns when the agent has done, or thrown away, all that
 * reclaimers before asked for. -EBUSY: it has a session; -ETIMEDOUT: it is still at it, or its process is stopped.
 */
int agent_connect_reclaimer(struct agent *agent, const struct target *target);

/*
 * Sets agent->words, and agent->mem_fd by way of /proc or, where that is not permitted, of the agent. Returns 0, or a
 * negative errno: -EACCES when neither may read it.
 */
int agent_memory(struct agent *agent, const struct target *target);

/*
 * What went wrong in talking to it, for the user; `what` as agent_connect says (may be NULL), `tried`: as in "attach
 * to". Returns the code of the error.
 */
int agent_explain(const struct target *target, int rc, const char *what, const char *tried, struct error *error);

/* The shared page stays mapped: a thread may be waiting on it, and the process ends with the session. */
void agent_disconnect(struct agent *agent);

/*
 * Sends a request (its number is filled in) with `count` regions and, when fd >= 0, a descriptor. Returns 0 or -ESRCH.
 */
int agent_send(struct agent *agent, const struct agent_request *request, const struct agent_region *regions, int fd);

/*
 * Waits for the reply to the last request; those to earlier ones are dropped. timeout_ms < 0: for as long as the target
 * lives. *fd (may be NULL) receives the descriptor that came along, or -1. Returns 0, -ETIMEDOUT (it may still be done
 * later: agent->late is set), or -ESRCH.
 */
int agent_receive(struct agent *agent, struct agent_reply *reply, int timeout_ms, int *fd);

/*
 * Both, with a descriptor there (-1: none) and one back (NULL: none); returns the reply's result. An earlier answer
 * that is still to come is waited for first.
 */
int64_t agent_exchange(struct agent *agent, const struct agent_request *request, int fd, int *got);

/* The same without descriptors. */
int64_t agent_call(struct agent *agent, const struct agent_request *request);
