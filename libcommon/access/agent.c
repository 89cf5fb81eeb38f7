/* SPDX-License-Identifier: MIT */
/* Talking to a program's agent. What comes from there is checked, never trusted. */
#include "access/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/size.h"

#define GREETING_MS 5000
#define TURN_MS     1000 /* a reclaimer's, who holds a lock meanwhile */
#define CALL_MS     2000

/* A socket in the target's network namespace: an abstract name means something only there. */
static int socket_there(const struct target *target)
{
	_cleanup_close_ int ours = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int theirs = target_proc_open(target, "ns/net", O_RDONLY | O_CLOEXEC);
	struct stat a;
	struct stat b;
	bool elsewhere = ours >= 0 && theirs >= 0 && fstat(ours, &a) == 0 && fstat(theirs, &b) == 0 &&
			 (a.st_ino != b.st_ino || a.st_dev != b.st_dev);
	int fd;

	if (elsewhere && setns(theirs, CLONE_NEWNET) < 0)
		return -errno;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	fd = fd < 0 ? -errno : fd;
	if (elsewhere && setns(ours, CLONE_NEWNET) < 0)
		fprintf(stderr,
			"cannot go back to the network namespace\n"); /* only Unix sockets are used from here on */
	return fd;
}

static int open_socket(const struct target *target, const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = GREETING_MS / 1000};
	socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
	_cleanup_close_ int fd = socket_there(target);
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (fd < 0)
		return fd;
	memcpy(address.sun_path + 1, name, strlen(name));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, length) < 0)
		return -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return -errno;
	return peer.pid == target->pid ? steal_fd(&fd) : -EPERM;
}

/*
 * Returns 0 with the greeting and as many descriptors as came, the others -1; -EPERM when the agent closed without a
 * word.
 */
static int receive_greeting(int socket, int timeout_ms, struct agent_greeting *greeting, int fds[AGENT_FDS])
{
	struct pollfd ready = {.fd = socket, .events = POLLIN};
	ssize_t got;

	if (poll(&ready, 1, timeout_ms) <= 0)
		return -ETIMEDOUT;
	got = fd_receive(socket, greeting, sizeof(*greeting), fds, AGENT_FDS, 0);
	if (got <= 0)
		return got == 0 || got == -ECONNRESET ? -EPERM : (int)got;
	if (got != sizeof(*greeting) || greeting->magic != AGENT_MAGIC || greeting->version != AGENT_VERSION)
		return -EPROTO;
	return 0;
}

static int check_greeting(const struct agent_greeting *g, const char **what)
{
	if (g->uffd_errno || g->area_errno) {
		int code = g->uffd_errno ? g->uffd_errno : g->area_errno;

		*what = g->uffd_errno ? "userfaultfd" : "staging area";
		return code > 0 && code < 4096 ? -code : -EPROTO;
	}
	if (g->area_bytes != AGENT_AREA_BYTES || g->area_start & (2 * MiB - 1) || !g->area_start ||
	    (g->own_start | g->own_end) & (page_size() - 1) || g->own_start >= g->own_end)
		return -EPROTO;
	return 0;
}

/* Mapped only when it cannot be made shorter: touching it would be a SIGBUS here. */
static int map_shared(struct agent *agent)
{
	struct stat st;
	int seals = fcntl(agent->memfd, F_GET_SEALS);
	void *at;

	if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(agent->memfd, &st) < 0 ||
	    (uint64_t)st.st_size != page_size())
		return -EPROTO;
	at = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED, agent->memfd, 0);
	if (at == MAP_FAILED)
		return -errno;
	agent->shared = at;
	return 0;
}

int agent_connect(struct agent *agent, const struct target *target, struct agent_greeting *greeting, int uffd[2],
		  pid_t *tid, const char **what)
{
	int fds[AGENT_FDS] = {-1, -1, -1};
	char name[64];
	int rc = agent_find(target, AGENT_NAME, tid, name);

	*agent = AGENT_NONE;
	*what = NULL;
	if (rc < 0)
		return rc;
	agent->socket = open_socket(target, name);
	if (agent->socket < 0)
		return agent->socket;
	rc = receive_greeting(agent->socket, GREETING_MS, greeting, fds);
	if (rc == 0)
		rc = check_greeting(greeting, what);
	if (rc == 0 && (fds[AGENT_FD_MEMORY] < 0 || fds[AGENT_FD_STAGING] < 0 || fds[AGENT_FD_SHARED] < 0))
		rc = -EPROTO;
	agent->memfd = fds[AGENT_FD_SHARED];
	if (rc == 0)
		rc = map_shared(agent);
	uffd[0] = fds[AGENT_FD_MEMORY];
	uffd[1] = fds[AGENT_FD_STAGING];
	if (rc == 0) {
		agent->staging = region_at(greeting->area_start, AGENT_AREA_BYTES);
		agent->number = (uint32_t)now_us();
		return 0;
	}
	for (int i = 0; i < 2; i++)
		cleanup_close(&uffd[i]);
	agent_disconnect(agent);
	return rc;
}

int agent_connect_reclaimer(struct agent *agent, const struct target *target)
{
	int fds[AGENT_FDS] = {-1, -1, -1};
	struct agent_greeting greeting;
	char name[64];
	pid_t tid;
	int rc = agent_find(target, AGENT_RECLAIM, &tid, name);

	*agent = AGENT_NONE;
	if (rc < 0)
		return rc;
	agent->socket = open_socket(target, name);
	if (agent->socket < 0)
		return agent->socket;
	rc = receive_greeting(agent->socket, TURN_MS, &greeting, fds);
	for (int i = 0; i < AGENT_FDS; i++)
		cleanup_close(&fds[i]);
	if (rc == 0 && greeting.uffd_errno)
		rc = -EBUSY;
	if (rc < 0)
		agent_disconnect(agent);
	else
		agent->number = (uint32_t)now_us();
	return rc;
}

int agent_explain(const struct target *target, int rc, const char *what, const char *tried, struct error *error)
{
	static const char of_others[] = "its agent serves only its own user and root";
	static const struct error_cause causes[] = {
		{-ENOENT, .why = "it has no swap agent",
		 .hint = "start it with swapctl run, or have it call uvm_swap_agent_start(3)", .as = -EPERM},
		{-EBUSY, .why = "another session uses its agent", .hint = "detach that one first"},
		{-ETIMEDOUT, .why = "its agent does not answer", .hint = "is it stopped, or its cgroup frozen?"},
		{-EPERM, .why = of_others},
		{-EACCES, .why = of_others, .as = -EPERM},
		{-EPROTO, .why = "its agent is of another version, or none"},
		{0},
	};
	static const char device[] =
		"give its user /dev/userfaultfd (its file mode), or set vm.unprivileged_userfaultfd=1";
	char why[100];

	if (!what || rc == -EBUSY)
		return error_explain(error, causes, rc, "%s process %d", tried, target->pid);
	snprintf(why, sizeof(why), "its agent has no %s (%s)", what, error_name(-rc));
	return error_set(error, rc, why, *what == 'u' ? device : NULL, "%s process %d", tried, target->pid);
}

void agent_disconnect(struct agent *agent)
{
	cleanup_close(&agent->socket);
	cleanup_close(&agent->memfd);
	cleanup_close(&agent->mem_fd);
	*agent = AGENT_NONE;
}

int agent_send(struct agent *agent, const struct agent_request *request, const struct agent_region *regions, int fd)
{
	struct agent_request numbered = *request;
	struct iovec iov[] = {{&numbered, sizeof(numbered)}, {(void *)regions, request->count * sizeof(*regions)}};

	numbered.number = ++agent->number;
	return fd_send(agent->socket, iov, request->count ? 2 : 1, fd, 0) < 0 ? -ESRCH : 0;
}

/*
 * One message: 1 when it answers the last request, 0 for an older one or none, -ESRCH at the end. A descriptor that
 * came with another one is closed.
 */
static int receive_one(struct agent *agent, struct agent_reply *reply, int *fd)
{
	int came;
	ssize_t got = fd_receive(agent->socket, reply, sizeof(*reply), &came, 1, MSG_DONTWAIT);

	if (got == 0 || (got < 0 && got != -EAGAIN && got != -EINTR))
		return -ESRCH; /* the program has ended, or runs another one now */
	if (got == sizeof(*reply) && reply->number == agent->number && (fd || came < 0)) {
		if (fd)
			*fd = came;
		return 1;
	}
	cleanup_close(&came);
	return 0;
}

int agent_receive(struct agent *agent, struct agent_reply *reply, int timeout_ms, int *fd)
{
	uint64_t deadline = now_us() + (uint64_t)timeout_ms * 1000;

	agent->late = true;
	for (;;) {
		struct pollfd ready = {.fd = agent->socket, .events = POLLIN};
		uint64_t now = now_us();
		int wait = timeout_ms < 0 ? -1 : now < deadline ? (int)((deadline - now + 999) / 1000) : 0;
		int rc = poll(&ready, 1, wait);

		if (rc == 0)
			return -ETIMEDOUT;
		if (rc > 0)
			rc = receive_one(agent, reply, fd);
		if (rc == -ESRCH)
			return rc;
		if (rc > 0) {
			agent->late = false;
			return 0;
		}
	}
}

int64_t agent_exchange(struct agent *agent, const struct agent_request *request, int fd, int *got)
{
	struct agent_reply reply = {0};
	int rc = 0;

	if (agent->late) {
		rc = agent_send(agent, &(struct agent_request){.op = AGENT_PING}, NULL, -1);
		if (rc == 0)
			rc = agent_receive(agent, &reply, CALL_MS, NULL);
	}
	if (rc == 0)
		rc = agent_send(agent, request, NULL, fd);
	if (rc == 0)
		rc = agent_receive(agent, &reply, CALL_MS, got);
	return rc < 0 ? rc : reply.result;
}

int64_t agent_call(struct agent *agent, const struct agent_request *request)
{
	return agent_exchange(agent, request, -1, NULL);
}

int agent_memory(struct agent *agent, const struct target *target)
{
	struct agent_reply reply = {0};
	_cleanup_close_ int theirs = -1;
	int rc = agent_send(agent, &(struct agent_request){.op = AGENT_WORDS}, NULL, -1);

	if (rc == 0)
		rc = agent_receive(agent, &reply, CALL_MS, &theirs);
	if (rc < 0 || reply.result < 0)
		return rc < 0 ? rc : (int)reply.result;
	agent->words = (struct thread_words){.word = (uint64_t)reply.moved, .rseq = (uint64_t)reply.result};
	agent->mem_fd = target_proc_open(target, "mem", O_RDONLY | O_CLOEXEC);
	if (agent->mem_fd < 0)
		agent->mem_fd = steal_fd(&theirs);
	return agent->mem_fd < 0 ? -EACCES : 0;
}
