/* SPDX-License-Identifier: MIT */
/* swapctl auto: looks after processes until it is told to end. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auto.h"
#include "base/cleanup.h"
#include "base/size.h"
#include "cgroup/cgroup.h"
#include "cli/interrupt.h"
#include "tool/notify.h"

#define INSPECT_MS       60000   /* new processes are found, and pressure is read, at least so often */
#define INSPECT_AGAIN_MS 100     /* whether a signal has come, and while threads are at work */
#define PATIENCE_US      1000000 /* the others are looked after again although a thread has not finished */
#define THREADS_MAX      64

static int wake_fd = -1;

static void wake_up(int signal)
{
	(void)signal;
	eventfd_write(wake_fd, 1);
}

/* Answers of sessions are read to their end: SA_RESTART. */
static void catch_end_signals(int fd)
{
	wake_fd = fd;
	interrupt_handle(wake_up, SA_RESTART);
}

static void emit_decision(void *context, const struct policy_decision *d)
{
	struct automaton *a = context;
	json_t *record;

	if (region_bytes(d->region))
		record = report_region("decision", d->pid, d->starttime, d->region.start, d->region.end);
	else
		record = report_process("decision", d->pid, d->starttime);
	json_object_set_new(record, "op", json_string(d->op));
	json_object_set_new(record, "why", json_string(d->why));
	for (unsigned int i = 0; i < POLICY_NUMBERS && d->numbers[i].key; i++)
		report_number(record, d->numbers[i].key, d->numbers[i].value);
	auto_emit(a, record);
}

static void forget_process(struct managed *m)
{
	policy_process_free(m->process);
	target_close(&m->target);
	free(m);
}

static struct managed *find_process(const struct automaton *a, pid_t pid)
{
	struct managed *m = a->all;

	while (m && (m->target.pid != pid || m->gone))
		m = m->next;
	return m;
}

/* Takes the target. Returns 0 or -ENOMEM. */
static int manage_process(struct automaton *a, struct target *target)
{
	struct managed *m = calloc(1, sizeof(*m));

	if (m)
		m->process = policy_process_new(a->policy, target->pid, target->starttime);
	if (!m || !m->process) {
		free(m);
		target_close(target);
		return -ENOMEM;
	}
	m->a = a;
	m->target = *target;
	m->preference = preference_of(&a->options->preferences, m->target.pid);
	m->attached = !a->options->kernel && session_exists(&m->target);
	m->seen = true;
	m->connection = -1;
	m->next = a->all;
	a->all = m;
	a->sums.processes++;
	return 0;
}

/* Whether it may be looked after. */
static int check_process(const struct automaton *a, const struct target *target, struct error *error)
{
	int rc = a->options->kernel ? target_check_readable(target, error) : target_check(target, error);

	return rc == 0 && a->options->kernel ? kernel_check(target, error) : rc;
}

/*
 * A process that matches. What may not be touched is not worth a word: it is there in every cgroup with a shell of its
 * own.
 */
static void meet_process(struct automaton *a, const struct process_choice *choice)
{
	struct managed *m = find_process(a, choice->pid);
	struct target target = TARGET_NONE;
	struct error error = {0};

	if (m && target_alive(&m->target)) {
		m->seen = true;
		return;
	}
	if (choice_open(choice, &target, &error) < 0)
		return;
	if (check_process(a, &target, &error) < 0) {
		target_close(&target);
		return;
	}
	if (manage_process(a, &target) < 0)
		a->sums.errors++;
}

static int choose_again(const struct automaton *a, struct choices *choices, struct error *error)
{
	return choice_find(choices, &a->run->options.processes, &(struct region_input){0}, error);
}

/* Whether the cgroup that was chosen is there no more: that is the end of its processes, and no error. */
static bool cgroup_is_gone(const struct automaton *a)
{
	return a->cgroup >= 0 && faccessat(a->cgroup, "cgroup.procs", F_OK, 0) < 0;
}

/* Returns 0, or -errno with `error` filled unless the cgroup was removed. */
static int meet_processes(struct automaton *a, struct error *error)
{
	_cleanup_choices_ struct choices choices = {0};
	int rc = choose_again(a, &choices, error);

	for (struct managed *m = a->all; m; m = m->next)
		m->seen = false;
	for (size_t i = 0; i < choices.count; i++)
		meet_process(a, &choices.items[i]);
	for (struct managed *m = a->all; m; m = m->next) {
		if (m->seen || m->gone)
			continue;
		/* It went to another cgroup, or ended. */
		m->released = !a->options->leave;
		m->gone = a->options->leave;
	}
	if (rc < 0 && cgroup_is_gone(a))
		*error = (struct error){0};
	return rc;
}

static int open_named(struct automaton *a, const struct choices *choices, struct error *error)
{
	for (size_t i = 0; i < choices->count; i++) {
		struct target target = TARGET_NONE;
		int rc = choice_open(&choices->items[i], &target, error);

		if (rc == 0)
			rc = check_process(a, &target, error);
		if (rc < 0) {
			target_close(&target);
			return rc;
		}
		if (manage_process(a, &target) < 0)
			return error_set(error, -ENOMEM, NULL, NULL, "look after process %d", target.pid);
	}
	return 0;
}

/* The one whose pressure is read, and whose end is the end of all. Returns -1: none. */
static int open_cgroup(const struct cli_processes *options, struct error *error)
{
	if (options->cgroups)
		return cgroup_open(*options->cgroups, error);
	return options->units ? cgroup_unit(*options->units, error) : -1;
}

static int begin_managing(struct automaton *a, struct error *error)
{
	const struct cli_processes *processes = &a->run->options.processes;
	_cleanup_choices_ struct choices choices = {0};
	int rc;

	a->policy = policy_new(&a->options->params, a->options->explain ? emit_decision : NULL, a);
	a->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!a->policy || a->wake < 0)
		return error_set(error, -ENOMEM, NULL, NULL, "begin");
	rc = choose_again(a, &choices, error);
	if (rc == 0 && (processes->cgroups || processes->units))
		a->cgroup = rc = open_cgroup(processes, error);
	if (rc >= 0 && *a->options->trigger)
		a->trigger = rc = pressure_open(a->cgroup, a->options->trigger, error);
	if (rc >= 0 && (a->options->params.when & POLICY_HOLD))
		a->pressure = rc = pressure_open(a->cgroup, "", error);
	a->named = cli_names_process(&a->run->options);
	if (rc >= 0 && a->named)
		rc = open_named(a, &choices, error);
	if (rc >= 0)
		catch_end_signals(a->wake);
	return rc < 0 ? rc : 0;
}

/* Resident memory is read of all before anything is decided of one: a target is for all together. */
static void inspect_processes(struct automaton *a, bool pressed)
{
	a->machine.now_ms = now_us() / 1000;
	a->machine.pressed = pressed;
	a->machine.stalled_us = a->pressure >= 0 ? pressure_read(a->pressure) : 0;
	policy_observe_machine(a->policy, &a->machine);
	for (struct managed *m = a->all; m; m = m->next) {
		/* What is under way counts as it will be. */
		if (m->gone || m->tended || target_status_bytes(&m->target, "RssAnon", &m->now.resident) < 0)
			continue;
		policy_observe(m->process, &m->now);
	}
}

/* A thread's one look after one process, or the last one. */
static void *tend_main(void *argument)
{
	struct managed *m = argument;
	struct automaton *a = m->a;

	pthread_mutex_lock(&a->lock);
	if (m->released)
		auto_detach(a, m);
	else if (auto_tend(a, m) == -ESRCH)
		m->gone = true;
	m->gone |= m->released;
	m->tended = false;
	a->threads--;
	pthread_cond_broadcast(&a->changed);
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

/* In a thread of its own; without one it is the next look's. */
static void tend_process(struct managed *m)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, tend_main, m) != 0)
		return;
	pthread_detach(thread);
	m->tended = true;
	m->a->threads++;
}

static bool should_end(struct automaton *a)
{
	uint64_t stop;

	a->ending |= eventfd_read(a->wake, &stop) == 0;
	return a->ending;
}

/* Until there are no more threads than that, or a second has passed. */
static void wait_for_threads(struct automaton *a, unsigned int most)
{
	uint64_t deadline = now_us() + PATIENCE_US;

	while (a->threads > most && now_us() < deadline) {
		struct timespec until;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += INSPECT_AGAIN_MS * 1000000L;
		until.tv_sec += until.tv_nsec / 1000000000L;
		until.tv_nsec %= 1000000000L;
		pthread_cond_timedwait(&a->changed, &a->lock, &until);
	}
}

/* What others have to give is enough: those that are avoided wait for another round. */
static void postpone_avoided(const struct automaton *a)
{
	for (struct managed *m = a->all; m; m = m->next)
		if (m->preference == PREFERENCE_AVOID && !m->gone && !m->tended && policy_due(m->process))
			policy_postpone(m->process, a->options->params.interval_ms);
}

static void tend_preferred(struct automaton *a, enum preference preference)
{
	for (struct managed *m = a->all; m && !should_end(a); m = m->next) {
		if (m->gone || m->tended || m->preference != preference)
			continue;
		if (a->threads >= THREADS_MAX)
			wait_for_threads(a, THREADS_MAX - 1);
		if (a->threads < THREADS_MAX)
			tend_process(m);
	}
}

static bool any_preference(const struct automaton *a)
{
	return a->options->preferences.prefer || a->options->preferences.avoid;
}

static void tend_all(struct automaton *a)
{
	struct managed **at = &a->all;
	uint64_t moved = a->sums.moved;

	for (int preference = PREFERENCE_PREFER; preference >= PREFERENCE_AVOID; preference--) {
		if (preference == PREFERENCE_AVOID && a->sums.moved > moved)
			postpone_avoided(a);
		tend_preferred(a, preference);
		if (any_preference(a))
			wait_for_threads(a, 0);
	}
	wait_for_threads(a, 0);
	while (*at) {
		struct managed *m = *at;

		if (!m->gone || m->tended) {
			at = &m->next;
			continue;
		}
		*at = m->next;
		forget_process(m);
	}
	while (waitpid(-1, NULL, WNOHANG) > 0) /* supervisors of sessions that have ended */
		;
}

/*
 * Until it is time, a signal, the trigger, or the end of a process that was named. Returns whether the trigger fired.
 */
static bool wait_for_work(struct automaton *a)
{
	uint64_t now = now_us() / 1000;
	uint64_t next = policy_next(a->policy);
	uint64_t wait = min_u64(next > now ? next - now : 0, INSPECT_MS);
	struct pollfd fds[64] = {{.fd = a->wake, .events = POLLIN}, {.fd = a->trigger, .events = POLLPRI}};
	unsigned int count = 2;
	int ready;

	if (a->threads) /* those that are still at work may be due all the time */
		wait = max_u64(wait, INSPECT_AGAIN_MS);
	if (!a->named)
		wait = min_u64(wait, a->options->params.interval_ms);
	for (const struct managed *m = a->all; m && count < ARRAY_SIZE(fds); m = m->next)
		fds[count++] = (struct pollfd){.fd = m->target.pidfd, .events = POLLIN};
	pthread_mutex_unlock(&a->lock);
	ready = poll(fds, count, (int)wait + 1);
	pthread_mutex_lock(&a->lock);
	if (ready <= 0)
		return false;
	a->ending |= fds[0].revents != 0;
	for (unsigned int i = 2; i < count; i++)
		if (fds[i].revents)
			for (struct managed *m = a->all; m; m = m->next)
				m->gone |= m->target.pidfd == fds[i].fd;
	return fds[1].revents & POLLPRI;
}

static bool any_useful(const struct automaton *a)
{
	for (const struct managed *m = a->all; m; m = m->next)
		if (!m->refused)
			return true;
	return false;
}

/* `error` is filled when something other than a signal, or the end of the processes, ended it. */
static void loop_until_end(struct automaton *a, struct error *error)
{
	bool pressed = false;

	while (!a->ending) {
		if (!a->named && meet_processes(a, error) < 0)
			break;
		inspect_processes(a, pressed);
		tend_all(a);
		if (a->ending || a->options->once || (a->named && !any_useful(a)))
			break;
		pressed = wait_for_work(a);
	}
}

/* Sessions that do not answer are given up by those who ask. */
static void finish_threads(struct automaton *a)
{
	while (a->threads)
		pthread_cond_wait(&a->changed, &a->lock);
}

/* What is under way is cut short; then all sessions that are ours are ended at the same time. */
static void release_all(struct automaton *a)
{
	for (const struct managed *m = a->all; m && !(a->options->once && !a->ending); m = m->next)
		if (m->connection >= 0)
			session_cancel(m->connection);
	finish_threads(a);
	for (struct managed *m = a->all; m; m = m->next) {
		if (m->gone || a->options->leave)
			continue;
		while (a->threads >= THREADS_MAX)
			pthread_cond_wait(&a->changed, &a->lock);
		m->released = true;
		tend_process(m);
		if (!m->tended && !m->gone)
			auto_detach(a, m);
	}
	finish_threads(a);
}

static void end_managing(struct automaton *a)
{
	release_all(a);
	while (a->all) {
		struct managed *m = a->all;

		a->all = m->next;
		forget_process(m);
	}
	policy_free(a->policy);
	cleanup_close(&a->wake);
	cleanup_close(&a->trigger);
	cleanup_close(&a->pressure);
	cleanup_close(&a->cgroup);
}

static json_t *make_summary(const struct automaton *a)
{
	return json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I}", "type", "summary", "op", "auto", "processes",
			 (json_int_t)a->sums.processes, "rounds", (json_int_t)a->sums.rounds, "moved_bytes",
			 (json_int_t)a->sums.moved, "written_back_bytes", (json_int_t)a->sums.written_back,
			 "refaulted_pages", (json_int_t)a->sums.refaulted, "errors", (json_int_t)a->sums.errors);
}

int auto_run(struct run *run, const struct auto_options *options)
{
	struct automaton a = {.run = run, .options = options, .wake = -1, .trigger = -1, .pressure = -1, .cgroup = -1};
	struct error error = {0};
	bool none;
	int rc;

	pthread_mutex_init(&a.lock, NULL);
	pthread_cond_init(&a.changed, NULL);
	pthread_mutex_lock(&a.lock);
	rc = begin_managing(&a, &error);
	if (rc < 0) {
		end_managing(&a);
		return run_failed(run, rc, &error);
	}
	notify_ready();
	loop_until_end(&a, &error);
	if (error.code) {
		error_print(run->name, &error);
		a.sums.errors++;
	}
	none = a.named && a.refusal.code && !any_useful(&a);
	end_managing(&a);
	auto_emit(&a, make_summary(&a));
	if (none)
		return run_failed(run, a.refusal.code, &a.refusal);
	if (options->once && !a.sums.processes && !a.sums.errors) {
		error_set(&error, -ENOMSG, "none matches", NULL, "find processes");
		return run_failed(run, error.code, &error);
	}
	return a.sums.errors ? EXIT_PARTIAL : EXIT_DONE;
}
