/* SPDX-License-Identifier: MIT */
/* Running exercises, each in a child that a deadline ends. */
#include "exercise/exercise.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "exercise/kit.h"
#include "exercise/list.h"
#include "uffd/names.h"
#include "uffd/offer.h"
#include "uffd/uffd.h"

#define NAP_NS     100000
#define UNFINISHED (-1)

#define ROW(name, features) {#name, features, exercise_##name},

const struct exercise exercises[] = {EXERCISES(ROW){NULL, 0, NULL}};

const char *exercise_result_name(enum exercise_result result)
{
	static const char *const names[] = {"pass", "fail", "not-applicable"};

	return names[result];
}

static void require_offered(struct kit *kit, uint64_t features)
{
	uint64_t offered = 0;
	char name[8];

	kit_expect(kit, "UFFDIO_API", uffd_try_api(kit->route, &offered), 0);
	features &= ~offered;
	if (features)
		kit_not_applicable(kit, "this kernel does not offer %s",
				   uffd_feature_name((unsigned int)__builtin_ctzll(features), name));
}

__attribute__((noreturn)) static void run_child(const struct exercise *exercise, enum uffd_route route, pid_t parent,
						struct exercise_outcome *outcome)
{
	struct kit kit = {.outcome = outcome, .route = route};
	int result;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	if (route == UFFD_ROUTES)
		kit_not_applicable(&kit, "no route to a userfaultfd is usable here");
	kit.fd = uffd_open(route);
	kit_expect(&kit, "open a userfaultfd", kit.fd < 0 ? kit.fd : 0, 0);
	require_offered(&kit, exercise->features);
	result = uffd_handshake(kit.fd, exercise->features);
	if (result == -EPERM)
		kit_not_applicable(&kit, "not permitted to this user: CAP_SYS_PTRACE is missing");
	kit_expect(&kit, "UFFDIO_API", result, 0);
	exercise->run(&kit);
	kit_fail(&kit, "it ended without a verdict");
}

/* Whether the child ended in time. */
static bool wait_child(pid_t pid, int *status, uint64_t deadline_us)
{
	for (;;) {
		pid_t got = waitpid(pid, status, WNOHANG);

		if (got == pid)
			return true;
		if (now_us() >= deadline_us)
			return false;
		clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){.tv_nsec = NAP_NS}, NULL);
	}
}

static void judge_outcome(bool in_time, int status, unsigned int deadline_ms, struct exercise_outcome *outcome)
{
	const size_t size = sizeof(outcome->seen);

	if (in_time && (int)outcome->result != UNFINISHED && WIFEXITED(status) && !WEXITSTATUS(status))
		return;
	outcome->result = EXERCISE_FAIL;
	if (!in_time) {
		snprintf(outcome->seen, size, "deadline: not done after %u ms", deadline_ms);
	} else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
		outcome->result = EXERCISE_NOT_APPLICABLE;
		snprintf(outcome->seen, size, "a seccomp filter kills for a system call of it");
	} else if (WIFSIGNALED(status)) {
		snprintf(outcome->seen, size, "it was ended by %s", strsignal(WTERMSIG(status)));
	} else {
		snprintf(outcome->seen, size, "it ended with exit code %d", WEXITSTATUS(status));
	}
}

int exercise_run(const struct exercise *exercise, enum uffd_route route, unsigned int deadline_ms,
		 struct exercise_outcome *outcome)
{
	struct exercise_outcome *shared =
		mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t started = now_us();
	int status = 0, result = 0;
	pid_t self = getpid(), pid;
	bool in_time;

	if (shared == MAP_FAILED)
		return -errno;
	shared->result = (enum exercise_result)UNFINISHED;
	pid = fork();
	if (!pid)
		run_child(exercise, route, self, shared);
	if (pid < 0) {
		result = -errno;
	} else {
		in_time = wait_child(pid, &status, started + deadline_ms * UINT64_C(1000));
		if (!in_time) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
		}
		*outcome = *shared;
		outcome->time_us = now_us() - started;
		judge_outcome(in_time, status, deadline_ms, outcome);
	}
	munmap(shared, sizeof(*shared));
	return result;
}
