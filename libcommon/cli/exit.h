/* SPDX-License-Identifier: MIT */
/* Exit codes, the same in every tool (documented in uvm-json(5)). */
#pragma once

enum exit_code {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,      /* it failed */
	EXIT_USAGE = 2,       /* bad input; nothing was changed */
	EXIT_PARTIAL = 3,     /* done in part; the records say which */
	EXIT_FORBIDDEN = 4,   /* not permitted */
	EXIT_UNSUPPORTED = 5, /* this kernel lacks it */
	EXIT_GONE = 6,        /* the target is gone or is another process */
	EXIT_NOTHING = 7,     /* nothing to work on: no process matched, it has no session or no ring */
};

#define EXIT_SIGNALLED 128 /* and the number of the signal that has ended it */

/*
 * The exit code that a negative errno stands for: 0 for 0, EINVAL/ERANGE/E2BIG USAGE, EPERM/EACCES FORBIDDEN,
 * ENOSYS/EOPNOTSUPP/ENOTTY UNSUPPORTED, ESRCH/ESTALE GONE, ENOMSG NOTHING, everything else FAILED.
 */
int exit_code_of(int error);
