/* SPDX-License-Identifier: MIT */
/* userfaultfd: names, routes, offers, and the runner of exercises with exercises that pass, fail, crash and hang. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "exercise/kit.h"
#include "uffd/guard.h"
#include "uffd/names.h"
#include "uffd/offer.h"
#include "uffd/uffd.h"

/* The pid that a hanging exercise tells. */
static pid_t *told_pid;

static enum uffd_route best_route(void)
{
	int codes[UFFD_ROUTES];
	enum uffd_route route;

	for (route = 0; route < UFFD_ROUTES; route++)
		codes[route] = uffd_route_try(route);
	route = uffd_route_choose(codes);
	if (route == UFFD_ROUTES) {
		print_message("no route to a userfaultfd is usable here\n");
		skip();
	}
	return route;
}

static void every_feature_name_leads_back_to_its_bit(void **state)
{
	char text[8];

	(void)state;
	for (unsigned int bit = 0; bit < 64; bit++)
		assert_int_equal(uffd_feature_bit(uffd_feature_name(bit, text)), bit);
	assert_string_equal(uffd_feature_name(16, text), "move");
	assert_string_equal(uffd_feature_name(63, text), "bit63");
	assert_int_equal(uffd_feature_bit("bit16"), -EINVAL);
	assert_int_equal(uffd_feature_bit("bit64"), -EINVAL);
	assert_int_equal(uffd_feature_bit("bit"), -EINVAL);
	assert_int_equal(uffd_feature_bit("MOVE"), -EINVAL);
	assert_int_equal(uffd_feature_bit(""), -EINVAL);
}

static void names_stand_at_the_numbers_of_the_uapi(void **state)
{
	static const struct {
		unsigned int bit;
		const char *name;
	} features[] = {
		{UFFD_FEATURE_PAGEFAULT_FLAG_WP, "pagefault_flag_wp"},
		{UFFD_FEATURE_EVENT_FORK, "event_fork"},
		{UFFD_FEATURE_EVENT_REMAP, "event_remap"},
		{UFFD_FEATURE_EVENT_REMOVE, "event_remove"},
		{UFFD_FEATURE_MISSING_HUGETLBFS, "missing_hugetlbfs"},
		{UFFD_FEATURE_MISSING_SHMEM, "missing_shmem"},
		{UFFD_FEATURE_EVENT_UNMAP, "event_unmap"},
		{UFFD_FEATURE_SIGBUS, "sigbus"},
		{UFFD_FEATURE_THREAD_ID, "thread_id"},
		{UFFD_FEATURE_MINOR_HUGETLBFS, "minor_hugetlbfs"},
		{UFFD_FEATURE_MINOR_SHMEM, "minor_shmem"},
		{UFFD_FEATURE_EXACT_ADDRESS, "exact_address"},
		{UFFD_FEATURE_WP_HUGETLBFS_SHMEM, "wp_hugetlbfs_shmem"},
		{UFFD_FEATURE_WP_UNPOPULATED, "wp_unpopulated"},
		{UFFD_FEATURE_POISON, "poison"},
		{UFFD_FEATURE_WP_ASYNC, "wp_async"},
		{UFFD_FEATURE_MOVE, "move"},
		{UFFD_FEATURE_RWP, "rwp"},
		{UFFD_FEATURE_RWP_ASYNC, "rwp_async"},
	};
	static const struct {
		unsigned int number;
		const char *name;
	} ioctls[] = {
		{_UFFDIO_REGISTER, "register"},
		{_UFFDIO_UNREGISTER, "unregister"},
		{_UFFDIO_WAKE, "wake"},
		{_UFFDIO_COPY, "copy"},
		{_UFFDIO_ZEROPAGE, "zeropage"},
		{_UFFDIO_MOVE, "move"},
		{_UFFDIO_WRITEPROTECT, "writeprotect"},
		{_UFFDIO_CONTINUE, "continue"},
		{_UFFDIO_POISON, "poison"},
		{_UFFDIO_RWPROTECT, "rwprotect"},
		{_UFFDIO_SET_MODE, "set_mode"},
		{_UFFDIO_API, "api"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(features); i++)
		assert_string_equal(uffd_feature_names[__builtin_ctz(features[i].bit)], features[i].name);
	assert_int_equal(ARRAY_SIZE(features), UFFD_NAMED_FEATURES);
	for (size_t i = 0; i < ARRAY_SIZE(ioctls); i++)
		assert_string_equal(uffd_ioctl_names[ioctls[i].number], ioctls[i].name);
	assert_null(uffd_ioctl_names[0x20]);
	assert_string_equal(uffd_mode_names[__builtin_ctzll(UFFDIO_REGISTER_MODE_MINOR)], "minor");
}

static void the_best_usable_route_is_chosen(void **state)
{
	const int none[UFFD_ROUTES] = {-EPERM, -EPERM, -EACCES}, all[UFFD_ROUTES] = {0},
		  user[UFFD_ROUTES] = {-EPERM, 0, -EACCES}, both[UFFD_ROUTES] = {0, 0, -EACCES};

	(void)state;
	assert_int_equal(uffd_route_choose(none), UFFD_ROUTES);
	assert_int_equal(uffd_route_choose(all), UFFD_ROUTE_DEVICE);
	assert_int_equal(uffd_route_choose(user), UFFD_ROUTE_USER_MODE_ONLY);
	assert_int_equal(uffd_route_choose(both), UFFD_ROUTE_SYSCALL);
}

static void a_refusal_is_explained_with_a_cure(void **state)
{
	struct error error = {0};

	(void)state;
	assert_int_equal(uffd_route_explain(UFFD_ROUTE_DEVICE, 0, &error), 0);
	assert_int_equal(error.code, 0);
	assert_int_equal(uffd_route_explain(UFFD_ROUTE_USER_MODE_ONLY, -EINVAL, &error), -EINVAL);
	assert_non_null(strstr(error.hint, "5.11"));
	assert_int_equal(uffd_route_explain(UFFD_ROUTE_SYSCALL, -ENOSYS, &error), -ENOSYS);
	assert_true(*error.why && *error.hint);
	assert_int_equal(uffd_route_explain(UFFD_ROUTE_DEVICE, -ENOENT, &error), -ENOENT);
	assert_true(*error.why && *error.hint);
}

static void an_offer_is_what_register_answers(void **state)
{
	enum uffd_route route = best_route();
	struct uffd_offer offer;
	uint64_t features;

	(void)state;
	assert_int_equal(uffd_try_api(route, &features), 0);
	assert_true(features & UFFD_FEATURE_SIGBUS);
	uffd_try_memory(route, features, UFFD_MEMORY_ANONYMOUS, 0, &offer);
	assert_int_equal(offer.code, 0);
	assert_true(offer.ioctls >> _UFFDIO_COPY & 1);
	assert_false(offer.ioctls >> _UFFDIO_CONTINUE & 1);
	uffd_try_memory(route, features, UFFD_MEMORY_ANONYMOUS, 2, &offer);
	assert_int_equal(offer.code, -EINVAL);
	assert_int_equal(offer.memory_code, 0);
	assert_int_equal(offer.ioctls, 0);
	assert_int_equal(uffd_try_feature(route, 63), -EOPNOTSUPP);
	assert_int_equal(uffd_try_feature(route, __builtin_ctz(UFFD_FEATURE_SIGBUS)), 0);
}

static void passes(struct kit *kit)
{
	kit_pass(kit, "it is %d", 42);
}

static void falls_short(struct kit *kit)
{
	kit_expect(kit, "UFFDIO_COPY", -ENOENT, 0);
}

static void crashes(struct kit *kit)
{
	(void)kit;
	raise(SIGKILL);
}

static void says_nothing(struct kit *kit)
{
	(void)kit;
	_exit(0);
}

static void leaves(struct kit *kit)
{
	(void)kit;
	_exit(7);
}

/* A reader of a missing page that nobody answers, and a child beside it. */
static void hangs(struct kit *kit)
{
	char *at = kit_pages(kit, 1, UFFDIO_REGISTER_MODE_MISSING);
	pid_t child = kit_fork(kit);

	if (!child)
		for (;;)
			pause();
	told_pid[0] = getpid();
	told_pid[1] = child;
	kit_pass(kit, "%d", *(volatile char *)at);
}

static struct exercise_outcome run(void (*function)(struct kit *), uint64_t features, unsigned int deadline_ms)
{
	const struct exercise exercise = {"test", features, function};
	struct exercise_outcome outcome = {.result = EXERCISE_PASS};

	assert_int_equal(exercise_run(&exercise, best_route(), deadline_ms, &outcome), 0);
	return outcome;
}

static void each_end_of_an_exercise_has_its_result(void **state)
{
	struct exercise_outcome outcome = run(passes, 0, 5000);

	(void)state;
	assert_int_equal(outcome.result, EXERCISE_PASS);
	assert_string_equal(outcome.seen, "it is 42");
	outcome = run(falls_short, 0, 5000);
	assert_int_equal(outcome.result, EXERCISE_FAIL);
	assert_string_equal(outcome.seen, "UFFDIO_COPY: ENOENT, expected was success");
	outcome = run(crashes, 0, 5000);
	assert_int_equal(outcome.result, EXERCISE_FAIL);
	assert_string_equal(outcome.seen, "it was ended by Killed");
	assert_int_equal(run(says_nothing, 0, 5000).result, EXERCISE_FAIL);
	outcome = run(leaves, 0, 5000);
	assert_int_equal(outcome.result, EXERCISE_FAIL);
	assert_string_equal(outcome.seen, "it ended with exit code 7");
	outcome = run(passes, UINT64_C(1) << 62, 5000);
	assert_int_equal(outcome.result, EXERCISE_NOT_APPLICABLE);
	assert_string_equal(outcome.seen, "this kernel does not offer bit62");
}

static void without_a_route_nothing_is_exercised(void **state)
{
	const struct exercise exercise = {"test", 0, passes};
	struct exercise_outcome outcome = {.result = EXERCISE_PASS};

	(void)state;
	assert_int_equal(exercise_run(&exercise, UFFD_ROUTES, 5000, &outcome), 0);
	assert_int_equal(outcome.result, EXERCISE_NOT_APPLICABLE);
}

/* Gone, or dead and not waited for by whoever adopted it. */
static bool is_gone(pid_t pid)
{
	_cleanup_fclose_ FILE *file = NULL;
	char path[40], state = 'Z';

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	return !file || fscanf(file, "%*d (%*[^)]) %c", &state) != 1 || state == 'Z' || state == 'X';
}

static void an_exercise_that_hangs_is_ended_by_the_deadline(void **state)
{
	struct exercise_outcome outcome;
	uint64_t until;

	(void)state;
	told_pid = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(told_pid, MAP_FAILED);
	outcome = run(hangs, 0, 1000);
	assert_int_equal(outcome.result, EXERCISE_FAIL);
	assert_string_equal(outcome.seen, "deadline: not done after 1000 ms");
	assert_in_range(outcome.time_us, 1000000, 60000000);
	assert_true(told_pid[0] && told_pid[1]);
	assert_int_equal(kill(told_pid[0], 0), -1);
	for (until = now_us() + 60000000; !is_gone(told_pid[1]) && now_us() < until;)
		usleep(1000);
	assert_true(is_gone(told_pid[1]));
	munmap(told_pid, page_size());
}

static void every_exercise_has_a_name_of_its_own(void **state)
{
	size_t count = 0;

	(void)state;
	for (const struct exercise *one = exercises; one->name; one++, count++)
		for (const struct exercise *other = one + 1; other->name; other++)
			assert_string_not_equal(one->name, other->name);
	assert_true(count >= 30);
}

static int minus_twenty_two(const void *argument)
{
	return *(const int *)argument;
}

static void a_guarded_try_returns_what_was_tried(void **state)
{
	const int code = -EINVAL;

	(void)state;
	assert_int_equal(guard_call(minus_twenty_two, &code), -EINVAL);
}

static void moves_and_protection_give_their_errno(void **state)
{
	_cleanup_close_ int fd = uffd_open(best_route());
	size_t page = page_size(), moved = 1;
	char *at = mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct region to = {(uintptr_t)at, (uintptr_t)at + 2 * page};
	uint64_t ioctls = 0;

	(void)state;
	assert_ptr_not_equal(at, MAP_FAILED);
	madvise(at, 4 * page, MADV_NOHUGEPAGE);
	if (uffd_handshake(fd, UFFD_FEATURE_MOVE)) {
		print_message("this kernel does not offer move\n");
		skip();
	}
	assert_int_equal(uffd_writeprotect(fd, to, true), -ENOENT);
	assert_int_equal(uffd_register(fd, to, UFFDIO_REGISTER_MODE_MISSING, &ioctls), 0);
	assert_true(ioctls >> _UFFDIO_MOVE & 1);
	at[2 * page] = 5;
	assert_int_equal(uffd_move(fd, to.start, to.end, 2 * page, 0, &moved), -EAGAIN);
	assert_int_equal(moved, page);
	assert_int_equal(at[0], 5);
	assert_int_equal(uffd_move(fd, to.start, to.end, page, 0, &moved), -EEXIST);
	assert_int_equal(moved, 0);
	assert_int_equal(uffd_continue(fd, to.start + page, page, &moved), -EINVAL);
	munmap(at, 4 * page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_feature_name_leads_back_to_its_bit),
		cmocka_unit_test(names_stand_at_the_numbers_of_the_uapi),
		cmocka_unit_test(the_best_usable_route_is_chosen),
		cmocka_unit_test(a_refusal_is_explained_with_a_cure),
		cmocka_unit_test(an_offer_is_what_register_answers),
		cmocka_unit_test(each_end_of_an_exercise_has_its_result),
		cmocka_unit_test(without_a_route_nothing_is_exercised),
		cmocka_unit_test(an_exercise_that_hangs_is_ended_by_the_deadline),
		cmocka_unit_test(every_exercise_has_a_name_of_its_own),
		cmocka_unit_test(a_guarded_try_returns_what_was_tried),
		cmocka_unit_test(moves_and_protection_give_their_errno),
	};

	alarm(300);
	return cmocka_run_group_tests_name("uffd", tests, NULL, NULL);
}
