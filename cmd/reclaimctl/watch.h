/* SPDX-License-Identifier: MIT */
/* What the parts of reclaimctl watch share. Times are nanoseconds of CLOCK_MONOTONIC. */
#pragma once

#include <sys/types.h>

#include "cgroup/notice.h"
#include "reclaimctl.h"

/* What an event is about; one of pressure has the level of its trigger. */
enum {
	EVENT_SIGNAL = RING_CRITICAL + 1,
	EVENT_PROCESS, /* it has ended, which the next look at all of them finds */
	EVENT_CGROUP,  /* whose id is in the upper half */
};

/* A cgroup with a limit of memory that a watched process counts against. */
struct watched_cgroup {
	struct watched_cgroup *next;
	struct watched_cgroup *above; /* the next one upwards that has a limit */
	dev_t dev;
	ino_t ino;
	uint32_t id;
	int directory;
	uint64_t limit; /* that the notices are for */
	struct cgroup_notice notice;
	bool used;
};

/* A process that has a ring, or is to be watched whatever it has. */
struct watched {
	struct watched *next;
	struct target target;
	struct ring_found ring;        /* its fd is -1 while it has none */
	struct watched_cgroup *cgroup; /* the innermost with a limit, or NULL */
	enum preference preference;
	bool named, gone; /* by the user; to be dropped */
	unsigned int failures;
	unsigned int late;   /* times in a row that something took too long */
	uint64_t retry_ns;   /* not before */
	uint64_t stopped_ns; /* since when; 0: it runs */
	uint64_t refused_ns; /* the stop of which it was told that nothing can be done then */
	uint64_t sampled_ns; /* by us; 0: never */
	struct {
		uint64_t tail, bytes_in, entries_in;
	} used; /* what the program had written then */
	struct {
		uint64_t samples, sampled_ns, weighted, minimum;
	} dry;                     /* --dry-run: what the sample would have left in the ring */
	struct ring_decision told; /* --dry-run: what was said last */
};

/* Processes without a ring that were looked at already, by pid. */
struct known {
	pid_t pid;
	uint64_t starttime;
	uint64_t step_ns, next_ns; /* between looks; the next one */
};

struct known_vec {
	struct known *items;
	size_t count, capacity;
};

struct watcher {
	struct run *run;
	const struct watch_options *options;
	struct watched *all;
	struct watched_cgroup *cgroups;
	uint32_t cgroup_id; /* of the latest */
	uint64_t soon_ns;   /* how soon cgroups want another look; UINT64_MAX: whenever */
	struct known_vec known;
	uint64_t scan_ns; /* the next walk over all processes */
	int epoll, signals;
	int triggers[RING_CRITICAL + 1]; /* pressure files, or -1 */
	struct ring_pressure pressure;
	enum ring_level level;
	bool pressed; /* a notice has come since the last look */
	bool ending;
	struct {
		uint64_t processes, samples, reclaims, entries, bytes, errors;
	} sums;
};

/* Runs until a signal, or until the last process that was named is gone. Returns an exit code. */
int watch_run(struct run *run, const struct watch_options *options);

/* Wakes watch for `events` of a descriptor, unless it is negative; `what`: an event's. */
void watch_poll(const struct watcher *w, int fd, uint32_t events, uint32_t what);

/* Takes the record; output that nobody reads any more ends it all. */
void watch_emit(struct watcher *w, json_t *record);

/* A record of type "process": what became of it. */
void watch_emit_event(struct watcher *w, const struct target *target, const char *event);

/* Something failed while the rest goes on. */
void watch_failed(struct watcher *w, const struct target *target, const char *op, const struct error *error);

/* Takes target and ring, both of which are none afterwards. Returns 0 or -ENOMEM. */
int watch_add(struct watcher *w, struct target *target, struct ring_found *ring, bool named);

/* watch_find.c: rings that have appeared since it was called last, when it is time to look. */
void watch_find(struct watcher *w, uint64_t now_ns);

/* watch_ring.c: one look at one process, and what has to be done. */
void watch_tend(struct watcher *w, struct watched *m, uint64_t now_ns);

/* Takes so many bytes out of its ring, since that little is left to the limit of a cgroup. */
void watch_relieve(struct watcher *w, struct watched *m, const struct cgroup_memory *memory, uint64_t bytes);

/* watch_cgroup.c: finds the limits that a process counts against, asks for notices, and tells the nearest one. */
void watch_join(struct watcher *w, struct watched *m, struct cgroup_memory *nearest);

/* A notice of the cgroup with this id has come: its rings give way, the largest first. False: it is gone. */
bool watch_noticed(struct watcher *w, uint32_t id);

/* How long a limit may be left without a look. */
uint64_t watch_revisit_ns(const struct watcher *w, const struct cgroup_memory *memory);

/* Forgets cgroups that no process counts against any more. */
void watch_leave_unused(struct watcher *w);

/* The level goes back to normal: nobody is there to lower it later. */
void watch_leave(struct watcher *w, struct watched *m);
