/* SPDX-License-Identifier: MIT */
/* The lock of all address spaces, and the end of objects. */
#include "graph/graph.h"

#include "graph/count.h"

pthread_mutex_t graph_mutex = PTHREAD_MUTEX_INITIALIZER;

static SLIST_HEAD(, deferred) all_deferred = SLIST_HEAD_INITIALIZER(all_deferred);

/* Whether the holder could be cancelled before: pthread_setcancelstate(3). */
static int cancelling;

void graph_lock(void)
{
	int before;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
	pthread_mutex_lock(&graph_mutex);
	cancelling = before;
}

void graph_unlock(void)
{
	struct deferred *next = SLIST_FIRST(&all_deferred);
	int before = cancelling;

	SLIST_INIT(&all_deferred);
	pthread_mutex_unlock(&graph_mutex);
	while (next) {
		struct deferred *deferred = next;

		next = SLIST_NEXT(deferred, next);
		deferred->run(deferred);
	}
	pthread_setcancelstate(before, NULL);
}

static void unlock_cancelled(void *before)
{
	cancelling = *(const int *)before;
	graph_unlock();
}

void graph_wait(pthread_cond_t *changed)
{
	int before = cancelling;

	pthread_cleanup_push(unlock_cancelled, &before);
	pthread_setcancelstate(before, NULL);
	pthread_cond_wait(changed, &graph_mutex);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	pthread_cleanup_pop(0);
	cancelling = before; /* others have had the lock meanwhile */
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
