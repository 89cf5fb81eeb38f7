/* SPDX-License-Identifier: MIT */
/*
 * The mappings of a target with their VmFlags, from /proc/PID/smaps: it costs more than maps, because the kernel counts
 * pages for it.
 */
#pragma once

#include "proc/maps.h"

/* Returns 0, -ESRCH or -EACCES. The caller closes it with maps_close. */
int smaps_open(struct maps_reader *smaps, const struct target *target);

/*
 * The next mapping, in order of address, and its VmFlags: two letters each, as in "rd wr mr mw me ac"
 * (proc_pid_smaps(5)); NULL where the kernel gives none. They last until the next call. Returns 1, 0 at the end, or
 * -errno (-ESRCH when the address space is gone).
 */
int smaps_next(struct maps_reader *smaps, struct mapping *mapping, const char **flags);

/* smaps_next with what it counts. */
int smaps_next_counted(struct maps_reader *smaps, struct mapping *mapping, const char **flags,
		       struct smaps_counts *counts);

/* Whether one of several flags ("um uw ui") is among them; NULL: none is. */
bool vm_flags_have(const char *flags, const char *any);

/*
 * From now on Referenced counts what is touched after this call (proc_pid_clear_refs(5)): the kernel forgets of all
 * pages of the process that they were used, by which it also chooses what to reclaim. Returns 0, or -errno: -EACCES
 * (neither the process's user nor root), -ESRCH.
 */
int smaps_clear_referenced(const struct target *target);
