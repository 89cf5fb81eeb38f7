/* SPDX-License-Identifier: MIT */
/* The fields of /proc/PID/stat that this room needs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct proc_stat {
	char state;         /* 'R', 'S', 'Z', … */
	unsigned int flags; /* PF_* of the kernel */
	uint64_t starttime;
};

/* Returns 0, or -errno (-ESRCH: no such process). */
int proc_stat_read(pid_t pid, struct proc_stat *stat);

/* The same of one thread; costs less than a look at all of them. */
int proc_stat_read_thread(pid_t pid, pid_t tid, struct proc_stat *stat);

/* A thread that the kernel made for itself: it has no memory of its own. */
bool proc_stat_is_kernel_thread(const struct proc_stat *stat);

/* It has ended, or is on its way out of the kernel for good. */
bool proc_stat_is_exiting(const struct proc_stat *stat);

/* A thread that the kernel made, of itself or in a program (io_uring, vhost): no program's code runs on it. */
bool proc_stat_is_kernel_worker(const struct proc_stat *stat);

/* How long ago it was started. */
uint64_t proc_stat_age_us(const struct proc_stat *stat);

/* What a process or thread calls itself: its number in the innermost pid namespace; 0: no such one. */
pid_t proc_innermost_pid(pid_t pid);

/*
 * The system call that a thread is in. Returns 1, 0 when it waits in none (in a page fault), or -errno: -EAGAIN, it
 * runs. proc_pid_syscall(5).
 */
int proc_syscall_read(pid_t tid, long *number, uint64_t arguments[6]);

/*
 * The number behind "FIELD:" in the text of /proc/PID/status; `otherwise` where this kernel shows none.
 * proc_pid_status(5).
 */
uint64_t proc_status_number(const char *text, const char *field, int base, uint64_t otherwise);

/* The whole of /proc/PID/<name>, cut to size - 1 bytes and terminated. Returns its length or -errno. */
ssize_t proc_file_read(pid_t pid, const char *name, char *text, size_t size);
