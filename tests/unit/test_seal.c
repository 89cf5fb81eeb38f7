/* SPDX-License-Identifier: MIT */
/*
 * Sealed records: what is not the very record that was sealed is refused, and the key is nowhere but in its own memory.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
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
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "index/index.h"
#include "store/seal.h"
#include "store/store.h"

#define SIZE   (64 * KiB)
#define TAG    UINT64_C(0x0000002a00000007)
#define KEY_AT 8 /* in the shared page, behind its magic */
#define KEY    32

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

struct fixture {
	int key, fd;
	struct seal *seal;
	struct store *store;
	struct store_scratch *scratch;
	unsigned char *data, *back;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->key = seal_new();
	f->fd = memfd_create("store", MFD_CLOEXEC);
	f->data = malloc(SIZE);
	f->back = malloc(SIZE);
	assert_int_equal(seal_open(&f->seal, f->key), 0);
	assert_int_equal(store_open(&f->store, f->fd, 0, (struct codec_choice){.codec = CODEC_LZ4}), 0);
	store_set_seal(f->store, f->seal);
	assert_int_equal(store_scratch_new(f->store, &f->scratch, SIZE), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	store_close(f->store);
	store_scratch_free(f->scratch);
	seal_close(f->seal);
	close(f->key);
	close(f->fd);
	free(f->data);
	free(f->back);
	free(f);
	return 0;
}

/* Text that names its number, so that records of one length differ. */
static void write_text(unsigned char *data, unsigned int number)
{
	for (size_t at = 0; at < SIZE; at += 32)
		snprintf((char *)data + at, 32, "marker %08u at %08zu....", number, at);
}

static struct store_slot put(struct fixture *f, unsigned int number, uint64_t tag)
{
	struct store_slot slot;

	write_text(f->data, number);
	assert_int_equal(store_write(f->store, f->scratch, f->data, SIZE, tag, &slot), 0);
	return slot;
}

static void assert_text(struct fixture *f, const struct store_slot *slot, uint64_t tag, unsigned int number)
{
	memset(f->back, 0, SIZE);
	assert_int_equal(store_read(f->store, f->scratch, slot, tag, f->back), 0);
	write_text(f->data, number);
	assert_memory_equal(f->back, f->data, SIZE);
}

/* Refused, and nothing of what is refused given away. Returns which units those are. */
static uint64_t assert_refused(struct fixture *f, const struct store_slot *slot, uint64_t tag)
{
	uint64_t units = (UINT64_C(1) << SIZE / 4096) - 1;
	uint64_t bad, alone;

	memset(f->back, 0, SIZE);
	assert_int_equal(store_read(f->store, f->scratch, slot, tag, f->back), -EBADMSG);
	assert_int_equal(store_read_units(f->store, f->scratch, slot, tag, units, f->back, &bad), -EBADMSG);
	assert_true(bad);
	for (unsigned int i = 0; i < SIZE / 4096; i++) {
		if (bad >> i & 1)
			assert_null(memmem(f->back + i * 4096, 4096, "marker", 6));
		assert_int_equal(store_read_units(f->store, f->scratch, slot, tag, UINT64_C(1) << i, f->back, &alone),
				 bad >> i & 1 ? -EBADMSG : 0);
		memset(f->back, 0, 4096);
	}
	return bad;
}

static void assert_all_refused(struct fixture *f, const struct store_slot *slot, uint64_t tag)
{
	assert_int_equal(assert_refused(f, slot, tag), (UINT64_C(1) << SIZE / 4096) - 1);
}

static unsigned char *read_slot(struct fixture *f, const struct store_slot *slot)
{
	unsigned char *bytes = malloc(slot->length);

	assert_int_equal(pread(f->fd, bytes, slot->length, (off_t)slot->offset), slot->length);
	return bytes;
}

static void write_slot(struct fixture *f, const struct store_slot *slot, const unsigned char *bytes)
{
	assert_int_equal(pwrite(f->fd, bytes, slot->length, (off_t)slot->offset), slot->length);
}

/* Whether a file holds some bytes, holes left out. */
static bool holds(int fd, const void *bytes, size_t length)
{
	unsigned char *buffer = malloc(MiB);
	off_t at = lseek(fd, 0, SEEK_DATA);
	bool found = false;

	while (at >= 0 && !found) {
		ssize_t n = pread(fd, buffer, MiB, at);

		if (n <= 0)
			break;
		found = memmem(buffer, (size_t)n, bytes, length) != NULL;
		at = lseek(fd, n > (ssize_t)length ? at + n - (ssize_t)length : at + n, SEEK_DATA);
		if ((size_t)n < MiB)
			break;
	}
	free(buffer);
	return found;
}

/* Units of one record are not taken for each other, and each is refused by itself. */
static void test_units_by_themselves(void **state)
{
	struct fixture *f = *state;
	struct store_slot slot = put(f, 1, TAG);
	_cleanup_free_ unsigned char *bytes = read_slot(f, &slot);
	unsigned char raw[4096 + SEAL_BYTES];
	uint64_t bad;
	bytes[slot.length - SEAL_BYTES - 1] ^= 1;
	write_slot(f, &slot, bytes);
	assert_int_equal(assert_refused(f, &slot, TAG), 1 << (SIZE / 4096 - 1));
	assert_int_equal(store_read_units(f->store, f->scratch, &slot, TAG, 1, f->back, &bad), 0);
	assert_memory_equal(f->back, f->data, 4096);
	bytes[slot.length - SEAL_BYTES - 1] ^= 1;
	/* Raw, all units have one length. */
	for (size_t i = 0; i < SIZE; i++)
		f->data[i] = (unsigned char)(random() >> 7);
	assert_int_equal(store_write(f->store, f->scratch, f->data, SIZE, TAG, &slot), 0);
	assert_int_equal(slot.length, SIZE / 4096 * (4096 + SEAL_BYTES));
	assert_int_equal(pread(f->fd, raw, sizeof(raw), (off_t)slot.offset), sizeof(raw));
	assert_int_equal(pwrite(f->fd, raw, sizeof(raw), (off_t)slot.offset + 3 * (off_t)sizeof(raw)), sizeof(raw));
	assert_int_equal(assert_refused(f, &slot, TAG), 1 << 3);
}

static void test_flipped_bits(void **state)
{
	struct fixture *f = *state;
	struct store_slot slot = put(f, 1, TAG);
	_cleanup_free_ unsigned char *bytes = read_slot(f, &slot);

	for (uint32_t bit = 0; bit < slot.length * 8; bit += bit < slot.length * 8 - 200 ? 97 : 1) {
		bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
		write_slot(f, &slot, bytes);
		assert_refused(f, &slot, TAG);
		bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	write_slot(f, &slot, bytes);
	assert_text(f, &slot, TAG, 1);
}

static void test_swapped_records(void **state)
{
	struct fixture *f = *state;
	struct store_slot one = put(f, 1, TAG);
	struct store_slot two = put(f, 2, TAG + 1);
	_cleanup_free_ unsigned char *first = read_slot(f, &one);
	_cleanup_free_ unsigned char *second = read_slot(f, &two);

	assert_int_equal(one.length, two.length);
	write_slot(f, &one, second);
	write_slot(f, &two, first);
	assert_all_refused(f, &one, TAG);
	assert_all_refused(f, &two, TAG + 1);
	/* In the index as well, they are still not each other. */
	assert_all_refused(f, &two, TAG);
	assert_all_refused(f, &one, TAG + 1);
	write_slot(f, &one, first);
	write_slot(f, &two, second);
	assert_text(f, &one, TAG, 1);
	assert_text(f, &two, TAG + 1, 2);
}

/* The same place, the same tag, the same length: only older. */
static void test_replayed_record(void **state)
{
	struct fixture *f = *state;
	struct store_slot old = put(f, 1, TAG);
	_cleanup_free_ unsigned char *bytes = read_slot(f, &old);
	struct store_slot new;

	store_free(f->store, &old);
	new = put(f, 2, TAG);
	assert_int_equal(new.offset, old.offset);
	assert_int_equal(new.length, old.length);
	assert_text(f, &new, TAG, 2);
	write_slot(f, &new, bytes);
	assert_all_refused(f, &new, TAG);
}

static void test_equal_data_differs(void **state)
{
	struct fixture *f = *state;
	struct store_slot one = put(f, 1, TAG);
	struct store_slot two = put(f, 1, TAG);
	_cleanup_free_ unsigned char *first = read_slot(f, &one);
	_cleanup_free_ unsigned char *second = read_slot(f, &two);

	assert_int_not_equal(one.number, two.number);
	for (size_t at = 0; at + 16 <= one.length; at += 16)
		assert_memory_not_equal(first + at, second + at, 16);
}

static void test_other_key(void **state)
{
	struct fixture *f = *state;
	struct store_slot slot = put(f, 1, TAG);
	int key = seal_new();
	struct seal *other;

	assert_int_equal(seal_open(&other, key), 0);
	store_set_seal(f->store, other);
	assert_all_refused(f, &slot, TAG);
	store_set_seal(f->store, f->seal);
	assert_text(f, &slot, TAG, 1);
	seal_close(other);
	close(key);
}

/* A record that was stored plain is not taken for a sealed one, whatever the index says. */
static void test_plain_record(void **state)
{
	struct fixture *f = *state;
	struct store_slot slot;

	store_set_seal(f->store, NULL);
	slot = put(f, 1, TAG);
	store_set_seal(f->store, f->seal);
	assert_all_refused(f, &slot, TAG);
}

static void test_nothing_to_be_found(void **state)
{
	struct fixture *f = *state;
	int index_fd = memfd_create("index", MFD_CLOEXEC);
	const unsigned char *page = mmap(NULL, page_size(), PROT_READ, MAP_SHARED, f->key, 0);
	struct index *index;
	struct store_slot slot;

	assert_ptr_not_equal(page, MAP_FAILED);
	assert_int_equal(index_create(&index, index_fd, 16), 0);
	for (unsigned int i = 1; i < 100; i++) {
		struct store_slot stored = put(f, i, TAG + i);

		index_slot_set(index, index_cluster_new(index, 16), &stored);
	}
	for (unsigned int i = 0; i < KEY; i += 8) {
		assert_false(holds(f->fd, page + KEY_AT + i, 8));
		assert_false(holds(index_fd, page + KEY_AT + i, 8));
	}
	assert_false(holds(f->fd, "marker", 6));
	/* The search finds what is there: compressed text begins with its first words as they are. */
	store_set_seal(f->store, NULL);
	slot = put(f, 1, TAG);
	assert_true(holds(f->fd, "marker", 6));
	store_free(f->store, &slot);
	index_close(index);
	close(index_fd);
	munmap((void *)page, page_size());
}

static void test_key_is_wiped(void **state)
{
	struct fixture *f = *state;
	struct store_slot slot = put(f, 1, TAG);
	const unsigned char *page = mmap(NULL, page_size(), PROT_READ, MAP_SHARED, f->key, 0);
	unsigned char zeros[128] = {0};
	struct seal *other;

	assert_memory_not_equal(page + KEY_AT, zeros, KEY);
	seal_wipe(f->seal);
	assert_memory_equal(page, zeros, sizeof(zeros));
	assert_all_refused(f, &slot, TAG);
	assert_int_equal(seal_open(&other, f->key), -EBADMSG);
	munmap((void *)page, page_size());
}

/* One after the other, as workers do, ending at once: numbers go on, and each reads what the others wrote. */
static void test_numbers_survive_processes(void **state)
{
	struct fixture *f = *state;
	struct store_slot *slots = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t last = 0;

	for (unsigned int i = 0; i < 8; i++) {
		pid_t child = fork();
		int status;

		if (child == 0) {
			struct seal *mine;

			if (seal_open(&mine, f->key) < 0)
				_exit(1);
			store_set_seal(f->store, mine);
			write_text(f->data, i);
			if (store_write(f->store, f->scratch, f->data, SIZE, TAG + i, &slots[i]) < 0)
				_exit(2);
			kill(getpid(), SIGKILL);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		assert_true(slots[i].number > last);
		last = slots[i].number + SIZE / 4096 - 1;
		assert_int_equal(store_adopt(f->store, &slots[i]), 0);
	}
	for (unsigned int i = 0; i < 8; i++)
		assert_text(f, &slots[i], TAG + i, i);
	munmap(slots, page_size());
}

#define THREADS 4
#define NUMBERS 20000
#define UNITS   3

static void *draw(void *argument)
{
	uint64_t *numbers = *(uint64_t **)argument;
	struct seal *seal = ((void **)argument)[1];

	for (size_t i = 0; i < NUMBERS; i++)
		numbers[i] = seal_numbers(seal, UNITS);
	return NULL;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void test_numbers_are_never_equal(void **state)
{
	struct fixture *f = *state;
	uint64_t *numbers = calloc((size_t)THREADS * NUMBERS, sizeof(*numbers));
	void *arguments[THREADS][2];
	pthread_t threads[THREADS];

	for (size_t i = 0; i < THREADS; i++) {
		arguments[i][0] = numbers + i * NUMBERS;
		arguments[i][1] = f->seal;
		assert_int_equal(pthread_create(&threads[i], NULL, draw, arguments[i]), 0);
	}
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	qsort(numbers, (size_t)THREADS * NUMBERS, sizeof(*numbers), compare);
	for (size_t i = 1; i < (size_t)THREADS * NUMBERS; i++)
		assert_true(numbers[i] >= numbers[i - 1] + UNITS);
	free(numbers);
}

/* Of the mapping that holds an address: whether smaps lists a flag for it. */
static bool has_flag(const void *address, const char *flag)
{
	_cleanup_fclose_ FILE *smaps = fopen("/proc/self/smaps", "r");
	bool inside = false;
	char line[512];

	while (fgets(line, sizeof(line), smaps)) {
		unsigned long start, end;

		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = start <= (uintptr_t)address && (uintptr_t)address < end;
		else if (inside && strncmp(line, "VmFlags:", 8) == 0)
			return strstr(line, flag) != NULL;
	}
	return false;
}

/* The address of the page that seal_open maps: its first member. */
static const void *page_of(const struct seal *seal)
{
	return *(const void *const *)seal;
}

#ifndef __has_feature
#define __has_feature(feature) 0 /* of clang */
#endif

static void check_locked(struct fixture *f)
{
	/* The address sanitizer makes mlock(2) do nothing. */
	if (!__has_feature(address_sanitizer))
		assert_true(has_flag(page_of(f->seal), " lo"));
	assert_true(has_flag(page_of(f->seal), " dd"));
}

static void test_key_is_locked_and_not_dumped(void **state)
{
	char byte;
	struct fixture *f = *state;

	check_locked(f);
	if (!seal_secret(f->seal)) {
		print_message("this kernel has no memfd_secret(2)\n");
		skip();
	}
	assert_int_equal(pread(f->key, &byte, 1, 0), -1);
}

/* In a process that is told of no memfd_secret(2). */
static void forbid_secret(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_secret, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {ARRAY_SIZE(filter), filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		_exit(3);
}

static void test_without_secret_memory(void **state)
{
	int status;
	pid_t child = fork();

	(void)state;
	if (child == 0) {
		struct fixture *f;
		struct store_slot slot;

		forbid_secret();
		set_up((void **)&f);
		slot = put(f, 1, TAG);
		assert_text(f, &slot, TAG, 1);
		check_locked(f);
		_exit(seal_secret(f->seal) ? 1 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void test_no_key(void **state)
{
	int fd = memfd_create("other", MFD_CLOEXEC);
	struct seal *seal;

	(void)state;
	assert_int_equal(seal_open(&seal, fd), -EBADMSG);
	assert_int_equal(ftruncate(fd, (off_t)page_size()), 0);
	assert_int_equal(seal_open(&seal, fd), -EBADMSG);
	assert_int_equal(seal_open(&seal, -1), -EBADF);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_units_by_themselves, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_flipped_bits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_swapped_records, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_replayed_record, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_equal_data_differs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_other_key, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_plain_record, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nothing_to_be_found, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_key_is_wiped, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_numbers_survive_processes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_numbers_are_never_equal, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_key_is_locked_and_not_dumped, set_up, tear_down),
		cmocka_unit_test(test_without_secret_memory),
		cmocka_unit_test(test_no_key),
	};

	alarm(300);
	return cmocka_run_group_tests_name("seal", tests, NULL, NULL);
}
