/* SPDX-License-Identifier: MIT */
/* addrspace protect: other rights, or copy on write, for what is mapped. */
#include <sys/mman.h>

#include "change.h"

/* What is asked for. */
struct wanted {
	int protection;
	bool rights, copy; /* which of both */
};

static int protection_of(const struct wanted *wanted, const struct mapping *mapping)
{
	if (wanted->rights)
		return wanted->protection;
	return (mapping->read ? PROT_READ : 0) | (mapping->write ? PROT_WRITE : 0) | (mapping->execute ? PROT_EXEC : 0);
}

static int protect_piece(struct change *change, const struct edit_piece *piece, void *context, uint64_t *reached)
{
	const struct wanted *wanted = context;
	int protection = protection_of(wanted, &piece->mapping);

	if (!wanted->copy)
		return inject_protect_piece(&change->inject, piece, protection, reached);
	return inject_copy_on_write(&change->inject, piece, protection, reached);
}

/* A record says what is there now, and which rights there were. */
static void describe_rights(struct mapping *mapping, json_t *record, void *context)
{
	const struct wanted *wanted = context;
	int protection = protection_of(wanted, mapping);

	json_object_set_new(record, "was_protection",
			    protection_names(mapping->read, mapping->write, mapping->execute));
	mapping->read = protection & PROT_READ;
	mapping->write = protection & PROT_WRITE;
	mapping->execute = protection & PROT_EXEC;
	mapping->shared &= !wanted->copy;
	mapping->perm[0] = mapping->read ? 'r' : '-';
	mapping->perm[1] = mapping->write ? 'w' : '-';
	mapping->perm[2] = mapping->execute ? 'x' : '-';
	mapping->perm[3] = mapping->shared ? 's' : 'p';
}

static unsigned int rights_taken(const struct wanted *wanted)
{
	if (!wanted->rights)
		return 0;
	return (wanted->protection & PROT_READ ? 0U : TAKES_READ) |
	       (wanted->protection & PROT_WRITE ? 0U : TAKES_WRITE) |
	       (wanted->protection & PROT_EXEC ? 0U : TAKES_EXEC);
}

static int protect_regions(struct change *change, const struct region_vec *regions, struct wanted *wanted)
{
	_cleanup_pieces_ struct pieces pieces = {0};
	struct error error = {0};
	int rc = change_open(change, &error);

	if (rc == 0)
		rc = change_inspect(change, regions, rights_taken(wanted), &pieces, &error);
	if (rc == 0)
		rc = change_pieces(change, &pieces, protect_piece, describe_rights, wanted, &error);
	return change_close(change, rc, &error);
}

int verb_protect(struct run *run)
{
	const struct addrspace_values *values = run_values(run);
	struct change change = CHANGE_OF(run, "mprotect");
	struct wanted wanted = {.protection = values->request.protection,
				.rights = cli_given(&run->options, "protection"),
				.copy = values->cow};
	struct region_vec *regions;
	int status;

	if (!wanted.rights && !wanted.copy)
		return cli_usage_error(run->name, "which rights? give --protection, --cow or both");
	status = change_begin(run, &regions);
	return status == EXIT_DONE ? protect_regions(&change, regions, &wanted) : status;
}
