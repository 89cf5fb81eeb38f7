/* SPDX-License-Identifier: MIT */
/* The bytes of one unit of a record: compressing, decompressing, checking. Internal to the store. */
#pragma once

#include <lz4.h>
#include <stddef.h>
#include <stdint.h>
#include <zstd.h>

#include "store/store.h"

struct store_scratch {
	size_t max_size;
	store_wait_fn *waits; /* NULL, or to be told when a read may take long */
	void *context;
	unsigned char *buffer; /* units of up to max_size bytes as they are stored, raw each, with their seals */
	void *lz4_state;       /* of CODEC_LZ4 and CODEC_AUTO only */
	ZSTD_CCtx *zstd_out;   /* of CODEC_ZSTD only */
	ZSTD_DCtx *zstd_in;    /* of CODEC_ZSTD and CODEC_AUTO only */
};

/*
 * Scratch to compress with `codec`, and to decompress what that has made, for records of up to max_size bytes. Returns
 * 0, -EINVAL (max_size) or -ENOMEM.
 */
int codec_scratch_new(struct store_scratch **scratch, enum codec codec, size_t max_size);

/* The codec of a record that is made for a choice, and of one that is made denser. */
struct codec_choice codec_at_once(struct codec_choice choice);
struct codec_choice codec_dense(void);

/*
 * Compresses into `to`. *length is 0 when the result would need more than `capacity` bytes. Returns 0 or -ENOMEM.
 */
int codec_compress(struct store_scratch *scratch, struct codec_choice choice, const void *data, size_t size, void *to,
		   size_t capacity, uint32_t *length);

/*
 * Decompresses `length` bytes into `size` bytes of data. Returns 0, or -EBADMSG when that is not exactly what they
 * decompress to, or the scratch not of the codec. Never writes past `size`, never allocates.
 */
int codec_decompress(struct store_scratch *scratch, enum codec codec, const void *bytes, size_t length, void *data,
		     size_t size);

/* What a unit is bound to: the caller's tag, the record's number, which of its units it is and of what size. */
struct codec_identity {
	uint64_t tag, number, place;
};

#define CHECKSUM_BYTES 8 /* by which a unit grows that is not sealed */

/* The checksum of a unit's bytes, bound to its identity. */
uint64_t codec_checksum(const struct codec_identity *identity, const void *bytes, size_t length);
