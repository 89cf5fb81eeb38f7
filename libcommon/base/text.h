/* SPDX-License-Identifier: MIT */
/* Text that came from outside: made fit for a terminal, and its fields. */
#pragma once

#include <stddef.h>

/*
 * Replaces by '?', in place, what could steer a terminal or garble it: control characters (C0, DEL, C1) and bytes that
 * are not UTF-8. Returns text.
 */
char *text_make_safe(char *text);

/* How many characters UTF-8 text has (a terminal column each). */
size_t text_width(const char *text);

/* What stands behind "FIELD:" at the beginning of a line, or NULL. */
const char *text_field(const char *text, const char *field);
