/* SPDX-License-Identifier: MIT */
/* /proc/PID/smaps, of which only the first line of a mapping and its VmFlags are of interest. */
#include "proc/smaps.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "proc/lines.h"

int smaps_open(struct maps_reader *smaps, const struct target *target)
{
	return lines_open(smaps, target, "smaps");
}

static bool has_flag(const char *flags, const char *flag)
{
	while (*(flags += strspn(flags, " "))) {
		if (!strncmp(flags, flag, 2))
			return true;
		flags += strcspn(flags, " ");
	}
	return false;
}

bool vm_flags_have(const char *flags, const char *any)
{
	for (; flags && *any; any += strcspn(any, " "), any += strspn(any, " "))
		if (has_flag(flags, any))
			return true;
	return false;
}

/* A line such as "Rss:     12 kB". */
static void count_line(const char *line, struct smaps_counts *counts)
{
	static const struct {
		const char *key;
		size_t at;
	} keys[] = {
		{"Rss:", offsetof(struct smaps_counts, resident)},
		{"Swap:", offsetof(struct smaps_counts, swapped)},
		{"AnonHugePages:", offsetof(struct smaps_counts, huge)},
		{"Referenced:", offsetof(struct smaps_counts, referenced)},
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strncmp(line, keys[i].key, strlen(keys[i].key)) == 0)
			*(uint64_t *)((char *)counts + keys[i].at) =
				strtoull(line + strlen(keys[i].key), NULL, 10) * KiB;
}

/* Reads on to the VmFlags of the mapping whose first line was just read; *flags is NULL when there are none. */
static int find_flags(struct maps_reader *smaps, const char **flags, struct smaps_counts *counts)
{
	static const char key[] = "VmFlags:";
	char *line;

	*flags = NULL;
	for (;;) {
		int result = lines_next(smaps, &line);

		if (result <= 0)
			return result;
		if (!strncmp(line, key, strlen(key))) {
			*flags = line + strlen(key);
			return 0;
		}
		count_line(line, counts);
		/* Keys begin with a capital, mappings with an address in small letters. */
		if (line[0] < 'A' || line[0] > 'Z') {
			lines_back(smaps, line);
			return 0;
		}
	}
}

int smaps_next(struct maps_reader *smaps, struct mapping *mapping, const char **flags)
{
	struct smaps_counts ignored;

	return smaps_next_counted(smaps, mapping, flags, &ignored);
}

int smaps_next_counted(struct maps_reader *smaps, struct mapping *mapping, const char **flags,
		       struct smaps_counts *counts)
{
	int result = maps_next(smaps, mapping);

	if (result <= 0)
		return result;
	*counts = (struct smaps_counts){0};
	result = find_flags(smaps, flags, counts);
	if (result)
		return result;
	if (!*flags && address_space_gone(smaps->fd))
		return -ESRCH;
	if (vm_flags_have(*flags, "ht"))
		mapping->kind = MAPPING_HUGETLB;
	return 1;
}

int smaps_clear_referenced(const struct target *target)
{
	_cleanup_close_ int fd = target_proc_open(target, "clear_refs", O_WRONLY);

	if (fd < 0)
		return fd;
	return write(fd, "1", 1) == 1 ? 0 : -errno;
}
