/* SPDX-License-Identifier: MIT */
/* By the program's own agent: no thread is stopped, and no right to trace is needed. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "access/places.h"
#include "access/target_ops.h"
#include "base/fd.h"
#include "base/size.h"
#include "uffd/uffd.h"

#define READY_MS 2000
#define MOVE_MS  1000 /* fault service is held up meanwhile; only a program that is stopped or frozen takes so long */

static int explain_agent(const struct target *target, int rc, const char *what, struct error *error)
{
	return agent_explain(target, rc, what, "attach to", error);
}

static void abandon_access(struct access *access)
{
	agent_disconnect(&access->agent);
	*access = ACCESS_NONE;
}

static int enter_program(struct access *access, const struct target *target, uint64_t bytes, int uffd[2],
			 struct error *error)
{
	struct agent_greeting greeting;
	const char *what;
	int rc = agent_connect(&access->agent, target, &greeting, uffd, &access->holder, &what);

	if (rc < 0) {
		abandon_access(access);
		return explain_agent(target, rc, what, error);
	}
	if (bytes != AGENT_AREA_BYTES || greeting.resumed)
		rc = -EPROTO;
	else
		rc = agent_memory(&access->agent, target);
	if (rc < 0) {
		for (int i = 0; i < 2; i++)
			close(uffd[i]);
		abandon_access(access);
		return greeting.resumed
			       ? error_set(error, -EBUSY,
					   "its agent holds what a session left whose processes were killed",
					   "take that up with swapctl adopt", "attach to process %d", target->pid)
			       : explain_agent(target, rc, NULL, error);
	}
	access->ops = &target_by_agent;
	access->target = target;
	access->staging = access->agent.staging;
	access->control = (struct region){greeting.own_start, greeting.own_end};
	access->number = greeting.number;
	return 0;
}

/* The agent kept everything for the next session: no thread may see zeros meanwhile. */
static int rejoin_program(struct access *access, const struct target *target, struct error *error)
{
	struct agent_greeting greeting;
	const char *what;
	int uffd[2];
	int rc = agent_connect(&access->agent, target, &greeting, uffd, &access->holder, &what);

	if (rc < 0)
		return explain_agent(target, rc, what, error);
	close(uffd[1]); /* it has had its handshake */
	if (!greeting.resumed || greeting.area_start != access->staging.start || greeting.number != access->number) {
		close(uffd[0]);
		/* What it has just made is gone when it has answered: nobody who comes next takes that for ours. */
		if (!greeting.resumed)
			agent_call(&access->agent, &(struct agent_request){.op = AGENT_CLOSE});
		agent_disconnect(&access->agent);
		return error_set(error, -ENOENT, "its agent had nothing out, and has let go of the session",
				 "attach anew", "adopt the session of process %d", target->pid);
	}
	rc = agent_memory(&access->agent, target);
	if (rc < 0) {
		close(uffd[0]);
		agent_disconnect(&access->agent);
		return explain_agent(target, rc, NULL, error);
	}
	access->ops = &target_by_agent;
	access->target = target;
	return uffd[0];
}

static int new_uffd(struct access *access, struct error *error)
{
	int uffd = -1;
	int64_t rc = agent_exchange(&access->agent, &(struct agent_request){.op = AGENT_UFFD}, -1, &uffd);

	if (rc == 0 && uffd >= 0)
		return uffd;
	return explain_agent(access->target, rc < 0 ? (int)rc : -EPROTO, rc < 0 ? "userfaultfd" : NULL, error);
}

static int leave_program(struct access *access, struct error *error)
{
	int64_t rc = agent_call(&access->agent, &(struct agent_request){.op = AGENT_CLOSE});

	if (rc < 0 && rc != -ESRCH)
		return explain_agent(access->target, (int)rc, NULL, error);
	abandon_access(access);
	return 0;
}

static int resume_calls(struct access *access, uint64_t turn)
{
	/* Numbers that the one before did not come to: it had the time since it was started for them. */
	access->agent.number = (uint32_t)(now_us() + (turn << 24));
	access->agent.late = true;
	return (int)agent_call(&access->agent, &(struct agent_request){.op = AGENT_PING});
}

static int announce_forks(struct access *access, bool ask)
{
	return (int)agent_call(&access->agent, &(struct agent_request){.op = AGENT_FORKS, .address = ask});
}

/* What came too late the last time is over before anything new is prepared. */
static int begin_calls(struct access *access, struct error *error)
{
	int64_t rc = agent_call(&access->agent, &(struct agent_request){.op = AGENT_PING});

	return rc < 0 ? explain_agent(access->target, (int)rc, NULL, error) : 0;
}

static int end_calls(struct access *access)
{
	(void)access;
	return 0;
}

static int64_t protect_region(struct access *access, struct region region, int protection)
{
	return agent_call(&access->agent, &(struct agent_request){.op = AGENT_PROTECT,
								  .address = region.start,
								  .bytes = region_bytes(region),
								  .mode = (uint64_t)protection});
}

static int64_t discard_region(struct access *access, struct region region, int uffd)
{
	if (uffd_changing(uffd))
		return -EADDRINUSE;
	return agent_call(
		&access->agent,
		&(struct agent_request){.op = AGENT_DISCARD, .address = region.start, .bytes = region_bytes(region)});
}

static int64_t populate_region(struct access *access, struct region region)
{
	return agent_call(
		&access->agent,
		&(struct agent_request){.op = AGENT_POPULATE, .address = region.start, .bytes = region_bytes(region)});
}

static int64_t drop_area(struct access *access, bool ours)
{
	return agent_call(&access->agent, &(struct agent_request){.op = AGENT_AREA,
								  .mode = ours ? AGENT_AREA_UNMAP : AGENT_AREA_FORGET});
}

static int new_area(struct access *access, struct error *error)
{
	int64_t at = agent_call(&access->agent, &(struct agent_request){.op = AGENT_AREA, .mode = AGENT_AREA_NEW});

	if (at > 0 && at & (int64_t)(2 * MiB - 1))
		at = -EPROTO;
	if (at <= 0)
		return explain_agent(access->target, at ? (int)at : -EPROTO, "staging area", error);
	access->staging = access->agent.staging = region_at((uint64_t)at, AGENT_AREA_BYTES);
	return 0;
}

/* Nobody but the agent can close it. */
static int64_t give_uffd(struct access *access, int uffd)
{
	(void)access;
	(void)uffd;
	return -EBADF;
}

static int store_fd(struct access *access, int fd)
{
	return (int)agent_exchange(&access->agent, &(struct agent_request){.op = AGENT_STORE_FD}, fd, NULL);
}

/* Its numbers are its own: they never stand for anything else. */
static void drop_fd(struct access *access, int number, int fd)
{
	(void)fd;
	agent_call(&access->agent, &(struct agent_request){.op = AGENT_DROP, .address = (uint64_t)number});
}

static int take_fd(struct access *access, int number)
{
	int fd = -1;
	int64_t rc = agent_exchange(&access->agent,
				    &(struct agent_request){.op = AGENT_TAKE, .address = (uint64_t)number}, -1, &fd);

	return rc < 0 ? (int)rc : fd < 0 ? -EBADF : fd;
}

static int move_enter(struct access *access)
{
	struct agent_reply reply = {0};
	int rc = agent_send(&access->agent, &(struct agent_request){.op = AGENT_READY}, NULL, -1);

	if (rc == 0)
		rc = agent_receive(&access->agent, &reply, READY_MS, NULL);
	return rc < 0 ? rc : (int)reply.result;
}

static int64_t finish_move(struct access *access, struct uffdio_move *argument)
{
	struct agent_reply reply = {0};
	int rc = agent_send(&access->agent,
			    &(struct agent_request){.op = AGENT_MOVE,
						    .address = argument->src,
						    .bytes = argument->len,
						    .to = argument->dst,
						    .mode = argument->mode},
			    NULL, -1);

	if (rc == 0)
		rc = agent_receive(&access->agent, &reply, MOVE_MS, NULL);
	if (rc < 0)
		return rc;
	argument->move = reply.moved;
	return reply.result;
}

static int move_cancel(struct access *access)
{
	return agent_send(&access->agent, &(struct agent_request){.op = AGENT_CANCEL}, NULL, -1);
}

/* Nobody of the target is asked: its agent may wait for what we are to serve. */
static ssize_t read_staging(struct access *access, const struct iovec *here, const struct iovec *there,
			    unsigned int count)
{
	size_t done = 0;

	for (unsigned int i = 0; i < count; i++) {
		size_t bytes = there[i].iov_len;
		int rc = fd_read_all(access->agent.mem_fd, here[i].iov_base, bytes, (uint64_t)there[i].iov_base);

		/* Nothing is read of an address space that is gone, without an error. */
		if (rc < 0)
			return done ? (ssize_t)done : rc == -ENODATA ? -ESRCH : rc;
		done += bytes;
	}
	return (ssize_t)done;
}

static bool discards_done(struct access *access)
{
	return places_outside_madvise(access->target, NULL);
}

/* Only of itself can the agent tell. */
static int ask_thread(struct access *access, pid_t tid, struct thread_words *words)
{
	if (tid != access->holder)
		return -EPERM;
	*words = access->agent.words;
	return 0;
}

const struct target_ops target_by_agent = {
	.life.enter = enter_program,
	.life.rejoin = rejoin_program,
	.life.leave = leave_program,
	.life.abandon = abandon_access,
	.life.resume = resume_calls,
	.life.forks = announce_forks,
	.calls.begin = begin_calls,
	.calls.end = end_calls,
	.calls.ask = ask_thread,
	.area.protect = protect_region,
	.area.discard = discard_region,
	.area.populate = populate_region,
	.area.drop = drop_area,
	.area.renew = new_area,
	.area.read = read_staging,
	.move.enter = move_enter,
	.move.make = finish_move,
	.move.cancel = move_cancel,
	.fds.new_uffd = new_uffd,
	.fds.give = give_uffd,
	.fds.keep = store_fd,
	.fds.drop = drop_fd,
	.fds.take = take_fd,
	.discards_done = discards_done,
};
