/* SPDX-License-Identifier: MIT */
/* Into a target that a session is attached to, for a call. */
#include "pager/enter.h"

#include <errno.h>

#include "base/cleanup.h"
#include "pager/pager.h"

int enter_handshake(int fd, uint64_t features, struct error *error)
{
	int rc = uffd_handshake(fd, features);

	if (rc == -EPERM)
		return error_set(error, rc,
				 "fork events need CAP_SYS_PTRACE, and without them a child would read zeros",
				 "run as root or with CAP_SYS_PTRACE", "enable the userfaultfd");
	if (rc == -EOPNOTSUPP)
		return error_set(error, rc, "this kernel's userfaultfd lacks UFFDIO_MOVE",
				 "Linux 6.8 or newer is needed", "enable the userfaultfd");
	return rc < 0 ? error_set(error, rc, NULL, NULL, "enable the userfaultfd") : 0;
}

int enter_staging(struct pager *pager, struct error *error)
{
	int uffd;
	int rc;

	if (pager->staging.uffd >= 0)
		return 0;
	uffd = pager->access.ops->fds.new_uffd(&pager->access, error);
	if (uffd < 0)
		return uffd;
	rc = enter_handshake(uffd, UFFD_FEATURE_EVENT_UNMAP, error);
	if (rc < 0)
		close(uffd);
	else
		pager->staging.uffd = uffd;
	return rc;
}
