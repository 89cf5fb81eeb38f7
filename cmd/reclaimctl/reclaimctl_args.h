/* SPDX-License-Identifier: MIT */
/* The options of reclaimctl, a row each. Included by main.c alone. */
#pragma once

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "reclaimctl.h"

#define AT(member) offsetof(struct reclaimctl_values, member)
#define DAY_MS     86400000
#define MIN        (16 * KiB) /* the least that the library takes */
#define TRIGGERS   "some:150ms/2s full:150ms/2s none"
#define NO_TRIGGER                                                                                                  \
	"is neither none nor like some:150ms/2s (some or full, and a window from 500ms to 10s that the first time " \
	"fits in)"

static int parse_trigger(const char *text, void *value)
{
	struct watch_trigger *trigger = value;

	if (strcmp(text, "none") != 0)
		return pressure_trigger_parse(text, trigger->text);
	*trigger->text = '\0';
	return 0;
}

/* As it was written, for the library. */
static int parse_min(const char *text, void *min)
{
	const size_t room = sizeof(((struct reclaimctl_values *)NULL)->min);
	uint64_t bytes;

	if (size_parse(text, &bytes) < 0 || bytes < MIN || strlen(text) >= room)
		return -EINVAL;
	snprintf(min, room, "%s", text);
	return 0;
}

static const struct cli_option reclaimctl_options[] = {
	{"entries", 'n', CLI_NUMBER, AT(limits.entries), "N", .verbs = "flush", .lowest = 1,
	 .help = "Reclaim at least so many entries, oldest first"},
	{"bytes", 0, CLI_SIZE, AT(limits.bytes), "BYTES", .verbs = "flush", .lowest = 1, .words = "1M 64M 256M 1G",
	 .help = "Reclaim entries of at least so many bytes"},
	{"all", 0, CLI_FLAG, AT(all), .verbs = "flush",
	 .help = "Reclaim all that waits; of all processes, unless some are chosen"},
	{"access", 0, CLI_WORD, AT(access), "auto|ptrace|agent", .verbs = "flush", .initial = "auto",
	 .words = "auto ptrace agent", .help = "Reach into it in this way"},
	{"timeout", 0, CLI_MS, AT(timeout_ms), "TIME", .verbs = "resize", .initial = "1000", .highest = INT32_MAX,
	 .help = "Wait so long for the program"},
	{"min", 0, CLI_PARSED, AT(min), "SIZE", .verbs = "run", .parse = parse_min, .words = "64K 256K 1M",
	 .refusal = "is not a size of 16K or more", .help = "Keep freed blocks of at least this size in the ring"},
	{"interval", 0, CLI_TIME, AT(watch.interval_ns), "TIME", .verbs = "watch", .initial = "1s", .lowest = 10,
	 .highest = DAY_MS, .words = "1s 10s", .help = "Wait so long between looks"},
	{"period", 0, CLI_TIME, AT(watch.period_ns), "TIME", .verbs = "watch", .lowest = 10, .highest = DAY_MS,
	 .words = "1s 10s 60s", .help = "Sample so often (as the ring says: 10s at first)"},
	{"grace", 0, CLI_TIME, AT(watch.params.grace_ns), "TIME", .verbs = "watch", .initial = "30s", .highest = DAY_MS,
	 .words = "10s 30s 60s", .help = "Drain the ring of a process after it was stopped for so long"},
	{"margin", 0, CLI_SIZE, AT(watch.params.margin), "BYTES", .verbs = "watch", .initial = "32M",
	 .words = "32M 256M 1G", .help = "Keep so much free below a cgroup's limit"},
	{"warning", 0, CLI_PARSED, AT(watch.triggers[RING_WARNING]), "none|some|full:TIME/WINDOW", .verbs = "watch",
	 .initial = "some:150ms/2s", .parse = parse_trigger, .words = TRIGGERS, .refusal = NO_TRIGGER,
	 .help = "Reclaim half of a ring at this pressure"},
	{"critical", 0, CLI_PARSED, AT(watch.triggers[RING_CRITICAL]), "none|some|full:TIME/WINDOW", .verbs = "watch",
	 .initial = "full:150ms/2s", .parse = parse_trigger, .words = TRIGGERS, .refusal = NO_TRIGGER,
	 .help = "Reclaim all of a ring at this pressure"},
	{"prefer", 0, CLI_LIST, AT(watch.preferences.prefer), "GLOB|cgroup:PATH|unit:NAME", .repeated = true,
	 .verbs = "watch", .help = "Before a limit, reclaim from these first"},
	{"avoid", 0, CLI_LIST, AT(watch.preferences.avoid), "GLOB|cgroup:PATH|unit:NAME", .repeated = true,
	 .verbs = "watch", .help = "Before a limit, reclaim from these last"},
	{"config", 0, CLI_CONFIG, AT(watch.config), "FILE", .verbs = "watch", .offers = CLI_OFFERS_FILES,
	 .help = "Read options from FILE, one a line"},
	{"dry-run", 'n', CLI_FLAG, AT(watch.dry_run), .verbs = "watch",
	 .help = "Say what would be reclaimed, change nothing"},
	{0},
};
