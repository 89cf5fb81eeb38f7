/* SPDX-License-Identifier: MIT */
/*
 * Counts signals: signals COUNT. After a line on standard input a child queues COUNT real-time signals, numbered; the
 * handler looks that none is lost or out of order and that memory is as it should be, while a timer interrupts at 1
 * kHz. Prints "ready", then "ok COUNT ALARMS" or "wrong RECEIVED DISORDERED PAGES".
 */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pattern.h"

#define BYTES (32 * MEBIBYTE)

static const struct pattern pattern = {"mixed", 5};
static char *memory;
static volatile long received, disordered, wrong, alarms;

/* Calls nothing but plain computing. */
static void look(uint64_t at)
{
	wrong += !pattern_holds_page(memory, &pattern, mix(at) % (BYTES / PAGE));
}

static void on_queued(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	disordered += info->si_code != SI_QUEUE || info->si_value.sival_int != received;
	received++;
	look((uint64_t)received);
}

static void on_alarm(int number)
{
	(void)number;
	alarms++;
	look((uint64_t)alarms << 32);
}

/* A full queue is no loss: the sender is told, and waits. */
static void send_all(pid_t to, int count)
{
	const struct timespec pause = {0, 100000};
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (read(0, &byte, 1) != 1)
		_exit(1);
	for (int i = 0; i < count; i++) {
		while (sigqueue(to, SIGRTMIN, (union sigval){.sival_int = i}) < 0) {
			if (errno != EAGAIN)
				_exit(1);
			nanosleep(&pause, NULL);
		}
		nanosleep(&pause, NULL);
	}
	_exit(0);
}

static void await_child(pid_t child)
{
	const struct timespec pause = {0, 5000000};
	int status = 0;

	/* Interrupted all the time, which is right: handlers run. */
	while (waitpid(child, &status, WNOHANG) == 0)
		nanosleep(&pause, NULL);
	if (status)
		die("sender");
}

int main(int argc, char **argv)
{
	int count = argc > 1 ? (int)strtol(argv[1], NULL, 0) : 0;
	struct sigaction queued = {.sa_sigaction = on_queued, .sa_flags = SA_SIGINFO}, tick = {.sa_handler = on_alarm};
	struct itimerval timer = {{0, 1000}, {0, 1000}};
	pid_t child, self = getpid();

	if (count <= 0)
		return 2;
	memory = map_aligned(BYTES);
	pattern_fill(memory, BYTES, &pattern);
	sigaction(SIGRTMIN, &queued, NULL);
	sigaction(SIGALRM, &tick, NULL);
	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0)
		send_all(self, count);
	setitimer(ITIMER_REAL, &timer, NULL);
	puts("ready");
	fflush(stdout);
	await_child(child);
	/* What was queued is delivered before any return to this program. */
	setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
	if (received == count && !disordered && !wrong && !pattern_wrong(memory, BYTES, &pattern))
		printf("ok %ld %ld\n", received, alarms);
	else
		printf("wrong %ld %ld %ld\n", received, disordered, wrong);
	fflush(stdout);
	for (;;)
		pause();
}
