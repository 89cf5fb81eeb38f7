/* SPDX-License-Identifier: MIT */
/* What several verbs share: their words, and looking at a target. */
#include <errno.h>

#include "addrspace.h"
#include "base/size.h"

int look_failed(const struct run *run, int rc)
{
	struct error error = {0};
	const char *why = NULL, *hint = NULL;

	if (rc == -ESRCH)
		why = "it has ended or runs another program now";
	if (rc == -EACCES || rc == -EPERM)
		hint = "run it as root or as the owner of the process";
	error_set(&error, rc, why, hint, "look at process %d (%s)", run->target.pid, run->target.name);
	return run_failed(run, rc, &error);
}

int parse_region(const struct run *run, const char *text, struct region *region)
{
	if (region_parse(text, region) < 0)
		return cli_usage_error(run->name, "%s is not START-END in hexadecimal", text);
	if ((region->start | region->end) & (page_size() - 1))
		return cli_usage_error(run->name, "%s does not begin and end at pages", text);
	return EXIT_DONE;
}
