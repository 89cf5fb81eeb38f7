/* SPDX-License-Identifier: MIT */
/*
 * What UFFDIO_MOVE does inside a process. Two programs in one:
 *
 * uffd_move hold BYTES [huge]: prints "ready START ROOM" and obeys a word a line: "self" moves START to ROOM and back
 *	with calls of 2 MiB and answers with the microseconds of both; "verify" answers how many pages are wrong;
 *	"discard" empties ROOM.
 * uffd_move compact copy|move UNIT BYTES THREADS: compacts a heap of BYTES, half of it live, in steps of UNIT bytes
 *	while THREADS use it. One line of JSON.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "uffd/uffd.h"

#define CHUNK       (2 * MiB)
#define OBJECT      64 /* bytes; every other one is live */
#define THREADS_MAX 16

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int new_uffd(uint64_t features)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || uffd_handshake(fd, features))
		die("userfaultfd");
	return fd;
}

static char *map(size_t bytes, int advice)
{
	char *hole =
		mmap(NULL, bytes + CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *at = (char *)(uintptr_t)round_up((uintptr_t)hole, CHUNK);

	if (hole == MAP_FAILED || madvise(at, bytes, advice))
		die("mmap");
	return at;
}

/* Moves until all of it has moved; the kernel may ask for another try. */
static void move_all(int uffd, char *to, const char *from, size_t bytes)
{
	for (size_t done = 0, moved; done < bytes; done += moved) {
		int rc = uffd_move(uffd, (uintptr_t)to + done, (uintptr_t)from + done, bytes - done, 0, &moved);

		if (rc && rc != -EAGAIN && !moved) {
			errno = -rc;
			die("UFFDIO_MOVE");
		}
	}
}

static uint64_t timed_moves(int uffd, char *to, const char *from, size_t bytes)
{
	uint64_t begun = now_us();

	for (size_t at = 0; at < bytes; at += CHUNK)
		move_all(uffd, to + at, from + at, min_u64(CHUNK, bytes - at));
	return now_us() - begun;
}

/* Registered as the tool does it: for write protection, which nobody waits for. */
static uint64_t move_self(char *to, const char *from, size_t bytes)
{
	int uffd = new_uffd(UFFD_FEATURE_MOVE);
	uint64_t took;

	if (uffd_register(uffd, region_at((uintptr_t)to, bytes), UFFDIO_REGISTER_MODE_WP, NULL))
		die("UFFDIO_REGISTER");
	took = timed_moves(uffd, to, from, bytes);
	uffd_unregister(uffd, region_at((uintptr_t)to, bytes));
	close(uffd);
	return took;
}

static size_t wrong_pages(const char *at, size_t bytes)
{
	size_t wrong = 0;

	for (size_t i = 0; i < bytes; i += page_size())
		wrong += *(const size_t *)(at + i) != i + 1;
	return wrong;
}

static int hold(size_t bytes, bool huge)
{
	char *at = map(bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE), *room = map(bytes, MADV_NOHUGEPAGE), line[64];

	for (size_t i = 0; i < bytes; i += page_size())
		*(size_t *)(at + i) = i + 1;
	printf("ready %#lx %#lx\n", (unsigned long)at, (unsigned long)room);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "self\n")) {
			uint64_t there = move_self(room, at, bytes);

			printf("{\"there_us\":%" PRIu64 ",\"back_us\":%" PRIu64 "}\n", there,
			       move_self(at, room, bytes));
		} else if (!strcmp(line, "verify\n")) {
			printf("{\"wrong\":%zu}\n", wrong_pages(at, bytes));
		} else {
			printf("{\"wrong\":%d}\n", madvise(room, bytes, MADV_DONTNEED));
		}
		fflush(stdout);
	}
	return 0;
}

/* A heap in the middle of its compaction: old memory, half of it live, and new memory where units appear one by one. */
struct heap {
	int uffd;
	bool by_move;
	size_t unit, units; /* of new memory */
	char *old, *new;
	_Atomic unsigned char *states; /* of units: 0 to do, 1 in work, 2 done */
	atomic_size_t left;
	atomic_bool over;
	atomic_ullong uses, faults;
};

/* Gathers the live objects of two units into one place, which may be the first of them. */
static void gather(char *to, const char *from, size_t unit)
{
	for (size_t i = 0; i < unit / OBJECT; i++)
		memmove(to + i * OBJECT, from + 2 * i * OBJECT, OBJECT);
}

static void copy_all(const struct heap *heap, char *to, const char *from)
{
	for (size_t done = 0, copied; done < heap->unit; done += copied) {
		int rc = uffd_copy(heap->uffd, (uintptr_t)to + done, from + done, heap->unit - done, true, &copied);

		if (rc && rc != -EAGAIN && !copied) {
			errno = -rc;
			die("UFFDIO_COPY");
		}
	}
}

/*
 * By copy the objects are gathered in a buffer and all old memory is given back; by move they are gathered in the old
 * memory, and the pages that hold them then go.
 */
static void compact_unit(struct heap *heap, size_t number, char *buffer)
{
	char *from = heap->old + 2 * number * heap->unit, *to = heap->new + number * heap->unit;
	unsigned char todo = 0;

	if (!atomic_compare_exchange_strong(&heap->states[number], &todo, 1))
		return;
	gather(heap->by_move ? from : buffer, from, heap->unit);
	if (heap->by_move)
		move_all(heap->uffd, to, from, heap->unit);
	else
		copy_all(heap, to, buffer);
	if (madvise(heap->by_move ? from + heap->unit : from, heap->by_move ? heap->unit : 2 * heap->unit,
		    MADV_DONTNEED))
		die("madvise");
	atomic_store(&heap->states[number], 2);
	atomic_fetch_sub(&heap->left, 1);
}

/* Whoever needs a unit before its turn gets it at once. */
static void *serve(void *argument)
{
	struct heap *heap = argument;
	char *buffer = map(heap->unit, MADV_NOHUGEPAGE);
	struct uffd_msg message;

	while (!atomic_load(&heap->over)) {
		struct pollfd ready = {.fd = heap->uffd, .events = POLLIN};
		size_t number;

		if (poll(&ready, 1, 10) <= 0 || uffd_read(heap->uffd, &message, 1) != 1)
			continue;
		atomic_fetch_add(&heap->faults, 1);
		number = (message.arg.pagefault.address - (uintptr_t)heap->new) / heap->unit;
		compact_unit(heap, number, buffer);
		if (atomic_load(&heap->states[number]) == 2)
			uffd_wake(heap->uffd, region_at((uintptr_t)(heap->new + number * heap->unit), heap->unit));
	}
	return NULL;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Reads objects, mostly near the last one, as programs do. */
static void *use(void *argument)
{
	struct heap *heap = argument;
	uint64_t random = (uintptr_t)&random | 1, objects = heap->unit * heap->units / OBJECT, at = 0;

	while (!atomic_load(&heap->over)) {
		uint64_t number = next_random(&random);

		at = number % 4096 ? (at + number % 256) % objects : number / 4096 % objects;
		if (*(volatile size_t *)(heap->new + at *OBJECT) != at + 1) {
			fprintf(stderr, "object %" PRIu64 " is wrong\n", at);
			exit(1);
		}
		atomic_fetch_add_explicit(&heap->uses, 1, memory_order_relaxed);
	}
	return NULL;
}

static size_t wrong_objects(const struct heap *heap)
{
	size_t wrong = 0;

	for (size_t i = 0; i < heap->unit * heap->units / OBJECT; i++)
		wrong += *(size_t *)(heap->new + i *OBJECT) != i + 1;
	return wrong;
}

static void prepare(struct heap *heap, size_t bytes)
{
	heap->units = bytes / 2 / heap->unit;
	heap->left = heap->units;
	heap->uffd = new_uffd(UFFD_FEATURE_MOVE);
	heap->old = map(bytes, MADV_NOHUGEPAGE);
	heap->new = map(bytes / 2, MADV_NOHUGEPAGE);
	heap->states = calloc(heap->units, 1);
	if (!heap->states || uffd_register_missing(heap->uffd, region_at((uintptr_t)heap->new, bytes / 2)))
		die("heap");
	for (size_t i = 0; i < bytes / OBJECT; i++)
		*(size_t *)(heap->old + i * OBJECT) = i % 2 ? 0 : i / 2 + 1;
}

static int compact(bool by_move, size_t unit, size_t bytes, size_t threads)
{
	struct heap heap = {.by_move = by_move, .unit = unit};
	pthread_t server, users[THREADS_MAX];
	char *buffer = map(unit, MADV_NOHUGEPAGE);
	uint64_t begun, took;

	prepare(&heap, bytes);
	if (pthread_create(&server, NULL, serve, &heap))
		die("pthread_create");
	for (size_t i = 0; i < threads; i++)
		if (pthread_create(&users[i], NULL, use, &heap))
			die("pthread_create");
	begun = now_us();
	for (size_t i = 0; i < heap.units; i++)
		compact_unit(&heap, i, buffer);
	while (atomic_load(&heap.left))
		sched_yield();
	took = now_us() - begun;
	atomic_store(&heap.over, true);
	for (size_t i = 0; i < threads; i++)
		pthread_join(users[i], NULL);
	pthread_join(server, NULL);
	printf("{\"time_us\":%" PRIu64 ",\"uses\":%llu,\"faults\":%llu,\"wrong\":%zu}\n", took, heap.uses, heap.faults,
	       wrong_objects(&heap));
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t unit, bytes;
	int64_t threads;

	if (argc > 2 && !strcmp(argv[1], "hold") && !size_parse(argv[2], &bytes) && bytes && bytes % CHUNK == 0)
		return hold(bytes, argc > 3);
	if (argc == 6 && !strcmp(argv[1], "compact") && !size_parse(argv[3], &unit) && is_power_of_two(unit) &&
	    unit >= page_size() && !size_parse(argv[4], &bytes) && bytes && bytes % (2 * unit) == 0 &&
	    !number_parse(argv[5], 0, THREADS_MAX, &threads))
		return compact(!strcmp(argv[2], "move"), unit, bytes, (size_t)threads);
	fprintf(stderr, "usage: uffd_move hold BYTES [huge] | compact copy|move UNIT BYTES THREADS\n");
	return 2;
}
