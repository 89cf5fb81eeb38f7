/* SPDX-License-Identifier: MIT */
/* Sessions: one for each process that is swapped. What the tools see of the pager. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "access/method.h"
#include "proc/target.h"
#include "protocol/request.h"
#include "report/error.h"
#include "store/store.h"

#define END_MS 200 /* from the end of a process's memory, and of its session, to that of the process */

enum session_encrypt {
	ENCRYPT_DEFAULT, /* when the store is a file */
	ENCRYPT_YES,
	ENCRYPT_NO,
};

struct session_options {
	enum access_method access;
	const char *store; /* a directory, "memory", or NULL for the default directory */
	enum session_encrypt encrypt;
	uint64_t limit; /* most bytes of the store, 0: none */
	struct codec_choice codec;
	uint64_t cluster_bytes; /* a power of two, one page to CLUSTER_PAGES_MAX pages; 0: 16 pages */
	bool watch;             /* for session_watch: pages come back one by one, and all of them when nobody watches */
	bool foreground;        /* this process becomes the supervisor and returns when the session has ended */
};

/* Called with each record that comes back; it takes the reference. */
typedef void (*session_record_fn)(void *context, json_t *record);

/* For callers that want none: lets go of it. */
void session_ignore(void *context, json_t *record);

/*
 * Makes a session for a target and returns when it is ready (with options->foreground: when it has ended); the
 * "session" record goes to the callback. Returns 0, or -errno with `error` filled: -EEXIST (it has one), -EINVAL (bad
 * options, a store directory that is missing, a target that cannot be swapped), -EPERM/-EACCES, -EOPNOTSUPP (no
 * UFFDIO_MOVE), -ENOSPC, -ESRCH.
 */
int session_attach(const struct target *target, const struct session_options *options, session_record_fn callback,
		   void *context, struct error *error);

/*
 * Takes up the session of a target whose processes were killed: from its files, and from the descriptors that the
 * target holds. Returns as session_attach does; -ENOMSG: it has none, -EEXIST: its session is served, -EBADMSG: its
 * index is damaged, -EBADF: the target has closed its descriptor.
 */
int session_adopt(const struct target *target, bool foreground, session_record_fn callback, void *context,
		  struct error *error);

/* Whether a session for this very process (pid and start time) is there and answers. */
bool session_exists(const struct target *target);

/* Whether there is one, whether or not it answers. */
bool session_is_known(const struct target *target);

/*
 * Sends a request to the session and calls back for each record of the answer, "progress" records included. Returns 0,
 * EXIT_PARTIAL's cause as 1 (done in part), or -errno with `error` filled as the session reports it; -ENOMSG when there
 * is no session, -ENOENT when its processes were killed; -ETIMEDOUT when it says nothing for long and does not answer
 * when it is asked whether it is there.
 */
int session_ask(const struct target *target, const struct session_request *request, session_record_fn callback,
		void *context, struct error *error);

/*
 * For a request that takes long and is ended by hand: session_connect gives a socket (or -errno as session_ask),
 * session_exchange sends the request on it and calls back as session_ask does; it takes the socket.
 * Shutting the socket down for writing, from a signal handler for instance, asks the session to end what it does.
 * -ECONNRESET: the worker died; another one may be there soon. -ESRCH: the target has ended.
 */
int session_connect(const struct target *target, struct error *error);
int session_exchange(const struct target *target, int fd, const struct session_request *request,
		     session_record_fn callback, void *context, struct error *error);

/*
 * Brings everything back and keeps it in core, as long as the socket that is returned is open, and this worker lives:
 * then there is something to read. Returns a socket, or -errno as session_ask.
 */
int session_hold(const struct target *target, struct error *error);

/* Lets memory leave again, and returns when the session has heard of it. Takes the socket. */
void session_release(int fd);

/*
 * On the connection of a request ("out", "in"): asks the session to do no more of it. It says what was done then, and
 * session_exchange returns -ECANCELED. May be called in a signal handler.
 */
void session_cancel(int fd);

/*
 * Calls back with the status record of every session of this user. They are asked at the same time; those without
 * processes are reported as "orphaned", or as "gone" when that of their target is proven to have ended, those that have
 * not answered within a second as "unresponsive". Removes nothing. Returns 0, or -errno with `error` filled when one
 * could not be looked at; the others were.
 */
int session_list(session_record_fn callback, void *context, struct error *error);
