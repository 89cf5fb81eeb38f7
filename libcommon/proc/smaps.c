/* SPDX-License-Identifier: MIT */
/* /proc/PID/smaps, of which only the first line of a mapping and its VmFlags are of interest. */
#include "proc/smaps.h"

#include <errno.h>
#include <string.h>

#include "proc/lines.h"

int smaps_open(struct maps_reader *smaps, const struct target *target)
{
	return lines_open(smaps, target, "smaps");
}

bool vm_flags_have(const char *flags, const char *flag)
{
	while (*(flags += strspn(flags, " "))) {
		if (!strncmp(flags, flag, 2))
			return true;
		flags += strcspn(flags, " ");
	}
	return false;
}

/* Reads on to the VmFlags of the mapping whose first line was just read; *flags is NULL when there are none. */
static int find_flags(struct maps_reader *smaps, const char **flags)
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
		/* Keys begin with a capital, mappings with an address in small letters. */
		if (line[0] < 'A' || line[0] > 'Z') {
			lines_back(smaps, line);
			return 0;
		}
	}
}

int smaps_next(struct maps_reader *smaps, struct mapping *mapping, const char **flags)
{
	int result = maps_next(smaps, mapping);

	if (result <= 0)
		return result;
	result = find_flags(smaps, flags);
	if (result)
		return result;
	if (!*flags && address_space_gone(smaps->fd))
		return -ESRCH;
	if (*flags && vm_flags_have(*flags, "ht"))
		mapping->kind = MAPPING_HUGETLB;
	return 1;
}
