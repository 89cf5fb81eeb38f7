/* SPDX-License-Identifier: MIT */
/* What the tests of <uvm/space.h> share: touching memory that may fault, and mapping in one line. */
#pragma once

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <uvm/space.h>

#include "base/size.h"

#define RW  (UVM_MAP_READ | UVM_MAP_WRITE)
#define COW (RW | UVM_MAP_COPY_ON_WRITE)

static _Thread_local sigjmp_buf escape;
static _Thread_local volatile int touching;

static void on_fault(int signal)
{
	if (!touching)
		abort();
	siglongjmp(escape, signal);
}

/* Every time: cmocka puts its own handlers before each test. */
static inline void catch_faults(void)
{
	struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
}

/* Reads a byte: its value, or minus the signal that came. */
static inline int peek(uint64_t address)
{
	int signal = sigsetjmp(escape, 0);
	int value = -signal;

	catch_faults();
	touching = 1;
	if (!signal)
		value = *(volatile unsigned char *)address;
	touching = 0;
	return value;
}

/* Writes a byte: 0, or minus the signal that came. */
static inline int poke(uint64_t address, int value)
{
	int signal = sigsetjmp(escape, 0);

	catch_faults();
	touching = 1;
	if (!signal)
		*(volatile unsigned char *)address = (unsigned char)value;
	touching = 0;
	return -signal;
}

/* Addresses and offsets in pages, the last one not included. */
static inline struct uvm_region pages(uint64_t first, uint64_t end)
{
	return (struct uvm_region){first * page_size(), end * page_size() - 1};
}

static inline struct uvm_region pages_from(uint64_t start, uint64_t first, uint64_t end)
{
	return (struct uvm_region){start + first * page_size(), start + end * page_size() - 1};
}

static inline uint64_t page(uint64_t number)
{
	return number * page_size();
}

static inline struct uvm_mappable *new_memory(uint64_t count)
{
	struct uvm_mappable *memory = NULL;

	assert_int_equal(uvm_mappable_create_memory(page(count), 0, &memory), 0);
	return memory;
}

static inline struct uvm_space *new_stacked(void)
{
	struct uvm_space *space = NULL;

	assert_int_equal(uvm_space_create_stacked(&space), 0);
	return space;
}

/* A space at the process level, and where it begins. */
static inline struct uvm_space *new_window(uint64_t count, uint64_t *start)
{
	struct uvm_space *space = NULL;
	struct uvm_region window;

	assert_int_equal(uvm_space_create(page(count), &space), 0);
	assert_int_equal(uvm_space_get_window(space, &window), 0);
	assert_int_equal(window.end - window.start + 1, page(count));
	*start = window.start;
	return space;
}

static inline void map_at(struct uvm_space *space, struct uvm_mappable *mappable, struct uvm_region region, uint64_t at,
			  unsigned int flags)
{
	uint64_t start = at;

	assert_int_equal(uvm_space_map(space, mappable, region, &start, flags | UVM_MAP_FIXED), 0);
	assert_int_equal(start, at);
}

static inline void map_space(struct uvm_space *into, struct uvm_space *below, struct uvm_region region, uint64_t at,
			     unsigned int flags)
{
	struct uvm_mappable *mappable;

	assert_int_equal(uvm_space_get_mappable(below, &mappable), 0);
	map_at(into, mappable, region, at, flags);
	uvm_mappable_unref(mappable);
}

static inline struct uvm_space *new_clone(struct uvm_space *space, unsigned int flags)
{
	struct uvm_space *clone = NULL;

	assert_int_equal(uvm_space_clone(space, flags, &clone), 0);
	return clone;
}

static inline uint64_t start_of(struct uvm_space *space)
{
	struct uvm_region window;

	assert_int_equal(uvm_space_get_window(space, &window), 0);
	return window.start;
}
