/* SPDX-License-Identifier: MIT */
/* Records as sentences for people. */
#pragma once

#include <jansson.h>

/*
 * Prints a record by a pattern, without an end of line. {key} stands for the value of a key, {a:b} for the ratio of
 * two; what stands in brackets is left out when one of its values is absent, null, zero, empty or false, and {?key}
 * only asks for that. {+key} is shown when it is zero, too, and {key|page|pages} followed by one of the nouns. Several
 * patterns are separated by '\n': the first of which all keys outside of brackets are there is taken. Returns 0,
 * -ENOENT when none is, or -ENOMEM; nothing was printed then.
 */
int sentence_print(const json_t *record, const char *patterns);
