/* SPDX-License-Identifier: MIT */
#include "tool/preference.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cgroup/cgroup.h"
#include "tool/choice.h"

/* What stands behind a word with a colon, or NULL. */
static const char *text_behind(const char *text, const char *word)
{
	return strncmp(text, word, strlen(word)) == 0 ? text + strlen(word) : NULL;
}

/* Whether a path is a directory, or below it. */
static bool lies_in(const char *path, const char *directory)
{
	size_t length = strlen(directory);

	while (length && directory[length - 1] == '/')
		length--;
	return strncmp(path, directory, length) == 0 && (!path[length] || path[length] == '/');
}

/* Whether one of the directories of a path has the name of a unit. */
static bool has_directory(const char *path, const char *unit)
{
	char name[256];
	int length = snprintf(name, sizeof(name), "/%s%s", unit, strchr(unit, '.') ? "" : ".service");

	for (const char *at = path; (at = strstr(at, name)); at++)
		if (!at[length] || at[length] == '/')
			return true;
	return false;
}

static bool matches_any(char **patterns, pid_t pid, const char *cgroup)
{
	for (; patterns && *patterns; patterns++) {
		const char *directory = text_behind(*patterns, "cgroup:");
		const char *unit = text_behind(*patterns, "unit:");

		if (directory ? lies_in(cgroup, directory)
		    : unit    ? has_directory(cgroup, unit)
			      : choice_name_matches(*patterns, pid))
			return true;
	}
	return false;
}

enum preference preference_of(const struct preferences *preferences, pid_t pid)
{
	char cgroup[PATH_MAX];

	if (!preferences->prefer && !preferences->avoid)
		return PREFERENCE_NONE;
	if (cgroup_path(pid, cgroup) < 0)
		*cgroup = '\0';
	if (matches_any(preferences->prefer, pid, cgroup))
		return PREFERENCE_PREFER;
	return matches_any(preferences->avoid, pid, cgroup) ? PREFERENCE_AVOID : PREFERENCE_NONE;
}
