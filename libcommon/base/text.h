/* SPDX-License-Identifier: MIT */
/* Text that came from outside, made fit for a terminal. */
#pragma once

#include <stddef.h>

/*
 * Replaces by '?', in place, what could steer a terminal or garble it: control characters (C0, DEL, C1) and bytes that
 * are not UTF-8. Returns text.
 */
char *text_make_safe(char *text);

/* How many characters UTF-8 text has (a terminal column each). */
size_t text_width(const char *text);
