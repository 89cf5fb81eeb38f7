/* Points at which a worker of a test build can be told to die, or to take its time. Internal to the room. */
#pragma once

#ifdef UVM_HOOKS
/*
 * Kills this process when the environment names the point: UVM_KILL_AT is "POINT" or "POINT:N" (the Nth time that this
 * worker passes it), UVM_KILL_MARK a folder that must not be there yet. It is made first, so that only one worker dies
 * of it, and so that a test knows that one did. Before that it waits where UVM_PAUSE_AT says so:
 * "POINT:MS[,POINT:MS]...".
 */
void hook(const char *point);
#else
static inline void hook(const char *point)
{
	(void)point;
}
#endif
