/* SPDX-License-Identifier: MIT */
/* Into a target: which way, and what is made there. */
#include "worker/attach.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "index/index.h"
#include "pager/pager.h"
#include "pager/target_fds.h"
#include "swapout/staging.h"
#include "uffd/offer.h"

#define FEATURES                                                                                                     \
	(UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP | \
	 UFFD_FEATURE_MOVE | UFFD_FEATURE_POISON | UFFD_FEATURE_THREAD_ID)

static void leave_target(struct pager *pager)
{
	struct access *access = &pager->access;
	struct error ignored = {0};

	target_fds_return(pager);
	if (access->ops && pager->staging.region.end)
		staging_leave(pager, &ignored);
	if (access->ops && access->ops->life.leave(access, &ignored) < 0 && access->ops)
		access->ops->life.abandon(access);
}

/*
 * The handshake of the program's descriptor. Who may not have fork events is told by the program before it forks, when
 * that way can make it.
 */
static int enable_memory(struct pager *pager, int fd, struct error *error)
{
	struct access *access = &pager->access;
	int rc = uffd_enable(fd, FEATURES, error);

	pager->forks.ask = rc == -EPERM && access->ops->life.forks(access, true) == 0;
	if (pager->forks.ask)
		return uffd_enable(fd, FEATURES & ~(uint64_t)UFFD_FEATURE_EVENT_FORK, error);
	return rc == 0 ? access->ops->life.forks(access, false) : rc;
}

/* Tried on the staging area, in which nothing is yet. */
static bool unregister_is_checked(struct region staging, const int uffd[2])
{
	bool checked = uffd_register_missing(uffd[1], staging) == 0 && uffd_unregister(uffd[0], staging) == -EINVAL;

	uffd_unregister(uffd[1], staging);
	return checked;
}

/* Both descriptors and the staging area. */
static int take_way(struct pager *pager, enum access_method choice, struct error *error)
{
	struct index_header *header = index_header(pager->index);
	struct access *access = &pager->access;
	struct error ignored = {0};
	int uffd[2];
	int rc;

	*access = ACCESS_BY(choice);
	rc = access_ops(choice)->life.enter(access, &pager->target, STAGING_BYTES, uffd, error);
	if (rc < 0)
		return rc;
	rc = enable_memory(pager, uffd[0], error);
	if (rc == 0)
		rc = uffd_enable(uffd[1], UFFD_FEATURE_EVENT_UNMAP, error);
	if (rc < 0) {
		leave_target(pager);
		close(uffd[0]);
		close(uffd[1]);
		return rc;
	}
	pager->spaces[0].uffd = uffd[0];
	pager->staging.uffd = uffd[1];
	pager->staging.region = header->session.staging.region = access->staging;
	header->session.unregister_checked = unregister_is_checked(access->staging, uffd);
	header->session.target.access = choice;
	target_fds_note(pager);
	pager->spaces[0].used = true;
	rc = staging_begin(pager, error);
	/* From now on no thread shall have to be stopped to be asked. */
	if (rc == 0 && choice == ACCESS_PUPPET)
		pins_scan(&pager->view.pins, access, true, &ignored);
	if (rc == 0)
		rc = target_fds_give_store(pager, error);
	if (rc < 0)
		leave_target(pager);
	return rc;
}

void attach_leave(struct pager *pager)
{
	leave_target(pager);
	pager_remove_files(pager);
}

/* Where no puppet can be made, a thread of the program can still be stopped. */
static void offer_inject(struct error *error)
{
	size_t length = strlen(error->hint);

	snprintf(error->hint + length, sizeof(error->hint) - length, "%s--access ptrace needs none",
		 length ? "; " : "");
}

static int trace_by_right(struct pager *pager, struct error *error)
{
	int rc = access_traces(&pager->target, "attach to", error);

	if (rc == 0)
		rc = take_way(pager, ACCESS_PUPPET, error);
	if (rc == -EAGAIN || rc == -ENOSYS)
		offer_inject(error);
	return rc;
}

int attach_target(struct pager *pager, enum access_method choice, struct error *error)
{
	struct error trace = {0};
	struct error agent = {0};
	int rc;

	if (choice != ACCESS_AUTO)
		return take_way(pager, choice, error);
	rc = trace_by_right(pager, &trace);
	if (rc != -EPERM && rc != -EACCES) {
		*error = trace;
		return rc;
	}
	if (take_way(pager, ACCESS_AGENT, &agent) == 0)
		return 0;
	return access_neither(&trace, &agent, error);
}

int attach_again(struct pager *pager, struct error *error)
{
	const struct index_header *header = index_header(pager->index);
	uint32_t method = header->session.target.access;
	struct access *access = &pager->access;
	int uffd;

	access->method = method > ACCESS_AUTO && method <= ACCESS_PUPPET ? method : ACCESS_PTRACE;
	pager->staging.region = access->staging = header->session.staging.region;
	access->control = header->session.target.control;
	access->number = header->session.target.uffd_number;
	access->record = header->session.target.puppet;
	uffd = access_ops(access->method)->life.rejoin(access, &pager->target, error);
	if (uffd < 0)
		return uffd;
	pager->spaces[0].uffd = uffd;
	pager->spaces[0].used = true;
	pager->forks.ask = access->agent.shared && __atomic_load_n(&access->agent.shared->ask, __ATOMIC_SEQ_CST);
	return 0;
}
