/* SPDX-License-Identifier: MIT */
/*
 * Everything a program may do to its memory, at random: soak SEED, until a line comes on standard input. It allocates,
 * frees, moves, grows, shrinks, discards, protects, locks, advises, maps over and forks, children go on for a while and
 * fork in turn, and all of them verify what they have again and again. Two threads fault meanwhile: one walks memory of
 * its own, one answers a userfaultfd of its own. What each process does depends on the seed only. Prints "ready", then
 * "ok STEPS" or "wrong WHAT".
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pattern.h"

#define STEPS_LEAST  101 /* whatever comes on standard input: a busy machine is slow */
#define OBJECTS      64
#define PAGES_MAX    512
#define DEPTH_MAX    3 /* generations below the first process */
#define CHILDREN_MAX 2 /* at once, of each process */
#define OWN_PAGES    64
#define WALK_PAGES   1024
#define MAYBE        UINT32_C(0x80000000) /* of a version: the kernel may have freed the page, it may hold zeros */

enum kind {
	MAPPED,
	ALLOCATED,
	HEAP
};

struct object {
	char *at; /* NULL: there is none */
	size_t pages;
	uint64_t seed, first; /* of its contents; the number of its first page */
	enum kind kind;
	uint32_t versions[PAGES_MAX]; /* how often a page was written; 0: it holds zeros */
	bool locked, unforked, wiped; /* mlock, MADV_DONTFORK, MADV_WIPEONFORK */
	bool split;                   /* it may be several mappings */
};

static struct object objects[OBJECTS]; /* the first is at the end of the heap */
static uint64_t turn;
static unsigned long steps;
static int depth;
static pid_t first; /* the process that was started; without it the others have no reason to go on */
static pid_t children[CHILDREN_MAX];
static char *own; /* OWN_PAGES served by a userfaultfd of this program */
static atomic_bool walking = true;
static atomic_bool walked_wrong;

static uint64_t next(uint64_t below)
{
	turn = mix(turn);
	return turn % below;
}

static void fail(const char *what)
{
	dprintf(1, "wrong %s at step %lu of process %d, generation %d\n", what, steps, getpid(), depth);
	_exit(1);
}

static void must(bool done, const char *what)
{
	if (done)
		return;
	dprintf(1, "wrong %s: %m at step %lu of process %d\n", what, steps, getpid());
	_exit(1);
}

/* A part of an object, in pages. */
struct part {
	char *at;
	size_t from, pages;
};

static struct part whole(const struct object *o)
{
	return (struct part){o->at, 0, o->pages};
}

static struct part some(const struct object *o)
{
	size_t from = next(o->pages), pages = 1 + next(o->pages - from);

	return (struct part){o->at + from * PAGE, from, pages};
}

static bool page_is(const struct object *o, size_t i)
{
	static const struct pattern zeros = {"zeros", 0};
	uint32_t version = o->versions[i] & ~MAYBE;
	struct pattern pattern = {"mixed", o->seed + version};
	const char *base = o->at - o->first * PAGE;

	if ((!version || o->versions[i] & MAYBE) && pattern_holds_page(base, &zeros, o->first + i))
		return true;
	return version && pattern_holds_page(base, &pattern, o->first + i);
}

static void verify(const struct object *o, struct part part, const char *what)
{
	for (size_t i = part.from; i < part.from + part.pages; i++)
		if (!page_is(o, i)) {
			dprintf(2, "object %td, page %zu of %zu at %p: version %#x%s%s%s, first word %#lx\n",
				o - objects, i, o->pages, (void *)(o->at + i * PAGE), o->versions[i],
				o->wiped ? ", wiped" : "", o->unforked ? ", unforked" : "", o->locked ? ", locked" : "",
				*(unsigned long *)(o->at + i * PAGE));
			fail(what);
		}
}

static void verify_all(const char *what)
{
	for (size_t i = 0; i < OBJECTS; i++)
		if (objects[i].at)
			verify(&objects[i], whole(&objects[i]), what);
}

static void write_part(struct object *o, struct part part)
{
	for (size_t i = part.from; i < part.from + part.pages; i++) {
		struct pattern pattern = {"mixed", o->seed + (o->versions[i] = (o->versions[i] & ~MAYBE) + 1)};

		pattern_page((uint64_t *)(o->at + i * PAGE), &pattern, o->first + i);
	}
}

static void zeroed(struct object *o, struct part part)
{
	memset(o->versions + part.from, 0, part.pages * sizeof(*o->versions));
}

static char *map(size_t pages)
{
	char *at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(at != MAP_FAILED, "mmap");
	return at;
}

static char *end_of(const struct object *o)
{
	return o->at + o->pages * PAGE;
}

/* The end of the heap moved by so many bytes. Returns where it was. */
static char *break_by(ssize_t bytes)
{
	char *at = sbrk(bytes);

	must(at != (void *)-1, "sbrk");
	return at;
}

static void create(struct object *o)
{
	memset(o, 0, sizeof(*o));
	o->seed = next(UINT64_MAX) << 20;
	o->kind = o == objects ? HEAP : next(3) ? MAPPED : ALLOCATED;
	o->pages = 1 + next(o->kind == ALLOCATED ? 48 : PAGES_MAX);
	if (o->kind == HEAP) {
		break_by((ssize_t)(-(uintptr_t)sbrk(0) % PAGE));
		o->at = break_by((ssize_t)(o->pages * PAGE));
	} else {
		o->at = o->kind == MAPPED ? map(o->pages) : malloc(o->pages * PAGE);
		must(o->at, "malloc");
	}
	write_part(o, whole(o));
}

static void destroy(struct object *o)
{
	verify(o, whole(o), "freed");
	if (o->kind == ALLOCATED)
		free(o->at);
	else if (o->kind == MAPPED)
		must(munmap(o->at, o->pages * PAGE) == 0, "munmap");
	else if (sbrk(0) == end_of(o)) /* somebody else may have allocated behind it */
		break_by(-(ssize_t)(o->pages * PAGE));
	o->at = NULL;
}

/*
 * mremap(2) refuses a range of more than one mapping, after it has moved the first of them (since Linux 6.17). What was
 * one comes apart where a part of it is protected, mapped over or swapped out, and need not grow together again.
 */
static void remap(struct object *o, size_t pages, int flags, void *to)
{
	o->at = mremap(o->at, o->pages * PAGE, pages * PAGE, MREMAP_MAYMOVE | flags, to);
	must(o->at != MAP_FAILED, "mremap");
}

static void resize(struct object *o)
{
	size_t pages = 1 + next(o->kind == ALLOCATED ? 48 : PAGES_MAX);
	size_t kept = pages < o->pages ? pages : o->pages;

	if (o->kind == ALLOCATED)
		must((o->at = realloc(o->at, pages * PAGE)) != NULL, "realloc");
	else if (o->kind == HEAP && sbrk(0) == end_of(o))
		break_by(((ssize_t)pages - (ssize_t)o->pages) * (ssize_t)PAGE);
	else if (o->kind == MAPPED && !o->split)
		remap(o, pages, 0, NULL);
	else
		return;
	o->pages = pages;
	zeroed(o, (struct part){NULL, kept, pages - kept});
	verify(o, (struct part){NULL, 0, kept}, "resized");
	if (o->kind == ALLOCATED)
		write_part(o, (struct part){NULL, kept, pages - kept});
	else
		verify(o, whole(o), "grown");
}

static void relocate(struct object *o)
{
	static const struct pattern zeros = {"zeros", 0};
	size_t pages = o->pages, shorter = 1 + next(pages);
	bool leave = next(2), shrink = !leave && next(2);
	char *old = o->at, *to;

	if (o->kind != MAPPED || o->split)
		return;
	to = map(pages);
	if (next(2))
		memset(to, 1, pages * PAGE); /* replaced by what comes */
	if (shrink)
		must(munmap(to, pages * PAGE) == 0, "munmap");
	remap(o, shrink ? shorter : pages, MREMAP_FIXED | (leave ? MREMAP_DONTUNMAP : 0), to);
	if (shrink)
		o->pages = shorter;
	if (leave && next(2) && pattern_wrong(old, pages * PAGE, &zeros))
		fail("left");
	if (leave)
		must(munmap(old, pages * PAGE) == 0, "munmap");
	verify(o, next(2) ? whole(o) : some(o), "moved");
}

static void discard(struct object *o)
{
	struct part part = some(o);

	if (o->kind == ALLOCATED)
		return;
	must(madvise(part.at, part.pages * PAGE, o->locked ? 24 /* MADV_DONTNEED_LOCKED */ : MADV_DONTNEED) == 0,
	     "MADV_DONTNEED");
	zeroed(o, part);
	if (next(2))
		verify(o, part, "discarded");
}

/* After MADV_FREE a page holds what it held, or zeros, until it is written. */
static void release(struct object *o)
{
	struct part part = some(o);

	if (o->kind == ALLOCATED || o->locked)
		return;
	must(madvise(part.at, part.pages * PAGE, MADV_FREE) == 0, "MADV_FREE");
	for (size_t i = part.from; i < part.from + part.pages; i++)
		o->versions[i] |= MAYBE;
	if (next(2))
		verify(o, part, "released");
}

static void replace(struct object *o)
{
	struct part part = some(o);

	if (o->kind != MAPPED || o->locked || o->unforked || o->wiped)
		return;
	must(mmap(part.at, part.pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
		     part.at,
	     "mmap over");
	o->split = true;
	zeroed(o, part);
	if (next(2))
		verify(o, part, "replaced");
}

/* The front away: what is left keeps its contents. */
static void behead(struct object *o)
{
	size_t pages = next(o->pages);

	if (o->kind != MAPPED || !pages)
		return;
	must(munmap(o->at, pages * PAGE) == 0, "munmap of a part");
	o->at += pages * PAGE;
	o->first += pages;
	o->pages -= pages;
	memmove(o->versions, o->versions + pages, o->pages * sizeof(*o->versions));
	verify(o, some(o), "beheaded");
}

static void protect(struct object *o)
{
	struct part part = next(2) ? some(o) : whole(o);

	if (o->kind == ALLOCATED)
		return;
	o->split |= part.pages < o->pages;
	must(mprotect(part.at, part.pages * PAGE, PROT_READ) == 0, "mprotect");
	verify(o, part, "read-only");
	must(mprotect(part.at, part.pages * PAGE, PROT_NONE) == 0, "mprotect");
	must(mprotect(part.at, part.pages * PAGE, PROT_READ | PROT_WRITE) == 0, "mprotect");
	verify(o, part, "protected");
}

static void lock(struct object *o)
{
	if (o->kind == ALLOCATED)
		return;
	if (o->locked)
		must(munlock(o->at, o->pages * PAGE) == 0, "munlock");
	else
		must(mlock(o->at, o->pages * PAGE) == 0, "mlock");
	o->locked = !o->locked;
	verify(o, some(o), "locked");
}

static void lock_all(struct object *o)
{
	must(mlockall(next(2) ? MCL_CURRENT : next(2) ? MCL_FUTURE : MCL_CURRENT | MCL_FUTURE) == 0, "mlockall");
	verify(o, some(o), "locked with all");
	if (!objects[1].at)
		create(&objects[1]);
	must(munlockall() == 0, "munlockall");
	for (size_t i = 0; i < OBJECTS; i++)
		objects[i].locked = false;
}

/* Advice that leaves the contents alone. Whether the kernel takes it depends on its configuration. */
static void advise(struct object *o)
{
	static const int kinds[] = {MADV_NORMAL,
				    MADV_RANDOM,
				    MADV_SEQUENTIAL,
				    MADV_WILLNEED,
				    MADV_HUGEPAGE,
				    MADV_NOHUGEPAGE,
				    MADV_MERGEABLE,
				    MADV_UNMERGEABLE,
				    MADV_COLD,
				    MADV_PAGEOUT,
				    22 /* POPULATE_READ */,
				    23 /* POPULATE_WRITE */,
				    25 /* COLLAPSE */,
				    MADV_DONTDUMP,
				    MADV_DODUMP};
	struct part part = next(4) ? whole(o) : some(o);
	int kind = kinds[next(sizeof(kinds) / sizeof(*kinds))];
	int rc;

	if (o->kind == ALLOCATED)
		return;
	o->split |= part.pages < o->pages;
	rc = madvise(part.at, part.pages * PAGE, kind);
	must(rc == 0 || (kind != 22 && kind != 23), "MADV_POPULATE");
	verify(o, some(o), "advised");
}

static void mark(struct object *o)
{
	bool *flag = next(2) ? &o->unforked : &o->wiped;

	/*
	 * A session does not know which process a child is, and cannot see what that one keeps from its own children.
	 */
	if (o->kind != MAPPED || (depth && flag == &o->wiped))
		return;
	*flag = !*flag;
	must(madvise(o->at, o->pages * PAGE,
		     flag == &o->unforked ? (*flag ? MADV_DONTFORK : MADV_DOFORK)
					  : (*flag ? MADV_WIPEONFORK : MADV_KEEPONFORK)) == 0,
	     "advice for forks");
}

/* Through the kernel, which reads and writes the page itself. */
static void through_pipe(struct object *o)
{
	int ends[2];
	size_t i = next(o->pages);

	must(pipe(ends) == 0, "pipe");
	must(write(ends[1], o->at + i * PAGE, PAGE) == (ssize_t)PAGE, "write from swapped memory");
	must(read(ends[0], o->at + i * PAGE, PAGE) == (ssize_t)PAGE, "read into swapped memory");
	close(ends[0]);
	close(ends[1]);
	verify(o, some(o), "piped");
}

static void verify_own(struct object *o)
{
	static const struct pattern pattern = {"text", 5};
	size_t from = next(OWN_PAGES);

	(void)o;
	if (depth || !own) /* the descriptor asks for no fork events: children have no such pages */
		return;
	if (next(2))
		must(madvise(own + from * PAGE, (OWN_PAGES - from) * PAGE, MADV_DONTNEED) == 0, "MADV_DONTNEED");
	if (pattern_wrong(own, OWN_PAGES * PAGE, &pattern))
		fail("memory with a userfaultfd of its own");
}

static int verify_borrowed(void *argument)
{
	const struct object *o = argument;

	for (size_t i = 0; i < o->pages; i++)
		if (!page_is(o, i))
			return 1;
	return 0;
}

/* One that shares the address space, and one that is started from there. */
static void start_programs(struct object *o)
{
	static char *const arguments[] = {"true", NULL};
	pid_t child;
	int status;

	if (borrow_memory(verify_borrowed, o))
		fail("child that borrows the memory");
	must(posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environ) == 0, "posix_spawn");
	must(waitpid(child, &status, 0) == child && status == 0, "a spawned program");
}

static void step(void);

/* What a child finds: nothing of what is kept from it, zeros in what is wiped, and the rest. */
static void be_child(void)
{
	unsigned long life = next(4) ? 10 + next(120) : 0;

	depth++;
	memset(children, 0, sizeof(children));
	for (size_t i = 0; i < OBJECTS; i++) {
		if (objects[i].unforked)
			objects[i].at = NULL;
		else if (objects[i].wiped)
			zeroed(&objects[i], whole(&objects[i]));
		objects[i].locked = false; /* locks are not inherited */
	}
	if (!life && next(2)) {
		verify_all("child's, before it becomes another program");
		execl("/bin/true", "true", (char *)NULL);
		fail("execl");
	}
	while (life-- && kill(first, 0) == 0)
		step();
	verify_all("child's");
	_exit(0); /* its own children may go on */
}

static void ended(pid_t child, int status)
{
	for (size_t i = 0; i < CHILDREN_MAX; i++)
		if (children[i] == child)
			children[i] = 0;
	if (status) {
		dprintf(2, "child %d ended with status %#x\n", child, (unsigned int)status);
		fail("child");
	}
}

static void fork_child(struct object *o)
{
	pid_t *place = &children[next(CHILDREN_MAX)];
	uint64_t inherited = next(UINT64_MAX);
	int status;

	if (depth == DEPTH_MAX)
		return;
	if (*place) {
		must(waitpid(*place, &status, 0) == *place, "waitpid");
		ended(*place, status);
	}
	*place = fork();
	must(*place >= 0, "fork");
	if (*place == 0) {
		turn = inherited;
		be_child();
	}
	if (next(2))
		write_part(o, some(o));
	verify(o, some(o), "parent's");
}

static void step(void)
{
	static void (*const changes[])(struct object *) = {
		destroy, resize, relocate, discard, release, replace,      behead,     protect,    lock,
		advise,  advise, mark,     discard, resize,  through_pipe, verify_own, fork_child, start_programs};
	struct object *o = &objects[next(OBJECTS)];
	uint64_t what = next(40);

	steps++;
	if (!o->at)
		create(o);
	else if (what < sizeof(changes) / sizeof(*changes))
		changes[what](o);
	else if (what == 39 && next(8) == 0)
		lock_all(o);
	else if (what % 3)
		verify(o, some(o), "kept");
	else
		write_part(o, some(o));
}

/* Faults while the other thread changes the address space. */
static void *walk(void *argument)
{
	static uint64_t versions[WALK_PAGES];
	char *at = map_aligned(WALK_PAGES * PAGE);
	uint64_t way = 1;

	(void)argument;
	while (atomic_load(&walking)) {
		size_t i = (way = mix(way)) % WALK_PAGES;
		struct pattern pattern = {versions[i] ? "mixed" : "zeros", versions[i]};

		if (!pattern_holds_page(at, &pattern, i))
			atomic_store(&walked_wrong, true);
		pattern = (struct pattern){"mixed", ++versions[i]};
		pattern_page((uint64_t *)(at + i * PAGE), &pattern, i);
		usleep(200);
	}
	return NULL;
}

static void *answer_own(void *argument)
{
	static const struct pattern pattern = {"text", 5};
	static uint64_t page[PAGE / sizeof(uint64_t)];
	int fd = *(int *)argument;
	struct uffd_msg message;

	while (read(fd, &message, sizeof(message)) == (ssize_t)sizeof(message)) {
		uint64_t at = message.arg.pagefault.address & ~(PAGE - 1);
		struct uffdio_copy copy = {.dst = at, .src = (uintptr_t)page, .len = PAGE};

		pattern_page(page, &pattern, (at - (uintptr_t)own) / PAGE);
		while (ioctl(fd, UFFDIO_COPY, &copy) && errno == EAGAIN)
			copy.copy = 0;
	}
	return NULL;
}

static void make_own(int *fd)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register area = {.mode = UFFDIO_REGISTER_MODE_MISSING};

	*fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	own = map_aligned(OWN_PAGES * PAGE);
	area.range = (struct uffdio_range){(uintptr_t)own, OWN_PAGES * PAGE};
	must(*fd >= 0 && ioctl(*fd, UFFDIO_API, &api) == 0 && ioctl(*fd, UFFDIO_REGISTER, &area) == 0, "userfaultfd");
}

/* Children, and those whose own parent has ended, which come to this process then. */
static void reap(bool wait)
{
	int status;
	pid_t child;

	while ((child = waitpid(-1, &status, wait ? 0 : WNOHANG)) > 0)
		ended(child, status);
}

int main(int argc, char **argv)
{
	struct pollfd input = {.fd = 0, .events = POLLIN};
	pthread_t walker, server;
	static int own_fd;

	turn = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	first = getpid();
	must(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0, "prctl");
	make_own(&own_fd);
	must(pthread_create(&walker, NULL, walk, NULL) == 0 && pthread_create(&server, NULL, answer_own, &own_fd) == 0,
	     "pthread_create");
	for (size_t i = 0; i < OBJECTS; i++)
		create(&objects[i]);
	dprintf(1, "ready\n");
	while (steps % 16 || steps < STEPS_LEAST || poll(&input, 1, 0) == 0) {
		step();
		if (steps % 16 == 0)
			reap(false);
	}
	reap(true);
	verify_all("last");
	atomic_store(&walking, false);
	pthread_join(walker, NULL);
	if (atomic_load(&walked_wrong))
		fail("memory of another thread");
	dprintf(1, "ok %lu\n", steps);
	return 0;
}
