/* SPDX-License-Identifier: MIT */
/*
 * A program that maps with MAP_FIXED where it had something before: holes PATTERN BYTES. It leaves a hole of HOLE
 * bytes. Obeys commands on standard input, a line each, and answers with a line that is "ok…" when all of its memory
 * was as it should be. Prints "ready START END".
 *
 *	check		verify everything; the answer ends with how often the hole was mapped
 *	lost		verify what can be read; the answer ends with the number of pages that give SIGBUS
 *	fill		from now on a thread maps anew in the hole, again and again
 *	take HOW	map over areas of uvmtools; the answer ends with how many there were so far. What is mapped
 *there is verified from then on. HOW is "whole" or "part": of each staging area; "moved": the same as whole, by
 *mremap(2); "control" or "frames": of the control area over HOW	the same, of each area that there is from now on
 *	taken		the answer ends with the number of areas taken
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <unistd.h>

#include "contents.h"

#define HOLE    (256 * MEBIBYTE)
#define STAGING (4 * MEBIBYTE) /* the control area is smaller */
#define MOST    4096

static _Atomic unsigned long rounds, wrong, taken;
static atomic_bool filling;
static const char *_Atomic over; /* how */
static pthread_mutex_t taking = PTHREAD_MUTEX_INITIALIZER;

static struct {
	char *at;
	size_t bytes;
} areas[MOST];

static sigjmp_buf bus;

static void on_bus(int number)
{
	siglongjmp(bus, number);
}

static size_t count_lost(struct contents *c, size_t *lost)
{
	volatile size_t bad = 0, count = 0;

	signal(SIGBUS, on_bus);
	for (volatile size_t i = 0; i < c->bytes / PAGE; i++)
		if (sigsetjmp(bus, 1))
			count++;
		else
			bad += !pattern_holds_page(c->at, &c->pattern, i);
	signal(SIGBUS, SIG_DFL);
	*lost = count;
	return bad;
}

static void map_hole(char *hole)
{
	if (mmap(hole, HOLE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) !=
	    hole)
		die("mmap");
	for (size_t i = 0; i < HOLE; i += MEBIBYTE) {
		wrong += hole[i] != 0;
		hole[i] = 7;
	}
	munmap(hole, HOLE);
	rounds++;
}

static void *map(void *at, size_t bytes, int flags)
{
	void *got = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	if (got == MAP_FAILED || !got)
		die("mmap");
	return got;
}

static void take_area(char *at, size_t bytes, const char *how)
{
	void *from;

	if (!strcmp(how, "part")) {
		at += 3 * PAGE;
		bytes = bytes / PAGE / 2 * PAGE;
	}
	if (strcmp(how, "moved") != 0) {
		memset(map(at, bytes, MAP_FIXED), 0x5a, bytes);
	} else {
		from = map(NULL, bytes, 0);
		memset(from, 0x5a, bytes);
		if (mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, at) != at)
			die("mremap");
	}
	if (taken == MOST)
		die("too many areas");
	areas[taken].at = at;
	areas[taken].bytes = bytes;
	taken++;
}

static void take_found(char *at, size_t bytes, bool executable, const char *how)
{
	bool control = !strcmp(how, "control") || (!strcmp(how, "frames") && !executable);

	if (bytes < STAGING ? control : !control && strcmp(how, "frames") != 0)
		take_area(at, bytes, how);
}

/* Areas of uvmtools are kept from children ("dc"), whether the kernel keeps their name or not; nothing else here is. */
static void take_areas(const char *how)
{
	static char text[1 << 20];
	unsigned long start = 0, end = 0, from, to;
	bool executable = false;
	char execute;
	size_t used = 0;
	ssize_t got;
	int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die("smaps");
	pthread_mutex_lock(&taking);
	while ((got = read(fd, text + used, sizeof(text) - 1 - used)) > 0)
		used += (size_t)got;
	close(fd);
	text[used] = '\0';
	for (char *line = text, *next; (next = strchr(line, '\n')); line = next + 1) {
		*next = '\0';
		if (sscanf(line, "%lx-%lx %*c%*c%c", &from, &to, &execute) == 3) {
			start = from;
			end = to;
			executable = execute == 'x';
		} else if (strstr(line, "VmFlags:") && strstr(line, " dc")) {
			take_found((char *)start, end - start, executable, how); /* NOLINT(performance-no-int-to-ptr) */
		}
	}
	pthread_mutex_unlock(&taking);
}

/* No stack of a thread may come to lie in the hole: this one is there before it. */
static void *map_on(void *argument)
{
	char *hole = mmap(NULL, HOLE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	(void)argument;
	if (hole == MAP_FAILED || munmap(hole, HOLE))
		die("hole");
	for (;;) {
		if (filling)
			map_hole(hole);
		else
			usleep(1000);
		if (over)
			take_areas(over);
	}
	return NULL;
}

static bool wrong_area(const char *at, size_t bytes)
{
	for (size_t b = 0; b < bytes; b++)
		if (at[b] != 0x5a) {
			dprintf(2, "wrong byte %02x in what was mapped at %p, %zx bytes, at %zx\n", at[b] & 0xff,
				(const void *)at, bytes, b);
			return true;
		}
	return false;
}

/* What was mapped goes out as well, and may be lost. */
static size_t wrong_areas(bool may_be_lost)
{
	volatile size_t count = 0;

	if (may_be_lost)
		signal(SIGBUS, on_bus);
	for (volatile size_t i = 0; i < taken; i++)
		for (volatile size_t b = 0; b < areas[i].bytes; b += PAGE)
			if (!sigsetjmp(bus, 1) && wrong_area(areas[i].at + b, PAGE))
				count++;
	signal(SIGBUS, SIG_DFL);
	return count;
}

/* Returns what is wrong; *lost: pages that give SIGBUS. */
static size_t obey(struct contents *c, const char *word, const char *argument, size_t *lost)
{
	size_t bad = wrong;

	if (!strcmp(word, "fill"))
		filling = true;
	else if (!strcmp(word, "over"))
		over = strdup(argument);
	else if (!strcmp(word, "take"))
		take_areas(argument);
	else if (!strcmp(word, "lost"))
		bad += count_lost(c, lost) + wrong_areas(true);
	else if (!strcmp(word, "check"))
		bad += wrong_pages(c) + wrong_areas(false);
	return bad;
}

int main(int argc, char **argv)
{
	struct contents c = contents_start(argc, argv);
	pthread_t thread;
	char line[64];

	if (pthread_create(&thread, NULL, map_on, NULL))
		die("pthread_create");
	while (fgets(line, sizeof(line), stdin)) {
		char *word = strtok(line, " \n"), *argument = strtok(NULL, " \n");
		size_t lost = 0;
		size_t bad = word ? obey(&c, word, argument ? argument : "whole", &lost) : 1;

		if (bad)
			printf("wrong %zu\n", bad);
		else
			printf("ok %lu\n", !strcmp(word, "lost") ? lost : !strncmp(word, "take", 4) ? taken : rounds);
	}
	return 0;
}
