/* SPDX-License-Identifier: MIT */
/* Parsing and printing of sizes, numbers and addresses. */
#include "base/size.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/clock.h"

uint64_t page_size(void)
{
	static uint64_t known; /* sysconf(3) is not inlined, and this is asked for in every loop */
	uint64_t size = __atomic_load_n(&known, __ATOMIC_RELAXED);

	if (!size) {
		size = (uint64_t)sysconf(_SC_PAGESIZE);
		__atomic_store_n(&known, size, __ATOMIC_RELAXED);
	}
	return size;
}

bool machine_holds(uint64_t bytes, bool locked)
{
	struct sysinfo info;

	return sysinfo(&info) < 0 || bytes / info.mem_unit <= info.totalram + (locked ? 0 : info.totalswap);
}

uint64_t now_us(void)
{
	return clock_now_ns() / 1000;
}

/* Reads digits of `base` into *value and moves *text past them. -EINVAL without a digit, -ERANGE beyond 64 bits. */
static int read_digits(const char **text, unsigned int base, uint64_t *value)
{
	const char *start = *text;
	bool too_large = false;
	uint64_t sum = 0;

	for (; isxdigit((unsigned char)**text); (*text)++) {
		char c = (char)tolower((unsigned char)**text);
		unsigned int digit = (unsigned int)(c <= '9' ? c - '0' : c - 'a' + 10);

		if (digit >= base)
			break;
		if (__builtin_mul_overflow(sum, base, &sum) || __builtin_add_overflow(sum, digit, &sum))
			too_large = true;
	}
	if (*text == start)
		return -EINVAL;
	*value = sum;
	return too_large ? -ERANGE : 0;
}

/* The shift that a unit stands for ("", "k", "MiB", "GB", …), or -EINVAL. */
static int unit_shift(const char *unit)
{
	static const char letters[] = "KMGT";
	const char *letter;

	if (!*unit)
		return 0;
	letter = strchr(letters, toupper((unsigned char)*unit));
	if (!letter)
		return -EINVAL;
	unit++;
	if (*unit && strcasecmp(unit, "b") != 0 && strcasecmp(unit, "ib") != 0)
		return -EINVAL;
	return 10 * (int)(letter - letters + 1);
}

/* A number with a fraction. */
struct decimal {
	uint64_t whole;
	uint64_t part; /* of `scale` */
	uint64_t scale;
};

/* Digits, and up to nine behind a point. Returns as read_digits; *text is past them. */
static int read_decimal(const char **text, struct decimal *decimal)
{
	int error = read_digits(text, 10, &decimal->whole);
	const char *point = *text;

	decimal->part = 0;
	decimal->scale = 1;
	if (error == -EINVAL || *point != '.')
		return error;
	(*text)++;
	if (read_digits(text, 10, &decimal->part) < 0 || *text - point > 10)
		return -EINVAL;
	for (const char *digit = point + 1; digit < *text; digit++)
		decimal->scale *= 10;
	return error;
}

/* So many of a unit, rounded down; more than 2^63 - 1 becomes that and one more. */
static uint64_t decimal_times(const struct decimal *decimal, uint64_t unit)
{
	unsigned __int128 sum =
		(unsigned __int128)decimal->whole * unit + (unsigned __int128)decimal->part * unit / decimal->scale;

	return sum > INT64_MAX ? (uint64_t)INT64_MAX + 1 : (uint64_t)sum;
}

int size_parse(const char *text, uint64_t *bytes)
{
	struct decimal decimal;
	int error = read_decimal(&text, &decimal);
	uint64_t value;
	int shift;

	if (error == -EINVAL)
		return error;
	shift = unit_shift(text);
	if (shift < 0 || (shift == 0 && decimal.scale > 1))
		return -EINVAL;
	value = decimal_times(&decimal, UINT64_C(1) << shift);
	if (error || value > INT64_MAX)
		return -ERANGE;
	*bytes = value;
	return 0;
}

const char *size_format_beside(char text[SIZE_TEXT], uint64_t bytes, uint64_t beside)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	unsigned int unit = 0;
	double shown = (double)bytes, larger = (double)max_u64(bytes, beside);

	/* 1023.95 would be printed as 1024.0 */
	while (unit < 6 && larger >= (unit ? 1023.95 : 1024)) {
		shown /= 1024;
		larger /= 1024;
		unit++;
	}
	if (beside > bytes && bytes && shown < 0.1)
		return size_format_beside(text, bytes, 0);
	if (unit && bytes)
		snprintf(text, SIZE_TEXT, "%.1f %s", shown, units[unit]);
	else
		snprintf(text, SIZE_TEXT, "%u B", (unsigned int)bytes);
	return text;
}

const char *size_format(char text[SIZE_TEXT], uint64_t bytes)
{
	return size_format_beside(text, bytes, 0);
}

/* Microseconds in a unit, and how it is written. */
static const struct time_unit {
	const char *name;
	uint64_t us;
} time_units[] = {{"h", 3600000000}, {"m", 60000000}, {"s", 1000000}, {"ms", 1000}, {"us", 1}};

const char *duration_format(char text[SIZE_TEXT], uint64_t us)
{
	const struct time_unit *unit = time_units;

	while (unit->us > 1 && us < unit->us)
		unit++;
	if (unit->us > 1)
		snprintf(text, SIZE_TEXT, "%.1f %s", (double)us / (double)unit->us, unit->name);
	else
		snprintf(text, SIZE_TEXT, "%u us", (unsigned int)us);
	return text;
}

int number_parse(const char *text, int64_t lowest, int64_t highest, int64_t *number)
{
	bool negative = *text == '-';
	uint64_t magnitude = 0;
	int64_t value;
	int error;

	text += negative;
	error = read_digits(&text, 10, &magnitude);
	if (error == -EINVAL || *text)
		return -EINVAL;
	if (error || magnitude > (uint64_t)INT64_MAX)
		return -ERANGE;
	value = negative ? -(int64_t)magnitude : (int64_t)magnitude;
	if (value < lowest || value > highest)
		return -ERANGE;
	*number = value;
	return 0;
}

int duration_parse(const char *text, const char *unit, uint64_t *us)
{
	struct decimal decimal;
	int error = read_decimal(&text, &decimal);

	if (error == -EINVAL)
		return error;
	if (unit && !*text)
		text = unit;
	for (size_t i = 0; i < sizeof(time_units) / sizeof(*time_units); i++) {
		if (strcmp(text, time_units[i].name) != 0)
			continue;
		if (error || decimal.whole > 1000000000)
			return -ERANGE;
		*us = decimal_times(&decimal, time_units[i].us);
		return 0;
	}
	return -EINVAL;
}

int address_parse(const char *text, uint64_t *address)
{
	uint64_t value = 0;
	int error;

	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
		text += 2;
	error = read_digits(&text, 16, &value);
	if (error == -EINVAL || *text)
		return -EINVAL;
	if (!error)
		*address = value;
	return error;
}

const char *address_format(char text[ADDRESS_TEXT], uint64_t address)
{
	snprintf(text, ADDRESS_TEXT, "0x%" PRIx64, address);
	return text;
}

size_t first_not_before(const void *items, size_t count, size_t size, before_fn before, const void *key)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (before((const char *)items + middle * size, key))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
