/* SPDX-License-Identifier: MIT */
/* reclaimctl resize: asks the program for a ring of another capacity; only it can give it one. */
#include <errno.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "reclaimctl.h"

#define POLL_US 1000

/* What the program makes of the capacity that was asked for: it fills pages. */
static uint32_t round_capacity(const struct ring_found *ring, uint32_t capacity)
{
	uint64_t bytes = round_up(RING_ENTRIES + capacity * sizeof(struct ring_entry), page_size());

	return (uint32_t)min_u64((bytes - RING_ENTRIES) / sizeof(struct ring_entry), ring->view.max_capacity);
}

static int wait_until_done(const struct run *run, const struct ring_found *ring, uint64_t timeout_ms)
{
	uint64_t deadline = now_us() + timeout_ms * 1000;

	while (ring->view.shared->wanted) {
		if (!target_alive(&run->target))
			return -ESRCH;
		if (now_us() > deadline)
			return -ETIMEDOUT;
		usleep(POLL_US);
	}
	return 0;
}

static int request_capacity(struct run *run, struct ring_found *ring, uint32_t capacity, uint64_t timeout_ms)
{
	struct error error = {0};
	int rc = 0;

	if (ring->view.shared->capacity != round_capacity(ring, capacity)) {
		ring->view.shared->wanted = capacity;
		rc = wait_until_done(run, ring, timeout_ms);
	}
	if (rc == 0 && ring->view.shared->capacity != round_capacity(ring, capacity))
		rc = -EIO;
	if (rc == -ESRCH || rc == -EIO) {
		error_set(&error, rc, rc == -EIO ? "the program tried and could not" : "it has ended", NULL,
			  "resize the ring of process %d", run->target.pid);
		return run_failed(run, rc, &error);
	}
	report_record(run->report, ring_record(&run->target, ring));
	report_record(run->report, json_pack("{s:s, s:i, s:b}", "type", "summary", "pid", run->target.pid, "waiting",
					     rc == -ETIMEDOUT));
	return rc == -ETIMEDOUT ? EXIT_PARTIAL : EXIT_DONE;
}

static int check_and_ask(struct run *run, struct ring_found *ring, int64_t capacity, uint64_t timeout_ms)
{
	struct error error = {0};

	if (capacity > ring->view.max_capacity)
		return cli_usage_error(run->name, "%lld is more than the %u entries that this ring can ever have",
				       (long long)capacity, ring->view.max_capacity);
	if (!ring->open) {
		error_set(&error, -EBADF, "the program has closed the ring's descriptor",
			  "without it no ring is resized", "resize the ring of process %d", run->target.pid);
		return run_failed(run, -EBADF, &error);
	}
	return request_capacity(run, ring, (uint32_t)capacity, timeout_ms);
}

int verb_resize(struct run *run)
{
	_cleanup_ring_ struct ring_found ring = RING_FOUND_NONE;
	const struct reclaimctl_values *values = run_values(run);
	const char *word = run->operands[0];
	int64_t capacity;
	int status;

	if (!word)
		return cli_usage_error(run->name, "for how many entries? Give a capacity");
	if (number_parse(word, 1, UINT32_MAX, &capacity) < 0)
		return cli_usage_error(run->name, "%s is not a capacity above 0", word);
	status = run_begin(run);
	if (status == EXIT_DONE)
		status = run_ring(run, true, &ring);
	return status == EXIT_DONE ? check_and_ask(run, &ring, capacity, values->timeout_ms) : status;
}
