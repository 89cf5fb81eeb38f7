/* SPDX-License-Identifier: MIT */
/* VmFlags (proc_pid_smaps(5)) by the names of the calls that set them. */
#include "vm_flags.h"

#include <string.h>

#include "base/cleanup.h"

static const struct {
	char flag[3];
	const char *name;
} names[] = {
	{"rd", "readable"},   {"wr", "writable"},     {"ex", "executable"},   {"sh", "shared"},
	{"mr", "may-read"},   {"mw", "may-write"},    {"me", "may-execute"},  {"ms", "may-share"},
	{"gd", "growsdown"},  {"pf", "pfn-map"},      {"lo", "locked"},       {"lf", "lock-on-fault"},
	{"io", "io"},         {"sr", "sequential"},   {"rr", "random"},       {"dc", "dontfork"},
	{"de", "dontexpand"}, {"ac", "account"},      {"nr", "noreserve"},    {"ht", "hugetlb"},
	{"sf", "sync"},       {"wf", "wipeonfork"},   {"dd", "dontdump"},     {"sd", "soft-dirty"},
	{"mm", "mixed-map"},  {"hg", "hugepage"},     {"nh", "nohugepage"},   {"mg", "mergeable"},
	{"bt", "bti"},        {"mt", "mte"},          {"um", "uffd-missing"}, {"uw", "uffd-wp"},
	{"ui", "uffd-minor"}, {"ss", "shadow-stack"}, {"sl", "sealed"},       {"dp", "droppable"},
};

static json_t *name_of(const char *flag)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strncmp(names[i].flag, flag, 2) == 0)
			return json_string(names[i].name);
	return json_stringn(flag, strcspn(flag, " "));
}

json_t *vm_flags_names(const char *flags)
{
	json_t *array = json_array();

	while (array && *(flags += strspn(flags, " "))) {
		json_array_append_new(array, name_of(flags));
		flags += strcspn(flags, " ");
	}
	return array;
}
