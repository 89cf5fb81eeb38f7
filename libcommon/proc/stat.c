/* SPDX-License-Identifier: MIT */
/* /proc/PID/stat and other small files of /proc, read whole. */
#include "proc/stat.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"

/* include/linux/sched.h */
#define PF_EXITING     0x00000004
#define PF_IO_WORKER   0x00000010
#define PF_USER_WORKER 0x00004000
#define PF_KTHREAD     0x00200000

ssize_t proc_file_read(pid_t pid, const char *name, char *text, size_t size)
{
	_cleanup_close_ int fd = -1;
	char path[64];
	size_t used = 0;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	while (used < size - 1) {
		ssize_t got = read(fd, text + used, size - 1 - used);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			break;
		used += (size_t)got;
	}
	text[used] = '\0';
	return (ssize_t)used;
}

uint64_t proc_status_number(const char *text, const char *field, int base, uint64_t otherwise)
{
	const char *value = text_field(text, field);

	return value ? strtoull(value, NULL, base) : otherwise;
}

/* The text that begins with field `number`, counted as in proc(5), given the text after the name, which is field 2. */
static const char *stat_field(const char *after_name, int number)
{
	for (int i = 2; i < number; i++) {
		after_name = strchr(after_name, ' ');
		if (!after_name)
			return "";
		after_name++;
	}
	return after_name;
}

static int read_stat(pid_t pid, const char *name, struct proc_stat *stat)
{
	char text[1024];
	ssize_t length = proc_file_read(pid, name, text, sizeof(text));
	const char *after;

	if (length < 0)
		return (int)length;
	/* The name stands in parentheses and may itself hold any of ") R 1". */
	after = strrchr(text, ')');
	if (!after)
		return -ESRCH;
	stat->state = *stat_field(after, 3);
	stat->flags = (unsigned int)strtoul(stat_field(after, 9), NULL, 10);
	stat->starttime = strtoull(stat_field(after, 22), NULL, 10);
	return stat->state ? 0 : -ESRCH;
}

int proc_stat_read(pid_t pid, struct proc_stat *stat)
{
	return read_stat(pid, "stat", stat);
}

int proc_stat_read_thread(pid_t pid, pid_t tid, struct proc_stat *stat)
{
	char name[32];

	snprintf(name, sizeof(name), "task/%d/stat", tid);
	return read_stat(pid, name, stat);
}

bool proc_stat_is_kernel_thread(const struct proc_stat *stat)
{
	return stat->flags & PF_KTHREAD;
}

bool proc_stat_is_exiting(const struct proc_stat *stat)
{
	return stat->state == 'Z' || stat->state == 'X' || stat->flags & PF_EXITING;
}

bool proc_stat_is_kernel_worker(const struct proc_stat *stat)
{
	return stat->flags & (PF_KTHREAD | PF_IO_WORKER | PF_USER_WORKER);
}

uint64_t proc_stat_age_us(const struct proc_stat *stat)
{
	uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);
	uint64_t started = stat->starttime * 1000000 / hz;
	struct timespec now;
	uint64_t now_us;

	clock_gettime(CLOCK_BOOTTIME, &now);
	now_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	return now_us > started ? now_us - started : 0;
}

/* The last word of "NSpid: …" (proc(5)). */
pid_t proc_innermost_pid(pid_t pid)
{
	char text[4096];
	char *line, *last;

	if (proc_file_read(pid, "status", text, sizeof(text)) <= 0)
		return 0;
	line = strstr(text, "\nNSpid:");
	if (!line)
		return pid;
	line[strcspn(line + 1, "\n") + 1] = '\0';
	last = strrchr(line, '\t');
	return last ? (pid_t)strtol(last, NULL, 10) : 0;
}

int proc_syscall_read(pid_t tid, long *number, uint64_t arguments[6])
{
	char text[256] = "";
	ssize_t length = proc_file_read(tid, "syscall", text, sizeof(text));

	if (length < 0)
		return (int)length;
	if (text[0] == 'r')
		return -EAGAIN;
	return sscanf(text, "%ld %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64, number,
		      &arguments[0], &arguments[1], &arguments[2], &arguments[3], &arguments[4], &arguments[5]) == 7;
}
