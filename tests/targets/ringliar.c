/* SPDX-License-Identifier: MIT */
/*
 * A program whose ring lies. Usage: ringliar LIE. Makes by hand what uvm_reclaim_ring_allocate would make, with one lie
 * in it, and memory with a pattern that must not be touched; prints "ready ADDRESS". The command "check" verifies the
 * memory. LIE "all-change": a thread writes random bytes into ring and entries all the time.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "pattern.h"
#include "ring/layout.h"

#define FREE       1
#define DEALLOCATE 2
#define CAPACITY   256
#define BYTES      (RING_ENTRIES + CAPACITY * sizeof(struct ring_entry))
#define KEPT       (16 * PAGE)

static struct ring_shared *ring;
static char *kept; /* never entered rightly */
static const struct pattern pattern = {"random", 11};
static int memfd;

static struct ring_entry *entry(uint64_t id)
{
	return (struct ring_entry *)((char *)ring + RING_ENTRIES) + id % CAPACITY;
}

static void enter(uint64_t address, uint64_t size, uint32_t action)
{
	struct ring_entry *at = entry(ring->tail);

	at->address = address;
	at->size = (uint32_t)size;
	at->action = action;
	ring->bytes_in += size;
	ring->entries_in++;
	ring->tail++;
}

static void make_ring(const char *lie)
{
	bool grows = strcmp(lie, "not-sealed") == 0 || strcmp(lie, "shrunk") == 0;

	memfd = memfd_create(RING_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (memfd < 0 || ftruncate(memfd, BYTES) < 0)
		die("memfd");
	ring = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	if (ring == MAP_FAILED || (!grows && fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0))
		die("map");
	ring->fixed.magic = RING_MAGIC;
	ring->fixed.version = RING_VERSION;
	ring->fixed.max_capacity = CAPACITY;
	ring->fixed.address = (uintptr_t)ring;
	ring->fixed.bytes = BYTES;
	ring->capacity = CAPACITY;
	ring->pid = (uint32_t)getpid();
}

/* Where a mapping with this name begins. */
static uint64_t find(const char *name)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long start = 0;
	char line[512];

	while (maps && fgets(line, sizeof(line), maps))
		if (strstr(line, name))
			sscanf(line, "%lx", &start);
	if (maps)
		fclose(maps);
	return start;
}

static uint64_t map(int flags, int protection)
{
	return (uintptr_t)mmap(NULL, KEPT, protection, flags, -1, 0);
}

/* Regions that a reclaimer must refuse, and one in the end that it must not. */
static void enter_lies(void)
{
	uint64_t whole = map(MAP_PRIVATE | MAP_ANONYMOUS, PROT_READ | PROT_WRITE);

	for (uint32_t action = FREE; action <= DEALLOCATE; action++) {
		enter((uintptr_t)kept + 8, PAGE, action);            /* not at a page */
		enter((uintptr_t)kept, 0, action);                   /* empty */
		enter(UINT64_C(0xffffffff81000000), PAGE, action);   /* the kernel's */
		enter(UINT64_MAX - PAGE + 1, 2 * PAGE, action);      /* beyond the end of all addresses */
		enter(UINT64_C(0x7ffffffff000), UINT32_MAX, action); /* over the end of the program's */
		enter((uintptr_t)kept, UINT32_MAX, action);          /* much more than there is */
		enter(PAGE, PAGE, action);                           /* nothing is there */
		enter((uintptr_t)ring, PAGE, action);                /* the ring */
		enter(find("[stack]"), PAGE, action);                /* a stack */
		enter(getauxval(AT_SYSINFO_EHDR), PAGE, action);     /* the vdso */
		enter((uintptr_t)enter & ~(PAGE - 1), PAGE, action); /* code */
		enter(map(MAP_SHARED | MAP_ANONYMOUS, PROT_READ), PAGE, action);
	}
	enter((uintptr_t)kept, PAGE, 3); /* an action that there is not */
	enter((uintptr_t)kept, PAGE, UINT32_MAX);
	enter(whole, KEPT, FREE);
}

/* As a reclaimer does that is killed between counting and storing head. */
static void leave_batch(void)
{
	ring->busy = 1;
	ring->reclaimed.entries = ring->entries_in;
	ring->reclaimed.bytes = ring->bytes_in;
}

static void lie_of_header(const char *lie)
{
	if (strcmp(lie, "magic") == 0)
		ring->fixed.magic++;
	else if (strcmp(lie, "version") == 0)
		ring->fixed.version++;
	else if (strcmp(lie, "max-capacity") == 0)
		ring->fixed.max_capacity = UINT32_MAX;
	else if (strcmp(lie, "no-max-capacity") == 0)
		ring->fixed.max_capacity = 0;
	else if (strcmp(lie, "bytes") == 0)
		ring->fixed.bytes = BYTES * 2;
	else if (strcmp(lie, "capacity") == 0)
		ring->capacity = CAPACITY + 1;
	else if (strcmp(lie, "no-capacity") == 0)
		ring->capacity = 0;
	else if (strcmp(lie, "tail") == 0)
		ring->tail = UINT64_C(1) << 40;
	else if (strcmp(lie, "busy") == 0)
		ring->busy = 17;
	else if (strcmp(lie, "left") == 0)
		leave_batch();
	else if (strcmp(lie, "head") == 0)
		ring->head = 99;
	else if (strcmp(lie, "address") == 0)
		ring->fixed.address += PAGE;
	else if (strcmp(lie, "pid") == 0)
		ring->pid++;
	else if (strcmp(lie, "caller") == 0)
		ring->caller = (uintptr_t)kept;
	else if (strcmp(lie, "shrunk") == 0 && ftruncate(memfd, (off_t)PAGE) < 0)
		die("shrink");
}

/* What is entered here is nobody's but the reclaimer's: random regions of an area that is not verified. */
static void *change_all(void *area)
{
	uint64_t *words = (uint64_t *)ring, random = 1;

	for (;;) {
		random = mix(random);
		switch (random % 8) {
		case 0:
			words[64 / 8 + (random >> 8) % 48] = mix(random) >> (random >> 16) % 64;
			break;
		case 1:
			ring->head = ring->busy = ring->tail - (random >> 8) % 32;
			break;
		case 2:
			ring->capacity = (uint32_t)(random >> 8) % (CAPACITY + 2);
			break;
		default:
			entry(random >> 8)->address = (uintptr_t)area + (random >> 16) % 512 * PAGE;
			entry(random >> 8)->size = (uint32_t)((random >> 32) % (8 * PAGE));
			entry(random >> 8)->action = (uint32_t)(random >> 48) % 4;
			break;
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const char *lie = argc > 1 ? argv[1] : "";
	pthread_t thread;
	char line[64];
	char *area;

	kept = mmap(NULL, KEPT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	area = mmap(NULL, 1024 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (kept == MAP_FAILED || area == MAP_FAILED)
		die("map");
	pattern_fill(kept, KEPT, &pattern);
	make_ring(lie);
	if (strcmp(lie, "entries") == 0)
		enter_lies();
	else
		enter((uintptr_t)area, PAGE, FREE);
	lie_of_header(lie);
	if (strcmp(lie, "closed") == 0)
		close(memfd);
	if (strcmp(lie, "all-change") == 0 && pthread_create(&thread, NULL, change_all, area))
		die("thread");
	printf("ready %p\n", (void *)kept);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		puts(pattern_wrong(kept, KEPT, &pattern) ? "damage" : "ok");
		fflush(stdout);
	}
	return 0;
}
