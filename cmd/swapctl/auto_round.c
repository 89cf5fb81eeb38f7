/* SPDX-License-Identifier: MIT */
/* swapctl auto: what is done for one process, as the policy says. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "auto.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "pages/idle.h"
#include "pages/pages.h"
#include "proc/maps.h"
#include "report/input.h"

#define SUPERPAGE (2 * MiB)
#define MIN_PAGE  (4 * KiB)
#define IDLE_MOST (4 * GiB)
#define RETRY_MS  1000 /* after a session has not answered */

/* Without its session the process is as it was, and what is known of it still holds. */
static void forget_session(struct managed *m)
{
	m->attached = m->made = false;
	m->now.pool = m->now.used = m->now.out = m->now.forks = m->now.stalled_us = 0;
	policy_observe(m->process, &m->now);
}

/* An answer that came while the process, or its session, was going is no failure of this program. */
static int check_answer(struct automaton *a, struct managed *m, const char *op, int rc, const struct error *error)
{
	if (rc >= 0)
		return 0;
	if (!target_alive(&m->target))
		return -ESRCH;
	if (rc == -ENOENT)
		m->attached = false; /* all processes of its session were killed: attaching says so */
	else if (rc == -ENOMSG || rc == -ESRCH)
		forget_session(m);                 /* it runs another program, or another client detached it */
	else if (rc != -EBUSY && rc != -ECANCELED) /* it is kept in core for a debugger, or something came before us */
		auto_failed(a, m, op, error);
	return -EAGAIN;
}

/* The connection that another thread may cancel is a copy: it is ours for as long as it stands there. */
static int exchange_request(struct automaton *a, struct managed *m, const struct session_request *request,
			    struct auto_answer *answer, struct error *error)
{
	_cleanup_close_ int copy = -1;
	int fd;
	int rc;

	pthread_mutex_unlock(&a->lock);
	fd = session_connect(&m->target, error);
	copy = fd < 0 ? -1 : dup(fd);
	pthread_mutex_lock(&a->lock);
	if (fd < 0)
		return fd;
	m->connection = copy;
	pthread_mutex_unlock(&a->lock);
	rc = session_exchange(&m->target, fd, request, auto_take, answer, error);
	pthread_mutex_lock(&a->lock);
	m->connection = -1;
	return rc;
}

static int ask_session(struct automaton *a, struct managed *m, const char *op, const struct session_request *request,
		       auto_record_fn callback, void *context)
{
	struct auto_answer answer = {a, callback, context};
	struct error error = {0};
	int rc = exchange_request(a, m, request, &answer, &error);

	return check_answer(a, m, op, rc, &error);
}

static uint64_t number_at(const json_t *list, size_t i)
{
	return (uint64_t)json_integer_value(json_array_get(list, i));
}

static void take_refaults(void *context, json_t *record)
{
	struct managed *m = context;
	const json_t *touched = json_object_get(record, "touched");
	uint64_t lost = input_number(record, "lost_pages");
	const uint64_t now = now_us() / 1000;

	for (size_t i = 0; i + 2 < json_array_size(touched); i += 3) {
		uint64_t start = number_at(touched, i) * page_size();
		uint64_t end = start + number_at(touched, i + 1) * page_size();

		policy_refaulted(m->process, (struct region){start, end},
				 now - min_u64(number_at(touched, i + 2), now));
	}
	if (lost)
		policy_refaults_lost(m->process, lost);
	m->refaulted += input_number(record, "pages");
	json_decref(record);
}

static void take_status(void *context, json_t *record)
{
	struct managed *m = context;

	snprintf(m->store, sizeof(m->store), "%s", input_text(record, "store"));
	m->now.pool = input_number(record, "pool_bytes");
	m->now.used = m->now.pool + input_number(record, "store_bytes");
	m->now.stalled_us = input_number(record, "fault_wait_us");
	m->now.out = input_number(record, "out_pages") * page_size();
	m->now.forks = input_number(json_object_get(record, "events"), "fork");
	json_decref(record);
}

static int inspect_session(struct automaton *a, struct managed *m)
{
	int rc = ask_session(a, m, "status", &(struct session_request){.verb = REQUEST_STATUS}, take_status, m);

	if (rc == 0)
		policy_observe(m->process, &m->now);
	return rc;
}

static int attach_session(struct automaton *a, struct managed *m)
{
	struct error error = {0};
	bool exists;
	int rc;

	pthread_mutex_unlock(&a->lock);
	exists = session_exists(&m->target);
	rc = exists ? 0 : session_attach(&m->target, &a->options->session, session_ignore, NULL, &error);
	pthread_mutex_lock(&a->lock);
	if (exists) {
		m->attached = true;
		return 0;
	}
	if (rc == 0) {
		m->attached = m->made = true;
		return 0;
	}
	if (!target_alive(&m->target))
		return -ESRCH;
	m->refused = true;
	a->refusal = error;
	policy_postpone(m->process, UINT64_MAX);
	auto_failed(a, m, "attach", &error);
	return -EAGAIN;
}

/* What one swap-out has done. */
struct staging {
	struct managed *m;
	uint64_t superpages, moved;
	uint64_t last; /* superpage */
	int rc;
};

/* Where only a part has left: which pages. What is still in core may be tried again. */
static int note_part(struct managed *m, struct region region)
{
	_cleanup_close_ int pagemap = target_proc_open(&m->target, "pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entries[SUPERPAGE / MIN_PAGE];
	const size_t count = min_u64(region_bytes(region) / page_size(), ARRAY_SIZE(entries));
	int rc = pagemap < 0 ? pagemap : pagemap_read(pagemap, region.start, count, entries);

	for (size_t i = 0, end; rc == 0 && i < count; i = end) {
		bool in_core = entries[i] & PAGEMAP_PRESENT;
		struct region run = {region.start + i * page_size(), 0};

		for (end = i + 1; end < count && !(entries[end] & PAGEMAP_PRESENT) == !in_core; end++)
			;
		run.end = region.start + end * page_size();
		if (!in_core)
			rc = policy_staged(m->process, run, region_bytes(run));
	}
	return rc;
}

static void take_staged(void *context, json_t *record)
{
	struct staging *staging = context;
	struct region region;

	if (input_is(record, "region") && input_region(record, &region) && region_bytes(region) <= SUPERPAGE) {
		uint64_t moved = input_number(record, "moved_bytes");
		uint64_t superpage = round_down(region.start, SUPERPAGE);

		staging->superpages += superpage != staging->last;
		staging->last = superpage;
		staging->moved += moved;
		if (staging->rc == 0 && moved && moved < region_bytes(region))
			staging->rc = note_part(staging->m, region);
		else if (staging->rc == 0)
			staging->rc = policy_staged(staging->m->process, region, moved);
	}
	json_decref(record);
}

static void emit_round(struct automaton *a, const struct managed *m, const struct staging *staging, uint64_t resident,
		       uint64_t started_us)
{
	json_t *record = report_process("round", m->target.pid, m->target.starttime);

	report_number(record, "resident_bytes", resident);
	report_number(record, "regions", staging->superpages);
	report_number(record, "moved_bytes", staging->moved);
	report_number(record, "refaulted_pages", m->refaulted);
	report_number(record, "pool_bytes", m->now.pool);
	report_number(record, "store_bytes", m->now.used - m->now.pool);
	report_number(record, "time_us", now_us() - started_us);
	json_object_set_new(record, "ageing", json_string(m->idle ? "idle" : "refaults"));
	auto_emit(a, record);
	a->sums.rounds++;
	a->sums.moved += staging->moved;
}

/*
 * What is about to leave counts as if it had: others decide meanwhile by what is resident, and what stores take, in
 * all. No more than its size uncompressed.
 */
static void expect_staged(struct managed *m, const struct region_vec *regions, uint64_t bytes)
{
	uint64_t most = 0;

	for (size_t i = 0; i < regions->count; i++)
		most += region_bytes(regions->items[i]);
	most = min_u64(min_u64(most, bytes), m->now.resident);
	m->now.resident -= most;
	m->now.used += most;
	policy_observe(m->process, &m->now);
}

/* Returns 0, or -errno when that was told. */
static int put_out(struct automaton *a, struct managed *m, const struct region_vec *regions, uint64_t bytes,
		   struct staging *staging)
{
	struct auto_answer answer = {a, take_staged, staging};
	struct error error = {0};
	int rc;

	if (a->options->kernel)
		return check_answer(a, m, "out", auto_page_out(m, regions, bytes, &answer, &error), &error);
	rc = attach_session(a, m);
	if (rc < 0)
		return rc;
	return ask_session(a, m, "out",
			   &(struct session_request){.verb = REQUEST_OUT,
						     .stage = true,
						     .bytes = bytes == UINT64_MAX ? 0 : bytes,
						     .regions = regions},
			   take_staged, staging);
}

static int observe_out(struct automaton *a, struct managed *m)
{
	return a->options->kernel ? auto_observe_swap(m) : inspect_session(a, m);
}

static int stage_regions(struct automaton *a, struct managed *m, const struct region_vec *regions, uint64_t bytes)
{
	const struct policy_observation before = m->now;
	struct staging staging = {.m = m};
	uint64_t begin = now_us();
	int rc;

	expect_staged(m, regions, bytes);
	rc = put_out(a, m, regions, bytes, &staging);
	if (rc == 0)
		rc = staging.rc;
	if (target_status_bytes(&m->target, "RssAnon", &m->now.resident) < 0)
		m->now.resident = before.resident;
	if (rc == 0)
		rc = observe_out(a, m);
	if (rc == 0) {
		emit_round(a, m, &staging, before.resident, begin);
	} else {
		m->now.used = m->attached ? before.used : 0;
		policy_observe(m->process, &m->now);
	}
	return rc;
}

/* In the kernel's swap, what came back since the last look is what is resident and had left. */
static int offer_page(void *context, struct region page, const struct residency *residency)
{
	struct managed *m = context;

	if (!residency->resident)
		return 0;
	if (m->looked_ms)
		m->refaulted += policy_refaulted(m->process, page, m->looked_ms);
	return policy_candidate(m->process, page);
}

static int note_used(void *context, struct region used)
{
	const struct managed *m = context;

	return policy_accessed(m->process, used);
}

/* What was used since the last round stays. It takes about a second for each 4 GiB: of more, what comes back tells. */
static int offer_mapping(struct managed *m, const struct pages *pages, const struct idle *idle, struct region mapping)
{
	int rc = m->idle ? idle_look(idle, mapping, note_used, m) : 0;

	return rc ? rc : pages_superpages(pages, mapping, page_size(), true, offer_page, m);
}

/* All that may turn out to be swappable; what cannot be is found out once, and left alone from then on. */
static int offer_all(struct managed *m)
{
	_cleanup_close_ int pagemap = target_proc_open(&m->target, "pagemap", O_RDONLY | O_CLOEXEC);
	struct pages pages = {.method = PAGES_AUTO, .pagemap_fd = pagemap};
	struct idle idle;
	struct maps_reader reader;
	struct mapping mapping;
	int rc = pagemap < 0 ? pagemap : pages_open(&pages);

	if (rc == 0)
		rc = maps_open(&reader, &m->target);
	if (rc < 0)
		return rc;
	m->idle = idle_open(&idle, pagemap) == 0 && m->now.resident <= IDLE_MOST;
	while ((rc = maps_next(&reader, &mapping)) > 0) {
		if (mapping.kind != MAPPING_ANON || mapping.shared || !mapping.write ||
		    strcmp(mapping.name, "[stack]") == 0)
			continue;
		rc = offer_mapping(m, &pages, &idle, mapping.region);
		if (rc < 0)
			break;
	}
	maps_close(&reader);
	idle_close(&idle);
	return rc;
}

static int end_session(struct automaton *a, struct managed *m)
{
	int rc = auto_detach(a, m);

	if (rc == 0)
		forget_session(m);
	return rc;
}

/* What came back since the last look at a session. */
static int inspect_refaults(struct automaton *a, struct managed *m)
{
	int rc = ask_session(a, m, "refaults", &(struct session_request){.verb = REQUEST_REFAULTS, .idle = m->idle},
			     take_refaults, m);

	return rc < 0 ? rc : inspect_session(a, m);
}

static int run_round(struct automaton *a, struct managed *m)
{
	_cleanup_regions_ struct region_vec regions = {0};
	uint64_t bytes;
	int rc = 0;

	m->refaulted = 0;
	if (a->options->kernel)
		rc = auto_observe_swap(m);
	else if (m->attached)
		rc = inspect_refaults(a, m);
	a->sums.refaulted += m->refaulted;
	if (rc < 0 || !policy_due(m->process))
		return rc;
	if (m->attached && m->made && !policy_pays(m->process))
		return end_session(a, m);
	m->now.served = m->attached || a->options->kernel;
	policy_observe(m->process, &m->now);
	bytes = policy_round(m->process);
	if (!bytes)
		return 0;
	rc = offer_all(m);
	if (a->options->kernel) {
		m->looked_ms = now_us() / 1000;
		a->sums.refaulted += m->refaulted;
	}
	if (rc == 0)
		rc = policy_choose(m->process, bytes, &regions);
	return rc == 0 && regions.count ? stage_regions(a, m, &regions, bytes) : rc;
}

/* Bytes that are free where the store is; a store in memory needs none. */
static uint64_t free_bytes(const struct managed *m)
{
	struct statvfs fs;

	return *m->store == '/' && statvfs(m->store, &fs) == 0 ? fs.f_bavail * fs.f_frsize : UINT64_MAX;
}

static void keep_summary(void *context, json_t *record)
{
	json_t **summary = context;

	json_decref(*summary);
	*summary = record;
}

static int write_back(struct automaton *a, struct managed *m)
{
	json_t *summary = NULL;
	json_t *record;
	uint64_t age;
	uint64_t bytes;
	int rc;

	/* One after the other: what is free on the disk is free once. */
	if (a->writing)
		return 0;
	a->machine.free_bytes = free_bytes(m);
	policy_observe_machine(a->policy, &a->machine);
	if (!policy_writeback(m->process, &age, &bytes))
		return 0;
	a->writing = true;
	rc = ask_session(a, m, "writeback",
			 &(struct session_request){.verb = REQUEST_WRITEBACK, .age_ms = age, .bytes = bytes},
			 keep_summary, &summary);
	a->writing = false;
	/* Without an answer the pool is taken to be as it was. */
	m->now.pool = summary ? input_number(summary, "pool_bytes") : m->now.pool;
	policy_written(m->process, m->attached ? m->now.pool : 0, input_number(summary, "oldest_ms"), rc < 0);
	if (input_number(summary, "written_back_pages")) {
		record = report_process("writeback", m->target.pid, m->target.starttime);
		report_number(record, "written_back_bytes", input_number(summary, "written_back_bytes"));
		report_number(record, "pool_bytes", m->now.pool);
		report_number(record, "store_bytes", m->now.used - min_u64(m->now.used, m->now.pool));
		report_number(record, "time_us", input_number(summary, "time_us"));
		auto_emit(a, record);
		a->sums.written_back += input_number(summary, "written_back_bytes");
	}
	json_decref(summary);
	return rc;
}

int auto_tend(struct automaton *a, struct managed *m)
{
	int rc = 0;

	if (m->refused)
		return 0;
	if (policy_due(m->process))
		rc = run_round(a, m);
	if (rc < 0 && rc != -ESRCH && !m->refused)
		policy_postpone(m->process, RETRY_MS);
	if (rc == 0 && m->attached)
		rc = write_back(a, m);
	return rc == -ESRCH || !target_alive(&m->target) ? -ESRCH : 0;
}

int auto_detach(struct automaton *a, struct managed *m)
{
	if (!m->made || !target_alive(&m->target))
		return 0;
	return ask_session(a, m, "detach", &(struct session_request){.verb = REQUEST_DETACH}, session_ignore, NULL);
}
