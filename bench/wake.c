/* SPDX-License-Identifier: MIT */
/*
 * What a fault costs by where the thread that answers it runs, and where the one that faults is woken: no work is done
 * for the page but UFFDIO_COPY. Prints a record (JSON Lines) a case, and a table on standard error. Needs two
 *processors.
 *
 * chosen: the thread that answers is bound to a processor, the kernel chooses one for the other. It takes one that
 *	sleeps, for that of the waker is busy, and then each fault wakes a sleeping processor twice.
 * one: both are bound to one processor.
 * rest: as chosen, but for the wake-up the thread that answers takes SCHED_IDLE, so that its processor counts as free,
 *	and it goes where the other one was last.
 * look: as chosen, but it never sleeps.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"
#include "uffd/uffd.h"

#define PAGES  4096
#define ROUNDS 5
#define NICE   (-10)

enum way {
	CHOSEN,
	ONE,
	REST,
	LOOK,
	WAYS
};

static const char *const names[] = {"chosen", "one", "rest", "look"};

struct bench {
	enum way way;
	int uffd, first, second; /* processors */
	char *memory;
	void *page;
	_Atomic int seen_on; /* where the thread that faults was last */
	atomic_bool over;
	uint64_t ns[PAGES];
	unsigned int beside; /* faults on the processor of the thread that answers */
};

struct result {
	uint64_t p50_ns, p99_ns, mean_ns;
	unsigned int beside;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void bind_to(int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		die("sched_setaffinity");
}

static void schedule_as(int policy)
{
	if (sched_setscheduler(0, policy, &(struct sched_param){0}) < 0)
		die("sched_setscheduler");
}

static void answer(struct bench *b, uint64_t address)
{
	struct region region = region_at(address, page_size());
	size_t copied;

	if (uffd_copy(b->uffd, address, b->page, page_size(), b->way != REST, &copied) < 0)
		die("UFFDIO_COPY");
	if (b->way != REST)
		return;
	if (b->seen_on != b->first)
		bind_to(b->first = b->seen_on);
	schedule_as(SCHED_IDLE);
	uffd_wake(b->uffd, region);
	schedule_as(SCHED_OTHER);
}

static void *answer_all(void *argument)
{
	struct bench *b = argument;
	struct pollfd pollfd = {.fd = b->uffd, .events = POLLIN};

	bind_to(b->first);
	setpriority(PRIO_PROCESS, 0, NICE);
	while (!b->over) {
		struct uffd_msg message;

		if (b->way != LOOK)
			poll(&pollfd, 1, 100);
		if (uffd_read(b->uffd, &message, 1) > 0)
			answer(b, round_down(message.arg.pagefault.address, page_size()));
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The thread that faults is let on to all processors again, wherever it was before. */
static void touch_all(struct bench *b)
{
	cpu_set_t all;

	CPU_ZERO(&all);
	CPU_SET(b->first, &all);
	if (b->way != ONE)
		CPU_SET(b->second, &all);
	if (sched_setaffinity(0, sizeof(all), &all) < 0)
		die("sched_setaffinity");
	b->beside = 0;
	for (size_t i = 0; i < PAGES; i++) {
		/* In no order: 1021 and PAGES have no divisor in common. */
		volatile char *at = b->memory + i * 1021 % PAGES * page_size();
		uint64_t start;

		b->seen_on = sched_getcpu();
		b->beside += b->seen_on == b->first;
		start = clock_now_ns();
		(void)*at;
		b->ns[i] = clock_now_ns() - start;
	}
}

static struct result measure(struct bench *b)
{
	size_t bytes = PAGES * page_size();
	struct result result = {0};
	pthread_t thread;

	b->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	b->memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b->uffd < 0 || b->memory == MAP_FAILED || uffd_handshake(b->uffd, 0) < 0)
		die("userfaultfd");
	madvise(b->memory, bytes, MADV_NOHUGEPAGE);
	if (uffd_register_missing(b->uffd, region_at((uintptr_t)b->memory, bytes)) < 0)
		die("UFFDIO_REGISTER");
	b->over = false;
	if (pthread_create(&thread, NULL, answer_all, b))
		die("pthread_create");
	touch_all(b);
	b->over = true;
	pthread_join(thread, NULL);
	close(b->uffd);
	munmap(b->memory, bytes);
	for (size_t i = 0; i < PAGES; i++)
		result.mean_ns += b->ns[i];
	result.mean_ns /= PAGES;
	qsort(b->ns, PAGES, sizeof(b->ns[0]), compare);
	result.p50_ns = b->ns[PAGES / 2];
	result.p99_ns = b->ns[PAGES * 99 / 100];
	result.beside = b->beside;
	return result;
}

static int compare_results(const void *a, const void *b)
{
	return compare(&((const struct result *)a)->p50_ns, &((const struct result *)b)->p50_ns);
}

int main(void)
{
	static struct bench b;
	static struct result results[WAYS][ROUNDS];
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0 || CPU_COUNT(&set) < 2) {
		fprintf(stderr, "wake: this needs two processors\n");
		return 1;
	}
	b.page = aligned_alloc(page_size(), page_size());
	if (!b.page)
		die("malloc");
	memset(b.page, 7, page_size());
	for (int round = 0; round < ROUNDS; round++)
		for (enum way way = 0; way < WAYS; way++) {
			b.way = way;
			for (b.first = 0; !CPU_ISSET(b.first, &set);)
				b.first++;
			for (b.second = b.first + 1; !CPU_ISSET(b.second, &set);)
				b.second++;
			results[way][round] = measure(&b);
		}
	fprintf(stderr, "\nA fault by where it is answered, medians of %d rounds in turns, us\n%8s%8s%8s%8s%10s\n",
		ROUNDS, "", "p50", "p99", "mean", "beside %");
	for (enum way way = 0; way < WAYS; way++) {
		const struct result *result = &results[way][ROUNDS / 2];

		qsort(results[way], ROUNDS, sizeof(results[way][0]), compare_results);
		printf("{\"v\":1,\"type\":\"bench\",\"name\":\"wake\",\"way\":\"%s\",\"p50_ns\":%" PRIu64
		       ",\"p99_ns\":%" PRIu64 ",\"mean_ns\":%" PRIu64 ",\"beside\":%u,\"faults\":%d}\n",
		       names[way], result->p50_ns, result->p99_ns, result->mean_ns, result->beside, PAGES);
		fprintf(stderr, "%8s%8.1f%8.1f%8.1f%10.0f\n", names[way], (double)result->p50_ns / 1e3,
			(double)result->p99_ns / 1e3, (double)result->mean_ns / 1e3, result->beside * 100.0 / PAGES);
	}
	return 0;
}
