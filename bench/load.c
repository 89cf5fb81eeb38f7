/* SPDX-License-Identifier: MIT */
/*
 * A program to be swapped: load BYTES builds key and value content as a key-value server has it, prints "ready START
 * END" and then does what it is told, a word a line on standard input: random, sequential, together THREADS, verify,
 * spin (until the next line). Answers are JSON, a line each.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/cleanup.h"
#include "base/size.h"

#define LINE        64
#define THREADS_MAX 64
#define ENTRY_MAX   1024
#define LOOK_EVERY  1000            /* turns of the spin between looks at standard input */
#define GAP_NS      UINT64_C(50000) /* shorter ones are not looked into */

struct load {
	unsigned char *data;
	size_t pages;
	uint64_t *sums;     /* a page */
	uint32_t *order;    /* of the random walk */
	uint64_t *touch_ns; /* of every touch */
	uint64_t seed;
	volatile uint64_t sink;
};

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/*
 * One key with its value, as a server lays them out: a table entry of three pointers, the key with a length in front,
 * an object header, and a value that is a small document. The hexadecimal parts do not compress, the names of the
 * fields do.
 */
static size_t write_entry(unsigned char *to, uint64_t number, uint64_t *seed)
{
	uint64_t at = (uintptr_t)to, pointers[3] = {at + 24, at + 64, at + (next_random(seed) & 0xffffff0)};
	uint64_t header[2] = {UINT64_C(0x7fffffff00000008) | (next_random(seed) & 0xffff00), at + 80};
	char *text = (char *)to;
	int length;

	memcpy(to, pointers, sizeof(pointers));
	snprintf(text + 24, 40, "%c:user:%012" PRIu64, 17, number);
	memcpy(to + 64, header, sizeof(header));
	length = snprintf(text + 80, ENTRY_MAX - 80,
			  "{\"id\":%" PRIu64 ",\"name\":\"user-%08" PRIx32 "\",\"email\":\"%06" PRIx32
			  "@mail.example.com\",\"active\":%s,\"score\":%" PRIu64 ",\"session\":\"%016" PRIx64
			  "\",\"tags\":[\"customer\",\"%s\",\"newsletter\"],\"seen\":\"2024-%02d-%02dT%02d:%02d:00Z\"}",
			  number, (uint32_t)next_random(seed), (uint32_t)next_random(seed) & 0xffffff,
			  next_random(seed) & 1 ? "true" : "false", next_random(seed) % 100000, next_random(seed),
			  next_random(seed) & 1 ? "trial" : "returning", (int)(next_random(seed) % 12 + 1),
			  (int)(next_random(seed) % 28 + 1), (int)(next_random(seed) % 24),
			  (int)(next_random(seed) % 60));
	return round_up(80 + (size_t)length + 1, 16);
}

static void fill(struct load *load)
{
	size_t bytes = load->pages * page_size(), used = 0;

	for (uint64_t number = 0; used + ENTRY_MAX <= bytes; number++)
		used += write_entry(load->data + used, number, &load->seed);
	for (size_t i = 0; i < load->pages; i++)
		load->sums[i] = XXH3_64bits(load->data + i * page_size(), page_size());
}

static void shuffle(struct load *load)
{
	for (size_t i = 0; i < load->pages; i++)
		load->order[i] = (uint32_t)i;
	for (size_t i = load->pages - 1; i > 0; i--) {
		size_t j = next_random(&load->seed) % (i + 1);
		uint32_t kept = load->order[i];

		load->order[i] = load->order[j];
		load->order[j] = kept;
	}
}

static void *map(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static int build(struct load *load, size_t bytes)
{
	load->pages = bytes / page_size();
	load->seed = UINT64_C(0x9e3779b97f4a7c15);
	load->data = map(bytes);
	load->sums = map(load->pages * sizeof(*load->sums));
	load->order = map(load->pages * sizeof(*load->order));
	load->touch_ns = map(load->pages * sizeof(*load->touch_ns));
	if (!load->data || !load->sums || !load->order || !load->touch_ns || !load->pages)
		return -1;
	/* Pages of 4 KiB for everybody who is compared. */
	madvise(load->data, bytes, MADV_NOHUGEPAGE);
	fill(load);
	return 0;
}

static void print_times(const char *name, uint64_t *times, size_t count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += times[i];
	qsort(times, count, sizeof(*times), compare);
	printf("\"%s\":%zu,\"%s_mean_ns\":%" PRIu64, name, count, name, count ? sum / count : 0);
	if (!count)
		printf(",\"%s_p50_ns\":null,\"%s_p99_ns\":null,\"%s_max_ns\":null", name, name, name);
	else
		printf(",\"%s_p50_ns\":%" PRIu64 ",\"%s_p99_ns\":%" PRIu64 ",\"%s_max_ns\":%" PRIu64, name,
		       times[count / 2], name, times[count * 99 / 100], name, times[count - 1]);
}

/* Faults are told from hits by the thread's own counters, read outside the time that is measured. */
static void touch_random(struct load *load)
{
	uint64_t *faulted = malloc(load->pages * sizeof(*faulted)), sum = 0;
	long major = 0, minor = 0;
	size_t count = 0;
	struct rusage before, after;

	if (!faulted) {
		puts("{\"error\":\"out of memory\"}");
		return;
	}
	memset(faulted, 0, load->pages * sizeof(*faulted));
	memset(load->touch_ns, 0, load->pages * sizeof(*load->touch_ns));
	shuffle(load);
	getrusage(RUSAGE_THREAD, &before);
	for (size_t i = 0; i < load->pages; i++) {
		volatile uint64_t *word = (volatile uint64_t *)(void *)(load->data + load->order[i] * page_size());
		uint64_t start = now_ns();

		sum += *word;
		load->touch_ns[i] = now_ns() - start;
		getrusage(RUSAGE_THREAD, &after);
		if (after.ru_majflt + after.ru_minflt != before.ru_majflt + before.ru_minflt)
			faulted[count++] = load->touch_ns[i];
		major += after.ru_majflt - before.ru_majflt;
		minor += after.ru_minflt - before.ru_minflt;
		before = after;
	}
	load->sink = sum;
	putchar('{');
	print_times("touches", load->touch_ns, load->pages);
	putchar(',');
	print_times("faults", faulted, count);
	printf(",\"major\":%ld,\"minor\":%ld}\n", major, minor);
	free(faulted);
}

static void touch_in_order(struct load *load)
{
	uint64_t start = now_ns(), sum = 0;

	for (size_t i = 0; i < load->pages; i++)
		sum += *(volatile uint64_t *)(void *)(load->data + i * page_size());
	load->sink = sum;
	printf("{\"bytes\":%zu,\"time_us\":%" PRIu64 "}\n", load->pages * page_size(), (now_ns() - start) / 1000);
}

struct toucher {
	struct load *load;
	pthread_t thread;
	size_t first, step;
	uint64_t sum;
};

static void *touch_share(void *argument)
{
	struct toucher *t = argument;

	for (size_t i = t->first; i < t->load->pages; i += t->step)
		t->sum += *(volatile uint64_t *)(void *)(t->load->data + t->load->order[i] * page_size());
	return NULL;
}

/* Each page once, at random, by so many threads. */
static void touch_together(struct load *load, size_t threads)
{
	struct toucher touchers[THREADS_MAX] = {0};
	uint64_t start;

	shuffle(load);
	start = now_ns();
	for (size_t i = 0; i < threads; i++) {
		touchers[i] = (struct toucher){.load = load, .first = i, .step = threads};
		if (pthread_create(&touchers[i].thread, NULL, touch_share, &touchers[i]))
			exit(1);
	}
	for (size_t i = 0; i < threads; i++) {
		pthread_join(touchers[i].thread, NULL);
		load->sink += touchers[i].sum;
	}
	printf("{\"pages\":%zu,\"time_us\":%" PRIu64 "}\n", load->pages, (now_ns() - start) / 1000);
}

static void verify(const struct load *load)
{
	size_t wrong = 0;

	for (size_t i = 0; i < load->pages; i++)
		wrong += XXH3_64bits(load->data + i * page_size(), page_size()) != load->sums[i];
	printf("{\"pages\":%zu,\"wrong\":%zu}\n", load->pages, wrong);
}

/* Nanoseconds that this thread has been ready but without a processor; 0 when the kernel does not count them. */
static uint64_t waited_ns(int fd)
{
	char text[LINE] = "";
	const char *second;

	if (fd < 0 || pread(fd, text, sizeof(text) - 1, 0) <= 0)
		return 0;
	second = strchr(text, ' ');
	return second ? strtoull(second, NULL, 10) : 0;
}

static bool has_input(void)
{
	struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};

	return poll(&in, 1, 0) != 0;
}

/*
 * Looks at the clock all the time: whoever stops this thread leaves a gap. So does the scheduler when it gives the
 * processor to others; that part is known from the thread's own account and taken off in the second number.
 */
static void spin(int schedstat)
{
	uint64_t last = now_ns(), waited = waited_ns(schedstat), longest = 0, longest_stop = 0;

	for (unsigned int turn = 1;; turn++) {
		uint64_t now = now_ns(), gap = now - last;

		if (gap > GAP_NS) {
			uint64_t total = waited_ns(schedstat), without = total - waited;

			waited = total;
			longest = max_u64(longest, gap);
			longest_stop = max_u64(longest_stop, gap > without ? gap - without : 0);
			now = now_ns();
		}
		if (turn % LOOK_EVERY == 0) {
			if (has_input())
				break;
			now = now_ns();
		}
		last = now;
	}
	printf("{\"gap_us\":%" PRIu64 ",\"stop_us\":%" PRIu64 ",\"waiting_counted\":%s}\n", longest / 1000,
	       longest_stop / 1000, waited ? "true" : "false");
}

static bool obey(struct load *load, const char *word, int schedstat)
{
	size_t threads;

	if (strcmp(word, "random\n") == 0)
		touch_random(load);
	else if (strcmp(word, "sequential\n") == 0)
		touch_in_order(load);
	else if (strcmp(word, "verify\n") == 0)
		verify(load);
	else if (strcmp(word, "spin\n") == 0)
		spin(schedstat);
	else if (sscanf(word, "together %zu", &threads) == 1 && threads >= 1 && threads <= THREADS_MAX)
		touch_together(load, threads);
	else if (strcmp(word, "\n") != 0)
		return false;
	return true;
}

int main(int argc, char **argv)
{
	_cleanup_close_ int schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	struct load load = {0};
	char word[LINE];
	uint64_t bytes;

	if (argc != 2 || size_parse(argv[1], &bytes) || build(&load, bytes)) {
		fprintf(stderr, "usage: load BYTES\n");
		return 2;
	}
	printf("ready 0x%" PRIxPTR " 0x%" PRIxPTR "\n", (uintptr_t)load.data,
	       (uintptr_t)load.data + load.pages * page_size());
	fflush(stdout);
	while (fgets(word, sizeof(word), stdin)) {
		if (!obey(&load, word, schedstat))
			return 2;
		fflush(stdout);
	}
	return 0;
}
