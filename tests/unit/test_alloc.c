/* SPDX-License-Identifier: MIT */
/* Allocator, GenericAllocator and AllocHandle, the allocator held against a naive map of blocks. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <cmocka.h>

#include <uvm/space.h>

#include "base/cleanup.h"

static struct uvm_allocator *allocator;

static int set_up(void **state)
{
	(void)state;
	return uvm_alloc_create(&allocator);
}

static int tear_down(void **state)
{
	(void)state;
	uvm_alloc_unref(allocator);
	return 0;
}

static void add(uint64_t first, uint64_t last)
{
	assert_int_equal(uvm_alloc_add_regions(allocator, &(struct uvm_region){first, last}, 1), 0);
}

static struct uvm_alloc_handle *take(uint64_t length, uint64_t expected)
{
	uint64_t start = UVM_UNSPECIFIED_START;
	struct uvm_alloc_handle *handle = NULL;

	assert_int_equal(uvm_alloc_alloc(allocator, &start, length, 0, &handle), 0);
	assert_int_equal(start, expected);
	return handle;
}

static void expect_full(uint64_t length)
{
	uint64_t start = UVM_UNSPECIFIED_START;
	struct uvm_alloc_handle *handle = NULL;

	assert_int_equal(uvm_alloc_alloc(allocator, &start, length, 0, &handle), UVM_MEM_NO_SPACE);
	assert_int_equal(start, UVM_UNSPECIFIED_START);
	assert_null(handle);
}

static void errors_have_the_names_of_the_interface(void **state)
{
	(void)state;
	assert_string_equal(uvm_mem_error_name(UVM_MEM_INVALID_ARGUMENT), "InvalidArgument");
	assert_string_equal(uvm_mem_error_name(UVM_MEM_INVALID_STATE), "InvalidState");
	assert_string_equal(uvm_mem_error_name(UVM_MEM_OPERATION_NOT_SUPPORTED), "OperationNotSupported");
	assert_string_equal(uvm_mem_error_name(UVM_MEM_REGION_OCCUPIED), "RegionOccupied");
	assert_string_equal(uvm_mem_error_name(UVM_MEM_NO_MEMORY), "NoMemory");
	assert_string_equal(uvm_mem_error_name(UVM_MEM_NO_SPACE), "NoSpace");
	assert_string_equal(uvm_mem_error_name(UVM_MEM_IO_ERROR), "IOError");
	assert_string_equal(uvm_mem_error_name(0), "Success");
	assert_string_equal(uvm_mem_error_name(-9999), "Unknown");
}

static void an_allocator_without_regions_has_nothing(void **state)
{
	(void)state;
	expect_full(1);
}

static void the_block_size_is_set_before_anything_else(void **state)
{
	(void)state;
	assert_int_equal(uvm_alloc_set_block_size(allocator, 0), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_alloc_set_block_size(allocator, 48), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_alloc_set_block_size(allocator, 64), 0);
	assert_int_equal(uvm_alloc_set_block_size(allocator, 16), 0);
	add(0, 63);
	assert_int_equal(uvm_alloc_set_block_size(allocator, 16), UVM_MEM_INVALID_STATE);
}

static void lengths_are_rounded_up_to_blocks(void **state)
{
	struct uvm_alloc_handle *handle;
	struct uvm_region held;
	size_t count;

	(void)state;
	assert_int_equal(uvm_alloc_set_block_size(allocator, 16), 0);
	add(32, 95);
	handle = take(17, 32);
	assert_int_equal(uvm_alloc_handle_get_regions(handle, &held, 1, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(held.start, 32);
	assert_int_equal(held.end, 63);
	uvm_alloc_handle_unref(handle);
}

static void regions_may_not_overlap(void **state)
{
	const struct uvm_region alike[] = {{300, 399}, {200, 300}};
	const struct uvm_region with_old[] = {{0, 99}, {150, 199}};
	struct uvm_alloc_handle *handle;

	(void)state;
	add(100, 199);
	handle = take(100, 100);
	assert_int_equal(uvm_alloc_add_regions(allocator, alike, 2), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_alloc_add_regions(allocator, with_old, 2), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_alloc_add_regions(allocator, &(struct uvm_region){9, 8}, 1), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_alloc_add_regions(allocator, &(struct uvm_region){9, UINT64_MAX}, 1),
			 UVM_MEM_INVALID_ARGUMENT);
	expect_full(1);
	add(0, 99);
	uvm_alloc_handle_unref(handle);
	handle = take(200, 0); /* regions that touch are one */
	uvm_alloc_handle_unref(handle);
}

static void regions_are_whole_blocks(void **state)
{
	(void)state;
	assert_int_equal(uvm_alloc_set_block_size(allocator, 16), 0);
	assert_int_equal(uvm_alloc_add_regions(allocator, &(struct uvm_region){8, 31}, 1), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_alloc_add_regions(allocator, &(struct uvm_region){16, 30}, 1), UVM_MEM_INVALID_ARGUMENT);
}

static void a_fixed_start_is_had_or_nothing(void **state)
{
	struct uvm_alloc_handle *handle = NULL, *other = NULL;
	uint64_t start = 110;

	(void)state;
	add(100, 199);
	assert_int_equal(uvm_alloc_alloc(allocator, &start, 10, UVM_ALLOCATOR_FIXED, &handle), 0);
	assert_int_equal(start, 110);
	start = 119;
	assert_int_equal(uvm_alloc_alloc(allocator, &start, 10, UVM_ALLOCATOR_FIXED, &other), UVM_MEM_REGION_OCCUPIED);
	start = 50;
	assert_int_equal(uvm_alloc_alloc(allocator, &start, 10, UVM_ALLOCATOR_FIXED, &other), UVM_MEM_REGION_OCCUPIED);
	start = UVM_UNSPECIFIED_START;
	assert_int_equal(uvm_alloc_alloc(allocator, &start, 10, UVM_ALLOCATOR_FIXED, &other), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_alloc_alloc(allocator, &start, 10, 6, &other), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_alloc_alloc(allocator, &start, 0, 0, &other), UVM_MEM_INVALID_ARGUMENT);
	assert_null(other);
	uvm_alloc_handle_unref(handle);
}

static void a_start_that_is_taken_becomes_another(void **state)
{
	struct uvm_alloc_handle *handle = NULL, *other = NULL;
	uint64_t start = 150;

	(void)state;
	add(100, 199);
	assert_int_equal(uvm_alloc_alloc(allocator, &start, 10, 0, &handle), 0);
	assert_int_equal(start, 150);
	assert_int_equal(uvm_alloc_alloc(allocator, &start, 10, 0, &other), 0);
	assert_int_equal(start, 160); /* the smaller of the two that are free */
	uvm_alloc_handle_unref(handle);
	uvm_alloc_handle_unref(other);
}

static void parts_are_freed_alone(void **state)
{
	const struct uvm_region parts[] = {{170, 179}, {120, 129}};
	struct uvm_region held[3];
	struct uvm_alloc_handle *handle, *again;
	size_t count;

	(void)state;
	add(100, 199);
	handle = take(100, 100);
	assert_int_equal(uvm_alloc_handle_free(handle, parts, 2), 0);
	assert_int_equal(uvm_alloc_handle_get_regions(handle, held, 2, &count), 0);
	assert_int_equal(count, 3);
	assert_int_equal(uvm_alloc_handle_get_regions(handle, held, 3, &count), 0);
	assert_int_equal(held[0].start, 100);
	assert_int_equal(held[0].end, 119);
	assert_int_equal(held[1].start, 130);
	assert_int_equal(held[1].end, 169);
	assert_int_equal(held[2].start, 180);
	assert_int_equal(held[2].end, 199);
	again = take(10, 120);
	uvm_alloc_handle_unref(handle);
	handle = take(70, 130);
	uvm_alloc_handle_unref(handle);
	uvm_alloc_handle_unref(again);
}

static void parts_that_are_not_held_are_not_freed(void **state)
{
	const struct uvm_region outside[] = {{120, 129}, {140, 150}};
	const struct uvm_region twice[] = {{120, 129}, {125, 130}};
	struct uvm_alloc_handle *handle;

	(void)state;
	add(100, 199);
	handle = take(50, 100);
	assert_int_equal(uvm_alloc_handle_free(handle, outside, 2), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_alloc_handle_free(handle, twice, 2), UVM_MEM_INVALID_ARGUMENT);
	expect_full(51); /* nothing of it became free */
	assert_int_equal(uvm_alloc_handle_free(handle, twice, 1), 0);
	assert_int_equal(uvm_alloc_handle_free(handle, twice, 1), UVM_MEM_INVALID_ARGUMENT);
	uvm_alloc_handle_unref(handle);
}

static void all_is_free_with_the_last_reference(void **state)
{
	struct uvm_alloc_handle *handle;

	(void)state;
	add(100, 199);
	handle = take(100, 100);
	uvm_alloc_handle_ref(handle);
	uvm_alloc_handle_unref(handle);
	expect_full(1);
	uvm_alloc_handle_unref(handle);
	uvm_alloc_handle_unref(take(100, 100));
	uvm_alloc_handle_unref(NULL);
	uvm_alloc_unref(NULL);
}

static void a_handle_outlives_the_callers_allocator(void **state)
{
	struct uvm_alloc_handle *handle;
	struct uvm_region held;
	size_t count;

	(void)state;
	add(0, 9);
	handle = take(10, 0);
	uvm_alloc_unref(allocator);
	allocator = NULL;
	assert_int_equal(uvm_alloc_handle_get_regions(handle, &held, 1, &count), 0);
	assert_int_equal(held.end, 9);
	uvm_alloc_handle_unref(handle);
}

/* Blocks of 16 in three regions with a gap: 1 is taken or not ours. */
#define BLOCK   16
#define BLOCKS  256
#define HANDLES 64
#define STEPS   40000

struct naive {
	uint8_t taken[BLOCKS];
	struct uvm_alloc_handle *handle[HANDLES];
	uint8_t owner[BLOCKS]; /* number of the handle + 1 */
};

static uint64_t next(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *state >> 33;
}

static int best_fit(const struct naive *naive, uint64_t blocks, uint64_t *at)
{
	uint64_t best = UINT64_MAX;

	for (uint64_t i = 0, run; i < BLOCKS; i += run ? run : 1) {
		for (run = 0; i + run < BLOCKS && !naive->taken[i + run]; run++)
			;
		if (run >= blocks && run < best) {
			best = run;
			*at = i;
		}
	}
	return best == UINT64_MAX ? UVM_MEM_NO_SPACE : 0;
}

static void give_naive(struct naive *naive, uint8_t owner, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		if (naive->owner[i] == owner)
			naive->owner[i] = naive->taken[i] = 0;
}

static void step(struct naive *naive, uint64_t *random)
{
	uint8_t slot = (uint8_t)(next(random) % HANDLES), owner = slot + 1;
	uint64_t blocks = 1 + next(random) % 12, at = 0, start = UVM_UNSPECIFIED_START;
	struct uvm_alloc_handle **handle = &naive->handle[slot];

	if (!*handle) {
		int expected = best_fit(naive, blocks, &at);

		assert_int_equal(uvm_alloc_alloc(allocator, &start, blocks * BLOCK - next(random) % BLOCK, 0, handle),
				 expected);
		if (expected)
			return;
		assert_int_equal(start, at * BLOCK);
		memset(naive->taken + at, 1, blocks);
		memset(naive->owner + at, owner, blocks);
	} else if (next(random) % 2) {
		uvm_alloc_handle_unref(*handle);
		*handle = NULL;
		give_naive(naive, owner, 0, BLOCKS);
	} else {
		const uint8_t *first = memchr(naive->owner, owner, BLOCKS);

		if (!first)
			return;
		at = (uint64_t)(first - naive->owner);
		assert_int_equal(
			uvm_alloc_handle_free(*handle, &(struct uvm_region){at * BLOCK, at * BLOCK + BLOCK - 1}, 1), 0);
		give_naive(naive, owner, at, at + 1);
	}
}

static void run_seed(uint64_t seed)
{
	const struct uvm_region regions[] = {{0, 1023}, {1024, 1599}, {2048, 4095}};
	struct naive naive = {.taken = {0}};

	print_message("seed 0x%" PRIx64 "\n", seed);
	memset(naive.taken + 100, 1, 28);
	assert_int_equal(uvm_alloc_create(&allocator), 0);
	assert_int_equal(uvm_alloc_set_block_size(allocator, BLOCK), 0);
	assert_int_equal(uvm_alloc_add_regions(allocator, regions, ARRAY_SIZE(regions)), 0);
	for (int i = 0; i < STEPS; i++)
		step(&naive, &seed);
	for (int i = 0; i < HANDLES; i++)
		uvm_alloc_handle_unref(naive.handle[i]);
	uvm_alloc_handle_unref(take(2048, 2048));
	uvm_alloc_unref(allocator);
}

static void it_allocates_as_a_naive_one_does(void **state)
{
	uint64_t seed = 0;

	(void)state;
	assert_int_equal(getrandom(&seed, sizeof(seed), 0), sizeof(seed));
	run_seed(1);
	run_seed(seed);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_have_the_names_of_the_interface),
		test(an_allocator_without_regions_has_nothing),
		test(the_block_size_is_set_before_anything_else),
		test(lengths_are_rounded_up_to_blocks),
		test(regions_may_not_overlap),
		test(regions_are_whole_blocks),
		test(a_fixed_start_is_had_or_nothing),
		test(a_start_that_is_taken_becomes_another),
		test(parts_are_freed_alone),
		test(parts_that_are_not_held_are_not_freed),
		test(all_is_free_with_the_last_reference),
		test(a_handle_outlives_the_callers_allocator),
		cmocka_unit_test(it_allocates_as_a_naive_one_does),
	};

	alarm(300);
	return cmocka_run_group_tests_name("alloc", tests, NULL, NULL);
}
