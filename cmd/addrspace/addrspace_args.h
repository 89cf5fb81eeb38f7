/* SPDX-License-Identifier: MIT */
/* The options of addrspace, a row each. Included by main.c alone. */
#pragma once

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "addrspace.h"
#include "base/size.h"

#define AT(member) offsetof(struct addrspace_values, member)
#define SIZES      "4K 64K 2M 64M 1G"

/* Letters of "rwx", each once; '-' for none. */
static int parse_protection(const char *text, void *value)
{
	static const char letters[] = "rwx";
	static const int bits[] = {PROT_READ, PROT_WRITE, PROT_EXEC};
	int *protection = value;

	*protection = PROT_NONE;
	for (const char *at = text; *at; at++) {
		const char *letter = strchr(letters, *at);

		if (letter && !(*protection & bits[letter - letters]))
			*protection |= bits[letter - letters];
		else if (*at != '-')
			return -EINVAL;
	}
	return *text && strlen(text) <= strlen(letters) ? 0 : -EINVAL;
}

/* An offset: a size, or hexadecimal with 0x. */
static int parse_offset(const char *text, uint64_t *offset)
{
	return strncmp(text, "0x", 2) == 0 ? address_parse(text, offset) : size_parse(text, offset);
}

/* Adds a part of an object to those that fail. */
static int parse_fail(const char *text, void *fail)
{
	char start[32] = "";
	const char *dash = strchr(text, '-');
	struct region region = {0};

	if (dash && (size_t)(dash - text) < sizeof(start))
		memcpy(start, text, (size_t)(dash - text));
	if (!dash || parse_offset(start, &region.start) < 0 || parse_offset(dash + 1, &region.end) < 0 ||
	    region.start >= region.end)
		return -EINVAL;
	if ((region.start | region.end) & (page_size() - 1))
		return -EDOM;
	return region_vec_push(fail, region);
}

static const struct cli_option addrspace_options[] = {
	{"vm-flags", 0, CLI_FLAG, AT(vm_flags), .verbs = "list", .help = "Add the VmFlags, which costs more"},
	{"no-pages", 0, CLI_FLAG, AT(no_pages), .verbs = "list", .help = "Do not look for what is resident"},
	{"grown", 0, CLI_SECONDS, AT(grown_ms), "TIME", .verbs = "list", .words = "10s 1m 10m", .against = "no-pages",
	 .highest = 31536000, .help = "List only what has more resident after this time, and how much more"},
	{"size", 0, CLI_SIZE, AT(request.bytes), "BYTES", .verbs = "map", .lowest = 1, .words = SIZES,
	 .help = "Map so much; of a file all of it by default"},
	{"file", 0, CLI_TEXT, AT(file), "FILE", .verbs = "map", .offers = CLI_OFFERS_FILES, .against = "memfd",
	 .help = "Map a file"},
	{"offset", 0, CLI_PAGES, AT(request.offset), "BYTES", .verbs = "map", .needs = "file",
	 .help = "Map the file from this offset on"},
	{"memfd", 0, CLI_TEXT, AT(memfd), "NAME", .verbs = "map", .help = "Map a new memfd of this name"},
	{"at", 0, CLI_PAGE, AT(request.at), "ADDR", .verbs = "map alloc", .lowest = 1,
	 .help = "Map it there, or elsewhere if that is occupied"},
	{"fixed", 0, CLI_FLAG, AT(request.fixed), .verbs = "map alloc", .help = "Map it there, or not at all"},
	{"replace", 0, CLI_FLAG, AT(request.replace), .verbs = "map", .needs = "fixed",
	 .help = "With --fixed: replace what is mapped there"},
	{"align", 0, CLI_POWER, AT(request.align), "BYTES", .verbs = "alloc", .words = "64K 2M 1G", .against = "at",
	 .help = "Align the address to this power of two"},
	{"protection", 0, CLI_PARSED, AT(request.protection), "PROTECTION", .verbs = "map", .parse = parse_protection,
	 .words = "r rw rx rwx ---", .refusal = "is not some of the letters rwx, or ---",
	 .help = "Give these rights: some of the letters rwx, or --- (rw; r of a file)"},
	{"protection", 0, CLI_PARSED, AT(request.protection), "PROTECTION", .verbs = "protect",
	 .parse = parse_protection, .words = "r rw rx rwx ---", .refusal = "is not some of the letters rwx, or ---",
	 .help = "Give these rights: some of the letters rwx, or ---"},
	{"cow", 0, CLI_FLAG, AT(cow), .verbs = "protect", .help = "Make shared mappings copy on write"},
	{"private", 0, CLI_FLAG, AT(private), .verbs = "map", .against = "shared",
	 .help = "Map it copy on write (default but for a memfd)"},
	{"shared", 0, CLI_FLAG, AT(shared), .verbs = "map", .help = "Write to the object itself"},
	{"populate", 0, CLI_FLAG, AT(request.populate), .verbs = "map",
	 .help = "Map it with all pages present, or not at all"},
	{"zero", 0, CLI_FLAG, AT(ignored), .verbs = "alloc", .help = "Fill it with zeros, as is always done"},
	{"commit", 0, CLI_FLAG, AT(request.populate), .verbs = "alloc",
	 .help = "Allocate it with all pages present, or not at all"},
	{"lock", 0, CLI_FLAG, AT(request.lock), .verbs = "map alloc",
	 .help = "Allocate it with all pages present and locked, or not at all"},
	{"from", 0, CLI_TEXT, AT(from), "SOURCE", .verbs = "cache", .words = "pipe: exec:", .offers = CLI_OFFERS_FILES,
	 .help = "Map FILE, or what pipe:COMMAND or exec:COMMAND prints"},
	{"size", 0, CLI_SIZE, AT(source.bytes), "BYTES", .verbs = "cache", .lowest = 1, .words = SIZES,
	 .help = "Map so much of it (all there is)"},
	{"at", 0, CLI_PAGE, AT(live.address), "ADDR", .verbs = "cache", .lowest = 1,
	 .help = "Map it there (anywhere; for a command 0x200000000000)"},
	{"block", 0, CLI_POWER, AT(live.block_bytes), "BYTES", .verbs = "cache", .initial = "64K", .highest = 64 * MiB,
	 .help = "Fill so much at a time"},
	{"writable", 0, CLI_FLAG, AT(live.writable), .verbs = "cache", .help = "Map private pages that can be written"},
	{"delay", 0, CLI_MS, AT(live.delay_ms), "TIME", .verbs = "cache", .highest = 1000000,
	 .help = "Wait so long before each fill"},
	{"fail", 0, CLI_PARSED, AT(live.fail), "START-END", .verbs = "cache", .parse = parse_fail, .repeated = true,
	 .refusal = "is not START-END in bytes of the object",
	 .help = "Raise SIGBUS for this part of the object; may be repeated"},
	{"timeout", 0, CLI_SECONDS, AT(timeout_ms), "TIME", .verbs = "cache", .initial = "60", .highest = 1000000,
	 .help = "Wait so long for a command that prints nothing; 0: for ever"},
	{"keep", 0, CLI_SIZE, AT(source.keep), "BYTES", .verbs = "cache", .initial = "1G", .lowest = 1,
	 .help = "Keep so much of what is read in order"},
	{"at-end", 0, CLI_WORD, AT(live.end), "WHAT", .verbs = "cache", .initial = "fill", .words = "fill poison unmap",
	 .help = "At the end, treat what is missing so: fill, poison or unmap"},
	{"output", 0, CLI_TEXT, AT(output), "FILE", .verbs = "cache", .offers = CLI_OFFERS_FILES,
	 .help = "Write records to FILE"},
	{"core", 0, CLI_TEXT, AT(core), "FILE", .verbs = "clone", .offers = CLI_OFFERS_FILES,
	 .help = "Write a core file for a debugger; - is standard output"},
	{"all", 0, CLI_FLAG, AT(all), .verbs = "clone",
	 .help = "With --core: include what the process keeps out of its cores"},
	{"hold", 0, CLI_FLAG, AT(hold), .verbs = "clone", .help = "Leave the clone behind, until addrspace drop"},
	{"dry-run", 'n', CLI_FLAG, AT(dry_run), .verbs = "map unmap protect alloc free",
	 .help = "Say what would be done, change nothing"},
	{"dry-run", 'n', CLI_FLAG, AT(dry_run), .verbs = "clone", .help = "Say what would be cloned, touch nothing"},
	{"force", 0, CLI_FLAG, AT(force), .verbs = "map unmap protect free",
	 .help = "Include what threads run in, stacks, and the kernel's mappings"},
	{0},
};
