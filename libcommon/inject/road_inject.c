/* The road by ptrace: system calls on a thread of the program that is stopped for it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/size.h"
#include "inject/far.h"
#include "inject/fd.h"
#include "inject/places.h"
#include "inject/stop.h"
#include "inject/target_ops.h"

/* Unreadable address space of the target, aligned so that huge pages can move whole. The thread is stopped. */
static int map_staging(struct road *road, uint64_t place, uint64_t bytes)
{
	struct inject *inject = &road->inject;
	int64_t at = far_map(inject, place, bytes, PROT_NONE, MAP_NORESERVE);
	int64_t rc;

	if (at < 0 && at > -4096)
		return (int)at;
	road->staging = (struct region){(uint64_t)at, (uint64_t)at + bytes};
	rc = inject_call3(inject, SYS_madvise, road->staging.start, bytes, MADV_DONTFORK);
	if (rc == 0)
		inject_name(inject, road->staging);
	return (int)rc;
}

/* Another control area is made when the program has mapped something over that one. */
static int begin(struct road *road, struct error *error)
{
	int rc = inject_begin(&road->inject, error);

	if (rc != -EADDRINUSE)
		return rc;
	*error = (struct error){0};
	rc = inject_renew(&road->inject, error);
	road->control = road->inject.area;
	return rc < 0 ? rc : inject_begin(&road->inject, error);
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
	rc = map_staging(road, place, bytes);
	inject_end(&road->inject);
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

	uffd[0] = inject_userfaultfd(&road->inject, true, &road->number, error);
	if (uffd[0] < 0)
		return uffd[0];
	uffd[1] = inject_userfaultfd(&road->inject, false, &ignored, error);
	if (uffd[1] < 0)
		return uffd[1];
	rc = make_staging(road, bytes, error);
	road->control = road->inject.area;
	return rc;
}

static void abandon(struct road *road)
{
	inject_abandon(&road->inject);
	*road = ROAD_NONE;
}

/* The program may have closed it and opened something else under its number. */
static bool is_uffd(const struct road *road)
{
	char path[64];
	char link[64] = "";
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/fd/%d", road->target->pid, target_thread(road->target),
		 road->number);
	do
		length = readlink(path, link, sizeof(link) - 1);
	while (length < 0 && errno == ENOMEM);
	return length > 0 && strstr(link, "[userfaultfd]");
}

static int leave(struct road *road, struct error *error)
{
	pid_t pid = road->target->pid;
	int rc = begin(road, error);

	if (rc < 0)
		return rc;
	if (road->staging.end)
		inject_call(&road->inject, SYS_munmap, road->staging.start, region_bytes(road->staging), 0, 0, 0, 0);
	if (road->number > 0 && is_uffd(road))
		inject_fd_close(&road->inject, road->number);
	inject_end(&road->inject);
	rc = inject_close(&road->inject);
	*road = ROAD_NONE;
	return rc < 0 ? error_set(error, rc, NULL, NULL, "remove the control area from process %d", pid) : 0;
}

static int enter(struct road *road, const struct target *target, uint64_t bytes, int uffd[2], struct error *error)
{
	struct error ignored = {0};
	int rc;

	*road = ROAD_NONE;
	road->ops = &target_by_inject;
	road->target = target;
	road->holder = target->pid;
	uffd[0] = uffd[1] = -1;
	rc = inject_open(&road->inject, target, error);
	if (rc < 0) {
		*road = ROAD_NONE;
		return rc;
	}
	rc = make(road, bytes, uffd, error);
	if (rc == 0)
		return 0;
	if (leave(road, &ignored) < 0 && road->ops)
		abandon(road);
	for (int i = 0; i < 2; i++)
		if (uffd[i] >= 0)
			close(uffd[i]);
	return rc;
}

static int rejoin(struct road *road, const struct target *target, struct error *error)
{
	int uffd;
	int rc = inject_rejoin(&road->inject, target, road->control, error);

	road->ops = &target_by_inject;
	road->target = target;
	road->holder = target->pid;
	if (rc < 0)
		return rc;
	uffd = inject_fd_take(&road->inject, road->number);
	if (uffd >= 0)
		return uffd;
	inject_abandon(&road->inject);
	return error_set(error, uffd, uffd == -EBADF ? "the process has closed it" : NULL,
			 uffd == -EPERM ? "run as root or with CAP_SYS_PTRACE" : NULL,
			 "take the userfaultfd of process %d", target->pid);
}

static int new_uffd(struct road *road, struct error *error)
{
	int ignored;

	return inject_userfaultfd(&road->inject, false, &ignored, error);
}

/* A thread that was stopped finishes what it was sent to do, and goes its own way. */
static int resume(struct road *road, uint64_t turn)
{
	const int patience_ms = 5000;

	inject_reset(&road->inject);
	road->inject.frame = (unsigned int)turn;
	return inject_settle(&road->inject, patience_ms);
}

/* A thread cannot be made to wait before its next fork. */
static int forks(struct road *road, bool ask)
{
	(void)road;
	return ask ? -EPERM : 0;
}

static int end(struct road *road)
{
	return road->inject.tid ? inject_end(&road->inject) : 0;
}

/*
 * A program that locks all of its memory locks this too: it would be populated here, and nothing could be moved from
 * memory that is not locked.
 */
static int64_t protect(struct road *road, struct region region, int protection)
{
	inject_call(&road->inject, SYS_munlock, region.start, region_bytes(region), 0, 0, 0, 0);
	return inject_call3(&road->inject, SYS_mprotect, region.start, region_bytes(region), (uint64_t)protection);
}

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

static int64_t discard(struct road *road, struct region region)
{
	return inject_call3(&road->inject, SYS_madvise, region.start, region_bytes(region), MADV_DONTNEED_LOCKED);
}

static int64_t populate(struct road *road, struct region region)
{
	return inject_call3(&road->inject, SYS_madvise, region.start, region_bytes(region), MADV_POPULATE_WRITE);
}

static int64_t drop_area(struct road *road, bool ours)
{
	struct region area = road->staging;

	return ours ? inject_call(&road->inject, SYS_munmap, area.start, region_bytes(area), 0, 0, 0, 0) : 0;
}

static int new_area(struct road *road, struct error *error)
{
	return make_staging(road, region_bytes(road->staging), error);
}

static int64_t give(struct road *road, int uffd)
{
	int number = inject_fd_keep(&road->inject, uffd);

	if (number < 0)
		return number;
	road->number = number;
	return 0;
}

static int keep(struct road *road, int fd)
{
	return inject_fd_keep(&road->inject, fd);
}

static void drop(struct road *road, int number, int fd)
{
	if (inject_fd_is(&road->inject, number, fd))
		inject_fd_close(&road->inject, number);
}

static int take(struct road *road, int number)
{
	return inject_fd_take(&road->inject, number);
}

/*
 * What the last move left in the scratch memory would be moved again, unknown to the index, if this process died before
 * it wrote the next: a length of zero is refused.
 */
static int move_enter(struct road *road)
{
	const struct uffdio_move nothing = {0};
	int rc = inject_write(&road->inject, road->inject.scratch, &nothing, sizeof(nothing));

	if (rc < 0)
		return rc;
	return inject_enter(&road->inject, SYS_ioctl, (uint64_t)road->number, UFFDIO_MOVE, road->inject.scratch, 0, 0,
			    0);
}

static int move_cancel(struct road *road)
{
	return inject_cancel(&road->inject);
}

static int64_t move(struct road *road, struct uffdio_move *argument)
{
	struct inject *inject = &road->inject;
	int64_t rc = inject_write(inject, inject->scratch, argument, sizeof(*argument));

	if (rc < 0)
		return inject_cancel(inject) < 0 ? -ESRCH : rc;
	rc = inject_finish(inject);
	if (rc == -ESRCH)
		return rc;
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

static bool discards_done(struct road *road)
{
	return places_outside_madvise(road->target, &road->inject);
}

static uint64_t held_us(const struct road *road)
{
	return inject_held_us(&road->inject);
}

static struct region in_use(const struct road *road)
{
	return inject_rseq_pages(&road->inject);
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
	return inject_processor(&road->inject);
}

static unsigned int descriptors(const struct road *road, int *fds)
{
	fds[0] = road->inject.mem_fd;
	fds[1] = road->inject.maps_fd;
	return fds[0] >= 0 ? 2 : 0;
}

static unsigned int reap(struct road *road)
{
	return (unsigned int)inject_reap(&road->inject);
}

const struct target_ops target_by_inject = {
	.name = "inject",
	.enter = enter,
	.rejoin = rejoin,
	.new_uffd = new_uffd,
	.leave = leave,
	.abandon = abandon,
	.resume = resume,
	.forks = forks,
	.begin = begin,
	.end = end,
	.protect = protect,
	.discard = discard,
	.populate = populate,
	.drop_area = drop_area,
	.new_area = new_area,
	.give = give,
	.keep = keep,
	.drop = drop,
	.take = take,
	.move_enter = move_enter,
	.move = move,
	.move_cancel = move_cancel,
	.read = read_staging,
	.discards_done = discards_done,
	.held_us = held_us,
	.in_use = in_use,
	.memory = memory,
	.ask = ask,
	.processor = processor,
	.reap = reap,
	.descriptors = descriptors,
};
