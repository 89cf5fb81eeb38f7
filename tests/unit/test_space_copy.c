/* SPDX-License-Identifier: MIT */
/* AddrSpace: copy on write, snapshots and clones, at all levels. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "space_fixture.h"

#define SNAPSHOT (COW | UVM_MAP_SNAPSHOT)

/* The memory is at page 0 of the window, each page with its number. */
static int set_up_mapped(void **state)
{
	(void)state;
	set_up_pages(64);
	map_at(space, memory, pages(0, 8), base, RW);
	for (int i = 0; i < 8; i++)
		poke(base + page((uint64_t)i), i);
	return 0;
}

static void a_copy_is_made_by_the_first_write(void **state)
{
	uint64_t copy = base + page(8);

	(void)state;
	map_at(space, memory, pages(0, 8), copy, COW);
	assert_int_equal(peek(copy + page(3)), 3);
	assert_int_equal(poke(base + page(3), 30), 0); /* seen until then */
	assert_int_equal(peek(copy + page(3)), 30);
	assert_int_equal(poke(copy + page(3) + 1, 31), 0);
	assert_int_equal(peek(copy + page(3)), 30);
	assert_int_equal(peek(copy + page(3) + 1), 31);
	assert_int_equal(peek(base + page(3) + 1), 0);
	assert_int_equal(poke(base + page(3), 33), 0);
	assert_int_equal(peek(copy + page(3)), 30);
	assert_int_equal(poke(base + page(4), 44), 0); /* the others still follow */
	assert_int_equal(peek(copy + page(4)), 44);
}

static void a_copy_keeps_its_rights(void **state)
{
	uint64_t copy = base + page(8);
	bool same;
	unsigned int flags;

	(void)state;
	map_at(space, memory, pages(0, 8), copy, UVM_MAP_READ | UVM_MAP_COPY_ON_WRITE);
	assert_int_equal(poke(copy, 1), -SIGSEGV);
	assert_int_equal(uvm_space_set_mapflags(space, pages_from(copy, 0, 8), RW), 0);
	assert_int_equal(uvm_space_get_mapflags(space, pages_from(copy, 0, 8), &flags, &same), 0);
	assert_int_equal(flags, RW);
	assert_int_equal(poke(copy, 1), 0); /* copy on write was not cleared */
	assert_int_equal(peek(base), 0);
	assert_int_equal(uvm_space_set_mapflags(space, pages_from(copy, 0, 8), UVM_MAP_READ), 0);
	assert_int_equal(poke(copy, 2), -SIGSEGV);
	assert_int_equal(peek(copy), 1);
	assert_int_equal(uvm_space_set_mapflags(space, pages_from(copy, 0, 8), 0), 0);
	assert_int_equal(peek(copy), -SIGSEGV);
}

static void copying_needs_no_right_to_write_below(void **state)
{
	struct uvm_space *stacked = new_stacked();
	uint64_t copy = base + page(8);

	(void)state;
	map_at(stacked, memory, pages(0, 8), 0, UVM_MAP_READ);
	map_space(space, stacked, pages(0, 8), copy, COW);
	assert_int_equal(poke(copy + page(5), 50), 0);
	assert_int_equal(peek(base + page(5)), 5);
	assert_int_equal(uvm_space_set_mapflags(stacked, pages(0, 8), UVM_MAP_WRITE), 0);
	assert_int_equal(poke(copy + page(4), 40), -SIGSEGV);
	assert_int_equal(peek(copy + page(5)), 50); /* a copy is ours */
	assert_int_equal(uvm_space_unmap(stacked, pages(0, 8)), 0);
	assert_int_equal(peek(copy + page(5)), 50);
	assert_int_equal(peek(copy + page(4)), -SIGSEGV);
	uvm_space_unref(stacked);
}

static void a_mapping_is_made_copying_later(void **state)
{
	(void)state;
	assert_int_equal(uvm_space_set_mapflags(space, pages_from(base, 2, 4), COW), 0);
	map_at(space, memory, pages(0, 8), base + page(8), UVM_MAP_READ);
	assert_int_equal(poke(base + page(2), 20), 0);
	assert_int_equal(poke(base + page(4), 40), 0);
	assert_int_equal(peek(base + page(10)), 2);
	assert_int_equal(peek(base + page(12)), 40);
	assert_int_equal(uvm_space_unmap(space, pages_from(base, 3, 4)), 0); /* cut in two */
	assert_int_equal(peek(base + page(2)), 20);
}

static void a_copying_mapping_becomes_a_snapshot_later(void **state)
{
	uint64_t copy = base + page(8);

	(void)state;
	map_at(space, memory, pages(0, 8), copy, COW);
	assert_int_equal(poke(copy + page(1), 10), 0);
	assert_int_equal(poke(base + page(2), 20), 0); /* still seen */
	assert_int_equal(uvm_space_set_mapflags(space, pages_from(copy, 0, 4), SNAPSHOT), 0);
	for (uint64_t i = 0; i < 8; i++)
		assert_int_equal(poke(base + page(i), 100), 0);
	assert_int_equal(peek(copy), 0);
	assert_int_equal(peek(copy + page(1)), 10);
	assert_int_equal(peek(copy + page(2)), 20);
	assert_int_equal(peek(copy + page(4)), 100); /* not of the region */
	assert_int_equal(poke(copy + page(1), 11), 0);
	assert_int_equal(poke(copy + page(3), 30), 0);
	assert_int_equal(uvm_space_set_mapflags(space, pages_from(copy, 0, 8), SNAPSHOT), 0);
	assert_int_equal(peek(copy + page(1)), 11);
	assert_int_equal(peek(copy + page(3)), 30);
	assert_int_equal(peek(base + page(3)), 100);
}

static void copies_are_seen_at_all_levels_above(void **state)
{
	struct uvm_space *low = new_stacked(), *high = new_stacked();
	uint64_t first = base + page(8), second = base + page(16), third = base + page(24);

	(void)state;
	map_at(low, memory, pages(0, 8), 0, COW);
	map_space(high, low, pages(0, 8), page(100), RW);
	map_space(space, high, pages(100, 108), first, RW);
	map_space(space, low, pages(0, 8), second, RW);
	map_space(space, high, pages(100, 108), third, COW);
	assert_int_equal(poke(first + page(1), 11), 0);
	assert_int_equal(peek(second + page(1)), 11);
	assert_int_equal(peek(third + page(1)), 11);
	assert_int_equal(peek(base + page(1)), 1);
	assert_int_equal(poke(third + page(1), 12), 0);
	assert_int_equal(poke(third + page(2), 22), 0);
	assert_int_equal(peek(first + page(1)), 11);
	assert_int_equal(peek(first + page(2)), 2);
	assert_int_equal(poke(second + page(2), 23), 0);
	assert_int_equal(peek(first + page(2)), 23);
	assert_int_equal(peek(third + page(2)), 22);
	uvm_space_unref(low);
	uvm_space_unref(high);
}

static void a_snapshot_sees_no_later_write(void **state)
{
	uint64_t one = base + page(8), two = base + page(16), other = base + page(24);

	(void)state;
	map_at(space, memory, pages(0, 8), other, RW);
	map_at(space, memory, pages(0, 8), one, SNAPSHOT);
	assert_int_equal(poke(base + page(1), 10), 0);
	map_at(space, memory, pages(0, 8), two, SNAPSHOT);
	assert_int_equal(poke(other + page(1), 100), 0);
	assert_int_equal(poke(other + page(2), 101), 0);
	assert_int_equal(peek(base + page(1)), 100);
	assert_int_equal(peek(one + page(1)), 1);
	assert_int_equal(peek(two + page(1)), 10);
	assert_int_equal(peek(one + page(2)), 2);
	assert_int_equal(peek(two + page(2)), 2);
	assert_int_equal(poke(one + page(3), 55), 0);
	assert_int_equal(peek(base + page(3)), 3);
	assert_int_equal(peek(two + page(3)), 3);
	assert_int_equal(poke(base + page(3), 56), 0);
	assert_int_equal(peek(one + page(3)), 55);
	assert_int_equal(peek(two + page(3)), 3);
}

static void a_snapshot_of_a_stack_is_cut_off_from_it(void **state)
{
	struct uvm_space *low = new_stacked();
	uint64_t view = base + page(8), snapshot = base + page(16), offset;
	struct uvm_mappable *mappable, *expected;

	(void)state;
	map_at(low, memory, pages(0, 4), 0, COW);
	map_at(low, memory, pages(4, 8), page(4), UVM_MAP_READ);
	map_space(space, low, pages(0, 8), view, RW);
	assert_int_equal(poke(view, 99), 0);
	map_space(space, low, pages(0, 8), snapshot, SNAPSHOT);
	assert_int_equal(uvm_space_get_mappable(low, &expected), 0);
	assert_int_equal(uvm_space_get_mapping(space, pages_from(snapshot, 1, 2), &mappable, &offset), 0);
	assert_ptr_equal(mappable, expected);
	assert_int_equal(offset, page(1));
	uvm_mappable_unref(mappable);
	uvm_mappable_unref(expected);
	assert_int_equal(poke(view, 98), 0);
	assert_int_equal(poke(view + page(1), 97), 0);
	assert_int_equal(poke(base + page(2), 96), 0);
	assert_int_equal(uvm_space_unmap(low, pages(3, 8)), 0);
	assert_int_equal(peek(snapshot), 99);
	for (int i = 1; i < 8; i++)
		assert_int_equal(peek(snapshot + page((uint64_t)i)), i);
	assert_int_equal(peek(view + page(3)), -SIGSEGV);
	assert_int_equal(poke(snapshot + page(6), 66), 0);
	assert_int_equal(peek(base + page(6)), 6);
	uvm_space_unref(low);
}

static void a_snapshot_gains_no_rights_by_a_copy(void **state)
{
	struct uvm_space *low = new_stacked();
	uint64_t snapshot = base + page(8);

	(void)state;
	map_at(low, memory, pages(0, 1), 0, UVM_MAP_WRITE);
	map_at(low, memory, pages(1, 2), page(1), UVM_MAP_READ);
	map_space(space, low, pages(0, 3), snapshot, SNAPSHOT);
	assert_int_equal(poke(base, 9), 0);
	assert_int_equal(peek(snapshot), -SIGSEGV);
	assert_int_equal(peek(snapshot + page(2)), -SIGSEGV);
	assert_int_equal(poke(snapshot + page(1), 9), 0);
	assert_int_equal(peek(snapshot + page(1)), 9);
	uvm_space_unref(low);
}

/* Where the memory's own bytes are shown, whatever happens in the space. */
static uint64_t look_base;
static struct uvm_space *look;

static void look_at_memory(void)
{
	look = new_window(8, &look_base);
	map_at(look, memory, pages(0, 8), look_base, UVM_MAP_READ);
}

static void a_clone_takes_the_copies(void **state)
{
	struct uvm_space *clone;
	uint64_t there;

	(void)state;
	look_at_memory();
	clone = new_clone(space, 0);
	there = start_of(clone);
	assert_int_equal(poke(base + page(1), 10), 0);
	assert_int_equal(poke(there + page(2), 20), 0);
	assert_int_equal(peek(there + page(1)), 1);
	assert_int_equal(peek(base + page(2)), 2);
	assert_int_equal(peek(look_base + page(1)), 10);
	assert_int_equal(peek(look_base + page(2)), 2);
	assert_int_equal(uvm_space_unmap(space, pages_from(base, 0, 8)), 0);
	assert_int_equal(peek(there + page(7)), 7);
	uvm_space_unref(clone);
	uvm_space_unref(look);
}

static void a_reversed_clone_leaves_the_copies_behind(void **state)
{
	struct uvm_space *clone;
	uint64_t there;

	(void)state;
	look_at_memory();
	clone = new_clone(space, UVM_CLONE_REVERSE);
	there = start_of(clone);
	assert_int_equal(poke(base + page(1), 10), 0);
	assert_int_equal(poke(there + page(2), 20), 0);
	assert_int_equal(peek(there + page(1)), 1);
	assert_int_equal(peek(base + page(2)), 2);
	assert_int_equal(peek(look_base + page(1)), 1);
	assert_int_equal(peek(look_base + page(2)), 20);
	assert_int_equal(uvm_space_clone(space, 2, &clone), UVM_MEM_INVALID_ARGUMENT);
	uvm_space_unref(clone);
	uvm_space_unref(look);
}

/* In the middle of a stack: who maps the old space goes on seeing the old space. */
static void a_stacked_space_is_cloned(void **state)
{
	struct uvm_space *low = new_stacked(), *clone, *again;
	uint64_t old = base + page(8), new = base + page(16), newer = base + page(24);

	(void)state;
	map_at(low, memory, pages(0, 8), page(50), RW);
	map_space(space, low, pages(50, 58), old, RW);
	clone = new_clone(low, 0);
	map_space(space, clone, pages(50, 58), new, RW);
	assert_int_equal(poke(old, 1), 0);
	assert_int_equal(poke(new + page(1), 2), 0);
	again = new_clone(clone, 0);
	map_space(space, again, pages(50, 58), newer, RW);
	assert_int_equal(poke(new + page(1), 3), 0);
	assert_int_equal(poke(base + page(2), 4), 0);
	assert_int_equal(poke(newer + page(3), 5), 0);
	assert_int_equal(peek(base), 1);
	assert_int_equal(peek(new), 0);
	assert_int_equal(peek(newer), 0);
	assert_int_equal(peek(base + page(1)), 1);
	assert_int_equal(peek(new + page(1)), 3);
	assert_int_equal(peek(newer + page(1)), 2);
	assert_int_equal(peek(new + page(2)), 2);
	assert_int_equal(peek(newer + page(2)), 2);
	assert_int_equal(peek(new + page(3)), 3);
	assert_int_equal(uvm_space_unmap(clone, pages(50, 51)), 0);
	assert_int_equal(peek(new), -SIGSEGV);
	assert_int_equal(peek(old), 1);
	assert_int_equal(peek(newer), 0);
	uvm_space_unref(clone);
	uvm_space_unref(again);
	uvm_space_unref(low);
}

static void a_clone_has_the_same_flags_and_mappings(void **state)
{
	struct uvm_mappable *mappable;
	struct uvm_space *clone;
	unsigned int flags;
	uint64_t offset;
	bool same;

	(void)state;
	assert_int_equal(uvm_space_set_mapflags(space, pages_from(base, 2, 4), UVM_MAP_READ), 0);
	clone = new_clone(space, 0);
	assert_int_equal(uvm_space_get_mapflags(clone, pages_from(start_of(clone), 2, 4), &flags, &same), 0);
	assert_int_equal(flags, UVM_MAP_READ);
	assert_true(same);
	assert_int_equal(uvm_space_get_mapping(clone, pages_from(start_of(clone), 1, 3), &mappable, &offset), 0);
	assert_ptr_equal(mappable, memory);
	assert_int_equal(offset, page(1));
	uvm_mappable_unref(mappable);
	assert_int_equal(poke(start_of(clone) + page(2), 1), -SIGSEGV);
	assert_int_equal(uvm_space_set_mapflags(clone, pages_from(start_of(clone), 2, 3), RW), 0);
	assert_int_equal(poke(start_of(clone) + page(2), 1), 0);
	assert_int_equal(peek(base + page(2)), 2);
	uvm_space_unref(clone);
}

/* Of files that cannot be watched, on disk, and of those that can. */
static void files_are_copied(const char *directory)
{
	_cleanup_close_ int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	uint64_t at = base + page(8), copy = base + page(12), snapshot = base + page(16);
	struct uvm_space *low = new_stacked();
	struct uvm_mappable *file;

	assert_true(fd >= 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pwrite(fd, &i, 1, (off_t)page((uint64_t)i)), 1);
	assert_int_equal(uvm_mappable_create_file(fd, &file), 0);
	map_space(space, low, pages(0, 4), copy, COW);
	map_at(low, file, pages(0, 4), 0, RW);
	map_at(space, file, pages(0, 4), at, RW);
	map_at(space, file, pages(0, 4), snapshot, SNAPSHOT);
	assert_int_equal(poke(copy + page(1), 10), 0);
	assert_int_equal(poke(at + page(2), 20), 0);
	assert_int_equal(poke(snapshot + page(0), 30), 0);
	assert_int_equal(peek(at + page(1)), 1);
	assert_int_equal(peek(copy + page(1)), 10);
	assert_int_equal(peek(snapshot + page(2)), 2);
	assert_int_equal(peek(at), 0);
	assert_int_equal(peek(at + page(3)), -SIGBUS);
	assert_true(peek(snapshot + page(3)) < 0);
	uvm_mappable_unref(file);
	uvm_space_unref(low);
	assert_int_equal(uvm_space_unmap(space, pages_from(at, 0, 12)), 0);
}

static void files_are_copied_on_write_too(void **state)
{
	(void)state;
	files_are_copied("/tmp");
	files_are_copied("/dev/shm");
}

/* What this process has read by system calls. */
static uint64_t bytes_read(void)
{
	_cleanup_fclose_ FILE *io = fopen("/proc/self/io", "re");
	unsigned long bytes = 0;

	assert_non_null(io);
	assert_int_equal(fscanf(io, "rchar: %lu", &bytes), 1);
	return bytes;
}

#define BLOCK 16 /* pages, which come together */

/* A file of 64 blocks, each page of which begins with the number of its block, and where it begins. */
static struct uvm_mappable *new_file(const char *directory, int *descriptor)
{
	_cleanup_free_ char *bytes = calloc(1, page(64 * BLOCK));
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct uvm_mappable *file;

	assert_true(fd >= 0 && bytes);
	for (uint64_t i = 0; i < (uint64_t)64 * BLOCK; i++)
		bytes[page(i)] = (char)(i / BLOCK + 1);
	assert_int_equal(pwrite(fd, bytes, page(64 * BLOCK), 0), page(64 * BLOCK));
	assert_int_equal(uvm_mappable_create_file(fd, &file), 0);
	*descriptor = fd;
	return file;
}

static uint64_t block_at(uint64_t start, uint64_t number)
{
	return start + page(number * BLOCK);
}

static void only_what_is_touched_of_a_copied_file_is_read(void **state)
{
	_cleanup_close_ int fd = -1;
	struct uvm_mappable *file = new_file("/var/tmp", &fd);
	uint64_t at, few = page(8 * BLOCK), before = bytes_read();
	struct uvm_space *wide = new_window((uint64_t)128 * BLOCK, &at), *clone;
	uint64_t snapshot = block_at(at, 64);

	(void)state;
	map_at(wide, file, pages(0, (uint64_t)64 * BLOCK), at, COW);
	map_at(wide, file, pages(0, (uint64_t)64 * BLOCK), snapshot, SNAPSHOT);
	clone = new_clone(wide, 0);
	assert_int_equal(peek(block_at(at, 3)), 4);
	assert_int_equal(poke(block_at(at, 40), 99), 0);
	assert_int_equal(poke(block_at(snapshot, 50), 98), 0);
	assert_int_equal(peek(block_at(start_of(clone), 60)), 61);
	assert_int_equal(poke(block_at(start_of(clone), 60), 97), 0);
	assert_true(bytes_read() - before < few);
	assert_int_equal(peek(block_at(at, 40)), 99);
	assert_int_equal(peek(block_at(at, 40) + page(1)), 41);
	assert_int_equal(peek(block_at(snapshot, 40)), 41);
	assert_int_equal(peek(block_at(start_of(clone), 40)), 41);
	assert_int_equal(peek(block_at(snapshot, 50)), 98);
	assert_int_equal(peek(block_at(at, 60)), 61);
	assert_int_equal(peek(block_at(start_of(clone), 60)), 97);
	uvm_space_unref(clone);
	uvm_space_unref(wide);
	uvm_mappable_unref(file);
}

static void copies_of_a_file_show_what_it_held_before_it_was_written_to(void **state)
{
	_cleanup_close_ int fd = -1;
	struct uvm_mappable *file = new_file("/var/tmp", &fd);
	uint64_t at, writer;
	struct uvm_space *wide = new_window((uint64_t)64 * BLOCK, &at), *clone;
	struct uvm_space *other = new_window((uint64_t)64 * BLOCK, &writer);

	(void)state;
	map_at(wide, file, pages(0, (uint64_t)32 * BLOCK), at, COW);
	clone = new_clone(wide, 0);
	assert_int_equal(poke(block_at(at, 1), 99), 0);
	map_at(other, file, pages(0, (uint64_t)64 * BLOCK), writer, RW);
	for (uint64_t i = 0; i < 64; i++)
		assert_int_equal(poke(block_at(writer, i), 77), 0);
	for (uint64_t i = 0; i < 32; i++) {
		assert_int_equal(peek(block_at(at, i)), i == 1 ? 99 : (int)i + 1);
		assert_int_equal(peek(block_at(start_of(clone), i)), (int)i + 1);
	}
	map_at(wide, file, pages((uint64_t)32 * BLOCK, (uint64_t)64 * BLOCK), block_at(at, 32), SNAPSHOT);
	assert_int_equal(poke(block_at(writer, 33), 78), 0);
	assert_int_equal(peek(block_at(at, 33)), 77);
	uvm_space_unref(clone);
	uvm_space_unref(wide);
	uvm_space_unref(other);
	uvm_mappable_unref(file);
}

static void a_file_is_read_anew_when_no_copy_is_left(void **state)
{
	_cleanup_close_ int fd = -1;
	struct uvm_mappable *file = new_file("/var/tmp", &fd);
	uint64_t at;
	struct uvm_space *wide = new_window((uint64_t)64 * BLOCK, &at);

	(void)state;
	map_at(wide, file, pages(0, (uint64_t)64 * BLOCK), at, COW);
	assert_int_equal(peek(at), 1);
	assert_int_equal(uvm_space_unmap(wide, pages_from(at, 0, (uint64_t)64 * BLOCK)), 0);
	assert_int_equal(pwrite(fd, "z", 1, 0), 1);
	map_at(wide, file, pages(0, (uint64_t)64 * BLOCK), at, COW);
	assert_int_equal(peek(at), 'z');
	uvm_space_unref(wide);
	uvm_mappable_unref(file);
}

static void system_calls_make_copies_too(void **state)
{
	uint64_t copy = base + page(8);
	int ends[2];

	(void)state;
	map_at(space, memory, pages(0, 8), copy, COW);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "x", 1), 1);
	assert_int_equal(read(ends[0], (char *)copy + page(3), 1), 1);
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(peek(copy + page(3)), 'x');
	assert_int_equal(peek(base + page(3)), 3);
}

static unsigned int mappings(void)
{
	_cleanup_fclose_ FILE *maps = fopen("/proc/self/maps", "re");
	unsigned int count = 0;

	for (int c = 0; maps && c != EOF; c = getc(maps))
		count += c == '\n';
	return count;
}

/* A process can have 65530 mappings by default. */
static void scattered_copies_do_not_use_up_all_mappings(void **state)
{
	const uint64_t count = 40000;
	uint64_t there;
	struct uvm_space *wide = new_window(2 * count, &there);
	struct uvm_mappable *big = new_memory(count);

	(void)state;
	map_at(wide, big, pages(0, count), there, RW);
	for (uint64_t i = 0; i < count; i += 1000)
		poke(there + page(i), 1);
	map_at(wide, big, pages(0, count), there + page(count), SNAPSHOT);
	for (uint64_t i = 0; i < count; i += 2)
		*(volatile char *)(there + page(count + i)) = 2;
	assert_true(mappings() < count / 2);
	for (uint64_t i = 0; i < count; i += 1000) {
		assert_int_equal(peek(there + page(i)), 1);
		assert_int_equal(peek(there + page(count + i)), 2);
		assert_int_equal(peek(there + page(count + i + 1)), 0);
	}
	uvm_space_unref(wide);
	uvm_mappable_unref(big);
}

static void writes_to_what_clones_show_do_not_use_up_all_mappings(void **state)
{
	const uint64_t count = 20000;
	struct uvm_space *clones[5];
	uint64_t there;
	struct uvm_space *wide = new_window(count, &there);
	struct uvm_mappable *big = new_memory(count);

	(void)state;
	map_at(wide, big, pages(0, count), there, RW);
	for (uint64_t i = 0; i < count; i += 1000)
		poke(there + page(i), 1);
	for (int c = 0; c < 5; c++) {
		assert_int_equal(uvm_space_clone(wide, 0, &clones[c]), 0);
		for (uint64_t i = 0; i < count; i += 2)
			*(volatile char *)(there + page(i)) = (char)(c + 2);
		assert_true(mappings() < count);
	}
	for (int c = 0; c < 5; c++) {
		struct uvm_region window;

		assert_int_equal(uvm_space_get_window(clones[c], &window), 0);
		for (uint64_t i = 0; i < count; i += 1000)
			assert_int_equal(peek(window.start + page(i)), c + 1);
		uvm_space_unref(clones[c]);
	}
	uvm_space_unref(wide);
	uvm_mappable_unref(big);
}

static size_t count_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	size_t count = 0;

	assert_non_null(directory);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

static void clones_take_no_descriptors(void **state)
{
	struct uvm_space *clones[100];
	size_t before;

	(void)state;
	uvm_space_unref(new_clone(space, 0)); /* what all of them share is there */
	before = count_descriptors();
	for (int i = 0; i < 100; i++) {
		clones[i] = new_clone(space, 0);
		assert_int_equal(poke(start_of(clones[i]) + page(3), 100 + i), 0);
		assert_int_equal(poke(base + page(2), i), 0);
	}
	assert_in_range(count_descriptors(), before, before + 1);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(peek(start_of(clones[i]) + page(2)), i ? i - 1 : 2);
		assert_int_equal(peek(start_of(clones[i]) + page(3)), 100 + i);
		assert_int_equal(peek(start_of(clones[i]) + page(4)), 4);
		uvm_space_unref(clones[i]);
	}
	assert_int_equal(count_descriptors(), before);
	assert_int_equal(peek(base + page(3)), 3);
}

/* No file larger than this can be made, until the old limit is set again. */
static struct rlimit limit_files(uint64_t bytes)
{
	struct rlimit old, new;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	new = (struct rlimit){bytes, old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &new), 0);
	return old;
}

static void copies_outgrow_their_file(void **state)
{
	struct rlimit old = limit_files(page(20));
	struct uvm_space *clones[5];

	(void)state;
	for (int i = 0; i < 5; i++) {
		clones[i] = new_clone(space, 0);
		assert_int_equal(poke(start_of(clones[i]) + page(3), 100 + i), 0);
	}
	setrlimit(RLIMIT_FSIZE, &old);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(peek(start_of(clones[i]) + page(3)), 100 + i);
		assert_int_equal(peek(start_of(clones[i]) + page(4)), 4);
		uvm_space_unref(clones[i]);
	}
}

static void a_copy_that_cannot_be_made_changes_nothing(void **state)
{
	uint64_t start = base + page(8);
	struct uvm_space *none = NULL;
	struct rlimit old;

	(void)state;
	map_at(space, memory, pages(0, 8), start, COW);
	poke(start, 50);
	assert_int_equal(uvm_space_unmap(space, pages_from(base, 7, 8)), 0);
	old = limit_files(page(7)); /* for one of the two mappings */
	assert_int_equal(uvm_space_clone(space, 0, &none), UVM_MEM_NO_MEMORY);
	assert_int_equal(uvm_space_clone(space, UVM_CLONE_REVERSE, &none), UVM_MEM_NO_MEMORY);
	setrlimit(RLIMIT_FSIZE, &old);
	old = limit_files(0);
	assert_int_equal(uvm_space_map(space, memory, pages(0, 8), &start, SNAPSHOT | UVM_MAP_FIXED | UVM_MAP_REPLACE),
			 UVM_MEM_NO_MEMORY);
	assert_int_equal(uvm_space_set_mapflags(space, pages_from(base, 0, 7), COW), UVM_MEM_NO_MEMORY);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_null(none);
	assert_int_equal(peek(start), 50);
	assert_int_equal(poke(base + page(1), 10), 0);
	assert_int_equal(peek(start + page(1)), 10);
	assert_int_equal(poke(start + page(2), 20), 0);
	assert_int_equal(peek(base + page(2)), 2);
}

static void a_mapping_that_cannot_be_made_changes_nothing(void **state)
{
	struct rlimit old, none = {0, RLIM_INFINITY};
	uint64_t start = base;
	int mapped, copied;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
	none.rlim_max = old.rlim_max;
	map_at(space, memory, pages(0, 8), base + page(8), COW);
	setrlimit(RLIMIT_AS, &none);
	mapped = uvm_space_map(space, memory, pages(4, 8), &start, RW | UVM_MAP_FIXED | UVM_MAP_REPLACE);
	copied = uvm_space_map(space, memory, pages(4, 8), &start, SNAPSHOT | UVM_MAP_FIXED | UVM_MAP_REPLACE);
	setrlimit(RLIMIT_AS, &old);
	assert_int_equal(mapped, UVM_MEM_NO_MEMORY);
	assert_int_equal(copied, UVM_MEM_NO_MEMORY);
	for (int i = 0; i < 8; i++)
		assert_int_equal(peek(base + page((uint64_t)i)), i);
	assert_int_equal(poke(base, 70), 0);
	assert_int_equal(peek(base + page(8)), 70);
}

/* Makes mappings until only so many more can be had. */
static void use_up_mappings(char *at, size_t count, size_t left)
{
	size_t i = 0;

	while (i < count && mprotect(at + page(2 * i), page_size(), PROT_READ) == 0)
		i++;
	assert_in_range(i, left, count - 1);
	for (size_t j = 0; j < left; j += 2)
		assert_int_equal(mprotect(at + page(2 * --i), page_size(), PROT_NONE), 0);
}

/* Its window needs more mappings than there are; the pages of the old space lie one by one already. */
static void a_reversed_clone_that_cannot_be_shown_changes_nothing(void **state)
{
	_cleanup_close_ int fd = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	size_t count = 200000, room = page(2 * count);
	char *filler = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct uvm_space *none = NULL;
	struct uvm_mappable *file;
	int rc;

	(void)state;
	assert_true(fd >= 0);
	assert_ptr_not_equal(filler, MAP_FAILED);
	assert_int_equal(ftruncate(fd, (off_t)page(1)), 0);
	assert_int_equal(uvm_mappable_create_file(fd, &file), 0);
	for (uint64_t i = 10; i < 64; i += 2)
		map_at(space, file, pages(0, 1), base + page(i), RW);
	use_up_mappings(filler, count, 30);
	rc = uvm_space_clone(space, UVM_CLONE_REVERSE, &none);
	munmap(filler, room);
	assert_int_equal(rc, UVM_MEM_NO_MEMORY);
	assert_null(none);
	assert_int_equal(poke(base + page(10), 10), 0);
	assert_int_equal(peek(base + page(62)), 10);
	uvm_mappable_unref(file);
}

/* One thread counts in two pages, the first never behind the second; every clone must show that. */
static _Atomic bool counting;

static void *count_up_both(void *unused)
{
	volatile uint64_t *first = (uint64_t *)(base + page(7)), *second = (uint64_t *)base;

	for (uint64_t i = 1; counting; i++) {
		*first = i;
		atomic_thread_fence(memory_order_seq_cst);
		*second = i;
	}
	return unused;
}

static void a_clone_is_of_one_moment(void **state)
{
	pthread_t thread;

	(void)state;
	poke(base + page(7), 0);
	counting = true;
	assert_int_equal(pthread_create(&thread, NULL, count_up_both, NULL), 0);
	for (int i = 0; i < 200; i++) {
		struct uvm_space *clone = new_clone(space, 0);
		uint64_t there = start_of(clone);
		uint64_t first = *(volatile uint64_t *)(there + page(7)), second = *(volatile uint64_t *)there;

		assert_true(first == second || first == second + 1);
		assert_int_equal(*(volatile uint64_t *)(there + page(7)), first);
		uvm_space_unref(clone);
	}
	counting = false;
	pthread_join(thread, NULL);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up_mapped, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_copy_is_made_by_the_first_write),
		test(a_copy_keeps_its_rights),
		test(copying_needs_no_right_to_write_below),
		test(a_mapping_is_made_copying_later),
		test(a_copying_mapping_becomes_a_snapshot_later),
		test(copies_are_seen_at_all_levels_above),
		test(a_snapshot_sees_no_later_write),
		test(a_snapshot_of_a_stack_is_cut_off_from_it),
		test(a_snapshot_gains_no_rights_by_a_copy),
		test(a_clone_takes_the_copies),
		test(a_reversed_clone_leaves_the_copies_behind),
		test(a_stacked_space_is_cloned),
		test(a_clone_has_the_same_flags_and_mappings),
		test(files_are_copied_on_write_too),
		test(only_what_is_touched_of_a_copied_file_is_read),
		test(copies_of_a_file_show_what_it_held_before_it_was_written_to),
		test(a_file_is_read_anew_when_no_copy_is_left),
		test(system_calls_make_copies_too),
		test(scattered_copies_do_not_use_up_all_mappings),
		test(writes_to_what_clones_show_do_not_use_up_all_mappings),
		test(clones_take_no_descriptors),
		test(copies_outgrow_their_file),
		test(a_copy_that_cannot_be_made_changes_nothing),
		test(a_mapping_that_cannot_be_made_changes_nothing),
		test(a_reversed_clone_that_cannot_be_shown_changes_nothing),
		test(a_clone_is_of_one_moment),
	};

	alarm(300);
	return cmocka_run_group_tests_name("space copy", tests, NULL, NULL);
}
