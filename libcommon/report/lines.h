/* SPDX-License-Identifier: MIT */
/* Records as JSON Lines, on standard output. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* A part that many records share, as text without its braces. */
struct lines_part {
	json_t *json;
	char *text;
	size_t bytes;
};

/* Zeros at first. */
struct lines {
	char *text; /* whole lines that wait */
	size_t used;
	size_t capacity;
	uint64_t since_ns; /* the first of them came */
	struct lines_part before, after;
};

/* Writes what waits, and a line. "v" is added in front of it. Returns 0, -ENOMEM, or -errno of the write. */
int lines_write(struct lines *lines, json_t *record);

/*
 * Adds a line of three objects. It waits until a write is full, or for some milliseconds: until the next call then, or
 * lines_flush. `before` and `after` are known by their addresses, and must not be changed. Returns as lines_write does.
 */
int lines_add(struct lines *lines, json_t *before, const json_t *between, json_t *after);

/* Writes what waits. Returns 0, or -errno of the write. */
int lines_flush(struct lines *lines);

/* Drops what waits. */
void lines_free(struct lines *lines);
