/* SPDX-License-Identifier: MIT */
/* What a client asks for, as its bytes come in: checked while it is read, in memory that is bounded. Internal to the
 * room. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/region.h"
#include "report/error.h"

#define REQUEST_TEXT    4096    /* bytes of JSON, without the regions */
#define REQUEST_PAIR    80      /* bytes of one region */
#define REQUEST_REGIONS 2097152 /* of all clients together: 32 MiB */

/*
 * A JSON object, of which the elements of the top-level array "regions" are taken out as they come and the rest is kept
 * as text. All zeros is none yet. One thread at a time.
 */
struct request_reader {
	char text[REQUEST_TEXT];
	size_t length;
	char pair[REQUEST_PAIR];
	size_t pair_length;
	struct region_vec regions;
	size_t counted; /* of REQUEST_REGIONS */
	unsigned int depth;
	unsigned char state; /* enum request_state */
	bool string, escaped;
	bool has_regions;
	size_t key; /* where the latest string began in `text` */
};

/*
 * Takes bytes of a reader. Returns 1 when it is complete (what follows is ignored), 0 when more is to come, or -errno
 * with `error` filled: -EINVAL it is no such object, -E2BIG it is longer than a request can be, -ENOMEM, -ECANCELED.
 */
int reader_feed(struct request_reader *reader, const char *bytes, size_t count, struct error *error);

/*
 * The complete request, with its regions sorted and checked: *object is the caller's. Returns 0, or -EINVAL with
 * `error` filled.
 */
int reader_finish(struct request_reader *reader, json_t **object, struct error *error);

/* Frees its regions; all zeros is allowed. */
void reader_free(struct request_reader *reader);
