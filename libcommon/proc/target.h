/* SPDX-License-Identifier: MIT */
/* A target: a live process held by pidfd and start time, so that a reused pid is never taken for it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "report/error.h"

struct target {
	pid_t pid;
	int pidfd;
	uint64_t starttime; /* field 22 of /proc/PID/stat, in clock ticks since boot */
	char name[16];      /* comm; may hold any byte but NUL */
};

/*
 * The names of our processes that have no memory of their own: they stand in that of the process they serve. Of a
 * swapctl session, of an object of addrspace cache, of uffd-move, and of addrspace for as long as it maps a file.
 */
#define TARGET_PUPPET       "uvm-puppet"
#define TARGET_CACHE_PUPPET "uvm-cache"
#define TARGET_MOVE_PUPPET  "uvm-move"
#define TARGET_MAP_PUPPET   "uvm-map"

/* All fields as "no target". */
#define TARGET_NONE ((struct target){.pidfd = -1})

/*
 * Opens a target by pid, or by an inherited pidfd when pidfd >= 0 (which is duplicated; pid is then read from
 * /proc/self/fdinfo). A process whose main thread has ended while others run on is a target as any other. Errors, with
 * `error` filled: -ESRCH no such process (or a zombie, or one that is being ended), -EINVAL a thread that is not a
 * group leader or a pidfd that is none, -EPERM. On success the caller owns the target: target_close.
 */
int target_open(struct target *target, pid_t pid, int pidfd, struct error *error);
void target_close(struct target *target);

/* Whether a process has one of those names (proc_pid_comm(5)): it is no program. */
bool target_is_puppet(pid_t pid);

/* True while the process exists and is not a zombie (poll on the pidfd). */
bool target_alive(const struct target *target);

/* Whether it has ended, or does so within so many milliseconds. */
bool target_ends(const struct target *target, int ms);

/*
 * Whether the process that had this pid and start time in this pid namespace has ended: no process has the pid, another
 * one has, or it is a zombie without threads. False when that cannot be found out (no descriptor is left, /proc is of
 * another namespace): what is done with the answer may not be done to a live process.
 */
bool target_gone(pid_t pid, uint64_t starttime);

/* Compares with what a record says. pid or starttime 0 is "not said". Returns 0, or -ESTALE with `error` filled. */
int target_matches(const struct target *target, pid_t pid, uint64_t starttime, struct error *error);

/*
 * Refuses, with a reason and a cure, processes that nothing here may be done to: a kernel thread (-EINVAL), this
 * process itself (-EINVAL), a puppet (-EINVAL), an address space that is not this program's architecture and word size
 * (-EINVAL; ELF class and machine of /proc/PID/exe), one that is being traced (-EBUSY; names the tracer and its pid; a
 * tool of this project is waited for, for two seconds), seccomp strict mode (-EPERM). Returns 0 when it may be touched.
 * Reading only; does not prove that ptrace will be permitted.
 */
int target_check(const struct target *target, struct error *error);

/* The same for inspection only: processes that are traced, or in seccomp strict mode, are not refused. */
int target_check_readable(const struct target *target, struct error *error);

/*
 * A thread that stands for the process where the kernel asks for one: the main thread or, when that has ended, another
 * one that has not. The memory and the descriptors of a main thread that has ended are gone for a caller that asks by
 * its number (kernel/exit.c, exit_mm and exit_files). Threads of our agents are left out, for they have descriptors of
 * their own. Returns the main thread when there is no other one.
 */
pid_t target_thread(const struct target *target);

/*
 * Opens /proc/PID/<name> of this very process (checked by the pidfd after opening), as target_thread shows it. Returns
 * a descriptor, or -errno (-ESRCH when gone).
 */
int target_proc_open(const struct target *target, const char *name, int flags);

/* The whole of such a file, cut to size - 1 bytes and terminated. Returns its length, or -errno and an empty text. */
ssize_t target_file_read(const struct target *target, const char *name, char *text, size_t size);

/*
 * One numeric field of /proc/PID/status ("TracerPid", "Seccomp"). Returns 0; *value stays with -ENOENT, -ESRCH,
 * -EACCES.
 */
int target_status(const struct target *target, const char *field, uint64_t *value);

/* The same for one in kB ("VmRSS"), in bytes. */
int target_status_bytes(const struct target *target, const char *field, uint64_t *bytes);

#define _cleanup_target_ __attribute__((cleanup(target_close)))
