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
#include "inject/stop.h"
#include "proc/maps.h"

#define UNMAP_TRIES 10

int inject_read(struct inject *inject, uint64_t address, void *to, size_t bytes)
{
	ssize_t n = pread(inject->mem_fd, to, bytes, (off_t)address);

	return n == (ssize_t)bytes ? 0 : n < 0 ? -errno : -EIO;
}

int inject_write(struct inject *inject, uint64_t address, const void *from, size_t bytes)
{
	ssize_t n = pwrite(inject->mem_fd, from, bytes, (off_t)address);

	return n == (ssize_t)bytes ? 0 : n < 0 ? -errno : -EIO;
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

static uint64_t area_bytes(void)
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

/* Maps frames, scratch and trampoline; the first calls go through the gadget. */
static int map_area(struct inject *inject)
{
	size_t code_bytes;
	const unsigned char *code = arch_trampoline(&code_bytes);
	uint64_t bytes = area_bytes();
	int64_t at = inject_call(inject, SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				 (uint64_t)-1, 0);
	uint64_t text;
	int64_t rc;

	if (at < 0 && at > -4096)
		return (int)at;
	text = (uint64_t)at + AREA_DATA;
	rc = inject_write(inject, text, code, code_bytes);
	if (rc == 0)
		rc = inject_call3(inject, SYS_mprotect, round_down(text, page_size()), page_size(),
				  PROT_READ | PROT_EXEC);
	if (rc == 0)
		rc = inject_call3(inject, SYS_madvise, (uint64_t)at, bytes, MADV_DONTFORK);
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
	rc = find_gadget(inject);
	if (rc < 0) {
		inject_abandon(inject);
		return error_set(error, rc, rc == -ENOEXEC ? "it maps no system call instruction" : NULL, NULL,
				 "read the code of process %d", target->pid);
	}
	return 0;
}

int inject_open(struct inject *inject, const struct target *target, struct error *error)
{
	int rc = prepare(inject, target, error);

	if (rc < 0)
		return rc;
	rc = inject_begin(inject, error);
	if (rc == 0) {
		rc = map_area(inject);
		if (rc < 0)
			error_set(error, rc, NULL,
				  rc == -ENOMEM ? "its address space or mapping count is at a limit" : NULL,
				  "map the control area in process %d", target->pid);
		inject_end(inject);
	}
	if (rc < 0)
		inject_abandon(inject);
	return rc;
}

/* What a record says of it is true: the pages are ours by what is in them. */
static int check_area(struct inject *inject, struct region area)
{
	unsigned char there[256];
	size_t code_bytes;
	const unsigned char *code = arch_trampoline(&code_bytes);

	if (region_bytes(area) != area_bytes() || area.start & (page_size() - 1) || code_bytes > sizeof(there))
		return -ENOENT;
	if (inject_read(inject, area.start + AREA_DATA, there, code_bytes) < 0 || memcmp(there, code, code_bytes) != 0)
		return -ENOENT;
	return 0;
}

int inject_rejoin(struct inject *inject, const struct target *target, struct region area, struct error *error)
{
	int rc = prepare(inject, target, error);

	if (rc < 0)
		return rc;
	rc = check_area(inject, area);
	if (rc < 0) {
		inject_abandon(inject);
		return error_set(error, rc, "it is gone, or something else is there", NULL,
				 "find the control area in process %d", target->pid);
	}
	inject->area = area;
	inject->scratch = area.start + AREA_FRAMES;
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
	if (inject->mem_fd >= 0)
		close(inject->mem_fd);
	free(inject->stop);
	*inject = INJECT_NONE;
}

int inject_close(struct inject *inject)
{
	struct region area = inject->area;
	struct error ignored = {0};
	int64_t rc = 0;

	if (area.end && target_alive(inject->target)) {
		rc = inject_begin(inject, &ignored);
		if (rc == 0) {
			/* No trampoline to stand on while it goes: back to the instruction that the program has. */
			inject->area = (struct region){0, 0};
			rc = inject_call(inject, SYS_munmap, area.start, region_bytes(area), 0, 0, 0, 0);
			inject_end(inject);
		}
		if (rc == -ESRCH)
			rc = 0;
	}
	while (inject_reap(inject) > 0)
		usleep(1000);
	inject_abandon(inject);
	return (int)rc;
}
