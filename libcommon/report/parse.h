/* SPDX-License-Identifier: MIT */
/* JSON that is read, where memory may run out. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/*
 * As json_loadb(3) and json_loadf(3), which lose a character of a key, a string or a number where memory runs out in
 * the middle of it, and where that was the last quote write beyond what they have (jansson 2.14, lex_save in load.c).
 * They have jansson allocate by functions of this file from then on; those that were set before are called by them.
 * Return NULL when it is no JSON, as *failed says, or there is no memory for it, as parse_ran_out says.
 */
json_t *parse_text(const char *text, size_t bytes, size_t flags, json_error_t *failed);
json_t *parse_stream(FILE *stream, size_t flags, json_error_t *failed);

/* Whether it failed for want of memory. All zeros counts as that. */
bool parse_ran_out(const json_error_t *failed);
