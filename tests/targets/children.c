/* SPDX-License-Identifier: MIT */
/*
 * A program with many children that go on: children N BYTES, then obeys commands on standard input, a line each. Prints
 * "ready START END".
 *
 *	fork	makes them all; the answer is "ok N"
 *	check	each verifies its memory, and so does the program; "ok", or "wrong" and how many found it wrong, and how
 *		many have not come to an end
 *	files	opens as many files as it may, and closes them; "ok" and how many
 */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "pattern.h"

#define PATIENCE_MS 240000 /* on a machine that is busy */

static const struct pattern pattern = {"mixed", 9};

/* What all of them share. */
struct shared {
	_Atomic unsigned int round;
	_Atomic unsigned int done, wrong;
};

static struct shared *shared;
static char *memory;
static size_t bytes;

static void be_child(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned int round = 1;; round++) {
		while (shared->round < round)
			usleep(10000);
		shared->wrong += pattern_wrong(memory, bytes, &pattern) != 0;
		shared->done++;
	}
}

static unsigned int fork_all(unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		pid_t child = fork();

		if (child < 0)
			return i;
		if (child == 0)
			be_child();
	}
	return count;
}

static void check_all(unsigned int count)
{
	unsigned int wrong = pattern_wrong(memory, bytes, &pattern) != 0;

	shared->done = shared->wrong = 0;
	shared->round++;
	for (unsigned int i = 0; i < PATIENCE_MS / 10 && shared->done < count; i++)
		usleep(10000);
	wrong += shared->wrong;
	if (wrong || shared->done < count)
		printf("wrong %u %u\n", wrong, count - shared->done);
	else
		puts("ok");
}

static unsigned int count_files(void)
{
	static int files[1 << 16];
	unsigned int count = 0;

	while (count < sizeof(files) / sizeof(*files) && (files[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
		count++;
	for (unsigned int i = 0; i < count; i++)
		close(files[i]);
	return count;
}

int main(int argc, char **argv)
{
	unsigned int count = argc > 2 ? (unsigned int)strtoul(argv[1], NULL, 10) : 0;
	char line[64];

	bytes = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED || shared == MAP_FAILED)
		return 1;
	pattern_fill(memory, bytes, &pattern);
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("ready %lx %lx\n", (unsigned long)memory, (unsigned long)memory + bytes);
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "fork\n"))
			printf("ok %u\n", fork_all(count));
		else if (!strcmp(line, "files\n"))
			printf("ok %u\n", count_files());
		else if (!strcmp(line, "check\n"))
			check_all(count);
	}
	return 0;
}
