/* SPDX-License-Identifier: MIT */
/* The control area in a target: made through an instruction that the program has, removed the same way. */
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"
#include "inject/far.h"
#include "inject/stop.h"
#include "proc/maps.h"

#define UNMAP_TRIES     10
#define MEMORY_TRIES    20
#define MEMORY_AGAIN_US 500
#define CLOSE_TRIES     20
#define CLOSE_AGAIN_US  5000

/*
 * Reads into `to`, or writes `from` when there is none. The kernel takes a page to copy by (fs/proc/base.c, mem_rw),
 * and may find none.
 */
static int transfer(int mem_fd, uint64_t address, void *to, const void *from, size_t bytes)
{
	for (unsigned int tries = 1;; tries++) {
		int rc = to ? fd_read_all(mem_fd, to, bytes, address) : fd_write_all(mem_fd, from, bytes, address);

		if (rc != -ENOMEM || tries == MEMORY_TRIES)
			return rc == -ENODATA ? -EIO : rc;
		usleep(MEMORY_AGAIN_US);
	}
}

int inject_read(struct inject *inject, uint64_t address, void *to, size_t bytes)
{
	return transfer(inject->mem_fd, address, to, NULL, bytes);
}

int inject_peek(int mem_fd, uint64_t address, void *to, size_t bytes)
{
	return transfer(mem_fd, address, to, NULL, bytes);
}

int inject_write(struct inject *inject, uint64_t address, const void *from, size_t bytes)
{
	return transfer(inject->mem_fd, address, NULL, from, bytes);
}

int inject_write_code(struct inject *inject, uint64_t address, const unsigned char *code, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += sizeof(long)) {
		long word = 0;

		memcpy(&word, code + at, min_u64(sizeof(word), bytes - at));
		if (ptrace(PTRACE_POKETEXT, inject->tid, address + at, word) < 0)
			return -errno;
	}
	return 0;
}

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

void inject_name(struct inject *inject, struct region region)
{
	static const char name[] = "uvmtools";

	if (inject_write(inject, inject->scratch, name, sizeof(name)) == 0)
		inject_call(inject, SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, region.start, region_bytes(region),
			    inject->scratch, 0);
}

static const char mark[] = "control area of uvmtools";

/*
 * What a read that gave `rc` and not what it should says of the area. Only where nothing can be read, or something else
 * is, has it been mapped over. Reading where no memory is any more gives nothing (fs/proc/base.c, mem_rw).
 */
static int mapped_over(const struct inject *inject, int rc)
{
	char byte;
	ssize_t got;

	if (rc < 0 && rc != -EIO)
		return rc;
	got = pread(inject->mem_fd, &byte, sizeof(byte), (off_t)inject->area.start);
	if (got < 0 && errno != EIO)
		return -errno;
	return got == 0 ? -ESTALE : -EADDRINUSE;
}

static int check_bytes(const struct inject *inject, uint64_t address, const void *bytes, size_t count)
{
	char there[256];
	int rc = count <= sizeof(there) ? transfer(inject->mem_fd, address, there, NULL, count) : -E2BIG;

	return rc == 0 && memcmp(there, bytes, count) == 0 ? 0 : mapped_over(inject, rc);
}

int inject_check_trampoline(const struct inject *inject)
{
	size_t bytes;
	const unsigned char *code = arch_trampoline(&bytes);

	return check_bytes(inject, inject->area.start + AREA_DATA, code, bytes);
}

int inject_check_area(const struct inject *inject)
{
	struct mapping mapping;
	uint64_t start = inject->area.start;
	int rc = mapping_at(inject->maps_fd, start, &mapping);

	if (rc < 0 && rc != -ESRCH)
		return rc;
	if (rc <= 0 || mapping.region.start != start || mapping.region.end != start + AREA_DATA ||
	    mapping.kind != MAPPING_ANON || mapping.shared || !mapping.write)
		return mapped_over(inject, 0);
	rc = check_bytes(inject, start + AREA_MARK, mark, sizeof(mark));
	return rc < 0 ? rc : inject_check_trampoline(inject);
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
	int64_t at = far_map(inject, place, bytes, PROT_READ | PROT_EXEC, 0);
	int64_t rc;

	if (at < 0 && at > -4096)
		return (int)at;
	rc = inject_write_code(inject, (uint64_t)at + AREA_DATA, code, code_bytes);
	if (rc == 0)
		rc = inject_call3(inject, SYS_mprotect, (uint64_t)at, AREA_DATA, PROT_READ | PROT_WRITE);
	if (rc == 0)
		rc = inject_call3(inject, SYS_madvise, (uint64_t)at, bytes, MADV_DONTFORK);
	if (rc == 0)
		rc = inject_write(inject, (uint64_t)at + AREA_MARK, mark, sizeof(mark));
	if (rc < 0) {
		/* A thread that does not get a processor may get one yet. */
		for (int tries = 0; tries < UNMAP_TRIES; tries++)
			if (inject_call(inject, SYS_munmap, (uint64_t)at, bytes, 0, 0, 0, 0) != -ETIMEDOUT)
				break;
		return (int)rc;
	}
	inject->area = (struct region){(uint64_t)at, (uint64_t)at + bytes};
	inject->scratch = (uint64_t)at + AREA_FRAMES;
	inject_name(inject, inject->area);
	return 0;
}

static int prepare(struct inject *inject, const struct target *target, struct error *error)
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
		return error_set(error, rc, NULL, rc == -ESRCH ? NULL : "run as root or with CAP_SYS_PTRACE",
				 "open the memory of process %d", target->pid);
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

static int begin_and_map(struct inject *inject, struct error *error)
{
	uint64_t place;
	int rc = far_choose(inject->target, inject_area_bytes(), &place);

	if (rc < 0)
		return error_set(error, rc, NULL, NULL, "find room for the control area in process %d",
				 inject->target->pid);
	rc = inject_begin(inject, error);
	if (rc < 0)
		return rc;
	inject_cave_take(inject);
	rc = map_area(inject, place);
	if (rc < 0)
		error_set(error, rc, NULL, rc == -ENOMEM ? "its address space or mapping count is at a limit" : NULL,
			  "map the control area in process %d", inject->target->pid);
	inject_end(inject);
	inject_cave_leave(inject);
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
	int rc = prepare(inject, target, error);

	if (rc < 0)
		return rc;
	rc = inject_renew(inject, error);
	if (rc < 0)
		inject_abandon(inject);
	return rc;
}

bool inject_is_trampoline(int mem_fd, uint64_t address)
{
	unsigned char there[256];
	size_t bytes;
	const unsigned char *code = arch_trampoline(&bytes);

	return bytes <= sizeof(there) && fd_read_all(mem_fd, there, bytes, address) == 0 &&
	       memcmp(there, code, bytes) == 0;
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
	int rc = prepare(inject, target, error);

	if (rc < 0)
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
	int64_t rc = inject_begin(inject, &ignored);

	if (rc < 0)
		return rc;
	/* No trampoline to stand on while it goes. */
	inject_cave_take(inject);
	rc = inject_check_area(inject);
	inject->area = (struct region){0, 0};
	if (rc == 0)
		rc = inject_call(inject, SYS_munmap, area.start, region_bytes(area), 0, 0, 0, 0);
	inject_end(inject);
	inject_cave_leave(inject);
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
