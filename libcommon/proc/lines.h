/* SPDX-License-Identifier: MIT */
/* One line at a time from a file of /proc, in the fixed buffer of a maps_reader. */
#pragma once

#include "proc/maps.h"

/* Opens maps or smaps. Returns 0, -ESRCH or -EACCES. */
int lines_open(struct maps_reader *reader, const struct target *target, const char *name);

/*
 * The next line, without its newline and cut where it would not fit; it lasts until the next call. Returns 1, 0 at the
 * end of the file or -errno.
 */
int lines_next(struct maps_reader *reader, char **line);

/* Makes the line that was just returned the next one again. */
void lines_back(struct maps_reader *reader, const char *line);

/*
 * True when the address space behind an open maps or smaps is gone: such a file reads as empty, also in the middle of a
 * walk.
 */
bool address_space_gone(int fd);
