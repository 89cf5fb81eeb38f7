/* SPDX-License-Identifier: MIT */
/* The index of a session, held against a plain table; and read again after its process is gone. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/size.h"
#include "index/index.h"

#define SPACES         3
#define PAGES          5000 /* of each space, spread over several tables */
#define STEPS          200000
#define BASE           UINT64_C(0x7f0000000000)
#define LARGE          8192
#define SPARE          20 /* tables, and their keys */
#define FIRST_CLUSTERS 64

struct fixture {
	int fd;
	struct index *index;
};

/* On the file system, in bytes; and how often so much was asked for that it takes long. */
static uint64_t room = UINT64_MAX;
static unsigned int large;

/* In front of that of libc: there is no more than there is room for. */
int posix_fallocate(int fd, off_t at, off_t bytes) /* NOLINT(readability-inconsistent-declaration-parameter-name) */
{
	large += bytes > LARGE;
	if ((uint64_t)bytes > room)
		return ENOSPC;
	if (room != UINT64_MAX)
		room -= (uint64_t)bytes;
	return fallocate(fd, 0, at, bytes) < 0 ? errno : 0;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	f->fd = memfd_create("index", MFD_CLOEXEC);
	*state = f;
	return index_create(&f->index, f->fd, 16);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	index_close(f->index);
	close(f->fd);
	free(f);
	return 0;
}

static uint64_t next_random(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *seed >> 33;
}

/* Every 40th page, so that tables come and go. */
static uint64_t address_of(unsigned int page)
{
	return BASE + (uint64_t)page * 40 * page_size();
}

struct seen {
	const index_entry *expected;
	uint64_t last;
	uint64_t count;
};

static int see(void *context, uint64_t address, index_entry entry)
{
	struct seen *seen = context;

	assert_true(seen->count == 0 || address > seen->last);
	assert_int_equal(entry, seen->expected[(address - BASE) / (40 * page_size())]);
	seen->last = address;
	seen->count++;
	return 0;
}

static void compare(struct index *index, index_entry expected[SPACES][PAGES])
{
	for (unsigned int space = 0; space < SPACES; space++) {
		struct seen seen = {.expected = expected[space]};
		uint64_t used = 0;

		for (unsigned int page = 0; page < PAGES; page++) {
			used += expected[space][page] != ENTRY_NONE;
			assert_int_equal(index_get(index, space, address_of(page)), expected[space][page]);
		}
		assert_int_equal(index_count(index, space), used);
		assert_int_equal(index_walk(index, space, (struct region){0, UINT64_MAX}, see, &seen), 0);
		assert_int_equal(seen.count, used);
	}
}

static void test_random(void **state)
{
	static index_entry expected[SPACES][PAGES];
	struct fixture *f = *state;
	uint64_t seed = 20261121;

	memset(expected, 0, sizeof(expected));
	for (unsigned int i = 0; i < STEPS; i++) {
		unsigned int space = (unsigned int)(next_random(&seed) % SPACES);
		unsigned int page = (unsigned int)(next_random(&seed) % PAGES);
		index_entry entry = next_random(&seed) % 2
					    ? entry_make((uint32_t)next_random(&seed) % 1000 + 1, page % 16)
					    : ENTRY_NONE;

		assert_int_equal(index_set(f->index, space, address_of(page), entry), 0);
		expected[space][page] = entry;
	}
	compare(f->index, expected);
	index_close(f->index);
	assert_int_equal(index_open(&f->index, f->fd), 0);
	compare(f->index, expected);
}

static void test_recover(void **state)
{
	struct fixture *f = *state;
	uint32_t kept = index_cluster_new(f->index, 2);
	uint32_t dropped = index_cluster_new(f->index, 1);

	index_cluster(f->index, kept)->pins = 3;
	index_cluster(f->index, kept)->refs = 7;
	index_cluster(f->index, dropped)->refs = 1;
	assert_int_equal(index_set(f->index, 0, BASE, entry_make(kept, 0) | ENTRY_FILLING), 0);
	assert_int_equal(index_set(f->index, 1, BASE, entry_make(kept, 1)), 0);
	index_close(f->index);
	assert_int_equal(index_open(&f->index, f->fd), 0);
	index_recover(f->index);
	assert_int_equal(index_get(f->index, 0, BASE), entry_make(kept, 0));
	assert_int_equal(index_cluster(f->index, kept)->refs, 2);
	assert_int_equal(index_cluster(f->index, kept)->pins, 0);
	assert_int_equal(index_cluster(f->index, dropped)->state, CLUSTER_FREE);
}

/* Who exchanged a record may have died at it. */
static void test_exchange(void **state)
{
	struct fixture *f = *state;
	struct store_slot first = {.offset = 512, .number = 1, .length = 300, .size = 8192, .units = {9, 8}};
	struct store_slot second = {.offset = 1024, .number = 9, .length = 200, .size = 8192, .units = {5, 4}};
	struct store_slot third = {.offset = 2048, .number = 20, .length = 100, .size = 8192, .units = {3, 2}};
	uint32_t number = index_cluster_new(f->index, 2);
	struct store_slot found;

	index_slot_set(f->index, number, &first);
	index_slot_exchange(f->index, number, &second);
	index_slot_get(f->index, number, &found);
	assert_memory_equal(&found, &second, sizeof(found));
	index_header(f->index)->exchange.slot = third;
	index_header(f->index)->exchange.cluster = number;
	index_close(f->index);
	assert_int_equal(index_open(&f->index, f->fd), 0);
	index_slot_get(f->index, number, &found);
	assert_memory_equal(&found, &third, sizeof(found));
	assert_int_equal(index_header(f->index)->exchange.cluster, 0);
}

static void test_clusters_are_reused(void **state)
{
	struct fixture *f = *state;
	uint32_t first = index_cluster_new(f->index, 16);
	uint32_t generation = index_cluster(f->index, first)->generation;

	assert_int_not_equal(first, 0);
	index_cluster_free(f->index, first);
	assert_int_equal(index_cluster_new(f->index, 16), first);
	assert_int_not_equal(index_cluster(f->index, first)->generation, generation);
}

static void test_foreign_file(void **state)
{
	struct index *index;
	int fd = memfd_create("foreign", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(index_open(&index, fd), -EBADMSG);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(index_open(&index, fd), -EBADMSG);
	close(fd);
}

static void test_damaged_header(void **state)
{
	struct fixture *f = *state;
	struct index *index;

	index_header(f->index)->session.events.discard_count = DISCARDS_MAX + 1;
	assert_int_equal(index_open(&index, f->fd), -EBADMSG);
	index_header(f->index)->session.events.discard_count = 0;
	index_header(f->index)->session.target.released_count = INDEX_SPACES + 1;
	assert_int_equal(index_open(&index, f->fd), -EBADMSG);
	index_header(f->index)->session.target.released_count = 0;
	index_header(f->index)->exchange.cluster = (uint32_t)index_header(f->index)->clusters;
	assert_int_equal(index_open(&index, f->fd), -EBADMSG);
}

static void test_nearly_full(void **state)
{
	struct fixture *f = *state;
	uint64_t table = 512 * page_size();

	room = SPARE * (512 * sizeof(index_entry) + sizeof(uint64_t)) + FIRST_CLUSTERS * (sizeof(struct cluster) + 16);
	large = 0;
	for (uint64_t at = 0; at < 100 * table; at += page_size())
		assert_int_equal(index_set(f->index, 0, BASE + at, entry_make(1, 0)), at < SPARE * table ? 0 : -ENOSPC);
	assert_true(large < 100); /* of 40,960 that found no room */
	room = UINT64_MAX;
	assert_int_equal(index_set(f->index, 0, BASE + 99 * table, entry_make(1, 0)), 0);
	assert_int_equal(index_count(f->index, 0), SPARE * 512 + 1);
}

static uint64_t file_bytes(int fd)
{
	struct stat stat;

	assert_int_equal(fstat(fd, &stat), 0);
	return (uint64_t)stat.st_blocks * 512;
}

static void test_is_small(void **state)
{
	struct fixture *f = *state;
	uint64_t empty = file_bytes(f->fd);
	uint64_t out = 64 * MiB;

	for (uint64_t at = 0; at < out; at += 16 * page_size()) {
		uint32_t cluster = index_cluster_new(f->index, 16);

		assert_int_not_equal(cluster, 0);
		for (unsigned int i = 0; i < 16; i++)
			assert_int_equal(index_set(f->index, 0, BASE + at + i * page_size(), entry_make(cluster, i)),
					 0);
		if (at == 0)
			assert_in_range(file_bytes(f->fd) - empty, 1, 64 * KiB);
	}
	/* A quarter of it is room for a child. */
	assert_in_range(file_bytes(f->fd) - empty, 1, out * 4 / 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_random, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_recover, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_clusters_are_reused, set_up, tear_down),
		cmocka_unit_test(test_foreign_file),
		cmocka_unit_test_setup_teardown(test_exchange, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_damaged_header, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nearly_full, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_is_small, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
