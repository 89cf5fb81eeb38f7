/* SPDX-License-Identifier: MIT */
/* The decisions of a watcher of rings. */
#include "policy/reclaim.h"

#include "base/cleanup.h"
#include "base/size.h"

#define SECOND      UINT64_C(1000000000)
#define BACKOFF_MAX 6 /* doublings of a second */

/* What part of the ring a notice of pressure takes at once; what the samples show goes by itself. */
static const unsigned int pressure_percent[] = {[RING_NORMAL] = 0, [RING_WARNING] = 50, [RING_CRITICAL] = 100};

const char *ring_why_name(enum ring_why why)
{
	static const char *const names[] = {
		[RING_LEAVE] = "leave",       [RING_TRIM] = "trim",   [RING_ABANDONED] = "abandoned",
		[RING_PRESSURE] = "pressure", [RING_LIMIT] = "limit", [RING_STOPPED] = "stopped",
		[RING_LEFT] = "left",
	};

	return names[why];
}

static uint64_t by_pressure(const struct ring_observation *seen)
{
	unsigned int percent = pressure_percent[seen->level];

	if (!seen->pressed)
		return 0;
	return seen->bytes / 100 * percent + seen->bytes % 100 * percent / 100;
}

uint64_t ring_margin(const struct ring_params *params, uint64_t limit)
{
	return limit == UINT64_MAX ? 0 : min_u64(params->margin, limit / 8);
}

uint64_t ring_wanted_by_limit(const struct ring_params *params, uint64_t limit, uint64_t left)
{
	uint64_t margin = ring_margin(params, limit);

	return left < margin ? 2 * margin - left : 0;
}

struct ring_decision ring_decide(const struct ring_params *params, const struct ring_observation *seen)
{
	const struct ring_decision reasons[] = {
		{RING_STOPPED, seen->stopped && seen->stopped_ns >= params->grace_ns ? seen->bytes : 0},
		{RING_LIMIT, ring_wanted_by_limit(params, seen->limit, seen->left)},
		{RING_PRESSURE, by_pressure(seen)},
		{RING_TRIM, seen->unneeded},
		{RING_ABANDONED, seen->abandoned},
	};
	struct ring_decision most = {.why = RING_LEAVE};

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		uint64_t bytes = min_u64(reasons[i].bytes, seen->bytes);

		if (bytes > most.bytes)
			most = (struct ring_decision){.why = reasons[i].why, .bytes = bytes};
	}
	if (most.why == RING_LEAVE && seen->batch_left)
		most = (struct ring_decision){.why = RING_LEFT, .bytes = 1};
	return most;
}

void ring_pressure_note(struct ring_pressure *pressure, enum ring_level level, uint64_t now_ns, uint64_t hold_ns)
{
	pressure->until_ns[level] = max_u64(pressure->until_ns[level], now_ns + hold_ns);
}

enum ring_level ring_pressure_level(const struct ring_pressure *pressure, uint64_t now_ns)
{
	for (enum ring_level level = RING_CRITICAL; level > RING_NORMAL; level--)
		if (now_ns < pressure->until_ns[level])
			return level;
	return RING_NORMAL;
}

uint64_t ring_backoff_ns(unsigned int failures)
{
	return SECOND << min_u64(failures - 1, BACKOFF_MAX);
}
