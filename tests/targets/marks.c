/* SPDX-License-Identifier: MIT */
/*
 * A program that changes what it keeps from its children in the moment it has forked: marks BYTES COUNT, with so much
 * memory and as many mappings besides, then obeys commands on standard input, a line each:
 *
 *	wipe		MADV_WIPEONFORK for the second third, fork, and the other way round at once for the others
 *	keep		the same with MADV_DONTFORK; the child grows its first third by what it did not get
 *	absent		MADV_DONTFORK for everything from now on; a child that touches any third ends by SIGSEGV
 *	check		verify everything
 *
 * The answer is "ok", or "wrong" and what it was. Prints "ready START END".
 */
#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

#include "pattern.h"

static const struct pattern pattern = {"mixed", 11}, zeros = {"zeros", 0};
static char *parts[3];
static size_t bytes; /* of each */

static void advise(int part, int advice)
{
	if (madvise(parts[part], bytes, advice))
		die("madvise");
}

static const char *look(int part, const struct pattern *expected)
{
	static const char *const names[] = {"wrong first\n", "wrong second\n", "wrong third\n"};

	size_t first = (size_t)part * bytes / PAGE;

	for (size_t i = first; i < first + bytes / PAGE; i++)
		if (!pattern_holds_page(parts[0], expected, i))
			return names[part];
	return NULL;
}

static const char *child(bool kept)
{
	const char *wrong;

	if (kept && mremap(parts[0], bytes, 2 * bytes, 0) == MAP_FAILED)
		return "wrong growth\n";
	wrong = look(1, &zeros);
	if (!wrong)
		wrong = look(2, &pattern);
	return wrong ? wrong : look(0, &pattern);
}

static void fork_in_between(int mark, int unmark)
{
	const char *wrong;
	int status;
	pid_t pid;

	advise(1, mark);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid > 0) {
		advise(1, unmark);
		advise(2, mark);
		if (waitpid(pid, &status, 0) != pid)
			die("waitpid");
		advise(2, unmark);
		if (!WIFEXITED(status))
			dprintf(1, "wrong end of the child\n");
		return;
	}
	wrong = child(mark == MADV_DONTFORK);
	dprintf(1, "%s", wrong ? wrong : "ok\n");
	_exit(0);
}

static bool is_absent(int part)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		_exit(*(volatile char *)parts[part] == 1);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static void keep_all(void)
{
	bool absent = true;

	for (int part = 0; part < 3; part++)
		advise(part, MADV_DONTFORK);
	for (int part = 0; part < 3; part++)
		absent &= is_absent(part);
	dprintf(1, absent ? "ok\n" : "wrong: a child has it\n");
}

int main(int argc, char **argv)
{
	size_t count = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
	char line[64];

	bytes = argc > 1 ? strtoull(argv[1], NULL, 0) / 3 / PAGE * PAGE : 0;
	if (!bytes)
		exit(2);
	for (size_t i = 0; i < count; i++)
		if (mmap(NULL, PAGE, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
		    MAP_FAILED)
			die("mmap");
	parts[0] = map_aligned(3 * bytes);
	parts[1] = parts[0] + bytes;
	parts[2] = parts[1] + bytes;
	if (madvise(parts[0], 3 * bytes, MADV_NOHUGEPAGE))
		die("madvise");
	pattern_fill(parts[0], 3 * bytes, &pattern);
	dprintf(1, "ready %lx %lx\n", (unsigned long)parts[0], (unsigned long)(parts[0] + 3 * bytes));
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "wipe\n"))
			fork_in_between(MADV_WIPEONFORK, MADV_KEEPONFORK);
		else if (!strcmp(line, "keep\n"))
			fork_in_between(MADV_DONTFORK, MADV_DOFORK);
		else if (!strcmp(line, "absent\n"))
			keep_all();
		else if (!strcmp(line, "check\n"))
			dprintf(1, "%s\n", pattern_wrong(parts[0], 3 * bytes, &pattern) ? "wrong" : "ok");
	}
	return 0;
}
