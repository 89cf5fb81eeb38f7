/* SPDX-License-Identifier: MIT */
/* Making clones, keeping them, and removing them whatever happens to us. */
#include "clone/clone.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/pidfd.h"
#include "base/size.h"
#include "proc/maps.h"
#include "proc/stat.h"

#define END_MS      10000 /* for a killed process to end: its memory may take a while */
#define GUARD_TRIES 200
#define GUARD_US    50000

void process_clone_measure(struct process_clone *clone, const struct target *original)
{
	_cleanup_regions_ struct region_vec kept = {0};

	target_status_bytes(&clone->target, "VmSize", &clone->bytes);
	target_status_bytes(&clone->target, "VmRSS", &clone->resident_bytes);
	if (kept_from_children(original, &kept) == 0)
		for (size_t i = 0; i < kept.count; i++)
			clone->left_out_bytes += region_bytes(kept.items[i]);
	clone->left_out_bytes -= min_u64(clone->left_out_bytes, clone->kept.bytes);
}

/* Where all threads of the original stand still. */
struct still {
	struct process_clone *clone;
	const struct target *original;
	const struct inject *inject;
};

static void keep_unforked(void *context)
{
	const struct still *still = context;

	kept_take(&still->clone->kept, still->original, still->inject->area);
}

int process_clone_make(struct process_clone *clone, const struct target *original, bool for_core, struct error *error)
{
	uint64_t begun = now_us();
	struct inject inject;
	struct still still = {clone, original, &inject};
	const struct inject_copy_still request = {keep_unforked, &still};
	int rc = inject_open(&inject, original, error);

	*clone = PROCESS_CLONE_NONE;
	if (rc < 0)
		return rc;
	rc = inject_copy_make(&inject, &clone->copy, for_core ? &request : NULL, error);
	inject_close(&inject);
	if (rc < 0) {
		kept_free(&clone->kept);
		return rc;
	}
	clone->time_us = now_us() - begun;
	rc = target_open(&clone->target, clone->copy.pid, -1, error);
	if (rc < 0) {
		kill(clone->copy.pid, SIGKILL);
		inject_copy_free(&clone->copy);
		kept_free(&clone->kept);
		return rc;
	}
	clone->there = proc_innermost_pid(clone->target.pid);
	return 0;
}

int process_clone_park(struct process_clone *clone, const struct target *original, struct error *error)
{
	_cleanup_close_ int fd = target_proc_open(&clone->target, "oom_score_adj", O_WRONLY);
	char name[32];
	int rc;

	if (fd >= 0)
		dprintf(fd, "1000");
	snprintf(name, sizeof(name), "clone of %s", original->name);
	rc = inject_copy_park(&clone->copy, name);
	if (rc < 0)
		return error_set(error, rc,
				 rc == -ESRCH ? "it has ended; does a seccomp filter not let it wait?" : NULL, NULL,
				 "keep the clone %d", clone->target.pid);
	return 0;
}

static bool wait_for_end(const struct target *target, int timeout_ms)
{
	uint64_t deadline = now_us() + (uint64_t)timeout_ms * 1000;

	while (!target_ends(target, 10)) {
		waitpid(target->pid, NULL, __WALL | WNOHANG); /* should we be its tracer */
		if (now_us() > deadline)
			return false;
	}
	waitpid(target->pid, NULL, __WALL | WNOHANG);
	return true;
}

int process_clone_kill(const struct target *clone, const struct target *original, pid_t there, struct error *error)
{
	int rc = pidfd_signal(clone->pidfd, SIGKILL);

	if (rc < 0 && rc != -ESRCH)
		return error_set(error, rc, NULL, "run it as the one who made it", "end the clone %d", clone->pid);
	if (!wait_for_end(clone, END_MS))
		return error_set(error, -ETIMEDOUT, "it does not end", "see the State line in /proc/PID/status",
				 "end the clone %d", clone->pid);
	if (!original || !target_alive(original))
		return 0;
	return inject_copy_reap(original, there, error);
}

/* In the process that guards: nothing of what the other one had open, but for two descriptors. */
static void guard_clone(const struct process_clone *clone, const struct target *original, int watched)
{
	struct error ignored;
	char byte;
	ssize_t got;

	setsid();
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		close(fd);
	for (int signal = 1; signal < SIGRTMIN; signal++)
		if (signal != SIGCHLD)
			sigaction(signal, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
	do
		got = read(watched, &byte, 1);
	while (got < 0 && errno == EINTR);
	/* Another tool may be at work on the original just now. */
	for (int tries = 0; got == 0 && tries < GUARD_TRIES; tries++) {
		if (process_clone_kill(&clone->target, clone->copy.child ? original : NULL, clone->there, &ignored) ==
		    0)
			break;
		usleep(GUARD_US);
	}
	_exit(0);
}

int process_clone_guard(struct process_clone *clone, const struct target *original, struct error *error)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_set(error, -errno, NULL, NULL, "guard the clone %d", clone->target.pid);
	clone->guard = fork();
	if (clone->guard == 0) {
		close(ends[1]);
		guard_clone(clone, original, ends[0]);
	}
	close(ends[0]);
	clone->guard_fd = ends[1];
	if (clone->guard > 0)
		return 0;
	clone->guard = 0;
	return error_set(error, -errno, NULL, NULL, "guard the clone %d", clone->target.pid);
}

int process_clone_remove(struct process_clone *clone, const struct target *original, struct error *error)
{
	return process_clone_kill(&clone->target, clone->copy.child ? original : NULL, clone->there, error);
}

void process_clone_close(struct process_clone *clone)
{
	if (clone->guard > 0) {
		if (write(clone->guard_fd, "", 1) == 1)
			waitpid(clone->guard, NULL, 0);
	}
	cleanup_close(&clone->guard_fd);
	inject_copy_free(&clone->copy);
	kept_free(&clone->kept);
	target_close(&clone->target);
	*clone = PROCESS_CLONE_NONE;
}
