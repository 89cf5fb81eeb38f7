/* SPDX-License-Identifier: MIT */
/* Errors as a line for people and as a record. */
#include "report/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

int error_set(struct error *error, int code, const char *why, const char *hint, const char *tried, ...)
{
	struct error filled = {.code = code};
	va_list args;

	if (!error)
		return code;
	va_start(args, tried);
	vsnprintf(filled.tried, sizeof(filled.tried), tried, args);
	va_end(args);
	snprintf(filled.why, sizeof(filled.why), "%s", why ? why : strerror(-code));
	snprintf(filled.hint, sizeof(filled.hint), "%s", hint ? hint : "");
	*error = filled;
	return code;
}

int error_explain(struct error *error, const struct error_cause *causes, int code, const char *tried, ...)
{
	char text[sizeof(error->tried)];
	va_list args;

	va_start(args, tried);
	vsnprintf(text, sizeof(text), tried, args);
	va_end(args);
	while (causes->code && causes->code != code)
		causes++;
	return error_set(error, causes->as ? causes->as : code, causes->why, causes->hint, "%s", text);
}

void error_print(const char *tool, const struct error *error)
{
	struct error shown = *error;
	const char *why = *shown.why ? text_make_safe(shown.why) : strerror(-shown.code);

	text_make_safe(shown.tried);
	text_make_safe(shown.hint);
	fprintf(stderr, "%s: %s%s%s%s", tool, *shown.tried ? "cannot " : "", shown.tried, *shown.tried ? ": " : "",
		why);
	fprintf(stderr, *shown.hint ? " (%s)\n" : "%s\n", shown.hint);
}

const char *error_name(int errnum)
{
	static _Thread_local char text[32];
	const char *name = strerrorname_np(errnum);

	if (name)
		return name;
	snprintf(text, sizeof(text), "errno %d", errnum);
	return text;
}

json_t *error_record(const char *op, const struct error *error)
{
	struct error shown = *error;
	const char *why = *shown.why ? text_make_safe(shown.why) : strerror(-shown.code);
	const char *hint = *shown.hint ? text_make_safe(shown.hint) : NULL;

	return json_pack("{s:s, s:s, s:s, s:s, s:s*}", "type", "error", "op", op, "errno", error_name(-shown.code),
			 "reason", why, "hint", hint);
}
