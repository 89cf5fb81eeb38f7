/* SPDX-License-Identifier: MIT */
/* The names of features, ioctls and modes. */
#include "uffd/names.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "uffd/uapi.h"

const char *const uffd_feature_names[UFFD_NAMED_FEATURES] = {
	"pagefault_flag_wp",
	"event_fork",
	"event_remap",
	"event_remove",
	"missing_hugetlbfs",
	"missing_shmem",
	"event_unmap",
	"sigbus",
	"thread_id",
	"minor_hugetlbfs",
	"minor_shmem",
	"exact_address",
	"wp_hugetlbfs_shmem",
	"wp_unpopulated",
	"poison",
	"wp_async",
	"move",
	"rwp",
	"rwp_async",
};

const char *const uffd_ioctl_names[UFFD_NAMED_IOCTLS] = {
	[_UFFDIO_REGISTER] = "register",
	[_UFFDIO_UNREGISTER] = "unregister",
	[_UFFDIO_WAKE] = "wake",
	[_UFFDIO_COPY] = "copy",
	[_UFFDIO_ZEROPAGE] = "zeropage",
	[_UFFDIO_MOVE] = "move",
	[_UFFDIO_WRITEPROTECT] = "writeprotect",
	[_UFFDIO_CONTINUE] = "continue",
	[_UFFDIO_POISON] = "poison",
	[_UFFDIO_RWPROTECT] = "rwprotect",
	[_UFFDIO_SET_MODE] = "set_mode",
	[_UFFDIO_API] = "api",
};

const char *const uffd_mode_names[UFFD_NAMED_MODES] = {"missing", "wp", "minor", "rwp"};

const char *uffd_feature_name(unsigned int bit, char text[8])
{
	if (bit < UFFD_NAMED_FEATURES)
		return uffd_feature_names[bit];
	snprintf(text, 8, "bit%u", bit % 64);
	return text;
}

int uffd_feature_bit(const char *name)
{
	int64_t bit;

	for (int i = 0; i < UFFD_NAMED_FEATURES; i++)
		if (!strcmp(name, uffd_feature_names[i]))
			return i;
	if (strncmp(name, "bit", 3) || number_parse(name + 3, UFFD_NAMED_FEATURES, 63, &bit))
		return -EINVAL;
	return (int)bit;
}
