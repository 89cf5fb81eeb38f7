/* SPDX-License-Identifier: MIT */
/*
 * uvm/reclaim.h: an allocator of blocks of 64 KiB that keeps what is freed in a ring, from where it takes it back
 * without a system call, and from where others may reclaim it meanwhile: "reclaimctl flush --all -p PID". cc -o reclaim
 * reclaim.c $(pkg-config --cflags --libs uvm)
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <uvm/reclaim.h>

#define BLOCK  (64 << 10)
#define BLOCKS 1024 /* that may wait in the ring */

/* A freed block, and where it is in the ring. */
struct freed {
	void *at;
	uvm_reclaim_id_t id;
};

static uvm_reclaim_ring_t ring;
static struct freed freed[BLOCKS];     /* last in, first out: the last is most likely there yet */
static uvm_reclaim_id_t holes[BLOCKS]; /* of blocks that were taken back: without their places the ring would fill up */
static size_t count, hole_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int allocator_begin(void)
{
	uvm_reclaim_count_t capacity = uvm_reclaim_round_capacity(BLOCKS);

	return uvm_reclaim_ring_allocate(&ring, capacity, capacity);
}

static void *map_block(void)
{
	void *at = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

/* Not with the lock: it may reclaim. */
static void update_if(bool should_update)
{
	if (should_update)
		uvm_reclaim_update_accounting(ring);
}

/* A block with undefined contents. */
static void *block_take(void)
{
	bool should_update = false;
	void *at = NULL;

	pthread_mutex_lock(&lock);
	for (size_t i = count; i-- && !at;) {
		uvm_reclaim_state_t state;
		bool update = false;

		if (uvm_reclaim_try_cancel(ring, freed[i].id, (uint64_t)freed[i].at, BLOCK, UVM_RECLAIM_FREE, &state,
					   &update) != UVM_RECLAIM_SUCCESS)
			break;
		should_update |= update;
		/* One that is being reclaimed at this moment stays in the list for the next time. */
		if (uvm_reclaim_is_reusable(state)) {
			if (state == UVM_RECLAIM_UNRECLAIMED)
				holes[hole_count++] = freed[i].id;
			at = freed[i].at;
			freed[i] = freed[--count];
		}
	}
	pthread_mutex_unlock(&lock);
	update_if(should_update);
	return at ? at : map_block();
}

/* In the place of one that was taken back, unless that was reclaimed since, or in a new one. */
static bool enter_ring(struct freed *block, bool *should_update)
{
	bool again;

	do {
		again = hole_count;
		block->id = again ? holes[--hole_count] : UVM_RECLAIM_ID_NULL;
		if (uvm_reclaim_try_enter(ring, (uint64_t)block->at, BLOCK, UVM_RECLAIM_FREE, &block->id,
					  should_update) != UVM_RECLAIM_SUCCESS)
			return false;
	} while (block->id == UVM_RECLAIM_ID_NULL && again);
	return block->id != UVM_RECLAIM_ID_NULL;
}

static void block_give(void *at)
{
	struct freed block = {.at = at};
	bool should_update = false;

	pthread_mutex_lock(&lock);
	if (count < BLOCKS && enter_ring(&block, &should_update)) {
		freed[count++] = block;
		at = NULL;
	}
	pthread_mutex_unlock(&lock);
	update_if(should_update);
	if (at) /* the ring is full */
		munmap(at, BLOCK);
}

int main(void)
{
	int rc = allocator_begin();
	void *first, *again;

	if (rc < 0) {
		fprintf(stderr, "no ring: %s\n", strerror(-rc));
		return 1;
	}
	first = block_take();
	if (!first)
		return 1;
	memset(first, 1, BLOCK);
	block_give(first);
	again = block_take();
	printf("the same block: %s\n", again == first ? "yes" : "no");
	block_give(again);
	rc = uvm_reclaim_ring_flush(ring, BLOCKS); /* what a reclaimer does when memory is short */
	again = block_take();
	printf("its contents after a flush: %d\n", again ? *(char *)again : -1);
	return rc < 0 || !again;
}
