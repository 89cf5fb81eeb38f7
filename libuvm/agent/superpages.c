/* SPDX-License-Identifier: MIT */
/* GetSuperPagesUsed: what is in use and in core, by mincore(2), without a page of memory taken for it. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>

#include "agent/agent.h"
#include "agent/raw.h"

#define SUPERPAGE (UINT64_C(2) << 20)
#define LINE      80 /* what is looked at of a line of /proc/self/maps */

struct line {
	char text[LINE];
	size_t length;
};

static bool parse_hex(const char **at, uint64_t *number)
{
	const char *begin = *at;

	for (*number = 0;; ++*at) {
		char c = **at;

		if (c >= '0' && c <= '9')
			*number = *number << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			*number = *number << 4 | (uint64_t)(c - 'a' + 10);
		else
			return *at > begin;
	}
}

static const char *skip_word(const char *at)
{
	while (*at && *at != ' ')
		at++;
	while (*at == ' ')
		at++;
	return at;
}

/* Private writable memory with no file behind it, no stack: "start-end rw-p offset dev inode name". */
static bool is_program_memory(const char *at, uint64_t *start, uint64_t *end)
{
	if (!parse_hex(&at, start) || *at++ != '-' || !parse_hex(&at, end) || *at++ != ' ')
		return false;
	if (at[0] != 'r' || at[1] != 'w' || at[2] == '\0' || at[3] != 'p')
		return false;
	at = skip_word(skip_word(skip_word(at)));
	if (*at != '0')
		return false;
	at = skip_word(at);
	return !*at || (at[0] == '[' && (at[1] == 'h' || at[1] == 'a'));
}

static bool any_in_core(struct swap_agent *agent, uint64_t superpage)
{
	if (raw3(SYS_mincore, superpage, SUPERPAGE, agent->buffers.in_core) < 0)
		return false;
	for (uint64_t i = 0; i < SUPERPAGE / agent->page; i++)
		if (agent->buffers.in_core[i] & 1)
			return true;
	return false;
}

static void look_at_line(struct swap_agent *agent, const char *line, uint64_t from, uint64_t most)
{
	uint64_t start;
	uint64_t end;

	if (!is_program_memory(line, &start, &end) || start == agent->session.staging)
		return;
	if (start < from)
		start = from;
	for (start = (start + SUPERPAGE - 1) & ~(SUPERPAGE - 1);
	     start < end && end - start >= SUPERPAGE && agent->reply->count < most; start += SUPERPAGE)
		if (any_in_core(agent, start))
			agent->reply->regions[agent->reply->count++] = (struct agent_region){start, SUPERPAGE};
}

int agent_superpages(struct swap_agent *agent, uint64_t from, uint64_t most)
{
	long fd = raw4(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
	struct line line = {.length = 0};
	long got;

	if (fd < 0)
		return (int)fd;
	if (most > AGENT_REGIONS)
		most = AGENT_REGIONS;
	while (agent->reply->count < most &&
	       (got = raw3(SYS_read, fd, agent->buffers.text, sizeof(agent->buffers.text))) > 0)
		for (long i = 0; i < got; i++) {
			if (agent->buffers.text[i] != '\n') {
				if (line.length < LINE - 1)
					line.text[line.length++] = agent->buffers.text[i];
				continue;
			}
			line.text[line.length] = '\0';
			look_at_line(agent, line.text, from, most);
			line.length = 0;
		}
	raw1(SYS_close, fd);
	return 0;
}
