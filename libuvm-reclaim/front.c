/* SPDX-License-Identifier: MIT */
#include "front.h"

#include <pthread.h>
#include <stdbool.h>

#define BLOCKS 4

struct front {
	struct heap_block *blocks[BLOCKS]; /* oldest first */
	size_t count;
	size_t bytes;
	bool registered; /* for the end of the thread */
	bool ended;      /* what is freed after that goes to the cache */
};

static __thread struct front front;
static pthread_key_t key;
static size_t bytes_most;
static void (*evict)(struct heap_block *block); /* NULL: there are no fronts */

static struct heap_block *front_remove(size_t at)
{
	struct heap_block *block = front.blocks[at];

	front.count--;
	front.bytes -= block->size;
	for (; at < front.count; at++)
		front.blocks[at] = front.blocks[at + 1];
	return block;
}

bool front_empty(void)
{
	bool any = front.count;

	while (front.count)
		evict(front_remove(0));
	return any;
}

static void end_thread(void *argument)
{
	(void)argument;
	front.ended = true;
	front_empty();
}

static bool front_usable(void)
{
	if (!evict || front.ended)
		return false;
	if (!front.registered)
		front.registered = pthread_setspecific(key, &front) == 0;
	return front.registered;
}

bool front_put(struct heap_block *block)
{
	if (block->size > bytes_most || !front_usable())
		return false;
	while (front.count == BLOCKS || front.bytes + block->size > bytes_most)
		evict(front_remove(0));
	front.blocks[front.count++] = block;
	front.bytes += block->size;
	return true;
}

struct heap_block *front_take(size_t size, size_t alignment)
{
	size_t best = BLOCKS;

	for (size_t i = 0; i < front.count; i++) {
		const struct heap_block *block = front.blocks[i];

		if (block->size < size || block->size - size > size / 4 || block_start(block) & (alignment - 1))
			continue;
		if (best == BLOCKS || block->size <= front.blocks[best]->size)
			best = i;
	}
	return best == BLOCKS ? NULL : front_remove(best);
}

void front_start(size_t bytes, void (*to)(struct heap_block *block))
{
	bytes_most = bytes;
	evict = pthread_key_create(&key, end_thread) == 0 ? to : NULL;
}
