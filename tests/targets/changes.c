/* SPDX-License-Identifier: MIT */
/*
 * Memory that changes as a program may change it: changes PATTERN BYTES, then obeys commands on standard input, a line
 * each, and answers with a line that is "ok…" when all of its memory was as it should be. Prints "ready START END".
 *
 *	check		verify everything
 *	peek		verify the first page
 *	write SEED	give everything that is mapped other contents
 *	child NAME	a child that goes on and obeys the pipe NAME in the current directory; the answer ends
 *			with its pid
 *	daemon		go on as a child of it, which ends at once
 *	vfork, spawn	a child that borrows the memory and verifies it; another program, run to its end
 *	leave		mremap to another place with MREMAP_DONTUNMAP: zeros are left behind
 *	grow, shrink	mremap to twice the size, zeros behind; to a quarter of it
 *	replace		mmap over the second quarter
 *	protect		the second quarter read-only, inaccessible, and as it was
 *	lock, unlock	mlock, munlock
 *	lockall WHEN	mlockall current, future or both, some new memory, munlockall
 *	advise NAME	madvise for the whole, whatever the kernel says to it; touches nothing
 *	guard, unguard	MADV_GUARD_INSTALL, MADV_GUARD_REMOVE for every third page of the second quarter; touch nothing
 *	fill		zeros of the second quarter, and nothing else, get contents
 *	heap		the program break up and down again
 *	discards N	N times: other contents and MADV_DONTNEED for parts of the first half, verified
 *	map		new memory in the last quarter
 *	exec		become sleep(1)
 *	exit		end with status 7
 */
#include <spawn.h>
#include <sys/stat.h>

#include "contents.h"

#define DAEMON_S 120 /* a daemon ends by itself after that: no test that fails knows its number */

static bool unforked, wiped; /* advised for children */
static pid_t latest_child;   /* that goes on */
static bool silent;          /* no answer to this command */

static ssize_t check(struct contents *c, const char *argument)
{
	(void)argument;
	return (ssize_t)wrong_pages(c);
}

static ssize_t peek(struct contents *c, const char *argument)
{
	(void)argument;
	return is_wrong(c, 0);
}

static void set_states(struct contents *c, size_t from, size_t to, enum state state)
{
	for (size_t i = from; i < to; i++)
		if (c->states[i] != ABSENT)
			c->states[i] = (unsigned char)state;
}

/* The parent goes on as the child does; what it advised for children is what that one finds. */
static ssize_t leave_child(struct contents *c, const char *argument)
{
	if (mkfifo(argument, 0600))
		die("mkfifo");
	latest_child = fork();
	if (latest_child < 0)
		die("fork");
	if (latest_child)
		return 0;
	silent = true;
	if (unforked || wiped)
		set_states(c, 0, c->bytes / PAGE, unforked ? ABSENT : ZEROS);
	if (!freopen(argument, "r+", stdin))
		die("freopen");
	return 0;
}

static ssize_t become_child(struct contents *c, const char *argument)
{
	pid_t child = fork();

	(void)argument;
	if (child < 0)
		die("fork");
	if (child)
		_exit(0);
	alarm(DAEMON_S);
	return (ssize_t)wrong_pages(c);
}

static int count_wrong(void *contents)
{
	return wrong_pages(contents) ? 1 : 0;
}

static ssize_t borrow(struct contents *c, const char *argument)
{
	(void)argument;
	return borrow_memory(count_wrong, c) != 0;
}

static ssize_t spawn(struct contents *c, const char *argument)
{
	static char *const arguments[] = {"true", NULL};
	pid_t child;
	int status = 0;

	(void)argument;
	if (posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environ) || waitpid(child, &status, 0) != child)
		die("posix_spawn");
	return status ? 1 : (ssize_t)wrong_pages(c);
}

static ssize_t leave(struct contents *c, const char *argument)
{
	static const struct pattern zeros = {"zeros", 0};
	char *old = c->at, *to = map_aligned(c->bytes);

	(void)argument;
	if (mremap(old, c->bytes, c->bytes, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to) != to)
		die("mremap");
	c->at = to;
	return (ssize_t)(wrong_pages(c) + pattern_wrong(old, c->bytes, &zeros));
}

static void resize(struct contents *c, size_t bytes)
{
	size_t kept = bytes < c->bytes ? bytes : c->bytes;

	c->at = mremap(c->at, c->bytes, bytes, MREMAP_MAYMOVE);
	c->states = realloc(c->states, bytes / PAGE);
	if (c->at == MAP_FAILED || !c->states)
		die("mremap");
	memset(c->states + kept / PAGE, ZEROS, (bytes - kept) / PAGE);
	c->bytes = bytes;
}

static ssize_t grow(struct contents *c, const char *argument)
{
	(void)argument;
	resize(c, 2 * c->bytes);
	return 0;
}

static ssize_t shrink(struct contents *c, const char *argument)
{
	(void)argument;
	resize(c, c->bytes / 4);
	return 0;
}

static ssize_t replace(struct contents *c, const char *argument)
{
	char *at = c->at + c->bytes / 4;

	(void)argument;
	if (mmap(at, c->bytes / 4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != at)
		die("mmap");
	memset(c->states + c->bytes / 4 / PAGE, ZEROS, c->bytes / 4 / PAGE);
	return 0;
}

static ssize_t protect(struct contents *c, const char *argument)
{
	char *at = c->at + c->bytes / 4;
	size_t wrong;

	(void)argument;
	if (mprotect(at, c->bytes / 4, PROT_READ))
		die("mprotect");
	wrong = wrong_pages(c);
	if (mprotect(at, c->bytes / 4, PROT_NONE) || mprotect(at, c->bytes / 4, PROT_READ | PROT_WRITE))
		die("mprotect");
	return (ssize_t)wrong;
}

static ssize_t lock(struct contents *c, const char *argument)
{
	(void)argument;
	return mlock(c->at, c->bytes) ? -1 : (ssize_t)wrong_pages(c);
}

static ssize_t unlock(struct contents *c, const char *argument)
{
	(void)argument;
	return munlock(c->at, c->bytes) ? -1 : (ssize_t)wrong_pages(c);
}

static ssize_t lock_all(struct contents *c, const char *argument)
{
	int when = !strcmp(argument, "current")  ? MCL_CURRENT
		   : !strcmp(argument, "future") ? MCL_FUTURE
						 : MCL_CURRENT | MCL_FUTURE;
	struct contents more = {.pattern = c->pattern};
	size_t wrong;

	if (mlockall(when))
		return -1;
	allocate(&more, MEBIBYTE);
	wrong = wrong_pages(c) + pattern_wrong(more.more, more.more_bytes, &more.pattern);
	return munlockall() ? -1 : (ssize_t)wrong;
}

static ssize_t advise(struct contents *c, const char *argument)
{
	static const struct {
		const char *name;
		int value;
	} kinds[] = {{"NORMAL", MADV_NORMAL},
		     {"RANDOM", MADV_RANDOM},
		     {"SEQUENTIAL", MADV_SEQUENTIAL},
		     {"WILLNEED", MADV_WILLNEED},
		     {"DONTNEED", MADV_DONTNEED},
		     {"DONTNEED_LOCKED", 24},
		     {"FREE", MADV_FREE},
		     {"REMOVE", MADV_REMOVE},
		     {"DONTFORK", MADV_DONTFORK},
		     {"DOFORK", MADV_DOFORK},
		     {"WIPEONFORK", MADV_WIPEONFORK},
		     {"KEEPONFORK", MADV_KEEPONFORK},
		     {"MERGEABLE", MADV_MERGEABLE},
		     {"UNMERGEABLE", MADV_UNMERGEABLE},
		     {"HUGEPAGE", MADV_HUGEPAGE},
		     {"NOHUGEPAGE", MADV_NOHUGEPAGE},
		     {"COLLAPSE", 25},
		     {"COLD", MADV_COLD},
		     {"PAGEOUT", MADV_PAGEOUT},
		     {"POPULATE_READ", 22},
		     {"POPULATE_WRITE", 23},
		     {"DONTDUMP", MADV_DONTDUMP},
		     {"DODUMP", MADV_DODUMP}};
	size_t kind = 0;

	while (strcmp(kinds[kind].name, argument) != 0)
		if (++kind == sizeof(kinds) / sizeof(*kinds))
			return -1;
	if (madvise(c->at, c->bytes, kinds[kind].value) == 0 && strstr("DONTNEED DONTNEED_LOCKED FREE", argument))
		set_states(c, 0, c->bytes / PAGE, ZEROS);
	unforked = strcmp(argument, "DOFORK") && (unforked || !strcmp(argument, "DONTFORK"));
	wiped = strcmp(argument, "KEEPONFORK") && (wiped || !strcmp(argument, "WIPEONFORK"));
	return 0;
}

static void guard_some(struct contents *c, int advice, enum state state)
{
	for (size_t i = c->bytes / PAGE / 4; i < c->bytes / PAGE / 2; i += 3) {
		if (madvise(c->at + i * PAGE, PAGE, advice))
			die("madvise");
		c->states[i] = (unsigned char)state;
	}
}

static ssize_t guard(struct contents *c, const char *argument)
{
	(void)argument;
	guard_some(c, 102, GUARDED);
	return 0;
}

static ssize_t unguard(struct contents *c, const char *argument)
{
	(void)argument;
	guard_some(c, 103, ZEROS);
	return 0;
}

static ssize_t fill(struct contents *c, const char *argument)
{
	(void)argument;
	for (size_t i = c->bytes / PAGE / 4; i < c->bytes / PAGE / 2; i++) {
		if (c->states[i] != ZEROS)
			continue;
		pattern_page((uint64_t *)(c->at + i * PAGE), &c->pattern, i);
		c->states[i] = FILLED;
	}
	return 0;
}

static ssize_t move_heap(struct contents *c, const char *argument)
{
	size_t bytes = 4 * MEBIBYTE;
	char *at = sbrk((intptr_t)bytes + -(intptr_t)sbrk(0) % (intptr_t)PAGE);
	size_t wrong;

	(void)argument;
	at += -(uintptr_t)at % PAGE;
	pattern_fill(at, bytes - PAGE, &c->pattern);
	wrong = pattern_wrong(at, bytes - PAGE, &c->pattern);
	return sbrk(-(intptr_t)bytes / 2) == (void *)-1 ? -1 : (ssize_t)wrong;
}

static ssize_t discards(struct contents *c, const char *argument)
{
	static const struct pattern zeros = {"zeros", 0};
	size_t part = c->bytes / 16, wrong = 0;

	for (unsigned long n = strtoul(argument, NULL, 0); n--;) {
		struct pattern pattern = {c->pattern.kind, n};
		char *at = c->at + n % 8 * part;

		pattern_fill(at, part, &pattern);
		wrong += pattern_wrong(at, part, &pattern);
		if (madvise(at, part, MADV_DONTNEED))
			die("madvise");
		wrong += pattern_wrong(at, part, &zeros);
	}
	set_states(c, 0, c->bytes / PAGE / 2, ZEROS);
	return (ssize_t)(wrong + wrong_pages(c));
}

static ssize_t change_contents(struct contents *c, const char *argument)
{
	rewrite(c, strtoull(argument, NULL, 0));
	return 0;
}

static ssize_t map_again(struct contents *c, const char *argument)
{
	(void)argument;
	change(c, c->bytes / 4 * 3, c->bytes, ZEROS);
	return 0;
}

static ssize_t become_another(struct contents *c, const char *argument)
{
	(void)c;
	(void)argument;
	return execlp("sleep", "sleep", "1000", (char *)NULL);
}

static ssize_t end(struct contents *c, const char *argument)
{
	(void)c;
	(void)argument;
	_exit(7);
}

static const struct command {
	const char *word;
	ssize_t (*run)(struct contents *c, const char *argument);
} commands[] = {
	{"check", check},       {"write", change_contents}, {"child", leave_child},   {"daemon", become_child},
	{"vfork", borrow},      {"spawn", spawn},           {"leave", leave},         {"grow", grow},
	{"shrink", shrink},     {"replace", replace},       {"protect", protect},     {"lock", lock},
	{"unlock", unlock},     {"lockall", lock_all},      {"advise", advise},       {"heap", move_heap},
	{"discards", discards}, {"map", map_again},         {"exec", become_another}, {"exit", end},
	{"guard", guard},       {"unguard", unguard},       {"fill", fill},           {"peek", peek},
};

/* Returns the number of wrong pages found, or -1 for a word that is not known. */
static ssize_t obey(struct contents *c, char *line)
{
	char *word = strtok(line, " \n"), *argument = strtok(NULL, " \n");

	for (size_t i = 0; word && i < sizeof(commands) / sizeof(*commands); i++)
		if (!strcmp(word, commands[i].word))
			return commands[i].run(c, argument ? argument : "");
	return -1;
}

int main(int argc, char **argv)
{
	static char line[256];
	struct contents c = contents_start(argc, argv);

	while (fgets(line, sizeof(line), stdin)) {
		ssize_t wrong = obey(&c, line);

		if (wrong)
			printf("wrong %zd\n", wrong);
		else if (!silent && latest_child)
			printf("ok %lx %lx %d\n", (unsigned long)c.at, (unsigned long)(c.at + c.bytes), latest_child);
		else if (!silent) /* the parent answers for both */
			printf("ok %lx %lx\n", (unsigned long)c.at, (unsigned long)(c.at + c.bytes));
		latest_child = 0;
		silent = false;
	}
	return 0;
}
