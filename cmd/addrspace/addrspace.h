/* SPDX-License-Identifier: MIT */
/* What the verbs of addrspace share. */
#pragma once

#include "base/region.h"
#include "edit/change.h"
#include "lazymap/live.h"
#include "tool/verb.h"

/* Says why the target could not be looked at, from a negative errno. Returns the exit code. */
int inspect_failed(const struct run *run, int rc);

/* A region given by hand, at pages. Returns an exit code after saying what is wrong. */
int parse_region(const struct run *run, const char *text, struct region *region);

/* What the options of all verbs say. */
struct addrspace_values {
	bool vm_flags, no_pages; /* of list */
	uint64_t grown_ms;
	bool dry_run, force;
	struct map_request request; /* of map and alloc; its protection is that of protect, too */
	bool shared, private, cow, ignored;
	char *file, *memfd;
	struct live_options live; /* of cache */
	struct source_options source;
	uint64_t timeout_ms;
	char *from, *output;
	char *core; /* of clone */
	bool all, hold;
};

extern const struct report_column mapping_columns[], changed_columns[], query_columns[], info_columns[],
	cache_columns[], clone_columns[], drop_columns[], diff_columns[];

/* The verbs, by their names. Return an exit code. */
int verb_list(struct run *run);
int verb_query(struct run *run);
int verb_map(struct run *run);
int verb_unmap(struct run *run); /* and free */
int verb_protect(struct run *run);
int verb_alloc(struct run *run);
int verb_info(struct run *run);
int verb_cache(struct run *run);
int verb_clone(struct run *run);
int verb_drop(struct run *run);
int verb_diff(struct run *run);
