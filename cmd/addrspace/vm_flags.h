/* SPDX-License-Identifier: MIT */
/* The names of VmFlags. */
#pragma once

#include <jansson.h>

/*
 * Two-letter flags as smaps has them, as an array of names (madvise(2), mmap(2)); a flag without a name stays as it is.
 * The caller owns it.
 */
json_t *vm_flags_names(const char *flags);
