/* SPDX-License-Identifier: MIT */
/*
 * A cache of freed blocks in a reclaim ring: ringcache REGIONS BYTES [deallocate], then obeys commands on standard
 * input, a line each, and answers with a line that is "ok KEPT FREED GONE" when no block that it took back held a wrong
 * byte. The ring holds all blocks when it prints "ready".
 *
 *	check		take all blocks back, verify those that are as they were entered
 *	enter		fill the blocks that are not in the ring, and enter them
 *	use		check and enter all blocks, over and over, until the next command
 *	churn		check and enter, one block after the other, until the next command
 *	grow		touch as much new memory as the blocks are, as fast as can be
 *	lie, truth	a tail that cannot be, and the one that was
 *	lock		hold the reclaimers' lock for ever
 *	exec		become sleep(1)
 *	again		run this program anew, with a ring of its own
 */
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <uvm/reclaim.h>

#include "pattern.h"
#include "ring/layout.h"

struct block {
	char *at;
	uvm_reclaim_id_t id;
	bool entered;
	uint64_t seed; /* of its contents */
};

struct cache {
	uvm_reclaim_ring_t ring;
	uvm_reclaim_action_t action;
	struct block *blocks;
	size_t count, bytes;
	uint64_t seed;
	unsigned long kept, freed, gone;
	uint64_t tail;
};

static char *map_block(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		die("mmap");
	madvise(at, bytes, MADV_NOHUGEPAGE);
	return at;
}

static void enter(struct cache *c, struct block *block)
{
	const struct pattern pattern = {"random", ++c->seed};
	bool update = false;

	block->seed = pattern.seed;
	pattern_fill(block->at, c->bytes, &pattern);
	/* In its old place, or in a new one. */
	for (int i = 0; i < 2 && !block->entered; i++) {
		if (uvm_reclaim_try_enter(c->ring, (uintptr_t)block->at, c->bytes, c->action, &block->id, &update))
			die("enter");
		block->entered = block->id != UVM_RECLAIM_ID_NULL;
	}
	if (update)
		uvm_reclaim_update_accounting(c->ring);
}

/* Returns how many pages are wrong. */
static size_t take(struct cache *c, struct block *block)
{
	const struct pattern pattern = {"random", block->seed};
	uvm_reclaim_state_t state;
	bool update = false;

	do {
		if (uvm_reclaim_try_cancel(c->ring, block->id, (uintptr_t)block->at, c->bytes, c->action, &state,
					   &update))
			die("cancel");
	} while (state == UVM_RECLAIM_BUSY);
	block->entered = false;
	c->kept += state == UVM_RECLAIM_UNRECLAIMED;
	c->freed += state == UVM_RECLAIM_FREED;
	c->gone += state == UVM_RECLAIM_DEALLOCATED;
	if (!uvm_reclaim_is_reusable(state))
		block->at = map_block(c->bytes);
	return state == UVM_RECLAIM_UNRECLAIMED ? pattern_wrong(block->at, c->bytes, &pattern) : 0;
}

static void enter_all(struct cache *c)
{
	for (size_t i = 0; i < c->count; i++)
		if (!c->blocks[i].entered)
			enter(c, &c->blocks[i]);
}

static ssize_t check(struct cache *c)
{
	size_t wrong = 0;

	c->kept = c->freed = c->gone = 0;
	for (size_t i = 0; i < c->count; i++)
		if (c->blocks[i].entered)
			wrong += take(c, &c->blocks[i]);
	return (ssize_t)wrong;
}

static ssize_t use(struct cache *c)
{
	struct pollfd next = {.fd = 0, .events = POLLIN};
	ssize_t wrong = 0;

	while (poll(&next, 1, 0) == 0) {
		wrong += check(c);
		enter_all(c);
	}
	return wrong;
}

static ssize_t churn(struct cache *c)
{
	struct pollfd next = {.fd = 0, .events = POLLIN};
	size_t wrong = 0;

	for (size_t i = 0; c->count && poll(&next, 1, 0) == 0; i = (i + 7) % c->count) {
		if (c->blocks[i].entered)
			wrong += take(c, &c->blocks[i]);
		enter(c, &c->blocks[i]);
	}
	return (ssize_t)wrong;
}

/* As programs do that have no block of the right size. */
static ssize_t grow(const struct cache *c)
{
	for (size_t i = 0; i < c->count; i++)
		memset(map_block(c->bytes), 1, c->bytes);
	return 0;
}

/* Where the ring is mapped, as anybody who corrupts memory may find it. */
static struct ring_shared *shared_memory(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long start = 0;
	char line[512];

	while (maps && fgets(line, sizeof(line), maps) && !strstr(line, "memfd:" RING_NAME))
		;
	if (!maps || sscanf(line, "%lx-", &start) != 1)
		die("maps");
	fclose(maps);
	return (struct ring_shared *)start; // NOLINT(performance-no-int-to-ptr)
}

static ssize_t lie(struct cache *c, bool lying)
{
	struct ring_shared *shared = shared_memory();

	if (lying)
		c->tail = shared->tail;
	shared->tail = lying ? c->tail + 10 * (uint64_t)shared->capacity : c->tail;
	return 0;
}

static ssize_t lock_for_ever(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
	char link[64], path[64];

	for (int fd = 3; fd < 4096; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		memset(link, 0, sizeof(link));
		if (readlink(path, link, sizeof(link) - 1) > 0 && strstr(link, RING_NAME))
			return fcntl(open(path, O_RDWR | O_CLOEXEC), F_OFD_SETLK, &lock);
	}
	return -1;
}

static ssize_t obey(struct cache *c, const char *word, char **argv)
{
	if (!strcmp(word, "check"))
		return check(c);
	if (!strcmp(word, "use"))
		return use(c);
	if (!strcmp(word, "churn"))
		return churn(c);
	if (!strcmp(word, "grow"))
		return grow(c);
	if (!strcmp(word, "lie") || !strcmp(word, "truth"))
		return lie(c, *word == 'l');
	if (!strcmp(word, "lock"))
		return lock_for_ever();
	if (!strcmp(word, "exec"))
		return execlp("sleep", "sleep", "1000", (char *)NULL);
	if (!strcmp(word, "again"))
		return execv("/proc/self/exe", argv);
	if (strcmp(word, "enter") != 0)
		return -1;
	enter_all(c);
	return 0;
}

int main(int argc, char **argv)
{
	struct cache c = {.count = argc > 2 ? strtoull(argv[1], NULL, 0) : 0, .action = UVM_RECLAIM_FREE};
	char line[64];

	c.bytes = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
	if (!c.count || !c.bytes || c.bytes % PAGE)
		return 2;
	if (argc > 3)
		c.action = UVM_RECLAIM_DEALLOCATE;
	setvbuf(stdin, NULL, _IONBF, 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	c.blocks = calloc(c.count, sizeof(*c.blocks));
	if (!c.blocks ||
	    uvm_reclaim_ring_allocate(&c.ring, (uint32_t)c.count, uvm_reclaim_round_capacity((uint32_t)c.count)))
		die("ring");
	for (size_t i = 0; i < c.count; i++)
		c.blocks[i] = (struct block){.at = map_block(c.bytes), .id = UVM_RECLAIM_ID_NULL};
	enter_all(&c);
	printf("ready %zu %zu\n", c.count, c.bytes);
	while (fgets(line, sizeof(line), stdin)) {
		ssize_t wrong = obey(&c, strtok(line, "\n"), argv);

		if (wrong)
			printf("wrong %zd\n", wrong);
		else
			printf("ok %lu %lu %lu\n", c.kept, c.freed, c.gone);
	}
	return 0;
}
