/* Stopping a thread, running system calls on it, letting it go as it was. */
#include "inject/inject.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "inject/stop.h"

#define STOP_TRIES     16
#define STOP_MS        50   /* for a thread to stop, before another is tried */
#define USER_MS        200  /* for a stopped thread to reach its system call (a frozen cgroup keeps it from that) */
#define LOOK_US        50   /* awake, for a thread that runs on another processor: being woken takes as long */
#define LOOK_ANEW      16   /* stops after which we try again whether it does */
#define NAP_US         1000 /* between looks, should a SIGCHLD go elsewhere */
#define ALL_SIGNALS    UINT64_MAX
#define RSEQ_CS_OFFSET 8 /* struct rseq, include/uapi/linux/rseq.h */

/*
 * Sleeps until some child or tracee changes, or for `us`. SIGCHLD is blocked while a thread is stopped (and must be in every other thread of this
 * process), so that it is queued for us. Sleeping lets the stopped thread run on the processor we run on.
 */
static void nap(uint64_t us)
{
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigtimedwait(&child, NULL, &(struct timespec){.tv_nsec = (long)min_u64(us, NAP_US) * 1000});
}

/*
 * Looks for a change that comes soon where the thread has a processor of its own. Where it shares ours, it cannot run while we look: so from
 * then on we leave that to the waiting, which sleeps.
 */
static void look(struct inject *inject, pid_t tid)
{
	uint64_t begun = now_us();
	siginfo_t found = {0};

	while (!inject->shares && !found.si_pid &&
	       waitid(P_PID, (id_t)tid, &found, WEXITED | WSTOPPED | WNOHANG | WNOWAIT | __WALL) == 0)
		inject->shares = !found.si_pid && now_us() - begun > LOOK_US;
}

/* Waits for a change of a seized thread. Returns 0 with *status, -ETIMEDOUT, or -ESRCH. timeout_ms < 0: without end. */
static int wait_for(pid_t tid, int *status, int timeout_ms)
{
	uint64_t deadline = timeout_ms < 0 ? UINT64_MAX : now_us() + (uint64_t)timeout_ms * 1000;

	for (;;) {
		pid_t got = waitpid(tid, status, __WALL | WNOHANG);
		uint64_t now = now_us();

		if (got == tid)
			return WIFSTOPPED(*status) ? 0 : -ESRCH;
		if (got < 0 && errno != EINTR)
			return -ESRCH;
		if (now > deadline)
			return -ETIMEDOUT;
		nap(deadline - now);
	}
}

static bool is_event_stop(int status)
{
	return status >> 16 == PTRACE_EVENT_STOP;
}

static bool is_syscall_stop(int status)
{
	return WSTOPSIG(status) == (SIGTRAP | 0x80);
}

/* Waits for the stop of a PTRACE_INTERRUPT; signals that come first go to the program, as they would have. */
static int wait_interrupted(pid_t tid, int timeout_ms)
{
	for (;;) {
		int status;
		int rc = wait_for(tid, &status, timeout_ms);

		if (rc < 0 || is_event_stop(status))
			return rc;
		if (ptrace(PTRACE_CONT, tid, NULL, is_syscall_stop(status) ? 0 : WSTOPSIG(status)) < 0)
			return -ESRCH;
	}
}

/* Waits for a system call stop; a group stop in between (SIGSTOP cannot be blocked) takes effect after we have let go. */
static int wait_syscall(pid_t tid, int timeout_ms)
{
	for (;;) {
		int status;
		int rc = wait_for(tid, &status, timeout_ms);

		if (rc < 0 || is_syscall_stop(status))
			return rc;
		if (ptrace(PTRACE_SYSCALL, tid, NULL, is_event_stop(status) ? 0 : WSTOPSIG(status)) < 0)
			return -ESRCH;
	}
}

/*
 * Waits for a thread that was sent to a system call and interrupted meanwhile: for whichever comes first. Were the entry taken for the interruption, the call would be
 * made behind our back. Returns 0 at the entry of the call (the interruption then shows behind it), -ETIMEDOUT when it was interrupted before, or -ESRCH.
 */
static int wait_either(pid_t tid)
{
	for (;;) {
		int status;
		int rc = wait_for(tid, &status, -1);

		if (rc < 0 || is_syscall_stop(status))
			return rc;
		if (is_event_stop(status))
			return -ETIMEDOUT;
		if (ptrace(PTRACE_SYSCALL, tid, NULL, WSTOPSIG(status)) < 0)
			return -ESRCH;
	}
}

/* Lets a thread go that was stopped and not used. Its call was interrupted all the same, and must not show that. */
static void let_go(pid_t tid, int signal)
{
	struct arch_regs regs;

	if (arch_get_regs(tid, &regs) == 0 && arch_native(&regs)) {
		arch_restart_interrupted(&regs);
		arch_set_regs(tid, &regs);
	}
	ptrace(PTRACE_DETACH, tid, NULL, signal);
}

int inject_reap(struct inject *inject)
{
	int left = 0;

	for (unsigned int i = 0; i < INJECT_LINGERING; i++) {
		pid_t tid = inject->lingering[i].tid;
		pid_t tracer = inject->lingering[i].tracer;
		int status = 0;
		pid_t got = 0;

		if (!tid)
			continue;
		if (tracer == gettid())
			got = waitpid(tid, &status, __WALL | WNOHANG);
		else if (tgkill(getpid(), tracer, 0) < 0)
			got = -1; /* that thread has ended, and the kernel has let go for it */
		else
			continue;
		if (!got) {
			left++;
			continue;
		}
		if (got == tid && WIFSTOPPED(status))
			let_go(tid, is_event_stop(status) ? 0 : WSTOPSIG(status));
		inject->lingering[i].tid = 0;
	}
	return left;
}

static bool lingers(const struct inject *inject, pid_t tid)
{
	for (unsigned int i = 0; i < INJECT_LINGERING; i++)
		if (inject->lingering[i].tid == tid)
			return true;
	return false;
}

static void linger(struct inject *inject, pid_t tid)
{
	for (;;) {
		for (unsigned int i = 0; i < INJECT_LINGERING; i++)
			if (!inject->lingering[i].tid) {
				inject->lingering[i].tid = tid;
				inject->lingering[i].tracer = gettid();
				return;
			}
		inject_reap(inject);
		usleep(1000);
	}
}

/* State letter and voluntary context switches of a thread. */
static int thread_state(const struct inject *inject, pid_t tid, char *state, uint64_t *switches)
{
	char path[64];
	char line[128];
	_cleanup_fclose_ FILE *file = NULL;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", inject->target->pid, tid);
	file = fopen(path, "re");
	if (!file)
		return -ESRCH;
	*state = '?';
	*switches = 0;
	while (fgets(line, sizeof(line), file)) {
		sscanf(line, "State: %c", state);
		if (sscanf(line, "voluntary_ctxt_switches: %" SCNu64, switches) == 1)
			return 0;
	}
	return *state == '?' ? -ESRCH : 0;
}

/*
 * A restarted epoll_wait begins its timeout anew, so that a program stopped again and again would never see it expire. When the same wait is met
 * again (same registers, and the thread has slept at most once since), its time counts from the first meeting.
 */
static void keep_deadline(struct inject *inject)
{
	struct inject_stop *stop = inject->stop;
	uint64_t now = now_us();
	uint64_t switches;
	int timeout;
	char state;

	if (!arch_epoll_timeout(&stop->first, &timeout) || thread_state(inject, inject->tid, &state, &switches) < 0) {
		stop->wait.tid = 0;
		return;
	}
	if (stop->wait.tid != inject->tid || switches > stop->wait.switches + 2 ||
	    memcmp(&stop->wait.regs, &stop->first, sizeof(stop->first)) != 0) {
		stop->wait.tid = inject->tid;
		stop->wait.regs = stop->first;
		stop->wait.since_us = now;
		return;
	}
	if (now - stop->wait.since_us >= (uint64_t)timeout * 1000) {
		arch_return_zero(&stop->first);
		stop->wait.tid = 0;
	}
}

/* A thread inside a restartable sequence goes on at its abort handler: after running elsewhere the kernel has forgotten the section (kernel/rseq.c). */
static void abort_rseq(struct inject *inject)
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
		return;
	stop->rseq.start = round_down(rseq.rseq_abi_pointer, page_size());
	stop->rseq.end = round_up(rseq.rseq_abi_pointer + rseq.rseq_abi_size, page_size());
	if (inject_read(inject, rseq.rseq_abi_pointer + RSEQ_CS_OFFSET, &address, sizeof(address)) < 0 || !address)
		return;
	if (inject_read(inject, address, &section, sizeof(section)) < 0 || ip - section.start >= section.length)
		return;
	if (inject_read(inject, section.abort - sizeof(signature), &signature, sizeof(signature)) == 0 &&
	    signature == rseq.signature)
		arch_set_ip(&stop->first, section.abort);
}

struct region inject_rseq_pages(const struct inject *inject)
{
	return inject->stop->rseq;
}

/* A tracer that may suspend seccomp filters does, which costs less than to ask whether there are any. */
static int seize(struct inject *inject, pid_t tid)
{
	uint64_t seccomp = 0;

	if (ptrace(PTRACE_SEIZE, tid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP) < 0) {
		int code = errno;

		if (target_status(inject->target, "Seccomp", &seccomp) == 0 && seccomp)
			return code == EPERM ? -ENOTSUP : -code;
		if (ptrace(PTRACE_SEIZE, tid, NULL, PTRACE_O_TRACESYSGOOD) < 0)
			return -errno;
	}
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0)
		return -ESRCH;
	look(inject, tid);
	return wait_interrupted(tid, STOP_MS);
}

/* Keeps what the thread was doing; after this it can be sent elsewhere. */
static int keep(struct inject *inject, pid_t tid)
{
	struct inject_stop *stop = inject->stop;
	unsigned char frame[ARCH_FRAME] = {0};
	int rc = arch_get_regs(tid, &stop->first);

	if (rc == 0 && !arch_native(&stop->first))
		rc = -ENOEXEC;
	if (rc == 0 && ptrace(PTRACE_GETSIGMASK, tid, sizeof(stop->sigmask), &stop->sigmask) < 0)
		rc = -errno;
	if (rc < 0)
		return rc;
	inject->tid = tid;
	arch_restart_interrupted(&stop->first);
	keep_deadline(inject);
	abort_rseq(inject);
	stop->now = stop->first;
	stop->entered = false;
	stop->moved = false;
	stop->frame = 0;
	if (inject->area.end) {
		uint64_t at = inject->area.start + (uint64_t)(inject->frame++ % FRAMES) * ARCH_FRAME;

		stop->frame = arch_frame(frame, at, &stop->first, stop->sigmask);
		rc = inject_write(inject, stop->frame, frame + (stop->frame - at), ARCH_FRAME - (stop->frame - at));
	}
	return rc;
}

/* Tries one thread. Returns 0 with it stopped and kept, or -errno with it free (or lingering). */
static int stop_thread(struct inject *inject, pid_t tid)
{
	int rc;

	inject->stop->since_us = now_us();
	rc = seize(inject, tid);
	if (rc == -ETIMEDOUT)
		linger(inject, tid);
	if (rc < 0)
		return rc;
	rc = keep(inject, tid);
	if (rc < 0) {
		inject->tid = 0;
		let_go(tid, 0);
	}
	return rc;
}

/* Threads that sleep uninterruptibly (a page fault of ours among them) are left for the second round. */
static int stop_any(struct inject *inject)
{
	char path[32];
	int last = -ESRCH;

	if (inject->favourite && !lingers(inject, inject->favourite) && stop_thread(inject, inject->favourite) == 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/task", inject->target->pid);
	for (int round = 0; round < 2; round++) {
		_cleanup_closedir_ DIR *dir = opendir(path);
		int tries = 0;

		if (!dir)
			return -ESRCH;
		for (struct dirent *entry; tries < STOP_TRIES && (entry = readdir(dir));) {
			pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
			uint64_t switches;
			char state;

			if (tid <= 0 || thread_state(inject, tid, &state, &switches) < 0 || state == 'Z' ||
			    state == 'X')
				continue;
			if (lingers(inject, tid) || (state == 'D') != (round == 1)) {
				last = last == -ESRCH ? -ETIMEDOUT : last;
				continue;
			}
			tries++;
			last = stop_thread(inject, tid);
			if (last == 0) {
				inject->favourite = tid;
				return 0;
			}
			if (last == -EPERM || last == -ENOTSUP || last == -ENOEXEC)
				return last;
		}
	}
	return last;
}

static int explain_stop(const struct inject *inject, int rc, struct error *error)
{
	switch (rc) {
	case -EPERM:
		rc = target_check(inject->target, error); /* a tracer, most of all */
		if (rc < 0)
			return rc;
		return error_set(error, -EPERM, NULL,
				 "run as root or with CAP_SYS_PTRACE; see also kernel.yama.ptrace_scope",
				 "stop a thread of process %d", inject->target->pid);
	case -ENOTSUP:
		return error_set(error, -EPERM, "it runs under a seccomp filter that cannot be suspended",
				 "run as root (CAP_SYS_ADMIN), outside of any seccomp filter",
				 "stop a thread of process %d", inject->target->pid);
	case -ENOEXEC:
		return error_set(error, -EINVAL, "it runs another instruction set than this program", NULL,
				 "stop a thread of process %d", inject->target->pid);
	case -ETIMEDOUT:
		return error_set(error, rc, "none of its threads stops (uninterruptible sleep, or a frozen cgroup)",
				 "see the State lines in /proc/PID/task/*/status; thaw its cgroup",
				 "stop a thread of process %d", inject->target->pid);
	default:
		return error_set(error, rc, rc == -ESRCH ? "it has ended" : NULL, NULL, "stop a thread of process %d",
				 inject->target->pid);
	}
}

int inject_begin(struct inject *inject, struct error *error)
{
	sigset_t child;
	int rc;

	inject_reap(inject);
	if (!target_alive(inject->target))
		return explain_stop(inject, -ESRCH, error);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &child, &inject->stop->our_sigmask);
	rc = stop_any(inject);
	if (rc == 0)
		return 0;
	pthread_sigmask(SIG_SETMASK, &inject->stop->our_sigmask, NULL);
	return explain_stop(inject, rc, error);
}

int inject_processor(const struct inject *inject)
{
	char path[64];
	char line[1024];
	_cleanup_fclose_ FILE *file = NULL;
	const char *field;
	int processor = -1;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", inject->target->pid, inject->favourite);
	file = inject->favourite ? fopen(path, "re") : NULL;
	if (!file || !fgets(line, sizeof(line), file))
		return -1;
	field = strrchr(line, ')'); /* the end of field 2; the processor is field 39 (proc(5)) */
	for (int i = 2; field && i < 39; i++)
		field = strchr(field + 1, ' ');
	if (field)
		sscanf(field, "%d", &processor);
	return processor;
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
	look(inject, tid);
	rc = wait_interrupted(tid, -1);
	if (rc == 0 && ptrace(PTRACE_SETSIGMASK, tid, sizeof(stop->sigmask), &stop->sigmask) < 0)
		rc = -ESRCH;
	return rc < 0 ? rc : arch_set_regs(tid, &stop->first);
}

int inject_end(struct inject *inject)
{
	struct inject_stop *stop = inject->stop;
	pid_t tid = inject->tid;
	uint64_t kept;
	char state;
	int rc = 0;

	if (!tid)
		return -ESRCH;
	rc = stop->moved ? return_to_first(inject) : arch_set_regs(tid, &stop->first);
	if (stop->wait.tid == tid)
		thread_state(inject, tid, &state, &stop->wait.switches);
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

/* The thread died in our hands. */
static int lost(struct inject *inject)
{
	inject->tid = 0;
	inject->favourite = 0;
	pthread_sigmask(SIG_SETMASK, &inject->stop->our_sigmask, NULL);
	return -ESRCH;
}

int inject_enter(struct inject *inject, long number, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
		 uint64_t a5)
{
	struct inject_stop *stop = inject->stop;
	uint64_t insn = inject->area.end ? inject->area.start + AREA_DATA : inject->gadget;
	int rc;

	if (!inject->tid)
		return -ESRCH;
	arch_call(&stop->now, insn, stop->frame, number, (uint64_t[]){a0, a1, a2, a3, a4, a5});
	if (arch_set_regs(inject->tid, &stop->now) < 0)
		return lost(inject);
	/* Only where the way back unblocks them: were this process to die, the thread would keep them blocked for good. */
	if (!stop->moved && ptrace(PTRACE_SETSIGMASK, inject->tid, sizeof(stop->sigmask), &(uint64_t){ALL_SIGNALS}) < 0)
		return lost(inject);
	stop->moved = true;
	if (ptrace(PTRACE_SYSCALL, inject->tid, NULL, NULL) < 0)
		return lost(inject);
	look(inject, inject->tid);
	rc = wait_syscall(inject->tid, USER_MS);
	if (rc == -ETIMEDOUT) /* it does not run: interrupt it, so that inject_end finds it at a stop */
		rc = ptrace(PTRACE_INTERRUPT, inject->tid, NULL, NULL) < 0 ? -ESRCH : wait_either(inject->tid);
	if (rc == -ESRCH)
		return lost(inject);
	stop->entered = rc == 0;
	return rc;
}

int64_t inject_finish(struct inject *inject)
{
	struct inject_stop *stop = inject->stop;
	struct arch_regs regs;

	if (!inject->tid)
		return -ESRCH;
	stop->entered = false;
	if (ptrace(PTRACE_SYSCALL, inject->tid, NULL, NULL) < 0 || wait_syscall(inject->tid, -1) < 0 ||
	    arch_get_regs(inject->tid, &regs) < 0)
		return lost(inject);
	return arch_result(&regs);
}

int inject_cancel(struct inject *inject)
{
	if (!inject->tid || arch_skip(inject->tid) < 0)
		return lost(inject);
	return inject_finish(inject) == -ESRCH ? -ESRCH : 0;
}

uint64_t inject_held_us(const struct inject *inject)
{
	return now_us() - inject->stop->since_us;
}

int64_t inject_call(struct inject *inject, long number, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
		    uint64_t a5)
{
	int rc = inject_enter(inject, number, a0, a1, a2, a3, a4, a5);

	return rc < 0 ? rc : inject_finish(inject);
}

static bool in_area(const struct inject *inject, uint64_t ip)
{
	return ip >= inject->area.start && ip < inject->area.end;
}

/* Where a thread that does not run will go on in user space (/proc/PID/task/TID/syscall, its last word). Returns 0, -EAGAIN when it runs, or -ESRCH. */
static int resting_ip(const struct inject *inject, pid_t tid, uint64_t *ip)
{
	char path[64];
	char line[256];
	_cleanup_fclose_ FILE *file = NULL;
	const char *last;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", inject->target->pid, tid);
	file = fopen(path, "re");
	if (!file || !fgets(line, sizeof(line), file))
		return -ESRCH;
	last = strrchr(line, ' ');
	if (!last)
		return -EAGAIN;
	*ip = strtoull(last, NULL, 16);
	return 0;
}

/* Whether a thread stands in the control area, or may: it cannot be stopped now. The frame that brings it home is not touched. */
static bool on_trampoline(struct inject *inject, pid_t tid)
{
	struct arch_regs regs;
	uint64_t ip;
	int rc = resting_ip(inject, tid, &ip);

	if (rc != -EAGAIN)
		return rc == 0 && in_area(inject, ip);
	rc = seize(inject, tid);
	if (rc == -ETIMEDOUT)
		linger(inject, tid);
	if (rc < 0)
		return rc == -ETIMEDOUT;
	rc = arch_get_regs(tid, &regs);
	let_go(tid, 0);
	return rc == 0 && in_area(inject, arch_ip(&regs));
}

/* One look at every thread. Returns how many are on the trampoline, or may be, or -ESRCH. */
static int count_on_trampoline(struct inject *inject)
{
	char path[32];
	_cleanup_closedir_ DIR *dir = NULL;
	int count = 0;

	inject_reap(inject);
	snprintf(path, sizeof(path), "/proc/%d/task", inject->target->pid);
	dir = opendir(path);
	if (!dir)
		return -ESRCH;
	for (struct dirent *entry; (entry = readdir(dir));) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (tid > 0)
			count += lingers(inject, tid) || on_trampoline(inject, tid);
	}
	return count;
}

int inject_settle(struct inject *inject, int timeout_ms)
{
	uint64_t deadline = now_us() + (uint64_t)timeout_ms * 1000;
	int count;

	while ((count = count_on_trampoline(inject)) > 0) {
		if (now_us() > deadline)
			return -ETIMEDOUT;
		usleep(1000);
	}
	return count;
}
