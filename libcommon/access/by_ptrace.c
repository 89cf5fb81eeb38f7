/* SPDX-License-Identifier: MIT */
/*
 * By ptrace: system calls on a puppet in the program's memory or, without one, on a thread of the program
 * that is stopped for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "access/places.h"
#include "access/quiesce.h"
#include "access/target_ops.h"
#include "base/cleanup.h"
#include "base/pidfd.h"
#include "base/size.h"
#include "inject/area.h"
#include "inject/far.h"
#include "puppet/fd.h"
#include "service/failpoint.h"
#include "uffd/uffd.h"

#define PUPPET_TRIES  3
#define PUPPET_END_MS 5000

/* A puppet that was killed is no end of its program. */
static int64_t unless_lost(const struct access *access, int64_t rc)
{
	return rc == -ESRCH && access->method == ACCESS_PUPPET && target_alive(access->target) ? -ETIMEDOUT : rc;
}

/* Unreadable address space of the target, aligned so that huge pages can move whole. The thread is stopped. */
static int map_staging(struct access *access, struct inject *inject, uint64_t place, uint64_t bytes)
{
	int64_t at = inject_map_far(inject, place, bytes, PROT_NONE, MAP_NORESERVE);
	int64_t rc;

	if (inject_failed(at))
		return (int)at;
	access->staging = region_at((uint64_t)at, bytes);
	rc = inject_call3(inject, SYS_madvise, access->staging.start, bytes, MADV_DONTFORK);
	if (rc == 0)
		inject_name(inject, access->staging, "uvmtools");
	return (int)rc;
}

/* Both make calls in the same control area. */
static void share_area(struct access *access, const struct inject *from)
{
	struct inject *to = from == &access->inject ? &access->puppet.inject : &access->inject;

	access->control = from->area;
	to->area = from->area;
	to->scratch = from->scratch;
}

/* Another control area is made when the program has mapped something over the first. */
static int begin_with(struct access *access, struct inject *inject, struct error *error)
{
	int rc = inject->area.end ? inject_begin(inject, error) : -EADDRINUSE;

	if (rc != -EADDRINUSE)
		return rc;
	*error = (struct error){0};
	rc = inject_renew(inject, error);
	share_area(access, inject);
	return rc < 0 ? rc : inject_begin(inject, error);
}

static int renew_area(struct access *access, struct error *error)
{
	int rc;

	*error = (struct error){0};
	rc = inject_renew(&access->inject, error);
	share_area(access, &access->inject);
	return rc;
}

/* One that was killed, or of which the program has mapped over the code, has taken its descriptors with it. */
static int replace_puppet(struct access *access, struct error *error)
{
	int rc;

	access->number = -1;
	rc = puppet_replace(&access->puppet, &access->inject, error);
	if (rc == -EADDRINUSE) {
		rc = renew_area(access, error);
		if (rc == 0)
			rc = puppet_replace(&access->puppet, &access->inject, error);
	}
	access->holder = access->puppet.self.pid;
	return rc;
}

/* It may be killed at any moment. */
static int begin_on_puppet(struct access *access, struct error *error)
{
	int tries = 0;
	int rc;

	do {
		*error = (struct error){0};
		access_check(access);
		rc = puppet_stands(&access->puppet) ? 0 : replace_puppet(access, error);
		if (rc == 0)
			rc = begin_with(access, &access->puppet.inject, error);
	} while (puppet_killed(&access->puppet, rc) && ++tries < PUPPET_TRIES && target_alive(access->target));
	if (unless_lost(access, rc) == rc)
		return rc;
	return error_set(error, -ETIMEDOUT, "its puppet is killed again and again", "see who does that",
			 "make calls in process %d", access->target->pid);
}

static int begin_calls(struct access *access, struct error *error)
{
	return access->method == ACCESS_PUPPET ? begin_on_puppet(access, error)
					       : begin_with(access, access_injector(access), error);
}

/*
 * A program that locks all that it maps (mlockall(2), MCL_FUTURE) may have more locked than a process without
 * capabilities, as the puppet is, may add to: then its own thread maps the area.
 */
static int map_by_thread(struct access *access, uint64_t place, uint64_t bytes, struct error *error)
{
	int rc = begin_with(access, &access->inject, error);

	if (rc < 0)
		return rc;
	rc = map_staging(access, &access->inject, place, bytes);
	inject_end(&access->inject);
	return rc;
}

static int make_staging(struct access *access, uint64_t bytes, struct error *error)
{
	uint64_t place;
	int rc = far_choose(access->target, bytes, &place);

	if (rc < 0)
		return error_set(error, rc, NULL, NULL, "find room for a staging area in process %d",
				 access->target->pid);
	rc = begin_calls(access, error);
	if (rc < 0)
		return rc;
	rc = map_staging(access, access_injector(access), place, bytes);
	inject_end(access_injector(access));
	if (rc == -EAGAIN && access->puppet.self.pid)
		rc = map_by_thread(access, place, bytes, error);
	if (rc < 0)
		return error_set(error, rc, NULL,
				 rc == -ENOMEM ? "its address space or mapping count is at a limit" : NULL,
				 "map a staging area in process %d", access->target->pid);
	return 0;
}

static int make_session(struct access *access, uint64_t bytes, int uffd[2], struct error *error)
{
	int ignored;
	int rc;

	uffd[0] = inject_userfaultfd(access_injector(access), true, &access->number, error);
	if (uffd[0] < 0)
		return uffd[0];
	uffd[1] = inject_userfaultfd(access_injector(access), false, &ignored, error);
	if (uffd[1] < 0)
		return uffd[1];
	rc = make_staging(access, bytes, error);
	access->control = access->inject.area;
	return rc;
}

static void abandon_access(struct access *access)
{
	puppet_abandon(&access->puppet);
	inject_abandon(&access->inject);
	*access = ACCESS_NONE;
}

/* The program may have closed it and opened something else under its number. */
static bool is_uffd(struct access *access)
{
	const struct target *target = access_injector(access)->target;
	char path[64];
	int rc;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/fd/%d", target->pid, target_thread(target), access->number);
	do
		rc = uffd_link_is(AT_FDCWD, path);
	while (rc == -ENOMEM);
	return rc > 0;
}

/* The thread or the puppet is let go of. */
static int leave_control(struct access *access, struct error *error)
{
	pid_t pid = access->target->pid;
	int rc;

	if (access->puppet.self.pid) {
		rc = (int)unless_lost(access, puppet_end(&access->puppet, &access->inject, error));
		if (rc == 0)
			abandon_access(access);
		return rc;
	}
	rc = inject_close(&access->inject);
	*access = ACCESS_NONE;
	return rc < 0 ? error_set(error, rc, NULL, NULL, "remove the control area from process %d", pid) : 0;
}

static int leave_program(struct access *access, struct error *error)
{
	struct inject *inject;
	int rc = begin_calls(access, error);

	if (rc < 0)
		return rc;
	inject = access_injector(access);
	inject_unmap(inject, access->staging);
	if (access->number > 0 && is_uffd(access))
		inject_fd_close(inject, access->number);
	inject_end(inject);
	return leave_control(access, error);
}

static int make_all(struct access *access, uint64_t bytes, int uffd[2], struct error *error)
{
	int rc = 0;

	if (access->method == ACCESS_PUPPET)
		rc = puppet_make(&access->puppet, &access->inject, error);
	access->holder = access_injector(access)->target->pid;
	return rc < 0 ? rc : make_session(access, bytes, uffd, error);
}

static int enter_program(struct access *access, const struct target *target, uint64_t bytes, int uffd[2],
			 struct error *error)
{
	struct error ignored = {0};
	int rc = inject_open(&access->inject, target, error);

	uffd[0] = uffd[1] = -1;
	if (rc < 0) {
		*access = ACCESS_NONE;
		return rc;
	}
	access->ops = &target_by_ptrace;
	access->target = target;
	rc = make_all(access, bytes, uffd, error);
	if (rc == 0)
		return 0;
	access->method = ACCESS_PTRACE; /* no puppet is made to leave */
	if (leave_program(access, &ignored) < 0 && access->ops)
		abandon_access(access);
	for (int i = 0; i < 2; i++)
		cleanup_close(&uffd[i]);
	return rc;
}

/*
 * The program may have mapped something over the control area, and wait for its pages all the same: the next one to
 * make a call makes another.
 */
static int rejoin_area(struct access *access, const struct target *target, struct error *error)
{
	int rc = inject_rejoin(&access->inject, target, access->control, error);

	if (rc != -ENOENT)
		return rc;
	*error = (struct error){0};
	return inject_rejoin(&access->inject, target, (struct region){0, 0}, error);
}

static int rejoin_program(struct access *access, const struct target *target, struct error *error)
{
	int uffd;
	int rc = rejoin_area(access, target, error);

	access->ops = &target_by_ptrace;
	access->target = target;
	if (rc == 0 && access->method == ACCESS_PUPPET)
		rc = puppet_find(&access->puppet, &access->inject, &access->record, error);
	if (rc < 0) {
		abandon_access(access);
		return rc;
	}
	access->holder = access_injector(access)->target->pid;
	uffd = inject_fd_take(access_injector(access), access->number);
	if (uffd >= 0)
		return uffd;
	abandon_access(access);
	return error_set(error, uffd, uffd == -EBADF ? "the process has closed it" : NULL,
			 uffd == -EPERM ? "run as root or with CAP_SYS_PTRACE" : NULL,
			 "take the userfaultfd of process %d", target->pid);
}

static int new_uffd(struct access *access, struct error *error)
{
	int ignored;
	int uffd = inject_userfaultfd(&access->inject, false, &ignored, error);

	if (uffd != -EADDRINUSE)
		return uffd;
	uffd = renew_area(access, error);
	return uffd < 0 ? uffd : inject_userfaultfd(&access->inject, false, &ignored, error);
}

/*
 * A thread that was stopped finishes what it was sent to do, and goes its own way. One that cannot, because its process
 * is stopped, finds its way later: by the control area as it is now, so that others need another one.
 */
static int resume_thread(struct access *access, uint64_t turn)
{
	const int patience_ms = 5000;
	struct error ignored = {0};
	int rc;

	inject_reset(&access->inject);
	access->inject.frame = (unsigned int)turn;
	rc = inject_quiesce(&access->inject, patience_ms);
	if (rc != -EINPROGRESS)
		return rc == -ETIMEDOUT ? -EBUSY : rc;
	inject_renew(&access->inject, &ignored);
	share_area(access, &access->inject);
	return 0;
}

/* What cannot be inspected makes no call once it has ended. */
static int end_puppet(struct access *access)
{
	pidfd_signal(access->puppet.self.pidfd, SIGKILL);
	return target_ends(&access->puppet.self, PUPPET_END_MS) ? 0 : -EBUSY;
}

/* The worker before may have made another control area, or another puppet, than this process knows of. */
static void take_up_record(struct access *access)
{
	const struct puppet_record known = puppet_record(&access->puppet);
	struct error ignored = {0};

	access->inject.area = access->control;
	access->inject.scratch = access->control.start + AREA_FRAMES;
	share_area(access, &access->inject);
	if (access->method != ACCESS_PUPPET || memcmp(&known, &access->record, sizeof(known)) == 0)
		return;
	puppet_abandon(&access->puppet);
	puppet_find(&access->puppet, &access->inject, &access->record, &ignored);
	access->holder = access_injector(access)->target->pid;
}

/* A puppet's call ends before it stops, and it goes home. One that was killed will be replaced. */
static int resume_calls(struct access *access, uint64_t turn)
{
	struct error ignored = {0};
	int rc;

	take_up_record(access);
	rc = resume_thread(access, turn);
	if (access->method == ACCESS_PUPPET)
		puppet_kill_strays(&access->puppet, access->target);
	if (!access->puppet.self.pid)
		return rc;
	inject_reset(&access->puppet.inject);
	if (rc == 0)
		rc = inject_begin(&access->puppet.inject, &ignored);
	if (rc == 0)
		inject_end(&access->puppet.inject);
	if (rc == -ETIMEDOUT)
		rc = end_puppet(access);
	return rc == -ESRCH && target_alive(access->target) ? 0 : rc;
}

/* A thread cannot be made to wait before its next fork. */
static int announce_forks(struct access *access, bool ask)
{
	(void)access;
	return ask ? -EPERM : 0;
}

static int end_calls(struct access *access)
{
	return access_injector(access)->tid ? inject_end(access_injector(access)) : 0;
}

/*
 * A program that locks all of its memory locks this too: it would be populated here, and nothing could be moved from
 * memory that is not locked.
 */
static int64_t protect_region(struct access *access, struct region region, int protection)
{
	inject_call(access_injector(access), SYS_munlock, region.start, region_bytes(region), 0, 0, 0, 0);
	return unless_lost(access, inject_call3(access_injector(access), SYS_mprotect, region.start,
						region_bytes(region), (uint64_t)protection));
}

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

/*
 * Nothing is lost that a program puts there meanwhile, however long it takes until the calls are made: its thread waits
 * in its own call for the event to be read, and so does not see that its pages are away for a moment. What lies in two
 * mappings is not moved at all (mm/mremap.c).
 */
static int64_t take_away(struct access *access, struct region region, int uffd)
{
	struct inject *inject = access_injector(access);
	uint64_t bytes = region_bytes(region);
	int64_t at;

	failpoint("taking-away");
	at = inject_call(inject, SYS_mremap, region.start, bytes, bytes, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0, 0);
	if (inject_failed(at))
		return uffd_changing(uffd) ? -EADDRINUSE : unless_lost(access, at);
	if (!uffd_changing(uffd))
		return unless_lost(access, inject_unmap(inject, region_at((uint64_t)at, bytes)));
	at = inject_call(inject, SYS_mremap, (uint64_t)at, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, region.start,
			 0);
	return inject_failed(at) ? unless_lost(access, at) : -EADDRINUSE;
}

/* Between the check and the call lies nothing but the way of what makes it into the kernel. */
static int64_t discard_region(struct access *access, struct region region, int uffd)
{
	struct inject *inject = access_injector(access);
	int64_t rc;

	if (access->mapped_over)
		return take_away(access, region, uffd);
	rc = inject_enter(inject, SYS_madvise, region.start, region_bytes(region), MADV_DONTNEED_LOCKED, 0, 0, 0);
	if (rc < 0)
		return unless_lost(access, rc);
	if (!uffd_changing(uffd))
		return unless_lost(access, inject_finish(inject));
	rc = inject_cancel(inject);
	return rc < 0 ? unless_lost(access, rc) : -EADDRINUSE;
}

static int64_t populate_region(struct access *access, struct region region)
{
	return unless_lost(access, inject_call3(access_injector(access), SYS_madvise, region.start,
						region_bytes(region), MADV_POPULATE_WRITE));
}

static int64_t drop_area(struct access *access, bool ours)
{
	return ours ? unless_lost(access, inject_unmap(access_injector(access), access->staging)) : 0;
}

static int new_area(struct access *access, struct error *error)
{
	return make_staging(access, region_bytes(access->staging), error);
}

static int64_t give_uffd(struct access *access, int uffd)
{
	int number = inject_fd_keep(access_injector(access), uffd);

	if (number < 0)
		return unless_lost(access, number);
	access->number = number;
	return 0;
}

static int store_fd(struct access *access, int fd)
{
	return (int)unless_lost(access, inject_fd_keep(access_injector(access), fd));
}

static void drop_fd(struct access *access, int number, int fd)
{
	if (inject_fd_is(access_injector(access), number, fd))
		inject_fd_close(access_injector(access), number);
}

static int take_fd(struct access *access, int number)
{
	return inject_fd_take(access_injector(access), number);
}

/*
 * What the last move left in the scratch memory would be moved again, unknown to the index, if this process died before
 * it wrote the next: a length of zero is refused.
 */
static int move_enter(struct access *access)
{
	const struct uffdio_move nothing = {0};
	struct inject *inject = access_injector(access);
	int64_t rc = inject_write(inject, inject->scratch, &nothing, sizeof(nothing));

	if (rc == 0)
		rc = inject_enter(inject, SYS_ioctl, (uint64_t)access->number, UFFDIO_MOVE, inject->scratch, 0, 0, 0);
	return (int)unless_lost(access, rc);
}

static int move_cancel(struct access *access)
{
	return (int)unless_lost(access, inject_cancel(access_injector(access)));
}

static int64_t finish_move(struct access *access, struct uffdio_move *argument)
{
	struct inject *inject = access_injector(access);
	int64_t rc = inject_write(inject, inject->scratch, argument, sizeof(*argument));

	if (rc < 0)
		return inject_cancel(inject) < 0 ? unless_lost(access, -ESRCH) : rc;
	rc = inject_finish(inject);
	if (rc == -ESRCH) {
		/* What it was told to do it does no more once it has ended. */
		if (access->puppet.self.pid)
			target_ends(&access->puppet.self, PUPPET_END_MS);
		return unless_lost(access, rc);
	}
	/* What has moved is to be found out in another way then. */
	if (inject_read(inject, inject->scratch, argument, sizeof(*argument)) < 0)
		return target_alive(access->target) ? -ETIMEDOUT : -ESRCH;
	return rc;
}

static ssize_t read_staging(struct access *access, const struct iovec *here, const struct iovec *there,
			    unsigned int count)
{
	ssize_t got = process_vm_readv(access->target->pid, here, count, there, count, 0);

	if (got < 0 && errno == ESRCH) /* the main thread has ended, and its memory with it */
		got = process_vm_readv(target_thread(access->target), here, count, there, count, 0);
	return got < 0 ? -errno : got;
}

/* With a puppet no thread of the program is stopped. */
static bool discards_done(struct access *access)
{
	return places_outside_madvise(access->target, access->puppet.self.pid ? NULL : &access->inject);
}

/* prctl(PR_GET_TID_ADDRESS) is there for checkpointing (kernel/sys.c): EINVAL without it. */
static int ask_thread(struct access *access, pid_t tid, struct thread_words *words)
{
	struct inject *inject = &access->inject;
	struct error ignored = {0};
	int64_t rc = inject_begin_on(inject, tid, &ignored);

	if (rc == -EADDRINUSE && renew_area(access, &ignored) == 0)
		rc = inject_begin_on(inject, tid, &ignored);
	if (rc < 0)
		return (int)rc;
	words->rseq = inject_rseq(inject).start;
	rc = inject_call(inject, SYS_prctl, PR_GET_TID_ADDRESS, inject->scratch, 0, 0, 0, 0);
	if (rc == 0)
		rc = inject_read(inject, inject->scratch, &words->word, sizeof(words->word));
	if (inject->tid)
		inject_end(inject);
	return rc == -EINVAL ? -EOPNOTSUPP : rc == -ETIMEDOUT ? -EAGAIN : (int)rc;
}

const struct target_ops target_by_ptrace = {
	.life.enter = enter_program,
	.life.rejoin = rejoin_program,
	.life.leave = leave_program,
	.life.abandon = abandon_access,
	.life.resume = resume_calls,
	.life.forks = announce_forks,
	.calls.begin = begin_calls,
	.calls.end = end_calls,
	.calls.ask = ask_thread,
	.area.protect = protect_region,
	.area.discard = discard_region,
	.area.populate = populate_region,
	.area.drop = drop_area,
	.area.renew = new_area,
	.area.read = read_staging,
	.move.enter = move_enter,
	.move.make = finish_move,
	.move.cancel = move_cancel,
	.fds.new_uffd = new_uffd,
	.fds.give = give_uffd,
	.fds.keep = store_fd,
	.fds.drop = drop_fd,
	.fds.take = take_fd,
	.discards_done = discards_done,
};
