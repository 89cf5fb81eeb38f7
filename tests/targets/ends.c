/* SPDX-License-Identifier: MIT */
/*
 * Threads of which the kernel has to tell that they have ended: ends BYTES, then obeys commands on standard input, a
 * line each, and answers with "ok" or "wrong". Prints "ready START END" (memory in which the words lie that it writes).
 *
 *	join		start a thread with pthread_create
 *	word		start one with clone(2), its word of CLONE_CHILD_CLEARTID in the memory
 *	lock COUNT	start one that locks so many robust mutexes in the memory
 *	inherit		start one that holds a futex with priority inheritance in the memory, and one that waits for it
 *	end		have all of them end, and see that it shows: joined, the word cleared, EOWNERDEAD
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "pattern.h"

#define MOST      64
#define STACK     65536
#define PATIENCE  10  /* s */
#define LOCK_PI   134 /* FUTEX_LOCK_PI_PRIVATE of <linux/futex.h>, which musl-gcc does not find */
#define WAITERS   0x80000000U
#define PAGES_OFF 7 /* between two words */

static char *memory;
static size_t bytes, used;
static int gate[2]; /* whoever reads to its end ends */

static pthread_t joined[MOST];
static pid_t *words[MOST];
static pid_t raw[MOST]; /* the threads that these are of */
static pthread_mutex_t *locks[MOST];
static size_t joined_count, words_count, locks_count;
static _Atomic size_t locked;
static uint32_t *inherited; /* what is waited for */
static long got;            /* by whom it is waited for */

/* A place of its own in the memory. */
static void *place(void)
{
	used += PAGES_OFF * PAGE;
	if (used + PAGE > bytes)
		exit(2);
	return memory + used;
}

static void wait_at_gate(void)
{
	char byte;

	while (read(gate[0], &byte, 1) < 0)
		;
}

static void *wait_only(void *argument)
{
	wait_at_gate();
	return argument;
}

static int end_raw(void *argument)
{
	(void)argument;
	wait_at_gate();
	syscall(SYS_exit, 0);
	return 0;
}

static void start_raw(void)
{
	char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
				 CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
	pid_t *word = place();

	*word = -1;
	if (stack == MAP_FAILED)
		die("mmap");
	raw[words_count] = clone(end_raw, stack + STACK, flags, NULL, word, NULL, word);
	if (raw[words_count] < 0)
		die("clone");
	words[words_count++] = word;
}

static void *lock_all(void *count)
{
	pthread_mutexattr_t robust;

	pthread_mutexattr_init(&robust);
	pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
	for (size_t i = 0; i < (size_t)count; i++) {
		pthread_mutex_t *lock = place();

		pthread_mutex_init(lock, &robust);
		pthread_mutex_lock(lock);
		locks[locks_count++] = lock;
	}
	locked += (size_t)count;
	wait_at_gate();
	return NULL;
}

static void *hold(void *count)
{
	syscall(SYS_futex, inherited, LOCK_PI, 0, NULL);
	locked += (size_t)count;
	wait_at_gate();
	return NULL;
}

static void *wait_for_holder(void *argument)
{
	got = syscall(SYS_futex, inherited, LOCK_PI, 0, NULL);
	return argument;
}

static void start_thread(void *(*run)(void *), size_t count)
{
	size_t wanted = locked + count;

	if (pthread_create(&joined[joined_count++], NULL, run, (void *)count))
		die("pthread_create");
	while (locked < wanted)
		usleep(1000);
}

static void start_inheriting(void)
{
	inherited = place();
	*inherited = 0;
	got = -1;
	start_thread(hold, 1);
	start_thread(wait_for_holder, 0);
	while (!(*(volatile uint32_t *)inherited & WAITERS))
		usleep(1000);
}

static struct timespec deadline(void)
{
	struct timespec at;

	clock_gettime(CLOCK_REALTIME, &at);
	at.tv_sec += PATIENCE;
	return at;
}

/* Not seen in its word, which would be in core then. */
static void wait_for_end(pid_t tid)
{
	while (syscall(SYS_tgkill, getpid(), tid, 0) == 0)
		usleep(1000);
}

static size_t wrong_ends(void)
{
	struct timespec until = deadline();
	size_t wrong = 0;

	for (size_t i = 0; i < words_count; i++) {
		wait_for_end(raw[i]);
		wrong += *words[i] != 0;
	}
	for (size_t i = 0; i < joined_count; i++)
		wrong += pthread_timedjoin_np(joined[i], NULL, &until) != 0;
	for (size_t i = 0; i < locks_count; i++)
		wrong += pthread_mutex_timedlock(locks[i], &until) != EOWNERDEAD;
	wrong += inherited && got != 0;
	inherited = NULL;
	joined_count = words_count = locks_count = 0;
	return wrong;
}

int main(int argc, char **argv)
{
	static char in[256], out[256];
	char line[64];

	bytes = argc > 1 ? strtoull(argv[1], NULL, 0) : 0;
	setvbuf(stdin, in, _IOLBF, sizeof(in));
	setvbuf(stdout, out, _IOLBF, sizeof(out));
	memory = map_aligned(bytes);
	memset(memory, 7, bytes);
	if (pipe2(gate, O_CLOEXEC))
		die("pipe");
	printf("ready %lx %lx\n", (unsigned long)memory, (unsigned long)(memory + bytes));
	while (fgets(line, sizeof(line), stdin)) {
		size_t wrong = 0;

		if (!strncmp(line, "join", 4)) {
			start_thread(wait_only, 0);
		} else if (!strncmp(line, "word", 4)) {
			start_raw();
		} else if (!strncmp(line, "inherit", 7)) {
			start_inheriting();
		} else if (!strncmp(line, "lock", 4)) {
			start_thread(lock_all, strtoul(line + 4, NULL, 10));
		} else {
			close(gate[1]);
			wrong = wrong_ends();
			close(gate[0]);
			if (pipe2(gate, O_CLOEXEC))
				die("pipe");
		}
		puts(wrong ? "wrong" : "ok");
	}
	return 0;
}
