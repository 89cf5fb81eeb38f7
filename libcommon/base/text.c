/* SPDX-License-Identifier: MIT */
/* Text that came from outside, made fit for a terminal. */
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static bool is_continuation(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

/* Length of the UTF-8 character at text, 0 when there is none. */
static size_t character_length(const unsigned char *text, uint32_t *code)
{
	static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t length;

	if (*text < 0x80)
		length = 1;
	else if ((*text & 0xe0) == 0xc0)
		length = 2;
	else if ((*text & 0xf0) == 0xe0)
		length = 3;
	else if ((*text & 0xf8) == 0xf0)
		length = 4;
	else
		return 0;

	*code = length == 1 ? *text : *text & (0x7fU >> length);
	for (size_t i = 1; i < length; i++) {
		if (!is_continuation(text[i]))
			return 0;
		*code = *code << 6 | (text[i] & 0x3fU);
	}
	return *code < lowest[length] || *code > 0x10ffff ? 0 : length;
}

char *text_make_safe(char *text)
{
	char *to = text;

	for (const char *from = text; *from;) {
		uint32_t code = 0;
		size_t length = character_length((const unsigned char *)from, &code);

		if (!length || code < 0x20 || (code >= 0x7f && code < 0xa0)) {
			*to++ = '?';
			from += length ? length : 1;
			continue;
		}
		while (length--)
			*to++ = *from++;
	}
	*to = '\0';
	return text;
}

size_t text_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += !is_continuation((unsigned char)*text);
	return width;
}

const char *text_field(const char *text, const char *field)
{
	size_t length = strlen(field);

	while (text && (strncmp(text, field, length) != 0 || text[length] != ':')) {
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return text ? text + length + 1 : NULL;
}
