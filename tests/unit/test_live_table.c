/* SPDX-License-Identifier: MIT */
/* The table of a live object's pieces, held against a naive map of pages while events come at random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lazymap/live_table.h"

#define PAGE   UINT64_C(4096)
#define PAGES  64 /* of the naive map, of which the object takes the first OBJECT */
#define OBJECT 24
#define SPACES 4
#define STEPS  2000
#define NONE   (-1)

static struct live_table tables[2];
static unsigned int current;

/* Which page of the object a page of an address space shows. */
static int naive[SPACES][PAGES];

static void apply(uint32_t space, struct uffd_msg message, int *child)
{
	live_table_apply(&tables[1 - current], &tables[current], space, &message, child);
	assert_int_equal(tables[1 - current].applied, tables[current].applied + 1);
	current = 1 - current;
}

static void begin(void)
{
	current = 0;
	live_table_init(&tables[0], 100, (struct region){0, OBJECT * PAGE});
	for (int s = 0; s < SPACES; s++)
		for (int i = 0; i < PAGES; i++)
			naive[s][i] = s == 0 && i < OBJECT ? i : NONE;
}

static void compare(void)
{
	for (uint32_t s = 0; s < SPACES; s++)
		for (int i = 0; i < PAGES; i++) {
			uint64_t address = (uint64_t)i * PAGE;
			const struct live_piece *piece = live_table_find(&tables[current], s, address);

			if (naive[s][i] == NONE)
				assert_null(piece);
			else
				assert_int_equal(piece->offset + (address - piece->region.start),
						 (uint64_t)naive[s][i] * PAGE);
		}
}

static void unmap(uint32_t space, unsigned int from, unsigned int count)
{
	struct uffd_msg message = {.event = UFFD_EVENT_UNMAP,
				   .arg.remove = {.start = from * PAGE, .end = (from + count) * PAGE}};
	int child;

	apply(space, message, &child);
	assert_int_equal(child, -1);
	for (unsigned int i = from; i < from + count; i++)
		naive[space][i] = NONE;
}

/* mremap(2) to a place that does not overlap; the old one stays until its unmap event. */
static void remap(uint32_t space, unsigned int from, unsigned int to, unsigned int count)
{
	struct uffd_msg message = {.event = UFFD_EVENT_REMAP,
				   .arg.remap = {.from = from * PAGE, .to = to * PAGE, .len = count * PAGE}};
	int child;

	apply(space, message, &child);
	for (unsigned int i = 0; i < count; i++)
		naive[space][to + i] = naive[space][from + i];
}

static int fork_space(uint32_t space, int uffd)
{
	struct uffd_msg message = {.event = UFFD_EVENT_FORK, .arg.fork = {.ufd = (uint32_t)uffd}};
	int child;

	apply(space, message, &child);
	return child;
}

static void test_split_and_move(void **state)
{
	(void)state;
	begin();
	unmap(0, 4, 2);
	compare();
	assert_int_equal(tables[current].count, 2);
	remap(0, 0, 40, 10);
	compare();
	unmap(0, 0, 10);
	compare();
	unmap(0, 0, PAGES);
	compare();
	assert_int_equal(tables[current].count, 0);
}

static void test_fork_and_drop(void **state)
{
	int child;

	(void)state;
	begin();
	child = fork_space(0, 101);
	assert_int_equal(child, 1);
	memcpy(naive[1], naive[0], sizeof(naive[0]));
	assert_int_equal(tables[current].uffd[1], 101);
	unmap(1, 3, 3);
	compare();
	live_table_drop(&tables[1 - current], &tables[current], 0);
	current = 1 - current;
	for (int i = 0; i < PAGES; i++)
		naive[0][i] = NONE;
	compare();
	assert_int_equal(tables[current].uffd[0], -1);
	assert_int_equal(tables[current].uffd[1], 101);
}

/* The same event once more, as after a death before it was in force, has the same result. */
static void test_again(void **state)
{
	struct uffd_msg message = {.event = UFFD_EVENT_REMAP,
				   .arg.remap = {.from = 2 * PAGE, .to = 40 * PAGE, .len = 6 * PAGE}};
	static struct live_table first;
	int child;

	(void)state;
	begin();
	live_table_apply(&tables[1], &tables[0], 0, &message, &child);
	first = tables[1];
	live_table_apply(&tables[1], &tables[0], 0, &message, &child);
	assert_memory_equal(&first, &tables[1], sizeof(first));
}

static void test_no_room(void **state)
{
	(void)state;
	begin();
	for (int i = 1; i < LIVE_SPACES; i++)
		assert_int_equal(fork_space(0, 100 + i), i);
	assert_int_equal(fork_space(0, 9999), -1);
	assert_int_equal(tables[current].uffd[0], 100);
	assert_false(tables[current].lost);

	live_table_init(&tables[0], 1, (struct region){0, (2 * LIVE_PIECES + 8) * PAGE});
	current = 0;
	for (uint64_t i = 0; i <= LIVE_PIECES; i++) {
		struct uffd_msg message = {.event = UFFD_EVENT_UNMAP,
					   .arg.remove = {.start = (2 * i + 1) * PAGE, .end = (2 * i + 2) * PAGE}};
		int child;

		apply(0, message, &child);
	}
	assert_true(tables[current].lost);
	assert_int_equal(tables[current].count, LIVE_PIECES);
}

static unsigned int below(unsigned int bound)
{
	static uint64_t seed = 6;

	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned int)(seed >> 33) % bound;
}

static void step(unsigned int *spaces)
{
	uint32_t space = below(*spaces);
	unsigned int from = below(PAGES);
	unsigned int to = below(PAGES);
	unsigned int count = 1 + below(8);

	if (below(4) == 0) {
		unmap(space, from, count < PAGES - from ? count : PAGES - from);
	} else if (from + count <= PAGES && to + count <= PAGES && (from + count <= to || to + count <= from)) {
		remap(space, from, to, count);
		if (below(3))
			unmap(space, from, count);
	}
	if (*spaces < SPACES && below(20) == 0) {
		int child = fork_space(space, 200 + (int)*spaces);

		assert_int_equal(child, *spaces);
		memcpy(naive[child], naive[space], sizeof(naive[0]));
		++*spaces;
	}
}

static void test_random(void **state)
{
	(void)state;
	for (int round = 0; round < 20; round++) {
		unsigned int spaces = 1;

		begin();
		for (int i = 0; i < STEPS / 20; i++) {
			step(&spaces);
			compare();
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split_and_move), cmocka_unit_test(test_fork_and_drop),
		cmocka_unit_test(test_again),          cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
