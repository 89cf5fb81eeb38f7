/* SPDX-License-Identifier: MIT */
/*
 * Reclaiming by the program's agent. Why that is safe whenever anybody dies, is stopped or gives up: libuvm/reclaim.c.
 */
#include <errno.h>

#include "reclaim/reclaim_parts.h"

#define ANSWER_MS 2000 /* to drop CHUNK bytes takes a millisecond */

static int explain_agent(const struct reclaimer *reclaimer, int rc, struct error *error)
{
	if (rc == -EBUSY)
		return error_set(error, rc, "a session uses its agent", "detach it first: swapctl detach",
				 "reclaim in process %d", reclaimer->target->pid);
	return agent_explain(reclaimer->target, rc, NULL, "reclaim in", error);
}

int reclaimer_join(struct reclaimer *reclaimer, struct error *error)
{
	int rc = agent_connect_reclaimer(&reclaimer->agent, reclaimer->target);

	if (rc < 0)
		return explain_agent(reclaimer, rc, error);
	reclaimer->unanswered = false;
	return 0;
}

void reclaimer_part(struct reclaimer *reclaimer)
{
	reclaimer->unanswered = reclaimer->unanswered || reclaimer->agent.late;
	agent_disconnect(&reclaimer->agent);
}

int reclaimer_ask(struct reclaimer *reclaimer, enum agent_op op, uint64_t id, const struct agent_region *regions,
		  unsigned int count, struct error *error)
{
	struct agent_request request = {.op = op, .address = id, .count = count};
	struct agent_reply reply = {0};
	int rc = agent_send(&reclaimer->agent, &request, regions, reclaimer->ring.fd);

	if (rc == 0)
		rc = agent_receive(&reclaimer->agent, &reply, ANSWER_MS, NULL);
	if (rc == 0 && reply.result == -EBUSY)
		rc = -EBUSY;
	if (rc == -ESRCH)
		return error_set(error, rc, "its agent has ended", NULL, "reclaim in process %d",
				 reclaimer->target->pid);
	if (rc < 0)
		return explain_agent(reclaimer, rc, error);
	return reply.result >= -4095 && reply.result <= 0 ? (int)reply.result : -EPROTO;
}
