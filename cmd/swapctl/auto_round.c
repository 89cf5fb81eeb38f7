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

static bool is_type(const json_t *record, const char *type)
{
	const char *name = json_string_value(json_object_get(record, "type"));

	return name && strcmp(name, type) == 0;
}

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

/* What a session says while others are looked after. */
struct asking {
	struct automaton *a;
	session_record_fn callback;
	void *context;
};

static void take_record(void *context, json_t *record)
{
	struct asking *asking = context;

	pthread_mutex_lock(&asking->a->lock);
	asking->callback(asking->context, record);
	pthread_mutex_unlock(&asking->a->lock);
}

/* The connection that another thread may cancel is a copy: it is ours for as long as it stands there. */
static int exchange_request(struct automaton *a, struct managed *m, const struct session_request *request,
			    struct asking *asking, struct error *error)
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
	rc = session_exchange(&m->target, fd, request, take_record, asking, error);
	pthread_mutex_lock(&a->lock);
	m->connection = -1;
	return rc;
}

static int ask_session(struct automaton *a, struct managed *m, const char *op, const struct session_request *request,
		       session_record_fn callback, void *context)
{
	struct asking asking = {a, callback, context};
	struct error error = {0};
	int rc = exchange_request(a, m, request, &asking, &error);

	return check_answer(a, m, op, rc, &error);
}

static uint64_t number_at(const json_t *list, size_t i)
{
	return (uint64_t)json_integer_value(json_array_get(list, i));
}

static void take_refaults(void *context, json_t *record)
{
	struct managed *m = context;
	const json_t *list = json_object_get(record, "regions");
	uint64_t lost = input_number(record, "lost_pages");
	const uint64_t now = now_us() / 1000;
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item) {
		uint64_t start = 0;
		uint64_t pages = (uint64_t)json_integer_value(json_array_get(item, 1));

		input_address(json_array_get(item, 0), &start);
		policy_refaulted(m->process, start, pages, now - (uint64_t)json_integer_value(json_array_get(item, 2)));
		m->refaulted += pages;
	}
	if (lost)
		policy_refaults_lost(m->process, lost);
	m->refaulted += lost;
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
	uint64_t regions, moved;
	int rc;
};

static void take_staged(void *context, json_t *record)
{
	struct staging *staging = context;
	uint64_t start;

	if (is_type(record, "region") && input_address(json_object_get(record, "start"), &start) == 0) {
		uint64_t moved = input_number(record, "moved_bytes");

		staging->regions++;
		staging->moved += moved;
		if (staging->rc == 0)
			staging->rc = policy_staged(staging->m->process, start, moved);
	}
	json_decref(record);
}

static json_t *record_of(const struct managed *m, const char *type)
{
	return json_pack("{s:s,s:i,s:I}", "type", type, "pid", m->target.pid, "starttime",
			 (json_int_t)m->target.starttime);
}

static void emit_round(struct automaton *a, const struct managed *m, const struct staging *staging, uint64_t resident,
		       uint64_t started_us)
{
	json_t *record = record_of(m, "round");

	report_number(record, "resident_bytes", resident);
	report_number(record, "regions", staging->regions);
	report_number(record, "moved_bytes", staging->moved);
	report_number(record, "refaulted_pages", m->refaulted);
	report_number(record, "pool_bytes", m->now.pool);
	report_number(record, "store_bytes", m->now.used - m->now.pool);
	report_number(record, "time_us", now_us() - started_us);
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

static int stage_regions(struct automaton *a, struct managed *m, const struct region_vec *regions, uint64_t bytes)
{
	const struct policy_observation before = m->now;
	struct staging staging = {.m = m};
	uint64_t begin = now_us();
	int rc;

	expect_staged(m, regions, bytes);
	rc = attach_session(a, m);
	if (rc == 0)
		rc = ask_session(a, m, "out",
				 &(struct session_request){.verb = REQUEST_OUT,
							   .stage = true,
							   .bytes = bytes == UINT64_MAX ? 0 : bytes,
							   .regions = regions},
				 take_staged, &staging);
	if (rc == 0)
		rc = staging.rc;
	if (target_status(&m->target, "RssAnon", &m->now.resident) == 0)
		m->now.resident *= KiB;
	else
		m->now.resident = before.resident;
	if (rc == 0)
		rc = inspect_session(a, m);
	if (rc == 0) {
		emit_round(a, m, &staging, before.resident, begin);
	} else {
		m->now.used = before.used;
		policy_observe(m->process, &m->now);
	}
	return rc;
}

static int offer_superpage(void *context, struct region superpage, const struct residency *residency)
{
	const struct managed *m = context;

	return residency->resident ? policy_candidate(m->process, superpage, residency->resident) : 0;
}

/* All that may turn out to be swappable; what cannot be is found out once, and left alone from then on. */
static int offer_all(struct managed *m)
{
	_cleanup_close_ int pagemap = target_proc_open(&m->target, "pagemap", O_RDONLY | O_CLOEXEC);
	struct pages pages = {.method = PAGES_AUTO, .pagemap_fd = pagemap};
	struct maps_reader reader;
	struct mapping mapping;
	int rc = pagemap < 0 ? pagemap : pages_open(&pages);

	if (rc == 0)
		rc = maps_open(&reader, &m->target);
	if (rc < 0)
		return rc;
	while ((rc = maps_next(&reader, &mapping)) > 0) {
		if (mapping.kind != MAPPING_ANON || mapping.shared || !mapping.write ||
		    strcmp(mapping.name, "[stack]") == 0)
			continue;
		rc = pages_superpages(&pages, mapping.region, SUPERPAGE, true, offer_superpage, m);
		if (rc < 0)
			break;
	}
	maps_close(&reader);
	return rc;
}

static int end_session(struct automaton *a, struct managed *m)
{
	int rc = auto_detach(a, m);

	if (rc == 0)
		forget_session(m);
	return rc;
}

static int run_round(struct automaton *a, struct managed *m)
{
	_cleanup_regions_ struct region_vec regions = {0};
	uint64_t bytes;
	int rc = 0;

	m->refaulted = 0;
	if (m->attached)
		rc = ask_session(a, m, "refaults", &(struct session_request){.verb = REQUEST_REFAULTS}, take_refaults,
				 m);
	if (rc == 0 && m->attached)
		rc = inspect_session(a, m);
	a->sums.refaulted += m->refaulted;
	if (rc < 0 || !policy_due(m->process))
		return rc;
	if (m->made && !policy_pays(m->process))
		return end_session(a, m);
	m->now.served = m->attached;
	policy_observe(m->process, &m->now);
	bytes = policy_round(m->process);
	if (!bytes)
		return 0;
	rc = offer_all(m);
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
		record = record_of(m, "writeback");
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
