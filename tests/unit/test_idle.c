/* SPDX-License-Identifier: MIT */
/* Idle page tracking, with a bitmap that the test keeps: few kernels have one. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/size.h"
#include "pages/idle.h"
#include "pages/pages.h"

#define PAGES 256
#define WORDS 1024

/* The bitmap, by the words that were asked for. */
static struct {
	uint64_t word, bits, untracked;
} words[WORDS];
static size_t word_count;

static size_t find_word(uint64_t word)
{
	size_t i = 0;

	while (i < word_count && words[i].word != word)
		i++;
	assert_true(i < WORDS);
	if (i == word_count)
		words[word_count++].word = word;
	return i;
}

static int read_word(void *context, uint64_t word, uint64_t *bits)
{
	(void)context;
	*bits = words[find_word(word)].bits;
	return 0;
}

static int mark_word(void *context, uint64_t word, uint64_t bits)
{
	size_t i = find_word(word);

	(void)context;
	words[i].bits |= bits & ~words[i].untracked;
	return 0;
}

/* The frame that the test calls so. */
static uint64_t tail;

static bool is_tail(void *context, uint64_t frame)
{
	(void)context;
	return frame && frame == tail;
}

/* Memory of this process, and what was found used of it, in pages. */
struct memory {
	struct idle idle;
	struct region region;
	char used[PAGES];
};

static uint64_t frame_at(const struct memory *m, unsigned int page)
{
	uint64_t entry;

	assert_int_equal(pagemap_read(m->idle.pagemap_fd, m->region.start + page * page_size(), 1, &entry), 0);
	return entry & ((UINT64_C(1) << 55) - 1);
}

static void use_page(const struct memory *m, unsigned int page)
{
	uint64_t frame = frame_at(m, page);

	words[find_word(frame / 64)].bits &= ~(UINT64_C(1) << frame % 64);
}

static int note_used(void *context, struct region used)
{
	struct memory *m = context;

	assert_true(region_contains(m->region, used));
	memset(m->used + (used.start - m->region.start) / page_size(), 1, region_bytes(used) / page_size());
	return 0;
}

static unsigned int look(struct memory *m)
{
	unsigned int count = 0;

	memset(m->used, 0, sizeof(m->used));
	assert_int_equal(idle_look(&m->idle, m->region, note_used, m), 0);
	for (unsigned int i = 0; i < PAGES; i++)
		count += m->used[i];
	return count;
}

/* In used[]: 1 for pages that are not idle, 2 for those that are. */
static int note_found(void *context, struct region pages, bool idle)
{
	struct memory *m = context;

	assert_true(region_contains(m->region, pages));
	memset(m->used + (pages.start - m->region.start) / page_size(), idle ? 2 : 1,
	       region_bytes(pages) / page_size());
	return 0;
}

static unsigned int find_idle(struct memory *m)
{
	unsigned int count = 0;

	memset(m->used, 0, sizeof(m->used));
	assert_int_equal(idle_find(&m->idle, m->region, note_found, m), 0);
	for (unsigned int i = 0; i < PAGES; i++)
		count += m->used[i] == 2;
	return count;
}

static void begin(struct memory *m)
{
	char *at = mmap(NULL, PAGES * page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(at, MAP_FAILED);
	memset(words, 0, sizeof(words));
	word_count = 0;
	madvise(at, PAGES * page_size(), MADV_NOHUGEPAGE);
	for (unsigned int i = 0; i < PAGES; i++)
		at[i * page_size()] = 1;
	assert_int_equal(mlock(at, PAGES * page_size()), 0); /* whose frames stay */
	m->region = (struct region){(uintptr_t)at, (uintptr_t)at + PAGES * page_size()};
	m->idle.pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	m->idle.bits = (struct idle_bits){read_word, mark_word, is_tail, NULL};
	if (!frame_at(m, 0)) {
		print_message("only root sees frames\n");
		skip();
	}
}

static void end(struct memory *m)
{
	close(m->idle.pagemap_fd);
	munmap((void *)m->region.start, region_bytes(m->region));
}

static void test_what_was_used(void **state)
{
	struct memory m = {0};

	(void)state;
	begin(&m);
	assert_int_equal(look(&m), PAGES); /* not known before */
	assert_int_equal(look(&m), 0);
	use_page(&m, 0);
	use_page(&m, 100);
	use_page(&m, 101);
	use_page(&m, PAGES - 1);
	assert_int_equal(look(&m), 4);
	assert_true(m.used[0] && m.used[100] && m.used[101] && m.used[PAGES - 1]);
	assert_int_equal(look(&m), 0);
	end(&m);
}

static void test_what_is_not_there(void **state)
{
	struct memory m = {0};

	(void)state;
	begin(&m);
	munlock((void *)m.region.start, region_bytes(m.region));
	madvise((void *)m.region.start, PAGES / 2 * page_size(), MADV_DONTNEED);
	assert_int_equal(look(&m), PAGES / 2);
	assert_int_equal(look(&m), 0);
	end(&m);
}

static void test_what_is_not_tracked_is_not_used(void **state)
{
	struct memory m = {0};
	uint64_t frame;

	(void)state;
	begin(&m);
	frame = frame_at(&m, 0);
	words[find_word(frame / 64)].untracked = UINT64_C(1) << frame % 64;
	assert_int_equal(look(&m), PAGES - 1);
	assert_false(m.used[0]);
	assert_int_equal(look(&m), 0);
	end(&m);
}

static void test_what_stayed_idle(void **state)
{
	struct memory m = {0};

	(void)state;
	begin(&m);
	assert_int_equal(find_idle(&m), 0); /* not marked yet */
	look(&m);
	use_page(&m, 7);
	use_page(&m, PAGES - 1);
	for (int i = 0; i < 2; i++) { /* it begins nothing anew */
		assert_int_equal(find_idle(&m), PAGES - 2);
		assert_int_equal(m.used[7], 1);
		assert_int_equal(m.used[PAGES - 1], 1);
	}
	munlock((void *)m.region.start, region_bytes(m.region));
	madvise((void *)(m.region.start + 9 * page_size()), page_size(), MADV_DONTNEED);
	assert_int_equal(find_idle(&m), PAGES - 3);
	assert_int_equal(m.used[9], 0);
	end(&m);
}

/* Two frames that follow each other, if there are any, of pages that are inspected in one step. */
static unsigned int find_neighbours(const struct memory *m)
{
	for (unsigned int page = 1; page < PAGES; page++)
		if (frame_at(m, page) == frame_at(m, page - 1) + 1 && (m->region.start / page_size() + page) % 512)
			return page;
	return 0;
}

static void test_what_is_not_tracked_is_not_idle(void **state)
{
	struct memory m = {0};
	unsigned int page;

	(void)state;
	begin(&m);
	page = find_neighbours(&m);
	words[find_word(frame_at(&m, page) / 64)].untracked |= UINT64_C(1) << frame_at(&m, page) % 64;
	look(&m);
	assert_int_equal(find_idle(&m), PAGES - 1);
	assert_int_equal(m.used[page], 1);
	if (page) {
		tail = frame_at(&m, page);
		assert_int_equal(find_idle(&m), PAGES); /* as the first of its huge page */
		use_page(&m, page - 1);
		assert_int_equal(find_idle(&m), PAGES - 2);
		tail = 0;
	}
	end(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_used),
		cmocka_unit_test(test_what_is_not_there),
		cmocka_unit_test(test_what_is_not_tracked_is_not_used),
		cmocka_unit_test(test_what_stayed_idle),
		cmocka_unit_test(test_what_is_not_tracked_is_not_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
