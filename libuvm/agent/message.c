/* SPDX-License-Identifier: MIT */
/* Requests and replies on a connection, each with a descriptor at most. */
#include <errno.h>
#include <sys/socket.h>

#include "agent/agent.h"
#include "agent/raw.h"

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

bool agent_next(struct swap_agent *agent, int connection)
{
	struct agent_request *request = agent->request;
	struct iovec iov = {request, sizeof(agent->buffers.request)};
	union control control = {.header = {0}};
	struct msghdr message;
	long got;

	do {
		/* Room for one descriptor, and not for two. */
		message = (struct msghdr){.msg_iov = &iov,
					  .msg_iovlen = 1,
					  .msg_control = &control,
					  .msg_controllen = CMSG_LEN(sizeof(int))};
		got = raw3(SYS_recvmsg, connection, &message, MSG_CMSG_CLOEXEC);
	} while (got == -EINTR);
	if (message.msg_controllen >= CMSG_LEN(sizeof(int)) && control.header.cmsg_type == SCM_RIGHTS)
		agent->passed = *(int *)CMSG_DATA(&control.header);
	if (got <= 0)
		return false;
	*agent->reply = (struct agent_reply){.op = UINT32_MAX};
	if ((size_t)got < sizeof(*request) || request->count > AGENT_REGIONS ||
	    (size_t)got != sizeof(*request) + request->count * sizeof(request->regions[0]))
		request->op = UINT32_MAX; /* unknown: it is told so */
	else
		agent->reply->op = request->op;
	agent->reply->number = request->op == UINT32_MAX ? 0 : request->number;
	return true;
}

void agent_drop_passed(struct swap_agent *agent)
{
	if (agent->passed >= 0)
		raw1(SYS_close, agent->passed);
	agent->passed = -1;
}

/* A client that does not read gets no more. */
void agent_answer(struct swap_agent *agent, int connection, int64_t result)
{
	struct iovec iov = {agent->reply,
			    sizeof(*agent->reply) + agent->reply->count * sizeof(agent->reply->regions[0])};
	union control control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (agent->answer >= 0) {
		*(int *)CMSG_DATA(&control.header) = agent->answer;
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
	}
	agent->answer = -1;
	agent->reply->result = result;
	raw3(SYS_sendmsg, connection, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}
