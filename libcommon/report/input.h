/* SPDX-License-Identifier: MIT */
/* Records in: JSON Lines, a JSON array, or one object; nothing in them is trusted. */
#pragma once

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/region.h"
#include "report/error.h"

/* The regions of a stream, in the order they came, and the process they are of. */
struct region_input {
	struct region_vec regions;
	pid_t pid;          /* 0 when no record names one */
	uint64_t starttime; /* 0 when no record names one */
};

/*
 * Reads regions from a file ("-" is standard input). Any record with both "start" and "end" counts as a region,
 * whatever its type, except types "error" and "summary"; records without them are skipped, unknown keys ignored.
 * Addresses may be numbers or hex strings. Refused, with `error` filled (code -EINVAL; the line number is named):
 * malformed JSON, an unknown "v", end <= start, a region not aligned to `align` bytes (a power of two), "bytes" that
 * contradicts start and end, records of two different processes, more than 16 million regions. -ENOENT/-EACCES and the
 * like when the file cannot be read. `input` is owned by the caller: region_input_free.
 */
int region_input_read(struct region_input *input, const char *path, uint64_t align, struct error *error);

void region_input_free(struct region_input *input);

/* An address from a JSON value (integer, or string of hex with or without 0x). Returns 0 or -EINVAL. */
int input_address(const json_t *value, uint64_t *address);

/* A number of a record; 0 when it has none by that name. */
uint64_t input_number(const json_t *record, const char *key);

#define _cleanup_input_ __attribute__((cleanup(region_input_free)))
