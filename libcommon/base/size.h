/* SPDX-License-Identifier: MIT */
/* Sizes, addresses and times: parsing, printing, rounding. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KiB (UINT64_C(1) << 10)
#define MiB (UINT64_C(1) << 20)
#define GiB (UINT64_C(1) << 30)
#define TiB (UINT64_C(1) << 40)

#define SIZE_TEXT    16 /* enough for "1023.9 MiB" and its terminator */
#define ADDRESS_TEXT 20 /* enough for "0x" and sixteen digits */

static inline uint64_t round_down(uint64_t n, uint64_t to) /* to: a power of two */
{
	return n & ~(to - 1);
}

static inline uint64_t round_up(uint64_t n, uint64_t to) /* to: a power of two */
{
	return (n + to - 1) & ~(to - 1);
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline bool is_power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

/* The page size of this machine, in bytes. */
uint64_t page_size(void);

/*
 * Whether this machine has so much memory at all, with its swap unless it is to be `locked` (sysinfo(2)). The kernel
 * may give more than that, and end processes when it is touched.
 */
bool machine_holds(uint64_t bytes, bool locked);

/*
 * The first of `count` things in order that is not `before` a key, or `count`. Theirs is the size of one of them, in
 * bytes.
 */
typedef bool (*before_fn)(const void *item, const void *key);
size_t first_not_before(const void *items, size_t count, size_t size, before_fn before, const void *key);

/* Microseconds of CLOCK_MONOTONIC. */
uint64_t now_us(void);

/*
 * Parses a size: digits, of which a few can be a fraction, and at most one of K, M, G, T (powers of 1024, either case,
 * "KiB" and "KB" too). Returns 0, -EINVAL for anything else (a sign, trailing text, a part of a byte), -ERANGE above
 * 2^63 - 1.
 */
int size_parse(const char *text, uint64_t *bytes);

/* Writes a size for people ("284.1 MiB") into text[SIZE_TEXT] and returns text. */
const char *size_format(char text[SIZE_TEXT], uint64_t bytes);

/* The same in the unit in which a larger size beside it is shown, unless too little of it would be seen. */
const char *size_format_beside(char text[SIZE_TEXT], uint64_t bytes, uint64_t beside);

/* Writes microseconds for people ("350 us", "1.2 ms", "2.5 m") into text[SIZE_TEXT] and returns text. */
const char *duration_format(char text[SIZE_TEXT], uint64_t us);

/* Parses a whole decimal number. Returns 0, -EINVAL, or -ERANGE outside lowest..highest. */
int number_parse(const char *text, int64_t lowest, int64_t highest, int64_t *number);

/*
 * Parses a time, a number with its unit: "500us", "150ms", "1.5s", "10m", "2h". A number without one is in `unit`,
 * unless that is NULL. Returns 0, -EINVAL, or -ERANGE above 10^9 of the unit.
 */
int duration_parse(const char *text, const char *unit, uint64_t *us);

/* Parses an address: hexadecimal with or without "0x". Returns 0, -EINVAL or -ERANGE. */
int address_parse(const char *text, uint64_t *address);

/* Writes "0x…" in lower case into text[ADDRESS_TEXT] and returns text. */
const char *address_format(char text[ADDRESS_TEXT], uint64_t address);
