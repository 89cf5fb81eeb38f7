/* SPDX-License-Identifier: MIT */
/*
 * The parser of jansson ignores that a character could not be kept. So the first allocation that fails is answered from
 * a reserve, and the text ends there: no further character has to be kept. The reserve is made before each character is
 * handed out, and what keeps the characters doubles when it is full: it never asks for more than that.
 */
#include "report/parse.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define RESERVE_LEAST 64

struct reserve {
	char *at;
	size_t bytes;
	bool active;
	bool used; /* an allocation has failed */
};

struct source {
	FILE *stream; /* NULL: the text */
	const char *text;
	size_t bytes;
	size_t given;
};

static _Thread_local struct reserve reserve;

static pthread_mutex_t installing = PTHREAD_MUTEX_INITIALIZER;
static json_malloc_t allocate_below;
static json_free_t free_below;

static void *allocate_bytes(size_t bytes)
{
	void *at = allocate_below(bytes);

	if (at || !reserve.active || reserve.used)
		return at;
	reserve.used = true;
	return bytes <= reserve.bytes ? reserve.at : NULL;
}

static void release_bytes(void *at)
{
	if (!reserve.at || at != reserve.at)
		free_below(at);
}

static void install_allocator(void)
{
	json_malloc_t now_malloc;
	json_free_t now_free;

	pthread_mutex_lock(&installing);
	json_get_alloc_funcs(&now_malloc, &now_free);
	if (now_malloc != allocate_bytes) {
		allocate_below = now_malloc;
		free_below = now_free;
		json_set_alloc_funcs(allocate_bytes, release_bytes);
	}
	pthread_mutex_unlock(&installing);
}

/* Room for what keeps so many characters, and one more. */
static bool make_reserve(size_t characters)
{
	size_t bytes = 2 * (characters + 1);
	char *at;

	if (bytes <= reserve.bytes)
		return true;
	bytes = bytes < RESERVE_LEAST ? RESERVE_LEAST : 2 * bytes;
	at = realloc(reserve.at, bytes);
	if (!at) {
		reserve.used = true;
		return false;
	}
	reserve.at = at;
	reserve.bytes = bytes;
	return true;
}

/* One character, or none. */
static size_t next_character(void *buffer, size_t size, void *context)
{
	struct source *source = context;
	int c;

	(void)size;
	if (reserve.used || !make_reserve(source->given + 1))
		return 0;
	if (source->stream)
		c = getc(source->stream);
	else
		c = source->given < source->bytes ? (unsigned char)source->text[source->given] : EOF;
	if (c == EOF)
		return 0;
	*(char *)buffer = (char)c;
	source->given++;
	return 1;
}

static json_t *parse_value(struct source *source, size_t flags, json_error_t *failed)
{
	json_t *value = NULL;

	install_allocator();
	reserve = (struct reserve){.active = true};
	if (make_reserve(0))
		value = json_load_callback(next_character, source, flags, failed);
	if (reserve.used) {
		json_decref(value);
		value = NULL;
		memset(failed, 0, sizeof(*failed));
	}
	free(reserve.at);
	reserve = (struct reserve){0};
	return value;
}

json_t *parse_text(const char *text, size_t bytes, size_t flags, json_error_t *failed)
{
	return parse_value(&(struct source){.text = text, .bytes = bytes}, flags, failed);
}

json_t *parse_stream(FILE *stream, size_t flags, json_error_t *failed)
{
	return parse_value(&(struct source){.stream = stream}, flags, failed);
}

bool parse_ran_out(const json_error_t *failed)
{
	return !failed->text[0];
}
