/* SPDX-License-Identifier: MIT */
#include "cli/interrupt.h"

#include <stddef.h>

#include "base/cleanup.h"

static volatile sig_atomic_t interrupted;

static void note_interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

const volatile sig_atomic_t *interrupt_catch(void)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
	const struct sigaction action = {.sa_handler = note_interrupt};

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		sigaction(numbers[i], &action, NULL);
	return &interrupted;
}
