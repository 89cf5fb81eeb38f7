/* SPDX-License-Identifier: MIT */
/* Residency: superpages against a naive sum, and the three methods against a map of what was touched. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/size.h"
#include "pages/fold.h"
#include "pages/pages.h"

#define PAGES               16384
#define MADV_GUARD_INSTALL_ 102 /* MADV_GUARD_INSTALL, Linux 6.13 */
#define MOST                PAGES

/* What callbacks told. */
struct told {
	size_t count;
	struct region superpages[MOST];
	struct residency residency[MOST];
	size_t stop_at; /* 0: never */
};

static struct told told, others;

static int tell(void *context, struct region superpage, const struct residency *residency)
{
	struct told *to = context;

	assert_true(to->count < MOST);
	to->superpages[to->count] = superpage;
	to->residency[to->count++] = *residency;
	return to->stop_at && to->count == to->stop_at ? 7 : 0;
}

static uint64_t seed;

static uint64_t random_below(uint64_t bound)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 33) % bound;
}

/*
 * Sums what a superpage has, byte by page, and compares it with the next that was told. Returns whether there was
 * anything.
 */
static bool assert_superpage(size_t at, struct region part, const unsigned char *states, uint64_t base)
{
	struct residency sum = {0};

	for (uint64_t page = part.start; page < part.end; page += page_size()) {
		unsigned char state = states[(page - base) / page_size()];

		sum.resident += state & PAGE_RESIDENT ? page_size() : 0;
		sum.swapped += state & PAGE_SWAPPED ? page_size() : 0;
		sum.huge += state & PAGE_HUGE ? page_size() : 0;
	}
	if (!sum.resident && !sum.swapped)
		return false;
	assert_true(at < told.count);
	assert_int_equal(told.superpages[at].start, part.start);
	assert_int_equal(told.superpages[at].end, part.end);
	assert_int_equal(told.residency[at].resident, sum.resident);
	assert_int_equal(told.residency[at].swapped, sum.swapped);
	assert_int_equal(told.residency[at].huge, sum.huge);
	return true;
}

static void assert_told(struct region region, uint64_t size, const unsigned char *states, uint64_t base)
{
	size_t at = 0;

	for (uint64_t start = region.start, end; start < region.end; start = end) {
		end = min_u64(region.end, round_down(start, size) + size);
		at += assert_superpage(at, (struct region){start, end}, states, base);
	}
	assert_int_equal(at, told.count);
}

static void fill_states(unsigned char *states, size_t count)
{
	for (size_t i = 0; i < count;) {
		static const unsigned char all[] = {0, PAGE_RESIDENT, PAGE_SWAPPED, PAGE_RESIDENT | PAGE_HUGE};
		size_t run = 1 + random_below(random_below(4) ? 4 : 3000);
		unsigned char state = all[random_below(4)];

		for (; run && i < count; run--)
			states[i++] = state;
	}
}

static void test_fold_like_naive(void **state)
{
	static unsigned char states[PAGES];

	(void)state;
	for (int round = 0; round < 200; round++) {
		uint64_t base = random_below(1 << 20) * page_size(), size = page_size() << random_below(16);
		size_t count = 1 + random_below(PAGES);
		struct fold fold = {
			.within = {base, base + count * page_size()},
			.size = size,
			.knows_huge = true,
			.callback = tell,
			.context = &told,
		};

		fill_states(states, count);
		told = (struct told){0};
		for (size_t i = 0, end; i < count; i = end) {
			for (end = i + 1; end < count && states[end] == states[i] && random_below(50); end++)
				;
			if (states[i])
				assert_int_equal(
					fold_add(&fold,
						 (struct region){base + i * page_size(), base + end * page_size()},
						 states[i]),
					0);
		}
		assert_int_equal(fold_end(&fold), 0);
		assert_told(fold.within, size, states, base);
	}
}

static int own_mincore(void *context, struct region region, unsigned char *vec)
{
	(void)context;
	return mincore((void *)(uintptr_t)region.start, region_bytes(region), vec) ? -errno : 0;
}

static struct pages open_pages(pid_t pid, enum pages_method method)
{
	struct pages pages = {.method = method, .mincore = own_mincore};
	char path[40];
	int result;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	pages.pagemap_fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(pages.pagemap_fd >= 0);
	result = pages_open(&pages);
	if (result == -EOPNOTSUPP) {
		print_message("this kernel has no PAGEMAP_SCAN\n");
		close(pages.pagemap_fd);
		skip();
	}
	assert_int_equal(result, 0);
	return pages;
}

static char *map(size_t bytes)
{
	char *at =
		mmap(NULL, bytes + 2 * MiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_ptr_not_equal(at, MAP_FAILED);
	at = (char *)(uintptr_t)round_up((uintptr_t)at, 2 * MiB);
	assert_int_equal(madvise(at, bytes, MADV_NOHUGEPAGE), 0);
	return at;
}

/* Touches pages at random, reading some (the zero page is in core too) and discarding some again. */
static void touch(char *at, unsigned char *states)
{
	fill_states(states, PAGES);
	for (size_t i = 0; i < PAGES; i++) {
		volatile char *page = at + i * page_size();

		if (states[i] == PAGE_SWAPPED) {
			*page = 1;
			assert_int_equal(madvise((void *)(uintptr_t)page, page_size(), MADV_DONTNEED), 0);
			states[i] = 0;
		} else if (states[i] & PAGE_HUGE) {
			(void)*page;
			states[i] = PAGE_RESIDENT;
		} else if (states[i]) {
			*page = 1;
		}
	}
}

static void assert_method(enum pages_method method)
{
	static unsigned char states[PAGES];
	struct pages pages = open_pages(getpid(), method);
	char *at = map(PAGES * page_size());
	uint64_t base = (uintptr_t)at;

	touch(at, states);
	for (int round = 0; round < 40; round++) {
		uint64_t start = random_below(PAGES), count = 1 + random_below(PAGES - start),
			 size = page_size() << random_below(19);
		struct region region = {base + start * page_size(), base + (start + count) * page_size()};

		told = (struct told){0};
		assert_int_equal(pages_superpages(&pages, region, size, true, tell, &told), 0);
		assert_told(region, size, states, base);
	}
	munmap(at, PAGES * page_size());
	close(pages.pagemap_fd);
}

static void test_scan(void **state)
{
	(void)state;
	assert_method(PAGES_SCAN);
}

static void test_pagemap(void **state)
{
	(void)state;
	assert_method(PAGES_PAGEMAP);
}

static void test_mincore(void **state)
{
	(void)state;
	assert_method(PAGES_MINCORE);
}

/* More in one run than the kernel is asked for in one call. */
static void test_more_than_a_call(void **state)
{
	struct pages pages = open_pages(getpid(), PAGES_SCAN);
	size_t bytes = 2 * GiB + 6 * MiB;
	char *at = map(bytes);
	volatile char byte;
	uint64_t resident = 0;

	(void)state;
	for (size_t i = 0; i < bytes; i += page_size())
		byte = at[i];
	(void)byte;
	told = (struct told){0};
	assert_int_equal(pages_superpages(&pages, (struct region){(uintptr_t)at, (uintptr_t)at + bytes}, 2 * MiB, true,
					  tell, &told),
			 0);
	assert_int_equal(told.count, bytes / (2 * MiB));
	for (size_t i = 0; i < told.count; i++)
		resident += told.residency[i].resident;
	assert_int_equal(resident, bytes);
	munmap(at, bytes);
	close(pages.pagemap_fd);
}

static void test_huge(void **state)
{
	static const enum pages_method methods[] = {PAGES_SCAN, PAGES_PAGEMAP, PAGES_MINCORE};
	char *at = map(8 * MiB);
	struct region region = {(uintptr_t)at + 4096, (uintptr_t)at + 8 * MiB - 4096};

	(void)state;
	if (madvise(at, 4 * MiB, MADV_HUGEPAGE)) {
		print_message("no transparent huge pages here\n");
		skip();
	}
	memset(at, 1, 8 * MiB);
	for (size_t i = 0; i < 3; i++) {
		struct pages pages = open_pages(getpid(), methods[i]);

		told = (struct told){0};
		assert_int_equal(pages_superpages(&pages, region, 2 * MiB, true, tell, &told), 0);
		assert_int_equal(told.count, 4);
		assert_int_equal(told.residency[2].huge, 0);
		if (told.residency[1].huge == 0) {
			print_message("the kernel gave no huge page\n");
			skip();
		}
		assert_int_equal(told.residency[0].huge, 2 * MiB - 4096);
		assert_int_equal(told.residency[1].huge, 2 * MiB);
		pages.has_scan = false;
		if (methods[i] == PAGES_SCAN)
			continue;
		others = (struct told){0};
		assert_int_equal(pages_superpages(&pages, region, 2 * MiB, true, tell, &others), 0);
		assert_true(others.residency[1].huge == UINT64_MAX);
		assert_int_equal(others.residency[1].resident, told.residency[1].resident);
		close(pages.pagemap_fd);
	}
	munmap(at, 8 * MiB);
}

static void test_guard_pages_hold_nothing(void **state)
{
	static const enum pages_method methods[] = {PAGES_SCAN, PAGES_PAGEMAP, PAGES_MINCORE};
	char *at = map(2 * MiB);

	(void)state;
	at[0] = 1;
	if (madvise(at + page_size(), 2 * MiB - page_size(), MADV_GUARD_INSTALL_)) {
		print_message("no guard pages here\n");
		skip();
	}
	for (size_t i = 0; i < 3; i++) {
		struct pages pages = open_pages(getpid(), methods[i]);

		told = (struct told){0};
		assert_int_equal(pages_superpages(&pages, (struct region){(uintptr_t)at, (uintptr_t)at + 2 * MiB},
						  2 * MiB, true, tell, &told),
				 0);
		assert_int_equal(told.count, 1);
		assert_int_equal(told.residency[0].resident, page_size());
		assert_int_equal(told.residency[0].swapped, 0);
		close(pages.pagemap_fd);
	}
	munmap(at, 2 * MiB);
}

static void test_callback_ends_the_walk(void **state)
{
	static const enum pages_method methods[] = {PAGES_SCAN, PAGES_PAGEMAP, PAGES_MINCORE};
	char *at = map(8 * MiB);

	(void)state;
	memset(at, 1, 8 * MiB);
	for (size_t i = 0; i < 3; i++) {
		struct pages pages = open_pages(getpid(), methods[i]);
		struct region region = {(uintptr_t)at, (uintptr_t)at + 8 * MiB};

		for (size_t stop = 1; stop <= 4; stop++) {
			told = (struct told){.stop_at = stop};
			assert_int_equal(pages_superpages(&pages, region, 2 * MiB, true, tell, &told), 7);
			assert_int_equal(told.count, stop);
		}
		close(pages.pagemap_fd);
	}
	munmap(at, 8 * MiB);
}

static void test_dead_address_space(void **state)
{
	static const enum pages_method methods[] = {PAGES_SCAN, PAGES_PAGEMAP};
	char *at = map(4 * MiB);
	struct region region = {(uintptr_t)at, (uintptr_t)at + 4 * MiB};
	struct pages pages[2];
	uint64_t entry;
	pid_t pid;

	(void)state;
	memset(at, 1, 4 * MiB);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	for (size_t i = 0; i < 2; i++) {
		pages[i] = open_pages(pid, methods[i]);
		told = (struct told){0};
		assert_int_equal(pages_superpages(&pages[i], region, 2 * MiB, true, tell, &told), 0);
		assert_int_equal(told.count, 2);
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(pages_superpages(&pages[i], region, 2 * MiB, true, tell, &told), -ESRCH);
		assert_int_equal(pagemap_read(pages[i].pagemap_fd, region.start, 1, &entry), -ESRCH);
		close(pages[i].pagemap_fd);
	}
	munmap(at, 4 * MiB);
}

static void test_open_and_edges(void **state)
{
	struct pages pages = open_pages(getpid(), PAGES_AUTO),
		     bare = {.method = PAGES_MINCORE, .pagemap_fd = pages.pagemap_fd};
	struct region top = {UINT64_C(0xffffffffff600000), UINT64_C(0xffffffffff601000)};

	(void)state;
	assert_int_equal(pages.method, pages.has_scan ? PAGES_SCAN : PAGES_PAGEMAP);
	assert_int_equal(pages_open(&bare), -EINVAL);
	told = (struct told){0};
	assert_int_equal(pages_superpages(&pages, top, 2 * MiB, false, tell, &told), 0);
	assert_int_equal(told.count, 0);
	close(pages.pagemap_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fold_like_naive),
		cmocka_unit_test(test_scan),
		cmocka_unit_test(test_pagemap),
		cmocka_unit_test(test_mincore),
		cmocka_unit_test(test_more_than_a_call),
		cmocka_unit_test(test_huge),
		cmocka_unit_test(test_guard_pages_hold_nothing),
		cmocka_unit_test(test_callback_ends_the_walk),
		cmocka_unit_test(test_dead_address_space),
		cmocka_unit_test(test_open_and_edges),
	};

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return 1;
	print_message("seed 0x%" PRIx64 "\n", seed);
	alarm(300);
	return cmocka_run_group_tests_name("pages", tests, NULL, NULL);
}
