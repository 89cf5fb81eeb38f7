/* SPDX-License-Identifier: MIT */
/*
 * The road by ptrace: system calls on a puppet in the program's memory or, without one, on a thread of the program that
 * is stopped for it.
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
#include "access/settle.h"
#include "access/target_ops.h"
#include "base/cleanup.h"
#include "base/pidfd.h"
#include "base/size.h"
#include "inject/area.h"
#include "inject/far.h"
#include "puppet/fd.h"
#include "uffd/uffd.h"

#define PUPPET_TRIES  3
#define PUPPET_END_MS 5000

/* A puppet that was killed is no end of its program. */
static int64_t unless_lost(const struct road *road, int64_t rc)
{
	return rc == -ESRCH && road->ops == &target_by_puppet && target_alive(road->target) ? -ETIMEDOUT : rc;
}

/* Unreadable address space of the target, aligned so that huge pages can move whole. The thread is stopped. */
static int map_staging(struct road *road, struct inject *inject, uint64_t place, uint64_t bytes)
{
	int64_t at = inject_map_far(inject, place, bytes, PROT_NONE, MAP_NORESERVE);
	int64_t rc;

	if (at < 0 && at > -4096)
		return (int)at;
	road->staging = (struct region){(uint64_t)at, (uint64_t)at + bytes};
	rc = inject_call3(inject, SYS_madvise, road->staging.start, bytes, MADV_DONTFORK);
	if (rc == 0)
		inject_name(inject, road->staging);
	return (int)rc;
}

/* Both make calls in the same control area. */
static void share_area(struct road *road, const struct inject *from)
{
	struct inject *to = from == &road->inject ? &road->puppet.inject : &road->inject;

	road->control = from->area;
	to->area = from->area;
	to->scratch = from->scratch;
}

/* Another control area is made when the program has mapped something over that one. */
static int begin_with(struct road *road, struct inject *inject, struct error *error)
{
	int rc = inject->area.end ? inject_begin(inject, error) : -EADDRINUSE;

	if (rc != -EADDRINUSE)
		return rc;
	*error = (struct error){0};
	rc = inject_renew(inject, error);
	share_area(road, inject);
	return rc < 0 ? rc : inject_begin(inject, error);
}

/* One that was killed, or of which the program has mapped over the code, has taken its descriptors with it. */
static int replace_puppet(struct road *road, struct error *error)
{
	int rc;

	road->number = -1;
	rc = puppet_replace(&road->puppet, &road->inject, error);
	if (rc == -EADDRINUSE) {
		*error = (struct error){0};
		rc = inject_renew(&road->inject, error);
		road->control = road->inject.area;
		if (rc == 0)
			rc = puppet_replace(&road->puppet, &road->inject, error);
	}
	road->holder = road->puppet.self.pid;
	return rc;
}

/* What it shares would live on without the program. */
static void look(struct road *road)
{
	if (road->puppet.self.pid && !puppet_shares(&road->puppet, road->target))
		puppet_kill(&road->puppet);
}

/* It may be killed at any moment. */
static int begin_on_puppet(struct road *road, struct error *error)
{
	int rc = -ESRCH;

	for (int tries = 0; rc == -ESRCH && tries < PUPPET_TRIES && target_alive(road->target); tries++) {
		*error = (struct error){0};
		look(road);
		rc = puppet_stands(&road->puppet) ? 0 : replace_puppet(road, error);
		if (rc == 0)
			rc = begin_with(road, &road->puppet.inject, error);
	}
	if (unless_lost(road, rc) == rc)
		return rc;
	return error_set(error, -ETIMEDOUT, "its puppet is killed again and again", "see who does that",
			 "make calls in process %d", road->target->pid);
}

static int begin(struct road *road, struct error *error)
{
	return road->ops == &target_by_puppet ? begin_on_puppet(road, error)
					      : begin_with(road, road_hands(road), error);
}

/*
 * A program that locks all that it maps (mlockall(2), MCL_FUTURE) may have more locked than a process without
 * capabilities, as the puppet is, may add to: then its own thread maps the area.
 */
static int map_by_thread(struct road *road, uint64_t place, uint64_t bytes, struct error *error)
{
	int rc = begin_with(road, &road->inject, error);

	if (rc < 0)
		return rc;
	rc = map_staging(road, &road->inject, place, bytes);
	inject_end(&road->inject);
	return rc;
}

static int make_staging(struct road *road, uint64_t bytes, struct error *error)
{
	uint64_t place;
	int rc = far_choose(road->target, bytes, &place);

	if (rc < 0)
		return error_set(error, rc, NULL, NULL, "find room for a staging area in process %d",
				 road->target->pid);
	rc = begin(road, error);
	if (rc < 0)
		return rc;
	rc = map_staging(road, road_hands(road), place, bytes);
	inject_end(road_hands(road));
	if (rc == -EAGAIN && road->puppet.self.pid)
		rc = map_by_thread(road, place, bytes, error);
	if (rc < 0)
		return error_set(error, rc, NULL,
				 rc == -ENOMEM ? "its address space or mapping count is at a limit" : NULL,
				 "map a staging area in process %d", road->target->pid);
	return 0;
}

static int make(struct road *road, uint64_t bytes, int uffd[2], struct error *error)
{
	int ignored;
	int rc;

	uffd[0] = inject_userfaultfd(road_hands(road), true, &road->number, error);
	if (uffd[0] < 0)
		return uffd[0];
	uffd[1] = inject_userfaultfd(road_hands(road), false, &ignored, error);
	if (uffd[1] < 0)
		return uffd[1];
	rc = make_staging(road, bytes, error);
	road->control = road->inject.area;
	return rc;
}

static void abandon(struct road *road)
{
	puppet_abandon(&road->puppet);
	inject_abandon(&road->inject);
	*road = ROAD_NONE;
}

/* The program may have closed it and opened something else under its number. */
static bool is_uffd(struct road *road)
{
	const struct target *target = road_hands(road)->target;
	char path[64];
	int rc;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/fd/%d", target->pid, target_thread(target), road->number);
	do
		rc = uffd_link_is(AT_FDCWD, path);
	while (rc == -ENOMEM);
	return rc > 0;
}

/* The thread or the puppet is let go of. */
static int leave_control(struct road *road, struct error *error)
{
	pid_t pid = road->target->pid;
	int rc;

	if (road->puppet.self.pid) {
		rc = (int)unless_lost(road, puppet_end(&road->puppet, &road->inject, error));
		if (rc == 0)
			abandon(road);
		return rc;
	}
	rc = inject_close(&road->inject);
	*road = ROAD_NONE;
	return rc < 0 ? error_set(error, rc, NULL, NULL, "remove the control area from process %d", pid) : 0;
}

static int leave(struct road *road, struct error *error)
{
	struct inject *inject;
	int rc = begin(road, error);

	if (rc < 0)
		return rc;
	inject = road_hands(road);
	if (road->staging.end)
		inject_call(inject, SYS_munmap, road->staging.start, region_bytes(road->staging), 0, 0, 0, 0);
	if (road->number > 0 && is_uffd(road))
		inject_fd_close(inject, road->number);
	inject_end(inject);
	return leave_control(road, error);
}

static int enter_with(struct road *road, uint64_t bytes, int uffd[2], bool puppet, struct error *error)
{
	int rc = puppet ? puppet_make(&road->puppet, &road->inject, error) : 0;

	road->holder = puppet ? road->puppet.self.pid : road->target->pid;
	return rc < 0 ? rc : make(road, bytes, uffd, error);
}

static int enter_by(const struct target_ops *ops, struct road *road, const struct target *target, uint64_t bytes,
		    int uffd[2], struct error *error)
{
	struct error ignored = {0};
	int rc;

	*road = ROAD_NONE;
	road->ops = ops;
	road->target = target;
	uffd[0] = uffd[1] = -1;
	rc = inject_open(&road->inject, target, error);
	if (rc < 0) {
		*road = ROAD_NONE;
		return rc;
	}
	rc = enter_with(road, bytes, uffd, ops == &target_by_puppet, error);
	if (rc == 0)
		return 0;
	road->ops = &target_by_inject; /* no puppet is made to leave */
	if (leave(road, &ignored) < 0 && road->ops)
		abandon(road);
	for (int i = 0; i < 2; i++)
		cleanup_close(&uffd[i]);
	return rc;
}

static int enter(struct road *road, const struct target *target, uint64_t bytes, int uffd[2], struct error *error)
{
	return enter_by(&target_by_inject, road, target, bytes, uffd, error);
}

static int enter_by_puppet(struct road *road, const struct target *target, uint64_t bytes, int uffd[2],
			   struct error *error)
{
	return enter_by(&target_by_puppet, road, target, bytes, uffd, error);
}

static int rejoin_by(const struct target_ops *ops, struct road *road, const struct target *target, struct error *error)
{
	int uffd;
	int rc = inject_rejoin(&road->inject, target, road->control, error);

	road->ops = ops;
	road->target = target;
	if (rc == 0 && ops == &target_by_puppet)
		rc = puppet_find(&road->puppet, &road->inject, &road->record, error);
	if (rc < 0) {
		abandon(road);
		return rc;
	}
	road->holder = road_hands(road)->target->pid;
	uffd = inject_fd_take(road_hands(road), road->number);
	if (uffd >= 0)
		return uffd;
	abandon(road);
	return error_set(error, uffd, uffd == -EBADF ? "the process has closed it" : NULL,
			 uffd == -EPERM ? "run as root or with CAP_SYS_PTRACE" : NULL,
			 "take the userfaultfd of process %d", target->pid);
}

static int rejoin(struct road *road, const struct target *target, struct error *error)
{
	return rejoin_by(&target_by_inject, road, target, error);
}

static int rejoin_by_puppet(struct road *road, const struct target *target, struct error *error)
{
	return rejoin_by(&target_by_puppet, road, target, error);
}

static int new_uffd(struct road *road, struct error *error)
{
	int ignored;

	return inject_userfaultfd(&road->inject, false, &ignored, error);
}

/*
 * A thread that was stopped finishes what it was sent to do, and goes its own way. One that cannot, because its process
 * is stopped, finds its way later: by the control area as it is now, so that others need another one.
 */
static int resume(struct road *road, uint64_t turn)
{
	const int patience_ms = 5000;
	struct error ignored = {0};
	int rc;

	inject_reset(&road->inject);
	road->inject.frame = (unsigned int)turn;
	rc = inject_settle(&road->inject, patience_ms);
	if (rc != -EINPROGRESS)
		return rc == -ETIMEDOUT ? -EBUSY : rc;
	inject_renew(&road->inject, &ignored);
	share_area(road, &road->inject);
	return 0;
}

/* What cannot be looked at makes no call once it has ended. */
static int end_puppet(struct road *road)
{
	pidfd_signal(road->puppet.self.pidfd, SIGKILL);
	return target_ends(&road->puppet.self, PUPPET_END_MS) ? 0 : -EBUSY;
}

/* Its call ends before it stops, and it goes home. One that was killed will be replaced. */
static int resume_puppet(struct road *road, uint64_t turn)
{
	struct error ignored = {0};
	int rc = resume(road, turn);

	puppet_kill_strays(&road->puppet, road->target);
	if (!road->puppet.self.pid)
		return rc;
	inject_reset(&road->puppet.inject);
	if (rc == 0)
		rc = inject_begin(&road->puppet.inject, &ignored);
	if (rc == 0)
		inject_end(&road->puppet.inject);
	if (rc == -ETIMEDOUT)
		rc = end_puppet(road);
	return rc == -ESRCH && target_alive(road->target) ? 0 : rc;
}

/* A thread cannot be made to wait before its next fork. */
static int forks(struct road *road, bool ask)
{
	(void)road;
	return ask ? -EPERM : 0;
}

static int end(struct road *road)
{
	return road_hands(road)->tid ? inject_end(road_hands(road)) : 0;
}

/*
 * A program that locks all of its memory locks this too: it would be populated here, and nothing could be moved from
 * memory that is not locked.
 */
static int64_t protect(struct road *road, struct region region, int protection)
{
	inject_call(road_hands(road), SYS_munlock, region.start, region_bytes(region), 0, 0, 0, 0);
	return unless_lost(road, inject_call3(road_hands(road), SYS_mprotect, region.start, region_bytes(region),
					      (uint64_t)protection));
}

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

/* Between the look and the call lies nothing but the way of what makes it into the kernel. */
static int64_t discard(struct road *road, struct region region, int uffd)
{
	struct inject *inject = road_hands(road);
	int64_t rc =
		inject_enter(inject, SYS_madvise, region.start, region_bytes(region), MADV_DONTNEED_LOCKED, 0, 0, 0);

	if (rc < 0)
		return unless_lost(road, rc);
	if (!uffd_changing(uffd))
		return unless_lost(road, inject_finish(inject));
	rc = inject_cancel(inject);
	return rc < 0 ? unless_lost(road, rc) : -EADDRINUSE;
}

static int64_t populate(struct road *road, struct region region)
{
	return unless_lost(road, inject_call3(road_hands(road), SYS_madvise, region.start, region_bytes(region),
					      MADV_POPULATE_WRITE));
}

static int64_t drop_area(struct road *road, bool ours)
{
	struct region area = road->staging;

	if (!ours)
		return 0;
	return unless_lost(road, inject_call(road_hands(road), SYS_munmap, area.start, region_bytes(area), 0, 0, 0, 0));
}

static int new_area(struct road *road, struct error *error)
{
	return make_staging(road, region_bytes(road->staging), error);
}

static int64_t give(struct road *road, int uffd)
{
	int number = inject_fd_keep(road_hands(road), uffd);

	if (number < 0)
		return unless_lost(road, number);
	road->number = number;
	return 0;
}

static int keep(struct road *road, int fd)
{
	return (int)unless_lost(road, inject_fd_keep(road_hands(road), fd));
}

static void drop(struct road *road, int number, int fd)
{
	if (inject_fd_is(road_hands(road), number, fd))
		inject_fd_close(road_hands(road), number);
}

static int take(struct road *road, int number)
{
	return inject_fd_take(road_hands(road), number);
}

/*
 * What the last move left in the scratch memory would be moved again, unknown to the index, if this process died before
 * it wrote the next: a length of zero is refused.
 */
static int move_enter(struct road *road)
{
	const struct uffdio_move nothing = {0};
	struct inject *inject = road_hands(road);
	int64_t rc = inject_write(inject, inject->scratch, &nothing, sizeof(nothing));

	if (rc == 0)
		rc = inject_enter(inject, SYS_ioctl, (uint64_t)road->number, UFFDIO_MOVE, inject->scratch, 0, 0, 0);
	return (int)unless_lost(road, rc);
}

static int move_cancel(struct road *road)
{
	return (int)unless_lost(road, inject_cancel(road_hands(road)));
}

static int64_t move(struct road *road, struct uffdio_move *argument)
{
	struct inject *inject = road_hands(road);
	int64_t rc = inject_write(inject, inject->scratch, argument, sizeof(*argument));

	if (rc < 0)
		return inject_cancel(inject) < 0 ? unless_lost(road, -ESRCH) : rc;
	rc = inject_finish(inject);
	if (rc == -ESRCH) {
		/* What it was told to do it does no more once it has ended. */
		if (road->puppet.self.pid)
			target_ends(&road->puppet.self, PUPPET_END_MS);
		return unless_lost(road, rc);
	}
	/* What has moved is to be found out in another way then. */
	if (inject_read(inject, inject->scratch, argument, sizeof(*argument)) < 0)
		return target_alive(road->target) ? -ETIMEDOUT : -ESRCH;
	return rc;
}

static ssize_t read_staging(struct road *road, const struct iovec *here, const struct iovec *there, unsigned int count)
{
	ssize_t got = process_vm_readv(road->target->pid, here, count, there, count, 0);

	if (got < 0 && errno == ESRCH) /* the main thread has ended, and its memory with it */
		got = process_vm_readv(target_thread(road->target), here, count, there, count, 0);
	return got < 0 ? -errno : got;
}

/* With a puppet no thread of the program is stopped. */
static bool discards_done(struct road *road)
{
	return places_outside_madvise(road->target, road->puppet.self.pid ? NULL : &road->inject);
}

static uint64_t held_us(const struct road *road)
{
	return inject_held_us(road->puppet.self.pid ? &road->puppet.inject : &road->inject);
}

static struct region in_use(const struct road *road)
{
	return road->puppet.self.pid ? (struct region){0, 0} : inject_rseq_pages(&road->inject);
}

static int memory(const struct road *road)
{
	return road->inject.mem_fd;
}

/* prctl(PR_GET_TID_ADDRESS) is there for checkpointing (kernel/sys.c): EINVAL without it. */
static int ask(struct road *road, pid_t tid, struct thread_words *words)
{
	struct inject *inject = &road->inject;
	struct error ignored = {0};
	int64_t rc = inject_begin_on(inject, tid, &ignored);

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

static int processor(const struct road *road)
{
	return road->puppet.self.pid ? -1 : inject_processor(&road->inject);
}

static unsigned int descriptors(const struct road *road, int *fds)
{
	unsigned int count = 0;

	if (road->inject.mem_fd >= 0) {
		fds[count++] = road->inject.mem_fd;
		fds[count++] = road->inject.maps_fd;
	}
	if (road->puppet.self.pid) {
		fds[count++] = road->puppet.self.pidfd;
		fds[count++] = road->puppet.inject.mem_fd;
		fds[count++] = road->puppet.inject.maps_fd;
	}
	return count;
}

static unsigned int reap(struct road *road)
{
	int left = inject_reap(&road->inject);

	return (unsigned int)(road->puppet.self.pid ? left + inject_reap(&road->puppet.inject) : left);
}

static void look_nowhere(struct road *road)
{
	(void)road;
}

/* What the two roads have in common. */
#define BY_PTRACE                                                                                                    \
	.life.leave = leave, .life.abandon = abandon, .life.forks = forks, .calls.begin = begin, .calls.end = end,   \
	.calls.held_us = held_us, .calls.in_use = in_use, .calls.ask = ask, .calls.processor = processor,            \
	.calls.reap = reap, .area.protect = protect, .area.discard = discard, .area.populate = populate,             \
	.area.drop = drop_area, .area.renew = new_area, .area.read = read_staging, .move.enter = move_enter,         \
	.move.make = move, .move.cancel = move_cancel, .fds.new_uffd = new_uffd, .fds.give = give, .fds.keep = keep, \
	.fds.drop = drop, .fds.take = take, .fds.memory = memory, .fds.list = descriptors,                           \
	.discards_done = discards_done

const struct target_ops target_by_inject = {
	.name = "inject",
	.life.enter = enter,
	.life.rejoin = rejoin,
	.life.resume = resume,
	.life.look = look_nowhere,
	BY_PTRACE,
};

const struct target_ops target_by_puppet = {
	.name = "puppet",
	.life.enter = enter_by_puppet,
	.life.rejoin = rejoin_by_puppet,
	.life.resume = resume_puppet,
	.life.look = look,
	BY_PTRACE,
};
