/* SPDX-License-Identifier: MIT */
/* The records of swapctl auto. */
#include "auto.h"

void auto_take(void *context, json_t *record)
{
	const struct auto_answer *answer = context;

	pthread_mutex_lock(&answer->a->lock);
	answer->callback(answer->context, record);
	pthread_mutex_unlock(&answer->a->lock);
}

void auto_emit(struct automaton *a, json_t *record)
{
	if (report_record(a->run->report, record) < 0)
		a->ending = true;
}

void auto_failed(struct automaton *a, const struct managed *m, const char *op, const struct error *error)
{
	json_t *record = error_record(op, error);

	a->sums.errors++;
	report_number(record, "pid", (uint64_t)m->target.pid);
	report_number(record, "starttime", m->target.starttime);
	auto_emit(a, record);
}
