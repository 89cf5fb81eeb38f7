/* SPDX-License-Identifier: MIT */
/* What the parts of swapctl auto share. */
#pragma once

#include <pthread.h>

#include "swapctl.h"

struct auto_options {
	struct policy_params params;
	const char *trigger; /* for the kernel's pressure file; empty without --pressure */
	struct session_options session;
	struct preferences preferences;
	bool explain, leave, once;
	bool kernel; /* pages go to the kernel's swap, and nothing has a session */
};

/* A process that is looked after. */
struct managed {
	struct managed *next;
	struct automaton *a; /* that looks after it */
	struct target target;
	struct policy_process *process;
	enum preference preference;
	bool attached;
	bool made;    /* its session is ours to end */
	bool refused; /* no session can be made for it */
	bool seen;    /* it matches what was chosen still */
	bool gone;
	bool tended;     /* a thread is at it: nobody else changes anything of it */
	bool released;   /* it is not looked after any more: its session is ended, if that is ours */
	int connection;  /* to its session, while that is asked; -1 */
	char store[256]; /* path, or "memory"; empty before it is known */
	struct policy_observation now;
	bool idle;          /* what it uses is known by idle page tracking */
	uint64_t refaulted; /* pages, since the last round */
	uint64_t looked_ms; /* when it was seen last which pages are resident */
};

/*
 * Each process is tended by a thread of its own, so that a session that does not answer holds up nobody. Everything,
 * the policy and the records included, is under `lock`, which is let go while a session is waited for.
 */
struct automaton {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* a thread has finished */
	unsigned int threads;
	bool writing; /* a thread has a session write back */
	struct run *run;
	const struct auto_options *options;
	struct policy *policy;
	struct policy_machine machine;
	struct managed *all;
	int wake;     /* eventfd: a signal has come */
	int trigger;  /* pressure file that is polled, or -1 */
	int pressure; /* pressure file that is read */
	int cgroup;   /* directory of the first one that was chosen, or -1 */
	bool named;   /* what was chosen are single processes */
	bool ending;
	struct error refusal; /* why no session could be made, the last time that was so */
	struct {
		uint64_t processes, rounds, moved, written_back, refaulted, errors;
	} sums;
};

/* Runs until a signal, or until there is nothing left to look after. Returns an exit code. */
int auto_run(struct run *run, const struct auto_options *options);

/* auto_round.c: what there is to do now for one process. Returns 0, or -ESRCH when it is gone. `lock` is held. */
int auto_tend(struct automaton *a, struct managed *m);

/* What a session, or the kernel, says while others are looked after. */
typedef void (*auto_record_fn)(void *context, json_t *record);
struct auto_answer {
	struct automaton *a;
	auto_record_fn callback;
	void *context;
};

/* Calls that back with a record, `lock` held. Context: struct auto_answer. */
void auto_take(void *context, json_t *record);

/*
 * kernel.c: has the kernel take the regions, so many bytes at most. `lock` is held, and let go meanwhile. Returns as
 * pageout_out.
 */
int auto_page_out(struct managed *m, const struct region_vec *regions, uint64_t bytes, struct auto_answer *answer,
		  struct error *error);

/* What is in swap of the process. Returns 0 or -errno. */
int auto_observe_swap(struct managed *m);

/* Its session, if it is ours, is ended. Returns 0, or -errno when that was told. `lock` is held. */
int auto_detach(struct automaton *a, struct managed *m);

/* Takes the record; output that nobody reads any more ends it all. */
void auto_emit(struct automaton *a, json_t *record);

/* Something failed while the rest goes on. */
void auto_failed(struct automaton *a, const struct managed *m, const char *op, const struct error *error);
