/* SPDX-License-Identifier: MIT */
/*
 * A program with a reclaim ring that verifies all of its memory. Usage: ring COUNT BYTES free|deallocate|mixed
 * [THREADS]. Enters COUNT regions of BYTES, each with a pattern, between guards that nobody may touch; prints "ready
 * ADDRESS". Commands: "check" takes all back and tells the states, "enter" enters all again, "stop" ends the threads
 * that (if there are any) enter and take back at random.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include <uvm/reclaim.h>

#include "pattern.h"

#define SLOTS_A_THREAD 64

enum state {
	OWNED,
	ENTERED,
};

struct slot {
	char *at;
	enum state state;
	uvm_reclaim_id_t id; /* of the entry, or what may be used again */
	uvm_reclaim_action_t action;
	uint64_t seed;
};

static struct slot *slots;
static size_t count, bytes;
static uvm_reclaim_ring_t ring;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool stopping;
static _Atomic unsigned long states[5], operations;

static void damage(const struct slot *slot, const char *what)
{
	printf("damage %p %s\n", (void *)slot->at, what);
	fflush(stdout);
	_exit(3);
}

static void write_pattern(struct slot *slot)
{
	const struct pattern pattern = {"random", ++slot->seed};

	pattern_fill(slot->at, bytes, &pattern);
}

static void verify(const struct slot *slot, const char *what)
{
	const struct pattern pattern = {"random", slot->seed};

	if (pattern_wrong(slot->at, bytes, &pattern))
		damage(slot, what);
}

/* A page on either side of each region. */
static void verify_guards(void)
{
	for (size_t i = 0; i < count; i++) {
		const struct pattern guard = {"random", i};

		if (pattern_wrong(slots[i].at - PAGE, PAGE, &guard) || pattern_wrong(slots[i].at + bytes, PAGE, &guard))
			damage(&slots[i], "a guard");
	}
}

static void map_slots(void)
{
	size_t stride = bytes + 2 * PAGE;
	char *arena = mmap(NULL, count * stride, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	slots = calloc(count, sizeof(*slots));
	if (arena == MAP_FAILED || !slots)
		die("map");
	for (size_t i = 0; i < count; i++) {
		const struct pattern guard = {"random", i};

		slots[i].id = UVM_RECLAIM_ID_NULL;
		slots[i].at = arena + i * stride + PAGE;
		slots[i].seed = i << 32;
		pattern_fill(slots[i].at - PAGE, PAGE, &guard);
		pattern_fill(slots[i].at + bytes, PAGE, &guard);
		write_pattern(&slots[i]);
	}
}

static bool is_mapped(const struct slot *slot)
{
	return msync(slot->at, bytes, MS_ASYNC) == 0;
}

/* Where a reclaimer was killed before it could unmap it, the mapping may be there still; its contents are nobody's. */
static void map_again(struct slot *slot)
{
	if (mmap(slot->at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != slot->at)
		die("map again");
}

/* Under the wished id, if there is one. */
static bool enter(struct slot *slot, uvm_reclaim_id_t wished)
{
	bool update = false;
	uvm_reclaim_error_t error;

	slot->id = wished;
	pthread_mutex_lock(&lock);
	error = uvm_reclaim_try_enter(ring, (uintptr_t)slot->at, bytes, slot->action, &slot->id, &update);
	pthread_mutex_unlock(&lock);
	if (error) {
		printf("error %d on entering\n", error);
		_exit(4);
	}
	if (slot->id == UVM_RECLAIM_ID_NULL)
		return false;
	slot->state = ENTERED;
	return true;
}

/* Takes a region back; what is in it afterwards is known again. Returns the state it was in. */
static uvm_reclaim_state_t take_back(struct slot *slot)
{
	uvm_reclaim_state_t state = 0;
	bool update = false;
	uvm_reclaim_error_t error;

	pthread_mutex_lock(&lock);
	error = uvm_reclaim_try_cancel(ring, slot->id, (uintptr_t)slot->at, bytes, slot->action, &state, &update);
	pthread_mutex_unlock(&lock);
	if (error) {
		printf("error %d on taking back\n", error);
		_exit(4);
	}
	states[state]++;
	if (state == UVM_RECLAIM_BUSY)
		return state;
	if (state == UVM_RECLAIM_UNRECLAIMED)
		verify(slot, "what was not reclaimed");
	if (state == UVM_RECLAIM_DEALLOCATED)
		map_again(slot);
	if (state != UVM_RECLAIM_UNRECLAIMED)
		write_pattern(slot);
	slot->state = OWNED;
	if (state != UVM_RECLAIM_UNRECLAIMED)
		slot->id = UVM_RECLAIM_ID_NULL;
	return state;
}

static void step(struct slot *slot)
{
	operations++;
	if (slot->state == ENTERED) {
		take_back(slot);
		return;
	}
	verify(slot, "what is in use");
	if (!enter(slot, slot->id))
		enter(slot, UVM_RECLAIM_ID_NULL);
}

static void *churn(void *of)
{
	struct slot *mine = of;
	uint64_t random = (uintptr_t)of;

	while (!stopping) {
		random = mix(random);
		step(&mine[random % SLOTS_A_THREAD]);
	}
	return NULL;
}

static void check(void)
{
	unsigned long seen[5] = {0}, mapped = 0;

	for (size_t i = 0; i < count; i++) {
		struct slot *slot = &slots[i];

		if (slot->state == OWNED) {
			verify(slot, "what is in use");
			continue;
		}
		mapped += is_mapped(slot);
		seen[take_back(slot)]++;
	}
	verify_guards();
	printf("ok unreclaimed=%lu freed=%lu deallocated=%lu busy=%lu mapped=%lu\n", seen[UVM_RECLAIM_UNRECLAIMED],
	       seen[UVM_RECLAIM_FREED], seen[UVM_RECLAIM_DEALLOCATED], seen[UVM_RECLAIM_BUSY], mapped);
}

static void enter_all(void)
{
	unsigned long entered = 0;

	for (size_t i = 0; i < count; i++)
		entered += slots[i].state == OWNED && enter(&slots[i], UVM_RECLAIM_ID_NULL);
	printf("ok %lu\n", entered);
}

int main(int argc, char **argv)
{
	const char *kind = argc > 3 ? argv[3] : "";
	size_t threads = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
	pthread_t ids[16];
	char line[64];

	count = argc > 2 ? strtoul(argv[1], NULL, 10) : 0;
	bytes = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	if (!count || !bytes || bytes % PAGE || threads > 16 || (threads && count < threads * SLOTS_A_THREAD)) {
		fprintf(stderr, "usage: ring COUNT BYTES free|deallocate|mixed [THREADS]\n");
		return 2;
	}
	map_slots();
	if (uvm_reclaim_ring_allocate(&ring, (uvm_reclaim_count_t)count,
				      uvm_reclaim_round_capacity((uvm_reclaim_count_t)(4 * count))))
		die("allocate the ring");
	for (size_t i = 0; i < count; i++) {
		slots[i].action = strcmp(kind, "free") == 0 || (strcmp(kind, "mixed") == 0 && i % 2)
					  ? UVM_RECLAIM_FREE
					  : UVM_RECLAIM_DEALLOCATE;
		enter(&slots[i], UVM_RECLAIM_ID_NULL);
	}
	for (size_t i = 0; i < threads; i++)
		if (pthread_create(&ids[i], NULL, churn, &slots[i * SLOTS_A_THREAD]))
			die("thread");
	printf("ready %p\n", (void *)slots[0].at);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (strcmp(line, "check\n") == 0)
			check();
		else if (strcmp(line, "enter\n") == 0)
			enter_all();
		else if (strcmp(line, "stop\n") == 0) {
			stopping = true;
			for (size_t i = 0; i < threads; i++)
				pthread_join(ids[i], NULL);
			verify_guards();
			printf("ok %lu operations unreclaimed=%lu freed=%lu deallocated=%lu busy=%lu\n", operations,
			       states[UVM_RECLAIM_UNRECLAIMED], states[UVM_RECLAIM_FREED],
			       states[UVM_RECLAIM_DEALLOCATED], states[UVM_RECLAIM_BUSY]);
		}
		fflush(stdout);
	}
	return 0;
}
