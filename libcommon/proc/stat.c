/* SPDX-License-Identifier: MIT */
/* /proc/PID/stat and other small files of /proc, read whole. */
#include "proc/stat.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/text.h"

/* include/linux/sched.h */
#define PF_EXITING     0x00000004
#define PF_IO_WORKER   0x00000010
#define PF_USER_WORKER 0x00004000
#define PF_KTHREAD     0x00200000

int proc_open(pid_t pid, const char *name, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? errno == ENOENT ? -ESRCH : -errno : fd;
}

ssize_t proc_file_read(pid_t pid, const char *name, char *text, size_t size)
{
	_cleanup_close_ int fd = proc_open(pid, name, O_RDONLY);

	return fd < 0 ? fd : fd_read_text(fd, text, size);
}

ssize_t proc_thread_read(pid_t pid, pid_t tid, const char *name, char *text, size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "task/%d/%s", tid, name);
	return proc_file_read(pid, path, text, size);
}

ssize_t proc_name_read(pid_t pid, char name[PROC_NAME])
{
	ssize_t length = proc_file_read(pid, "comm", name, PROC_NAME);

	if (length > 0 && name[length - 1] == '\n')
		length--;
	name[length > 0 ? length : 0] = '\0';
	return length;
}

int proc_status_read(pid_t pid, const char *field, int base, uint64_t *number)
{
	_cleanup_close_ int fd = proc_open(pid, "status", O_RDONLY);

	return fd < 0 ? fd : fd_find_number(fd, field, base, number);
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

static int parse_stat(const char *text, struct proc_stat *stat)
{
	/* The name stands in parentheses and may itself hold any of ") R 1". */
	const char *after = strrchr(text, ')');

	if (!after)
		return -ESRCH;
	stat->state = *stat_field(after, 3);
	stat->flags = (unsigned int)strtoul(stat_field(after, 9), NULL, 10);
	stat->starttime = strtoull(stat_field(after, 22), NULL, 10);
	stat->processor = *stat_field(after, 39) ? (int)strtol(stat_field(after, 39), NULL, 10) : -1;
	return stat->state ? 0 : -ESRCH;
}

int proc_stat_read(pid_t pid, struct proc_stat *stat)
{
	char text[1024];
	ssize_t length = proc_file_read(pid, "stat", text, sizeof(text));

	return length < 0 ? (int)length : parse_stat(text, stat);
}

int proc_stat_read_thread(pid_t pid, pid_t tid, struct proc_stat *stat)
{
	char text[1024];
	ssize_t length = proc_thread_read(pid, tid, "stat", text, sizeof(text));

	return length < 0 ? (int)length : parse_stat(text, stat);
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
	uint64_t now = clock_ns(CLOCK_BOOTTIME) / 1000;

	return now > started ? now - started : 0;
}

pid_t proc_status_innermost(const char *text, unsigned int *depth)
{
	const char *at = text_field(text, "NSpid");
	pid_t number = 0;

	for (*depth = 0; at && *at == '\t'; ++*depth) {
		char *end;

		number = (pid_t)strtol(at, &end, 10);
		at = end;
	}
	return number;
}

pid_t proc_innermost_pid(pid_t pid)
{
	char text[4096];
	unsigned int depth;
	pid_t number;

	if (proc_file_read(pid, "status", text, sizeof(text)) <= 0)
		return 0;
	number = proc_status_innermost(text, &depth);
	return depth ? number : pid;
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

int proc_place_read(pid_t pid, pid_t tid, struct place *place)
{
	char line[256];
	char *last;

	if (proc_thread_read(pid, tid, "syscall", line, sizeof(line)) <= 0)
		return -ESRCH;
	/*
	 * "running", or numbers of which the last two are the stack pointer and the program counter
	 * (proc_pid_syscall(5)).
	 */
	last = strrchr(line, ' ');
	if (!last)
		return -EAGAIN;
	*place = (struct place){.tid = tid, .call = (int)strtol(line, NULL, 10), .ip = strtoull(last, NULL, 16)};
	*last = '\0';
	last = strrchr(line, ' ');
	place->sp = last ? strtoull(last, NULL, 16) : 0;
	return 0;
}
