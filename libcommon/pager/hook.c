/* Points at which a worker of a test build can be told to die, or to take its time. */
#include "pager/hook.h"

#ifdef UVM_HOOKS

#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAUSE_LOOK_MS 10

static void pause_for(unsigned long ms)
{
	const char *mark = getenv("UVM_PAUSE_MARK");
	char reached[PATH_MAX];

	if (mark && snprintf(reached, sizeof(reached), "%s.reached", mark) < (int)sizeof(reached))
		mkdir(reached, 0700);
	for (; mark && ms > PAUSE_LOOK_MS && access(mark, F_OK) == 0; ms -= PAUSE_LOOK_MS)
		usleep(PAUSE_LOOK_MS * 1000);
	if (!mark)
		usleep((useconds_t)ms * 1000);
}

static void pause_at(const char *point)
{
	const char *wanted = getenv("UVM_PAUSE_AT");
	size_t length = strlen(point);

	while (wanted) {
		if (strncmp(wanted, point, length) == 0 && wanted[length] == ':')
			pause_for(strtoul(wanted + length + 1, NULL, 10));
		wanted = strchr(wanted, ',');
		wanted += wanted != NULL;
	}
}

static void hang_at(const char *point)
{
	const char *wanted = getenv("UVM_HANG_AT");
	const char *mark = getenv("UVM_HANG_MARK");

	if (wanted && mark && strcmp(wanted, point) == 0 && mkdir(mark, 0700) == 0)
		for (;;)
			pause();
}

unsigned int hook_number(const char *name, unsigned int normal)
{
	const char *chosen = getenv(name);

	return chosen ? (unsigned int)strtoul(chosen, NULL, 10) : normal;
}

void hook(const char *point)
{
	static _Atomic unsigned long passed;
	const char *wanted = getenv("UVM_KILL_AT");
	const char *mark = getenv("UVM_KILL_MARK");
	size_t length = strlen(point);

	pause_at(point);
	hang_at(point);
	if (!wanted || !mark || strncmp(wanted, point, length) != 0 || (wanted[length] && wanted[length] != ':'))
		return;
	if (wanted[length] == ':' && atomic_fetch_add(&passed, 1) + 1 != strtoul(wanted + length + 1, NULL, 10))
		return;
	if (mkdir(mark, 0700) == 0) /* not a file: the keeper may open none */
		kill(getpid(), SIGKILL);
}

#endif
