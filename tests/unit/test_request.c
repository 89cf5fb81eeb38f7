/* SPDX-License-Identifier: MIT */
/* Requests to sessions, to JSON and back. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "protocol/request.h"

static struct error error;

/* What is decoded has the regions that were read apart from the object. */
static struct session_request again(const struct session_request *request)
{
	struct session_request decoded;
	json_t *object = request_encode(request);

	assert_non_null(object);
	assert_int_equal(request_decode(object, request->regions, &decoded, &error), 0);
	json_decref(object);
	return decoded;
}

static void a_request_comes_back_as_it_was(void **state)
{
	struct region items[] = {{0x1000, 0x3000}, {0x7f0000000000, 0x7f0000001000}};
	const struct region_vec regions = {.items = items, .count = ARRAY_SIZE(items)};
	const struct session_request request = {.verb = REQUEST_OUT,
						.regions = &regions,
						.bytes = UINT64_C(1) << 40,
						.dry_run = true,
						.stage = true,
						.idle = true,
						.age_ms = 17,
						.duration_ms = 18,
						.again_ms = 19,
						.later = true,
						.resume_ns = UINT64_C(1) << 62};
	struct session_request decoded = again(&request);

	(void)state;
	assert_ptr_equal(decoded.regions, &regions);
	assert_int_equal(decoded.verb, request.verb);
	assert_int_equal(decoded.bytes, request.bytes);
	assert_true(decoded.dry_run && decoded.stage);
	assert_true(decoded.idle);
	assert_int_equal(decoded.age_ms, 17);
	assert_int_equal(decoded.duration_ms, 18);
	assert_int_equal(decoded.again_ms, 19);
	assert_true(decoded.later);
	assert_int_equal(decoded.resume_ns, request.resume_ns);
}

static void regions_are_pairs_of_numbers(void **state)
{
	struct region items[] = {{0x1000, 0x3000}};
	const struct region_vec regions = {.items = items, .count = 1};
	json_t *object = request_encode(&(struct session_request){.verb = REQUEST_IN, .regions = &regions});
	const json_t *pair = json_array_get(json_object_get(object, "regions"), 0);

	(void)state;
	assert_int_equal(json_integer_value(json_array_get(pair, 0)), 0x1000);
	assert_int_equal(json_integer_value(json_array_get(pair, 1)), 0x3000);
	json_decref(object);
}

static void without_regions_everything_is_meant(void **state)
{
	const struct region_vec none = {0};
	struct session_request decoded;
	json_t *object = json_pack("{s:s}", "verb", "in");

	(void)state;
	assert_int_equal(request_decode(object, &none, &decoded, &error), 0);
	assert_null(decoded.regions);
	json_decref(object);
	object = json_pack("{s:s,s:[]}", "verb", "in", "regions");
	assert_int_equal(request_decode(object, &none, &decoded, &error), 0);
	assert_ptr_equal(decoded.regions, &none);
	json_decref(object);
}

static void each_verb_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < REQUEST_VERBS; i++) {
		const struct session_request request = {.verb = (enum request_kind)i};

		assert_int_equal(again(&request).verb, i);
	}
}

static void what_is_no_verb_is_refused(void **state)
{
	static const char *const texts[] = {"{}", "{\"verb\":\"dance\"}", "{\"verb\":17}", "{\"verb\":null}",
					    "{\"verb\":\"\"}"};
	struct session_request request;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		json_t *object = json_loads(texts[i], 0, NULL);

		assert_int_equal(request_decode(object, NULL, &request, &error), -EINVAL);
		json_decref(object);
	}
}

static void only_what_is_known_is_told_at_once(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < REQUEST_VERBS; i++) {
		const struct session_request request = {.verb = (enum request_kind)i};

		assert_int_equal(request_is_quick(&request), i == REQUEST_STATUS || i == REQUEST_REFAULTS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_comes_back_as_it_was),
		cmocka_unit_test(regions_are_pairs_of_numbers),
		cmocka_unit_test(without_regions_everything_is_meant),
		cmocka_unit_test(each_verb_has_a_name_of_its_own),
		cmocka_unit_test(what_is_no_verb_is_refused),
		cmocka_unit_test(only_what_is_known_is_told_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
