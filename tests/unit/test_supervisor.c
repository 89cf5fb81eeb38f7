/* SPDX-License-Identifier: MIT */
/* Workers of a service that does nothing but what each test says of each of them. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/pidfd.h"
#include "service/supervisor.h"

#define DESCRIPTOR 200

/* What each worker does: k is killed, x fails, o says that it is over, h hangs, s serves and is killed, d opens
 * DESCRIPTOR. */
static const char *plan;
static struct supervisor service;
static bool over;

static void end_by_kill(void)
{
	kill(getpid(), SIGKILL);
}

static void do_work(struct supervisor *supervisor, int channel)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	switch (*plan) {
	case 'd':
		dup2(supervisor->signals, DESCRIPTOR);
		end_by_kill();
		break;
	case 'h':
		pulse_begin(&supervisor->pulse->threads[0]);
		for (;;)
			pause();
	case 'k':
		end_by_kill();
		break;
	case 'o':
	case 's':
		send(channel, plan, 1, 0);
		if (*plan == 's')
			end_by_kill();
		_exit(0);
	default:
		_exit(1);
	}
}

static bool hear(struct supervisor *supervisor)
{
	char said;

	if (recv(supervisor->channel, &said, 1, MSG_DONTWAIT) != 1)
		return false;
	over |= said == 'o';
	supervisor->served |= said == 's';
	return true;
}

static void take_no_signal(struct supervisor *supervisor, const struct signalfd_siginfo *info)
{
	(void)supervisor;
	(void)info;
}

static int has_ended(struct supervisor *supervisor)
{
	(void)supervisor;
	plan++;
	return over ? 0 : 1;
}

static const struct supervisor_ops own_table = {
	.work = do_work, .hear = hear, .signal = take_no_signal, .ended = has_ended};

static const char *begin(const struct supervisor_ops *ops, const char *text)
{
	sigset_t none;

	sigemptyset(&none);
	service = (struct supervisor){.ops = ops,
				      .pulse = pulse_new(),
				      .signals = signalfd(-1, &none, SFD_CLOEXEC | SFD_NONBLOCK),
				      .channel = -1};
	plan = text;
	over = false;
	assert_non_null(service.pulse);
	return text;
}

static void a_worker_that_is_killed_is_replaced_until_the_service_is_over(void **state)
{
	const char *first = begin(&own_table, "kkkko");

	(void)state;
	assert_int_equal(supervisor_run(&service), 0);
	assert_int_equal(plan - first, 5);
	assert_int_equal(service.failures, 0);
}

static void a_service_that_never_comes_to_serve_is_given_up(void **state)
{
	const char *first = begin(&own_table, "xxxkxo");

	(void)state;
	assert_int_equal(supervisor_run(&service), -ECHILD);
	assert_int_equal(plan - first, 5);
}

static void what_was_served_once_is_not_given_up(void **state)
{
	const char *first = begin(&own_table, "sxxxxxo");

	(void)state;
	assert_int_equal(supervisor_run(&service), 0);
	assert_int_equal(plan - first, 7);
}

static void a_worker_that_hangs_is_killed_and_the_next_one_has_twice_as_long(void **state)
{
	begin(&own_table, "ho");
	service.watch.patience = 1;

	(void)state;
	assert_int_equal(supervisor_run(&service), 0);
	assert_string_equal(plan, "");
	assert_int_equal(service.watch.patience, 2);
}

static void what_a_worker_has_open_outlives_it_where_tables_are_shared(void **state)
{
	struct supervisor_ops shared_table = own_table;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	for (int shared = 0; shared < 2; shared++) {
		shared_table.shares_descriptors = shared;
		begin(&shared_table, shared ? "dx" : "do");
		service.channel = pair[0];
		if (shared)
			send(pair[1], "o", 1, 0); /* both ends of this channel stay open: it is said once */
		assert_int_equal(supervisor_run(&service), 0);
		assert_int_equal(fcntl(DESCRIPTOR, F_GETFD) >= 0, shared);
	}
	close(DESCRIPTOR);
}

static void a_worker_of_another_supervisor_is_waited_for_and_replaced(void **state)
{
	const char *first = begin(&own_table, "ko");
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	service.channel = pair[0];
	service.worker = fork();
	if (service.worker == 0)
		do_work(&service, pair[1]);
	close(pair[1]);
	service.pidfd = pidfd_of(service.worker);
	assert_int_equal(supervisor_go_on(&service), 0);
	assert_int_equal(plan - first, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_worker_that_is_killed_is_replaced_until_the_service_is_over),
		cmocka_unit_test(a_service_that_never_comes_to_serve_is_given_up),
		cmocka_unit_test(what_was_served_once_is_not_given_up),
		cmocka_unit_test(a_worker_that_hangs_is_killed_and_the_next_one_has_twice_as_long),
		cmocka_unit_test(what_a_worker_has_open_outlives_it_where_tables_are_shared),
		cmocka_unit_test(a_worker_of_another_supervisor_is_waited_for_and_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
