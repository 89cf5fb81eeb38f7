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
	return (uint64_t)sysconf(_SC_PAGESIZE);
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

int size_parse(const char *text, uint64_t *bytes)
{
	uint64_t value = 0;
	int error = read_digits(&text, 10, &value);
	int shift;

	if (error == -EINVAL)
		return error;
	shift = unit_shift(text);
	if (shift < 0)
		return -EINVAL;
	if (error || value > (uint64_t)INT64_MAX >> shift)
		return -ERANGE;
	*bytes = value << shift;
	return 0;
}

const char *size_format(char text[SIZE_TEXT], uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	unsigned int unit = 0;
	double shown = (double)bytes;

	/* 1023.95 would be printed as 1024.0 */
	while (unit < 6 && shown >= (unit ? 1023.95 : 1024)) {
		shown /= 1024;
		unit++;
	}
	if (unit)
		snprintf(text, SIZE_TEXT, "%.1f %s", shown, units[unit]);
	else
		snprintf(text, SIZE_TEXT, "%u B", (unsigned int)bytes);
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

int duration_parse(const char *text, uint64_t *us)
{
	static const struct {
		const char *unit;
		uint64_t us;
	} units[] = {{"us", 1}, {"ms", 1000}, {"s", 1000000}};
	uint64_t value = 0;
	int error = read_digits(&text, 10, &value);

	if (error == -EINVAL)
		return error;
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		if (strcmp(text, units[i].unit) != 0)
			continue;
		if (error || value > 1000000000)
			return -ERANGE;
		*us = value * units[i].us;
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
