/* SPDX-License-Identifier: MIT */
/* cgroups: notices that a limit of memory is near. */
#include "cgroup/notice.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "proc/pressure.h"

#define STEPS   4                  /* thresholds, from the margin down */
#define TRIGGER "some 1000 500000" /* the shortest window that there is */

/* The eventfd ends the registration when it is closed. */
static int register_notice(int directory, int event, const char *file, const char *argument)
{
	_cleanup_close_ int control = openat(directory, "cgroup.event_control", O_WRONLY | O_CLOEXEC);
	_cleanup_close_ int of = openat(directory, file, O_RDONLY | O_CLOEXEC);
	char line[64];
	int length = snprintf(line, sizeof(line), "%d %d %s", event, of, argument);

	if (control < 0 || of < 0)
		return -errno;
	return write(control, line, (size_t)length) == length ? 0 : -errno;
}

static int open_older(struct cgroup_notice *notice, int directory, uint64_t limit, uint64_t margin)
{
	int rc = 0;

	notice->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (notice->event < 0)
		return -errno;
	for (unsigned int i = STEPS; i > 0 && rc == 0; i--) {
		char threshold[32];

		snprintf(threshold, sizeof(threshold), "%" PRIu64, limit - margin / STEPS * i);
		rc = register_notice(directory, notice->event, "memory.usage_in_bytes", threshold);
	}
	/* Usage counts page cache, which may keep it above all thresholds; then the kernel reclaims that. */
	if (rc == 0)
		register_notice(directory, notice->event, "memory.pressure_level", "low");
	return rc;
}

static int open_newer(struct cgroup_notice *notice, int directory)
{
	struct error ignored = {0};

	notice->events = openat(directory, "memory.events", O_RDONLY | O_CLOEXEC);
	notice->pressure = pressure_open(directory, TRIGGER, &ignored);
	cgroup_notice_clear(notice);
	return notice->events >= 0 || notice->pressure >= 0 ? 0 : -EOPNOTSUPP;
}

int cgroup_notice_open(struct cgroup_notice *notice, int directory, uint64_t limit, uint64_t margin)
{
	*notice = CGROUP_NOTICE_NONE;
	if (faccessat(directory, "cgroup.event_control", F_OK, 0) < 0)
		return open_newer(notice, directory);
	if (open_older(notice, directory, limit, min_u64(margin, limit)) == 0)
		return 0;
	cgroup_notice_close(notice);
	return -EOPNOTSUPP;
}

void cgroup_notice_clear(const struct cgroup_notice *notice)
{
	char text[512];
	ssize_t n = notice->event >= 0 ? read(notice->event, text, sizeof(text)) : 0;

	if (n >= 0 && notice->events >= 0)
		n = pread(notice->events, text, sizeof(text), 0);
	(void)n;
}

void cgroup_notice_close(struct cgroup_notice *notice)
{
	cleanup_close(&notice->event);
	cleanup_close(&notice->events);
	cleanup_close(&notice->pressure);
	*notice = CGROUP_NOTICE_NONE;
}
