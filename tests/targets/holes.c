/*
 * A program that maps with MAP_FIXED where it had something before: holes PATTERN BYTES. It leaves a hole of HOLE
 * bytes. Obeys commands on standard input, a line each, and answers with a line that is "ok…" when all of its memory
 * was as it should be. Prints "ready START END".
 *
 *	check		verify everything; the answer ends with how often the hole was mapped
 *	lost		verify what can be read; the answer ends with the number of pages that give SIGBUS
 *	fill		from now on a thread maps anew in the hole, again and again
 *	over		as fill, and map over every area of uvmtools, once each; what is mapped there is verified
 *	taken		the answer ends with the number of those
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <unistd.h>

#include "contents.h"

#define HOLE (256 * MEBIBYTE)
#define MOST 64

static _Atomic unsigned long rounds, wrong, taken;
static atomic_bool filling, over;

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

static void take_area(char *at, size_t bytes)
{
	if (mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != at)
		die("mmap");
	memset(at, 0x5a, bytes);
	areas[taken].at = at;
	areas[taken].bytes = bytes;
	taken++;
}

/* Areas of uvmtools are kept from children ("dc"), whether the kernel keeps their name or not; nothing else here is. */
static void take_areas(void)
{
	static char text[1 << 20];
	unsigned long start = 0, end = 0;
	size_t used = 0;
	ssize_t got;
	int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die("smaps");
	while ((got = read(fd, text + used, sizeof(text) - 1 - used)) > 0)
		used += (size_t)got;
	close(fd);
	text[used] = '\0';
	for (char *line = text, *next; (next = strchr(line, '\n')); line = next + 1) {
		*next = '\0';
		if (sscanf(line, "%lx-%lx", &start, &end) != 2 && strstr(line, "VmFlags:") && strstr(line, " dc") &&
		    taken < MOST)
			take_area((char *)start, end - start); /* NOLINT(performance-no-int-to-ptr) */
	}
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
			take_areas();
	}
	return NULL;
}

static size_t wrong_areas(void)
{
	size_t count = 0;

	for (size_t i = 0; i < taken; i++)
		for (size_t b = 0; b < areas[i].bytes; b++)
			if (areas[i].at[b] != 0x5a) {
				dprintf(2, "wrong byte in what was mapped at %p\n", (void *)(areas[i].at + b));
				count++;
				break;
			}
	return count;
}

int main(int argc, char **argv)
{
	struct contents c = contents_start(argc, argv);
	pthread_t thread;
	char line[64];

	if (pthread_create(&thread, NULL, map_on, NULL))
		die("pthread_create");
	while (fgets(line, sizeof(line), stdin)) {
		size_t bad = wrong, lost = 0;

		line[strcspn(line, "\n")] = '\0';
		if (!strcmp(line, "fill") || !strcmp(line, "over"))
			filling = true;
		if (!strcmp(line, "over"))
			over = true;
		else if (!strcmp(line, "lost"))
			bad += count_lost(&c, &lost) + wrong_areas();
		else if (!strcmp(line, "check"))
			bad += wrong_pages(&c) + wrong_areas();
		if (bad)
			printf("wrong %zu\n", bad);
		else
			printf("ok %lu\n", !strcmp(line, "lost") ? lost : !strcmp(line, "taken") ? taken : rounds);
	}
	return 0;
}
