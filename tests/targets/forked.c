/*
 * A program that forked: forked exited|living BYTES, then obeys "check" on standard input: it and its child, when that lives, verify their
 * memory, and it answers "ok" or "wrong". "end" ends the child. Prints "ready START END CHILD".
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

int main(int argc, char **argv)
{
	bool living = argc > 1 && !strcmp(argv[1], "living");
	size_t bytes = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
	int ask[2], answer[2];
	char line[64], *at;
	pid_t child;

	if (!bytes || pipe(ask) || pipe(answer))
		return 2;
	at = map_aligned(bytes);
	if (madvise(at, bytes, MADV_NOHUGEPAGE))
		die("madvise");
	pattern_fill(at, bytes, &pattern);
	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (living)
			serve(at, bytes, ask[0], answer[1]);
		_exit(0);
	}
	if (!living && waitpid(child, NULL, 0) != child)
		die("waitpid");
	printf("ready %lx %lx %d\n", (unsigned long)at, (unsigned long)(at + bytes), child);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		bool right = !pattern_wrong(at, bytes, &pattern);

		if (living && !strncmp(line, "end", 3)) {
			living = false;
			kill(child, SIGKILL);
			waitpid(child, NULL, 0);
		}
		right &= !living || child_is_right(ask[1], answer[0]);
		puts(right ? "ok" : "wrong");
		fflush(stdout);
	}
	return 0;
}
