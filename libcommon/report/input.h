/* SPDX-License-Identifier: MIT */
/* Records in: JSON Lines, a JSON array, or one object; nothing in them is trusted. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/region.h"
#include "report/error.h"

/* The regions of one process, in the order they came. */
struct region_group {
	pid_t pid;          /* 0 when no record names one */
	uint64_t starttime; /* 0 when no record names one */
	struct region_vec regions;
};

/* The regions of a stream by the processes they are of, in order of their pids; no group without a region. */
struct region_input {
	struct region_group *groups;
	size_t count, capacity;
	bool cut; /* it is of a tool that printed no summary at its end, or nothing: it failed, or was cut short */
};

/*
 * Reads regions from a file ("-" is standard input). Any record with both "start" and "end" counts as a region,
 * whatever its type, except types "error" and "summary"; records without them are skipped, unknown keys ignored.
 * Addresses may be numbers or hex strings. Refused, with `error` filled (code -EINVAL; the line number is named):
 * malformed JSON, an unknown "v", end <= start, a region not aligned to `align` bytes (a power of two), "bytes" that
 * contradicts start and end, a pid with two start times, more than 16 million regions. A record that names no process
 * is of that of the record before it. -ENOENT/-EACCES and the like when the file cannot be read. `input` is owned by
 * the caller: region_input_free.
 */
int region_input_read(struct region_input *input, const char *path, uint64_t align, struct error *error);

/*
 * The same; each record of any type is handed to `each`, behind what was read of those before it. What that returns
 * other than 0 ends the reading, with `error` as it left it.
 */
typedef int (*input_fn)(void *context, const json_t *record, struct error *error);
int region_input_walk(struct region_input *input, const char *path, uint64_t align, input_fn each, void *context,
		      struct error *error);
void region_input_free(struct region_input *input);

/* Takes a record, which stays the caller's. Returns 0, or a negative errno, with *why set when the record is at fault.
 */
typedef int input_record_fn(void *context, const json_t *record, const char **why);

/*
 * Reads all records from a file ("-" is standard input), each of which `take` is given. Refused, with `error` filled,
 * as region_input_read has it: what is no JSON, an unknown "v", and what `take` refuses.
 */
int input_records_read(const char *path, input_record_fn *take, void *context, struct error *error);

/* An address from a JSON value (integer, or string of hex with or without 0x). Returns 0 or -EINVAL. */
int input_address(const json_t *value, uint64_t *address);

/* "start" and "end" of a record. Returns whether it has both, in order. */
bool input_region(const json_t *record, struct region *region);

/* A string of a record; "" when it has none by that name. */
const char *input_text(const json_t *record, const char *key);

/* Whether a record is of a type. */
bool input_is(const json_t *record, const char *type);

/* A number of a record; 0 when it has none by that name. */
uint64_t input_number(const json_t *record, const char *key);

#define _cleanup_input_ __attribute__((cleanup(region_input_free)))
