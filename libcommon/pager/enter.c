/* SPDX-License-Identifier: MIT */
/* Into a target that a session is attached to, for a call. */
#include "pager/enter.h"

#include <errno.h>

#include "base/cleanup.h"
#include "index/index.h"
#include "pager/held.h"
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

void enter_note(struct pager *pager)
{
	struct index_header *header = index_header(pager->index);
	const struct road *road = &pager->road;

	header->control = road->control;
	header->uffd_number = road->number;
	header->uffd_holder = road->holder;
	header->puppet = puppet_record(&road->puppet);
}

int enter_begin(struct pager *pager, struct error *error)
{
	struct road *road = &pager->road;
	int64_t rc = road->ops->calls.begin(road, error);

	if (rc < 0)
		return (int)rc;
	enter_note(pager);
	rc = road->number < 0 ? held_everything(pager) : 0;
	if (rc == 0)
		return 0;
	road->ops->calls.end(road);
	return error_set(error, (int)rc, NULL, NULL, "give the session's descriptors to process %d", pager->target.pid);
}

int enter_staging(struct pager *pager, struct error *error)
{
	int uffd;
	int rc;

	if (pager->uffd_staging >= 0)
		return 0;
	uffd = pager->road.ops->fds.new_uffd(&pager->road, error);
	if (uffd < 0)
		return uffd;
	rc = enter_handshake(uffd, UFFD_FEATURE_EVENT_UNMAP, error);
	if (rc < 0)
		close(uffd);
	else
		pager->uffd_staging = uffd;
	return rc;
}
