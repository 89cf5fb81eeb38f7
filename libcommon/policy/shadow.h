/* SPDX-License-Identifier: MIT */
/*
 * What is remembered of single pages: as a shadow in the kernel's mm/workingset.c, when a page left, and how often it
 * came back soon. Takes 6 bytes for each page of a superpage of which anything is known.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/size.h"

#define SUPERPAGE (2 * MiB)

enum shadow_state {
	SHADOW_NONE,
	SHADOW_OUT, /* it left at `ms` */
	SHADOW_HOT, /* it was used at `ms`, and is left alone for a while */
};

struct page_shadow {
	uint64_t ms : 42;   /* of the policy's clock: 139 years */
	uint64_t times : 4; /* that it came back soon */
	uint64_t state : 2; /* enum shadow_state */
} __attribute__((packed));

_Static_assert(sizeof(struct page_shadow) == 6, "as many bytes a page as swapctl(1) says");

struct shadow_block {
	uint64_t start; /* of its superpage */
	struct page_shadow *pages;
};

/* All zeros: nothing is known. */
struct shadows {
	struct shadow_block *blocks; /* sorted */
	size_t count, size;
};

/* Forgets all of them. */
void shadows_free(struct shadows *shadows);

/* The shadow of the page at an address. Returns NULL when nothing is known of its superpage. */
struct page_shadow *shadow_find(const struct shadows *shadows, uint64_t address);

/* Where the next superpage begins of which anything is known, behind one of which nothing is; UINT64_MAX: none. */
uint64_t shadow_next(const struct shadows *shadows, uint64_t address);

/* As shadow_find, and makes one. Returns NULL when out of memory. */
struct page_shadow *shadow_add(struct shadows *shadows, uint64_t address);

/* Whether a page is as good as a new one. */
typedef bool (*shadow_fn)(void *context, const struct page_shadow *shadow);

/* Forgets the pages of which `is_past` says so. */
void shadows_forget(struct shadows *shadows, shadow_fn is_past, void *context);
