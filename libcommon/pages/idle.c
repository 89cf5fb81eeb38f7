/* SPDX-License-Identifier: MIT */
/* Idle page tracking, for the pages of one process. */
#include "pages/idle.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "pages/pages.h"

#define FRAME_BITS 55 /* of a pagemap entry */
#define WORD       64 /* frames */
#define STEP       512
#define PAGE_FLAGS "/proc/kpageflags"
#define FLAG_TAIL  (UINT64_C(1) << 16) /* KPF_COMPOUND_TAIL of <linux/kernel-page-flags.h> */

enum frame_state {
	FRAME_NONE,
	FRAME_IDLE,
	FRAME_USED,
	FRAME_UNTRACKED
};

/* Some pages that follow each other. */
struct step {
	uint64_t entries[STEP];
	enum frame_state states[STEP];
	size_t count;
};

static int read_word(void *context, uint64_t word, uint64_t *bits)
{
	const struct idle *idle = context;
	ssize_t n = pread(idle->fd, bits, sizeof(*bits), (off_t)(word * sizeof(*bits)));

	return n == sizeof(*bits) ? 0 : n < 0 ? -errno : -ENXIO;
}

static int mark_word(void *context, uint64_t word, uint64_t bits)
{
	const struct idle *idle = context;
	ssize_t n = pwrite(idle->fd, &bits, sizeof(bits), (off_t)(word * sizeof(bits)));

	return n == sizeof(bits) ? 0 : n < 0 ? -errno : -ENXIO;
}

static bool is_tail(void *context, uint64_t frame)
{
	const struct idle *idle = context;
	uint64_t flags;
	ssize_t n = pread(idle->flags_fd, &flags, sizeof(flags), (off_t)(frame * sizeof(flags)));

	return n == sizeof(flags) && flags & FLAG_TAIL;
}

static uint64_t frame_of(uint64_t entry)
{
	return entry & PAGEMAP_PRESENT ? entry & ((UINT64_C(1) << FRAME_BITS) - 1) : 0;
}

/* Frames are zero for those who may not see them. */
static int check_frames(void)
{
	volatile char here = 1;
	_cleanup_close_ int own = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;
	int rc = own < 0 ? -errno : pagemap_read(own, round_down((uintptr_t)&here, page_size()), 1, &entry);

	return rc < 0 ? rc : frame_of(entry) ? 0 : -EPERM;
}

int idle_open(struct idle *idle, int pagemap_fd)
{
	uint64_t bits;
	int rc = check_frames();

	*idle = (struct idle){-1, -1, pagemap_fd, {read_word, mark_word, is_tail, idle}};
	if (rc < 0)
		return rc;
	idle->fd = open(IDLE_BITMAP, O_RDWR | O_CLOEXEC);
	idle->flags_fd = open(PAGE_FLAGS, O_RDONLY | O_CLOEXEC);
	rc = idle->fd < 0 ? -errno : read_word(idle, 0, &bits);
	if (rc < 0)
		idle_close(idle);
	return rc;
}

void idle_close(struct idle *idle)
{
	cleanup_close(&idle->fd);
	cleanup_close(&idle->flags_fd);
}

/* The pages from `at` on whose frames are in the same word. Returns how many. */
static size_t find_word(const struct step *step, size_t at, uint64_t *mask)
{
	uint64_t word = frame_of(step->entries[at]) / WORD;
	size_t i = at;

	for (*mask = 0; i < step->count; i++) {
		uint64_t frame = frame_of(step->entries[i]);

		if (!frame || frame / WORD != word)
			break;
		*mask |= UINT64_C(1) << frame % WORD;
	}
	return i - at;
}

typedef int (*inspect_fn)(const struct idle *idle, struct step *step, size_t at, size_t count, uint64_t mask);

/* A bit that does not stay when it is set is of a frame that is not tracked. */
static int mark_pages(const struct idle *idle, struct step *step, size_t at, size_t count, uint64_t mask)
{
	uint64_t word = frame_of(step->entries[at]) / WORD;
	uint64_t before, after = 0;
	int rc = idle->bits.read(idle->bits.context, word, &before);

	if (rc == 0 && ~before & mask)
		rc = idle->bits.mark(idle->bits.context, word, ~before & mask);
	if (rc == 0 && ~before & mask)
		rc = idle->bits.read(idle->bits.context, word, &after);
	for (size_t i = at; rc == 0 && i < at + count; i++) {
		uint64_t bit = UINT64_C(1) << frame_of(step->entries[i]) % WORD;

		step->states[i] = before & bit ? FRAME_IDLE : after & bit ? FRAME_USED : FRAME_UNTRACKED;
	}
	return rc;
}

static int find_idle(const struct idle *idle, struct step *step, size_t at, size_t count, uint64_t mask)
{
	uint64_t bits, frame = frame_of(step->entries[at]);
	int rc = idle->bits.read(idle->bits.context, frame / WORD, &bits);

	(void)mask;
	for (size_t i = at; rc == 0 && i < at + count; i++) {
		frame = frame_of(step->entries[i]);
		step->states[i] = bits & UINT64_C(1) << frame % WORD              ? FRAME_IDLE
				  : idle->bits.is_tail(idle->bits.context, frame) ? FRAME_UNTRACKED
										  : FRAME_USED;
	}
	return rc;
}

static int inspect_step(const struct idle *idle, struct step *step, inspect_fn inspect)
{
	int rc = 0;

	for (size_t i = 0, count; rc == 0 && i < step->count; i += count) {
		uint64_t mask;

		count = find_word(step, i, &mask);
		step->states[i] = FRAME_NONE;
		if (count)
			rc = inspect(idle, step, i, count, mask);
		else
			count = 1;
	}
	return rc;
}

/* The other pages of a huge one are not tracked, and follow its first one. */
static void share_states(struct step *step)
{
	for (size_t i = 1; i < step->count; i++)
		if (step->states[i] == FRAME_UNTRACKED &&
		    frame_of(step->entries[i]) == frame_of(step->entries[i - 1]) + 1)
			step->states[i] = step->states[i - 1];
}

/* What is made of a step of pages. */
struct sink {
	inspect_fn inspect;
	int (*emit)(const struct sink *sink, enum frame_state state, struct region pages);
	idle_fn used;
	idle_find_fn found;
	void *context;
};

static int emit_used(const struct sink *sink, enum frame_state state, struct region pages)
{
	return state == FRAME_USED ? sink->used(sink->context, pages) : 0;
}

static int emit_found(const struct sink *sink, enum frame_state state, struct region pages)
{
	return state == FRAME_NONE ? 0 : sink->found(sink->context, pages, state == FRAME_IDLE);
}

static int emit_step(const struct step *step, uint64_t start, const struct sink *sink)
{
	int rc = 0;

	for (size_t i = 0, end; rc == 0 && i < step->count; i = end) {
		for (end = i + 1; end < step->count && step->states[end] == step->states[i]; end++)
			;
		rc = sink->emit(sink, step->states[i],
				(struct region){start + i * page_size(), start + end * page_size()});
	}
	return rc;
}

static int walk_steps(const struct idle *idle, struct region region, const struct sink *sink)
{
	struct step step;
	int rc = 0;

	for (uint64_t at = region.start; rc == 0 && at < region.end;) {
		uint64_t end = min_u64(round_down(at, STEP * page_size()) + STEP * page_size(), region.end);

		step.count = (end - at) / page_size();
		rc = pagemap_read(idle->pagemap_fd, at, step.count, step.entries);
		if (rc == 0)
			rc = inspect_step(idle, &step, sink->inspect);
		if (rc < 0)
			return rc;
		share_states(&step);
		rc = emit_step(&step, at, sink);
		at = end;
	}
	return rc;
}

int idle_look(const struct idle *idle, struct region region, idle_fn callback, void *context)
{
	const struct sink sink = {.inspect = mark_pages, .emit = emit_used, .used = callback, .context = context};

	return walk_steps(idle, region, &sink);
}

int idle_find(const struct idle *idle, struct region region, idle_find_fn callback, void *context)
{
	const struct sink sink = {.inspect = find_idle, .emit = emit_found, .found = callback, .context = context};

	return walk_steps(idle, region, &sink);
}
