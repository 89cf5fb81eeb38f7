/* SPDX-License-Identifier: MIT */
/*
 * A program that forked: forked exited|living|late BYTES, then obeys "check" on standard input: it and its child, when
 * that lives, verify their memory, and it answers "ok" or "wrong". "end" ends the child; "fork" makes it when that was
 * to be late. Prints "ready START END CHILD".
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pattern.h"

static const struct pattern pattern = {"text", 7};

/* The child answers every byte with one: 0 when its memory is as it should be. */
static void serve(const void *at, size_t bytes, int from, int to)
{
	char byte;

	while (read(from, &byte, 1) == 1) {
		byte = pattern_wrong(at, bytes, &pattern) ? 1 : 0;
		if (write(to, &byte, 1) != 1)
			break;
	}
	_exit(0);
}

static bool child_is_right(int to, int from)
{
	char byte = 1;

	if (write(to, &byte, 1) != 1 || read(from, &byte, 1) != 1)
		return false;
	return byte == 0;
}

struct child {
	pid_t pid; /* 0: none */
	int ask, answer;
};

static void fork_child(struct child *child, const void *at, size_t bytes, bool lives)
{
	int ask[2], answer[2];

	if (pipe(ask) || pipe(answer))
		die("pipe");
	child->pid = fork();
	if (child->pid < 0)
		die("fork");
	if (child->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (lives)
			serve(at, bytes, ask[0], answer[1]);
		_exit(0);
	}
	child->ask = ask[1];
	child->answer = answer[0];
}

static void end_child(struct child *child)
{
	if (waitpid(child->pid, NULL, 0) != child->pid)
		die("waitpid");
	child->pid = 0;
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";
	size_t bytes = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
	struct child child = {0};
	char line[64], *at;

	if (!bytes)
		return 2;
	at = map_aligned(bytes);
	if (madvise(at, bytes, MADV_NOHUGEPAGE))
		die("madvise");
	pattern_fill(at, bytes, &pattern);
	if (strcmp(how, "late"))
		fork_child(&child, at, bytes, !strcmp(how, "living"));
	printf("ready %lx %lx %d\n", (unsigned long)at, (unsigned long)(at + bytes), child.pid);
	if (!strcmp(how, "exited"))
		end_child(&child);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		bool right;

		if (!strncmp(line, "fork", 4))
			fork_child(&child, at, bytes, true);
		right = !pattern_wrong(at, bytes, &pattern);
		if (child.pid && !strncmp(line, "end", 3)) {
			kill(child.pid, SIGKILL);
			end_child(&child);
		}
		if (child.pid && strncmp(line, "fork", 4))
			right &= child_is_right(child.ask, child.answer);
		puts(right ? "ok" : "wrong");
		fflush(stdout);
	}
	return 0;
}
