/* SPDX-License-Identifier: MIT */
/* addrspace unmap and free: memory away. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "change.h"

static int unmap_piece(struct change *change, const struct piece *piece, void *context, uint64_t *reached)
{
	(void)context;
	return inject_unmap_piece(&change->inject, piece, reached);
}

/* What an allocation is: private anonymous memory that is neither the heap of brk(2) nor a stack. */
static int check_allocated(const struct pieces *pieces, struct error *error)
{
	for (size_t i = 0; i < pieces->count; i++) {
		const struct piece *piece = &pieces->items[i];
		const char *why = NULL;

		if (!piece->mapped)
			continue;
		if (piece->mapping.kind != MAPPING_ANON || piece->mapping.shared)
			why = "it is not private anonymous memory";
		else if (strcmp(piece->mapping.name, "[heap]") == 0)
			why = "it is the heap that brk(2) moves";
		if (why)
			return error_set(error, -EINVAL, why, "addrspace unmap takes any mapping",
					 "free %#" PRIx64 "-%#" PRIx64 " (%s)", piece->part.start, piece->part.end,
					 *piece->mapping.name ? piece->mapping.name : "anonymous");
	}
	return 0;
}

static int unmap(struct change *change, const struct region_vec *regions, bool allocated_only)
{
	_cleanup_pieces_ struct pieces pieces = {0};
	struct error error = {0};
	int rc = change_open(change, &error);

	if (rc == 0)
		rc = change_look(change, regions, TAKES_ALL, &pieces, &error);
	if (rc == 0 && allocated_only)
		rc = check_allocated(&pieces, &error);
	if (rc == 0)
		rc = change_pieces(change, &pieces, unmap_piece, NULL, NULL, &error);
	return change_close(change, rc, &error);
}

static int run_unmap(struct change *change, const struct cli_popt_tool *tool, bool allocated_only, int argc,
		     const char **argv)
{
	_cleanup_operands_ char **words = NULL;
	_cleanup_input_ struct region_input input = {0};
	struct run *run = &change->run;
	int status;

	if (cli_popt_parse(tool, argc, argv, &run->options, &words, &status))
		return status;
	status = run_open(run, mapping_columns, "region", false);
	if (status == EXIT_DONE)
		status = change_input(change, words[0], &input);
	if (status == EXIT_DONE)
		status = unmap(change, &input.regions, allocated_only);
	return run_finish(run, status);
}

int verb_unmap(int argc, const char **argv)
{
	_cleanup_change_ struct change change = CHANGE_NONE("unmap", "munmap");
	const struct poptOption options[] = {DRY_RUN_OPTION(change), FORCE_OPTION(change), POPT_TABLEEND};
	const struct cli_popt_tool tool = {
		.name = "addrspace unmap",
		.usage = "-p PID START-END|-r FILE [OPTION...]",
		.about = "Unmaps what is mapped in regions.",
		.options = options,
		.takes = CLI_TAKES_PID | CLI_TAKES_REGIONS,
		.operands = 1,
	};

	return run_unmap(&change, &tool, false, argc, argv);
}

int verb_free(int argc, const char **argv)
{
	_cleanup_change_ struct change change = CHANGE_NONE("free", "munmap");
	const struct poptOption options[] = {DRY_RUN_OPTION(change), FORCE_OPTION(change), POPT_TABLEEND};
	const struct cli_popt_tool tool = {
		.name = "addrspace free",
		.usage = "-p PID START-END|-r FILE [OPTION...]",
		.about = "Frees memory that alloc has made, or other private anonymous memory; all of it or a part.",
		.options = options,
		.takes = CLI_TAKES_PID | CLI_TAKES_REGIONS,
		.operands = 1,
	};

	return run_unmap(&change, &tool, true, argc, argv);
}
