/* SPDX-License-Identifier: MIT */
/* A window of addresses and memory to map there, new for each test. */
#pragma once

#include "space_kit.h"

static uint64_t base; /* where the window of `space` begins */
static struct uvm_space *space;
static struct uvm_mappable *memory; /* 8 pages */

static inline int set_up_pages(uint64_t count)
{
	space = new_window(count, &base);
	memory = new_memory(8);
	return 0;
}

static inline int set_up(void **state)
{
	(void)state;
	return set_up_pages(16);
}

static inline int tear_down(void **state)
{
	(void)state;
	uvm_space_unref(space);
	uvm_mappable_unref(memory);
	return 0;
}
