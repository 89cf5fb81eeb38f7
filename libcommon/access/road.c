/* SPDX-License-Identifier: MIT */
/* What choosing a road needs, whatever is done on it. */
#include "access/road.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "uffd/guard.h"

static const char *const names[] = {
	[ROAD_AUTO] = "auto", [ROAD_INJECT] = "inject", [ROAD_AGENT] = "agent", [ROAD_PUPPET] = "puppet"};

int road_parse(const char *text, enum road_choice *road)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(text, names[i]) == 0) {
			*road = (enum road_choice)i;
			return 0;
		}
	return -EINVAL;
}

const char *road_name(enum road_choice road)
{
	return names[road];
}

static int try_ptrace(const void *unused)
{
	(void)unused;
	/* Nobody's tracer: -ESRCH, unless a filter thinks otherwise. */
	return ptrace(PTRACE_DETACH, getpid(), NULL, NULL) < 0 && errno == ESRCH ? 0 : -EPERM;
}

int road_traces(const struct target *target, const char *tried, struct error *error)
{
	if (guarded(try_ptrace, NULL) == 0)
		return 0;
	return error_set(error, -EPERM, "a seccomp filter forbids ptrace", NULL, "%s process %d", tried, target->pid);
}

int road_neither(const struct error *inject, const struct error *agent, struct error *error)
{
	char why[sizeof(error->why)], hint[sizeof(error->hint)];

	snprintf(why, sizeof(why), "inject: %.90s; agent: %.90s", inject->why, agent->why);
	snprintf(hint, sizeof(hint), "%.90s%s%.100s", inject->hint, *inject->hint && *agent->hint ? "; or " : "",
		 agent->hint);
	return error_set(error, inject->code, why, hint, "%s", inject->tried);
}
