/* SPDX-License-Identifier: MIT */
/* What choosing a way into a target needs, whatever is done there. */
#include "access/method.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "uffd/guard.h"

static const char *const names[] = {
	[ACCESS_AUTO] = "auto", [ACCESS_PTRACE] = "ptrace", [ACCESS_AGENT] = "agent", [ACCESS_PUPPET] = "puppet"};

const char *access_name(enum access_method access)
{
	return names[access];
}

static int try_ptrace(const void *unused)
{
	(void)unused;
	/* Nobody's tracer: -ESRCH, unless a filter thinks otherwise. */
	return ptrace(PTRACE_DETACH, getpid(), NULL, NULL) < 0 && errno == ESRCH ? 0 : -EPERM;
}

int access_traces(const struct target *target, const char *tried, struct error *error)
{
	if (guard_call(try_ptrace, NULL) == 0)
		return 0;
	return error_set(error, -EPERM, "a seccomp filter forbids ptrace", NULL, "%s process %d", tried, target->pid);
}

int access_neither(const struct error *inject, const struct error *agent, struct error *error)
{
	char why[sizeof(error->why)], hint[sizeof(error->hint)];

	snprintf(why, sizeof(why), "ptrace: %.90s; agent: %.90s", inject->why, agent->why);
	snprintf(hint, sizeof(hint), "%.90s%s%.100s", inject->hint, *inject->hint && *agent->hint ? "; or " : "",
		 agent->hint);
	return error_set(error, inject->code, why, hint, "%s", inject->tried);
}
