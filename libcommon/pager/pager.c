/* SPDX-License-Identifier: MIT */
/* The beginning of a session's state, and its end on the file system. */
#include "pager/pager.h"

#include "store/seal.h"

#include "state/paths.h"

void pager_init(struct pager *pager, const struct target *target, unsigned int cluster_pages)
{
	pager->access = ACCESS_NONE;
	pager->target = *target;
	pager->cluster_pages = cluster_pages;
	pager->files.sessions = pager->files.directory = pager->tiers.store_fd = pager->tiers.pool_fd =
		pager->tiers.key_fd = pager->index_fd = pager->staging.uffd = pager->view.maps_fd =
			pager->view.pagemap_fd = pager->serving.control = pager->spaces[0].uffd = pager->serving.ready =
				pager->supervision.socket = -1;
	paths_name(pager->files.name, target->pid, target->starttime);
}

void pager_remove_files(struct pager *pager)
{
	if (!pager->files.removed)
		seal_wipe(pager->tiers.seal);
	paths_remove(&pager->files);
}
