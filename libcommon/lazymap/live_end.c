/* SPDX-License-Identifier: MIT */
/* The end of the service: nothing may depend on us any more. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "lazymap/live_parts.h"
#include "pages/pages.h"
#include "uffd/uffd.h"

#define FILL_MAX  GiB
#define AGAIN_US  1000
#define CHANGE_US 2000000 /* longer than a change of an address space takes, unless its thread is stopped in it */

/*
 * Whether nothing is missing from pages of the target; poisoned ones are marked where swapped ones are. Of children it
 * is not known.
 */
static bool is_populated(const struct live *live, uint32_t space, struct region span)
{
	_cleanup_close_ int pagemap = space ? -1 : target_proc_open(live->target, "pagemap", O_RDONLY | O_CLOEXEC);
	size_t pages = region_bytes(span) / page_size();
	_cleanup_free_ uint64_t *entries = calloc(pages, sizeof(*entries));

	if (pagemap < 0 || !entries || pagemap_read(pagemap, span.start, pages, entries) < 0)
		return false;
	for (size_t i = 0; i < pages; i++)
		if (!pagemap_populated(entries[i]))
			return false;
	return true;
}

/* Fills or poisons a block at one place; `filled` bytes so far. */
static void finish_block(struct live *live, struct live_block *block, struct waiter waiter, uint64_t *filled)
{
	bool fill = live->options->end == LIVE_END_FILL;
	int rc = 0;

	block->valid = 0;
	block->offset = block->number * live->options->block_bytes;
	block->bytes = min_u64(live->options->block_bytes, region_bytes(live->region) - block->offset);
	do {
		if (!fill || *filled >= FILL_MAX || atomic_load(&live->shared->hurry))
			break;
		rc = live_fill_read(live, block);
		if (rc == -EAGAIN)
			usleep(AGAIN_US);
	} while (rc == -EAGAIN);
	*filled += block->valid;
	live_fill_place(live, block, waiter);
}

static void finish_piece(struct live *live, const struct live_piece *piece, struct live_block *block, uint64_t *filled)
{
	uint64_t block_bytes = live->options->block_bytes;
	uint64_t offset = piece->offset;
	uint64_t end = offset + region_bytes(piece->region);

	while (offset < end) {
		struct waiter waiter = {piece->space, piece->region.start + (offset - piece->offset)};
		uint64_t next = min_u64(end, (offset / block_bytes + 1) * block_bytes);

		block->number = offset / block_bytes;
		if (!is_populated(live, piece->space,
				  (struct region){waiter.address, waiter.address + (next - offset)}))
			finish_block(live, block, waiter, filled);
		offset = next;
	}
}

/* Returns which table it was that everything was done for. */
static uint64_t finish_pieces(struct live *live, struct live_table *seen, struct live_block *block, uint64_t *filled)
{
	pthread_rwlock_rdlock(&live->events);
	*seen = *live_table(live);
	pthread_rwlock_unlock(&live->events);
	for (uint32_t i = 0; i < seen->count; i++)
		finish_piece(live, &seen->pieces[i], block, filled);
	return seen->applied;
}

/* What moved while it was filled may have been passed over: it has to be there. */
static void unregister_all(struct live *live, uint64_t applied)
{
	const struct live_table *table;

	pthread_rwlock_wrlock(&live->events);
	table = live_table(live);
	for (uint32_t i = 0; i < table->count; i++) {
		const struct live_piece *piece = &table->pieces[i];

		if (table->applied == applied || is_populated(live, piece->space, piece->region))
			uffd_unregister(table->uffd[piece->space], piece->region);
	}
	pthread_rwlock_unlock(&live->events);
}

static bool is_changing(const struct live *live)
{
	for (unsigned int i = 0; i < LIVE_SPACES; i++)
		if (live_table(live)->uffd[i] >= 0 && uffd_changing(live_table(live)->uffd[i]))
			return true;
	return false;
}

/* Whether programs have moved it since: it is registered at its new place then. Who is about to tell is waited for. */
static bool has_moved(struct live *live, uint64_t applied)
{
	uint64_t deadline = now_us() + CHANGE_US;
	bool changing, moved;

	do {
		pthread_rwlock_rdlock(&live->events);
		changing = is_changing(live);
		moved = live_table(live)->applied != applied;
		pthread_rwlock_unlock(&live->events);
		if (changing && !moved)
			usleep(AGAIN_US);
	} while (changing && !moved && now_us() < deadline);
	return moved;
}

/* Goes on for as long as programs move it about: what is missing would be read as zeros. */
void live_end_all(struct live *live)
{
	_cleanup_free_ struct live_table *seen = malloc(sizeof(*seen));
	_cleanup_free_ unsigned char *data = malloc(live->options->block_bytes);
	struct live_block block = {.data = data};
	uint64_t filled, applied;

	if (!seen || !data)
		return; /* readers of what is missing wait: better than zeros */
	do {
		filled = 0; /* what was read in vain, for it had moved, takes no memory */
		applied = finish_pieces(live, seen, &block, &filled);
		unregister_all(live, applied);
	} while (has_moved(live, applied));
}
