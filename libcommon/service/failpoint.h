/* SPDX-License-Identifier: MIT */
/* Points at which a process of a test build can be told to die, or to take its time. */
#pragma once

#ifdef UVM_FAILPOINTS
/*
 * Kills this process when the environment names the point: UVM_KILL_AT is "POINT" or "POINT:N" (the Nth time that this
 * worker passes it), UVM_KILL_MARK a directory that must not be there yet. It is made first, so that only one worker
 * dies of it, and so that a test knows that one did. Before that it waits where UVM_PAUSE_AT says so:
 * "POINT:MS[,POINT:MS]...", or for no longer than what UVM_PAUSE_MARK names is there; the directory of that name with
 * ".reached" behind it tells that a thread has come so far.
 * Where UVM_TRY_AT says so it tries, once, what a process of a session must not be able to do, and leaves a directory
 * in UVM_TRY_MARK for each trial: its name and the error, or "done"; at last one with the name "end". Where UVM_HANG_AT
 * says so, a thread comes no further than to the point, once, as UVM_HANG_MARK (a directory) says.
 */
void failpoint(const char *point);

/* A number that a test may choose, by the environment. */
unsigned int failpoint_number(const char *name, unsigned int normal);
#else
static inline void failpoint(const char *point)
{
	(void)point;
}

static inline unsigned int failpoint_number(const char *name, unsigned int normal)
{
	(void)name;
	return normal;
}
#endif
