/* SPDX-License-Identifier: MIT */
/*
 * store_read on any slot over any bytes: never out of bounds, never a crash.
 * Wants clang -fsanitize=fuzzer,address,undefined.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/size.h"
#include "store/codec.h"
#include "store/store.h"

#define MAX_SIZE (64 * KiB)
#define TAG      1

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length);

static struct store *store;
static struct store_scratch *scratch;
static int fd = -1;

static void open_store(void)
{
	const struct codec_choice choice = {.codec = CODEC_LZ4};

	fd = memfd_create("store", MFD_CLOEXEC);
	if (fd < 0 || store_open(&store, fd, 0, choice) || store_scratch_new(store, &scratch, MAX_SIZE))
		abort();
}

/* Of the input a record of one unit. */
static void forge_unit(struct store_slot *slot, const uint8_t *input, size_t length)
{
	uint32_t units = (uint32_t)min_u64((length - CHECKSUM_BYTES) / 16, 255);
	struct codec_identity identity = {.tag = TAG, .number = slot->number};
	uint64_t checksum;

	slot->offset = 0;
	slot->units[0] = (uint8_t)units;
	slot->length = units * 16 + CHECKSUM_BYTES;
	slot->size = units * 16 + 1 + slot->size % (4096 - units * 16);
	identity.place = slot->size;
	checksum = codec_checksum(&identity, input, units * 16);
	if (pwrite(fd, &checksum, sizeof(checksum), units * 16) != sizeof(checksum))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length)
{
	struct store_slot slot;
	uint8_t honest;
	void *data;
	int err;

	if (fd < 0)
		open_store();
	if (length < sizeof(slot) + 1)
		return 0;
	memcpy(&slot, input, sizeof(slot));
	honest = input[sizeof(slot)];
	input += sizeof(slot) + 1;
	length -= sizeof(slot) + 1;
	if (ftruncate(fd, 0) || pwrite(fd, input, length, 0) != (ssize_t)length)
		abort();

	/* Most inputs get sizes and checksum right, so that the decompressors see them. */
	if (honest & 1 && length > CHECKSUM_BYTES + 16)
		forge_unit(&slot, input, length);
	data = malloc(slot.size <= MAX_SIZE ? slot.size : 1);
	if (!data)
		abort();
	err = store_read(store, scratch, &slot, TAG, data);
	if (err && err != -EBADMSG && err != -EIO)
		abort();
	free(data);
	return 0;
}
