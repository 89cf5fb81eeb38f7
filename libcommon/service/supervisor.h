/* SPDX-License-Identifier: MIT */
/* The process that starts the workers of a service, one after the other, and looks whether they live. */
#pragma once

#include <stdbool.h>
#include <sys/signalfd.h>
#include <sys/types.h>

#include "service/pulse.h"

struct supervisor;

/* What a service does at each turn of its supervisor; `supervisor` is the first member of what the service knows. */
struct supervisor_ops {
	/*
	 * Worker and supervisor share one table of descriptors (CLONE_FILES), and `channel` is the service's own.
	 * Otherwise the worker has a copy of the table, and each of the two one end of a new socket pair, which keeps
	 * messages apart.
	 */
	bool shares_descriptors;

	/*
	 * In a new process: serves. Where it returns, the process is the next supervisor, and `worker` and `pidfd` are
	 * those of the worker whose end it waits for.
	 */
	void (*work)(struct supervisor *supervisor, int channel);

	/* There is something to read in `channel`. Returns false when nothing more will come. */
	bool (*hear)(struct supervisor *supervisor);

	/* A signal has come. */
	void (*signal)(struct supervisor *supervisor, const struct signalfd_siginfo *info);

	/* Once a second at least, or NULL. Returns in how many milliseconds again, PULSE_INSPECT_MS at most. */
	int (*tick)(struct supervisor *supervisor);

	/*
	 * The worker has ended, and all that it said was heard. Returns 1 when another one has to come, or what
	 * supervisor_run is to return.
	 */
	int (*ended)(struct supervisor *supervisor);
};

/* One service, as its supervisor knows it. Fill in the first members. */
struct supervisor {
	const struct supervisor_ops *ops;
	struct pulse *pulse; /* of the worker, shared with it */
	int signals;         /* signalfd(2), non-blocking */
	int channel;
	bool served; /* a worker has come to serve; until then a few that end are enough to give up */

	pid_t worker;
	int pidfd;
	unsigned int failures, unserved;
	struct pulse_watch watch;
	bool hung; /* the worker was, and has been killed for it */
};

/*
 * Starts a worker, and another one in place of one that ends, is killed or is hung (pulse.h), until the service is
 * over. A worker that ended by itself, or crashed, would do so again: the next one comes a little later each time.
 * Returns what `ended` returned, -ECHILD when no worker comes to serve, or -errno when the first one cannot be started.
 * clone(2), pidfd_open(2).
 */
int supervisor_run(struct supervisor *supervisor);

/* The same from a worker at work: for a process that takes the place of a supervisor that was killed. */
int supervisor_go_on(struct supervisor *supervisor);
