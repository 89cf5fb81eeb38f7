/* SPDX-License-Identifier: MIT */
/* Holding a thread of the process that has the ring, and letting it go. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "cgroup/cgroup.h"
#include "reclaim/reclaim_parts.h"

bool reclaimer_traced_for_now(int rc, uint64_t deadline)
{
	if (rc != -EBUSY || now_us() > deadline)
		return false;
	usleep(1000);
	return true;
}

static int begin_patiently(struct reclaimer *reclaimer, struct error *error)
{
	uint64_t deadline = now_us() + RECLAIM_TRACER_US;
	int rc;

	do
		rc = inject_begin(&reclaimer->inject, error);
	while (reclaimer_traced_for_now(rc, deadline));
	if (rc == 0)
		error->code = 0;
	return rc;
}

int reclaimer_hold(struct reclaimer *reclaimer, struct error *error)
{
	int rc = reclaimer->access == ACCESS_AGENT ? 0 : begin_patiently(reclaimer, error);

	if (rc < 0)
		return rc;
	reclaimer->maps_fd = target_proc_open(reclaimer->target, "maps", O_RDONLY);
	rc = reclaimer->maps_fd < 0 ? reclaimer->maps_fd : ring_is_mapped(&reclaimer->ring, reclaimer->maps_fd);
	if (rc == 0)
		return 0;
	reclaimer_let_go(reclaimer);
	return error_set(error, rc == -ENOENT ? -ESTALE : rc, rc == -ENOENT ? "its ring is not mapped any more" : NULL,
			 NULL, "reclaim in process %d", reclaimer->target->pid);
}

void reclaimer_let_go(struct reclaimer *reclaimer)
{
	cleanup_close(&reclaimer->maps_fd);
	reclaimer->maps_fd = -1;
	if (reclaimer->inject.tid)
		inject_end(&reclaimer->inject);
}

int reclaimer_frozen(const struct reclaimer *reclaimer, struct error *error)
{
	bool frozen = cgroup_is_frozen(reclaimer->target);

	return error_set(error, frozen ? -EBUSY : -ETIMEDOUT,
			 frozen ? "its cgroup is frozen, and it cannot be moved to another one for a moment"
				: "its threads do not get a processor",
			 frozen ? "thaw it: write 0 to cgroup.freeze of its cgroup" : "try again",
			 "reclaim in process %d", reclaimer->target->pid);
}
