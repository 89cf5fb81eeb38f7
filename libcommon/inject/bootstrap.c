/* SPDX-License-Identifier: MIT */
/*
 * A trampoline and a frame where there is no control area yet, or no more: in the unused bytes behind the vdso's code,
 * which every process has. Were the first call made through any system call instruction of the program, the thread
 * would go on behind that instruction if this process died, with our registers.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "inject/area.h"
#include "inject/stop.h"
#include "proc/maps.h"
#include "proc/stat.h"

#define SLOT          256 /* for several processes at once, and for what those left that were killed */
#define OWNER         (SLOT - sizeof(pid_t)) /* in a slot: the thread that it is for */
#define PAGE_MOST     65536
#define HANDLER_MOST  65536
#define LOCK_TRIES    50
#define LOCK_AGAIN_US 1000

static int find_vdso(const struct inject *inject, struct region *vdso)
{
	struct maps_reader maps;
	struct mapping mapping;
	int found = 0;
	int rc = maps_open(&maps, inject->target);

	if (rc < 0)
		return rc;
	while (!found && (rc = maps_next(&maps, &mapping)) > 0)
		found = strcmp(mapping.name, "[vdso]") == 0 && mapping.execute;
	maps_close(&maps);
	*vdso = mapping.region;
	return found ? 0 : -ENOENT;
}

static bool is_zero(const unsigned char *bytes, size_t count)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0;
}

static size_t code_room(void)
{
	size_t bytes;

	arch_trampoline(&bytes);
	return round_up(bytes, 16);
}

/* Reads the page that the slots are in. Returns how many bytes, or -errno. */
static ssize_t read_page(struct inject *inject, unsigned char page[PAGE_MOST], struct region *region)
{
	int rc = find_vdso(inject, region);

	if (rc < 0)
		return rc;
	region->start = region->end - min_u64(page_size(), PAGE_MOST);
	rc = inject_read(inject, region->start, page, region_bytes(*region));
	return rc < 0 ? rc : (ssize_t)region_bytes(*region);
}

static bool is_taken(const unsigned char *slot)
{
	size_t code_bytes;
	const unsigned char *code = arch_trampoline(&code_bytes);

	return memcmp(slot, code, code_bytes) == 0;
}

/* Another tool may look for a slot at the same time. A lock ends with the process that holds it: fcntl(2). */
static int lock_slots(const struct inject *inject, short type)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_len = 1};

	for (int tries = 0; fcntl(inject->mem_fd, F_OFD_SETLK, &lock) < 0; tries++) {
		if (errno != EAGAIN && errno != EACCES)
			return -errno;
		if (tries == LOCK_TRIES)
			return -EBUSY;
		usleep(LOCK_AGAIN_US);
	}
	return 0;
}

/* A handler that was called on the way home returns there: its frame lies not far above the stack pointer. */
static bool will_return(struct inject *inject, uint64_t sp, struct region slot)
{
	uint64_t words[512];

	sp = round_up(sp, sizeof(*words));
	for (uint64_t at = sp; at < sp + HANDLER_MOST; at += sizeof(words)) {
		if (inject_read(inject, at, words, sizeof(words)) < 0)
			return false;
		for (size_t i = 0; i < ARRAY_SIZE(words); i++)
			if (words[i] >= slot.start && words[i] < slot.end)
				return true;
	}
	return false;
}

/*
 * Whether the thread that a slot was made for needs it no more: the tool was killed, and the thread is home. A live
 * tool holds its thread from before the slot is made until it is gone, at a stop or in a call made from there.
 */
static bool is_left(struct inject *inject, pid_t tid, struct region slot)
{
	struct proc_stat stat;
	struct place place;

	for (int looks = 0; looks < 2; looks++) {
		int rc = proc_stat_read_thread(inject->target->pid, tid, &stat);

		if (rc == -ESRCH || rc == -ENOENT)
			return true;
		if (rc < 0 || stat.state == 't')
			return false;
		rc = inject_place(inject, tid, &place);
		if (rc < 0)
			return rc == -ESRCH;
		if (place.ip >= slot.start && place.ip < slot.end)
			return false;
	}
	return !will_return(inject, place.sp, slot);
}

void inject_bootstrap_tidy(struct inject *inject)
{
	static const unsigned char zeros[SLOT];
	unsigned char page[PAGE_MOST];
	struct region region;
	ssize_t bytes = read_page(inject, page, &region);
	bool any = false;

	for (ssize_t at = bytes - SLOT; at > 0; at -= SLOT)
		any |= is_taken(page + at);
	if (!any || lock_slots(inject, F_WRLCK) < 0)
		return;
	bytes = read_page(inject, page, &region);
	for (ssize_t at = bytes - SLOT; at > 0; at -= SLOT) {
		uint64_t start = region.start + (uint64_t)at;
		pid_t tid;

		memcpy(&tid, page + at + OWNER, sizeof(tid));
		if (is_taken(page + at) && is_left(inject, tid, (struct region){start, start + SLOT}))
			inject_write(inject, start, zeros, sizeof(zeros));
	}
	lock_slots(inject, F_UNLCK);
}

/* The last free slot. Returns its offset, -EBUSY when all are taken, -ENOSPC when there are none. */
static ssize_t find_slot(const unsigned char *page, ssize_t bytes)
{
	ssize_t rc = -ENOSPC;

	for (ssize_t at = bytes - SLOT; at > 0; at -= SLOT) {
		/* Zeros in front as well: the code may end in some. */
		if (is_zero(page + at - sizeof(uint64_t), SLOT + sizeof(uint64_t)))
			return at;
		if (!is_taken(page + at))
			break;
		rc = -EBUSY;
	}
	return rc;
}

/* In one write, so that there is no half of it when we are killed. */
static int make_slot(struct inject *inject)
{
	struct inject_stop *stop = inject->stop;
	unsigned char page[PAGE_MOST], frame[ARCH_FRAME] = {0}, slot[SLOT] = {0};
	size_t code_bytes;
	const unsigned char *code = arch_trampoline(&code_bytes);
	size_t offset = arch_frame(frame, 0, &stop->first, stop->sigmask);
	struct region region;
	ssize_t at = read_page(inject, page, &region);
	int rc;

	if (at >= 0)
		at = code_room() + ARCH_FRAME - offset > OWNER ? -ENOSPC : find_slot(page, at);
	if (at < 0)
		return (int)at;
	memcpy(slot, code, code_bytes);
	memcpy(slot + code_room(), frame + offset, ARCH_FRAME - offset);
	memcpy(slot + OWNER, &inject->tid, sizeof(inject->tid));
	rc = inject_write(inject, region.start + (uint64_t)at, slot, sizeof(slot));
	if (rc < 0)
		return rc;
	inject->bootstrap = region.start + (uint64_t)at;
	stop->frame = inject->bootstrap + code_room();
	return 0;
}

int inject_bootstrap_take(struct inject *inject)
{
	int rc = lock_slots(inject, F_WRLCK);

	if (rc < 0)
		return rc;
	rc = make_slot(inject);
	lock_slots(inject, F_UNLCK);
	return rc;
}

void inject_bootstrap_leave(struct inject *inject)
{
	static const unsigned char zeros[SLOT];

	if (inject->bootstrap)
		inject_write(inject, inject->bootstrap, zeros, sizeof(zeros));
	inject->bootstrap = 0;
}
