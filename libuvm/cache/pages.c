/* SPDX-License-Identifier: MIT */
/* The pages of a cache, and their states. */
#include "base/size.h"
#include "cache/cache.h"
#include "space/views.h"
#include "space/window.h"

int cache_region(const struct uvm_cache *cache, struct uvm_region from, struct region *region)
{
	if (!cache->cacheable)
		return UVM_MEM_INVALID_STATE;
	if (region_from_inclusive(from.start, from.end, region) || (region->start | region->end) & (page_size() - 1) ||
	    region->end > cache->mappable.bytes)
		return UVM_MEM_INVALID_ARGUMENT;
	return 0;
}

bool cache_has(const struct uvm_mappable *mappable, uint64_t offset)
{
	return ((const struct uvm_cache *)mappable)->state[offset / page_size()] == PAGE_PRESENT;
}

void cache_set_state(struct uvm_cache *cache, struct region region, enum cache_page_state state)
{
	for (uint64_t at = region.start; at < region.end; at += page_size()) {
		uint8_t *of = &cache->state[at / page_size()];
		bool poisoned = *of == PAGE_FAILED;

		cache->requested -= *of == PAGE_REQUESTED;
		*of = (uint8_t)state;
		if (poisoned && state != PAGE_FAILED)
			views_of(&cache->mappable, region_at(at, page_size()), window_show);
	}
}
