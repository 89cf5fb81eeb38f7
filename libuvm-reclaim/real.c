/* SPDX-License-Identifier: MIT */
#include "real.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/size.h"

#define START_BYTES (32 * KiB)
#define START_ALIGN 16

enum {
	UNKNOWN,
	LOOKING,
	KNOWN
};

static struct real found;
static _Atomic int state;

static _Alignas(4096) char start_area[START_BYTES];
static atomic_size_t start_used;

/* Data and function pointers are the same thing to dlsym(3); C keeps them apart. */
#define LOOK_UP(name) (*(void **)(&found.name) = dlsym(RTLD_NEXT, #name))

const struct real *real(void)
{
	int expected = UNKNOWN;

	if (__builtin_expect(atomic_load_explicit(&state, memory_order_acquire) == KNOWN, 1))
		return &found;
	if (!atomic_compare_exchange_strong(&state, &expected, LOOKING))
		return expected == KNOWN ? &found : NULL;
	LOOK_UP(malloc);
	LOOK_UP(calloc);
	LOOK_UP(realloc);
	LOOK_UP(free);
	LOOK_UP(posix_memalign);
	LOOK_UP(aligned_alloc);
	LOOK_UP(memalign);
	LOOK_UP(valloc);
	LOOK_UP(pvalloc);
	LOOK_UP(malloc_usable_size);
	LOOK_UP(malloc_trim);
	atomic_store_explicit(&state, KNOWN, memory_order_release);
	return &found;
}

/* In front of what is given out: its size. */
void *start_allocate(size_t size, size_t alignment)
{
	size_t before = alignment > START_ALIGN ? alignment : START_ALIGN;
	size_t used = atomic_load(&start_used);
	uintptr_t at;

	do {
		at = round_up((uintptr_t)start_area + used + sizeof(size_t), before);
		if (size > START_BYTES || at + size > (uintptr_t)start_area + START_BYTES) {
			errno = ENOMEM;
			return NULL;
		}
	} while (!atomic_compare_exchange_weak(&start_used, &used, at + size - (uintptr_t)start_area));
	((size_t *)at)[-1] = size;
	return (void *)at;
}

bool start_owns(const void *at)
{
	return (uintptr_t)at - (uintptr_t)start_area < START_BYTES;
}

size_t start_size(const void *at)
{
	return ((const size_t *)at)[-1];
}
