/* SPDX-License-Identifier: MIT */
/* The control area in a target: made through an instruction that the program has, removed the same way. */
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "inject/area.h"
#include "inject/far.h"
#include "inject/stop.h"
#include "proc/maps.h"
#include "proc/refusal.h"

#define MAP_TRIES          4
#define UNMAP_TRIES        10
#define CLOSE_TRIES        20
#define CLOSE_AGAIN_US     5000
#define BOOTSTRAP_US       2000000
#define BOOTSTRAP_AGAIN_US 1000

/* A system call instruction in memory that is executable anyway: the vdso first, then whatever is there. */
static int find_gadget(struct inject *inject)
{
	struct maps_reader maps;
	struct mapping mapping;
	unsigned char code[16384];
	int rc = maps_open(&maps, inject->target);
	uint64_t elsewhere = 0;

	if (rc < 0)
		return rc;
	while ((rc = maps_next(&maps, &mapping)) > 0) {
		bool vdso = strcmp(mapping.name, "[vdso]") == 0;

		/* Reading memory that nobody has touched would populate it; files and the vdso are there anyway. */
		if (!mapping.execute || !mapping.read || mapping.kind == MAPPING_ANON || (elsewhere && !vdso))
			continue;
		for (uint64_t at = mapping.region.start; at < mapping.region.end; at += sizeof(code)) {
			size_t size = min_u64(sizeof(code), mapping.region.end - at);
			ptrdiff_t found = -1;

			if (inject_read(inject, at, code, size) == 0)
				found = arch_find_syscall(code, size);
			if (found >= 0) {
				elsewhere = at + (uint64_t)found;
				break;
			}
		}
		if (vdso && elsewhere)
			break;
	}
	maps_close(&maps);
	inject->gadget = elsewhere;
	return rc < 0 ? rc : elsewhere ? 0 : -ENOEXEC;
}

uint64_t inject_area_bytes(void)
{
	return round_up(AREA_DATA, page_size()) + page_size();
}

void inject_name(struct inject *inject, struct region region, const char *name)
{
	if (inject_write(inject, inject->scratch, name, strlen(name) + 1) == 0)
		inject_call(inject, SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, region.start, region_bytes(region),
			    inject->scratch, 0);
}

int64_t inject_unmap(struct inject *inject, struct region region)
{
	return region_bytes(region) ? inject_call3(inject, SYS_munmap, region.start, region_bytes(region), 0) : 0;
}

int64_t inject_map_far(struct inject *inject, uint64_t at, uint64_t bytes, int protection, int flags)
{
	int64_t got = -EEXIST;

	flags |= MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
	for (int tries = 0; got == -EEXIST && tries < MAP_TRIES; tries++) {
		int rc = tries ? far_choose(inject->target, bytes, &at) : 0;

		if (rc < 0)
			return rc;
		got = inject_call(inject, SYS_mmap, at, bytes, (uint64_t)protection, (uint64_t)flags, (uint64_t)-1, 0);
	}
	return got;
}

/*
 * Maps frames, scratch and trampoline at a place that was chosen, or another such one. A process may be forbidden to
 * have memory that is writable and executable, at once or in this order: PR_SET_MDWE(2const). The other order is
 * allowed.
 */
static int map_area(struct inject *inject, uint64_t place)
{
	size_t code_bytes;
	const unsigned char *code = arch_trampoline(&code_bytes);
	uint64_t bytes = inject_area_bytes();
	int64_t at = inject_map_far(inject, place, bytes, PROT_READ | PROT_EXEC, 0);
	int64_t rc;

	if (inject_failed(at))
		return (int)at;
	rc = inject_write_code(inject, (uint64_t)at + AREA_DATA, code, code_bytes);
	if (rc == 0)
		rc = inject_call3(inject, SYS_mprotect, (uint64_t)at, AREA_DATA, PROT_READ | PROT_WRITE);
	if (rc == 0)
		rc = inject_call3(inject, SYS_madvise, (uint64_t)at, bytes, MADV_DONTFORK);
	if (rc == 0)
		rc = inject_mark_area(inject, (uint64_t)at);
	if (rc < 0) {
		/* A thread that does not get a processor may get one yet. */
		for (int tries = 0; tries < UNMAP_TRIES; tries++)
			if (inject_unmap(inject, region_at((uint64_t)at, bytes)) != -ETIMEDOUT)
				break;
		return (int)rc;
	}
	inject->area = region_at((uint64_t)at, bytes);
	inject->scratch = (uint64_t)at + AREA_FRAMES;
	inject_name(inject, inject->area, "uvmtools");
	return 0;
}

static int prepare_target(struct inject *inject, const struct target *target, struct error *error)
{
	int rc = target_check(target, error);

	*inject = INJECT_NONE;
	if (rc < 0)
		return rc;
	inject->target = target;
	inject->stop = calloc(1, sizeof(*inject->stop));
	if (!inject->stop)
		return error_set(error, -ENOMEM, NULL, NULL, "prepare injection into process %d", target->pid);
	inject->mem_fd = target_proc_open(target, "mem", O_RDWR | O_CLOEXEC);
	if (inject->mem_fd < 0) {
		rc = inject->mem_fd;
		inject_abandon(inject);
		return refusal_to_trace(target, rc, "open the memory of", error);
	}
	inject->maps_fd = target_proc_open(target, "maps", O_RDONLY | O_CLOEXEC);
	rc = inject->maps_fd < 0 ? inject->maps_fd : find_gadget(inject);
	if (rc < 0) {
		inject_abandon(inject);
		return error_set(error, rc, rc == -ENOEXEC ? "it maps no system call instruction" : NULL, NULL,
				 "read the code of process %d", target->pid);
	}
	return 0;
}

/* Stops a thread, with a way back where there can be one. */
static int begin_with_bootstrap(struct inject *inject, struct error *error)
{
	uint64_t deadline = now_us() + BOOTSTRAP_US;

	for (;;) {
		int rc;

		inject_bootstrap_tidy(inject);
		rc = inject_begin(inject, error);
		if (rc < 0 || inject_bootstrap_take(inject) != -EBUSY)
			return rc;
		inject_end(inject);
		if (now_us() > deadline)
			return error_set(error, -EBUSY, "other tools of this project are busy there, or were killed",
					 "try again", "make the first call in process %d", inject->target->pid);
		usleep(BOOTSTRAP_AGAIN_US);
	}
}

static int begin_and_map(struct inject *inject, struct error *error)
{
	uint64_t place;
	int rc = far_choose(inject->target, inject_area_bytes(), &place);

	if (rc < 0)
		return error_set(error, rc, NULL, NULL, "find room for the control area in process %d",
				 inject->target->pid);
	rc = begin_with_bootstrap(inject, error);
	if (rc < 0)
		return rc;
	rc = map_area(inject, place);
	if (rc < 0)
		error_set(error, rc, NULL, rc == -ENOMEM ? "its address space or mapping count is at a limit" : NULL,
			  "map the control area in process %d", inject->target->pid);
	inject_end(inject);
	return rc;
}

int inject_renew(struct inject *inject, struct error *error)
{
	int rc;

	inject->area = (struct region){0, 0};
	rc = begin_and_map(inject, error);
	if (rc == -ETIMEDOUT && inject->frozen)
		rc = begin_and_map(inject, error);
	return rc;
}

int inject_open(struct inject *inject, const struct target *target, struct error *error)
{
	int rc = prepare_target(inject, target, error);

	if (rc < 0)
		return rc;
	rc = inject_renew(inject, error);
	if (rc < 0)
		inject_abandon(inject);
	return rc;
}

/* What a record says of it is true: the pages are ours by what is in them. */
static int check_area(struct inject *inject, struct region area)
{
	if (region_bytes(area) != inject_area_bytes() || area.start & (page_size() - 1))
		return -ENOENT;
	inject->area = area;
	return inject_check_area(inject) == 0 ? 0 : -ENOENT;
}

int inject_rejoin(struct inject *inject, const struct target *target, struct region area, struct error *error)
{
	int rc = prepare_target(inject, target, error);

	if (rc < 0 || !area.end)
		return rc;
	rc = check_area(inject, area);
	if (rc < 0) {
		inject_abandon(inject);
		if (!target_alive(target))
			return error_set(error, -ESRCH, "it has ended", NULL, "make calls in process %d", target->pid);
		return error_set(error, rc, "it is gone, or something else is there", NULL,
				 "find the control area in process %d", target->pid);
	}
	inject->area = area;
	inject->scratch = area.start + AREA_FRAMES;
	return 0;
}

int inject_share(struct inject *inject, const struct target *sharer, const struct inject *of, struct error *error)
{
	*inject = INJECT_NONE;
	inject->target = sharer;
	inject->mem_fd = fcntl(of->mem_fd, F_DUPFD_CLOEXEC, 3);
	inject->maps_fd = fcntl(of->maps_fd, F_DUPFD_CLOEXEC, 3);
	inject->stop = calloc(1, sizeof(*inject->stop));
	if (inject->mem_fd < 0 || inject->maps_fd < 0 || !inject->stop) {
		int code = errno == EMFILE ? -EMFILE : -ENOMEM;

		inject_abandon(inject);
		return error_set(error, code, NULL, NULL, "prepare injection into process %d", sharer->pid);
	}
	inject->gadget = of->gadget;
	inject->area = of->area;
	inject->scratch = of->scratch;
	return 0;
}

void inject_reset(struct inject *inject)
{
	inject->tid = 0;
	inject->favourite = 0;
	memset(inject->lingering, 0, sizeof(inject->lingering));
	*inject->stop = (struct inject_stop){0};
}

void inject_abandon(struct inject *inject)
{
	cleanup_close(&inject->mem_fd);
	cleanup_close(&inject->maps_fd);
	free(inject->stop);
	*inject = INJECT_NONE;
}

static int64_t begin_and_unmap(struct inject *inject, struct region area)
{
	struct error ignored = {0};
	/* There is no trampoline in the area to stand on while it goes. */
	int64_t rc = begin_with_bootstrap(inject, &ignored);

	if (rc < 0)
		return rc;
	rc = inject_check_area(inject);
	inject->area = (struct region){0, 0};
	if (rc == 0)
		rc = inject_unmap(inject, area);
	inject_end(inject);
	return rc;
}

/* Whether what it lacks may be there in a moment. */
static bool is_short(int64_t rc)
{
	return rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE;
}

int inject_close(struct inject *inject)
{
	struct region area = inject->area;
	int64_t rc = 0;

	if (area.end && target_alive(inject->target)) {
		rc = begin_and_unmap(inject, area);
		if (rc == -ETIMEDOUT && inject->frozen)
			rc = begin_and_unmap(inject, area);
		/* Nobody comes back to what is left behind. */
		for (int tries = 0; is_short(rc) && inject->area.end && tries < CLOSE_TRIES; tries++) {
			usleep(CLOSE_AGAIN_US);
			rc = begin_and_unmap(inject, area);
		}
		if (rc == -ESRCH || rc == -EADDRINUSE) /* none of it is ours any more */
			rc = 0;
	}
	while (inject_reap(inject) > 0)
		usleep(1000);
	inject_abandon(inject);
	return (int)rc;
}
