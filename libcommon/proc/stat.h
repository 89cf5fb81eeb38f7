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
	int processor; /* on which it ran last; -1: not known */
};

/* Returns 0, or -errno (-ESRCH: no such process). */
int proc_stat_read(pid_t pid, struct proc_stat *stat);

/* The same of one thread; costs less than a scan of all of them. */
int proc_stat_read_thread(pid_t pid, pid_t tid, struct proc_stat *stat);

/* A thread that the kernel made for itself: it has no memory of its own. */
bool proc_stat_is_kernel_thread(const struct proc_stat *stat);

/* It has ended, or is on its way out of the kernel for good. */
bool proc_stat_is_exiting(const struct proc_stat *stat);

/* A thread that the kernel made, of itself or in a program (io_uring, vhost): no program's code runs on it. */
bool proc_stat_is_kernel_worker(const struct proc_stat *stat);

/* How long ago it was started. */
uint64_t proc_stat_age_us(const struct proc_stat *stat);

/* What number a process or thread has for itself, in the innermost pid namespace; 0: no such one. */
pid_t proc_innermost_pid(pid_t pid);

/*
 * The same from the text of a status file, 0 when it does not tell; *depth is how many namespaces it is in.
 * proc_pid_status(5), NSpid.
 */
pid_t proc_status_innermost(const char *text, unsigned int *depth);

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

/* Opens /proc/PID/<name>. Returns a descriptor, close-on-exec, or -errno (-ESRCH: no such process or file). */
int proc_open(pid_t pid, const char *name, int flags);

/* The whole of /proc/PID/<name>, cut to size - 1 bytes and terminated. Returns its length or -errno. */
ssize_t proc_file_read(pid_t pid, const char *name, char *text, size_t size);

/* The same of /proc/PID/task/TID/<name>: a thread of that process and of no other one. */
ssize_t proc_thread_read(pid_t pid, pid_t tid, const char *name, char *text, size_t size);

#define PROC_NAME 32 /* enough for what a process or a thread of the kernel is called */

/* What a process or thread calls itself, without a newline. Returns its length or -errno, and an empty name. */
ssize_t proc_name_read(pid_t pid, char name[PROC_NAME]);

/* A number out of /proc/PID/status. Returns 0, -ENOENT where this kernel shows none, or -errno (-ESRCH). */
int proc_status_read(pid_t pid, const char *field, int base, uint64_t *number);

struct place {
	pid_t tid;
	int call; /* number of the system call that it is in, -1: none */
	uint64_t ip, sp;
};

/*
 * Where a thread of a process stands that does not run: /proc/PID/task/TID/syscall. Returns 0, -EAGAIN when it runs, or
 * -ESRCH.
 */
int proc_place_read(pid_t pid, pid_t tid, struct place *place);
