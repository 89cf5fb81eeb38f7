/* SPDX-License-Identifier: MIT */
/* From errno to exit code. */
#include "cli/exit.h"

#include <errno.h>

int exit_code_of(int error)
{
	switch (-error) {
	case 0:
		return EXIT_DONE;
	case EINVAL:
	case ERANGE:
	case E2BIG:
		return EXIT_USAGE;
	case EPERM:
	case EACCES:
		return EXIT_FORBIDDEN;
	case ENOSYS:
	case EOPNOTSUPP:
	case ENOTTY:
		return EXIT_UNSUPPORTED;
	case ESRCH:
	case ESTALE:
		return EXIT_GONE;
	case ENOMSG:
		return EXIT_NOTHING;
	default:
		return EXIT_FAILED;
	}
}
