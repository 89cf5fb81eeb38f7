/* SPDX-License-Identifier: MIT */
/* How far one word is from another. */
#include <string.h>

#include "base/size.h"
#include "cli/cli.h"

#define MAX_WORD 63

unsigned int cli_distance(const char *a, const char *b)
{
	unsigned int row[MAX_WORD + 1];
	size_t a_length = strnlen(a, MAX_WORD), b_length = strnlen(b, MAX_WORD);

	for (size_t j = 0; j <= b_length; j++)
		row[j] = (unsigned int)j;
	for (size_t i = 1; i <= a_length; i++) {
		unsigned int diagonal = row[0];

		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= b_length; j++) {
			unsigned int changed = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = (unsigned int)min_u64(changed, min_u64(row[j], row[j - 1]) + 1);
		}
	}
	return row[b_length];
}

unsigned int cli_likeness(const char *word, const char *known)
{
	size_t length = strnlen(word, MAX_WORD);
	unsigned int distance = cli_distance(word, known);

	if (length > 1 && strncmp(word, known, length) == 0)
		return 0;
	return distance <= 1 + length / 3 && distance < length ? distance : CLI_UNLIKE;
}
