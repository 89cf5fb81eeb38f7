/* SPDX-License-Identifier: MIT */
#include "cli/interrupt.h"

#include "cli/exit.h"

static volatile sig_atomic_t interrupted;

static void note_interrupt(int number)
{
	interrupted = number;
}

sigset_t interrupt_signals(void)
{
	struct sigaction before;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	if (sigaction(SIGHUP, NULL, &before) < 0 || before.sa_handler != SIG_IGN)
		sigaddset(&set, SIGHUP);
	return set;
}

void interrupt_handle(void (*handler)(int number), int flags)
{
	const struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
	const sigset_t set = interrupt_signals();

	for (int number = 1; number < NSIG; number++)
		if (sigismember(&set, number) == 1)
			sigaction(number, &action, NULL);
}

const volatile sig_atomic_t *interrupt_catch(void)
{
	interrupt_handle(note_interrupt, 0);
	return &interrupted;
}

int interrupt_status(int status)
{
	return interrupted ? EXIT_SIGNALLED + interrupted : status;
}
