/* SPDX-License-Identifier: MIT */
/*
 * The process in the memory of the target that has the userfaultfd open, too: when all our other processes are killed,
 * waiting threads go on waiting, and find no zeros.
 */
#include <errno.h>
#include <unistd.h>

#include "base/size.h"
#include "lazymap/live_parts.h"
#include "puppet/fd.h"
#include "uffd/uffd.h"

#define AGAIN_US 1000000 /* between tries to make another one */

int live_puppet_make(struct live *live, struct inject *program, struct error *error)
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

int live_puppet_end(struct live *live, struct inject *program, struct error *error)
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

	if (now_us() - live->puppet_us < AGAIN_US)
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

pid_t live_puppet(const struct live *live)
{
	return live->shared->puppet.pid;
}
