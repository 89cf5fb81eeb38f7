/* SPDX-License-Identifier: MIT */
/* The swap store: compressed records in a file or a memfd, in slots that are freed and reused. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum codec {
	CODEC_NONE, /* raw; also what the other codecs fall back on for data that does not shrink */
	CODEC_LZ4,
	CODEC_ZSTD,
	CODEC_AUTO, /* lz4, and zstd for records that are made denser; of no unit */
};

#define STORE_UNITS_MAX 64 /* of a record */

/* A parsed --compress. */
struct codec_choice {
	enum codec codec;
	int level; /* zstd only */
};

/* "auto", "lz4", "zstd", "zstd:LEVEL", "none". Returns 0 or -EINVAL. */
int codec_parse(const char *text, struct codec_choice *choice);

/* "lz4", "zstd:3", … into text[16]; returns text. */
const char *codec_format(char text[16], struct codec_choice choice);

/*
 * Where a record lies. It consists of units of the size of a page (the last one may be shorter), each compressed and
 * sealed, or with a checksum, by itself, one after the other: one can be read without the others. Plain data: callers
 * keep it in an index that outlives the process.
 */
struct store_slot {
	uint64_t offset;                /* in the store, bytes, a multiple of STORE_GRAIN */
	uint64_t number;                /* of its first unit, the next one has the next: never the same again */
	uint32_t length;                /* as stored */
	uint32_t size;                  /* as it was before compression */
	uint8_t units[STORE_UNITS_MAX]; /* length of each unit in 256th parts of a page, without its seal; 0: raw */
};

#define STORE_GRAIN 256 /* slots begin and end on multiples of this */

/* What a thread needs to compress or decompress: scratch memory, codec contexts. One a thread; not shared. */
struct store_scratch;

/* A store. Thread safe: the allocator has a lock of its own, which is never held across I/O or compression. */
struct store;
struct seal;

struct store_usage {
	uint64_t stored;    /* bytes of records (sum of length) */
	uint64_t allocated; /* bytes of slots (sum of length rounded to STORE_GRAIN) */
	uint64_t file;      /* bytes that the file occupies (st_blocks * 512) */
	uint64_t limit;     /* 0: none */
	uint64_t slots;     /* number of slots in use */
};

/*
 * Makes a store over `fd` (an empty regular file or memfd, read-write; borrowed: the store never closes it). `limit`:
 * most bytes of slots, 0 for none. Returns 0 or -ENOMEM.
 */
int store_open(struct store **store, int fd, uint64_t limit, struct codec_choice choice);
void store_close(struct store *store);

/*
 * Scratch for records of this store, and of others with its codec, of up to max_size bytes before compression. Returns
 * 0, -EINVAL (max_size) or -ENOMEM.
 */
int store_scratch_new(const struct store *store, struct store_scratch **scratch, size_t max_size);
void store_scratch_free(struct store_scratch *scratch);

/* A read is about to wait for a disk, or has waited. Called by the thread that reads, without a lock of the store. */
typedef void store_wait_fn(void *context, bool begins);

/* Has every read with this scratch call it; NULL: none does. */
void store_scratch_on_wait(struct store_scratch *scratch, store_wait_fn *waits, void *context);

/* The same, for store_repack. */
int store_scratch_dense(struct store_scratch **scratch, size_t max_size);

/* From now on all records are sealed (borrowed), and only such are read; call it before the first. */
void store_set_seal(struct store *store, struct seal *seal);

/*
 * Claims a slot that an earlier process of the session had allocated, when its index is read again. Returns 0, -EINVAL
 * when it overlaps or is misaligned, -ENOMEM.
 */
int store_adopt(struct store *store, const struct store_slot *slot);

/*
 * Compresses `size` bytes (at most the scratch's max_size, and STORE_UNITS_MAX pages; -EINVAL) and writes them into a
 * new slot. `tag` is bound into the checksums or seals (the caller's identity of the record) so that a record read
 * under another tag is refused. Returns 0, -ENOSPC (limit or file system full; nothing stays allocated), -EIO, -ENOMEM.
 */
int store_write(struct store *store, struct store_scratch *scratch, const void *data, size_t size, uint64_t tag,
		struct store_slot *slot);

/*
 * Reads and decompresses a record of slot->size bytes into data. Never writes past slot->size bytes, whatever the store
 * holds. Returns 0, -EBADMSG when the record is not what was written (checksum or seal, sizes, tag), -EIO when it
 * cannot be read. Does not allocate memory, takes no lock.
 */
int store_read(const struct store *store, struct store_scratch *scratch, const struct store_slot *slot, uint64_t tag,
	       void *data);

/*
 * The same of those units of which `units` has the bit: the first of them to the beginning of data, the others behind
 * it as they lie to each other in the record. *bad: those that were not read; the others are there whatever is
 * returned.
 */
int store_read_units(const struct store *store, struct store_scratch *scratch, const struct store_slot *slot,
		     uint64_t tag, uint64_t units, void *data, uint64_t *bad);

/*
 * Copies a record as it is stored, neither checked nor made anew, to another store; both have the same seal, or none.
 * The copy's slot differs in its offset only. Returns 0, -EINVAL (another seal), -EBADMSG (the record is not all
 * there), -EIO, or -ENOSPC (nothing stays allocated).
 */
int store_copy(const struct store *from, struct store *to, struct store_scratch *scratch, const struct store_slot *slot,
	       struct store_slot *copy);

/*
 * Makes the record of `slot` anew, by a slower codec, in two steps, so that the first, which takes long, takes no lock:
 * what store_repack makes in the scratch store_place writes into a new slot. Returns 0, as store_read, -ENOMEM; as
 * store_write.
 */
int store_repack(struct store *store, struct store_scratch *scratch, const struct store_slot *slot, uint64_t tag,
		 void *data, struct store_slot *repacked);
int store_place(struct store *store, const struct store_scratch *scratch, struct store_slot *repacked);

/*
 * Frees a slot; space is reused, and the file system gets whole free stretches back (fallocate FALLOC_FL_PUNCH_HOLE).
 * store_free_soon leaves the latter, which takes long, to the next store_punch.
 */
void store_free(struct store *store, const struct store_slot *slot);
void store_free_soon(struct store *store, const struct store_slot *slot);
void store_punch(struct store *store);

/* What it takes; usage->file by fstat(2). */
void store_usage(struct store *store, struct store_usage *usage);
