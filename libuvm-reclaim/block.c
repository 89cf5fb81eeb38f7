/* SPDX-License-Identifier: MIT */
/* Descriptions of blocks, and their mappings. */
#include "block.h"

#include <sys/mman.h>

#include "base/size.h"

#define SLAB (64 * KiB)

static struct heap_block *unused;
static size_t given_out;

static void push_unused(struct heap_block *block)
{
	atomic_store_explicit(&block->start, 0, memory_order_relaxed);
	block->next = unused;
	unused = block;
}

static bool slab_add(void)
{
	struct heap_block *slab = mmap(NULL, SLAB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (slab == MAP_FAILED)
		return false;
	for (size_t i = 0; i < SLAB / sizeof(*slab); i++)
		push_unused(&slab[i]);
	return true;
}

struct heap_block *block_new(void)
{
	struct heap_block *block;

	if (!unused && !slab_add())
		return NULL;
	block = unused;
	unused = block->next;
	given_out++;
	return block;
}

void block_drop(struct heap_block *block)
{
	given_out--;
	push_unused(block);
}

size_t block_count(void)
{
	return given_out;
}

uintptr_t block_map(size_t size, size_t alignment)
{
	size_t page = page_size();
	size_t slack = alignment > page ? alignment - page : 0;
	uintptr_t start;
	size_t before;
	size_t all;
	char *at;

	if (__builtin_add_overflow(size, slack, &all))
		return 0;
	at = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return 0;
	/* What the kernel does not take back is address space that nobody has touched. */
	start = round_up((uintptr_t)at, alignment);
	before = start - (uintptr_t)at;
	if (before)
		munmap(at, before);
	if (slack > before)
		munmap(at + before + size, slack - before);
	return start;
}

/* A process at its limit of mappings cannot unmap the middle of one: then at least the memory goes. */
void block_unmap(const struct heap_block *block)
{
	void *at = (void *)block_start(block); // NOLINT(performance-no-int-to-ptr)

	if (munmap(at, block->size) < 0)
		madvise(at, block->size, MADV_DONTNEED);
}
