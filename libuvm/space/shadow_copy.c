/* SPDX-License-Identifier: MIT */
/* Copies of pages, into shadows. */
#include "space/shadow_copy.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "graph/mappable.h"
#include "graph/resolve.h"

#define CHUNK (64 * KiB)

static bool is_zero(const char *data, size_t length)
{
	return data[0] == 0 && memcmp(data, data + 1, length - 1) == 0;
}

int shadow_copy(struct shadow *shadow, uint64_t to, struct uvm_mappable *leaf, uint64_t from, uint64_t bytes,
		enum copy_state state)
{
	_cleanup_free_ char *buffer = malloc(bytes);
	uint64_t page = page_size();
	ssize_t got;

	if (!buffer)
		return UVM_MEM_NO_MEMORY;
	got = pread(leaf->fd, buffer, bytes, (off_t)(leaf->base + from));
	if (got < 0)
		return UVM_MEM_IO_ERROR;
	shadow->leaf.paranoid |= leaf->paranoid;
	for (uint64_t i = 0; i < (uint64_t)got; i += page) {
		uint8_t *copied = &shadow->copied[(to + i) / page];
		size_t length = (size_t)min_u64(page, (uint64_t)got - i);

		if (*copied || !mappable_has(leaf, from + i))
			continue;
		if (!is_zero(buffer + i, length) &&
		    pwrite(shadow->leaf.fd, buffer + i, length, (off_t)(shadow->leaf.base + to + i)) != (ssize_t)length)
			return UVM_MEM_NO_MEMORY;
		*copied = (uint8_t)state;
	}
	if (leaf->paranoid)
		explicit_bzero(buffer, bytes);
	return 0;
}

int shadow_copy_segment(struct shadow *shadow, uint64_t to, const struct segment *segment, enum copy_state state)
{
	int rc = 0;

	for (uint64_t done = 0; rc == 0 && done < region_bytes(segment->at); done += CHUNK)
		rc = shadow_copy(shadow, to + done, segment->leaf, segment->offset + done,
				 min_u64(CHUNK, region_bytes(segment->at) - done), state);
	return rc;
}

/* False: it has none, or has one already, which does not reach so far. */
static bool use_mirror(struct shadow *shadow, struct uvm_mappable *file)
{
	struct uvm_mappable *mirror;

	for (size_t i = 0; i < shadow->mirror_count; i++)
		if (shadow->mirrors[i]->mirror_of == file)
			return false;
	mirror = mappable_mirror(file);
	if (!mirror)
		return false;
	/* It holds pointers. NOLINTNEXTLINE(bugprone-sizeof-expression) */
	if (array_reserve(&shadow->mirrors, shadow->mirror_count, &shadow->mirror_capacity) < 0) {
		mappable_unuse(mirror);
		return false;
	}
	shadow->mirrors[shadow->mirror_count++] = mirror;
	return true;
}

int shadow_copy_unwatchable(struct space_mapping *mapping, struct region region)
{
	_cleanup_segments_ struct segment_vec vec = {0};
	int rc =
		resolve_source(mapping, (struct view){.range = region, .to = region.start, .access = ALL_ACCESS}, &vec);

	for (size_t i = 0; rc == 0 && i < vec.count; i++)
		if (!mappable_watchable(vec.items[i].leaf) && vec.items[i].access & UVM_ACCESS_READ &&
		    !use_mirror(mapping->shadow, vec.items[i].leaf))
			rc = shadow_copy_segment(mapping->shadow,
						 mapping->shadow_offset + vec.items[i].at.start - mapping->at.start,
						 &vec.items[i], COPY_MADE);
	return rc;
}
