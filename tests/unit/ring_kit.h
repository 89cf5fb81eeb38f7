/* SPDX-License-Identifier: MIT */
/* For tests of the ring: one a process, so each test has a process of its own, where `expect` ends it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "ring/ring.h"

#define PAGE       ((uint64_t)sysconf(_SC_PAGESIZE))
#define NULL_ID    UVM_RECLAIM_ID_NULL
#define FREE       UVM_RECLAIM_FREE
#define DEALLOCATE UVM_RECLAIM_DEALLOCATE

#define expect(that)                                                               \
	do {                                                                       \
		if (!(that)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #that); \
			_exit(1);                                                  \
		}                                                                  \
	} while (0)

/* Runs a body in a child; returns its wait status. */
static inline int status_of(void (*body)(void))
{
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		alarm(300);
		body();
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* A cmocka test of a body. */
#define own_process(body)                             \
	static void test_##body(void **state)         \
	{                                             \
		(void)state;                          \
		assert_int_equal(status_of(body), 0); \
	}

static inline uvm_reclaim_ring_t make_ring(uint32_t initial, uint32_t maximum)
{
	uvm_reclaim_ring_t ring;

	expect(!uvm_reclaim_ring_allocate(&ring, initial, uvm_reclaim_round_capacity(maximum)));
	return ring;
}

static inline struct ring_shared *shared_of(uvm_reclaim_ring_t ring)
{
	return ring->view.shared;
}

static inline char *map_pages(uint64_t pages, int value)
{
	char *at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	expect(at != MAP_FAILED);
	memset(at, value, pages * PAGE);
	return at;
}

static inline bool is_mapped(const char *at)
{
	unsigned char core;

	return !mincore((void *)at, PAGE, &core);
}

static inline bool all_are(const char *at, uint64_t bytes, int value)
{
	for (uint64_t i = 0; i < bytes; i++)
		if (at[i] != (char)value)
			return false;
	return true;
}

/* Into the ring with an id; the new one. */
static inline uint64_t enter_at(uvm_reclaim_ring_t ring, uint64_t id, char *at, uint64_t pages, uint8_t action)
{
	bool update;

	expect(!uvm_reclaim_try_enter(ring, (uintptr_t)at, pages * PAGE, action, &id, &update));
	return id;
}

static inline uint64_t enter(uvm_reclaim_ring_t ring, char *at, uint64_t pages, uint8_t action)
{
	return enter_at(ring, NULL_ID, at, pages, action);
}

static inline uint32_t cancel(uvm_reclaim_ring_t ring, uint64_t id, char *at, uint64_t pages, uint8_t action)
{
	uvm_reclaim_state_t state = 0;
	bool update;

	expect(!uvm_reclaim_try_cancel(ring, id, (uintptr_t)at, pages * PAGE, action, &state, &update));
	return state;
}

static inline uint32_t query(uvm_reclaim_ring_t ring, uint64_t id, uint8_t action)
{
	uvm_reclaim_state_t state = 0;

	expect(!uvm_reclaim_query_state(ring, id, action, &state));
	return state;
}
