/* SPDX-License-Identifier: MIT */
/*
 * From the source into the pages that threads wait for, and at the end into all others; SIGBUS where there is nothing,
 * never zeros.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "confine/confine.h"
#include "lazymap/live_fill.h"
#include "lazymap/live_state.h"
#include "pages/pages.h"
#include "proc/maps.h"
#include "uffd/uffd.h"

#define NO_MEMORY_US 1000
#define RETRY_US     50 /* while an event is unread, or its thread has not gone on */
#define FILL_MAX     GiB
#define END_AGAIN_US 1000
#define CHANGE_US    2000000 /* longer than a change of an address space takes, unless its thread is stopped in it */

static void note_error(struct live *live, const struct live_block *block, int code)
{
	struct live_shared *shared = live->shared;
	uint64_t number;

	pthread_mutex_lock(&live->queue.lock);
	number = atomic_load(&shared->errors);
	shared->list[number % LIVE_ERRORS] =
		(struct live_error){block->offset + block->valid, block->bytes - block->valid, code};
	atomic_store(&shared->errors, number + 1);
	pthread_mutex_unlock(&live->queue.lock);
	eventfd_write(live->watcher.channel, 1);
}

/* The data ends inside the block: as many pages as there are. */
static void read_pages(struct live *live, struct live_block *block)
{
	while (block->valid < block->bytes &&
	       source_read(live->source, block->offset + block->valid, block->data + block->valid, page_size()) == 0)
		block->valid += page_size();
}

static int read_block(struct live *live, struct live_block *block)
{
	uint64_t end = source_bytes(live->source);
	size_t bytes;
	int rc;

	block->offset = block->number * live->options->block_bytes;
	block->bytes = min_u64(live->options->block_bytes, region_bytes(live->region) - block->offset);
	block->valid = 0;
	bytes = min_u64(block->bytes, end - block->offset);
	memset(block->data + bytes, 0, block->bytes - bytes); /* behind the end, as with a mapped file */
	rc = source_read(live->source, block->offset, block->data, bytes);
	if (rc == -EAGAIN)
		return rc;
	if (rc == 0) {
		block->valid = block->bytes;
		atomic_fetch_add(&live->shared->counts.blocks, 1);
		atomic_fetch_add(&live->shared->counts.bytes, bytes);
		return 0;
	}
	if (rc == -ENODATA && !source_runs_commands(live->source))
		read_pages(live, block);
	note_error(live, block, rc);
	return 0;
}

int live_fill_read(struct live *live, struct live_block *block)
{
	bool force = confine_force(false);
	int rc = read_block(live, block);

	confine_force(force);
	return rc;
}

/* What is to be done with the bytes from `offset` on, and where that ends. */
static bool is_good(const struct live *live, const struct live_block *block, uint64_t offset, uint64_t *end)
{
	const struct region_vec *fail = &live->options->fail;
	uint64_t valid = block->offset + block->valid;

	*end = block->offset + block->bytes;
	if (offset < valid)
		*end = valid;
	for (size_t i = 0; i < fail->count; i++) {
		if (offset < fail->items[i].start)
			*end = min_u64(*end, fail->items[i].start);
		else if (offset < fail->items[i].end) {
			*end = min_u64(*end, fail->items[i].end);
			return false;
		}
	}
	return offset < valid;
}

/*
 * Returns 0, or -EAGAIN, -ESRCH, -ENOMEM. `most` is how much the kernel takes at a time: a mapping may have been split.
 */
static int place_run(struct live *live, int uffd, uint64_t at, const unsigned char *data, size_t bytes)
{
	size_t most = bytes;

	while (bytes) {
		size_t part = min_u64(most, bytes);
		size_t done;
		int rc = data ? uffd_copy(uffd, at, data, part, true, &done) : uffd_poison(uffd, at, part, &done);

		if (!data)
			atomic_fetch_add(&live->shared->counts.poisoned, done / page_size());
		if (rc == -ENOENT && part > page_size()) {
			most = page_size();
			continue;
		}
		if (rc == -EEXIST ||
		    rc == -ENOENT) { /* it is there, or nobody's business any more: that wakes nobody */
			uffd_wake(uffd, region_at(at + done, page_size()));
			done += page_size();
		} else if (rc < 0 && !done) {
			return rc;
		}
		at += done;
		bytes -= done;
		data = data ? data + done : NULL;
	}
	return 0;
}

static int place_here(struct live *live, const struct live_block *block, const struct live_piece *piece)
{
	int uffd = live_table(live)->uffd[piece->space];
	uint64_t piece_end = piece->offset + region_bytes(piece->region);
	uint64_t offset = max_u64(block->offset, piece->offset);
	uint64_t last = min_u64(block->offset + block->bytes, piece_end);

	while (offset < last) {
		uint64_t end;
		bool good = is_good(live, block, offset, &end);
		uint64_t at = piece->region.start + (offset - piece->offset);
		int rc;

		end = min_u64(end, last);
		rc = place_run(live, uffd, at, good ? block->data + (offset - block->offset) : NULL, end - offset);
		if (rc < 0)
			return rc;
		offset = end;
	}
	return 0;
}

static void wake_here(struct live *live, struct waiter waiter)
{
	int uffd = live_table(live)->uffd[waiter.space];

	if (uffd >= 0)
		uffd_wake(uffd, region_at(waiter.address, page_size()));
}

void live_fill_wake(struct live *live, struct waiter waiter)
{
	pthread_rwlock_rdlock(&live->events);
	wake_here(live, waiter);
	pthread_rwlock_unlock(&live->events);
}

void live_fill_poison(struct live *live, int uffd, struct region region)
{
	int rc;

	while ((rc = place_run(live, uffd, region.start, NULL, region_bytes(region))) == -EAGAIN || rc == -ENOMEM)
		usleep(rc == -EAGAIN ? RETRY_US : NO_MEMORY_US);
}

void live_fill_place(struct live *live, const struct live_block *block, struct waiter waiter)
{
	int rc;

	do {
		const struct live_piece *piece;

		pthread_rwlock_rdlock(&live->events);
		piece = live_table_find(live_table(live), waiter.space, waiter.address);
		rc = 0;
		if (piece && (waiter.address - piece->region.start + piece->offset) / live->options->block_bytes ==
				     block->number)
			rc = place_here(live, block, piece);
		else
			wake_here(live, waiter);
		pthread_rwlock_unlock(&live->events);
		if (rc == -EAGAIN || rc == -ENOMEM)
			usleep(rc == -EAGAIN ? RETRY_US : NO_MEMORY_US);
	} while (rc == -EAGAIN || rc == -ENOMEM);
}

/* From an address to the end of its mapping, so far as that shows nothing. */
static struct region stray_region(const struct live *live, struct waiter waiter)
{
	_cleanup_close_ int maps =
		waiter.space == 0 ? target_proc_open(live->target, "maps", O_RDONLY | O_CLOEXEC) : -1;
	struct region region = region_at(waiter.address, page_size());
	const struct live_table *table = live_table(live);
	struct mapping mapping;

	if (maps >= 0 && mapping_at(maps, waiter.address, &mapping) > 0)
		region.end = mapping.region.end;
	for (uint32_t i = 0; i < table->count; i++)
		if (table->pieces[i].space == waiter.space && table->pieces[i].region.start > region.start)
			region.end = min_u64(region.end, table->pieces[i].region.start);
	return region;
}

int live_fill_stray(struct live *live, struct waiter waiter, bool held_up)
{
	struct region page = region_at(waiter.address, page_size());
	size_t done;
	int rc = 0;
	int uffd;

	pthread_rwlock_rdlock(&live->events);
	uffd = live_table(live)->uffd[waiter.space];
	if (uffd >= 0) {
		bool stray = !live_table_find(live_table(live), waiter.space, waiter.address);

		if (stray)
			rc = uffd_poison(uffd, page.start, page_size(), &done);
		if (rc == -EAGAIN && held_up)
			uffd_unregister(uffd, stray_region(live, waiter));
		else if (rc != -EAGAIN)
			uffd_wake(uffd, page);
	}
	pthread_rwlock_unlock(&live->events);
	return rc == -EAGAIN && !held_up ? rc : 0;
}

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
			usleep(END_AGAIN_US);
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
		if (!is_populated(live, piece->space, region_at(waiter.address, next - offset)))
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
			usleep(END_AGAIN_US);
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
