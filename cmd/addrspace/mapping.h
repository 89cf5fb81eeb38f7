/* SPDX-License-Identifier: MIT */
/* A mapping as a record: what all verbs of addrspace say of one. */
#pragma once

#include <jansson.h>

#include "addrspace.h"
#include "proc/maps.h"

/* ["read","write","exec"], those that there are. The caller owns it. */
json_t *protection_names(bool readable, bool writable, bool executable);

/*
 * The region record of the part of a mapping that lies in `part`: its process, object, name, inode, offset, protection
 * and flags; the whole mapping as vma_start and vma_end where that is more. The caller owns it; NULL when out of
 * memory.
 */
json_t *mapping_record(const struct target *target, const struct mapping *mapping, struct region part);

/* The offset into the object at an address of the mapping, in bytes. Anonymous memory has none: mapping_has_offset. */
uint64_t mapping_offset(const struct mapping *mapping, uint64_t address);
bool mapping_has_offset(const struct mapping *mapping);
