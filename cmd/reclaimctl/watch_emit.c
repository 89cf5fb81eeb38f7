/* SPDX-License-Identifier: MIT */
/* What the parts of watch do in one way: records, and what is to be polled. */
#include <sys/epoll.h>

#include "watch.h"

void watch_emit(struct watcher *w, json_t *record)
{
	if (report_record(w->run->report, record) < 0)
		w->ending = true;
}

void watch_failed(struct watcher *w, const struct target *target, const char *op, const struct error *error)
{
	json_t *record = error_record(op, error);

	w->sums.errors++;
	report_number(record, "pid", (uint64_t)target->pid);
	report_number(record, "starttime", target->starttime);
	watch_emit(w, record);
}

void watch_emit_event(struct watcher *w, const struct target *target, const char *event)
{
	json_t *record = report_process("process", target->pid, target->starttime);

	json_object_set_new(record, "event", json_string(event));
	watch_emit(w, record);
}

void watch_poll(const struct watcher *w, int fd, uint32_t events, uint32_t what)
{
	struct epoll_event event = {.events = events, .data.u64 = what};

	if (fd >= 0)
		epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &event);
}
