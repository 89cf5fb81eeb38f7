/* SPDX-License-Identifier: MIT */
/*
 * Memory to be moved: mover_contents PATTERN BYTES [huge|locked|forked|readonly|executable], then obeys commands on
 * standard input, a line each, and answers with a line that begins with "ok" when all was as it should be. Prints
 * "ready START END ROOM": the memory, and where as much room is that nothing was written to.
 *
 *	check [ADDRESS]		the contents, there or elsewhere
 *	either ADDRESS		each page of the contents, in its place or at ADDRESS
 *	zeros [ADDRESS]		zeros, there or elsewhere
 *	write			new contents
 *	touch ADDRESS		one byte is read
 *	mark ADDRESS BYTES	the byte 0xee in each page
 *	comb ADDRESS BYTES	the same in every other page
 *	discard ADDRESS BYTES	MADV_DONTNEED
 *	pin ADDRESS BYTES	a buffer of io_uring, as long as the program lives; "cannot" where that is forbidden
 *	closefrom		every descriptor above 2
 *	merge			MADV_MERGEABLE (KSM)
 */
#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "pattern.h"

struct contents {
	struct pattern pattern;
	char *at;
	size_t bytes;
};

static const char *pin(void *at, size_t bytes)
{
	struct io_uring_params params = {0};
	struct iovec buffer = {at, bytes};
	int ring = (int)syscall(SYS_io_uring_setup, 4, &params);

	if (ring < 0 || syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &buffer, 1))
		return "cannot";
	return "ok";
}

static void mark(char *at, size_t bytes, size_t step)
{
	for (size_t i = 0; i < bytes; i += step)
		at[i] = (char)0xee;
}

static bool either(const struct contents *c, const char *at)
{
	for (size_t i = 0; i < c->bytes / PAGE; i++)
		if (!pattern_holds_page(c->at, &c->pattern, i) && !pattern_holds_page(at, &c->pattern, i))
			return false;
	return true;
}

/* Returns the answer. */
static const char *obey(struct contents *c, char *line)
{
	static const struct pattern zeros = {"zeros", 0};
	char *word = strtok(line, " \n"), *first = strtok(NULL, " \n"), *second = strtok(NULL, " \n");
	char *at = first ? (char *)strtoull(first, NULL, 16) : c->at;
	size_t bytes = second ? strtoull(second, NULL, 0) : c->bytes;

	if (!word)
		return "what?";
	if (!strcmp(word, "check"))
		return pattern_wrong(at, bytes, &c->pattern) ? "wrong" : "ok";
	if (!strcmp(word, "either"))
		return either(c, at) ? "ok" : "wrong";
	if (!strcmp(word, "zeros"))
		return pattern_wrong(at, bytes, &zeros) ? "wrong" : "ok";
	if (!strcmp(word, "pin"))
		return pin(at, bytes);
	if (!strcmp(word, "write")) {
		c->pattern.seed++;
		pattern_fill(c->at, c->bytes, &c->pattern);
	} else if (!strcmp(word, "touch")) {
		return *(volatile char *)at == 0 ? "ok 0" : "ok 1";
	} else if (!strcmp(word, "mark")) {
		mark(at, bytes, PAGE);
	} else if (!strcmp(word, "comb")) {
		mark(at, bytes, 2 * PAGE);
	} else if (!strcmp(word, "discard")) {
		return madvise(at, bytes, MADV_DONTNEED) ? "cannot" : "ok";
	} else if (!strcmp(word, "merge")) {
		return madvise(at, bytes, MADV_MERGEABLE) ? "cannot" : "ok";
	} else if (!strcmp(word, "closefrom")) {
		return syscall(SYS_close_range, 3U, ~0U, 0U) ? "cannot" : "ok";
	} else {
		return "what?";
	}
	return "ok";
}

/* A child that lives as long as its parent, with the same pages. */
static void fork_child(void)
{
	int ends[2];
	char byte;
	pid_t child;

	if (pipe(ends))
		die("pipe");
	child = fork();
	if (child < 0)
		die("fork");
	if (child)
		return; /* the writing end stays open as long as this process */
	close(ends[1]);
	_exit(read(ends[0], &byte, 1) < 0);
}

static void prepare(const char *how, char *at, size_t bytes)
{
	if (!strcmp(how, "locked") && mlock(at, bytes))
		die("mlock");
	if (!strcmp(how, "readonly") && mprotect(at, bytes, PROT_READ))
		die("mprotect");
	if (!strcmp(how, "executable") && mprotect(at, bytes / 2, PROT_READ | PROT_WRITE | PROT_EXEC))
		die("mprotect");
	if (!strcmp(how, "forked"))
		fork_child();
}

int main(int argc, char **argv)
{
	static char in[256], out[256], line[256];
	const char *how = argc > 3 ? argv[3] : "";
	struct contents c = {.pattern = {.kind = argc > 2 ? argv[1] : "", .seed = 1}};
	char *room;

	c.bytes = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
	if (!pattern_known(c.pattern.kind) || !c.bytes || c.bytes % PAGE)
		return 2;
	/* Buffers of its own, so that talking changes no mapping. */
	setvbuf(stdin, in, _IOLBF, sizeof(in));
	setvbuf(stdout, out, _IOLBF, sizeof(out));
	c.at = map_aligned(c.bytes);
	room = map_aligned(c.bytes);
	if (madvise(c.at, c.bytes, !strcmp(how, "huge") ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		die("madvise");
	pattern_fill(c.at, c.bytes, &c.pattern);
	prepare(how, c.at, c.bytes);
	printf("ready %lx %lx %lx\n", (unsigned long)c.at, (unsigned long)(c.at + c.bytes), (unsigned long)room);
	while (fgets(line, sizeof(line), stdin))
		puts(obey(&c, line));
	return 0;
}
