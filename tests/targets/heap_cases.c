/* SPDX-License-Identifier: MIT */
/*
 * What an allocator has to do in situations that a random load does not meet: heap_cases CASE. Prints "ok", or what was
 * wrong. Made for libuvm-reclaim(7) to be preloaded.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "pattern.h"

#define BLOCKS 64
#define check(is)                                                               \
	do {                                                                    \
		if (!(is)) {                                                    \
			dprintf(1, "%s:%d: not %s\n", __func__, __LINE__, #is); \
			_exit(1);                                               \
		}                                                               \
	} while (0)

#ifndef __GLIBC__
extern int malloc_trim(size_t pad) __attribute__((weak)); /* musl has none of its own */
#endif

/* Of blocks that nobody seems to use, or has freed, the compiler thinks it knows everything. */
static void *volatile made;
static unsigned char *volatile other;
static void *(*volatile allocate)(size_t size) = malloc;
static void *(*volatile allocate_zeroed)(size_t count, size_t size) = calloc;
static void *(*volatile resize)(void *at, size_t size) = realloc;
static void *(*volatile resize_array)(void *at, size_t count, size_t size) = reallocarray;

static unsigned char *make(size_t size)
{
	unsigned char *at = allocate(size);

	made = at; /* several threads do this at once */
	check(at);
	return memset(at, 0x5a, size);
}

static size_t resident(void)
{
	char text[64] = "";
	int fd = open("/proc/self/statm", O_RDONLY);
	char *end;

	check(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	strtoul(text, &end, 10);
	return strtoul(end, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

static void limit(int what, size_t bytes)
{
	struct rlimit limit = {bytes, RLIM_INFINITY};

	check(setrlimit(what, &limit) == 0);
}

static void fill_cache(size_t size)
{
	unsigned char *blocks[BLOCKS];

	for (size_t i = 0; i < BLOCKS; i++)
		blocks[i] = make(size);
	for (size_t i = 0; i < BLOCKS; i++)
		free(blocks[i]);
}

/* Freed memory stays until somebody reclaims it; then the same addresses serve again. */
static void kept(void)
{
	size_t before = resident();
	uintptr_t low = UINTPTR_MAX;
	uintptr_t high = 0;

	fill_cache(MEBIBYTE);
	check(resident() >= before + BLOCKS * MEBIBYTE);
	malloc_trim(0);
	check(resident() <= before + 2 * MEBIBYTE);
	for (int i = 0; i < BLOCKS; i++) {
		uintptr_t at = (uintptr_t)make(MEBIBYTE);

		low = at < low ? at : low;
		high = at > high ? at : high;
	}
	check(high - low < 2 * BLOCKS * MEBIBYTE);
}

static bool all_zero(const unsigned char *at, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (at[i])
			return false;
	return true;
}

/* As it was left, reclaimed, and of a size that is not worth wiping: that must not make it resident. */
static void zeros(void)
{
	static const size_t sizes[] = {100000, MEBIBYTE, 4 * MEBIBYTE, 64 * MEBIBYTE};
	size_t before;

	for (size_t i = 0; i < 4; i++)
		for (int reclaimed = 0; reclaimed < 2; reclaimed++) {
			free(make(sizes[i]));
			if (reclaimed)
				malloc_trim(0);
			made = allocate_zeroed(1, sizes[i]);
			check(made && all_zero(made, sizes[i]));
			free(made);
		}
	malloc_trim(0);
	before = resident();
	made = allocate_zeroed(1, sizes[3]);
	check(made && resident() < before + MEBIBYTE);
}

/* What is kept is no reason for a failure, and a failure is told as ever. */
static void memory(void)
{
	fill_cache(MEBIBYTE);
	limit(RLIMIT_AS, BLOCKS * MEBIBYTE * 5 / 2);
	free(make(BLOCKS * MEBIBYTE * 3 / 2));
	errno = 0;
	made = allocate(8 * BLOCKS * MEBIBYTE);
	check(!made && errno == ENOMEM);
	errno = 0;
	made = allocate_zeroed(8 * BLOCKS, MEBIBYTE);
	check(!made && errno == ENOMEM);
	other = make(MEBIBYTE);
	made = resize(other, 8 * BLOCKS * MEBIBYTE);
	check(!made && errno == ENOMEM && other[MEBIBYTE - 1] == 0x5a);
	free(other);
}

static void errors(void)
{
	volatile size_t much = SIZE_MAX; /* or the compiler warns */
	void *at = &at;

	errno = 0;
	made = allocate(much);
	check(!made && errno == ENOMEM);
	errno = 0;
	made = allocate_zeroed(much / 2, 4);
	check(!made && errno == ENOMEM);
	errno = 0;
	made = resize_array(NULL, much / 2, 4);
	check(!made && errno == ENOMEM);
	check(posix_memalign(&at, 24, MEBIBYTE) == EINVAL && posix_memalign(&at, 2, MEBIBYTE) == EINVAL);
	check(posix_memalign(&at, 4096, much / 2) == ENOMEM && at == &at);
	made = aligned_alloc(much / 2 + 1, MEBIBYTE);
	check(!made);
	check(malloc_usable_size(NULL) == 0);
	free(NULL);
}

static void aligned(void)
{
	for (size_t alignment = 16; alignment <= 1024 * MEBIBYTE; alignment *= 2) {
		unsigned char *at = aligned_alloc(alignment, MEBIBYTE);

		check(at && (uintptr_t)at % alignment == 0);
		at[0] = at[MEBIBYTE - 1] = 1;
		free(at);
	}
	made = valloc(MEBIBYTE + 1);
	check(made && (uintptr_t)made % (size_t)sysconf(_SC_PAGESIZE) == 0);
	free(made);
}

/* Beyond what an entry of the ring can hold: unmapped at once. */
static void huge(void)
{
	size_t size = 5 * 1024 * MEBIBYTE;
	unsigned char in_core;

	other = allocate(size);
	check(other);
	other[0] = other[size - 1] = 1;
	check(malloc_usable_size(other) >= size);
	free(other);
	check(mincore(other, 1, &in_core) < 0 && errno == ENOMEM);
}

static void shrunk(void)
{
	unsigned char *at;
	unsigned char *to;

	other = make(4 * MEBIBYTE);
	to = resize(other, MEBIBYTE);
	check(to == other && to[MEBIBYTE - 1] == 0x5a);
	at = make(2 * MEBIBYTE);
	check(at + 2 * MEBIBYTE <= to || at >= to + MEBIBYTE);
	to = resize(to, 64 * MEBIBYTE);
	check(to && to[0] == 0x5a && to[MEBIBYTE - 1] == 0x5a);
	to = resize(to, 100);
	check(to && to[99] == 0x5a);
	made = resize(make(MEBIBYTE), 0);
	made = make(MEBIBYTE);
}

static void use_heap(void)
{
	for (size_t i = 1; i < 8; i++) {
		fill_cache(i * 65536);
		malloc_trim(0);
	}
}

static void wait_for(pid_t child)
{
	int status;

	check(child > 0 && waitpid(child, &status, 0) == child && status == 0);
}

/* A file that is larger than allowed is a signal, which would end the program. */
static void file_limit(void)
{
	pid_t child;

	limit(RLIMIT_FSIZE, 4096);
	use_heap();
	child = fork();
	if (child == 0) {
		use_heap();
		_exit(0);
	}
	wait_for(child);
}

static void file_limit_later(void)
{
	pid_t child;

	use_heap();
	limit(RLIMIT_FSIZE, 4096);
	for (int i = 0; i < 2; i++) {
		child = fork();
		if (child == 0) {
			use_heap();
			child = fork();
			if (child == 0) {
				use_heap();
				_exit(0);
			}
			wait_for(child);
			_exit(0);
		}
		wait_for(child);
	}
}

/* A daemon closes what it does not know, and its own files get the numbers. */
static void closed(void)
{
	int fd;

	use_heap();
	for (fd = 3; fd < 4096; fd++)
		close(fd);
	while ((fd = dup(STDOUT_FILENO)) >= 0 && fd < 1000)
		;
	use_heap();
	file_limit_later();
}

/* Children that no handler has seen. */
static void cloned(void)
{
	pid_t child;

	use_heap();
	child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (child == 0) {
		use_heap();
		_exit(0);
	}
	wait_for(child);
	use_heap();
}

static int borrow(void *argument)
{
	use_heap();
	return argument ? 1 : 0;
}

static void borrowed(void)
{
	check(borrow_memory(borrow, NULL) == 0);
	use_heap();
	check(borrow_memory(borrow, NULL) == 0);
	use_heap();
}

static void *leave_some(void *argument)
{
	unsigned char *blocks[4];

	for (size_t i = 0; i < 4; i++)
		blocks[i] = make(65536);
	for (size_t i = 0; i < 4; i++)
		free(blocks[i]);
	return argument;
}

/* What a thread kept for itself is reclaimed with the rest when it has ended. */
static void threads(void)
{
	pthread_t all[BLOCKS];
	size_t before = resident();

	for (size_t i = 0; i < BLOCKS; i++)
		check(pthread_create(&all[i], NULL, leave_some, NULL) == 0);
	for (size_t i = 0; i < BLOCKS; i++)
		pthread_join(all[i], NULL);
	malloc_trim(0);
	check(resident() < before + BLOCKS * 65536);
}

static void free_large(void)
{
	free(make(MEBIBYTE));
	made = make(2 * MEBIBYTE);
}

/* Handlers that allocate, before and after ours. */
static void handlers(void)
{
	pid_t child;

	check(pthread_atfork(free_large, free_large, free_large) == 0);
	use_heap();
	check(pthread_atfork(free_large, free_large, free_large) == 0);
	child = fork();
	if (child == 0) {
		use_heap();
		_exit(0);
	}
	wait_for(child);
	use_heap();
}

static volatile int forks;

static void fork_soon(void)
{
	const struct itimerval soon = {.it_value = {0, 20 + forks % 50}};

	check(setitimer(ITIMER_REAL, &soon, NULL) == 0);
}

static void fork_now(int signal)
{
	pid_t child = fork();

	(void)signal;
	if (child == 0)
		_exit(0);
	wait_for(child);
	forks++;
	fork_soon();
}

/* As those do that start a debugger in a handler: wherever the program was interrupted. */
static void signals(void)
{
	const struct sigaction action = {.sa_handler = fork_now};

	check(sigaction(SIGALRM, &action, NULL) == 0);
	fork_soon();
	while (forks < 300) {
		made = allocate(MEBIBYTE);
		free(made);
	}
	check(signal(SIGALRM, SIG_IGN) != SIG_ERR);
	use_heap();
}

/* Between two calls that whoever traces system calls can tell. */
static void cycles(void)
{
	free(make(MEBIBYTE));
	close(-1000);
	for (int i = 0; i < 10000; i++) {
		made = allocate(MEBIBYTE);
		((char *)made)[0] = 1;
		free(made);
	}
	close(-1001);
}

/* Freed and left for somebody else to reclaim, until a line comes. */
static void held(void)
{
	char line[16];

	fill_cache(MEBIBYTE);
	printf("ready\n");
	fflush(stdout);
	check(fgets(line, sizeof(line), stdin));
	use_heap();
}

static size_t most_mappings(void)
{
	char text[32] = "";
	int fd = open("/proc/sys/vm/max_map_count", O_RDONLY);

	check(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	return strtoul(text, NULL, 10);
}

/* Each with a hole before it, so that it is a mapping of its own; its pages are not touched. */
static void **make_apart(size_t count, size_t size)
{
	void **blocks = calloc(count, sizeof(*blocks));

	check(blocks);
	for (size_t i = 0; i < count; i++) {
		blocks[i] = aligned_alloc(4 * size, size);
		check(blocks[i]);
	}
	return blocks;
}

/* More than half of the mappings that a process may have are freed blocks; the program makes as many of its own. */
static void mappings(void)
{
	size_t count = most_mappings() / 5 * 3;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void **blocks = make_apart(count, (size_t)64 * 1024);
	char *own;

	for (size_t i = 0; i < count; i++)
		free(blocks[i]);
	own = mmap(NULL, count * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(own != MAP_FAILED);
	for (size_t i = 0; i < count; i += 2)
		check(mprotect(own + i * page, page, PROT_READ) == 0);
	free(blocks);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} cases[] = {
		{"kept", kept},
		{"zeros", zeros},
		{"memory", memory},
		{"errors", errors},
		{"aligned", aligned},
		{"huge", huge},
		{"shrunk", shrunk},
		{"file-limit", file_limit},
		{"file-limit-later", file_limit_later},
		{"closed", closed},
		{"cloned", cloned},
		{"borrowed", borrowed},
		{"threads", threads},
		{"handlers", handlers},
		{"signals", signals},
		{"cycles", cycles},
		{"held", held},
		{"mappings", mappings},
	};

	for (size_t i = 0; argc > 1 && i < sizeof(cases) / sizeof(*cases); i++)
		if (!strcmp(argv[1], cases[i].name)) {
			cases[i].run();
			printf("ok\n");
			return 0;
		}
	return 2;
}
