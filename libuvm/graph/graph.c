/* SPDX-License-Identifier: MIT */
/* The lock of all address spaces, and the end of objects. */
#include "graph/graph.h"

#include "graph/count.h"

pthread_mutex_t graph_mutex = PTHREAD_MUTEX_INITIALIZER;

static SLIST_HEAD(, deferred) all_deferred = SLIST_HEAD_INITIALIZER(all_deferred);

void graph_lock(void)
{
	pthread_mutex_lock(&graph_mutex);
}

void graph_unlock(void)
{
	struct deferred *next = SLIST_FIRST(&all_deferred);

	SLIST_INIT(&all_deferred);
	pthread_mutex_unlock(&graph_mutex);
	while (next) {
		struct deferred *deferred = next;

		next = SLIST_NEXT(deferred, next);
		deferred->run(deferred);
	}
}

void graph_defer(struct deferred *deferred)
{
	SLIST_INSERT_HEAD(&all_deferred, deferred, next);
}

void mappable_put(struct uvm_mappable *mappable)
{
	if (mappable && count_down(&mappable->references))
		mappable->ops->free(mappable);
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
