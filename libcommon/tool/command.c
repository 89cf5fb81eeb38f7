/* SPDX-License-Identifier: MIT */
#include "tool/command.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "report/error.h"
#include "report/report.h"

#define CANNOT_RUN 126 /* as env(1), nohup(1) and the shells have it */
#define NOT_FOUND  127

/* A path with a separator of LD_PRELOAD in it cannot be given there. */
static void find_library(const char *library, char path[PATH_MAX])
{
	static const char *const places[] = {"lib", "lib/uvmtools"};
	char own[PATH_MAX] = "";
	char beside[PATH_MAX + 64];

	if (readlink("/proc/self/exe", own, sizeof(own) - 1) > 0) {
		*strrchr(own, '/') = '\0';
		for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
			snprintf(beside, sizeof(beside), "%s/../%s/%s", own, places[i], library);
			if (realpath(beside, path) && !strpbrk(path, " :"))
				return;
		}
	}
	snprintf(path, PATH_MAX, "%s", library);
}

int command_preload(const char *library)
{
	char path[PATH_MAX];
	const char *others = getenv("LD_PRELOAD");
	_cleanup_free_ char *all = NULL;

	find_library(library, path);
	if (asprintf(&all, "%s%s%s", path, others && *others ? ":" : "", others ? others : "") < 0)
		return -ENOMEM;
	return setenv("LD_PRELOAD", all, 1) < 0 ? -ENOMEM : 0;
}

int command_exec(const char *tool, char **words)
{
	struct error error = {0};

	report_restore_signals();
	execvp(words[0], words);
	error_set(&error, -errno, NULL, NULL, "run %s", words[0]);
	error_print(tool, &error);
	return error.code == -ENOENT ? NOT_FOUND : CANNOT_RUN;
}
