/* SPDX-License-Identifier: MIT */
/* zstd, lz4 and gzip, each as a decoder of pieces. */
#include <errno.h>
#include <lz4frame.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "source/parts.h"

static void *zstd_make(void)
{
	return ZSTD_createDCtx();
}

static void zstd_free(void *state)
{
	ZSTD_freeDCtx(state);
}

static int zstd_run(void *state, const void *in, size_t in_size, size_t *used, void *out, size_t out_size, size_t *made)
{
	ZSTD_inBuffer from = {in, in_size, 0};
	ZSTD_outBuffer to = {out, out_size, 0};
	size_t rc = ZSTD_decompressStream(state, &to, &from);

	*used = from.pos;
	*made = to.pos;
	return ZSTD_isError(rc) ? -EBADMSG : rc == 0;
}

const struct decoder decoder_zstd = {"zstd", {0x28, 0xb5, 0x2f, 0xfd}, 4, zstd_make, zstd_free, zstd_run};

static void *lz4_make(void)
{
	LZ4F_dctx *context;

	return LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)) ? NULL : context;
}

static void lz4_free(void *state)
{
	LZ4F_freeDecompressionContext(state);
}

static int lz4_run(void *state, const void *in, size_t in_size, size_t *used, void *out, size_t out_size, size_t *made)
{
	size_t rc;

	*used = in_size;
	*made = out_size;
	rc = LZ4F_decompress(state, out, made, in, used, NULL);
	return LZ4F_isError(rc) ? -EBADMSG : rc == 0;
}

const struct decoder decoder_lz4 = {"lz4", {0x04, 0x22, 0x4d, 0x18}, 4, lz4_make, lz4_free, lz4_run};

#define GZIP_WINDOW (15 + 16) /* the largest window, with the header of gzip (zlib.h, inflateInit2) */

static void *gzip_make(void)
{
	z_stream *stream = calloc(1, sizeof(*stream));

	if (stream && inflateInit2(stream, GZIP_WINDOW) != Z_OK) {
		free(stream);
		return NULL;
	}
	return stream;
}

static void gzip_free(void *state)
{
	inflateEnd(state);
	free(state);
}

static int gzip_run(void *state, const void *in, size_t in_size, size_t *used, void *out, size_t out_size, size_t *made)
{
	z_stream *stream = state;
	int rc;

	stream->next_in = (unsigned char *)in;
	stream->avail_in = (unsigned int)in_size;
	stream->next_out = out;
	stream->avail_out = (unsigned int)out_size;
	rc = inflate(stream, Z_NO_FLUSH);
	*used = in_size - stream->avail_in;
	*made = out_size - stream->avail_out;
	if (rc == Z_STREAM_END)
		return inflateReset(stream) == Z_OK ? 1 : -EBADMSG;
	return rc == Z_OK || rc == Z_BUF_ERROR ? 0 : -EBADMSG;
}

const struct decoder decoder_gzip = {"gzip", {0x1f, 0x8b, 0x08}, 3, gzip_make, gzip_free, gzip_run};
