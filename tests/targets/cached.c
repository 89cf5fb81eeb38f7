/* SPDX-License-Identifier: MIT */
/*
 * Compares memory that somebody else maps into it, page by page, with a file that it has read before; does what
 * programs do to their memory.
 *
 * usage: cached FILE Commands on standard input, each answered by one line; START and BYTES as in "map", hexadecimal
 * and decimal:
 *   map START BYTES   where the memory is
 *   verify THREADS    all threads look at all pages, each in another order; 0: the first thread does
 *   race OFFSET...    a thread for each of them; tell the milliseconds of each
 *   fork COUNT        children verify while the parent does
 *   grandchild        a child's child verifies after its parent has ended
 *   discard, move, grow, punch, lock, dirty, protect, write PATH, confine, exec, exit
 *   moves SECONDS     moves it as often as it can, and looks at it then
 *   stress            threads, children, discards and moves all at once, until the next line
 * A look counts pages that are as they should be, that are not, and that cannot be had (SIGBUS): "ok=N wrong=N bus=N",
 * with the offsets of the first and last page of the latter.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "pattern.h"

static unsigned char *data; /* of the file, whole pages, zeros behind its end */
static size_t data_bytes;
static unsigned char *memory;
static size_t bytes;
static size_t hole_start, hole_end; /* offsets that were unmapped */
static size_t dirty_page = SIZE_MAX;

static __thread sigjmp_buf out;
static __thread volatile sig_atomic_t looking;

static void on_bus(int signal)
{
	if (!looking)
		_exit(128 + signal);
	siglongjmp(out, 1);
}

struct look {
	size_t ok, wrong, bus;
	size_t first, last; /* offsets of pages with SIGBUS */
};

static void add(struct look *sum, const struct look *one)
{
	if (one->bus && (!sum->bus || one->first < sum->first))
		sum->first = one->first;
	if (one->bus && (!sum->bus || one->last > sum->last))
		sum->last = one->last;
	sum->ok += one->ok;
	sum->wrong += one->wrong;
	sum->bus += one->bus;
}

static void look_at(struct look *look, size_t offset)
{
	struct look one = {0};

	if (offset >= hole_start && offset < hole_end)
		return;
	looking = 1;
	if (sigsetjmp(out, 1))
		one = (struct look){.bus = 1, .first = offset, .last = offset};
	else if (offset / PAGE == dirty_page)
		one.ok = memory[offset] == 0xd1;
	else if (offset < data_bytes)
		one.ok = !memcmp(memory + offset, data + offset, PAGE);
	else /* nothing is right there */
		(void)*(volatile unsigned char *)(memory + offset);
	one.wrong = !one.ok && !one.bus;
	looking = 0;
	add(look, &one);
}

static void tell(const struct look *look)
{
	if (look->bus)
		printf("ok=%zu wrong=%zu bus=%zu %zu-%zu\n", look->ok, look->wrong, look->bus, look->first,
		       look->last + PAGE);
	else
		printf("ok=%zu wrong=%zu bus=0\n", look->ok, look->wrong);
	fflush(stdout);
}

static struct look look_at_all(uint64_t seed)
{
	size_t pages = bytes / PAGE;
	struct look look = {0};
	size_t at = seed % pages;
	size_t step = seed % 2 ? 1 : pages - 1;

	for (size_t i = 0; i < pages; i++, at = (at + step) % pages)
		look_at(&look, at * PAGE);
	return look;
}

static void *look_main(void *argument)
{
	struct look *look = argument;

	*look = look_at_all(look->ok);
	return NULL;
}

static struct look verify(size_t threads)
{
	pthread_t ids[64];
	struct look looks[64];
	struct look sum = {0};

	for (size_t i = 0; i < threads; i++) {
		looks[i].ok = i < 4 ? i % 2 : mix(i); /* the first few meet on the same pages */
		if (pthread_create(&ids[i], NULL, look_main, &looks[i]))
			die("pthread_create");
	}
	for (size_t i = 0; i < threads; i++) {
		pthread_join(ids[i], NULL);
		add(&sum, &looks[i]);
	}
	return sum;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct racer {
	size_t offset;
	uint64_t ms;
	struct look look;
};

static void *race_main(void *argument)
{
	struct racer *racer = argument;
	uint64_t since = now_ms();

	look_at(&racer->look, racer->offset);
	racer->ms = now_ms() - since;
	return NULL;
}

static void race(char *words)
{
	struct racer racers[64] = {0};
	pthread_t ids[64];
	size_t count = 0;

	for (char *word = strtok(words, " "); word && count < 64; word = strtok(NULL, " "), count++)
		racers[count].offset = strtoul(word, NULL, 0);
	for (size_t i = 0; i < count; i++)
		if (pthread_create(&ids[i], NULL, race_main, &racers[i]))
			die("pthread_create");
	for (size_t i = 0; i < count; i++)
		pthread_join(ids[i], NULL);
	for (size_t i = 0; i < count; i++)
		printf("%s%llu:%s", i ? " " : "", (unsigned long long)racers[i].ms,
		       racers[i].look.ok    ? "ok"
		       : racers[i].look.bus ? "bus"
					    : "wrong");
	printf("\n");
	fflush(stdout);
}

/* What a child found comes through a pipe. */
static void child_looks(int to, uint64_t seed, bool grandchild)
{
	struct look look;

	if (grandchild && fork() > 0)
		_exit(0);
	look = look_at_all(seed);
	if (write(to, &look, sizeof(look)) != sizeof(look))
		_exit(1);
	_exit(0);
}

static void do_fork(size_t count, bool grandchild)
{
	struct look sum = {0};
	struct look one;
	size_t heard = 0;
	int ends[2];

	if (pipe(ends))
		die("pipe");
	for (size_t i = 0; i < count; i++)
		if (fork() == 0)
			child_looks(ends[1], i, grandchild);
	close(ends[1]);
	if (!grandchild)
		sum = look_at_all(1);
	for (; read(ends[0], &one, sizeof(one)) == sizeof(one); heard++)
		add(&sum, &one);
	close(ends[0]);
	while (wait(NULL) > 0)
		;
	if (heard != count)
		printf("%zu of %zu children: ", heard, count);
	tell(&sum);
}

static void move_to(size_t new_bytes)
{
	unsigned char *hole = mmap(NULL, new_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *moved = mremap(memory, bytes, new_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, hole);

	if (hole == MAP_FAILED || moved == MAP_FAILED)
		die("mremap");
	memory = moved;
}

/* Between two places. Nothing is written meanwhile. */
static void move_about(uint64_t seconds)
{
	uint64_t until = now_ms() + seconds * 1000;
	unsigned char *places[2] = {memory, mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)};
	struct look sum;

	if (places[1] == MAP_FAILED)
		die("mmap");
	for (unsigned int i = 1; now_ms() < until; i++) {
		memory = mremap(memory, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, places[i % 2]);
		if (memory == MAP_FAILED)
			die("mremap");
	}
	sum = look_at_all(0);
	tell(&sum);
}

/* Behind the end of the object there is nothing. */
static void grow(void)
{
	struct look sum;
	size_t old = bytes;

	move_to(bytes + 4 * PAGE);
	bytes += 4 * PAGE;
	sum = look_at_all(0);
	bytes = old;
	tell(&sum);
}

static atomic_bool over;

static void *stress_main(void *argument)
{
	struct look *sum = argument;
	uint64_t seed = sum->ok;

	*sum = (struct look){0};
	while (!over) {
		struct look one = look_at_all(seed = mix(seed));

		add(sum, &one);
	}
	return NULL;
}

static void change(struct look *sum)
{
	static uint64_t seed = 1;
	size_t at;
	struct look one;
	int ends[2];

	seed = mix(seed);
	at = seed % (bytes / PAGE) * PAGE;
	if (madvise(memory + at, (bytes - at) / PAGE / 2 * PAGE, MADV_DONTNEED))
		die("madvise");
	if (pipe(ends))
		die("pipe");
	if (fork() == 0)
		child_looks(ends[1], seed, false);
	close(ends[1]);
	if (read(ends[0], &one, sizeof(one)) != sizeof(one))
		one = (struct look){.wrong = 1};
	close(ends[0]);
	wait(NULL);
	add(sum, &one);
}

static void stress(void)
{
	struct pollfd next = {.fd = 0, .events = POLLIN};
	struct look looks[3] = {{.ok = 1}, {.ok = 2}, {.ok = 3}};
	pthread_t ids[3];
	struct look sum = {0};

	over = false;
	for (size_t i = 0; i < 3; i++)
		pthread_create(&ids[i], NULL, stress_main, &looks[i]);
	while (poll(&next, 1, 0) == 0)
		change(&sum);
	over = true;
	for (size_t i = 0; i < 3; i++) {
		pthread_join(ids[i], NULL);
		add(&sum, &looks[i]);
	}
	printf("%s ", sum.ok > bytes / PAGE ? "enough" : "little");
	sum.ok = 0;
	tell(&sum);
}

static void say(bool good)
{
	puts(good ? "ok" : "failed");
	fflush(stdout);
}

static void write_out(const char *path)
{
	FILE *file = fopen(path, "w");

	say(file && write(fileno(file), memory, bytes) == (ssize_t)bytes);
	if (file)
		fclose(file);
}

static void punch(void)
{
	hole_start = bytes / PAGE / 4 * PAGE;
	hole_end = bytes / PAGE / 2 * PAGE;
	say(munmap(memory + hole_start, hole_end - hole_start) == 0);
}

static void make_dirty(void)
{
	dirty_page = bytes / PAGE / 3;
	memset(memory + dirty_page * PAGE, 0xd1, PAGE);
	say(true);
}

#define ALLOW(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* From here on it can read, write, handle signals and end. */
static void confine(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(read),
		ALLOW(write),
		ALLOW(exit_group),
		ALLOW(restart_syscall),
		ALLOW(rt_sigprocmask),
		ALLOW(rt_sigreturn),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = {sizeof(filter) / sizeof(*filter), filter};

	say(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

static void obey(char *line)
{
	char *argument = strchr(line, ' ');
	struct look sum = {0};

	if (argument)
		*argument++ = '\0';
	else
		argument = "";
	if (!strcmp(line, "confine")) {
		confine();
	} else if (!strcmp(line, "map")) {
		memory = (unsigned char *)strtoul(argument, &argument, 16);
		bytes = strtoul(argument, NULL, 10);
		say(true);
	} else if (!strcmp(line, "verify")) {
		sum = *argument == '0' ? look_at_all(0) : verify(strtoul(argument, NULL, 10));
		tell(&sum);
	} else if (!strcmp(line, "race")) {
		race(argument);
	} else if (!strcmp(line, "fork")) {
		do_fork(strtoul(argument, NULL, 10), false);
	} else if (!strcmp(line, "grandchild")) {
		do_fork(1, true);
	} else if (!strcmp(line, "discard")) {
		dirty_page = SIZE_MAX;
		say(madvise(memory, bytes, MADV_DONTNEED) == 0);
	} else if (!strcmp(line, "move")) {
		move_to(bytes);
		say(true);
	} else if (!strcmp(line, "moves")) {
		move_about(strtoul(argument, NULL, 10));
	} else if (!strcmp(line, "grow")) {
		grow();
	} else if (!strcmp(line, "punch")) {
		punch();
	} else if (!strcmp(line, "lock")) {
		say(mlock(memory, bytes) == 0);
	} else if (!strcmp(line, "dirty")) {
		make_dirty();
	} else if (!strcmp(line, "protect")) {
		say(mprotect(memory + PAGE, PAGE, PROT_NONE) == 0 && mprotect(memory + PAGE, PAGE, PROT_READ) == 0 &&
		    mprotect(memory + 8 * PAGE, PAGE, PROT_READ | PROT_WRITE) == 0);
	} else if (!strcmp(line, "write")) {
		write_out(argument);
	} else if (!strcmp(line, "stress")) {
		stress();
	} else if (!strcmp(line, "exec")) {
		execlp("sleep", "sleep", "100", NULL);
	} else if (!strcmp(line, "exit")) {
		exit(0);
	}
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_bus, .sa_flags = SA_NODEFER};
	FILE *file = argc > 1 ? fopen(argv[1], "r") : NULL;
	char line[1024];

	if (!file)
		die("usage: cached FILE");
	fseek(file, 0, SEEK_END);
	data_bytes = ((size_t)ftell(file) + PAGE - 1) / PAGE * PAGE;
	rewind(file);
	data = calloc(1, data_bytes + 1);
	if (!data || fread(data, 1, data_bytes, file) == 0)
		die("read");
	fclose(file);
	sigaction(SIGBUS, &action, NULL);
	setvbuf(stdin, NULL, _IONBF, 0);
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		obey(line);
	}
	return 0;
}
