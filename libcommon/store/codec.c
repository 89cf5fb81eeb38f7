/* SPDX-License-Identifier: MIT */
/* What a record looks like in the store: lz4, zstd or raw bytes, and their checksum. */
#include "store/codec.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd_errors.h>

#include "base/size.h"
#include "store/seal.h"

#define ZSTD_DEFAULT_LEVEL 3
#define ZSTD_PREFIX        "zstd:"

int codec_parse(const char *text, struct codec_choice *choice)
{
	struct codec_choice parsed = {.codec = CODEC_ZSTD, .level = ZSTD_DEFAULT_LEVEL};
	int64_t level = ZSTD_DEFAULT_LEVEL;

	if (!strcmp(text, "none"))
		parsed = (struct codec_choice){.codec = CODEC_NONE};
	else if (!strcmp(text, "auto"))
		parsed = (struct codec_choice){.codec = CODEC_AUTO};
	else if (!strcmp(text, "lz4"))
		parsed = (struct codec_choice){.codec = CODEC_LZ4};
	else if (!strncmp(text, ZSTD_PREFIX, strlen(ZSTD_PREFIX))) {
		if (number_parse(text + strlen(ZSTD_PREFIX), 1, ZSTD_maxCLevel(), &level))
			return -EINVAL;
		parsed.level = (int)level;
	} else if (strcmp(text, "zstd"))
		return -EINVAL;

	*choice = parsed;
	return 0;
}

const char *codec_format(char text[16], struct codec_choice choice)
{
	static const char *const names[] = {[CODEC_NONE] = "none", [CODEC_LZ4] = "lz4", [CODEC_AUTO] = "auto"};

	if (choice.codec == CODEC_ZSTD)
		snprintf(text, 16, ZSTD_PREFIX "%d", choice.level);
	else
		snprintf(text, 16, "%s", names[choice.codec]);
	return text;
}

struct codec_choice codec_at_once(struct codec_choice choice)
{
	return choice.codec == CODEC_AUTO ? (struct codec_choice){.codec = CODEC_LZ4} : choice;
}

struct codec_choice codec_dense(void)
{
	return (struct codec_choice){.codec = CODEC_ZSTD, .level = ZSTD_DEFAULT_LEVEL};
}

/* A library that the codec does not use is not touched: its code would be memory of the session, and locked. */
static bool make_contexts(struct store_scratch *scratch, enum codec codec)
{
	bool lz4 = codec == CODEC_LZ4 || codec == CODEC_AUTO;
	bool zstd = codec == CODEC_ZSTD || codec == CODEC_AUTO;

	if (lz4)
		scratch->lz4_state = malloc((size_t)LZ4_sizeofState());
	if (zstd)
		scratch->zstd_in = ZSTD_createDCtx();
	if (codec == CODEC_ZSTD)
		scratch->zstd_out = ZSTD_createCCtx();
	return (!lz4 || scratch->lz4_state) && (!zstd || scratch->zstd_in) &&
	       (codec != CODEC_ZSTD || scratch->zstd_out);
}

int codec_scratch_new(struct store_scratch **scratch, enum codec codec, size_t max_size)
{
	struct store_scratch *new;

	if (!max_size || max_size > LZ4_MAX_INPUT_SIZE)
		return -EINVAL;
	new = calloc(1, sizeof(*new));
	if (!new)
		return -ENOMEM;
	new->max_size = max_size;
	new->buffer = malloc(max_size + round_up(max_size, page_size()) / page_size() * SEAL_BYTES);
	if (!new->buffer || !make_contexts(new, codec)) {
		store_scratch_free(new);
		return -ENOMEM;
	}
	*scratch = new;
	return 0;
}

void store_scratch_free(struct store_scratch *scratch)
{
	if (!scratch)
		return;
	if (scratch->zstd_in)
		ZSTD_freeDCtx(scratch->zstd_in);
	if (scratch->zstd_out)
		ZSTD_freeCCtx(scratch->zstd_out);
	free(scratch->lz4_state);
	free(scratch->buffer);
	free(scratch);
}

static void compress_lz4(struct store_scratch *scratch, const void *data, size_t size, void *to, size_t capacity,
			 uint32_t *length)
{
	*length = (uint32_t)LZ4_compress_fast_extState(scratch->lz4_state, data, to, (int)size, (int)capacity, 1);
}

static int compress_zstd(struct store_scratch *scratch, int level, const void *data, size_t size, void *to,
			 size_t capacity, uint32_t *length)
{
	size_t done = ZSTD_compressCCtx(scratch->zstd_out, to, capacity, data, size, level);

	if (ZSTD_isError(done) && ZSTD_getErrorCode(done) != ZSTD_error_dstSize_tooSmall)
		return -ENOMEM;
	*length = ZSTD_isError(done) ? 0 : (uint32_t)done;
	return 0;
}

int codec_compress(struct store_scratch *scratch, struct codec_choice choice, const void *data, size_t size, void *to,
		   size_t capacity, uint32_t *length)
{
	*length = 0;
	if (!capacity || choice.codec == CODEC_NONE)
		return 0;
	if (choice.codec == CODEC_ZSTD)
		return compress_zstd(scratch, choice.level, data, size, to, capacity, length);
	compress_lz4(scratch, data, size, to, capacity, length);
	return 0;
}

static int decompress_zstd(struct store_scratch *scratch, const void *bytes, size_t length, void *data, size_t capacity)
{
	uint32_t magic;

	/*
	 * One frame of today's format and nothing after it: for frames of zstd's first versions the library allocates.
	 */
	if (!scratch->zstd_in || length < sizeof(magic))
		return -EBADMSG;
	memcpy(&magic, bytes, sizeof(magic));
	if (le32toh(magic) != ZSTD_MAGICNUMBER || ZSTD_findFrameCompressedSize(bytes, length) != length)
		return -EBADMSG;
	return ZSTD_decompressDCtx(scratch->zstd_in, data, capacity, bytes, length) == capacity ? 0 : -EBADMSG;
}

int codec_decompress(struct store_scratch *scratch, enum codec codec, const void *bytes, size_t length, void *data,
		     size_t size)
{
	switch (codec) {
	case CODEC_LZ4:
		return LZ4_decompress_safe(bytes, data, (int)length, (int)size) == (int)size ? 0 : -EBADMSG;
	case CODEC_ZSTD:
		return decompress_zstd(scratch, bytes, length, data, size);
	default:
		return -EBADMSG;
	}
}

uint64_t codec_checksum(const struct codec_identity *identity, const void *bytes, size_t length)
{
	return XXH3_64bits_withSeed(bytes, length, XXH3_64bits(identity, sizeof(*identity)));
}
