/* SPDX-License-Identifier: MIT */
/* The beginning of a session's state, and its end on the file system. */
#include "pager/pager.h"

#include "store/seal.h"

#include "state/paths.h"

void pager_init(struct pager *pager, const struct target *target, unsigned int cluster_pages)
{
	pager->road = ROAD_NONE;
	pager->target = *target;
	pager->cluster_pages = cluster_pages;
	pager->files.sessions = pager->files.directory = pager->store_fd = pager->pool_fd = pager->key_fd =
		pager->index_fd = pager->uffd_staging = pager->maps_fd = pager->pagemap_fd = pager->control =
			pager->spaces[0].uffd = pager->ready = pager->supervisor = -1;
	paths_name(pager->files.name, target->pid, target->starttime);
}

void pager_remove_files(struct pager *pager)
{
	if (!pager->files.removed)
		seal_wipe(pager->seal);
	paths_remove(&pager->files);
}
