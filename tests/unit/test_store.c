/* SPDX-License-Identifier: MIT */
/* The swap store: what is written comes back, and what is not whole is refused. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "store/codec.h"
#include "store/seal.h"
#include "store/store.h"

#define MAX_SIZE (STORE_UNITS_MAX * 4 * KiB)

/* So many bytes that do not shrink take a slot of so many. */
#define ROOM(bytes) ((bytes) - (bytes) / 4096 * CHECKSUM_BYTES)
#define GUARD       64
#define TAG         UINT64_C(0x7f0000200000)

enum kind {
	RANDOM,
	TEXT,
	ZEROS,
	KINDS,
};

/* What the system calls below do to the store; all zero: what the kernel does. */
static struct {
	size_t most;   /* bytes that one pread or pwrite moves */
	int interrupt; /* every so many calls fail with EINTR */
	int calls;
	int punch_errno; /* what fallocate fails with */
	int punches;
	bool cold; /* a read would wait for a disk */
	int looks; /* whether it would */
	void (*before_punch)(void *arg);
	void *arg;
} fault;

static bool interrupted(void)
{
	return fault.interrupt && ++fault.calls % fault.interrupt == 0;
}

/* These four stand in front of libc's. */
ssize_t preadv2(int fp, const struct iovec *iovec, int count, off_t offset, int flags)
{
	fault.looks++;
	assert_int_equal(flags, RWF_NOWAIT);
	if (fault.cold) {
		errno = EAGAIN;
		return -1;
	}
	return preadv(fp, iovec, count, offset);
}

ssize_t pread(int fd, void *buf, size_t nbytes, off_t offset)
{
	if (interrupted()) {
		errno = EINTR;
		return -1;
	}
	return syscall(SYS_pread64, fd, buf, fault.most ? min_u64(nbytes, fault.most) : nbytes, offset);
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t offset)
{
	if (interrupted()) {
		errno = EINTR;
		return -1;
	}
	return syscall(SYS_pwrite64, fd, buf, fault.most ? min_u64(n, fault.most) : n, offset);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
	void (*hook)(void *arg) = fault.before_punch;

	if (fault.punch_errno) {
		fault.punches++;
		errno = fault.punch_errno;
		return -1;
	}
	if (hook) {
		fault.before_punch = NULL;
		fault.punches++;
		hook(fault.arg);
	}
	if (interrupted()) {
		errno = EINTR;
		return -1;
	}
	return (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

static const char *const codecs[] = {"none", "lz4", "auto", "zstd:1", "zstd", "zstd:19"};

struct fixture {
	int fd;
	struct seal *seal; /* NULL: the records are plain */
	struct store *store;
	struct store_scratch *scratch;
	uint8_t *data;
	uint8_t *back; /* with a guard behind */
};

static uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void fill(uint8_t *data, size_t size, enum kind kind, uint64_t seed)
{
	static const char *const words[] = {"page ",   "fault ",  "region ", "store ",
					    "thread ", "memory ", "swap ",   "out "};
	uint64_t state = seed * 2 + 1;
	size_t n;

	memset(data, 0, size);
	for (size_t i = 0; kind != ZEROS && i < size; i += n) {
		uint64_t word = random_next(&state);
		const void *from = kind == TEXT ? words[word >> 61] : (const char *)&word;

		n = min_u64(kind == TEXT ? strlen(from) : sizeof(word), size - i);
		memcpy(data + i, from, n);
	}
}

static struct codec_choice choice_of(const char *text)
{
	struct codec_choice choice = {0};

	assert_int_equal(codec_parse(text, &choice), 0);
	return choice;
}

static void reopen(struct fixture *f, int fd, uint64_t limit, const char *codec)
{
	store_close(f->store);
	store_scratch_free(f->scratch);
	if (f->fd >= 0)
		close(f->fd);
	f->fd = fd;
	assert_true(fd >= 0);
	assert_int_equal(store_open(&f->store, fd, limit, choice_of(codec)), 0);
	assert_int_equal(store_scratch_new(f->store, &f->scratch, MAX_SIZE), 0);
	if (f->seal)
		store_set_seal(f->store, f->seal);
}

static void reopen_memory(struct fixture *f, uint64_t limit, const char *codec)
{
	reopen(f, memfd_create("store", MFD_CLOEXEC), limit, codec);
}

static int setup_with(void **state, struct seal *seal)
{
	struct fixture *f = calloc(1, sizeof(*f));

	memset(&fault, 0, sizeof(fault));
	f->fd = -1;
	f->seal = seal;
	f->data = malloc(MAX_SIZE);
	f->back = malloc(MAX_SIZE + GUARD);
	reopen_memory(f, 0, "lz4");
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, NULL);
}

static int setup_sealed(void **state)
{
	_cleanup_close_ int key = seal_new();
	struct seal *seal = NULL;

	return key < 0 || seal_open(&seal, key) < 0 ? -1 : setup_with(state, seal);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	memset(&fault, 0, sizeof(fault));
	store_close(f->store);
	seal_close(f->seal);
	store_scratch_free(f->scratch);
	close(f->fd);
	free(f->back);
	free(f->data);
	free(f);
	return 0;
}

static struct store_slot put(struct fixture *f, size_t size, enum kind kind, uint64_t seed)
{
	struct store_slot slot;

	fill(f->data, size, kind, seed);
	assert_int_equal(store_write(f->store, f->scratch, f->data, size, TAG, &slot), 0);
	assert_int_equal(slot.size, size);
	assert_int_equal(slot.offset % STORE_GRAIN, 0);
	return slot;
}

/* Reads, and sees to it that nothing behind slot->size was touched. */
static int get(struct fixture *f, const struct store_slot *slot, uint64_t tag)
{
	size_t size = min_u64(slot->size, MAX_SIZE);
	int err;

	memset(f->back + size, 0xa5, GUARD);
	err = store_read(f->store, f->scratch, slot, tag, f->back);
	for (size_t i = 0; i < GUARD; i++)
		assert_int_equal(f->back[size + i], 0xa5);
	return err;
}

static void assert_back(struct fixture *f, const struct store_slot *slot, enum kind kind, uint64_t seed)
{
	memset(f->back, 0x5a, slot->size);
	assert_int_equal(get(f, slot, TAG), 0);
	fill(f->data, slot->size, kind, seed);
	assert_memory_equal(f->back, f->data, slot->size);
}

static struct store_usage usage_of(struct fixture *f)
{
	struct store_usage usage;

	store_usage(f->store, &usage);
	return usage;
}

static void assert_empty(struct fixture *f)
{
	struct store_usage usage = usage_of(f);

	assert_int_equal(usage.slots, 0);
	assert_int_equal(usage.stored, 0);
	assert_int_equal(usage.allocated, 0);
}

static void test_codec_parse(void **state)
{
	static const char *const good[][2] = {
		{"none", "none"},   {"lz4", "lz4"},       {"auto", "auto"},
		{"zstd", "zstd:3"}, {"zstd:1", "zstd:1"}, {"zstd:22", "zstd:22"},
	};
	static const char *const bad[] = {"",        "lz4:1",   "zstd:",   "zstd:0",         "zstd:23", "zstd:-1",
					  "zstd:+3", "zstd: 3", "zstd:3x", "zstd3",          "LZ4",     "lz",
					  "auto:1",  "lz44",    "none:",   "zstd:4294967299"};
	char text[16];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_string_equal(codec_format(text, choice_of(good[i][0])), good[i][1]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct codec_choice choice = {.codec = CODEC_LZ4, .level = 77};

		assert_int_equal(codec_parse(bad[i], &choice), -EINVAL);
		assert_int_equal(choice.level, 77);
	}
}

/* A record made anew is smaller, is what the first was, and takes the number of no other. */
static void test_repack(void **state)
{
	struct fixture *f = *state;
	struct store_scratch *dense;
	struct store_slot slot, repacked;
	uint64_t bad;

	reopen_memory(f, 0, "auto");
	assert_int_equal(store_scratch_dense(&dense, MAX_SIZE), 0);
	fill(f->data, MAX_SIZE, TEXT, 7);
	assert_int_equal(store_write(f->store, f->scratch, f->data, MAX_SIZE, TAG, &slot), 0);
	assert_int_equal(store_repack(f->store, dense, &slot, TAG + 1, f->back, &repacked), -EBADMSG);
	assert_int_equal(store_repack(f->store, dense, &slot, TAG, f->back, &repacked), 0);
	assert_true(repacked.length < slot.length);
	assert_true(repacked.number >= slot.number + STORE_UNITS_MAX);
	assert_int_equal(store_place(f->store, dense, &repacked), 0);
	store_free(f->store, &slot);
	memset(f->back, 0, MAX_SIZE);
	assert_int_equal(store_read(f->store, f->scratch, &repacked, TAG, f->back), 0);
	assert_memory_equal(f->back, f->data, MAX_SIZE);
	assert_int_equal(store_read_units(f->store, f->scratch, &repacked, TAG, UINT64_C(1) << 5, f->back, &bad), 0);
	assert_memory_equal(f->back, f->data + 5 * page_size(), page_size());
	store_scratch_free(dense);
}

static void test_round_trip(void **state)
{
	static const size_t sizes[] = {1, 7, 255, 256, 257, 4095, 4096, 65535, 65536, 65537, MAX_SIZE - 1, MAX_SIZE};
	struct fixture *f = *state;

	for (size_t c = 0; c < ARRAY_SIZE(codecs); c++) {
		struct store_slot slots[ARRAY_SIZE(sizes)][KINDS];

		reopen_memory(f, 0, codecs[c]);
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
			for (enum kind kind = 0; kind < KINDS; kind++)
				slots[i][kind] = put(f, sizes[i], kind, i);
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
			for (enum kind kind = 0; kind < KINDS; kind++)
				assert_back(f, &slots[i][kind], kind, i);
		assert_int_equal(usage_of(f).slots, ARRAY_SIZE(sizes) * KINDS);
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
			for (enum kind kind = 0; kind < KINDS; kind++)
				store_free(f->store, &slots[i][kind]);
		assert_empty(f);
	}
}

static void test_codec_used(void **state)
{
	struct fixture *f = *state;
	struct store_slot slot;

	for (size_t c = 0; c < ARRAY_SIZE(codecs); c++) {
		reopen_memory(f, 0, codecs[c]);
		slot = put(f, 64 * KiB, TEXT, 1);
		for (unsigned int i = 0; i < 16; i++)
			assert_int_equal(slot.units[i] != 0, choice_of(codecs[c]).codec != CODEC_NONE);
		if (choice_of(codecs[c]).codec != CODEC_NONE)
			assert_true(slot.length < slot.size / 2);

		slot = put(f, 64 * KiB, RANDOM, 1);
		for (unsigned int i = 0; i < 16; i++)
			assert_int_equal(slot.units[i], 0);
		assert_int_equal(slot.length, slot.size + 16 * CHECKSUM_BYTES);
	}
}

static void test_bad_sizes(void **state)
{
	struct fixture *f = *state;
	struct store_scratch *scratch = NULL;
	struct store_slot slot;

	assert_int_equal(store_write(f->store, f->scratch, f->data, 0, TAG, &slot), -EINVAL);
	assert_int_equal(store_write(f->store, f->scratch, f->data, MAX_SIZE + 1, TAG, &slot), -EINVAL);
	assert_int_equal(store_scratch_new(f->store, &scratch, 0), -EINVAL);
	assert_int_equal(store_scratch_new(f->store, &scratch, SIZE_MAX), -EINVAL);
	assert_null(scratch);
	assert_empty(f);

	/* A record larger than the reader's scratch. */
	slot = put(f, 64 * KiB, TEXT, 1);
	assert_int_equal(store_scratch_new(f->store, &scratch, 32 * KiB), 0);
	assert_int_equal(store_read(f->store, scratch, &slot, TAG, f->back), -EBADMSG);
	store_scratch_free(scratch);
}

static void test_wrong_tag(void **state)
{
	struct fixture *f = *state;

	for (size_t c = 0; c < ARRAY_SIZE(codecs); c++) {
		struct store_slot slot;

		reopen_memory(f, 0, codecs[c]);
		slot = put(f, 64 * KiB, TEXT, 1);
		for (int bit = 0; bit < 64; bit++)
			assert_int_equal(get(f, &slot, TAG ^ UINT64_C(1) << bit), -EBADMSG);
		assert_back(f, &slot, TEXT, 1);
	}
}

static void test_checksum_binds_all(void **state)
{
	const struct codec_identity identity = {.tag = TAG, .number = 7, .place = 4096};
	struct codec_identity other;
	struct fixture *f = *state;
	uint64_t sum;

	fill(f->data, 4096, RANDOM, 1);
	sum = codec_checksum(&identity, f->data, 4096);
	assert_int_equal(codec_checksum(&identity, f->data, 4096), sum);
	assert_int_not_equal(codec_checksum(&identity, f->data, 4095), sum);
	other = identity;
	other.tag++;
	assert_int_not_equal(codec_checksum(&other, f->data, 4096), sum);
	other = identity;
	other.number++;
	assert_int_not_equal(codec_checksum(&other, f->data, 4096), sum);
	other = identity;
	other.place++;
	assert_int_not_equal(codec_checksum(&other, f->data, 4096), sum);
}

static void test_flipped_data(void **state)
{
	struct fixture *f = *state;

	for (size_t c = 0; c < ARRAY_SIZE(codecs); c++) {
		struct store_slot slot;

		reopen_memory(f, 0, codecs[c]);
		slot = put(f, 4096, TEXT, 1);
		for (uint32_t bit = 0; bit < slot.length * 8; bit += slot.length * 8 / 100 + 1) {
			off_t offset = (off_t)(slot.offset + bit / 8);
			uint8_t byte = 0;

			assert_int_equal(pread(f->fd, &byte, 1, offset), 1);
			byte ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(pwrite(f->fd, &byte, 1, offset), 1);
			assert_int_equal(get(f, &slot, TAG), -EBADMSG);
			byte ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(pwrite(f->fd, &byte, 1, offset), 1);
		}
		assert_back(f, &slot, TEXT, 1);
	}
}

static void flip_field(struct fixture *f, const struct store_slot *slot, size_t field, size_t bytes)
{
	for (size_t bit = 0; bit < bytes * 8; bit++) {
		struct store_slot bad = *slot;

		((uint8_t *)&bad)[field + bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(get(f, &bad, TAG), -EBADMSG);
	}
}

static void test_flipped_slot(void **state)
{
	struct fixture *f = *state;

	for (size_t c = 0; c < ARRAY_SIZE(codecs); c++) {
		struct store_slot slot;

		reopen_memory(f, 0, codecs[c]);
		for (uint64_t i = 0; i < 40; i++)
			slot = put(f, 64 * KiB, TEXT, i);
		slot = put(f, 64 * KiB, TEXT, 40);
		flip_field(f, &slot, offsetof(struct store_slot, offset), sizeof(slot.offset));
		flip_field(f, &slot, offsetof(struct store_slot, length), sizeof(slot.length));
		flip_field(f, &slot, offsetof(struct store_slot, size), sizeof(slot.size));
		flip_field(f, &slot, offsetof(struct store_slot, number), sizeof(slot.number));
		flip_field(f, &slot, offsetof(struct store_slot, units), 16);
		assert_back(f, &slot, TEXT, 40);
	}
}

static uint64_t forge_sum(const struct store_slot *slot, const uint8_t *stored)
{
	const struct codec_identity identity = {.tag = TAG, .number = slot->number, .place = slot->size};

	return codec_checksum(&identity, stored, slot->length - CHECKSUM_BYTES);
}

/* A record whose checksum is right and whose size is a lie: the decompressor itself must hold the line. */
static void test_forged_size(void **state)
{
	struct fixture *f = *state;

	for (size_t c = 0; c < ARRAY_SIZE(codecs); c++) {
		static const int steps[] = {-1000, -1, 1, 1000};
		struct store_slot slot;
		uint8_t stored[4096];
		uint64_t sum;

		reopen_memory(f, 0, codecs[c]);
		slot = put(f, 3000, TEXT, 1);
		assert_true(slot.length <= sizeof(stored));
		assert_int_equal(pread(f->fd, stored, slot.length, (off_t)slot.offset), slot.length);
		sum = forge_sum(&slot, stored);
		assert_memory_equal(&sum, stored + slot.length - CHECKSUM_BYTES, CHECKSUM_BYTES);
		for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
			struct store_slot bad = slot;

			bad.size += (uint32_t)steps[i];
			sum = forge_sum(&bad, stored);
			assert_int_equal(
				pwrite(f->fd, &sum, sizeof(sum), (off_t)(slot.offset + slot.length - CHECKSUM_BYTES)),
				sizeof(sum));
			assert_int_equal(get(f, &bad, TAG), -EBADMSG);
		}
	}
}

/* One unit is spoilt: it alone is not given back, by itself or with the others. */
static void test_one_unit_spoilt(void **state)
{
	struct fixture *f = *state;

	for (size_t c = 0; c < ARRAY_SIZE(codecs); c++) {
		struct store_slot slot;
		uint64_t bad;
		off_t end;

		reopen_memory(f, 0, codecs[c]);
		slot = put(f, 64 * KiB, TEXT, 1);
		end = (off_t)slot.offset;
		for (unsigned int i = 0; i <= 5; i++)
			end += (slot.units[i] ? slot.units[i] * 16 : 4096) + CHECKSUM_BYTES;
		assert_int_equal(pwrite(f->fd, "\xff\x00\xff", 3, end - CHECKSUM_BYTES - 3), 3);
		memset(f->back, 0, 64 * KiB);
		assert_int_equal(store_read_units(f->store, f->scratch, &slot, TAG, 0xffff, f->back, &bad), -EBADMSG);
		assert_int_equal(bad, 1 << 5);
		assert_memory_equal(f->back, f->data, 5 * 4096);
		assert_memory_equal(f->back + 6 * 4096, f->data + 6 * 4096, 10 * 4096);
		assert_int_equal(store_read_units(f->store, f->scratch, &slot, TAG, 1 << 5, f->back, &bad), -EBADMSG);
		assert_int_equal(store_read_units(f->store, f->scratch, &slot, TAG, 1 << 15, f->back, &bad), 0);
		assert_memory_equal(f->back, f->data + 15 * 4096, 4096);
	}
}

/* Units that are not next to each other lie in the data as they do in the record. */
static void test_some_units(void **state)
{
	struct fixture *f = *state;
	struct store_slot slot = put(f, 60 * KiB + 100, TEXT, 1);
	uint64_t bad = 1;

	memset(f->back, 0x5a, 64 * KiB);
	assert_int_equal(store_read_units(f->store, f->scratch, &slot, TAG, 1 << 3 | 1 << 6 | 1 << 15, f->back, &bad),
			 0);
	assert_int_equal(bad, 0);
	assert_memory_equal(f->back, f->data + 3 * 4096, 4096);
	assert_int_equal(f->back[4096], 0x5a);
	assert_memory_equal(f->back + 3 * 4096, f->data + 6 * 4096, 4096);
	assert_memory_equal(f->back + 12 * 4096, f->data + 15 * 4096, 100);
	assert_int_equal(f->back[12 * 4096 + 100], 0x5a);
	assert_int_equal(store_read_units(f->store, f->scratch, &slot, TAG, 1 << 16, f->back, &bad), -EBADMSG);
	assert_int_equal(store_read_units(f->store, f->scratch, &slot, TAG, 0, f->back, &bad), -EBADMSG);
}

struct told {
	int begun, over;
};

static void count_wait(void *context, bool begins)
{
	struct told *told = context;

	assert_int_equal(told->begun, told->over + !begins);
	told->begun += begins;
	told->over += !begins;
}

static void test_wait_is_told(void **state)
{
	struct fixture *f = *state;
	struct told told = {0};
	struct store_slot slot;

	reopen(f, open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), 0, "lz4");
	slot = put(f, 64 * KiB, TEXT, 1);
	assert_back(f, &slot, TEXT, 1);
	assert_int_equal(fault.looks, 0); /* nobody wants to know */
	store_scratch_on_wait(f->scratch, count_wait, &told);
	assert_back(f, &slot, TEXT, 1);
	assert_int_equal(fault.looks, 1);
	assert_int_equal(told.begun, 0);
	fault.cold = true;
	assert_back(f, &slot, TEXT, 1);
	assert_int_equal(told.begun, 1);
	assert_int_equal(told.over, 1);
}

static void test_memory_never_waits(void **state)
{
	struct fixture *f = *state;
	struct store_slot slot = put(f, 64 * KiB, TEXT, 1);
	struct told told = {0};

	fault.cold = true;
	store_scratch_on_wait(f->scratch, count_wait, &told);
	assert_back(f, &slot, TEXT, 1);
	assert_int_equal(fault.looks, 0);
	assert_int_equal(told.begun, 0);
}

static void test_truncated(void **state)
{
	struct fixture *f = *state;
	struct store_slot slot = put(f, 64 * KiB, TEXT, 1);
	uint64_t bad;

	assert_int_equal(ftruncate(f->fd, (off_t)(slot.offset + slot.length / 2)), 0);
	assert_int_equal(store_read_units(f->store, f->scratch, &slot, TAG, 0xffff, f->back, &bad), -EBADMSG);
	assert_int_equal(bad & 0xff03, 0xff00); /* what lies in front of the end is there */
	assert_memory_equal(f->back, f->data, 8 * KiB);
	for (uint32_t left = 0; left < slot.length; left += slot.length / 7) {
		assert_int_equal(ftruncate(f->fd, (off_t)(slot.offset + left)), 0);
		assert_int_equal(get(f, &slot, TAG), -EBADMSG);
	}
}

static void test_broken_file(void **state)
{
	struct fixture *f = *state;
	struct store_slot slot = put(f, 64 * KiB, TEXT, 1);
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
	reopen(f, open(path, O_WRONLY | O_CLOEXEC), 0, "lz4");
	slot = put(f, 64 * KiB, TEXT, 1);
	assert_int_equal(get(f, &slot, TAG), -EIO);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
	reopen(f, open(path, O_RDONLY | O_CLOEXEC), 0, "lz4");
	assert_int_equal(store_write(f->store, f->scratch, f->data, 64 * KiB, TAG, &slot), -EIO);
	assert_empty(f);
}

static void test_limit(void **state)
{
	struct fixture *f = *state;
	struct store_slot slots[4], slot;

	reopen_memory(f, 4 * 4096 + 2 * STORE_GRAIN - 1, "none");
	for (uint64_t i = 0; i < 4; i++)
		slots[i] = put(f, ROOM(4096), RANDOM, i);
	slot = put(f, 1, RANDOM, 9);
	assert_int_equal(usage_of(f).allocated, 4 * 4096 + STORE_GRAIN);
	assert_int_equal(usage_of(f).stored, 4 * 4096 + 1 + CHECKSUM_BYTES);
	assert_int_equal(store_write(f->store, f->scratch, f->data, 1, TAG, &slot), -ENOSPC);

	/* Two slots that are not neighbours: the limit counts bytes, not one stretch. */
	store_free(f->store, &slots[0]);
	store_free(f->store, &slots[2]);
	assert_int_equal(store_write(f->store, f->scratch, f->data, ROOM(8192) + 1, TAG, &slot), -ENOSPC);
	slot = put(f, ROOM(8192), RANDOM, 5);
	assert_int_equal(usage_of(f).slots, 4);
	assert_back(f, &slot, RANDOM, 5);
	assert_back(f, &slots[1], RANDOM, 1);
	assert_back(f, &slots[3], RANDOM, 3);
}

static void test_free_twice(void **state)
{
	struct fixture *f = *state;
	struct store_slot slot = put(f, ROOM(4096), RANDOM, 1);
	struct store_slot other = put(f, ROOM(4096), RANDOM, 2);

	store_free(f->store, &slot);
	store_free(f->store, &slot);
	assert_int_equal(usage_of(f).slots, 1);
	assert_int_equal(usage_of(f).stored, 4096);
	assert_back(f, &other, RANDOM, 2);
}

/* A file on a tmpfs of its own, mounted nowhere. */
static int tiny_file(const char *size)
{
	_cleanup_close_ int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
	_cleanup_close_ int mount = -1;

	if (context < 0)
		return -1;
	if (fsconfig(context, FSCONFIG_SET_STRING, "size", size, 0))
		return -1;
	if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		return -1;
	mount = fsmount(context, FSMOUNT_CLOEXEC, 0);
	return mount < 0 ? -1 : openat(mount, "store", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

static void test_file_system_full(void **state)
{
	struct fixture *f = *state;
	struct store_slot slots[64], slot;
	uint64_t n = 0;
	int fd, err = 0;

	if (geteuid()) {
		print_message("needs root to make a small tmpfs\n");
		skip();
	}
	fd = tiny_file("1m");
	if (fd < 0 && (errno == EPERM || errno == ENOSYS)) {
		print_message("cannot make a small tmpfs here: %s\n", strerror(errno));
		skip();
	}
	reopen(f, fd, 0, "none");
	for (; n < ARRAY_SIZE(slots) && !err; n += !err) {
		fill(f->data, ROOM(40 * KiB), RANDOM, n);
		err = store_write(f->store, f->scratch, f->data, ROOM(40 * KiB), TAG, &slots[n]);
	}
	assert_int_equal(err, -ENOSPC);
	assert_in_range(n, 10, 26);
	assert_int_equal(usage_of(f).slots, n);
	assert_int_equal(usage_of(f).allocated, n * 40 * KiB);
	for (uint64_t i = 0; i < n; i++)
		assert_back(f, &slots[i], RANDOM, i);

	store_free(f->store, &slots[3]);
	slot = put(f, ROOM(40 * KiB), RANDOM, 99);
	assert_back(f, &slot, RANDOM, 99);
}

static void free_every(struct fixture *f, struct store_slot *slots, size_t count, size_t first, size_t step)
{
	for (size_t i = first; i < count; i += step)
		store_free(f->store, &slots[i]);
}

/* Bytes of the blocks that are not holes when only some of the slots are left, which are in order. */
static uint64_t blocks_of_every(const struct store_slot *slots, size_t count, size_t first, size_t step)
{
	uint64_t bytes = 0, end = 0;

	for (size_t i = first; i < count; i += step) {
		uint64_t from = max_u64(round_down(slots[i].offset, 64 * KiB), end);

		end = round_up(slots[i].offset + slots[i].length, 64 * KiB);
		bytes += end - from;
	}
	return bytes;
}

static void check_holes(struct fixture *f)
{
	struct store_slot slots[300];
	uint64_t full, some;

	for (size_t i = 0; i < ARRAY_SIZE(slots); i++)
		slots[i] = put(f, 1 + i * 7919 % (90 * KiB), RANDOM, i);
	assert_int_equal(fsync(f->fd), 0);
	full = usage_of(f).file;
	assert_true(full >= usage_of(f).stored);

	free_every(f, slots, ARRAY_SIZE(slots), 0, 3);
	free_every(f, slots, ARRAY_SIZE(slots), 2, 3);
	some = usage_of(f).file;
	assert_true(some < full);
	assert_true(some <= blocks_of_every(slots, ARRAY_SIZE(slots), 1, 3) + 64 * KiB);
	for (size_t i = 1; i < ARRAY_SIZE(slots); i += 3)
		assert_back(f, &slots[i], RANDOM, i);

	free_every(f, slots, ARRAY_SIZE(slots), 1, 3);
	assert_empty(f);
	assert_true(usage_of(f).file <= 64 * KiB);
}

static void test_holes_memory(void **state)
{
	struct fixture *f = *state;

	reopen_memory(f, 0, "none");
	check_holes(f);
	check_holes(f);
}

static void test_holes_file(void **state)
{
	char path[] = "/var/tmp/uvm-test-store-XXXXXX";
	struct fixture *f = *state;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) && errno == EOPNOTSUPP) {
		close(fd);
		print_message("the file system of /var/tmp cannot punch holes\n");
		skip();
	}
	reopen(f, fd, 0, "none");
	check_holes(f);
}

struct late_record {
	struct fixture *f;
	struct store_slot slot;
};

static void write_late(void *arg)
{
	struct late_record *late = arg;

	late->slot = put(late->f, ROOM(100 * KiB), RANDOM, 9);
}

/* A record that is written while a hole is being made must not lie in the hole. */
static void test_punch_spares_new(void **state)
{
	struct fixture *f = *state;
	struct late_record late = {.f = f};
	struct store_slot first, second, third;

	reopen_memory(f, 0, "none");
	first = put(f, ROOM(20 * KiB), RANDOM, 1);
	second = put(f, ROOM(108 * KiB), RANDOM, 2);
	third = put(f, ROOM(4096), RANDOM, 3);

	fault.before_punch = write_late;
	fault.arg = &late;
	store_free(f->store, &second);
	assert_int_equal(fault.punches, 1);
	assert_back(f, &first, RANDOM, 1);
	assert_back(f, &late.slot, RANDOM, 9);
	assert_back(f, &third, RANDOM, 3);

	/* All of the hole can be used again. */
	assert_int_equal(put(f, ROOM(108 * KiB), RANDOM, 4).offset, second.offset);
}

static void test_punch_fails(void **state)
{
	static const int errors[] = {EOPNOTSUPP, EIO};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		struct store_slot slots[4];

		reopen_memory(f, 0, "none");
		fault.punch_errno = errors[i];
		fault.punches = 0;
		for (uint64_t n = 0; n < 4; n++)
			slots[n] = put(f, ROOM(64 * KiB), RANDOM, n);
		free_every(f, slots, 4, 0, 1);
		assert_int_equal(fault.punches, errors[i] == EOPNOTSUPP ? 1 : 4);
		assert_empty(f);
		assert_int_equal(put(f, ROOM(256 * KiB), RANDOM, 5).offset, 0);
	}
}

/* A hole is made once, and again only when something was written there. */
static void test_punch_once(void **state)
{
	struct fixture *f = *state;
	struct store_slot slots[32];

	reopen_memory(f, 0, "none");
	for (uint64_t n = 0; n < ARRAY_SIZE(slots); n++)
		slots[n] = put(f, ROOM(16 * KiB), RANDOM, n);
	fault.punch_errno = EIO;
	free_every(f, slots, ARRAY_SIZE(slots), 0, 1);
	assert_int_equal(fault.punches, ARRAY_SIZE(slots) / 4);
}

static void test_short_and_interrupted(void **state)
{
	struct fixture *f = *state;
	struct store_slot slots[6];

	fault.most = 1000;
	fault.interrupt = 3;
	for (uint64_t n = 0; n < ARRAY_SIZE(slots); n++)
		slots[n] = put(f, ROOM(100 * KiB), n % 2 ? RANDOM : TEXT, n);
	for (uint64_t n = 0; n < ARRAY_SIZE(slots); n++)
		assert_back(f, &slots[n], n % 2 ? RANDOM : TEXT, n);
	free_every(f, slots, ARRAY_SIZE(slots), 0, 1);
	assert_true(usage_of(f).file <= 64 * KiB);
}

static void test_adopt(void **state)
{
	struct fixture *f = *state;
	struct store_slot slots[3], bad, new;
	int fd;

	for (uint64_t i = 0; i < 3; i++)
		slots[i] = put(f, ROOM(4096), RANDOM, i);
	fd = dup(f->fd);
	reopen(f, fd, 0, "zstd");
	assert_int_equal(store_adopt(f->store, &slots[0]), 0);
	assert_int_equal(store_adopt(f->store, &slots[2]), 0);
	assert_int_equal(usage_of(f).slots, 2);
	assert_int_equal(usage_of(f).stored, 8192);

	bad = slots[0];
	assert_int_equal(store_adopt(f->store, &bad), -EINVAL);
	bad.offset += 4096 - STORE_GRAIN;
	assert_int_equal(store_adopt(f->store, &bad), -EINVAL);
	bad.offset = slots[1].offset + 1;
	assert_int_equal(store_adopt(f->store, &bad), -EINVAL);
	bad = slots[1];
	bad.length++;
	assert_int_equal(store_adopt(f->store, &bad), -EINVAL);
	bad.length = 0;
	assert_int_equal(store_adopt(f->store, &bad), -EINVAL);
	bad.length = 4096;
	bad.offset = round_down(UINT64_MAX, STORE_GRAIN);
	assert_int_equal(store_adopt(f->store, &bad), -EINVAL);
	assert_int_equal(usage_of(f).slots, 2);

	new = put(f, ROOM(4096), RANDOM, 7);
	assert_int_equal(new.offset, slots[1].offset);
	assert_back(f, &slots[0], RANDOM, 0);
	assert_back(f, &slots[2], RANDOM, 2);
	store_free(f->store, &slots[0]);
	store_free(f->store, &slots[2]);
	store_free(f->store, &new);
	assert_empty(f);
}

#define THREADS      4
#define THREAD_STEPS 6000
#define THREAD_SLOTS 24
#define THREAD_SIZE  (80 * KiB)

struct thread_job {
	struct store *store;
	uint64_t seed;
	const char *failure; /* NULL while all is well; cmocka's own checks are for the main thread only */
};

struct thread_state {
	struct store_scratch *scratch;
	uint64_t random;
	struct store_slot slots[THREAD_SLOTS];
	uint64_t tags[THREAD_SLOTS]; /* 0: free */
	uint8_t *data;
	uint8_t *back;
};

static const char *thread_write(struct thread_job *job, struct thread_state *my, size_t i)
{
	size_t size = 1 + random_next(&my->random) % THREAD_SIZE;
	uint64_t tag = random_next(&my->random);

	fill(my->data, size, tag & 1 ? RANDOM : TEXT, tag);
	if (store_write(job->store, my->scratch, my->data, size, tag, &my->slots[i]))
		return "store_write failed";
	my->tags[i] = tag;
	return NULL;
}

static const char *thread_verify(struct thread_job *job, struct thread_state *my, size_t i)
{
	const struct store_slot *slot = &my->slots[i];
	uint64_t tag = my->tags[i];

	if (store_read(job->store, my->scratch, slot, tag, my->back))
		return "store_read failed";
	fill(my->data, slot->size, tag & 1 ? RANDOM : TEXT, tag);
	return memcmp(my->data, my->back, slot->size) ? "wrong bytes" : NULL;
}

static void thread_free(struct thread_job *job, struct thread_state *my, size_t i)
{
	if (my->tags[i])
		store_free(job->store, &my->slots[i]);
	my->tags[i] = 0;
}

static void *thread_run(void *arg)
{
	struct thread_job *job = arg;
	struct thread_state my = {.random = job->seed};

	my.data = malloc(THREAD_SIZE);
	my.back = malloc(THREAD_SIZE);
	if (store_scratch_new(job->store, &my.scratch, THREAD_SIZE))
		job->failure = "no scratch";
	for (int step = 0; step < THREAD_STEPS && !job->failure; step++) {
		size_t i = random_next(&my.random) % THREAD_SLOTS;

		if (!my.tags[i]) {
			job->failure = thread_write(job, &my, i);
			continue;
		}
		job->failure = thread_verify(job, &my, i);
		if (random_next(&my.random) % 2)
			thread_free(job, &my, i);
	}
	for (size_t i = 0; i < THREAD_SLOTS; i++)
		thread_free(job, &my, i);
	store_scratch_free(my.scratch);
	free(my.back);
	free(my.data);
	return NULL;
}

static void test_threads(void **state)
{
	struct fixture *f = *state;
	struct thread_job jobs[THREADS] = {0};
	pthread_t threads[THREADS];
	uint64_t seed = 0;

	assert_int_equal(getrandom(&seed, sizeof(seed), 0), sizeof(seed));
	print_message("seed 0x%" PRIx64 "\n", seed);
	for (size_t i = 0; i < THREADS; i++) {
		jobs[i] = (struct thread_job){.store = f->store, .seed = (seed + i) | 1 << i};
		assert_int_equal(pthread_create(&threads[i], NULL, thread_run, &jobs[i]), 0);
	}
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (size_t i = 0; i < THREADS; i++)
		if (jobs[i].failure)
			fail_msg("thread %zu: %s", i, jobs[i].failure);
	assert_empty(f);
	assert_true(usage_of(f).file <= 64 * KiB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_codec_parse),
		cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_repack, setup, teardown),
		cmocka_unit_test_setup_teardown(test_codec_used, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_tag, setup, teardown),
		cmocka_unit_test_setup_teardown(test_checksum_binds_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flipped_data, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flipped_slot, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forged_size, setup, teardown),
		cmocka_unit_test_setup_teardown(test_truncated, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_unit_spoilt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_some_units, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wait_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory_never_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_free_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(test_file_system_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_holes_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_holes_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_punch_spares_new, setup, teardown),
		cmocka_unit_test_setup_teardown(test_punch_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_punch_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_short_and_interrupted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_adopt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
		{"test_round_trip, sealed", test_round_trip, setup_sealed, teardown, NULL},
		{"test_repack, sealed", test_repack, setup_sealed, teardown, NULL},
		{"test_bad_sizes, sealed", test_bad_sizes, setup_sealed, teardown, NULL},
		{"test_wrong_tag, sealed", test_wrong_tag, setup_sealed, teardown, NULL},
		{"test_flipped_data, sealed", test_flipped_data, setup_sealed, teardown, NULL},
		{"test_flipped_slot, sealed", test_flipped_slot, setup_sealed, teardown, NULL},
		{"test_truncated, sealed", test_truncated, setup_sealed, teardown, NULL},
		{"test_broken_file, sealed", test_broken_file, setup_sealed, teardown, NULL},
		{"test_short_and_interrupted, sealed", test_short_and_interrupted, setup_sealed, teardown, NULL},
		{"test_threads, sealed", test_threads, setup_sealed, teardown, NULL},
	};

	alarm(300);
	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
