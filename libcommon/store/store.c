/* SPDX-License-Identifier: MIT */
/* The store's file: slots are allocated, written, read back, freed, and whole free stretches become holes. */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/size.h"
#include "store/codec.h"
#include "store/extents.h"
#include "store/seal.h"

/* Far above any file: what bounds a store is its limit or its file system. */
#define STORE_SPAN (UINT64_C(1) << 62)

/* A record that cannot be read now may be in a moment: without it, a thread that waits for its pages gets SIGBUS. */
#define READ_TRIES    8
#define READ_AGAIN_US 500 /* before the second try, and twice as long before each that follows */

/* Holes are made of whole blocks of this size. */
#define HOLE_GRAIN (64 * KiB)

struct store {
	int fd;
	bool in_memory; /* on tmpfs, as a memfd is */
	struct codec_choice choice;
	struct seal *seal;    /* NULL: records are plain */
	pthread_mutex_t lock; /* of all below */
	struct extents *extents;
	struct store_usage usage;
	bool punches;       /* as far as known, the file system can punch holes */
	struct hole *holes; /* to be punched; their blocks are taken */
	size_t hole_count, hole_size;
	_Atomic uint64_t numbers; /* of records that are not sealed */
};

struct hole {
	uint64_t start;
	uint64_t end;
};

static uint64_t slot_bytes(uint32_t length)
{
	return round_up(length, STORE_GRAIN);
}

static void count_slot(struct store *store, uint32_t length)
{
	store->usage.stored += length;
	store->usage.allocated += slot_bytes(length);
	store->usage.slots++;
}

static void discount_slot(struct store *store, uint32_t length)
{
	store->usage.stored -= length;
	store->usage.allocated -= slot_bytes(length);
	store->usage.slots--;
}

int store_open(struct store **store, int fd, uint64_t limit, struct codec_choice choice)
{
	struct store *new = calloc(1, sizeof(*new));
	struct statfs fs;

	if (!new)
		return -ENOMEM;
	if (extents_new(&new->extents, STORE_SPAN)) {
		free(new);
		return -ENOMEM;
	}
	new->fd = fd;
	new->in_memory = fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
	new->choice = choice;
	new->usage.limit = limit;
	new->punches = true;
	new->numbers = clock_now_ns(); /* another one's before it gave out fewer than one in a nanosecond */
	pthread_mutex_init(&new->lock, NULL);
	*store = new;
	return 0;
}

void store_set_seal(struct store *store, struct seal *seal)
{
	store->seal = seal;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	pthread_mutex_destroy(&store->lock);
	extents_free(store->extents);
	free(store->holes);
	free(store);
}

int store_scratch_new(const struct store *store, struct store_scratch **scratch, size_t max_size)
{
	return codec_scratch_new(scratch, store->choice.codec, max_size);
}

int store_adopt(struct store *store, const struct store_slot *slot)
{
	int err;

	if (slot->offset % STORE_GRAIN || !slot->length)
		return -EINVAL;
	pthread_mutex_lock(&store->lock);
	err = extents_take_at(store->extents, slot->offset, slot_bytes(slot->length));
	if (!err)
		count_slot(store, slot->length);
	pthread_mutex_unlock(&store->lock);
	return err == -EBUSY ? -EINVAL : err;
}

static int allocate_slot(struct store *store, struct store_slot *slot)
{
	const struct store_usage *usage = &store->usage;
	uint64_t bytes = slot_bytes(slot->length);
	int err = -ENOSPC;

	pthread_mutex_lock(&store->lock);
	if (!usage->limit || (bytes <= usage->limit && usage->allocated <= usage->limit - bytes))
		err = extents_take(store->extents, bytes, &slot->offset);
	if (!err)
		count_slot(store, slot->length);
	pthread_mutex_unlock(&store->lock);
	return err;
}

/* The blocks that became wholly free with this slot; those that were so before are holes already. */
static struct hole completed_blocks(const struct store_slot *slot, uint64_t free_offset, uint64_t free_length)
{
	uint64_t slot_end = slot->offset + slot_bytes(slot->length);

	return (struct hole){
		.start = max_u64(round_up(free_offset, HOLE_GRAIN), round_down(slot->offset, HOLE_GRAIN)),
		.end = min_u64(round_down(free_offset + free_length, HOLE_GRAIN), round_up(slot_end, HOLE_GRAIN)),
	};
}

/* Frees the slot, but keeps the blocks of the coming hole taken: nobody may write there until it is punched. */
static bool give_slot(struct store *store, const struct store_slot *slot, struct hole *hole)
{
	uint64_t free_offset, free_length;

	if (extents_give(store->extents, slot->offset, slot_bytes(slot->length), &free_offset, &free_length))
		return false;
	discount_slot(store, slot->length);
	*hole = completed_blocks(slot, free_offset, free_length);
	return store->punches && hole->start < hole->end &&
	       !extents_take_at(store->extents, hole->start, hole->end - hole->start);
}

static int punch_hole(int fd, const struct hole *hole)
{
	const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	while (fallocate(fd, mode, (off_t)hole->start, (off_t)(hole->end - hole->start)))
		if (errno != EINTR)
			return -errno;
	return 0;
}

static void make_hole(struct store *store, const struct hole *hole)
{
	int err = punch_hole(store->fd, hole);

	pthread_mutex_lock(&store->lock);
	if (err == -EOPNOTSUPP)
		store->punches = false;
	extents_give(store->extents, hole->start, hole->end - hole->start, NULL, NULL);
	pthread_mutex_unlock(&store->lock);
}

/* Whether it is noted for later. `lock` is held. */
static bool note_hole(struct store *store, const struct hole *hole)
{
	struct hole *last = store->hole_count ? &store->holes[store->hole_count - 1] : NULL;

	if (last && last->end == hole->start) {
		last->end = hole->end;
		return true;
	}
	if (array_reserve(&store->holes, store->hole_count, &store->hole_size) < 0)
		return false;
	store->holes[store->hole_count++] = *hole;
	return true;
}

void store_free_soon(struct store *store, const struct store_slot *slot)
{
	struct hole hole;
	bool punching;

	pthread_mutex_lock(&store->lock);
	punching = give_slot(store, slot, &hole) && !note_hole(store, &hole);
	pthread_mutex_unlock(&store->lock);
	if (punching)
		make_hole(store, &hole);
}

void store_punch(struct store *store)
{
	struct hole *holes;
	size_t count;

	pthread_mutex_lock(&store->lock);
	holes = store->holes;
	count = store->hole_count;
	store->holes = NULL;
	store->hole_count = store->hole_size = 0;
	pthread_mutex_unlock(&store->lock);
	for (size_t i = 0; i < count; i++)
		make_hole(store, &holes[i]);
	free(holes);
}

void store_free(struct store *store, const struct store_slot *slot)
{
	store_free_soon(store, slot);
	store_punch(store);
}

static int write_bytes(int fd, const void *bytes, size_t length, uint64_t offset)
{
	int rc = fd_write_all(fd, bytes, length, offset);

	if (rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG)
		return -ENOSPC;
	return rc < 0 ? -EIO : 0;
}

/* One that the file does not hold whole is -EBADMSG. */
static int read_bytes(int fd, void *bytes, size_t length, uint64_t offset)
{
	int rc = fd_read_all(fd, bytes, length, offset);

	for (unsigned int tries = 1; rc < 0 && rc != -ENODATA && tries < READ_TRIES; tries++) {
		usleep(READ_AGAIN_US << tries);
		rc = fd_read_all(fd, bytes, length, offset);
	}
	return rc == -ENODATA ? -EBADMSG : rc < 0 ? -EIO : 0;
}

/*
 * First without waiting: preadv2(2), RWF_NOWAIT. Where the file system cannot tell whether it would wait, it is taken
 * to do so; what lies in memory only never does.
 */
static int read_patiently(const struct store *store, const struct store_scratch *scratch, void *bytes, size_t length,
			  uint64_t offset)
{
	struct iovec to = {.iov_base = bytes, .iov_len = length};
	int rc;

	if (!scratch->waits || store->in_memory)
		return read_bytes(store->fd, bytes, length, offset);
	if (preadv2(store->fd, &to, 1, (off_t)offset, RWF_NOWAIT) == (ssize_t)length)
		return 0;
	scratch->waits(scratch->context, true);
	rc = read_bytes(store->fd, bytes, length, offset);
	scratch->waits(scratch->context, false);
	return rc;
}

/* What a compressed unit ends with, before its seal: behind so much that fills it up. */
struct trailer {
	uint16_t codec : 2;
	uint16_t filled : 14;
};

_Static_assert(sizeof(struct trailer) == 2, "a unit's trailer is two bytes");

/* What a unit's length is a multiple of, unless it is raw. */
static uint32_t unit_grain(void)
{
	return (uint32_t)page_size() / 256;
}

static unsigned int count_units(size_t size)
{
	return (unsigned int)(round_up(size, page_size()) / page_size());
}

static uint32_t unit_size(const struct store_slot *slot, unsigned int i)
{
	return (uint32_t)min_u64(page_size(), slot->size - i * page_size());
}

static uint32_t seal_overhead(const struct store *store)
{
	return store->seal ? SEAL_BYTES : CHECKSUM_BYTES;
}

/* As stored, with its seal. */
static uint32_t unit_length(const struct store *store, const struct store_slot *slot, unsigned int i)
{
	return (slot->units[i] ? slot->units[i] * unit_grain() : unit_size(slot, i)) + seal_overhead(store);
}

static struct codec_identity identify_unit(const struct store_slot *slot, uint64_t tag, unsigned int i)
{
	return (struct codec_identity){tag, slot->number + i, (uint64_t)i << 32 | unit_size(slot, i)};
}

/* Compresses one unit, if it gets smaller by that. Returns 0 or -ENOMEM. */
static int pack_unit(struct store_scratch *scratch, struct codec_choice choice, const unsigned char *data,
		     struct store_slot *slot, unsigned int i, unsigned char *to)
{
	uint32_t size = unit_size(slot, i);
	uint32_t grain = unit_grain();
	uint32_t most = (uint32_t)round_down(size - 1, grain);
	struct trailer trailer = {.codec = choice.codec};
	uint32_t length = 0, end;
	int err = 0;

	slot->units[i] = 0;
	if (most > sizeof(trailer))
		err = codec_compress(scratch, choice, data, size, to, most - sizeof(trailer), &length);
	if (err)
		return err;
	if (!length) {
		memcpy(to, data, size);
		return 0;
	}
	end = (uint32_t)round_up(length + sizeof(trailer), grain) - (uint32_t)sizeof(trailer);
	trailer.filled = (uint16_t)(end - length);
	memset(to + length, 0, end - length);
	memcpy(to + end, &trailer, sizeof(trailer));
	slot->units[i] = (uint8_t)((end + sizeof(trailer)) / grain);
	return 0;
}

static void seal_unit(const struct store *store, const struct store_slot *slot, uint64_t tag, unsigned int i,
		      unsigned char *bytes)
{
	uint32_t length = unit_length(store, slot, i) - seal_overhead(store);
	struct codec_identity identity = identify_unit(slot, tag, i);
	uint64_t checksum;

	if (store->seal) {
		seal_encrypt(store->seal, bytes, length, &identity, sizeof(identity), identity.number, bytes);
		return;
	}
	checksum = codec_checksum(&identity, bytes, length);
	memcpy(bytes + length, &checksum, sizeof(checksum));
}

/* Makes the record of some data in the scratch, without a place. Returns 0 or -ENOMEM. */
static int make_record(struct store *store, struct store_scratch *scratch, struct codec_choice choice,
		       const unsigned char *data, size_t size, uint64_t tag, struct store_slot *slot)
{
	unsigned int units = count_units(size);
	int err;

	*slot = (struct store_slot){.size = (uint32_t)size};
	slot->number = store->seal ? seal_numbers(store->seal, units) : atomic_fetch_add(&store->numbers, units);
	for (unsigned int i = 0; i < units; i++) {
		err = pack_unit(scratch, choice, data + i * page_size(), slot, i, scratch->buffer + slot->length);
		if (err)
			return err;
		seal_unit(store, slot, tag, i, scratch->buffer + slot->length);
		slot->length += unit_length(store, slot, i);
	}
	return 0;
}

/* Finds a place for a record and writes it there. */
static int place_record(struct store *store, const void *bytes, struct store_slot *slot)
{
	int err = allocate_slot(store, slot);

	if (err)
		return err;
	err = write_bytes(store->fd, bytes, slot->length, slot->offset);
	if (err)
		store_free(store, slot);
	return err;
}

int store_write(struct store *store, struct store_scratch *scratch, const void *data, size_t size, uint64_t tag,
		struct store_slot *slot)
{
	struct store_slot new;
	int err;

	if (!size || size > scratch->max_size || count_units(size) > STORE_UNITS_MAX)
		return -EINVAL;
	err = make_record(store, scratch, codec_at_once(store->choice), data, size, tag, &new);
	if (!err)
		err = place_record(store, scratch->buffer, &new);
	if (!err)
		*slot = new;
	return err;
}

static uint32_t units_length(const struct store *store, const struct store_slot *slot, unsigned int first,
			     unsigned int count)
{
	uint32_t length = 0;

	for (unsigned int i = first; i < first + count; i++)
		length += unit_length(store, slot, i);
	return length;
}

/* Whether a slot is one that store_write may have made. */
static bool slot_valid(const struct store *store, const struct store_slot *slot)
{
	if (!slot->size || count_units(slot->size) > STORE_UNITS_MAX)
		return false;
	if (slot->offset % STORE_GRAIN || slot->offset > STORE_SPAN - slot->length)
		return false;
	for (unsigned int i = 0; i < count_units(slot->size); i++)
		if (slot->units[i] * unit_grain() >= unit_size(slot, i))
			return false;
	return slot->length == units_length(store, slot, 0, count_units(slot->size));
}

static int open_seal(const struct store *store, const struct codec_identity *identity, const unsigned char *stored,
		     uint32_t length, unsigned char *bytes)
{
	uint64_t checksum;

	if (store->seal)
		return seal_decrypt(store->seal, stored, length + SEAL_BYTES, identity, sizeof(*identity),
				    identity->number, bytes);
	memcpy(&checksum, stored + length, sizeof(checksum));
	if (codec_checksum(identity, stored, length) != checksum)
		return -EBADMSG;
	if (bytes != stored)
		memcpy(bytes, stored, length);
	return 0;
}

/* One unit as it is stored into its data; `stored` is used up. */
static int unpack_unit(const struct store *store, struct store_scratch *scratch, const struct store_slot *slot,
		       uint64_t tag, unsigned int i, unsigned char *stored, void *data)
{
	struct codec_identity identity = identify_unit(slot, tag, i);
	uint32_t length = unit_length(store, slot, i) - seal_overhead(store);
	struct trailer trailer;
	int err = open_seal(store, &identity, stored, length, slot->units[i] ? stored : data);

	if (err || !slot->units[i])
		return err;
	length -= (uint32_t)sizeof(trailer);
	memcpy(&trailer, stored + length, sizeof(trailer));
	if (trailer.filled >= length)
		return -EBADMSG;
	return codec_decompress(scratch, trailer.codec, stored, length - trailer.filled, data, unit_size(slot, i));
}

/* A run of units, which can be read as a whole. */
struct run {
	unsigned int first, end;
};

static struct run run_of(uint64_t units)
{
	return (struct run){(unsigned int)__builtin_ctzll(units), 64 - (unsigned int)__builtin_clzll(units)};
}

/*
 * Units of a mask, from where the first of them is to where the last one is; to the beginning of data. -ENODATA: the
 * file ends before they do.
 */
static int read_together(const struct store *store, struct store_scratch *scratch, const struct store_slot *slot,
			 uint64_t tag, uint64_t units, unsigned char *data, uint64_t *bad)
{
	struct run run = run_of(units);
	unsigned char *stored = scratch->buffer;
	int rc = read_patiently(store, scratch, stored, units_length(store, slot, run.first, run.end - run.first),
				slot->offset + units_length(store, slot, 0, run.first));

	if (rc) {
		*bad |= units;
		return rc == -EBADMSG ? -ENODATA : rc;
	}
	for (unsigned int i = run.first; i < run.end; i++) {
		if (units >> i & 1 &&
		    unpack_unit(store, scratch, slot, tag, i, stored, data + (i - run.first) * page_size())) {
			*bad |= UINT64_C(1) << i;
			rc = -EBADMSG;
		}
		stored += unit_length(store, slot, i);
	}
	return rc;
}

int store_read_units(const struct store *store, struct store_scratch *scratch, const struct store_slot *slot,
		     uint64_t tag, uint64_t units, void *data, uint64_t *bad)
{
	struct run run;
	int rc;

	*bad = units;
	if (!units || !slot_valid(store, slot))
		return -EBADMSG;
	run = run_of(units);
	if (run.end > count_units(slot->size) ||
	    (run.end - run.first) * page_size() > round_up(scratch->max_size, page_size()))
		return -EBADMSG;
	*bad = 0;
	rc = read_together(store, scratch, slot, tag, units, data, bad);
	if (rc != -ENODATA)
		return rc;
	*bad = 0; /* it may end in the middle of them */
	for (unsigned int i = run.first; i < run.end; i++)
		if (units >> i & 1)
			read_together(store, scratch, slot, tag, UINT64_C(1) << i,
				      (unsigned char *)data + (i - run.first) * page_size(), bad);
	return *bad ? -EBADMSG : 0;
}

int store_copy(const struct store *from, struct store *to, struct store_scratch *scratch, const struct store_slot *slot,
	       struct store_slot *copy)
{
	struct store_slot new = *slot;
	int err;

	if (from->seal != to->seal)
		return -EINVAL;
	if (!slot_valid(from, slot) || slot->size > scratch->max_size)
		return -EBADMSG;
	err = read_bytes(from->fd, scratch->buffer, slot->length, slot->offset);
	if (!err)
		err = place_record(to, scratch->buffer, &new);
	if (!err)
		*copy = new;
	return err;
}

int store_read(const struct store *store, struct store_scratch *scratch, const struct store_slot *slot, uint64_t tag,
	       void *data)
{
	unsigned int units = count_units(slot->size);
	uint64_t bad;

	if (!units || units > STORE_UNITS_MAX || slot->size > scratch->max_size)
		return -EBADMSG;
	return store_read_units(store, scratch, slot, tag, (UINT64_C(2) << (units - 1)) - 1, data, &bad);
}

void store_scratch_on_wait(struct store_scratch *scratch, store_wait_fn *waits, void *context)
{
	scratch->waits = waits;
	scratch->context = context;
}

int store_scratch_dense(struct store_scratch **scratch, size_t max_size)
{
	return codec_scratch_new(scratch, codec_dense().codec, max_size);
}

int store_repack(struct store *store, struct store_scratch *scratch, const struct store_slot *slot, uint64_t tag,
		 void *data, struct store_slot *repacked)
{
	int err = store_read(store, scratch, slot, tag, data);

	return err ? err : make_record(store, scratch, codec_dense(), data, slot->size, tag, repacked);
}

int store_place(struct store *store, const struct store_scratch *scratch, struct store_slot *repacked)
{
	return place_record(store, scratch->buffer, repacked);
}

void store_usage(struct store *store, struct store_usage *usage)
{
	struct stat st;

	pthread_mutex_lock(&store->lock);
	*usage = store->usage;
	pthread_mutex_unlock(&store->lock);
	usage->file = fstat(store->fd, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}
