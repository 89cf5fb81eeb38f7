/* SPDX-License-Identifier: MIT */
/*
 * Processes that share their memory without being threads: sharing BYTES, then obeys commands on standard input, a line
 * each, and answers with a line that begins with "ok" or "wrong". Prints "ready START END".
 *
 *	child NAME	another one (clone(2), CLONE_VM), that obeys what is written to the pipe NAME in the working
 *			directory; the answer is "ok START END PID". The word of its CLONE_CHILD_CLEARTID and a lock on
 *			its robust list are in the memory
 *	check		verify everything
 *	gone		wait for the child that was made last, and see that the kernel has told of its end
 *	exit		end
 *	exec PROGRAM	become another one
 *
 * Children know "check", "exit" and "exec", and "fork": a child of their own verifies everything.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pattern.h"

#define MOST  8
#define STACK 65536
#define APART (5 * PAGE) /* from one child's words to the next one's */

/* What the kernel writes to at the end of a child, each on a page of its own. */
struct words {
	union {
		struct robust_list_head list;
		char page[PAGE];
	};
	union {
		struct {
			struct robust_list entry;
			uint32_t lock;
		};
		char page_of_lock[PAGE];
	};
	pid_t tid;
};

struct child {
	struct words *words;
	pid_t pid;
	int commands;
};

static const struct pattern pattern = {"mixed", 3};
static char *memory;
static size_t bytes;
static struct child children[MOST], *last;

/* The words of children are behind what has known contents. */
static size_t wrong_pages(void)
{
	return pattern_wrong(memory, bytes, &pattern);
}

static void answer(size_t wrong)
{
	dprintf(1, wrong ? "wrong %zu\n" : "ok\n", wrong);
}

static size_t fork_once(void)
{
	pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	int status = -1;

	if (child == 0)
		_exit(wrong_pages() != 0);
	return child < 0 || waitpid(child, &status, 0) != child || status;
}

/* A line without its end; false at the end of all. */
static bool next_line(int from, char *line, size_t size)
{
	size_t length = 0;

	while (length < size - 1) {
		ssize_t got = read(from, &line[length], 1);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		if (line[length++] == '\n')
			break;
	}
	line[length ? length - 1 : 0] = '\0';
	return true;
}

/* What all of them know. Returns whether it was one of these. */
static bool obey(const char *line)
{
	if (!strcmp(line, "exit"))
		syscall(SYS_exit_group, 0);
	if (!strncmp(line, "exec ", strlen("exec ")))
		execl(line + strlen("exec "), line + strlen("exec "), (char *)NULL);
	if (strcmp(line, "check") != 0)
		return false;
	answer(wrong_pages());
	return true;
}

/* It shares the thread-local variables of the main thread, too, which waits for its next line. */
static int run_child(void *argument)
{
	struct child *c = argument;
	struct words *w = c->words;
	char line[256];

	w->list = (struct robust_list_head){
		.list.next = &w->entry,
		.futex_offset = offsetof(struct words, lock) - offsetof(struct words, entry),
	};
	w->entry.next = &w->list.list;
	w->lock = (uint32_t)syscall(SYS_gettid) | FUTEX_WAITERS;
	if (syscall(SYS_set_robust_list, &w->list, sizeof(w->list)))
		die("set_robust_list");
	dprintf(1, "ok %lx %lx %d\n", (unsigned long)memory, (unsigned long)(memory + bytes), (int)syscall(SYS_getpid));
	while (next_line(c->commands, line, sizeof(line)))
		if (!strcmp(line, "fork"))
			answer(fork_once());
		else if (!obey(line))
			dprintf(1, "wrong\n");
	syscall(SYS_exit_group, 0);
	return 0;
}

static void start_child(const char *name)
{
	struct child *c = last = last ? last + 1 : children;
	char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (c == &children[MOST] || stack == MAP_FAILED || mkfifo(name, 0600))
		die("start a child");
	c->commands = open(name, O_RDWR | O_CLOEXEC);
	c->words = (struct words *)(memory + bytes + (size_t)(c - children) * APART);
	c->words->tid = -1;
	c->pid = clone(run_child, stack + STACK, CLONE_VM | CLONE_FILES | CLONE_CHILD_CLEARTID | SIGCHLD, c, NULL, NULL,
		       &c->words->tid);
	if (c->pid < 0)
		die("clone");
}

/* The word is cleared for whoever shares the memory, and the lock tells of the death of who had it. */
static size_t wrong_end(void)
{
	if (waitpid(last->pid, NULL, 0) != last->pid)
		die("waitpid");
	return (last->words->tid != 0) + !(last->words->lock & FUTEX_OWNER_DIED) * 2u;
}

int main(int argc, char **argv)
{
	size_t spare = 2 * SUPERPAGE;
	char line[256];

	_Static_assert(MOST * APART <= 2 * SUPERPAGE && sizeof(struct words) <= APART, "they have room");
	bytes = argc > 1 ? strtoull(argv[1], NULL, 0) : 0;
	memory = map_aligned(bytes + spare);
	pattern_fill(memory, bytes, &pattern);
	memset(memory + bytes, 7, spare);
	dprintf(1, "ready %lx %lx\n", (unsigned long)memory, (unsigned long)(memory + bytes));
	while (next_line(0, line, sizeof(line)))
		if (!strncmp(line, "child ", strlen("child ")))
			start_child(line + strlen("child "));
		else if (!strcmp(line, "gone"))
			answer(wrong_end());
		else if (!obey(line))
			dprintf(1, "wrong\n");
	return 0;
}
