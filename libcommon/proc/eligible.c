/* Which mappings may be swapped: /proc/PID/smaps for its VmFlags. In doubt, not. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "proc/lines.h"

#define STAGING_NAME "[anon:uvmtools]"

const char *eligibility_name(enum eligibility eligibility)
{
	static const char *const names[] = {
		[ELIGIBLE] = "eligible",
		[INELIGIBLE_KIND] = "not-anonymous",
		[INELIGIBLE_SPECIAL] = "special",
		[INELIGIBLE_STACK] = "stack",
		[INELIGIBLE_READ_ONLY] = "read-only",
		[INELIGIBLE_LOCKED] = "locked",
		[INELIGIBLE_WIPEONFORK] = "wipe-on-fork",
		[INELIGIBLE_USERFAULTFD] = "userfaultfd",
		[INELIGIBLE_OURS] = "uvmtools",
	};

	return names[eligibility];
}

int eligible_open(struct eligible_reader *reader, const struct target *target, const struct region_vec *ours)
{
	reader->ours = ours;
	reader->smaps.used = reader->smaps.at = 0;
	reader->smaps.fd = target_proc_open(target, "smaps", O_RDONLY);
	return reader->smaps.fd < 0 ? reader->smaps.fd : 0;
}

void eligible_close(struct eligible_reader *reader)
{
	maps_close(&reader->smaps);
}

/* One two-letter word of "rd wr mr mw me ac sd". */
static bool has_flag(const char *flags, const char *flag)
{
	while (*(flags += strspn(flags, " "))) {
		if (!strncmp(flags, flag, 2))
			return true;
		flags += strcspn(flags, " ");
	}
	return false;
}

static bool has_any_flag(const char *flags, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (has_flag(flags, list[i]))
			return true;
	return false;
}

static bool covered_by(const struct region_vec *regions, struct region region)
{
	size_t low = 0, high = regions ? regions->count : 0;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (regions->items[middle].end <= region.start)
			low = middle + 1;
		else
			high = middle;
	}
	for (; regions && low < regions->count && regions->items[low].start <= region.start; low++) {
		region.start = regions->items[low].end;
		if (region.start >= region.end)
			return true;
	}
	return false;
}

static enum eligibility judge(const struct mapping *mapping, const char *flags, const struct region_vec *ours)
{
	/*
	 * Device memory, shadow stacks, memory with tags that a copy would lose, memory the kernel may drop, sealed memory, and what is kept
	 * from children: buffers that devices write to, and our own areas where the kernel shows no names of anonymous memory.
	 */
	static const char *const special[] = {"io", "pf", "mm", "ss", "mt", "dp", "sl", "dc"};
	static const char *const userfaultfd[] = {"um", "uw", "ui"};

	if (!strcmp(mapping->name, STAGING_NAME))
		return INELIGIBLE_OURS;
	if (!flags || mapping->kind == MAPPING_SPECIAL || has_any_flag(flags, special, ARRAY_SIZE(special)))
		return INELIGIBLE_SPECIAL;
	if (mapping->kind != MAPPING_ANON || mapping->shared || has_flag(flags, "ht"))
		return INELIGIBLE_KIND;
	if (has_flag(flags, "gd") || !strncmp(mapping->name, "[stack", strlen("[stack")))
		return INELIGIBLE_STACK;
	if (!mapping->write || !has_flag(flags, "wr"))
		return INELIGIBLE_READ_ONLY;
	if (has_flag(flags, "lo") || has_flag(flags, "lf"))
		return INELIGIBLE_LOCKED;
	if (has_flag(flags, "wf"))
		return INELIGIBLE_WIPEONFORK;
	if (has_any_flag(flags, userfaultfd, ARRAY_SIZE(userfaultfd)) && !covered_by(ours, mapping->region))
		return INELIGIBLE_USERFAULTFD;
	return ELIGIBLE;
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

int eligible_next(struct eligible_reader *reader, struct mapping *mapping, enum eligibility *verdict)
{
	const char *flags;
	int result = maps_next(&reader->smaps, mapping);

	if (result <= 0)
		return result;
	result = find_flags(&reader->smaps, &flags);
	if (result)
		return result;
	if (!flags && address_space_gone(reader->smaps.fd))
		return -ESRCH;
	if (flags && has_flag(flags, "ht"))
		mapping->kind = MAPPING_HUGETLB;
	*verdict = judge(mapping, flags, reader->ours);
	return 1;
}

int kept_from_children(const struct target *target, struct region_vec *kept)
{
	struct eligible_reader reader;
	struct mapping mapping;
	const char *flags;
	int result = eligible_open(&reader, target, NULL);

	if (result)
		return result;
	while ((result = maps_next(&reader.smaps, &mapping)) > 0) {
		result = find_flags(&reader.smaps, &flags);
		if (result == 0 && flags && (has_flag(flags, "wf") || has_flag(flags, "dc")))
			result = region_vec_push(kept, mapping.region);
		if (result < 0)
			break;
	}
	eligible_close(&reader);
	return result;
}
