/* SPDX-License-Identifier: MIT */
/*
 * A program that does its worst to a session: hostile PATTERN BYTES [SEED]. Prints "ready START END". While it is
 *hostile, a thread forks, closes and duplicates descriptors, changes their flags, lowers limits, and unmaps, discards
 *and overwrites what others have put into its memory; it kills, stops and traces the processes that share it. Another
 *one verifies the contents all the time. Obeys commands on standard input, a line each:
 *
 *	go		fork, close, duplicate and lower
 *	harm		unmap, overwrite, kill, stop and trace, too
 *	stop		be no longer, and verify; the answer ends with the number of pages that give SIGBUS
 *	exec		a thread executes this program anew, without a seed
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "contents.h"

#define AREAS     64
#define CHILDREN  8 /* of which each verifies a part */
#define FEW_FILES 64

static struct contents c;
static char **arguments;
static _Atomic size_t hostile; /* deeds that it chooses from */
static atomic_bool busy;
static _Atomic unsigned long wrong;
static uint64_t state;

static _Thread_local sigjmp_buf bus;

static void on_bus(int number)
{
	siglongjmp(bus, number);
}

/* Pages from `first` on, each `step`th; returns how many are lost. */
static size_t verify(size_t first, size_t step)
{
	volatile size_t lost = 0;

	for (volatile size_t i = first; i < c.bytes / PAGE; i += step)
		if (sigsetjmp(bus, 1))
			lost++;
		else if (!pattern_holds_page(c.at, &c.pattern, i))
			wrong++;
	return lost;
}

static uint64_t roll(uint64_t below)
{
	state = mix(state);
	return below ? state % below : 0;
}

static void fork_child(void)
{
	size_t first = roll(CHILDREN);
	pid_t child = fork();
	int status;

	if (child == 0) {
		wrong = 0;
		verify(first, CHILDREN);
		_exit(wrong != 0);
	}
	if (child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status))
		wrong += (unsigned long)WEXITSTATUS(status);
}

static void close_files(void)
{
	close_range(3, ~0U, 0);
}

static void change_files(void)
{
	for (int fd = 3; fd < FEW_FILES; fd++) {
		int flags = fcntl(fd, F_GETFL), copy = flags < 0 ? -1 : dup(fd);

		if (copy >= 0)
			fcntl(copy, F_SETFL, flags ^ O_NONBLOCK);
	}
}

static void lower_limit(void)
{
	static const int limits[] = {RLIMIT_NOFILE, RLIMIT_AS, RLIMIT_MEMLOCK, RLIMIT_NPROC};
	int which = limits[roll(4)];
	struct rlimit before, low;

	if (getrlimit(which, &before))
		die("getrlimit");
	low = before;
	low.rlim_cur = roll(8);
	setrlimit(which, &low);
	usleep((useconds_t)roll(20000));
	setrlimit(which, &before);
}

struct area {
	char *at;
	size_t bytes;
};

/* What others put there is kept from children ("dc"), and nothing of this program is. */
static size_t find_areas(struct area areas[AREAS])
{
	FILE *file = fopen("/proc/self/smaps", "re");
	unsigned long start = 0, end = 0;
	char line[512];
	size_t count = 0;

	while (file && count < AREAS && fgets(line, sizeof(line), file)) {
		sscanf(line, "%lx-%lx ", &start, &end);
		if (strncmp(line, "VmFlags:", 8) != 0 || !strstr(line, " dc"))
			continue;
		areas[count].at = (char *)start; /* NOLINT(performance-no-int-to-ptr) */
		areas[count++].bytes = end - start;
	}
	if (file)
		fclose(file);
	return count;
}

/* Whatever the protection of the page was. */
static void overwrite(char *page)
{
	if (mprotect(page, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) || sigsetjmp(bus, 1))
		return;
	for (size_t i = 0; i < PAGE; i += 1 + roll(64))
		page[i] = (char)roll(256);
}

static void spoil_area(void)
{
	struct area areas[AREAS] = {0}, *area;
	size_t count = find_areas(areas);
	char *page;

	area = &areas[roll(count)];
	if (!count || !area->at)
		return;
	page = area->at + roll(area->bytes / PAGE) * PAGE;
	switch (roll(4)) {
	case 0:
		munmap(area->at, area->bytes);
		break;
	case 1:
		munmap(page, PAGE);
		break;
	case 2:
		madvise(area->at, area->bytes, MADV_DONTNEED);
		break;
	default:
		overwrite(page);
	}
}

static void harm(pid_t pid)
{
	switch (roll(3)) {
	case 0:
		kill(pid, SIGKILL);
		break;
	case 1:
		kill(pid, SIGSTOP);
		break;
	default:
		if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0 && ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == 0) {
			waitpid(pid, NULL, __WALL);
			usleep((useconds_t)roll(20000));
			ptrace(PTRACE_DETACH, pid, NULL, NULL);
		}
	}
}

static void harm_sharers(void)
{
	DIR *processes = opendir("/proc");

	for (struct dirent *entry; processes && (entry = readdir(processes));) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (pid > 0 && pid != getpid() && syscall(SYS_kcmp, getpid(), pid, KCMP_VM, 0, 0) == 0)
			harm(pid);
	}
	if (processes)
		closedir(processes);
}

#define GENTLE 4 /* of these, the first */

static void (*const deeds[])(void) = {fork_child, close_files, change_files, lower_limit, spoil_area, harm_sharers};

static void *be_hostile(void *unused)
{
	(void)unused;
	for (;;) {
		size_t choice;

		busy = true;
		choice = hostile;
		if (choice)
			deeds[roll(choice)]();
		busy = false;
		usleep((useconds_t)roll(5000));
	}
	return NULL;
}

static void *verify_on(void *unused)
{
	(void)unused;
	for (;;) {
		verify(0, 1);
		usleep(1000);
	}
	return NULL;
}

static void *execute(void *unused)
{
	(void)unused;
	execv("/proc/self/exe", arguments);
	die("execv");
	return NULL;
}

static void obey(const char *word)
{
	pthread_t thread;
	size_t lost = 0;

	hostile = !strcmp(word, "go\n") ? GENTLE : !strcmp(word, "harm\n") ? sizeof(deeds) / sizeof(*deeds) : 0;
	while (!hostile && busy)
		usleep(100);
	if (!strcmp(word, "exec\n")) {
		if (pthread_create(&thread, NULL, execute, NULL))
			die("pthread_create");
		pause();
	}
	lost = hostile ? 0 : verify(0, 1);
	if (wrong)
		printf("wrong %lu\n", (unsigned long)wrong);
	else
		printf("ok %zu\n", lost);
}

int main(int argc, char **argv)
{
	pthread_t threads[2];
	char line[64];

	state = argc > 3 ? strtoull(argv[3], NULL, 0) : 0;
	arguments = argv;
	c = contents_start(argc, argv);
	signal(SIGBUS, on_bus);
	if (pthread_create(&threads[0], NULL, be_hostile, NULL) || pthread_create(&threads[1], NULL, verify_on, NULL))
		die("pthread_create");
	while (fgets(line, sizeof(line), stdin))
		obey(line);
	return 0;
}
