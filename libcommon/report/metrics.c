/* SPDX-License-Identifier: MIT */
/* Records as metrics: sums by labels, printed by family. */
#include "report/metrics.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* `series`: label text to an object, which has a number, or an array of a histogram's buckets, by name of family. */
struct metrics {
	const struct report_metric *families;
	json_t *series;
};

struct metrics *metrics_new(const struct report_metric *families)
{
	struct metrics *metrics = calloc(1, sizeof(*metrics));

	if (!metrics)
		return NULL;
	*metrics = (struct metrics){families, json_object()};
	return metrics;
}

void metrics_free(struct metrics *metrics)
{
	if (metrics)
		json_decref(metrics->series);
	free(metrics);
}

/* The last part of a cgroup's path that systemd names by a unit. */
static void print_unit(FILE *stream, const char *cgroup)
{
	const char *unit = "";
	size_t length = 0;

	for (const char *at = cgroup; at && *at; at += strspn(at, "/")) {
		size_t part = strcspn(at, "/");

		if ((part > 8 && strncmp(at + part - 8, ".service", 8) == 0) ||
		    (part > 6 && strncmp(at + part - 6, ".scope", 6) == 0)) {
			unit = at;
			length = part;
		}
		at += part;
	}
	fprintf(stream, "unit=\"%.*s\"", (int)length, unit);
}

static void print_label(FILE *stream, const char *name, const char *value)
{
	fprintf(stream, ",%s=\"", name);
	for (; value && *value; value++) {
		if (*value == '\n')
			fputs("\\n", stream);
		else
			fprintf(stream, "%s%c", *value == '"' || *value == '\\' ? "\\" : "", *value);
	}
	fputc('"', stream);
}

/* The caller frees it. NULL when out of memory. */
static char *labels_of(const json_t *record)
{
	const char *cgroup = json_string_value(json_object_get(record, "cgroup"));
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);

	if (!stream)
		return NULL;
	print_unit(stream, cgroup);
	print_label(stream, "comm", json_string_value(json_object_get(record, "comm")));
	print_label(stream, "cgroup", cgroup);
	fclose(stream);
	return text;
}

static int add_number(json_t *sums, const char *name, double number)
{
	return json_object_set_new(sums, name, json_real(json_number_value(json_object_get(sums, name)) + number));
}

/* Adds the buckets of a histogram to those before, which have the same bounds. */
static int add_buckets(json_t *sums, const char *name, const json_t *buckets)
{
	json_t *before = json_object_get(sums, name), *bucket;
	size_t index;

	if (!before)
		return json_object_set_new(sums, name, json_deep_copy(buckets));
	json_array_foreach(before, index, bucket) {
		json_int_t more = json_integer_value(json_object_get(json_array_get(buckets, index), "faults"));

		json_object_set_new(bucket, "faults",
				    json_integer(json_integer_value(json_object_get(bucket, "faults")) + more));
	}
	return 0;
}

static int add_family(json_t *sums, const struct report_metric *family, const json_t *record)
{
	const json_t *value = *family->key ? json_object_get(record, family->key) : NULL;
	char sum[128];

	if (!*family->key)
		return add_number(sums, family->name, 1);
	if (json_is_number(value))
		return add_number(sums, family->name, json_number_value(value));
	if (family->kind != METRIC_HISTOGRAM || !json_is_array(value))
		return 0;
	snprintf(sum, sizeof(sum), "%s_sum", family->name);
	if (add_number(sums, sum, json_number_value(json_object_get(record, family->sum)) / 1e6))
		return -ENOMEM;
	return add_buckets(sums, family->name, value);
}

int metrics_add(struct metrics *metrics, const json_t *record)
{
	_cleanup_free_ char *labels = labels_of(record);
	json_t *sums = labels ? json_object_get(metrics->series, labels) : NULL;

	if (!labels)
		return -ENOMEM;
	if (!sums) {
		sums = json_object();
		if (json_object_set_new(metrics->series, labels, sums))
			return -ENOMEM;
	}
	for (const struct report_metric *family = metrics->families; family->name; family++)
		if (add_family(sums, family, record))
			return -ENOMEM;
	return 0;
}

static void print_histogram(FILE *stream, const char *name, const char *labels, const json_t *sums)
{
	json_int_t total = 0;
	const json_t *bucket;
	char sum[128];
	size_t index;

	json_array_foreach(json_object_get(sums, name), index, bucket) {
		const json_t *bound = json_object_get(bucket, "le_ns");

		total += json_integer_value(json_object_get(bucket, "faults"));
		fprintf(stream, "%s_bucket{%s,le=\"", name, labels);
		if (json_is_integer(bound))
			fprintf(stream, "%.10g", (double)json_integer_value(bound) / 1e9);
		else
			fputs("+Inf", stream);
		fprintf(stream, "\"} %lld\n", (long long)total);
	}
	snprintf(sum, sizeof(sum), "%s_sum", name);
	fprintf(stream, "%s{%s} %.10g\n", sum, labels, json_real_value(json_object_get(sums, sum)));
	fprintf(stream, "%s_count{%s} %lld\n", name, labels, (long long)total);
}

static void print_family(const struct metrics *metrics, const struct report_metric *family, FILE *stream)
{
	static const char *const kinds[] = {"gauge", "counter", "histogram"};
	const char *labels;
	bool begun = false;
	json_t *sums;

	json_object_foreach(metrics->series, labels, sums) {
		const json_t *value = json_object_get(sums, family->name);

		if (!value)
			continue;
		if (!begun)
			fprintf(stream, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
				kinds[family->kind]);
		if (!begun && family->unit)
			fprintf(stream, "# UNIT %s %s\n", family->name, family->unit);
		begun = true;
		if (family->kind == METRIC_HISTOGRAM)
			print_histogram(stream, family->name, labels, sums);
		else
			fprintf(stream, "%s{%s} %.17g\n", family->name, labels, json_real_value(value));
	}
}

void metrics_print(struct metrics *metrics, FILE *stream)
{
	for (const struct report_metric *family = metrics->families; family->name; family++)
		print_family(metrics, family, stream);
	fputs("# EOF\n", stream);
	json_object_clear(metrics->series);
}
