/*
 * The process in the memory of the target that has the userfaultfd open, too: when all others of ours are killed, those
 * who wait go on waiting, and find no zeros.
 */
#include <errno.h>
#include <unistd.h>

#include "base/size.h"
#include "cache/live_parts.h"
#include "inject/fd.h"
#include "uffd/uffd.h"

#define AGAIN_US 1000000 /* between tries to make another one */

int live_puppet_make(struct live *live, struct inject *program, struct error *error)
{
	struct live_shared *shared = live->shared;
	struct puppet puppet = PUPPET_OF(TARGET_CACHE_PUPPET);
	int rc = puppet_make(&puppet, program, error);

	if (rc < 0)
		return rc;
	rc = inject_userfaultfd(&puppet.inject, true, &shared->number, error);
	shared->puppet = puppet_record(&puppet);
	puppet_abandon(&puppet);
	return rc;
}

static bool is_there(const struct live_shared *shared)
{
	return shared->puppet.own;
}

/* To make calls on it: another one if it was killed. */
static int find(struct live_shared *shared, struct puppet *puppet, struct inject *program, struct error *error)
{
	int rc;

	*puppet = PUPPET_OF(TARGET_CACHE_PUPPET);
	rc = puppet_find(puppet, program, &shared->puppet, error);
	if (rc == -ENOENT || (rc == 0 && !puppet_stands(puppet))) {
		*error = (struct error){0};
		rc = puppet_replace(puppet, program, error);
	}
	if (rc == 0)
		shared->puppet = puppet_record(puppet);
	return rc;
}

int live_puppet_end(struct live *live, struct inject *program, struct error *error)
{
	struct puppet puppet;
	int rc = is_there(live->shared) ? find(live->shared, &puppet, program, error) : -ENOENT;

	if (rc == 0) {
		rc = puppet_end(&puppet, program, error);
		puppet_abandon(&puppet);
		if (rc == 0) {
			inject_abandon(program);
			live->shared->puppet = (struct puppet_record){0};
			return 0;
		}
	}
	inject_close(program);
	return rc == -ENOENT ? 0 : rc;
}

static void replace(struct live *live)
{
	struct inject program = INJECT_NONE;
	struct error ignored = {0};
	struct puppet puppet;

	if (now_us() - live->puppet_us < AGAIN_US)
		return;
	live->puppet_us = now_us();
	if (inject_open(&program, live->target, &ignored) < 0)
		return;
	if (find(live->shared, &puppet, &program, &ignored) == 0) {
		if (inject_begin(&puppet.inject, &ignored) == 0) {
			live->shared->number = inject_fd_keep(&puppet.inject, live_table(live)->uffd[0]);
			inject_end(&puppet.inject);
		}
		puppet_abandon(&puppet);
	}
	inject_close(&program);
}

void live_puppet_look(struct live *live)
{
	struct puppet puppet = PUPPET_OF(TARGET_CACHE_PUPPET);
	int uffd = live_table(live)->uffd[0];
	int rc;

	if (!is_there(live->shared))
		return;
	rc = puppet_open(&puppet, &live->shared->puppet);
	if (rc == 0 && !puppet_shares(&puppet, live->target)) {
		puppet_kill(&puppet);
		live->shared->puppet = (struct puppet_record){0};
	} else if (rc == -ENOENT && uffd >= 0 && uffd_alive(uffd) && target_alive(live->target)) {
		replace(live);
	}
	puppet_abandon(&puppet);
}

pid_t live_puppet(const struct live *live)
{
	return live->shared->puppet.pid;
}
