/* SPDX-License-Identifier: MIT */
/* Values of options: from the words of a command line to what the tool works with. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/region.h"
#include "base/size.h"
#include "cli/cli.h"

static uint64_t highest_value(const struct cli_option *option)
{
	return option->highest ? (uint64_t)option->highest : INT64_MAX;
}

static int check_bounds(const struct cli_option *option, uint64_t value)
{
	return value < (uint64_t)option->lowest || value > highest_value(option) ? -ERANGE : 0;
}

/* The position of a word in a list, or -1. */
static int word_position(const char *words, const char *word)
{
	size_t length = strlen(word);

	for (int i = 0; words && *words; i++, words += strspn(words, " ")) {
		size_t next = strcspn(words, " ");

		if (next == length && strncmp(words, word, length) == 0)
			return i;
		words += next;
	}
	return -1;
}

bool cli_word_in(const char *words, const char *word)
{
	return word_position(words, word) >= 0;
}

static int take_text(const struct cli_option *option, const char *text, void *value)
{
	char *copy = strdup(text);

	(void)option;
	if (!copy)
		return -ENOMEM;
	free(*(char **)value);
	*(char **)value = copy;
	return 0;
}

static int take_list(const struct cli_option *option, const char *text, void *value)
{
	char **list = *(char ***)value;
	size_t count = 0;

	(void)option;
	while (list && list[count])
		count++;
	list = reallocarray(list, count + 2, sizeof(*list));
	if (!list)
		return -ENOMEM;
	*(char ***)value = list;
	list[count] = strdup(text);
	list[count + 1] = NULL;
	return list[count] ? 0 : -ENOMEM;
}

/* All that stand in the text, or none of them. */
static int take_pids(const struct cli_option *option, const char *text, void *value)
{
	pid_t *pids = *(pid_t **)value;
	size_t count = 0;

	(void)option;
	while (pids && pids[count])
		count++;
	for (size_t length, used = count; text; text = text[length] ? text + length + 1 : NULL, used++) {
		char word[24];
		int64_t pid;

		length = strcspn(text, ",");
		snprintf(word, sizeof(word), "%.*s", (int)min_u64(length, sizeof(word)), text);
		if (length >= sizeof(word) || number_parse(word, 1, INT_MAX, &pid) < 0) {
			if (pids)
				pids[count] = 0;
			return -EINVAL;
		}
		pids = reallocarray(pids, used + 2, sizeof(*pids));
		if (!pids)
			return -ENOMEM;
		*(pid_t **)value = pids;
		pids[used] = (pid_t)pid;
		pids[used + 1] = 0;
	}
	return 0;
}

static int take_word(const struct cli_option *option, const char *text, void *value)
{
	int position = word_position(option->words, text);

	if (position < 0)
		return -EINVAL;
	*(int *)value = position;
	return 0;
}

static int take_number(const struct cli_option *option, const char *text, void *value)
{
	return number_parse(text, option->lowest, (int64_t)highest_value(option), value);
}

static int take_int(const struct cli_option *option, const char *text, void *value)
{
	int64_t number;
	int rc = number_parse(text, option->lowest, (int64_t)min_u64(highest_value(option), INT_MAX), &number);

	if (rc == 0)
		*(int *)value = (int)number;
	return rc;
}

/* Where the bounds of a time that is an option's value are, in milliseconds. */
static uint64_t time_bound(const struct cli_option *option, int64_t bound)
{
	return (uint64_t)bound * (option->type == CLI_SECONDS ? 1000 : 1);
}

static int parse_time(const struct cli_option *option, const char *text, uint64_t *us)
{
	int rc = duration_parse(text, option->type == CLI_MS ? "ms" : "s", us);

	if (rc < 0 || *us < time_bound(option, option->lowest) * 1000 ||
	    *us > time_bound(option, option->highest) * 1000)
		return -EINVAL;
	return 0;
}

static int take_time(const struct cli_option *option, const char *text, void *value)
{
	uint64_t us;
	int rc = parse_time(option, text, &us);

	if (rc == 0)
		*(uint64_t *)value = option->type == CLI_TIME ? us * 1000 : us / 1000;
	return rc;
}

static int take_size(const struct cli_option *option, const char *text, void *value)
{
	uint64_t bytes;
	int rc = size_parse(text, &bytes);

	if (rc == 0)
		rc = check_bounds(option, bytes);
	if (rc == 0)
		*(uint64_t *)value = bytes;
	return rc;
}

static int take_pages(const struct cli_option *option, const char *text, void *value)
{
	uint64_t bytes = 0;
	int rc = take_size(option, text, &bytes);

	if (rc < 0 || bytes & (page_size() - 1))
		return -EINVAL;
	*(uint64_t *)value = bytes;
	return 0;
}

static int take_power(const struct cli_option *option, const char *text, void *value)
{
	uint64_t bytes = 0;
	int rc = take_pages(option, text, &bytes);

	if (rc < 0 || !is_power_of_two(bytes))
		return -EINVAL;
	*(uint64_t *)value = bytes;
	return 0;
}

static int take_page(const struct cli_option *option, const char *text, void *value)
{
	uint64_t address = 0;

	if (!cli_word_in(option->words, text) &&
	    (address_parse(text, &address) < 0 || address & (page_size() - 1) || address < (uint64_t)option->lowest))
		return -EINVAL;
	*(uint64_t *)value = address;
	return 0;
}

static int take_range(const struct cli_option *option, const char *text, void *value)
{
	struct region *region = value;
	int rc = region_parse(text, region);

	(void)option;
	if (rc < 0)
		return rc;
	return (region->start | region->end) & (page_size() - 1) ? -EDOM : 0;
}

static int take_parsed(const struct cli_option *option, const char *text, void *value)
{
	return option->parse(text, value);
}

/* A size as one would write it: "64M". */
static const char *short_size(char text[24], uint64_t bytes)
{
	static const char units[] = "KMGT";
	int unit = -1;

	while (bytes && bytes % KiB == 0 && unit < 3) {
		bytes /= KiB;
		unit++;
	}
	snprintf(text, 24, "%llu%.*s", (unsigned long long)bytes, unit >= 0, &units[unit < 0 ? 0 : unit]);
	return text;
}

static const char *short_time(char text[24], uint64_t ms)
{
	snprintf(text, 24, "%llu%s", (unsigned long long)(ms % 1000 ? ms : ms / 1000), ms % 1000 ? "ms" : "s");
	return text;
}

static void refuse_size(const struct cli_option *option, char why[CLI_REFUSAL])
{
	bool power = option->type == CLI_POWER;
	char lowest[24], upper[24];

	short_size(lowest, power ? max_u64(page_size(), (uint64_t)option->lowest) : (uint64_t)option->lowest);
	short_size(upper, highest_value(option));
	if (option->highest)
		snprintf(why, CLI_REFUSAL, "is not a %s from %s to %s", power ? "power of two" : "size", lowest, upper);
	else if (power)
		snprintf(why, CLI_REFUSAL, "is not a power of two from %s up", lowest);
	else if (option->lowest > 1)
		snprintf(why, CLI_REFUSAL, "is not a size of %s or more", lowest);
	else
		snprintf(why, CLI_REFUSAL, "is not a size%s", option->lowest ? " above 0" : "");
}

static void refuse_number(const struct cli_option *option, char why[CLI_REFUSAL])
{
	if (option->highest)
		snprintf(why, CLI_REFUSAL, "is not a number from %lld to %lld", (long long)option->lowest,
			 (long long)option->highest);
	else
		snprintf(why, CLI_REFUSAL, "is not a number%s", option->lowest == 1 ? " above 0" : "");
}

static void refuse_word(const struct cli_option *option, char why[CLI_REFUSAL])
{
	size_t length = (size_t)snprintf(why, CLI_REFUSAL, "is none of ");

	for (const char *at = option->words; *at && length < CLI_REFUSAL - 3; at++) {
		if (*at == ' ')
			why[length++] = ',';
		why[length++] = *at;
	}
	why[length] = '\0';
}

static void refuse_time(const struct cli_option *option, char why[CLI_REFUSAL])
{
	char lowest[24];
	char upper[24];

	snprintf(why, CLI_REFUSAL, "is not a time from %s to %s, such as 10s or 500ms",
		 short_time(lowest, time_bound(option, option->lowest)),
		 short_time(upper, time_bound(option, option->highest)));
}

static void refuse_pages(const struct cli_option *option, char why[CLI_REFUSAL])
{
	snprintf(why, CLI_REFUSAL, "is not a number of whole pages%s", option->lowest ? " above 0" : "");
}

static void refuse_page(const struct cli_option *option, char why[CLI_REFUSAL])
{
	snprintf(why, CLI_REFUSAL, "is not the address of a page in hexadecimal%s%s", option->words ? ", nor " : "",
		 option->words ? option->words : "");
}

static void refuse_range(const struct cli_option *option, char why[CLI_REFUSAL])
{
	(void)option;
	snprintf(why, CLI_REFUSAL, "is not START-END in hexadecimal, nor START+SIZE");
}

/* How a value of each type is read, and what is said of one that cannot be, unless its row says it. */
static const struct {
	int (*take)(const struct cli_option *option, const char *text, void *value);
	void (*refuse)(const struct cli_option *option, char why[CLI_REFUSAL]);
} types[] = {
	[CLI_TEXT] = {take_text, refuse_number},     [CLI_LIST] = {take_list, refuse_number},
	[CLI_CONFIG] = {take_text, refuse_number},   [CLI_PIDS] = {take_pids, refuse_number},
	[CLI_WORD] = {take_word, refuse_word},       [CLI_INT] = {take_int, refuse_number},
	[CLI_NUMBER] = {take_number, refuse_number}, [CLI_SECONDS] = {take_time, refuse_time},
	[CLI_MS] = {take_time, refuse_time},         [CLI_TIME] = {take_time, refuse_time},
	[CLI_SIZE] = {take_size, refuse_size},       [CLI_PAGES] = {take_pages, refuse_pages},
	[CLI_POWER] = {take_power, refuse_size},     [CLI_PAGE] = {take_page, refuse_page},
	[CLI_RANGE] = {take_range, refuse_range},    [CLI_PARSED] = {take_parsed, refuse_number},
};

int cli_value_parse(const struct cli_option *option, const char *text, void *values)
{
	return types[option->type].take(option, text, (char *)values + option->at);
}

const char *cli_value_refusal(const struct cli_option *option, int rc, char why[CLI_REFUSAL])
{
	if (rc == -EDOM)
		snprintf(why, CLI_REFUSAL, "does not begin and end at pages");
	else if (option->refusal)
		snprintf(why, CLI_REFUSAL, "%s", option->refusal);
	else
		types[option->type].refuse(option, why);
	return why;
}

void cli_operands_free(char ***operands)
{
	for (char **word = *operands; word && *word; word++)
		free(*word);
	free(*operands);
	*operands = NULL;
}

void cli_values_free(const struct cli_option *options, void *values)
{
	for (; options && options->name; options++) {
		void *value = (char *)values + options->at;

		if (options->type == CLI_TEXT || options->type == CLI_CONFIG || options->type == CLI_PIDS) {
			free(*(void **)value);
			*(void **)value = NULL;
		} else if (options->type == CLI_LIST) {
			cli_operands_free(value);
		}
	}
}
