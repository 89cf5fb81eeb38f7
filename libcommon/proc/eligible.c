/* SPDX-License-Identifier: MIT */
/* Which mappings may be swapped: /proc/PID/smaps for its VmFlags. In doubt, not. */
#include <string.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "proc/smaps.h"

const char *eligibility_name(enum eligibility eligibility)
{
	static const char *const names[] = {
		[ELIGIBLE] = "eligible",
		[INELIGIBLE_FILE] = "file",
		[INELIGIBLE_SHARED] = "shared-memory",
		[INELIGIBLE_HUGETLB] = "hugetlb",
		[INELIGIBLE_KERNEL] = "kernel",
		[INELIGIBLE_DEVICE] = "device",
		[INELIGIBLE_SHADOW_STACK] = "shadow-stack",
		[INELIGIBLE_TAGGED] = "tagged",
		[INELIGIBLE_DROPPABLE] = "droppable",
		[INELIGIBLE_SEALED] = "sealed",
		[INELIGIBLE_UNKNOWN] = "unknown",
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
	return smaps_open(&reader->smaps, target);
}

void eligible_close(struct eligible_reader *reader)
{
	maps_close(&reader->smaps);
}

static bool ends_by(const void *region, const void *start)
{
	return ((const struct region *)region)->end <= *(const uint64_t *)start;
}

static bool covered_by(const struct region_vec *regions, struct region region)
{
	size_t low =
		regions ? first_not_before(regions->items, regions->count, sizeof(region), ends_by, &region.start) : 0;

	for (; regions && low < regions->count && regions->items[low].start <= region.start; low++) {
		region.start = regions->items[low].end;
		if (region.start >= region.end)
			return true;
	}
	return false;
}

/* Pages that a device writes to are pinned: the kernel moves none of them (UFFDIO_MOVE, EBUSY). */
static enum eligibility judge_flags(const char *flags)
{
	static const struct {
		const char *flag;
		enum eligibility verdict;
	} special[] = {
		{"io pf mm", INELIGIBLE_DEVICE}, {"ss", INELIGIBLE_SHADOW_STACK}, {"mt", INELIGIBLE_TAGGED},
		{"dp", INELIGIBLE_DROPPABLE},    {"sl", INELIGIBLE_SEALED},
	};

	for (size_t i = 0; i < ARRAY_SIZE(special); i++)
		if (vm_flags_have(flags, special[i].flag))
			return special[i].verdict;
	return ELIGIBLE;
}

static enum eligibility judge_kind(const struct mapping *mapping, const char *flags)
{
	if (mapping->kind == MAPPING_SPECIAL)
		return *mapping->name == '[' ? INELIGIBLE_KERNEL : INELIGIBLE_DEVICE;
	if (!flags)
		return INELIGIBLE_UNKNOWN;
	if (judge_flags(flags) != ELIGIBLE)
		return judge_flags(flags);
	if (mapping->kind == MAPPING_HUGETLB || vm_flags_have(flags, "ht"))
		return INELIGIBLE_HUGETLB;
	if (mapping->kind == MAPPING_FILE)
		return INELIGIBLE_FILE;
	return mapping->kind != MAPPING_ANON || mapping->shared ? INELIGIBLE_SHARED : ELIGIBLE;
}

static enum eligibility judge_mapping(const struct mapping *mapping, const char *flags, const struct region_vec *ours)
{
	enum eligibility verdict = judge_kind(mapping, flags);

	if (mapping_has_our_name(mapping))
		return INELIGIBLE_OURS;
	if (verdict != ELIGIBLE)
		return verdict;
	if (vm_flags_have(flags, "gd") || !strncmp(mapping->name, "[stack", strlen("[stack")))
		return INELIGIBLE_STACK;
	if (!mapping->write || !vm_flags_have(flags, "wr"))
		return INELIGIBLE_READ_ONLY;
	if (vm_flags_have(flags, "lo lf"))
		return INELIGIBLE_LOCKED;
	if (vm_flags_have(flags, "wf"))
		return INELIGIBLE_WIPEONFORK;
	if (vm_flags_have(flags, "um uw ui") && !covered_by(ours, mapping->region))
		return INELIGIBLE_USERFAULTFD;
	return ELIGIBLE;
}

int eligible_next(struct eligible_reader *reader, struct mapping *mapping, enum eligibility *verdict)
{
	const char *flags;
	int result = smaps_next_counted(&reader->smaps, mapping, &flags, &reader->counts);

	if (result <= 0)
		return result;
	*verdict = judge_mapping(mapping, flags, reader->ours);
	return 1;
}

int kept_from_children(const struct target *target, struct region_vec *kept)
{
	struct maps_reader smaps;
	struct mapping mapping;
	const char *flags;
	int result = smaps_open(&smaps, target);

	if (result)
		return result;
	while ((result = smaps_next(&smaps, &mapping, &flags)) > 0) {
		if (!vm_flags_have(flags, "wf dc"))
			continue;
		result = region_vec_push(kept, mapping.region);
		if (result < 0)
			break;
	}
	maps_close(&smaps);
	return result;
}
