/* swapctl auto: which processes a cgroup holds, and the kernel's account of waiting for memory. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#include "auto.h"
#include "base/cleanup.h"
#include "base/size.h"

#define DEPTH_MAX 32

int auto_cgroup_open(const char *path, struct error *error)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;

	if (fd < 0)
		return error_set(error, errno == ENOTDIR || errno == ENOENT ? -EINVAL : -errno,
				 "there is no such folder", "name one below the mount point of cgroup2, see mount",
				 "look after the cgroup %s", path);
	if (fstatfs(fd, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
		return error_set(error, -EINVAL, "it is no folder of cgroup version 2",
				 "name one below the mount point of cgroup2, see mount", "look after the cgroup %s",
				 path);
	return steal_fd(&fd);
}

/* A threaded cgroup has no processes of its own to tell of (EOPNOTSUPP): those above it have them. */
static int pids_of(int folder, auto_pid_fn callback, void *context)
{
	int fd = openat(folder, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	_cleanup_fclose_ FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	int pid;

	if (!file)
		return -ENODEV;
	while (fscanf(file, "%d", &pid) == 1)
		if (pid > 0)
			callback(context, pid);
	return 0;
}

static int pids_below(int folder, auto_pid_fn callback, void *context, unsigned int depth)
{
	int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	int rc = dir ? pids_of(folder, callback, context) : -ENODEV;

	for (struct dirent *entry; rc == 0 && depth < DEPTH_MAX && (entry = readdir(dir));) {
		_cleanup_close_ int below = -1;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		below = openat(folder, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (below >= 0)
			pids_below(below, callback, context, depth + 1); /* gone by now is no matter */
	}
	return rc;
}

int auto_cgroup_pids(int cgroup, auto_pid_fn callback, void *context)
{
	return pids_below(cgroup, callback, context, 0);
}

int auto_pressure_open(int cgroup, const char *trigger, struct error *error)
{
	const char *path = cgroup >= 0 ? "memory.pressure" : "/proc/pressure/memory";
	_cleanup_close_ int fd =
		openat(cgroup >= 0 ? cgroup : AT_FDCWD, path, (*trigger ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return error_set(error, errno == ENOENT ? -EOPNOTSUPP : -errno,
				 errno == ENOENT ? "this kernel does not account for pressure" : NULL,
				 "boot with psi=1", "open %s", path);
	if (*trigger && write(fd, trigger, strlen(trigger) + 1) < 0)
		return error_set(error, -errno, NULL,
				 errno == EINVAL ? "without CAP_SYS_RESOURCE the window is a multiple of 2s" : NULL,
				 "set the trigger \"%s\" in %s", trigger, path);
	return steal_fd(&fd);
}

uint64_t auto_pressure_read(int pressure)
{
	char text[256];
	ssize_t n = pread(pressure, text, sizeof(text) - 1, 0);
	const char *total;

	text[n > 0 ? n : 0] = '\0';
	total = strstr(text, "total=");
	return total ? strtoull(total + strlen("total="), NULL, 10) : 0;
}

/* "150ms", "1s", "500us". Returns microseconds, 0 when it is none of these. */
static uint64_t time_parse(const char *text, size_t length)
{
	static const struct {
		const char *unit;
		uint64_t us;
	} units[] = {{"us", 1}, {"ms", 1000}, {"s", 1000000}};
	size_t digits = strspn(text, "0123456789");
	char number[16];
	int64_t value;

	if (!digits || digits >= sizeof(number) || digits >= length)
		return 0;
	snprintf(number, sizeof(number), "%.*s", (int)digits, text);
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (length - digits == strlen(units[i].unit) &&
		    strncmp(text + digits, units[i].unit, length - digits) == 0)
			return number_parse(number, 0, 1000000000, &value) == 0 ? (uint64_t)value * units[i].us : 0;
	return 0;
}

int auto_trigger_parse(const char *text, char trigger[64])
{
	const char *colon = strchr(text, ':');
	const char *slash = strchr(text, '/');
	uint64_t stall;
	uint64_t window;

	if (!colon || !slash || slash < colon)
		return -EINVAL;
	if (strncmp(text, "some:", 5) != 0 && strncmp(text, "full:", 5) != 0)
		return -EINVAL;
	stall = time_parse(colon + 1, (size_t)(slash - colon - 1));
	window = time_parse(slash + 1, strlen(slash + 1));
	/* The bounds are the kernel's (Documentation/accounting/psi.rst). */
	if (!stall || stall > window || window < 500000 || window > 10000000)
		return -EINVAL;
	snprintf(trigger, 64, "%.4s %" PRIu64 " %" PRIu64, text, stall, window);
	return 0;
}
