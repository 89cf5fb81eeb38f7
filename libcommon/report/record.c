/* SPDX-License-Identifier: MIT */
/* What records are made of, and records as text. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "report/report.h"

char *report_text(const json_t *json, size_t flags)
{
	size_t length = json ? json_dumpb(json, NULL, 0, flags) : 0;
	char *text = length ? malloc(length + 1) : NULL;

	if (!text || json_dumpb(json, text, length, flags) != length) {
		free(text);
		return NULL;
	}
	text[length] = '\0';
	return text;
}

void report_line(int fd, json_t *record)
{
	_cleanup_free_ char *text = report_text(record, JSON_COMPACT);

	if (text)
		dprintf(fd, "%s\n", text);
	json_decref(record);
}

int report_number(json_t *record, const char *key, uint64_t number)
{
	return json_object_set_new(record, key, json_integer((json_int_t)number));
}

json_t *report_microseconds(uint64_t ns)
{
	return ns ? json_integer((json_int_t)((ns + 999) / 1000)) : json_null();
}

json_t *report_address(uint64_t address)
{
	char text[ADDRESS_TEXT];

	return json_string(address_format(text, address));
}

json_t *report_process(const char *type, int pid, uint64_t starttime)
{
	return json_pack("{s:s, s:i, s:I}", "type", type, "pid", pid, "starttime", (json_int_t)starttime);
}

json_t *report_region(const char *type, int pid, uint64_t starttime, uint64_t start, uint64_t end)
{
	char start_text[ADDRESS_TEXT], end_text[ADDRESS_TEXT];

	return json_pack("{s:s, s:i, s:I, s:s, s:s, s:I}", "type", type, "pid", pid, "starttime", (json_int_t)starttime,
			 "start", address_format(start_text, start), "end", address_format(end_text, end), "bytes",
			 (json_int_t)(end - start));
}

json_t *report_flags(uint64_t bits, const char *const *names, unsigned int count)
{
	json_t *flags = json_array();

	for (unsigned int bit = 0; flags && bit < 64; bit++) {
		const char *name = bit < count ? names[bit] : NULL;

		if (!(bits >> bit & 1))
			continue;
		if (json_array_append_new(flags, name ? json_string(name) : json_sprintf("bit%u", bit))) {
			json_decref(flags);
			return NULL;
		}
	}
	return flags;
}
