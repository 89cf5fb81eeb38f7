/* SPDX-License-Identifier: MIT */
/* An error on its way to the person at the keyboard: what was tried, why it failed, what to do about it. */
#pragma once

#include <jansson.h>

/* Filled at the place that knows the cause. All zeros is "no error". */
struct error {
	int code;        /* negative errno; its class decides the exit code */
	char tried[200]; /* "attach to process 812" */
	char why[200];   /* "Operation not permitted" or a fuller reason */
	char hint[200];  /* "run it as root"; may be empty */
};

/*
 * Fills an error and returns `code` (a negative errno), so that a function can end with `return error_set(...)`.
 * `why` NULL means strerror(-code). `hint` NULL means none. `error` NULL is allowed and only returns the code.
 * An error that is set already is overwritten. tried is a printf format.
 */
int error_set(struct error *error, int code, const char *why, const char *hint, const char *tried, ...)
	__attribute__((format(printf, 5, 6)));

/* What an errno means in one place, and what to do about it. Tables end with a row of zeros. */
struct error_cause {
	int code; /* negative errno */
	int as;   /* the code that it is told as; 0: the same */
	const char *why, *hint;
};

/* error_set with what a table says of a code, which may be nothing. Returns the code that it is told as. */
int error_explain(struct error *error, const struct error_cause *causes, int code, const char *tried, ...)
	__attribute__((format(printf, 4, 5)));

/* Prints "TOOL: cannot tried: why (hint)" as one line on standard error. Control characters are shown as '?'. */
void error_print(const char *tool, const struct error *error);

/* The symbolic name of an errno ("EBUSY"), or "errno 523". Static storage or strerrorname_np. */
const char *error_name(int errnum);

/*
 * The error as a record: {"type":"error","op":op,"errno":"EBUSY","reason":why,"hint":hint}.
 * The caller owns it and adds what else is known (start, end, pid). NULL when out of memory.
 */
json_t *error_record(const char *op, const struct error *error);
