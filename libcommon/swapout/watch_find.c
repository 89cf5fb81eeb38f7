/* SPDX-License-Identifier: MIT */
/* Memory that a watch of a whole process has yet to take in. */
#include "swapout/watch_find.h"

#include <string.h>

#include "base/size.h"
#include "pages/pages.h"
#include "proc/maps.h"

/* The stack is never eligible, and grows all the time. */
static bool may_be_watched(const struct mapping *mapping)
{
	return mapping->kind == MAPPING_ANON && mapping->write && !mapping->shared &&
	       strcmp(mapping->name, "[stack]") != 0 && !mapping_has_our_name(mapping);
}

static int has_resident(void *context, struct region region, const struct residency *residency)
{
	(void)context;
	(void)region;
	return residency->resident > 0;
}

static int add_unknown(const struct pages *pages, const struct region_vec *known, struct region mapping,
		       struct region_vec *found)
{
	_cleanup_regions_ struct region_vec gaps = {0};
	int rc = region_vec_gaps(known, mapping, &gaps);

	for (size_t i = 0; rc == 0 && i < gaps.count; i++) {
		rc = pages_superpages(pages, gaps.items[i], 2 * MiB, true, has_resident, NULL);
		if (rc > 0)
			rc = region_vec_push(found, gaps.items[i]);
	}
	return rc;
}

int watch_find(const struct pager *pager, const struct region_vec *known, struct region_vec *found)
{
	struct pages pages = {.method = PAGES_AUTO, .pagemap_fd = pager->view.pagemap_fd};
	struct maps_reader reader;
	struct mapping mapping;
	int rc = pages_open(&pages);

	if (rc == 0)
		rc = maps_open(&reader, &pager->target);
	if (rc < 0)
		return rc;
	while ((rc = maps_next(&reader, &mapping)) > 0)
		if (may_be_watched(&mapping) && (rc = add_unknown(&pages, known, mapping.region, found)) < 0)
			break;
	maps_close(&reader);
	return rc;
}
