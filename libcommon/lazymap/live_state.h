/* SPDX-License-Identifier: MIT */
/* What is known of one lazily filled mapping. Internal to the room. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/latency.h"
#include "lazymap/live.h"
#include "lazymap/live_table.h"
#include "puppet/puppet.h"
#include "service/pulse.h"
#include "service/supervisor.h"

#define LIVE_THREADS 16
#define LIVE_ERRORS  64 /* kept until they are emitted */
#define PULSE_READER 1  /* whichever thread reads messages */
#define NO_BLOCK     UINT64_MAX

enum live_stage {
	STAGE_SERVING,
	STAGE_LEFT,  /* nothing depends on us any more: the watcher takes the descriptor out of the target */
	STAGE_CLEAR, /* it has */
	STAGE_OVER,  /* every descriptor is closed */
};

struct live_error {
	uint64_t offset, bytes;
	int code;
};

/* In memory that all processes of the service share. */
struct live_shared {
	_Atomic(int) stage;
	_Atomic(bool) ending; /* asked to */
	_Atomic(bool) served; /* a worker has begun to */
	_Atomic(bool) hurry;  /* asked again: nothing is filled any more */
	_Atomic(uint64_t) asked_us;
	struct puppet_record puppet;
	struct pulse pulse;

	_Atomic(unsigned int) current; /* which table is in force */
	struct live_table tables[2];
	/* The message that is being read or applied, and what `applied` will be then. */
	struct {
		struct uffd_msg message;
		uint64_t number;
		uint32_t space;
	} pending;

	struct live_counts {
		_Atomic(uint64_t) faults, joined, blocks, bytes, poisoned, forks, remaps, removes, unmaps, restarts;
	} counts;
	_Atomic(uint64_t) errors; /* all; the last LIVE_ERRORS are in the list */
	struct live_error list[LIVE_ERRORS];
	uint64_t fills[LATENCY_BUCKETS];
	uint64_t fill_max_ns;
};

struct waiter {
	uint32_t space;
	uint64_t address;
};

/* A block that a thread waits for, or one of our pages that shows nothing (block NO_BLOCK). */
struct live_request {
	struct live_request *next;
	uint64_t block;
	uint64_t since_ns, due_ns;
	bool filling;
	struct waiter *waiters;
	size_t count, size;
};

/*
 * In the worker, `events` is what keeps table and kernel of one mind: messages are read, and events applied, with it
 * held exclusively; pages are placed with it shared after a check of the table. While an event is unread the kernel
 * places nothing (EAGAIN). Order of locks: lead, events, queue.lock.
 */
struct live {
	struct supervisor watcher; /* its channel is an eventfd */
	const struct target *target;
	struct source *source;
	const struct live_options *options;
	struct region region;
	struct live_shared *shared;
	int wake_worker;   /* eventfd */
	int watcher_pidfd; /* for the worker */
	const struct live_callbacks *callbacks;
	uint64_t errors_emitted;
	struct {
		int *numbers;
		size_t count, size;
	} durable; /* descriptors that were open before there was a worker */

	/* Of the worker. */
	int epoll, poke;
	bool target_ended;
	uint64_t puppet_us;   /* when another puppet was tried last */
	_Atomic(bool) quiet;  /* no more messages are read: another worker will */
	pthread_mutex_t lead; /* held by the one thread that reads messages */
	pthread_rwlock_t events;
	struct {
		pthread_mutex_t lock; /* of the rest, the histogram and the list of errors */
		struct live_request *requests;
		unsigned int filling; /* threads that are */
	} queue;
};

static inline struct live *live_of(struct supervisor *watcher)
{
	return (struct live *)watcher;
}

static inline const struct live_table *live_table(const struct live *live)
{
	return &live->shared->tables[atomic_load(&live->shared->current)];
}
