/* SPDX-License-Identifier: MIT */
/* All threads of a target at once, for the instant in which they must not change anything. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "inject/arch/arch.h"
#include "inject/inject.h"

/*
 * What a thread had in its registers, as PTRACE_GETREGSET gives it: sets[i] is of the type ARCH_REGSETS[i]; empty where
 * the machine has none.
 */
struct inject_registers {
	pid_t tid;
	uint64_t sigmask;
	struct {
		void *data;
		size_t bytes;
	} sets[ARCH_REGSETS_COUNT];
};

struct inject_thread {
	pid_t tid;
	bool stopped;
};

/* All threads but the one that serves injection. All zeros is none. */
struct inject_threads {
	struct inject_thread *items;
	size_t count, capacity;
	size_t missed; /* sleep uninterruptibly and could not be stopped */
};

/*
 * Stops all other threads of a target of which inject_begin has stopped one. One that sleeps uninterruptibly (state D)
 * runs nothing and is not waited for long; it counts as missed. Returns 0, -ETIMEDOUT when a thread that could stop
 * does not, -EALREADY when another tool of this project holds one, -ENOMEM, or what ptrace(2) said.
 * inject_release_others must follow in any case.
 */
int inject_stop_others(struct inject *inject, struct inject_threads *threads);

/*
 * Lets go all that have stopped. Returns how many are still to stop: call it again for them. Frees everything with the
 * last one.
 */
size_t inject_release_others(struct inject_threads *threads);

/*
 * Reads the registers of the thread that serves injection and of all others that are stopped, into an array that the
 * caller frees with inject_registers_free. The first is the one that serves. Returns 0 or -errno.
 */
int inject_registers_read(const struct inject *inject, const struct inject_threads *threads,
			  struct inject_registers **registers, size_t *count);
void inject_registers_free(struct inject_registers *registers, size_t count);
