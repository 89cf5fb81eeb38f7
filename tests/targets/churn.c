/*
 * Allocates, frees, moves, discards, protects and forks all the time: churn SEED, until a line comes on standard input. Everything it
 * has is verified again and again. Prints "ready", then "ok STEPS" or "wrong WHAT".
 */
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pattern.h"

#define OBJECTS 96

struct object {
	char *at;
	size_t bytes;
	struct pattern pattern;
	bool mapped; /* by mmap, not malloc */
};

static struct object objects[OBJECTS];
static uint64_t turn;
static unsigned long steps;

static uint64_t next(uint64_t below)
{
	turn = mix(turn);
	return turn % below;
}

static void fail(const char *what)
{
	printf("wrong %s at step %lu\n", what, steps);
	fflush(stdout);
	_exit(1);
}

static void verify(const struct object *o, const char *what)
{
	if (pattern_wrong(o->at, o->bytes, &o->pattern))
		fail(what);
}

static void refill(struct object *o)
{
	o->pattern = (struct pattern){"mixed", next(UINT64_MAX)};
	pattern_fill(o->at, o->bytes, &o->pattern);
}

static void create(struct object *o)
{
	o->mapped = next(2);
	if (o->mapped) {
		o->bytes = (1 + next(512)) * PAGE;
		o->at = mmap(NULL, o->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (o->at == MAP_FAILED)
			die("mmap");
	} else {
		o->bytes = (1 + next(48)) * PAGE;
		o->at = malloc(o->bytes);
		if (!o->at)
			die("malloc");
	}
	refill(o);
}

static void destroy(struct object *o)
{
	verify(o, "freed");
	if (!o->mapped)
		free(o->at);
	else if (munmap(o->at, o->bytes))
		die("munmap");
	o->at = NULL;
}

static void resize(struct object *o)
{
	size_t bytes = (1 + next(512)) * PAGE, kept = bytes < o->bytes ? bytes : o->bytes;
	char *at = o->mapped ? mremap(o->at, o->bytes, bytes, MREMAP_MAYMOVE) : realloc(o->at, bytes);

	if (!at || at == MAP_FAILED)
		die("resize");
	o->at = at;
	o->bytes = kept;
	verify(o, "resized");
	o->bytes = bytes;
	refill(o);
}

static void relocate(struct object *o)
{
	void *to;

	if (!o->mapped)
		return;
	to = mmap(NULL, o->bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (to == MAP_FAILED || mremap(o->at, o->bytes, o->bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
		die("mremap");
	o->at = to;
	verify(o, "moved");
}

static void discard(struct object *o)
{
	static const struct pattern zeros = {"zeros", 0};
	struct object half = *o;

	if (!o->mapped || o->bytes < 2 * PAGE)
		return;
	half.bytes = o->bytes / PAGE / 2 * PAGE;
	if (madvise(half.at, half.bytes, MADV_DONTNEED))
		die("MADV_DONTNEED");
	half.pattern = zeros;
	verify(&half, "discarded");
	refill(o);
}

/* After MADV_FREE a page holds what it held, or zeros, until it is written. */
static void release(struct object *o)
{
	static const struct pattern zeros = {"zeros", 0};

	if (!o->mapped)
		return;
	if (madvise(o->at, o->bytes, MADV_FREE))
		die("MADV_FREE");
	for (size_t i = 0; i < o->bytes / PAGE; i++)
		if (!pattern_holds_page(o->at, &o->pattern, i) && !pattern_holds_page(o->at, &zeros, i))
			fail("released");
	refill(o);
}

static void protect(struct object *o)
{
	if (!o->mapped)
		return;
	if (mprotect(o->at, o->bytes, PROT_READ))
		die("mprotect");
	verify(o, "read-only");
	if (mprotect(o->at, o->bytes, PROT_NONE) || mprotect(o->at, o->bytes, PROT_READ | PROT_WRITE))
		die("mprotect");
	verify(o, "protected");
}

static void grow_heap(struct object *o)
{
	const struct pattern pattern = {"text", o->pattern.seed};
	size_t bytes = (1 + next(32)) * PAGE;
	char *at = sbrk((intptr_t)bytes);

	if (at == (void *)-1)
		die("sbrk");
	pattern_fill(at, bytes, &pattern);
	if (pattern_wrong(at, bytes, &pattern))
		fail("heap");
	if (sbrk(0) == at + bytes && sbrk(-(intptr_t)bytes) == (void *)-1)
		die("sbrk");
}

static void fork_child(struct object *o)
{
	pid_t child = fork();
	int status;

	if (child < 0)
		die("fork");
	if (child == 0) {
		for (size_t i = next(8); i < OBJECTS; i += 8)
			if (objects[i].at)
				verify(&objects[i], "child's");
		refill(o);
		verify(o, "child's new");
		_exit(0);
	}
	if (next(2))
		refill(o);
	if (waitpid(child, &status, 0) != child || status)
		fail("child");
	verify(o, "parent's");
}

static void step(void)
{
	static void (*const changes[])(struct object *) = {destroy, resize, relocate, discard, release, protect};
	struct object *o = &objects[next(OBJECTS)];
	uint64_t what = next(64);

	steps++;
	if (!o->at)
		create(o);
	else if (what == 0)
		fork_child(o);
	else if (what < 4)
		grow_heap(o);
	else if (what < 40)
		verify(o, "kept");
	else
		changes[what % 6](o);
}

int main(int argc, char **argv)
{
	struct pollfd input = {.fd = 0, .events = POLLIN};

	turn = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < OBJECTS; i++)
		create(&objects[i]);
	puts("ready");
	while (steps % 16 || poll(&input, 1, 0) == 0)
		step();
	for (size_t i = 0; i < OBJECTS; i++)
		if (objects[i].at)
			verify(&objects[i], "last");
	printf("ok %lu\n", steps);
	return 0;
}
