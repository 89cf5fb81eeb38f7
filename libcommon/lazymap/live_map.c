/* SPDX-License-Identifier: MIT */
/*
 * Into the target and out of it again: a mapping that nobody can read before it is registered, and the process in the
 * memory of the target that has the userfaultfd open, too. When all our other processes are killed, waiting threads go
 * on waiting, and find no zeros.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/pidfd.h"
#include "base/size.h"
#include "inject/area.h"
#include "lazymap/live_map.h"
#include "lazymap/live_state.h"
#include "puppet/fd.h"
#include "uffd/offer.h"
#include "uffd/uffd.h"

#define FEATURES                                                                                                     \
	(UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP | \
	 UFFD_FEATURE_POISON)

#define PATIENCE_US     5000000 /* for a thread that can be stopped: the machine may be busy */
#define AGAIN_US        50000
#define PUPPET_AGAIN_US 1000000 /* between tries to make another one */

/*
 * A puppet in the program that `program` was opened for, and its userfaultfd. Returns our copy of that, or as
 * puppet_make and inject_userfaultfd, with `error` filled.
 */
static int make_puppet(struct live *live, struct inject *program, struct error *error)
{
	struct live_shared *shared = live->shared;
	struct puppet puppet = PUPPET_OF(TARGET_CACHE_PUPPET);
	int number; /* in the puppet, which keeps it for as long as it lives */
	int rc = puppet_make(&puppet, program, error);

	if (rc < 0)
		return rc;
	rc = inject_userfaultfd(&puppet.inject, true, &number, error);
	shared->puppet = puppet_record(&puppet);
	puppet_abandon(&puppet);
	return rc;
}

static bool has_puppet(const struct live_shared *shared)
{
	return shared->puppet.own;
}

/*
 * Ends it, and takes what it stood in and the control area of `program` out of the target. There is no puppet
 * afterwards, and `program` is closed. Returns 0 or -errno.
 */
static int end_puppet(struct live *live, struct inject *program, struct error *error)
{
	struct live_shared *shared = live->shared;
	struct puppet puppet = PUPPET_OF(TARGET_CACHE_PUPPET);
	int rc = 0;

	if (!has_puppet(shared)) {
		inject_close(program);
		return 0;
	}
	rc = puppet_find(&puppet, program, &shared->puppet, error);
	if (rc == 0 || rc == -ENOENT) {
		*error = (struct error){0};
		rc = puppet_end(&puppet, program, error);
	}
	puppet_abandon(&puppet);
	if (rc < 0) {
		inject_close(program);
		return rc;
	}
	inject_abandon(program);
	shared->puppet = (struct puppet_record){0};
	return 0;
}

/* `puppet` was killed. */
static void replace_puppet(struct live *live, struct puppet *puppet)
{
	struct live_shared *shared = live->shared;
	struct inject program = INJECT_NONE;
	struct error ignored = {0};

	if (now_us() - live->puppet_us < PUPPET_AGAIN_US)
		return;
	live->puppet_us = now_us();
	if (inject_open(&program, live->target, &ignored) < 0)
		return;
	if (puppet_replace(puppet, &program, &ignored) == 0) {
		shared->puppet = puppet_record(puppet);
		if (inject_begin(&puppet->inject, &ignored) == 0) {
			inject_fd_keep(&puppet->inject, live_table(live)->uffd[0]);
			inject_end(&puppet->inject);
		}
	}
	inject_close(&program);
}

void live_puppet_inspect(struct live *live)
{
	struct puppet puppet = PUPPET_OF(TARGET_CACHE_PUPPET);
	int uffd = live_table(live)->uffd[0];
	int rc;

	if (!has_puppet(live->shared))
		return;
	rc = puppet_open(&puppet, &live->shared->puppet);
	if (rc == 0 && !puppet_shares(&puppet, live->target)) {
		puppet_kill(&puppet);
		live->shared->puppet = (struct puppet_record){0};
	} else if (rc == -ENOENT && uffd >= 0 && uffd_alive(uffd) && target_alive(live->target)) {
		replace_puppet(live, &puppet);
	}
	puppet_abandon(&puppet);
}

/*
 * Nobody can read it, and a program that locks its memory has not filled it. On the stopped thread. Returns the address
 * or a negative errno.
 */
static int64_t reserve_region(struct inject *inject, uint64_t address, uint64_t bytes)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (address ? MAP_FIXED_NOREPLACE : 0);
	int64_t at = inject_call(inject, SYS_mmap, address, bytes, PROT_NONE, (uint64_t)flags, (uint64_t)-1, 0);

	if (inject_failed(at))
		return at;
	if (address && (uint64_t)at != address) { /* before Linux 4.17 the address is a hint */
		inject_unmap(inject, region_at((uint64_t)at, bytes));
		return -EEXIST;
	}
	inject_call(inject, SYS_munlock, (uint64_t)at, bytes, 0, 0, 0, 0);
	return at;
}

static int reserve_there(struct live *live, struct inject *inject, struct error *error)
{
	uint64_t bytes = round_up(source_bytes(live->source), page_size());
	char text[ADDRESS_TEXT];
	int64_t at = inject_begin(inject, error);

	if (at < 0)
		return (int)at;
	at = reserve_region(inject, live->options->address, bytes);
	inject_end(inject);
	if (inject_failed(at))
		return error_set(error, (int)at, at == -EEXIST ? "something is mapped there" : NULL,
				 at == -ENOMEM   ? "its address space or mapping count is at a limit"
				 : at == -EEXIST ? "choose another address, or none"
						 : NULL,
				 "map %llu bytes at %s in process %d", (unsigned long long)bytes,
				 live->options->address ? address_format(text, live->options->address) : "any address",
				 live->target->pid);
	live->region = region_at((uint64_t)at, bytes);
	return 0;
}

/* Registered, it may be inspected. */
static int open_there(struct live *live, struct inject *inject, struct error *error)
{
	int protection = PROT_READ | (live->options->writable ? PROT_WRITE : 0);
	uint64_t bytes = region_bytes(live->region);
	int64_t rc = inject_begin(inject, error);

	if (rc < 0)
		return (int)rc;
	rc = inject_call3(inject, SYS_mprotect, live->region.start, bytes, (uint64_t)protection);
	if (rc == 0)
		inject_name(inject, live->region, "uvm-cache");
	inject_end(inject);
	return rc < 0 ? error_set(error, (int)rc, NULL, NULL, "open the mapping in process %d", live->target->pid) : 0;
}

/* Whether no thread could be stopped, but may be at another try: after a pause. */
static bool may_stop_later(int rc, uint64_t since_us)
{
	if (rc != -ETIMEDOUT || now_us() - since_us > PATIENCE_US)
		return false;
	usleep(AGAIN_US);
	return true;
}

static int begin_patiently(struct inject *inject, struct error *error)
{
	uint64_t since = now_us();
	int rc;

	do
		rc = inject_begin(inject, error);
	while (may_stop_later(rc, since));
	return rc;
}

static void unmap_there(struct live *live, struct inject *inject)
{
	struct error ignored = {0};

	if (live->region.end && begin_patiently(inject, &ignored) == 0) {
		inject_unmap(inject, live->region);
		inject_end(inject);
	}
	end_puppet(live, inject, &ignored);
}

static int enter_target(struct live *live, struct inject *inject, struct error *error)
{
	int uffd;
	int rc = reserve_there(live, inject, error);

	if (rc < 0)
		return rc;
	uffd = make_puppet(live, inject, error);
	if (uffd < 0)
		return uffd;
	live_table_init(&live->shared->tables[0], uffd, live->region);
	rc = uffd_enable(uffd, FEATURES, error);
	if (rc < 0)
		return rc;
	rc = uffd_register_missing(uffd, live->region);
	if (rc < 0)
		return error_set(error, rc, NULL, NULL, "register the mapping in process %d", live->target->pid);
	return open_there(live, inject, error);
}

static struct live *make_live(const struct target *target, struct source *source, const struct live_options *options)
{
	struct live *live = calloc(1, sizeof(*live));
	void *shared;

	if (!live)
		return NULL;
	shared = mmap(NULL, sizeof(*live->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	*live = (struct live){
		.target = target,
		.source = source,
		.options = options,
		.shared = shared == MAP_FAILED ? NULL : shared,
		.wake_worker = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.watcher.channel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.watcher.pidfd = -1,
		.watcher_pidfd = pidfd_of(getpid()),
	};
	if (!live->shared || live->wake_worker < 0 || live->watcher.channel < 0 || live->watcher_pidfd < 0) {
		live_free(live);
		return NULL;
	}
	for (unsigned int i = 0; i < LIVE_SPACES; i++)
		live->shared->tables[0].uffd[i] = -1;
	return live;
}

static int map_once(struct live **made, const struct target *target, struct source *source,
		    const struct live_options *options, struct error *error)
{
	struct inject inject = INJECT_NONE;
	struct live *live;
	int rc = inject_open(&inject, target, error);

	if (rc < 0)
		return rc;
	live = make_live(target, source, options);
	rc = live ? enter_target(live, &inject, error)
		  : error_set(error, -ENOMEM, NULL, NULL, "map the object in process %d", target->pid);
	if (rc < 0 && live) {
		unmap_there(live, &inject);
		live_free(live);
	} else {
		inject_close(&inject);
	}
	*made = rc < 0 ? NULL : live;
	return rc;
}

int live_map(struct live **made, const struct target *target, struct source *source, const struct live_options *options,
	     struct error *error)
{
	uint64_t since = now_us();
	int rc;

	do
		rc = map_once(made, target, source, options, error);
	while (may_stop_later(rc, since));
	return rc;
}

void live_abandon(struct live *live)
{
	struct inject inject = INJECT_NONE;
	struct error ignored = {0};

	if (inject_open(&inject, live->target, &ignored) < 0)
		return;
	unmap_there(live, &inject);
}

static void unmap_pieces(struct live *live, struct inject *inject)
{
	_cleanup_free_ struct live_table *now = malloc(sizeof(*now));

	if (now)
		*now = *live_table(live); /* it changes with each of them */
	for (uint32_t i = 0; now && i < now->count; i++)
		if (now->pieces[i].space == 0)
			inject_unmap(inject, now->pieces[i].region);
}

int live_leave(struct live *live, bool unmap, struct error *error)
{
	struct inject inject = INJECT_NONE;
	uint64_t since = now_us();
	int rc;

	if (live_table(live)->uffd[0] < 0)
		return 0; /* it is gone */
	do
		rc = inject_open(&inject, live->target, error);
	while (may_stop_later(rc, since));
	if (rc == 0 && unmap)
		rc = begin_patiently(&inject, error);
	if (rc == 0 && unmap) {
		unmap_pieces(live, &inject);
		inject_end(&inject);
	}
	if (rc == 0)
		rc = end_puppet(live, &inject, error);
	else if (inject.stop)
		inject_close(&inject);
	return rc == -ESRCH ? 0 : rc;
}

struct region live_region(const struct live *live)
{
	return live->region;
}

void live_free(struct live *live)
{
	if (!live)
		return;
	for (unsigned int i = 0; live->shared && i < LIVE_SPACES; i++)
		if (live_table(live)->uffd[i] >= 0)
			close(live_table(live)->uffd[i]);
	if (live->shared)
		munmap(live->shared, sizeof(*live->shared));
	cleanup_close(&live->wake_worker);
	cleanup_close(&live->watcher.channel);
	cleanup_close(&live->watcher.pidfd);
	cleanup_close(&live->watcher_pidfd);
	free(live->durable.numbers);
	free(live);
}

pid_t live_puppet(const struct live *live)
{
	return live->shared->puppet.pid;
}
