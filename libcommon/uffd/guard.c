/* SPDX-License-Identifier: MIT */
/* A child in the place of this process, for as long as one try takes. */
#include "uffd/guard.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/rights.h"

int guard_call(int (*run)(const void *argument), const void *argument)
{
	int status = 0;
	pid_t pid;

	if (!rights_under_seccomp())
		return run(argument);
	pid = fork();
	if (!pid) {
		/* The kernel dumps the core of what a filter kills. */
		setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
		_exit(-run(argument));
	}
	if (pid < 0)
		return -errno;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EPERM;
}
