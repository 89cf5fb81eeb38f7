/* SPDX-License-Identifier: MIT */
/* Where the agent's own memory goes: a place that no program picks. */
#pragma once

#include <stdint.h>
#include <sys/mman.h>

#include "agent/raw.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#define FAR_TRIES 8

/* The end of the address space, or a power of two below it, by the stack of a thread of the program. */
static inline uint64_t far_top(void)
{
	return UINT64_C(1) << (64 - __builtin_clzll((uintptr_t)__builtin_frame_address(0)));
}

/*
 * Maps at random between 5/32 and 20/32 of what lies below `top`, above the arenas and shadows at fixed addresses,
 * below where the kernel puts programs and their libraries: a hole that the program left, and may map again with
 * MAP_FIXED, is not there. Multiples of 2 MiB. Where that cannot be, the kernel chooses. Calls nothing of libc. Returns
 * the address, or a negative errno.
 */
static inline long far_map(uint64_t top, uint64_t bytes, int protection, int flags, int fd)
{
	uint64_t part = top / 32;
	uint64_t random = 0;

	for (int tries = 0; tries < FAR_TRIES; tries++) {
		uint64_t at;
		long got;

		if (raw3(SYS_getrandom, &random, sizeof(random), 0) != sizeof(random))
			break;
		at = (5 * part + random % (15 * part)) & ~((UINT64_C(2) << 20) - 1);
		got = raw6(SYS_mmap, at, bytes, protection, flags | MAP_FIXED_NOREPLACE, fd, 0);
		if (got == (long)at)
			return got;
		if (got > 0)
			raw2(SYS_munmap, got, bytes);
	}
	return raw6(SYS_mmap, 0, bytes, protection, flags, fd, 0);
}
