/* SPDX-License-Identifier: MIT */
/* Which of the chosen processes come first, and which last. */
#pragma once

#include <sys/types.h>

enum preference {
	PREFERENCE_AVOID = -1,
	PREFERENCE_NONE,
	PREFERENCE_PREFER,
};

/* The options --prefer and --avoid: lists ended by NULL, or NULL. */
struct preferences {
	char **prefer, **avoid;
};

/*
 * What they say of a process. Each is a glob for the name of its command, or "cgroup:PATH", in which or below which it
 * is, or "unit:NAME" of a unit of systemd. What is preferred is not avoided.
 */
enum preference preference_of(const struct preferences *preferences, pid_t pid);
