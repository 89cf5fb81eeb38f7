/* SPDX-License-Identifier: MIT */
/*
 * The ring under threads, for ThreadSanitizer too: a program thread enters, takes back, uses ids again and resizes,
 * while others reclaim and some of them die in the middle. What a region is, is in plain memory, so that a missing
 * order between the two sides is a data race.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

#include "ring_kit.h"

#define REGIONS     64
#define RECLAIMERS  2
#define OPERATIONS  500000
#define DEATHS      200 /* at least, so that the others got their turns */
#define RESIZE_EACH 5000

struct region {
	uint64_t *word; /* of its memory: its stamp while it is the program's or waits, zero when it was dropped */
	uint64_t stamp, id;
	unsigned int unmapped;
	bool entered;
};

static uvm_reclaim_ring_t ring;
static struct region regions[REGIONS];
static char *memory;
/* Odd regions; what is mapped is pretended then, so that only our own reclaimers may reclaim them. */
static bool deallocating;
static atomic_bool over;
static _Atomic unsigned int deaths;
static unsigned int leaks;

/*
 * Every use of the lock comes through here, the program's own too (ld(1), --wrap): ThreadSanitizer does not know that
 * an open file description lock orders its holders, one that redoes a batch and one that died in it. Nobody ever waits
 * for the mutex.
 */
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
int __real_ring_lock(int fd, int timeout_ms);
int __wrap_ring_lock(int fd, int timeout_ms);
void __real_ring_unlock(int fd);
void __wrap_ring_unlock(int fd);

int __wrap_ring_lock(int fd, int timeout_ms)
{
	int result = __real_ring_lock(fd, timeout_ms);

	if (!result)
		pthread_mutex_lock(&order);
	return result;
}

void __wrap_ring_unlock(int fd)
{
	pthread_mutex_unlock(&order);
	__real_ring_unlock(fd);
}

static uint64_t random_below(uint64_t *state, uint64_t bound)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (*state >> 33) % bound;
}

static uint8_t action_of(const struct region *region)
{
	return deallocating && (region - regions) % 2 ? DEALLOCATE : FREE;
}

/* Returns false when the reclaimer dies here. */
static bool reclaim_one(const struct ring_work *work, uint64_t *seed, bool mortal)
{
	struct region *region = &regions[(work->address - (uintptr_t)memory) / PAGE];

	if (mortal && !random_below(seed, 64))
		return false;
	if (work->maybe_unmapped)
		return true;
	*region->word = 0;
	if (work->action == FREE)
		return true;
	ring_unmapping(&ring->view, work->id);
	if (mortal && !random_below(seed, 64))
		return false;
	expect(!region->unmapped++);
	return !mortal || random_below(seed, 64);
}

/* Returns what ring_claim did; a reclaimer that dies leaves its batch behind. */
static int reclaim_batch(int fd, uint64_t *seed, bool mortal)
{
	struct ring_batch batch;
	unsigned int i = 0;
	int got;

	expect(!ring_lock(fd, 10000));
	got = ring_claim(&ring->view, 1 + (unsigned int)random_below(seed, RING_BATCH), &batch);
	expect(got >= 0);
	while (got && i < batch.count && reclaim_one(&batch.work[i], seed, mortal))
		i++;
	if (got && i == batch.count)
		ring_complete(&ring->view, &batch, batch.count * PAGE, 0);
	else if (got)
		deaths++;
	ring_unlock(fd);
	return got;
}

static int open_ring(void)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", ring->fd);
	fd = open(path, O_RDWR | O_CLOEXEC);
	expect(fd >= 0);
	return fd;
}

static void *reclaimer(void *argument)
{
	uint64_t seed = (uintptr_t)argument;
	int fd = open_ring();

	while (!over)
		if (!reclaim_batch(fd, &seed, true))
			sched_yield();
	close(fd);
	return NULL;
}

/* As a thread of the program does that was told to. */
static void *flusher(void *argument)
{
	while (!over) {
		uvm_reclaim_error_t error = deallocating ? 0 : uvm_reclaim_ring_flush(ring, 1);
		uint32_t capacity;

		expect(!error && !uvm_reclaim_ring_capacity(ring, &capacity) && capacity >= 1);
		expect(ring_view_check(&ring->view) == 0);
		error = deallocating ? 0 : uvm_reclaim_update_accounting(ring);
		expect(!error || error == UVM_RECLAIM_RESOURCE_SHORTAGE); /* while another one reclaims */
		usleep(500);
	}
	return argument;
}

static void settle(struct region *region, uvm_reclaim_state_t state)
{
	if (state == UVM_RECLAIM_UNRECLAIMED)
		expect(*region->word == region->stamp && !region->unmapped);
	else if (state == UVM_RECLAIM_FREED)
		expect(action_of(region) == FREE && !*region->word);
	else
		expect(state == UVM_RECLAIM_DEALLOCATED && !*region->word && region->unmapped <= 1);
	leaks += state == UVM_RECLAIM_DEALLOCATED && !region->unmapped;
	region->unmapped = 0;
	region->entered = false;
}

static bool take_back(struct region *region)
{
	uvm_reclaim_state_t state = cancel(ring, region->id, (char *)region->word, 1, action_of(region));

	if (state == UVM_RECLAIM_BUSY)
		return false;
	settle(region, state);
	return true;
}

static void put_in(struct region *region, uint64_t stamp, uint64_t wished)
{
	region->stamp = stamp;
	*region->word = stamp;
	region->id = enter_at(ring, wished, (char *)region->word, 1, action_of(region));
	region->entered = region->id != NULL_ID;
	expect(wished == NULL_ID || !region->entered || region->id == wished);
}

static void resize(int fd, uint64_t *seed)
{
	while (deallocating && shared_of(ring)->head != shared_of(ring)->tail)
		reclaim_batch(fd, seed, false);
	expect(!uvm_reclaim_ring_resize(ring, 256 * (1 + (uint32_t)random_below(seed, 4))));
}

/* Half of the time the one that is reclaimed next, where the two sides meet. */
static struct region *choose(uint64_t *seed)
{
	struct region *oldest = &regions[random_below(seed, REGIONS)];

	if (random_below(seed, 2))
		return oldest;
	for (struct region *region = regions; region < regions + REGIONS; region++)
		if (region->entered && (!oldest->entered || region->id < oldest->id))
			oldest = region;
	return oldest;
}

static void operate(int fd, uint64_t *seed)
{
	uint64_t holes[REGIONS], hole_count = 0;

	for (uint64_t step = 1; step <= OPERATIONS || deaths < DEATHS; step++) {
		struct region *region = choose(seed);
		bool again = hole_count && random_below(seed, 2);

		if (region->entered) {
			if (take_back(region) && hole_count < REGIONS)
				holes[hole_count++] = region->id;
		} else {
			put_in(region, step, again ? holes[--hole_count] : NULL_ID);
		}
		if (step % RESIZE_EACH == 0)
			resize(fd, seed);
		if (step > OPERATIONS)
			sched_yield();
	}
}

static void race(void)
{
	pthread_t threads[RECLAIMERS + 1];
	uint64_t seed = 1;
	int fd;

	ring = make_ring(256, 1024);
	memory = map_pages(REGIONS, 0);
	for (unsigned int i = 0; i < REGIONS; i++)
		regions[i].word = (uint64_t *)(memory + i * PAGE);
	fd = open_ring();
	for (unsigned int i = 0; i < RECLAIMERS; i++)
		expect(!pthread_create(&threads[i], NULL, reclaimer, (void *)(uintptr_t)(i + 1)));
	expect(!pthread_create(&threads[RECLAIMERS], NULL, flusher, NULL));
	operate(fd, &seed);
	over = true;
	for (unsigned int i = 0; i < RECLAIMERS + 1; i++)
		expect(!pthread_join(threads[i], NULL));
	resize(fd, &seed);
	for (unsigned int i = 0; i < REGIONS; i++)
		expect(!regions[i].entered || take_back(&regions[i]));
	expect(!ring_view_check(&ring->view) && shared_of(ring)->head == shared_of(ring)->tail);
	expect(leaks <= deaths && shared_of(ring)->reclaimed.entries > DEATHS);
}

static void nothing_is_lost_or_reclaimed_in_use(void)
{
	race();
}

static void nothing_is_unmapped_twice(void)
{
	deallocating = true;
	race();
}

own_process(nothing_is_lost_or_reclaimed_in_use);
own_process(nothing_is_unmapped_twice);

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_lost_or_reclaimed_in_use),
		cmocka_unit_test(test_nothing_is_unmapped_twice),
	};

	return cmocka_run_group_tests_name("ring, races", tests, NULL, NULL);
}
