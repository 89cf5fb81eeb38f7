/* Points at which a worker of a test build can be told to die. */
#include "pager/hook.h"

#ifdef UVM_HOOKS

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void hook(const char *point)
{
	static _Atomic unsigned long passed;
	const char *wanted = getenv("UVM_KILL_AT");
	const char *mark = getenv("UVM_KILL_MARK");
	size_t length = strlen(point);

	if (!wanted || !mark || strncmp(wanted, point, length) != 0 || (wanted[length] && wanted[length] != ':'))
		return;
	if (wanted[length] == ':' && atomic_fetch_add(&passed, 1) + 1 != strtoul(wanted + length + 1, NULL, 10))
		return;
	if (open(mark, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) >= 0)
		kill(getpid(), SIGKILL);
}

#endif
