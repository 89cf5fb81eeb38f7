/* SPDX-License-Identifier: MIT */
/* What a client asks a session for. JSON only between the two: one object, then records and an "end". */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/region.h"
#include "report/error.h"

#define REQUEST_ENOUGH 0x18 /* ASCII's CAN, on the connection of a request: no more of it */

enum request_kind {
	REQUEST_STATUS,
	REQUEST_REFAULTS,
	REQUEST_OUT,
	REQUEST_IN,
	REQUEST_HOLD,
	REQUEST_WATCH,
	REQUEST_CHECK,
	REQUEST_DETACH,
	REQUEST_WRITEBACK,
	REQUEST_VERBS,
};

/* Beside each what it is for; the others ignore it. */
struct session_request {
	enum request_kind verb;
	const struct region_vec *regions; /* OUT, IN, WATCH: borrowed, sorted, without overlaps; NULL: everything */
	uint64_t bytes;                   /* OUT, WRITEBACK: stop after so many; 0: no limit */
	bool dry_run;                     /* OUT */
	bool stage;                       /* OUT: to the pool; what is not mapped any more is skipped */
	bool idle;                        /* REFAULTS: what is resident is aged by idle page tracking */
	uint64_t age_ms;                  /* WRITEBACK: only what has been in the pool for so long */
	uint64_t duration_ms;             /* WATCH: 0: without end */
	uint64_t again_ms;                /* WATCH: 0: what came back stays */
	bool later;                       /* WATCH: all that is eligible is added, as it comes */
	uint64_t resume_ns;               /* WATCH: when it began, under an earlier worker; 0: it begins */
};

/* The kind of that name ("out", …). Returns 0 or -EINVAL. */
int request_kind_of(const char *name, enum request_kind *kind);

/* The object of a request; the caller owns it. NULL when there is no memory. */
json_t *request_encode(const struct session_request *request);

/*
 * The request of an object, whose regions were read apart from it (reader.h) and are borrowed. Returns 0, or -EINVAL
 * with `error` filled: the verb is unknown.
 */
int request_decode(const json_t *object, const struct region_vec *regions, struct session_request *request,
		   struct error *error);

/* Whether it only wants to be told something that is known. */
bool request_is_quick(const struct session_request *request);
