/* SPDX-License-Identifier: MIT */
/* Making, confining and ending a puppet. */
#include "puppet/puppet.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/kcmp.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/pidfd.h"
#include "base/size.h"
#include "inject/area.h"
#include "inject/far.h"
#include "inject/stop.h"
#include "proc/stat.h"
#include "puppet/birth.h"
#include "puppet/copy.h"
#include "puppet/fd.h"
#include "puppet/puppet_filter.h"
#include "service/failpoint.h"

#define DESCRIPTORS 8192 /* it may open: of many children, too */
#define END_MS      5000
#define END_TRIES   3
#define UNMAP_TRIES 10

static void forget_puppet(struct puppet *puppet)
{
	const bool maps_files = puppet->maps_files;

	*puppet = PUPPET_UNTIL(puppet->name, puppet->until);
	puppet->maps_files = maps_files;
}

/* From its first instruction to where it waits, and from there on without a tracer. */
static int park_process(pid_t pid, bool stopped)
{
	int signal = 0;
	int rc = birth_run_until(pid, PTRACE_SYSCALL, birth_enters_wait, &signal);

	if (rc == 0 && stopped) {
		kill(pid, SIGSTOP);
		rc = birth_run_until(pid, PTRACE_CONT, birth_is_group_stop, &signal);
	}
	if (rc == 0 && ptrace(PTRACE_DETACH, pid, NULL, NULL) < 0)
		rc = -errno;
	return rc;
}

static int64_t give_up_capabilities(struct inject *inject)
{
	struct {
		struct __user_cap_header_struct header;
		struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	} none = {.header = {.version = _LINUX_CAPABILITY_VERSION_3}};
	int64_t rc = inject_write(inject, inject->scratch, &none, sizeof(none));

	if (rc < 0)
		return rc;
	return inject_call3(inject, SYS_capset, inject->scratch + offsetof(typeof(none), header),
			    inject->scratch + offsetof(typeof(none), data), 0);
}

static int64_t take_filter(struct puppet *puppet)
{
	struct inject *inject = &puppet->inject;
	struct sock_fprog program;
	int64_t rc = puppet_filter(&program, puppet->maps_files);
	_cleanup_free_ struct sock_filter *filter = program.filter;
	uint64_t there = inject->scratch + sizeof(program);

	program.filter = (void *)there;
	if (rc == 0 && sizeof(program) + program.len * sizeof(*filter) > INJECT_SCRATCH)
		rc = -E2BIG;
	if (rc == 0)
		rc = inject_write(inject, inject->scratch, &program, sizeof(program));
	if (rc == 0)
		rc = inject_write(inject, there, filter, program.len * sizeof(*filter));
	if (rc < 0)
		return rc;
	return inject_call3(inject, SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, inject->scratch);
}

/* The pidfd stays open there: the epoll instance alone does not keep it. */
static int watch_end(struct inject *inject, int epoll, int pidfd)
{
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, pidfd, &(struct epoll_event){.events = EPOLLIN}) < 0)
		return -errno;
	return inject_fd_give(inject, pidfd);
}

/* It waits for the end of the program from then on. */
static int64_t watch_program(struct puppet *puppet, int pidfd)
{
	struct inject *inject = &puppet->inject;
	uint64_t data = puppet->own.start + page_size();
	_cleanup_close_ int epoll = epoll_create1(EPOLL_CLOEXEC);
	int64_t there;
	int rc = epoll < 0 ? -errno : watch_end(inject, epoll, pidfd);

	if (rc >= 0 && puppet->until >= 0)
		rc = watch_end(inject, epoll, puppet->until);
	if (rc >= 0)
		rc = inject_fd_give(inject, epoll);
	if (rc < 0)
		return rc;
	there = rc;
	return inject_write(inject, data + offsetof(struct arch_copy, epoll), &there, sizeof(there));
}

static int64_t confine_puppet(struct puppet *puppet, const struct target *program)
{
	struct inject *inject = &puppet->inject;
	int64_t rc = inject_call3(inject, SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0);

	if (rc == 0)
		rc = give_up_capabilities(inject);
	if (rc == 0)
		rc = take_filter(puppet);
	if (rc == 0)
		rc = inject_call3(inject, SYS_madvise, puppet->own.start, region_bytes(puppet->own), MADV_DONTFORK);
	return rc == 0 ? watch_program(puppet, program->pidfd) : rc;
}

static void set_limits(pid_t pid)
{
	static const struct rlimit none = {0, 0}, many = {DESCRIPTORS, DESCRIPTORS};
	struct rlimit now;

	prlimit(pid, RLIMIT_CORE, &none, NULL);
	if (prlimit(pid, RLIMIT_NOFILE, NULL, &now) < 0 || now.rlim_cur >= DESCRIPTORS)
		return;
	if (prlimit(pid, RLIMIT_NOFILE, &many, NULL) < 0)
		prlimit(pid, RLIMIT_NOFILE, &(struct rlimit){now.rlim_max, now.rlim_max}, NULL);
}

/* Calls can be made on it. */
static int take_up(struct puppet *puppet, const struct inject *program, struct error *error)
{
	int rc = inject_share(&puppet->inject, &puppet->self, program, error);

	puppet->inject.home = puppet->own.start;
	return rc;
}

static int explain_puppet(const struct target *program, int64_t rc, struct error *error)
{
	static const struct error_cause causes[] = {
		{-EAGAIN, .why = "its user or its control group has as many processes as it may have",
		 .hint = "see RLIMIT_NPROC and pids.max"},
		{-ENOSYS, .why = "this kernel has no close_range(2)"},
		{-ETIMEDOUT, .why = "it does not come to its wait: a file system may not answer when files are closed",
		 .hint = "see its stack in /proc/PID/stack"},
		{0},
	};

	return error_explain(error, causes, (int)rc, "make a process in the memory of %d", program->pid);
}

static int prepare_puppet(struct puppet *puppet, struct inject *program, pid_t pid, bool stopped, struct error *error)
{
	int64_t rc = target_open(&puppet->self, pid, -1, error);

	if (rc < 0)
		return (int)rc;
	set_limits(pid);
	rc = park_process(pid, stopped);
	if (rc < 0)
		return explain_puppet(program->target, rc, error);
	rc = take_up(puppet, program, error);
	if (rc < 0)
		return (int)rc;
	rc = inject_begin(&puppet->inject, error);
	if (rc < 0)
		return (int)rc;
	rc = confine_puppet(puppet, program->target);
	inject_end(&puppet->inject);
	return rc < 0 ? explain_puppet(program->target, rc, error) : 0;
}

/* On the stopped thread of the program. */
static int make_process(struct puppet *puppet, struct inject *program, pid_t *pid)
{
	struct birth birth = {.own = puppet->own, .shares = CLONE_VM, .name = puppet->name};
	int64_t rc = birth_map(program, &birth);

	if (rc < 0)
		return (int)rc;
	rc = birth_run(program, &birth);
	if (rc < 0 && program->tid)
		birth_unmap(program, &birth);
	puppet->own = birth.own;
	puppet->child = birth.child;
	*pid = birth.pid;
	return (int)rc;
}

void puppet_dismiss(struct puppet *puppet, struct inject *program)
{
	const struct birth birth = {.own = puppet->own};
	struct error ignored = {0};
	pid_t there = puppet->child ? proc_innermost_pid(puppet->self.pid) : 0;

	pidfd_signal(puppet->self.pidfd, SIGKILL);
	if (there)
		target_ends(&puppet->self, END_MS);
	if (inject_begin(program, &ignored) == 0) {
		birth_unmap(program, &birth);
		if (there)
			birth_reap(program, there);
		inject_end(program);
	}
	puppet_abandon(puppet);
	puppet->own = (struct region){0, 0};
}

int puppet_make(struct puppet *puppet, struct inject *program, struct error *error)
{
	uint64_t filters = 0;
	pid_t pid = 0;
	int rc;

	forget_puppet(puppet);
	puppet_kill_strays(puppet, program->target);
	rc = target_status(program->target, "Seccomp", &filters);
	if (rc == 0 || rc == -ENOENT)
		rc = far_choose(program->target, BIRTH_PAGES * page_size(), &puppet->own.start);
	if (rc < 0)
		return explain_puppet(program->target, rc, error);
	rc = inject_begin(program, error);
	if (rc < 0)
		return rc;
	rc = make_process(puppet, program, &pid);
	inject_end(program);
	if (rc < 0)
		return explain_puppet(program->target, rc, error);
	rc = prepare_puppet(puppet, program, pid, filters != 0, error);
	if (rc < 0) {
		birth_end(pid);
		puppet_dismiss(puppet, program);
	}
	return rc;
}

struct puppet_record puppet_record(const struct puppet *puppet)
{
	return (struct puppet_record){.pid = puppet->self.pid,
				      .child = puppet->child,
				      .starttime = puppet->self.starttime,
				      .own = puppet->own.start};
}

bool puppet_shares(const struct puppet *puppet, const struct target *program)
{
	if (!puppet->self.pid || !target_alive(&puppet->self) || !target_alive(program))
		return false;
	return syscall(SYS_kcmp, puppet->self.pid, target_thread(program), KCMP_VM, 0, 0) <= 0;
}

int puppet_open(struct puppet *puppet, const struct puppet_record *record)
{
	struct error ignored = {0};
	int rc;

	forget_puppet(puppet);
	puppet->own = region_at(record->own, BIRTH_PAGES * page_size());
	puppet->child = record->child;
	rc = record->pid > 0 ? target_open(&puppet->self, record->pid, -1, &ignored) : -ESRCH;
	if (rc == 0 && puppet->self.starttime == record->starttime)
		return 0;
	puppet_abandon(puppet);
	return rc < 0 && rc != -ESRCH ? rc : -ENOENT;
}

int puppet_find(struct puppet *puppet, const struct inject *program, const struct puppet_record *record,
		struct error *error)
{
	int rc = puppet_open(puppet, record);

	if (rc == 0 && !puppet_shares(puppet, program->target))
		rc = -ENOENT;
	if (rc == 0)
		rc = take_up(puppet, program, error);
	else
		error_set(error, rc, rc == -ENOENT ? "the process that held them in its memory was ended" : NULL, NULL,
			  "find the descriptors of process %d", program->target->pid);
	if (rc < 0)
		puppet_abandon(puppet);
	return rc;
}

void puppet_abandon(struct puppet *puppet)
{
	const struct region own = puppet->own;

	inject_abandon(&puppet->inject);
	target_close(&puppet->self);
	forget_puppet(puppet);
	puppet->own = own;
}

void puppet_kill(struct puppet *puppet)
{
	if (puppet->self.pid)
		pidfd_signal(puppet->self.pidfd, SIGKILL);
	puppet_abandon(puppet);
}

static bool holds_code(const struct puppet *puppet, struct region own)
{
	return inject_copy_lies_at(puppet->inject.mem_fd, own.start);
}

static bool holds_data(const struct puppet *puppet, struct region own)
{
	struct arch_copy data;

	return inject_peek(puppet->inject.mem_fd, own.start + page_size(), &data, sizeof(data)) == 0 &&
	       data.again == (CLONE_FILES | CLONE_VM) && strncmp(data.name, puppet->name, sizeof(data.name)) == 0;
}

bool puppet_stands(const struct puppet *puppet)
{
	return puppet->self.pid && target_alive(&puppet->self) && holds_code(puppet, puppet->own) &&
	       holds_data(puppet, puppet->own);
}

bool puppet_killed(const struct puppet *puppet, int64_t rc)
{
	return rc == -ESRCH && (!puppet->self.pid || target_ends(&puppet->self, END_MS));
}

/* Once more while there is no memory for it: a mapping may have to be split. */
static void unmap_page(struct inject *inject, uint64_t page)
{
	int64_t rc = -ENOMEM;

	for (int tries = 0; rc == -ENOMEM && tries < UNMAP_TRIES; tries++)
		rc = inject_unmap(inject, region_at(page, page_size()));
}

/* Each of the two pages, if it is ours yet: the program may have mapped something over one alone. */
static void unmap_own(struct puppet *puppet, struct region own)
{
	struct inject *inject = &puppet->inject;

	if (holds_data(puppet, own))
		unmap_page(inject, own.start + page_size());
	if (holds_code(puppet, own))
		unmap_page(inject, own.start);
}

int puppet_replace(struct puppet *puppet, struct inject *program, struct error *error)
{
	struct region before = puppet->own;
	struct error ignored = {0};
	int rc;

	puppet_kill(puppet);
	rc = puppet_make(puppet, program, error);
	if (rc < 0 && before.end)
		puppet->own = before; /* for the next one */
	if (rc < 0 || !before.end || inject_begin(&puppet->inject, &ignored) < 0)
		return rc;
	unmap_own(puppet, before);
	inject_end(&puppet->inject);
	return 0;
}

/*
 * There is no trampoline while that goes: calls are made by an instruction of the program, behind which the puppet must
 * not come. It dies with us meanwhile.
 */
static int64_t take_out(struct puppet *puppet)
{
	struct inject *inject = &puppet->inject;
	struct region area = inject->area;
	int64_t rc;

	rc = birth_set_options(inject->tid, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
	if (rc < 0)
		return rc;
	rc = inject_check_area(inject);
	inject->area = (struct region){0, 0};
	if (rc == 0)
		rc = inject_unmap(inject, area);
	failpoint("left");
	unmap_own(puppet, puppet->own);
	if (!inject->tid)
		return -ESRCH;
	return rc == -EADDRINUSE ? 0 : rc;
}

/* On a thread of the program, which has no control area any more. */
static int reap_child(struct inject *program, pid_t there, struct error *error)
{
	int64_t rc;

	program->area = (struct region){0, 0};
	rc = inject_begin(program, error);
	if (rc < 0)
		return (int)rc;
	rc = birth_reap(program, there);
	inject_end(program);
	return rc < 0 ? error_set(error, (int)rc, NULL, NULL, "reap a child in process %d", program->target->pid) : 0;
}

/* Another one where it was killed, and another control area where the one before had taken that out already. */
static int stand_again(struct puppet *puppet, struct inject *program, struct error *error)
{
	int rc = puppet_replace(puppet, program, error);

	if (rc != -EADDRINUSE)
		return rc;
	*error = (struct error){0};
	rc = inject_renew(program, error);
	return rc < 0 ? rc : puppet_replace(puppet, program, error);
}

/* *there is its pid as the program has it. -ESRCH: it or the program was killed meanwhile. */
static int64_t leave_and_end(struct puppet *puppet, struct inject *program, pid_t *there, struct error *error)
{
	struct target self;
	int64_t rc = puppet_stands(puppet) ? 0 : stand_again(puppet, program, error);
	pid_t tid;

	failpoint("leaving");
	if (rc == 0)
		rc = inject_begin(&puppet->inject, error);
	if (rc < 0)
		return rc;
	*there = proc_innermost_pid(puppet->self.pid);
	rc = take_out(puppet);
	tid = puppet->inject.tid;
	self = puppet->self;
	puppet->self = TARGET_NONE;
	pidfd_signal(self.pidfd, SIGKILL);
	if (tid) {
		birth_end(tid);
		inject_lost(&puppet->inject);
	}
	puppet_abandon(puppet);
	target_close(&self);
	return rc < 0 ? error_set(error, (int)rc, NULL, NULL, "remove the control area from process %d",
				  program->target->pid)
		      : 0;
}

int puppet_end(struct puppet *puppet, struct inject *program, struct error *error)
{
	bool child = puppet->child;
	pid_t there = 0;
	int tries = 0;
	int64_t rc;

	do {
		*error = (struct error){0};
		rc = leave_and_end(puppet, program, &there, error);
	} while (puppet_killed(puppet, rc) && ++tries < END_TRIES && target_alive(program->target));
	if (!puppet->self.pid)
		puppet_kill_strays(puppet, program->target);
	if (rc < 0)
		return (int)rc;
	return child ? reap_child(program, there, error) : 0;
}
