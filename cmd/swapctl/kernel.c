/* SPDX-License-Identifier: MIT */
/*
 * swapctl --store kernel: pages go to the swap of the kernel, and no session is made. What auto decides is done by the
 * kernel then, and what came back is seen in what is resident.
 */
#include <errno.h>
#include <string.h>

#include "auto.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "pageout/pageout.h"
#include "swapctl.h"

bool kernel_chosen(const struct session_options *session)
{
	return session->store && strcmp(session->store, "kernel") == 0;
}

int kernel_check_options(const struct run *run)
{
	static const char *const names[] = {"limit",   "total-limit", "min-free",   "min-saved", "stage", "compress",
					    "cluster", "encrypt",     "no-encrypt", "access",    "leave"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (cli_given(&run->options, names[i]))
			return cli_usage_error(run->name, "--%s: not with --store kernel", names[i]);
	return EXIT_DONE;
}

int kernel_check(const struct target *target, struct error *error)
{
	int rc = pageout_check(target, error);

	if (rc == 0 && session_is_known(target))
		rc = error_set(error, -EINVAL, "it has a session, and what that has registered is not the kernel's",
			       "detach first, or leave out --store kernel", "page out process %d (%s)", target->pid,
			       target->name);
	return rc;
}

static bool was_interrupted(void *context)
{
	(void)context;
	return run_signal() != 0;
}

static int run_pageout(struct run *run, const struct session_request *request, bool out)
{
	const struct pageout pageout = {
		.target = &run->target,
		.regions = request->regions,
		.bytes = request->bytes,
		.dry_run = request->dry_run,
		.enough = was_interrupted,
		.emit = run_record,
		.context = run,
	};
	struct error error = {0};
	int rc = kernel_check(&run->target, &error);

	if (rc == 0) {
		run_catch_signals();
		rc = out ? pageout_out(&pageout, &error) : pageout_in(&pageout, &error);
	}
	return run_outcome(run, rc, rc == -ECANCELED ? run_signal() : 0, &error);
}

int kernel_out(struct run *run, const struct session_request *request)
{
	return run_pageout(run, request, true);
}

int kernel_in(struct run *run, const struct session_request *request)
{
	return run_pageout(run, request, false);
}

static bool is_ending(void *context)
{
	struct automaton *a = ((struct auto_answer *)context)->a;
	bool ending;

	pthread_mutex_lock(&a->lock);
	ending = a->ending;
	pthread_mutex_unlock(&a->lock);
	return ending;
}

int auto_page_out(struct managed *m, const struct region_vec *regions, uint64_t bytes, struct auto_answer *answer,
		  struct error *error)
{
	struct automaton *a = answer->a;
	const struct pageout pageout = {
		.target = &m->target,
		.regions = regions,
		.bytes = bytes == UINT64_MAX ? 0 : bytes,
		.enough = is_ending,
		.emit = auto_take,
		.context = answer,
	};
	int rc;

	pthread_mutex_unlock(&a->lock);
	rc = pageout_out(&pageout, error);
	pthread_mutex_lock(&a->lock);
	return rc;
}

int auto_observe_swap(struct managed *m)
{
	int rc = target_status_bytes(&m->target, "VmSwap", &m->now.out);

	if (rc < 0)
		return rc;
	m->now.used = m->now.out;
	policy_observe(m->process, &m->now);
	return 0;
}
