/* SPDX-License-Identifier: MIT */
/* What address spaces show: files and memory, and what becomes of them. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "space_fixture.h"

static int open_file(const char *path, int count)
{
	int fd = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	for (int i = 0; i < count; i++)
		assert_int_equal(pwrite(fd, &i, 1, (off_t)page((uint64_t)i)), 1);
	return fd;
}

static void a_file_is_mapped_as_its_descriptor_allows(void **state)
{
	_cleanup_close_ int fd = open_file("/tmp", 3), reading = -1, directory = open("/", O_RDONLY | O_CLOEXEC);
	struct uvm_mappable *file, *only_read, *none = NULL;
	char path[32], byte;
	uint64_t blocks;

	(void)state;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	reading = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(uvm_mappable_create_file(fd, &file), 0);
	assert_int_equal(uvm_mappable_create_file(reading, &only_read), 0);
	assert_int_equal(uvm_mappable_create_file(directory, &none), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_mappable_create_file(-1, &none), UVM_MEM_INVALID_ARGUMENT);
	assert_int_equal(uvm_mappable_get_size(file, &blocks), 0);
	assert_int_equal(blocks, 3);
	map_at(space, file, pages(0, 4), base, RW);
	map_at(space, only_read, pages(0, 4), base + page(4), RW);
	assert_int_equal(poke(base + page(2), 77), 0);
	assert_int_equal(pread(fd, &byte, 1, (off_t)page(2)), 1);
	assert_int_equal(byte, 77);
	assert_int_equal(peek(base + page(6)), 77);
	assert_int_equal(poke(base + page(6), 1), -SIGSEGV);
	assert_int_equal(peek(base + page(3)), -SIGBUS);
	uvm_mappable_unref(file);
	uvm_mappable_unref(only_read);
}

static bool resident(uint64_t address, size_t count)
{
	unsigned char there[64];

	assert_int_equal(mincore((void *)address, count * page_size(), there), 0);
	for (size_t i = 0; i < count; i++)
		if (!(there[i] & 1))
			return false;
	return true;
}

static void committed_memory_is_there(void **state)
{
	struct uvm_mappable *committed, *huge = NULL;

	(void)state;
	assert_int_equal(uvm_mappable_create_memory(page(4), UVM_ALLOC_COMMIT | UVM_ALLOC_ZERO, &committed), 0);
	map_at(space, memory, pages(0, 4), base, RW);
	map_at(space, committed, pages(0, 4), base + page(4), RW);
	assert_false(resident(base, 4));
	assert_true(resident(base + page(4), 4));
	assert_int_equal(uvm_mappable_create_memory(UINT64_C(1) << 50, UVM_ALLOC_COMMIT, &huge), UVM_MEM_NO_MEMORY);
	/* More than a machine has, but not than a process can map. */
	assert_int_equal(uvm_mappable_create_memory(UINT64_C(1) << 46, UVM_ALLOC_COMMIT, &huge), UVM_MEM_NO_MEMORY);
	assert_int_equal(uvm_mappable_create_memory(UINT64_C(1) << 46, UVM_ALLOC_LOCK, &huge), UVM_MEM_NO_MEMORY);
	uvm_mappable_unref(committed);
}

static uint64_t locked_kilobytes(void)
{
	_cleanup_fclose_ FILE *status = fopen("/proc/self/status", "re");
	char line[256];

	while (status && fgets(line, sizeof(line), status))
		if (strncmp(line, "VmLck:", 6) == 0)
			return strtoull(line + 6, NULL, 10);
	return UINT64_MAX;
}

static void locked_memory_is_locked_as_long_as_it_exists(void **state)
{
	struct uvm_mappable *locked;
	uint64_t before = locked_kilobytes();

	(void)state;
	assert_int_equal(uvm_mappable_create_memory(page(4), UVM_ALLOC_LOCK, &locked), 0);
	assert_int_equal(locked_kilobytes(), before + page(4) / KiB);
	uvm_mappable_unref(locked);
	assert_int_equal(locked_kilobytes(), before);
}

/* Another descriptor of the newest memfd of that name. */
static int second_look(const char *name)
{
	char path[64], target[64];
	int found = -1;

	for (int fd = 3; fd < 64; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		memset(target, 0, sizeof(target));
		if (readlink(path, target, sizeof(target) - 1) > 0 && strstr(target, name))
			found = fd;
	}
	return found < 0 ? -1 : fcntl(found, F_DUPFD_CLOEXEC, 64);
}

static void wiped_or_not(unsigned int flags, char expected)
{
	_cleanup_close_ int look = -1;
	struct uvm_mappable *secret;
	char byte = 1;

	assert_int_equal(uvm_mappable_create_memory(page(2), flags, &secret), 0);
	look = second_look("uvm-memory");
	map_at(space, secret, pages(0, 2), base, RW);
	assert_int_equal(poke(base + page(1), 's'), 0);
	assert_int_equal(uvm_space_unmap(space, pages_from(base, 0, 2)), 0);
	assert_int_equal(pread(look, &byte, 1, (off_t)page(1)), 1);
	assert_int_equal(byte, 's');
	uvm_mappable_unref(secret);
	assert_int_equal(pread(look, &byte, 1, (off_t)page(1)), 1);
	assert_int_equal(byte, expected);
}

static void paranoid_memory_is_wiped_when_it_goes(void **state)
{
	(void)state;
	wiped_or_not(UVM_ALLOC_PARANOID, 0);
	wiped_or_not(UVM_ALLOC_INSECURE | UVM_ALLOC_NO_ZERO_LOCAL, 's');
}

static void a_forked_child_has_no_part_in_a_window(void **state)
{
	int status;
	pid_t child;

	(void)state;
	map_at(space, memory, pages(0, 1), base, RW);
	poke(base, 5);
	child = fork();
	if (child == 0)
		_exit(peek(base) == -SIGSEGV ? 0 : 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(peek(base), 5);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_file_is_mapped_as_its_descriptor_allows),    test(committed_memory_is_there),
		test(locked_memory_is_locked_as_long_as_it_exists), test(paranoid_memory_is_wiped_when_it_goes),
		test(a_forked_child_has_no_part_in_a_window),
	};

	alarm(300);
	return cmocka_run_group_tests_name("space leaves", tests, NULL, NULL);
}
