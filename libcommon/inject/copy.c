/* Forking a stopped process so that neither it nor its copy notices. */
#include "inject/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "inject/far.h"
#include "inject/stop.h"
#include "proc/stat.h"

#define FORK_MS    10000 /* a terabyte of small pages takes seconds */
#define PARK_MS    2000
#define LINGER_MS  1000
#define ALONE_SECS 5             /* for which a copy waits to be taken care of */
#define FOR_GOOD   1000000000000 /* seconds */
#define AT_HOME    0
#define BORN       1

static int inject_options(pid_t tid, long options)
{
	if (ptrace(PTRACE_SETOPTIONS, tid, NULL, options | PTRACE_O_SUSPEND_SECCOMP) == 0 ||
	    ptrace(PTRACE_SETOPTIONS, tid, NULL, options) == 0)
		return 0;
	return -errno;
}

/* Whether orphans are given to the target itself. */
static int64_t reaps_orphans(struct inject *inject)
{
	int subreaper = 0;
	int64_t rc = inject_call(inject, SYS_getpid, 0, 0, 0, 0, 0, 0);

	if (rc < 0 || rc == 1)
		return rc;
	rc = inject_call3(inject, SYS_prctl, PR_GET_CHILD_SUBREAPER, inject->scratch, 0);
	if (rc == 0)
		rc = inject_read(inject, inject->scratch, &subreaper, sizeof(subreaper));
	return rc < 0 ? rc : subreaper != 0;
}

static uint64_t data_of(const struct inject_copy *copy)
{
	return copy->own.start + page_size();
}

static int64_t write_code(struct inject *inject, const struct inject_copy *copy)
{
	size_t bytes;
	const unsigned char *code = arch_copy_code(&bytes);
	struct arch_copy data = {
		.flags = CLONE_FILES | (copy->child ? 0 : CLONE_VM),
		.waited = !copy->child,
		.home = inject->area.start + AREA_DATA,
		.left = ALONE_SECS,
		.tick = {1, 0},
		.name = "uvmtools clone",
	};
	static const int ending[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
	int64_t rc = inject_write_code(inject, copy->own.start, code, bytes);

	for (size_t i = 0; i < ARRAY_SIZE(ending); i++)
		data.ending |= UINT64_C(1) << (ending[i] - 1);
	if (rc == 0)
		rc = inject_call3(inject, SYS_mprotect, data_of(copy), page_size(), PROT_READ | PROT_WRITE);
	if (rc == 0)
		rc = inject_write(inject, data_of(copy), &data, sizeof(data));
	if (rc == 0)
		inject_name(inject, copy->own);
	return rc;
}

static void unmap_code(struct inject *inject, const struct inject_copy *copy)
{
	inject_call3(inject, SYS_munmap, copy->own.start, region_bytes(copy->own), 0);
}

/* Two pages that children do get, unlike the control area. */
static int64_t map_code(struct inject *inject, struct inject_copy *copy)
{
	uint64_t bytes = INJECT_COPY_PAGES * page_size();
	int64_t rc = reaps_orphans(inject);
	int64_t at;

	if (rc < 0)
		return rc;
	copy->child = rc > 0;
	at = far_map(inject, copy->own.start, bytes, PROT_READ | PROT_EXEC, 0);
	if (at < 0 && at > -4096)
		return at;
	copy->own = (struct region){(uint64_t)at, (uint64_t)at + bytes};
	rc = write_code(inject, copy);
	if (rc < 0)
		unmap_code(inject, copy);
	return rc;
}

/*
 * Runs a process until it makes another one (BORN, *pid is that one's), is about to go home (AT_HOME), has ended
 * (-ESRCH) or takes too long (-ETIMEDOUT).
 */
static int follow(struct inject *inject, pid_t tid, int request, pid_t *pid)
{
	int signal = 0;

	for (;;) {
		struct arch_regs regs;
		unsigned long message;
		int status;
		int rc;

		if (ptrace(request, tid, NULL, signal) < 0)
			return -ESRCH;
		stop_look(inject, tid);
		rc = stop_wait(tid, &status, FORK_MS);
		if (rc < 0)
			return rc;
		signal = 0;
		if (stop_is_event(status))
			continue;
		if (status >> 16) {
			if (ptrace(PTRACE_GETEVENTMSG, tid, NULL, &message) < 0)
				return -ESRCH;
			*pid = (pid_t)message;
			return BORN;
		}
		if (!stop_is_syscall(status))
			signal = WSTOPSIG(status);
		else if (arch_get_regs(tid, &regs) == 0 &&
			 arch_ip(&regs) - inject->area.start < region_bytes(inject->area))
			return AT_HOME;
	}
}

/* A new process of ours stands before its first instruction. */
static int meet(pid_t pid, long options)
{
	int status;
	int rc = stop_wait(pid, &status, FORK_MS);

	return rc < 0 ? rc : inject_options(pid, options);
}

/* The process in the middle: from its first instruction to its end. */
static int run_middle(struct inject *inject, pid_t middle, struct inject_copy *copy)
{
	pid_t pid = 0;
	int rc = meet(middle, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL);

	if (rc == 0)
		rc = follow(inject, middle, PTRACE_CONT, &pid);
	if (rc == BORN) {
		rc = meet(pid, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
		copy->pid = rc == 0 ? pid : 0;
		follow(inject, middle, PTRACE_CONT, &pid);
		return rc;
	}
	if (rc == -ETIMEDOUT) {
		int status;

		kill(middle, SIGKILL);
		stop_wait(middle, &status, -1);
	}
	return rc;
}

/* What the code wrote down when there is no copy. */
static int why_none(struct inject *inject, const struct inject_copy *copy)
{
	struct arch_copy data;
	int rc = inject_read(inject, data_of(copy), &data, sizeof(data));

	return rc < 0 ? rc : data.result < 0 ? (int)data.result : -ECHILD;
}

/* Sends the stopped thread through the code. Afterwards it stands at the entry of a call as any other. */
static int run_code(struct inject *inject, struct inject_copy *copy)
{
	struct inject_stop *stop = inject->stop;
	pid_t born = 0;
	int rc = inject_options(inject->tid, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE);
	int home;

	if (rc < 0)
		return rc;
	arch_copy_call(&stop->now, copy->own.start, stop->frame, data_of(copy));
	if (arch_set_regs(inject->tid, &stop->now) < 0)
		return -ESRCH;
	rc = home = follow(inject, inject->tid, PTRACE_SYSCALL, &born);
	if (rc == BORN && copy->child) {
		rc = meet(born, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
		copy->pid = rc == 0 ? born : 0;
	} else if (rc == BORN) {
		rc = run_middle(inject, born, copy);
	}
	if (home == BORN)
		home = follow(inject, inject->tid, PTRACE_SYSCALL, &born);
	stop->entered = home == AT_HOME;
	if (home < 0) {
		inject_lost(inject);
		return home;
	}
	if (!copy->pid && rc != -ETIMEDOUT)
		rc = why_none(inject, copy);
	inject_finish(inject);
	return copy->pid ? 0 : rc;
}

static int explain(const struct inject *inject, int64_t rc, struct error *error)
{
	const char *why = NULL;
	const char *hint = NULL;

	switch (rc) {
	case -ENOMEM:
		why = "the kernel does not promise memory for it";
		hint = "see vm.overcommit_memory and the memory limit of its control group";
		break;
	case -EAGAIN:
		why = "its user or its control group has as many processes as it may have";
		hint = "see RLIMIT_NPROC and pids.max";
		break;
	case -ENOSYS:
		why = "this kernel has no close_range(2)";
		hint = "it takes Linux 5.9";
		break;
	case -ETIMEDOUT:
		why = "a thread does not stop, or nobody answers the fork event of its userfaultfd";
		hint = "see the State lines in /proc/PID/task/*/status";
		break;
	case -EBUSY:
		why = "its control group is frozen, and a copy would be born outside of it";
		hint = "thaw it: write 0 to cgroup.freeze of its control group";
		break;
	case -EALREADY:
		rc = -EBUSY;
		why = STOP_HELD;
		hint = "try again";
		break;
	case -ESRCH:
		why = "it has ended";
		break;
	default:
		break;
	}
	return error_set(error, (int)rc, why, hint, "copy process %d", inject->target->pid);
}

/* On the one thread that is stopped; all others for the time it takes. */
static int64_t make(struct inject *inject, struct inject_copy *copy, const struct inject_copy_still *still)
{
	struct inject_threads others = {0};
	int64_t rc = inject->stop->thaw ? -EBUSY : map_code(inject, copy);

	if (rc < 0)
		return rc;
	rc = inject_stop_others(inject, &others);
	copy->threads_missed = others.missed;
	copy->threads = others.count + 1 - others.missed;
	if (rc == 0 && still)
		rc = inject_registers_read(inject, &others, &copy->registers, &copy->threads);
	if (rc == 0 && still)
		still->look(still->context);
	if (rc == 0)
		rc = run_code(inject, copy);
	inject_release_others(&others);
	copy->lingering = others;
	unmap_code(inject, copy);
	return rc;
}

int inject_copy_make(struct inject *inject, struct inject_copy *copy, const struct inject_copy_still *still,
		     struct error *error)
{
	int64_t rc;

	*copy = (struct inject_copy){0};
	rc = far_choose(inject->target, INJECT_COPY_PAGES * page_size(), &copy->own.start);
	if (rc < 0)
		return explain(inject, rc, error);
	rc = inject_begin(inject, error);
	if (rc < 0)
		return (int)rc;
	rc = make(inject, copy, still);
	copy->pause_us = inject_held_us(inject);
	inject_end(inject);
	if (rc == 0)
		return 0;
	if (copy->pid)
		kill(copy->pid, SIGKILL);
	for (int tries = 0; tries < LINGER_MS && inject_copy_linger(copy) > 0; tries++)
		usleep(1000);
	inject_copy_free(copy);
	return explain(inject, rc, error);
}

size_t inject_copy_linger(struct inject_copy *copy)
{
	return inject_release_others(&copy->lingering);
}

void inject_copy_free(struct inject_copy *copy)
{
	inject_registers_free(copy->registers, copy->threads);
	free(copy->lingering.items);
	*copy = (struct inject_copy){0};
}

/* Writes into its memory how long to wait, and under which name. */
static int prepare(const struct inject_copy *copy, const char *name)
{
	char path[32];
	_cleanup_close_ int fd = -1;
	struct arch_copy data;
	off_t at = (off_t)data_of(copy);

	snprintf(path, sizeof(path), "/proc/%d/mem", copy->pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (pread(fd, &data, sizeof(data), at) != sizeof(data))
		return -EIO;
	data.left = FOR_GOOD;
	data.tick[0] = FOR_GOOD;
	snprintf(data.name, sizeof(data.name), "%.15s", name);
	return pwrite(fd, &data, sizeof(data), at) == sizeof(data) ? 0 : -EIO;
}

/* Resumes it with a signal until it stops in the way that `reached` tells. */
static int run_until(pid_t pid, int request, bool (*reached)(pid_t pid, int status), int *signal)
{
	for (;;) {
		int status;
		int rc;

		if (ptrace(request, pid, NULL, *signal) < 0)
			return -ESRCH;
		rc = stop_wait(pid, &status, PARK_MS);
		if (rc < 0)
			return rc;
		*signal = status >> 16 || stop_is_syscall(status) ? 0 : WSTOPSIG(status);
		if (reached(pid, status))
			return 0;
	}
}

static bool enters_wait(pid_t pid, int status)
{
	struct arch_regs regs;

	return stop_is_syscall(status) && arch_get_regs(pid, &regs) == 0 && arch_number(&regs) == SYS_rt_sigtimedwait;
}

static bool group_stopped(pid_t pid, int status)
{
	(void)pid;
	return stop_is_event(status) && WSTOPSIG(status) == SIGSTOP;
}

/*
 * In state T, whatever its seccomp filter says of waiting. The parent is told of that by a SIGCHLD, so it must not be
 * the target.
 */
static int park_stopped(const struct inject_copy *copy)
{
	int signal = 0;
	int rc;

	/* The thread's mask blocks every signal but this one and SIGKILL. */
	kill(copy->pid, SIGSTOP);
	rc = run_until(copy->pid, PTRACE_CONT, group_stopped, &signal);
	if (rc < 0)
		return rc;
	return ptrace(PTRACE_DETACH, copy->pid, NULL, NULL) < 0 ? -errno : 0;
}

/* Asleep in its wait, if it is allowed to. */
static int park_asleep(const struct inject_copy *copy)
{
	uint64_t deadline = now_us() + PARK_MS * 1000;
	struct proc_stat stat;
	int rc;

	if (ptrace(PTRACE_DETACH, copy->pid, NULL, NULL) < 0)
		return -errno;
	while ((rc = proc_stat_read(copy->pid, &stat)) == 0 && stat.state != 'S') {
		if (strchr("ZX", stat.state) || now_us() > deadline)
			return -ESRCH;
		usleep(100);
	}
	return rc;
}

int inject_copy_park(struct inject_copy *copy, const char *name)
{
	int signal = 0;
	int rc = prepare(copy, name);

	if (rc == 0)
		rc = run_until(copy->pid, PTRACE_SYSCALL, enters_wait, &signal);
	if (rc < 0)
		return rc;
	return copy->child ? park_asleep(copy) : park_stopped(copy);
}

int inject_copy_reap(const struct target *target, pid_t there, struct error *error)
{
	struct inject inject;
	int rc = inject_open(&inject, target, error);

	if (rc < 0)
		return rc;
	rc = inject_begin(&inject, error);
	if (rc == 0) {
		int64_t got = inject_call(&inject, SYS_wait4, (uint64_t)there, 0, __WALL | WNOHANG, 0, 0, 0);

		inject_end(&inject);
		if (got < 0 && got != -ECHILD)
			rc = error_set(error, (int)got, NULL, NULL, "reap the copy in process %d", target->pid);
	}
	inject_close(&inject);
	return rc;
}

bool inject_copy_is_code(const unsigned char *page, size_t bytes)
{
	size_t code_bytes;
	const unsigned char *code = arch_copy_code(&code_bytes);

	return bytes >= code_bytes && memcmp(page, code, code_bytes) == 0;
}
