/* SPDX-License-Identifier: MIT */
/* How features, ioctls, modes and kinds of memory are called: the uAPI's names in lower case. */
#pragma once

#include <stdint.h>

#define UFFD_NAMED_FEATURES 19
#define UFFD_NAMED_IOCTLS   64
#define UFFD_NAMED_MODES    4

/* Of feature bit N ("move"). */
extern const char *const uffd_feature_names[UFFD_NAMED_FEATURES];

/* Of ioctl number N ("copy"); NULL for a number without one. */
extern const char *const uffd_ioctl_names[UFFD_NAMED_IOCTLS];

/* Of bit N of UFFDIO_REGISTER's mode ("missing"). */
extern const char *const uffd_mode_names[UFFD_NAMED_MODES];

/* The name of a feature bit below 64, "bit40" when it has none. Writes into text when it must; returns the name. */
const char *uffd_feature_name(unsigned int bit, char text[8]);

/* The bit of a name, also of "bit40" (but not of "bit3": that bit has a name). Returns -EINVAL for an unknown name. */
int uffd_feature_bit(const char *name);
