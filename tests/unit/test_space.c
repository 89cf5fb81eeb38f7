/* SPDX-License-Identifier: MIT */
/* AddrSpace: mapping, asking, stacking. */
#include <errno.h>
#include <stdbool.h>
#include <unistd.h>

#include "space_fixture.h"

static void sizes_are_told_in_blocks(void **state)
{
	struct uvm_mappable *odd;
	unsigned int bytes, align;
	uint64_t size, block;

	(void)state;
	assert_int_equal(uvm_mappable_create_memory(page(2) + 1, 0, &odd), 0);
	assert_int_equal(uvm_mappable_get_size(odd, &size), 0);
	assert_int_equal(uvm_mappable_get_block_size(odd, &block), 0);
	assert_int_equal(size * block, page(3));
	uvm_mappable_unref(odd);
	assert_int_equal(uvm_space_get_page_size(space, &bytes), 0);
	assert_int_equal(bytes, getpagesize());
	assert_int_equal(uvm_space_get_min_align(space, &align), 0);
	assert_true(align >= bytes && align % bytes == 0);
}

static void a_mapping_shows_its_memory(void **state)
{
	uint64_t first = UVM_UNSPECIFIED_START, second = UVM_UNSPECIFIED_START;

	(void)state;
	assert_int_equal(uvm_space_map(space, memory, pages(0, 4), &first, RW), 0);
	assert_int_equal(uvm_space_map(space, memory, pages(2, 4), &second, RW), 0);
	assert_int_equal(peek(first), 0);
	assert_int_equal(poke(first + page(2), 7), 0);
	assert_int_equal(peek(second), 7);
	assert_int_equal(poke(second + page(1), 8), 0);
	assert_int_equal(peek(first + page(3)), 8);
	assert_int_equal(peek(base + page(15)), -SIGSEGV);
}

static void an_occupied_place_is_not_taken(void **state)
{
	uint64_t start = base + page(2);

	(void)state;
	map_at(space, memory, pages(0, 4), base, RW);
	poke(base + page(2), 1);
	assert_int_equal(uvm_space_map(space, memory, pages(4, 6), &start, RW | UVM_MAP_FIXED),
			 UVM_MEM_REGION_OCCUPIED);
	assert_int_equal(peek(base + page(2)), 1);
	assert_int_equal(uvm_space_map(space, memory, pages(4, 6), &start, RW), 0);
	assert_int_equal(start, base + page(4));
}

static void replace_needs_fixed_to_mean_anything(void **state)
{
	uint64_t start = base;

	(void)state;
	map_at(space, memory, pages(0, 1), base, RW);
	poke(base, 1);
	assert_int_equal(uvm_space_map(space, memory, pages(1, 2), &start, RW | UVM_MAP_REPLACE), 0);
	assert_int_equal(start, base + page(1));
	map_at(space, memory, pages(2, 3), base, RW | UVM_MAP_REPLACE);
	assert_int_equal(peek(base), 0);
	map_at(space, memory, pages(0, 1), base, RW | UVM_MAP_REPLACE);
	assert_int_equal(peek(base), 1);
}

static void a_window_can_be_full(void **state)
{
	uint64_t start = UVM_UNSPECIFIED_START;

	(void)state;
	map_at(space, memory, pages(0, 6), base + page(5), RW);
	assert_int_equal(uvm_space_map(space, memory, pages(0, 6), &start, RW), UVM_MEM_NO_SPACE);
	assert_int_equal(start, UVM_UNSPECIFIED_START);
	assert_int_equal(uvm_space_map(space, memory, pages(0, 5), &start, RW), 0);
	assert_int_equal(start, base);
	start = UVM_UNSPECIFIED_START;
	assert_int_equal(uvm_space_map(space, memory, pages(0, 5), &start, RW), 0);
	assert_int_equal(start, base + page(11));
}

static void wrong_arguments_are_refused(void **state)
{
	struct uvm_space *stacked = new_stacked();
	uint64_t start = base, odd = base + 1, outside = base + page(15), anywhere = UVM_UNSPECIFIED_START;
	struct uvm_region window;

	(void)state;
	assert_int_equal(uvm_space_map(space, memory, (struct uvm_region){0, 99}, &start, RW),
			 UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_space_map(space, memory, (struct uvm_region){1, page(1)}, &start, RW),
			 UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_space_map(space, memory, (struct uvm_region){page(1), 0}, &start, RW),
			 UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_space_map(space, memory, pages(7, 9), &start, RW), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_space_map(space, memory, pages(0, 1), &odd, RW | UVM_MAP_FIXED), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_space_map(space, memory, pages(0, 1), &odd, RW), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_space_map(space, memory, pages(0, 2), &outside, RW | UVM_MAP_FIXED),
			 UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_space_map(space, memory, pages(0, 1), &start, 0x1000), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_space_map(space, memory, pages(0, 1), &start, UVM_MAP_OVERMAP_MASK),
			 UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_space_map(space, memory, pages(0, 1), &anywhere, RW | UVM_MAP_FIXED),
			 UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_space_map(stacked, memory, pages(0, 1), &anywhere, RW), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_space_unmap(space, (struct uvm_region){base, base + 1}), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_space_unmap(space, pages(0, 1)), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_space_get_window(stacked, &window), UVM_MEM_OPERATION_NOT_SUPPORTED);
	assert_int_equal(uvm_space_create(0, &stacked), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_mappable_create_memory(0, 0, &memory), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_mappable_create_memory(1, 0x40, &memory), UVM_MEM_INVALID_ARGUMENT);
	uvm_space_unref(stacked);
}

static void unmapping_takes_what_is_there(void **state)
{
	(void)state;
	map_at(space, memory, pages(0, 4), base, RW);
	for (uint64_t i = 0; i < 4; i++)
		poke(base + page(i), (int)i + 1);
	assert_int_equal(uvm_space_unmap(space, pages_from(base, 1, 2)), 0);
	assert_int_equal(peek(base), 1);
	assert_int_equal(peek(base + page(1)), -SIGSEGV);
	assert_int_equal(peek(base + page(2)), 3);
	assert_int_equal(uvm_space_unmap(space, pages_from(base, 0, 16)), 0);
	assert_int_equal(uvm_space_unmap(space, pages_from(base, 0, 16)), 0);
	assert_int_equal(peek(base + page(2)), -SIGSEGV);
}

static void flags_are_set_and_told(void **state)
{
	unsigned int flags;
	bool same;

	(void)state;
	map_at(space, memory, pages(0, 4), base, RW | UVM_MAP_OVERMAP_READ_ONLY);
	poke(base + page(1), 5);
	assert_int_equal(uvm_space_get_mapflags(space, pages_from(base, 0, 4), &flags, &same), 0);
	assert_int_equal(flags, RW | UVM_MAP_OVERMAP_READ_ONLY);
	assert_true(same);
	assert_int_equal(uvm_space_set_mapflags(space, pages_from(base, 1, 2), UVM_MAP_READ), 0);
	assert_int_equal(peek(base + page(1)), 5);
	assert_int_equal(poke(base + page(1), 6), -SIGSEGV);
	assert_int_equal(poke(base + page(2), 6), 0);
	assert_int_equal(uvm_space_get_mapflags(space, pages_from(base, 0, 4), &flags, &same), 0);
	assert_int_equal(flags, RW | UVM_MAP_OVERMAP_READ_ONLY);
	assert_false(same);
	assert_int_equal(uvm_space_get_mapflags(space, pages_from(base, 2, 5), &flags, &same), 0);
	assert_false(same);
	assert_int_equal(uvm_space_get_mapflags(space, pages_from(base, 4, 5), &flags, &same), 0);
	assert_int_equal(flags, 0);
	assert_false(same);
	assert_int_equal(uvm_space_set_mapflags(space, pages_from(base, 3, 5), UVM_MAP_READ), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_space_set_mapflags(space, pages_from(base, 0, 1), 0x1000), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(poke(base + page(3), 6), 0);
}

/* Returns the offset in pages, or -1 for NULL. */
static int64_t mapping_of(uint64_t first, uint64_t end, const struct uvm_mappable *expected)
{
	struct uvm_mappable *mappable = NULL;
	uint64_t offset = 0;

	assert_int_equal(uvm_space_get_mapping(space, pages_from(base, first, end), &mappable, &offset), 0);
	if (!mappable)
		return -1;
	assert_ptr_equal(mappable, expected);
	uvm_mappable_unref(mappable);
	return (int64_t)(offset / page_size());
}

static void the_mapping_of_a_region_is_one_or_none(void **state)
{
	struct uvm_mappable *other = new_memory(8);

	(void)state;
	map_at(space, memory, pages(2, 4), base, RW);
	map_at(space, memory, pages(4, 6), base + page(2), UVM_MAP_READ);
	map_at(space, memory, pages(0, 1), base + page(4), RW);
	map_at(space, other, pages(1, 3), base + page(5), RW);
	assert_int_equal(mapping_of(0, 2, memory), 2);
	assert_int_equal(mapping_of(1, 4, memory), 3); /* one continues the other */
	assert_int_equal(mapping_of(3, 5, memory), -1);
	assert_int_equal(mapping_of(4, 6, memory), -1); /* offsets fit, objects do not */
	assert_int_equal(mapping_of(5, 7, other), 1);
	assert_int_equal(mapping_of(6, 8, other), -1);
	assert_int_equal(mapping_of(9, 10, other), -1);
	uvm_mappable_unref(other);
}

static void the_mappable_of_a_space_is_always_the_same(void **state)
{
	struct uvm_mappable *one, *two;

	(void)state;
	assert_int_equal(uvm_space_get_mappable(space, &one), 0);
	assert_int_equal(uvm_space_get_mappable(space, &two), 0);
	assert_ptr_equal(one, two);
	uvm_mappable_unref(one);
	uvm_mappable_unref(two);
}

static void what_is_mapped_lives_on_without_its_maker(void **state)
{
	struct uvm_space *stacked = new_stacked();
	struct uvm_mappable *own = new_memory(1);

	(void)state;
	map_at(stacked, own, pages(0, 1), page(3), RW);
	map_space(space, stacked, pages(3, 4), base, RW);
	uvm_mappable_unref(own);
	uvm_space_unref(uvm_space_ref(stacked));
	uvm_space_unref(stacked);
	assert_int_equal(poke(base, 4), 0);
	assert_int_equal(peek(base), 4);
	uvm_space_unref(NULL);
	uvm_mappable_unref(NULL);
}

/* space maps top, top maps middle, middle maps bottom, bottom maps memory; page 0 of each is page 0 of the next. */
static struct uvm_space *stack[3];

static void make_stack(void)
{
	for (int i = 0; i < 3; i++)
		stack[i] = new_stacked();
	map_space(space, stack[2], pages(0, 4), base, RW);
	map_space(stack[2], stack[1], pages(0, 4), 0, RW);
	map_space(stack[1], stack[0], pages(0, 4), 0, RW);
	map_at(stack[0], memory, pages(0, 4), 0, RW);
}

static void drop_stack(void)
{
	for (int i = 0; i < 3; i++)
		uvm_space_unref(stack[i]);
}

static void a_change_at_any_level_shows_above(void **state)
{
	(void)state;
	make_stack();
	assert_int_equal(poke(base + page(1), 9), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(uvm_space_unmap(stack[i], pages(1, 2)), 0);
		assert_int_equal(peek(base + page(1)), -SIGSEGV);
		assert_int_equal(peek(base + page(2)), 0);
		if (i == 0)
			map_at(stack[0], memory, pages(1, 2), page(1), RW);
		else
			map_space(stack[i], stack[i - 1], pages(1, 2), page(1), RW);
		assert_int_equal(peek(base + page(1)), 9);
	}
	map_at(stack[1], memory, pages(1, 2), page(3), RW | UVM_MAP_REPLACE);
	assert_int_equal(peek(base + page(3)), 9);
	drop_stack();
}

static void a_right_missing_at_any_level_faults_at_access(void **state)
{
	(void)state;
	make_stack();
	for (int i = 0; i < 3; i++) {
		assert_int_equal(uvm_space_set_mapflags(stack[i], pages(0, 2), UVM_MAP_READ), 0);
		assert_int_equal(poke(base, 1), -SIGSEGV);
		assert_int_equal(peek(base), 0);
		assert_int_equal(poke(base + page(2), 1), 0);
		assert_int_equal(uvm_space_set_mapflags(stack[i], pages(0, 1), 0), 0);
		assert_int_equal(peek(base), -SIGSEGV);
		assert_int_equal(peek(base + page(1)), 0);
		assert_int_equal(uvm_space_set_mapflags(stack[i], pages(0, 2), RW), 0);
		assert_int_equal(poke(base, 0), 0);
	}
	drop_stack();
}

static void mapping_what_is_not_there_yet_succeeds(void **state)
{
	struct uvm_space *stacked = new_stacked();

	(void)state;
	map_space(space, stacked, pages(100, 104), base, RW);
	assert_int_equal(peek(base), -SIGSEGV);
	map_at(stacked, memory, pages(0, 1), page(100), UVM_MAP_READ);
	assert_int_equal(peek(base), 0);
	assert_int_equal(poke(base, 1), -SIGSEGV);
	uvm_space_unref(stacked);
}

static void a_space_never_shows_itself(void **state)
{
	struct uvm_mappable *top;
	uint64_t start = page(8);

	(void)state;
	make_stack();
	assert_int_equal(uvm_space_get_mappable(stack[2], &top), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(uvm_space_map(stack[i], top, pages(0, 1), &start, RW), UVM_MEM_INVALID_ARGUMENT);
	uvm_mappable_unref(top);
	drop_stack();
}

/* There are as many ways through them as 2 to the power of their number. */
static void spaces_may_be_mapped_twice_at_every_level(void **state)
{
	struct uvm_mappable *below = new_memory(2);

	(void)state;
	for (int i = 0; i < 64; i++) {
		struct uvm_space *above = new_stacked();

		map_at(above, below, pages(0, 1), 0, RW);
		map_at(above, below, pages(1, 2), page(1), RW);
		uvm_mappable_unref(below);
		assert_int_equal(uvm_space_get_mappable(above, &below), 0);
		uvm_space_unref(above);
	}
	map_at(space, below, pages(0, 2), base, RW);
	assert_int_equal(poke(base + page(1), 3), 0);
	assert_int_equal(peek(base + page(1)), 3);
	assert_int_equal(peek(base), 0);
	uvm_mappable_unref(below);
}

static void a_window_can_be_mapped_by_another(void **state)
{
	uint64_t other_base;
	struct uvm_space *other = new_window(4, &other_base);
	uint64_t first = base / page_size();

	(void)state;
	map_space(other, space, pages(first, first + 4), other_base, RW);
	assert_int_equal(peek(other_base), -SIGSEGV);
	map_at(space, memory, pages(0, 1), base, RW);
	assert_int_equal(poke(base, 3), 0);
	assert_int_equal(peek(other_base), 3);
	uvm_space_unref(other);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(sizes_are_told_in_blocks),
		test(a_mapping_shows_its_memory),
		test(an_occupied_place_is_not_taken),
		test(replace_needs_fixed_to_mean_anything),
		test(a_window_can_be_full),
		test(wrong_arguments_are_refused),
		test(unmapping_takes_what_is_there),
		test(flags_are_set_and_told),
		test(the_mapping_of_a_region_is_one_or_none),
		test(the_mappable_of_a_space_is_always_the_same),
		test(what_is_mapped_lives_on_without_its_maker),
		test(a_change_at_any_level_shows_above),
		test(a_right_missing_at_any_level_faults_at_access),
		test(mapping_what_is_not_there_yet_succeeds),
		test(a_space_never_shows_itself),
		test(spaces_may_be_mapped_twice_at_every_level),
		test(a_window_can_be_mapped_by_another),
	};

	alarm(300);
	return cmocka_run_group_tests_name("space", tests, NULL, NULL);
}
