/* SPDX-License-Identifier: MIT */
/*
 * Memory of another process out to the swap that the machine has, and back, by process_madvise(2). Nothing of the
 * process is changed, and nothing has to stay for it.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/region.h"
#include "proc/target.h"
#include "report/error.h"

struct pageout {
	const struct target *target;
	const struct region_vec *regions;            /* sorted, without overlaps; NULL: everything that is eligible */
	uint64_t bytes;                              /* out: stop after so many; 0: no limit */
	bool dry_run;                                /* out: say what is resident, advise nothing */
	bool (*enough)(void *context);               /* asked again and again: whether to stop */
	void (*emit)(void *context, json_t *record); /* takes the record */
	void *context;
};

/*
 * Whether there is a swap, and this process may advise the process: CAP_SYS_NICE, and PTRACE_MODE_READ
 * (process_madvise(2), mm/madvise.c). Returns 0, or -errno with `error` filled: -EOPNOTSUPP there is no swap, or the
 * kernel has no such call (Linux 5.10); -EPERM, -ESRCH.
 */
int pageout_check(const struct target *target, struct error *error);

/*
 * MADV_PAGEOUT: a "region" record for each region, or eligible mapping, and a "summary". Returns 0, 1 when something
 * stayed that could have left (pages that others map too, or that the kernel was busy with), or -errno with `error`
 * filled; -ECANCELED: it was told to stop, and the records say what was done.
 */
int pageout_out(const struct pageout *pageout, struct error *error);

/*
 * MADV_WILLNEED: the kernel reads what is in swap, so that touching it waits for no device. A "summary". Returns as
 * pageout_out.
 */
int pageout_in(const struct pageout *pageout, struct error *error);
