/* SPDX-License-Identifier: MIT */
/* The options of swapctl, a row each. Included by main.c alone. */
#pragma once

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "swapctl.h"

#define AT(member)  offsetof(struct swapctl_values, member)
#define MAKES       "attach out auto run" /* the verbs that make sessions */
#define SECONDS_MAX 31536000

static int parse_codec(const char *text, void *value)
{
	return codec_parse(text, value);
}

static int parse_pressure(const char *text, void *value)
{
	return pressure_trigger_parse(text, value);
}

/* Percent of the time, as parts of a million. */
static int parse_hold(const char *text, void *ppm)
{
	char *end;
	double percent = strtod(text, &end);

	if (!isdigit((unsigned char)*text) || *end || !(percent >= 0.0001) || percent > 100)
		return -EINVAL;
	*(uint64_t *)ppm = (uint64_t)(percent * 10000);
	return 0;
}

static const struct cli_option swapctl_options[] = {
	{"bytes", 0, CLI_SIZE, AT(bytes), "N", .verbs = "out", .lowest = 1, .words = "64M 256M 1G 4G",
	 .help = "Stop after so much has left memory"},
	{"dry-run", 'n', CLI_FLAG, AT(dry_run), .verbs = "out", .help = "Say what would be moved, change nothing"},
	{"for", 0, CLI_FLAG, AT(ignored), "COMMAND...", .verbs = "in",
	 .help = "Keep everything resident while this runs; the last option"},
	{"stage", 0, CLI_SECONDS, AT(params.stage_ms), "TIME", .verbs = "auto", .initial = "60", .highest = SECONDS_MAX,
	 .help = "Keep records in memory for so long before they are written to the store"},
	{"refault-backoff", 0, CLI_SECONDS, AT(params.backoff_ms), "TIME", .verbs = "auto", .initial = "45",
	 .lowest = 1, .highest = SECONDS_MAX, .help = "Leave alone what comes back sooner, longer each time"},
	{"interval", 0, CLI_SECONDS, AT(params.interval_ms), "TIME", .verbs = "auto", .initial = "10", .lowest = 1,
	 .highest = SECONDS_MAX, .help = "Wait so long between rounds of one process"},
	{"interval", 0, CLI_SECONDS, AT(status_ms), "TIME", .verbs = "status", .highest = SECONDS_MAX,
	 .words = "1s 15s 1m", .help = "Show it again and again, with rates, so long apart"},
	{"regions-per-round", 0, CLI_INT, AT(params.regions_per_round), "N", .verbs = "auto", .initial = "100",
	 .lowest = 1, .highest = 1000000, .help = "Take at most so many superpages in a round"},
	{"min-free", 0, CLI_SIZE, AT(params.min_free), "BYTES", .verbs = "auto", .initial = "128M",
	 .words = "64M 128M 1G", .help = "Keep so much free on the store's file system"},
	{"min-saved", 0, CLI_SIZE, AT(params.min_saved), "BYTES", .verbs = "auto", .initial = "16M",
	 .words = "0 16M 64M", .help = "Make no session for a process of which less can leave"},
	{"total-limit", 0, CLI_SIZE, AT(params.total_limit), "BYTES", .verbs = "auto", .initial = "1024M", .lowest = 1,
	 .words = "256M 1G 4G", .help = "Let all stores together take at most so much"},
	{"pressure", 0, CLI_PARSED, AT(pressure), "some|full:TIME/WINDOW", .verbs = "auto", .parse = parse_pressure,
	 .words = "some:150ms/1s some:150ms/2s full:50ms/1s",
	 .refusal = "is not like some:150ms/1s (some or full, and a window from 500ms to 10s that the first time fits "
		    "in)",
	 .help = "Swap out only when the kernel reports so much pressure"},
	{"target", 0, CLI_SIZE, AT(params.target), "BYTES", .verbs = "auto", .words = "64M 256M 1G 4G",
	 .against = "pressure", .help = "Swap out only above this much resident memory in all"},
	{"hold", 0, CLI_PARSED, AT(params.hold_ppm), "PERCENT", .verbs = "auto", .parse = parse_hold,
	 .against = "pressure", .refusal = "is not a percentage above 0",
	 .help = "Swap out only while threads wait for memory for less of the time"},
	{"once", 0, CLI_FLAG, AT(once), .verbs = "auto", .against = "pressure",
	 .help = "End after one round of each process, and leave the sessions"},
	{"prefer", 0, CLI_LIST, AT(preferences.prefer), "GLOB|cgroup:PATH|unit:NAME", .repeated = true, .verbs = "auto",
	 .help = "Take these first"},
	{"avoid", 0, CLI_LIST, AT(preferences.avoid), "GLOB|cgroup:PATH|unit:NAME", .repeated = true, .verbs = "auto",
	 .help = "Take these only when the others have nothing to give"},
	{"config", 0, CLI_CONFIG, AT(config), "FILE", .verbs = "auto", .offers = CLI_OFFERS_FILES,
	 .help = "Read options from FILE, one a line"},
	{"explain", 0, CLI_FLAG, AT(explain), .verbs = "auto", .help = "Print a record for each decision"},
	{"leave", 0, CLI_FLAG, AT(leave), .verbs = "auto", .help = "Leave the sessions that it made when it ends"},
	{"interval", 0, CLI_TIME, AT(top_interval_ns), "TIME", .verbs = "top", .initial = "1s", .lowest = 100,
	 .highest = 86400000, .words = "1s 5s", .help = "Look again so often"},
	{"sort", 0, CLI_WORD, AT(top_sort), "ORDER", .verbs = "top", .initial = "out",
	 .words = "out resident store faults wait refaults",
	 .help = "Sort by out, resident, store, faults, wait or refaults"},
	{"access", 0, CLI_WORD, AT(session.access), "METHOD", .verbs = "attach out auto", .initial = "auto",
	 .words = "auto ptrace agent puppet", .help = "Reach into it in this way: auto, ptrace, agent or puppet"},
	{"access", 0, CLI_WORD, AT(session.access), "METHOD", .verbs = "run", .initial = "agent",
	 .words = "auto ptrace agent puppet", .help = "Reach into it in this way: auto, ptrace, agent or puppet"},
	{"store", 0, CLI_TEXT, AT(session.store), "DIR|memory", .verbs = "attach run", .words = "memory",
	 .offers = CLI_OFFERS_DIRECTORIES, .help = "Keep the store in a directory, or in memory"},
	{"store", 0, CLI_TEXT, AT(session.store), "DIR|memory|kernel", .verbs = "out auto", .words = "memory kernel",
	 .offers = CLI_OFFERS_DIRECTORIES, .help = "Keep the store in a directory, in memory, or in the kernel's swap"},
	{"store", 0, CLI_TEXT, AT(session.store), "kernel", .verbs = "in", .words = "kernel",
	 .help = "Read back what is in the kernel's swap"},
	{"limit", 0, CLI_SIZE, AT(session.limit), "BYTES", .verbs = "attach out run", .lowest = 1,
	 .words = "64M 256M 1G 4G", .help = "Let the store take at most so much"},
	{"limit", 0, CLI_SIZE, AT(session.limit), "BYTES", .verbs = "auto", .initial = "128M", .lowest = 1,
	 .words = "64M 256M 1G 4G", .help = "Let the store take at most so much"},
	{"compress", 0, CLI_PARSED, AT(session.codec), "CODEC", .verbs = MAKES, .initial = "auto", .parse = parse_codec,
	 .words = "auto lz4 zstd zstd:1 zstd:3 zstd:9 zstd:19 none",
	 .refusal = "is none of auto, lz4, zstd, zstd:1 to zstd:22, none",
	 .help = "Compress with auto, lz4, zstd[:LEVEL] or none"},
	{"encrypt", 0, CLI_SET, AT(session.encrypt), .verbs = MAKES, .lowest = ENCRYPT_YES,
	 .help = "Encrypt the store (default for a file)"},
	{"no-encrypt", 0, CLI_SET, AT(session.encrypt), .verbs = MAKES, .lowest = ENCRYPT_NO,
	 .help = "Do not encrypt the store (default in memory)"},
	{"cluster", 0, CLI_SIZE, AT(session.cluster_bytes), "BYTES", .verbs = MAKES, .lowest = 1,
	 .words = "4K 16K 64K 256K", .help = "Move out so much together; 16 pages by default"},
	{"foreground", 0, CLI_FLAG, AT(session.foreground), .verbs = "attach adopt",
	 .help = "Stay until the session ends"},
	{0},
};
