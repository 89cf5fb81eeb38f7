/* SPDX-License-Identifier: MIT */
/*
 * Two levels: gibibytes of a 48-bit address space, and the 16 KiB granules in one. What is not used of either is never
 * touched.
 */
#include "table.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

#include "block.h"

#define ADDRESS_BITS 48 /* what mmap(2) gives without being asked for more */
#define LEAF_SHIFT   30
#define ROOTS        (1U << (ADDRESS_BITS - LEAF_SHIFT))
#define GRANULES     (1U << (LEAF_SHIFT - GRANULE_SHIFT))

struct leaf {
	_Atomic(struct heap_block *) blocks[GRANULES];
};

static _Atomic(struct leaf *) roots[ROOTS];
static _Atomic(struct leaf *) spare;

static struct leaf *leaf_map(void)
{
	void *at = mmap(NULL, sizeof(struct leaf), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			-1, 0);

	return at == MAP_FAILED ? NULL : at;
}

/* The place for an address, or NULL where there never was a block. */
static _Atomic(struct heap_block *) *place_of(uintptr_t address)
{
	struct leaf *leaf;

	if (address >> ADDRESS_BITS)
		return NULL;
	leaf = atomic_load_explicit(&roots[address >> LEAF_SHIFT], memory_order_acquire);
	return leaf ? &leaf->blocks[address >> GRANULE_SHIFT & (GRANULES - 1)] : NULL;
}

struct heap_block *table_find(uintptr_t address)
{
	_Atomic(struct heap_block *) *place = place_of(address);
	struct heap_block *block = place ? atomic_load_explicit(place, memory_order_acquire) : NULL;

	return block && block_start(block) == address ? block : NULL;
}

/* Takes a leaf into the table unless another thread was first. Returns what is left over. */
static struct leaf *leaf_add(uintptr_t address, struct leaf *leaf)
{
	struct leaf *none = NULL;

	return atomic_compare_exchange_strong(&roots[address >> LEAF_SHIFT], &none, leaf) ? NULL : leaf;
}

static void leaf_unmap(struct leaf *leaf)
{
	if (leaf)
		munmap(leaf, sizeof(*leaf));
}

int table_set(struct heap_block *block)
{
	uintptr_t address = block_start(block);
	struct leaf *leaf;

	if (address >> ADDRESS_BITS)
		return -ENOMEM;
	if (!place_of(address)) {
		leaf = leaf_map();
		if (!leaf)
			return -ENOMEM;
		leaf_unmap(leaf_add(address, leaf));
	}
	atomic_store_explicit(place_of(address), block, memory_order_release);
	return 0;
}

struct leaf *table_reserve(void)
{
	struct leaf *leaf = atomic_exchange(&spare, NULL);

	return leaf ? leaf : leaf_map();
}

void table_set_reserved(struct heap_block *block, struct leaf *reserved)
{
	uintptr_t address = block_start(block);

	if (!place_of(address))
		reserved = leaf_add(address, reserved);
	atomic_store_explicit(place_of(address), block, memory_order_release);
	leaf_unmap(atomic_exchange(&spare, reserved));
}

int table_clear(struct heap_block *block)
{
	_Atomic(struct heap_block *) *place = place_of(block_start(block));
	struct heap_block *there = block;

	return place && atomic_compare_exchange_strong(place, &there, NULL) ? 0 : -ENOENT;
}
