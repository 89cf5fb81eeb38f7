/* SPDX-License-Identifier: MIT */
/* The lock of all address spaces, and the end of objects. */
#include "space/graph.h"

#include <stdlib.h>

#include "space/cacheable.h"
#include "space/count.h"

pthread_mutex_t graph_mutex = PTHREAD_MUTEX_INITIALIZER;

static SLIST_HEAD(, uvm_cacheable) dead = SLIST_HEAD_INITIALIZER(dead);

void graph_lock(void)
{
	pthread_mutex_lock(&graph_mutex);
}

void graph_unlock(void)
{
	struct uvm_cacheable *next = SLIST_FIRST(&dead);

	SLIST_INIT(&dead);
	pthread_mutex_unlock(&graph_mutex);
	while (next) {
		struct uvm_cacheable *cacheable = next;

		next = SLIST_NEXT(cacheable, dead);
		cacheable_free(cacheable);
	}
}

void cacheable_put(struct uvm_cacheable *cacheable)
{
	if (cacheable && count_down(&cacheable->references))
		SLIST_INSERT_HEAD(&dead, cacheable, dead);
}

static void space_free(struct uvm_space *space)
{
	window_release(space);
	for (size_t i = 0; i < space->count; i++) {
		mapping_unlink(space->table[i]);
		mapping_free(space->table[i]);
	}
	free(space->table);
	free(space);
}

void mappable_put(struct uvm_mappable *mappable)
{
	if (!mappable || !count_down(&mappable->references))
		return;
	switch (mappable->kind) {
	case KIND_SPACE:
		space_free((struct uvm_space *)mappable);
		break;
	case KIND_CACHE:
		cache_free(mappable);
		break;
	case KIND_SHADOW:
		shadow_free((struct shadow *)mappable);
		break;
	default:
		mappable_fini(mappable);
		free(mappable);
	}
}

void uvm_mappable_unref(struct uvm_mappable *mappable)
{
	graph_lock();
	mappable_put(mappable);
	graph_unlock();
}

struct uvm_mappable *uvm_mappable_ref(struct uvm_mappable *mappable)
{
	count_up(&mappable->references);
	return mappable;
}
