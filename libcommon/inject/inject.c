/* SPDX-License-Identifier: MIT */
/* Stopping a thread, keeping what it was doing, letting it go as it was. */
#include "inject/inject.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "inject/area.h"
#include "inject/choose.h"
#include "inject/restart.h"
#include "inject/stop.h"
#include "inject/thaw.h"
#include "proc/refusal.h"
#include "proc/stat.h"

#define STOP_TRIES     16
#define STOP_MS        50 /* for a thread that lingers */
#define AGAIN_US       200000
#define LOOK_US        1000
#define LOOK_ANEW      16 /* stops after which we try again whether it does */
#define RSEQ_CS_OFFSET 8  /* struct rseq, include/uapi/linux/rseq.h */

/* The state letter of a thread, or 'X' when it is gone. */
static char thread_state(pid_t tid)
{
	struct proc_stat stat;

	if (proc_stat_read(tid, &stat) < 0)
		return 'X';
	return stat.state;
}

/*
 * A thread inside a restartable sequence goes on at its abort handler: after running elsewhere the kernel has forgotten
 * the section (kernel/rseq.c). Returns 0, or -EAGAIN when that cannot be told, for a page of it is out: the thread will
 * have it back on its way out of the kernel.
 */
static int abort_rseq(struct inject *inject)
{
	struct __ptrace_rseq_configuration rseq = {0};
	struct {
		uint32_t version, flags;
		uint64_t start, length, abort;
	} section;
	struct inject_stop *stop = inject->stop;
	uint64_t ip = arch_ip(&stop->first);
	uint64_t address = 0;
	uint32_t signature = 0;

	stop->rseq = (struct region){0, 0};
	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, inject->tid, sizeof(rseq), &rseq) <= 0 || !rseq.rseq_abi_pointer)
		return 0;
	stop->rseq = region_at(rseq.rseq_abi_pointer, rseq.rseq_abi_size);
	if (inject_read(inject, rseq.rseq_abi_pointer + RSEQ_CS_OFFSET, &address, sizeof(address)) < 0)
		return -EAGAIN;
	if (!address)
		return 0;
	if (inject_read(inject, address, &section, sizeof(section)) < 0)
		return -EAGAIN;
	if (ip - section.start >= section.length)
		return 0;
	if (inject_read(inject, section.abort - sizeof(signature), &signature, sizeof(signature)) < 0)
		return -EAGAIN;
	if (signature == rseq.signature)
		arch_set_ip(&stop->first, section.abort);
	return 0;
}

struct region inject_rseq(const struct inject *inject)
{
	return inject->stop->rseq;
}

struct region inject_rseq_pages(const struct inject *inject)
{
	struct region rseq = inject->stop->rseq;

	return (struct region){round_down(rseq.start, page_size()), round_up(rseq.end, page_size())};
}

/*
 * Whether the stopped thread has the memory that the control area is in. After exec it has not, though that memory may
 * live on in processes that share it (clone(2), CLONE_VM).
 */
static bool is_in_memory(const struct inject *inject, pid_t tid)
{
	size_t bytes;
	long word = 0, there;

	if (!inject->area.end)
		return true;
	memcpy(&word, arch_trampoline(&bytes), sizeof(word));
	errno = 0;
	there = ptrace(PTRACE_PEEKDATA, tid, inject->area.start + AREA_DATA, NULL);
	return !errno && there == word;
}

/* What it was doing is none of the program's business: nothing of it is kept. */
static void keep_puppet(const struct inject *inject)
{
	arch_copy_poll(&inject->stop->first, inject->home, inject->home + page_size());
	inject->stop->sigmask = ALL_SIGNALS;
	inject->stop->rseq = (struct region){0, 0};
}

static int keep_thread(struct inject *inject, pid_t tid)
{
	restart_interrupted(tid, &inject->stop->first);
	return abort_rseq(inject);
}

/* Keeps what the thread was doing; after this it can be sent elsewhere. */
static int keep_stopped(struct inject *inject, pid_t tid)
{
	struct inject_stop *stop = inject->stop;
	unsigned char frame[ARCH_FRAME] = {0};
	int rc = arch_get_regs(tid, &stop->first);

	if (rc == 0 && inject->area.end)
		rc = inject_check_area(inject);
	if (rc == 0 && !is_in_memory(inject, tid))
		rc = -ESTALE;
	if (rc == 0 && !arch_native(&stop->first))
		rc = -ENOEXEC;
	if (rc == 0 && ptrace(PTRACE_GETSIGMASK, tid, sizeof(stop->sigmask), &stop->sigmask) < 0)
		rc = -errno;
	if (rc < 0)
		return rc;
	inject->tid = tid;
	if (inject->home)
		keep_puppet(inject);
	else
		rc = keep_thread(inject, tid);
	if (rc < 0)
		return rc;
	stop->now = stop->first;
	stop->entered = false;
	stop->moved = false;
	stop->frame = 0;
	if (inject->area.end) {
		unsigned int which = inject->home ? FRAMES - 1 : inject->frame++ % (FRAMES - 1);
		uint64_t at = inject->area.start + (uint64_t)which * ARCH_FRAME;

		stop->frame = arch_frame(frame, at, &stop->first, stop->sigmask);
		rc = inject_write(inject, stop->frame, frame + (stop->frame - at), ARCH_FRAME - (stop->frame - at));
	}
	return rc;
}

static int keep_or_let_go(struct inject *inject, pid_t tid)
{
	int rc = keep_stopped(inject, tid);

	if (rc < 0) {
		inject->tid = 0;
		stop_let_go(tid, 0);
	}
	return rc;
}

/* Tries one thread. Returns 0 with it stopped and kept, or -errno with it free (or lingering). */
static int stop_thread(struct inject *inject, pid_t tid)
{
	int rc;

	inject->stop->since_us = now_us();
	rc = inject_seize(inject, tid);
	if (rc == -ETIMEDOUT)
		inject_linger(inject, tid);
	return rc < 0 ? rc : keep_or_let_go(inject, tid);
}

/*
 * One more poll of a thread that lingers. Returns 1 when it sleeps uninterruptibly or is not ours to wait for, else as
 * stop_thread.
 */
static int stop_late(struct inject *inject, unsigned int i)
{
	pid_t tid = inject->lingering[i].tid;
	int rc;

	if (!tid || inject->lingering[i].tracer != gettid() || strchr("DX", thread_state(tid)))
		return 1;
	inject->stop->since_us = now_us();
	rc = stop_wait_interrupted(tid, STOP_MS);
	if (rc == -ETIMEDOUT)
		return rc;
	inject->lingering[i].tid = 0;
	return rc < 0 ? rc : keep_or_let_go(inject, tid);
}

/* On a machine with more work than processors: waits for one of the threads that linger. */
static int stop_starved(struct inject *inject)
{
	uint64_t deadline = now_us() + STARVED_US;
	bool hope = true;

	while (hope && now_us() < deadline) {
		hope = false;
		for (unsigned int i = 0; i < INJECT_LINGERING; i++) {
			int rc = stop_late(inject, i);

			if (rc <= 0 && rc != -ETIMEDOUT)
				return rc;
			hope |= rc == -ETIMEDOUT;
		}
	}
	return -ETIMEDOUT;
}

/* On a busy machine a thread that does not stop in time is waited for before one is taken that suits less. */
static int stop_any(struct inject *inject)
{
	struct choice choices[CHOICES];
	ssize_t count = choose_threads(inject, choices);
	int last = count < 0 ? (int)count : -ESRCH;
	int tries = 0;
	bool starved = false;

	for (ssize_t i = 0; i < count && tries < STOP_TRIES; i++) {
		if (inject_lingers(inject, choices[i].tid)) {
			last = last == -ESRCH ? -ETIMEDOUT : last;
			continue;
		}
		if (last == -ETIMEDOUT && choices[i].suits >= SUITS_IN_PART && !starved) {
			starved = true;
			if (stop_starved(inject) == 0)
				return 0;
		}
		tries++;
		last = stop_thread(inject, choices[i].tid);
		if (last == 0) {
			inject->favourite = choices[i].tid;
			return 0;
		}
		if (last == -EPERM || last == -ENOTSUP || last == -ENOEXEC || last == -EADDRINUSE)
			return last;
	}
	return last == -ETIMEDOUT ? stop_starved(inject) : last;
}

static int explain_stop(const struct inject *inject, int rc, struct error *error)
{
	static const struct error_cause causes[] = {
		{-ENOTSUP, .why = "it runs under a seccomp filter that cannot be suspended",
		 .hint = "run as root (CAP_SYS_ADMIN), outside of any seccomp filter; if it is newer than the session, "
			 "kill the session's processes and use swapctl adopt",
		 .as = -EPERM},
		{-ENOEXEC, .why = "it runs another instruction set than this program", .as = -EINVAL},
		{-EALREADY, .why = STOP_HELD, .hint = "try again", .as = -EBUSY},
		{-EAGAIN, .why = "where its threads are in restartable sequences cannot be read"},
		{-ESTALE, .why = "it runs another program now"},
		{-ETIMEDOUT, .why = "none of its threads stops (uninterruptible sleep, or a frozen cgroup)",
		 .hint = "thaw its cgroup, or try again when a thread has left state D (/proc/PID/task/*/status)"},
		{-ESRCH, .why = "it has ended"},
		{0},
	};

	if (rc == -EPERM) {
		rc = inject->home ? 0 : target_check(inject->target, error); /* a tracer, most of all */
		return rc < 0 ? rc : refusal_to_trace(inject->target, -EPERM, "stop a thread of", error);
	}
	if (rc == -EADDRINUSE)
		return error_set(error, rc, "it has mapped something over the control area", NULL,
				 "make calls in process %d", inject->target->pid);
	return error_explain(error, causes, rc, "stop a thread of process %d", inject->target->pid);
}

/* Where that cannot be done the thread will not get to its calls, as without it. */
static void thaw_process(struct inject *inject)
{
	if (inject_thaw_begin(inject, &inject->stop->thaw) == -ENOTSUP)
		inject->frozen = false;
}

/*
 * Threads of which all have to be let go again, since it cannot be told where they may go on, will have run meanwhile;
 * those that another of our tools holds, it lets go of; and those that were looked at may have ended, others not.
 */
static bool may_stop_again(struct inject *inject, int rc)
{
	if (rc == -ESRCH)
		inject->favourite = 0;
	return rc == -EAGAIN || rc == -EALREADY || (rc == -ESRCH && target_alive(inject->target));
}

static int stop_some(struct inject *inject)
{
	uint64_t begun = now_us();
	int rc;

	while (may_stop_again(inject, rc = stop_any(inject))) {
		if (now_us() - begun > (rc == -EALREADY ? STARVED_US : AGAIN_US))
			return rc;
		usleep(LOOK_US);
	}
	return rc;
}

static int begin_stop(struct inject *inject, pid_t tid)
{
	sigset_t child;
	int rc;

	inject_reap(inject);
	if (!target_alive(inject->target))
		return -ESRCH;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &child, &inject->stop->our_sigmask);
	if (!tid)
		rc = stop_some(inject);
	else
		rc = inject_lingers(inject, tid) ? -EAGAIN : stop_thread(inject, tid);
	if (rc == 0 && inject->frozen)
		thaw_process(inject);
	if (rc == 0)
		return 0;
	pthread_sigmask(SIG_SETMASK, &inject->stop->our_sigmask, NULL);
	return rc;
}

int inject_begin(struct inject *inject, struct error *error)
{
	int rc = begin_stop(inject, 0);

	return rc < 0 ? explain_stop(inject, rc, error) : 0;
}

int inject_begin_on(struct inject *inject, pid_t tid, struct error *error)
{
	int rc = begin_stop(inject, tid);

	if (rc == 0)
		return 0;
	if (rc == -ETIMEDOUT || rc == -EALREADY)
		rc = -EAGAIN;
	return explain_stop(inject, rc, error);
}

int inject_processor(const struct inject *inject)
{
	struct proc_stat stat;

	if (!inject->favourite || proc_stat_read_thread(inject->target->pid, inject->favourite, &stat) < 0)
		return -1;
	return stat.processor;
}

/* From wherever the thread stands to a fresh interrupt stop, where its first registers mean what they meant then. */
static int return_to_first(struct inject *inject)
{
	struct inject_stop *stop = inject->stop;
	pid_t tid = inject->tid;
	int rc;

	if (stop->entered)
		arch_skip(tid);
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0 || ptrace(PTRACE_CONT, tid, NULL, NULL) < 0)
		return -ESRCH;
	stop_poll(inject, tid);
	rc = stop_wait_interrupted(tid, -1);
	if (rc == 0 && ptrace(PTRACE_SETSIGMASK, tid, sizeof(stop->sigmask), &stop->sigmask) < 0)
		rc = -ESRCH;
	return rc < 0 ? rc : arch_set_regs(tid, &stop->first);
}

int inject_end(struct inject *inject)
{
	struct inject_stop *stop = inject->stop;
	pid_t tid = inject->tid;
	uint64_t kept;
	int rc = 0;

	if (!tid)
		return -ESRCH;
	rc = stop->moved ? return_to_first(inject) : arch_set_regs(tid, &stop->first);
	inject_thaw_end(steal_ptr(&inject->stop->thaw));
	if (rc == 0)
		inject_bootstrap_leave(inject);
	inject->bootstrap = 0;
	kept = now_us() - stop->since_us; /* not later: the thread may have the processor that we are on */
	if (ptrace(PTRACE_DETACH, tid, NULL, NULL) < 0)
		rc = -ESRCH;
	if (++inject->stops % LOOK_ANEW == 0)
		inject->shares = false;
	inject->longest_us = max_u64(inject->longest_us, kept);
	inject->tid = 0;
	if (rc < 0)
		inject->favourite = 0;
	pthread_sigmask(SIG_SETMASK, &stop->our_sigmask, NULL);
	return rc;
}

uint64_t inject_held_us(const struct inject *inject)
{
	return now_us() - inject->stop->since_us;
}
