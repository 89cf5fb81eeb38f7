/* SPDX-License-Identifier: MIT */
/*
 * The agent's thread. It calls nothing of libc and touches nothing but its own memory, so that it never waits for a
 * page that is out while a session waits for it. Its table of descriptors is its own: a program that closes everything,
 * or counts on the lowest number, does not meet them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "agent/agent.h"
#include "agent/far.h"
#include "agent/raw.h"
#include "uffd/uapi.h"

#define DEAF_NS 100000000 /* after a connection could not be taken */

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

/* Of glibc 2.35 and newer (sys/rseq.h); of other libraries they are not there. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));  /* NOLINT(bugprone-reserved-identifier) */
extern const unsigned int __rseq_size __attribute__((weak)); /* NOLINT(bugprone-reserved-identifier) */

/* Whether a request is about the staging area and nothing else. */
static bool in_staging(const struct swap_agent *agent, uint64_t address, uint64_t bytes)
{
	return agent->session.staging && !((address | bytes) & (agent->page - 1)) && bytes &&
	       address >= agent->session.staging && bytes <= AGENT_AREA_BYTES &&
	       address - agent->session.staging <= AGENT_AREA_BYTES - bytes;
}

static int64_t change_area(struct swap_agent *agent, uint64_t mode)
{
	int64_t rc = 0;

	if (mode > AGENT_AREA_NEW || !agent->session.staging)
		return -EINVAL;
	if (mode == AGENT_AREA_UNMAP)
		rc = raw2(SYS_munmap, agent->session.staging, AGENT_AREA_BYTES);
	if (rc < 0)
		return rc;
	agent->session.staging = 0;
	if (mode == AGENT_AREA_NEW)
		rc = agent_map_staging(agent);
	return rc < 0 ? rc : (int64_t)agent->session.staging;
}

/* A program that locks all of its memory locks this too: nothing could be moved there from what is not locked. */
static int64_t protect_area(uint64_t address, uint64_t bytes, uint64_t protection)
{
	raw3(SYS_munlock, address, bytes, 0);
	return raw3(SYS_mprotect, address, bytes, protection & (PROT_READ | PROT_WRITE | PROT_EXEC));
}

/* SIGSETXID included, which libc does not let anybody block: its handler touches libc's memory. */
static void block_all(uint64_t *before)
{
	raw4(SYS_rt_sigprocmask, SIG_SETMASK, &(uint64_t){UINT64_MAX}, before, sizeof(*before));
}

static bool is_kept(const struct swap_agent *agent, uint64_t number)
{
	return number < AGENT_STORED_FDS && agent->session.kept[number / 64] >> (number % 64) & 1;
}

static int64_t keep_passed(struct swap_agent *agent)
{
	int number = agent->passed;

	if (number < 0)
		return -EBADF;
	if (number >= AGENT_STORED_FDS)
		return -EMFILE;
	agent->passed = -1;
	agent->session.kept[number / 64] |= UINT64_C(1) << (number % 64);
	return number;
}

static int64_t take_kept(struct swap_agent *agent, uint64_t number)
{
	if (!is_kept(agent, number))
		return -EBADF;
	agent->answer = (int)number;
	return 0;
}

static int64_t drop_kept(struct swap_agent *agent, uint64_t number)
{
	if (!is_kept(agent, number))
		return -EBADF;
	agent->session.kept[number / 64] &= ~(UINT64_C(1) << (number % 64));
	return raw1(SYS_close, number);
}

/*
 * The one before it may have had its handshake, with a session that is gone; and a thread that maps over the staging
 * area may wait for it.
 */
static int64_t another_uffd(struct swap_agent *agent)
{
	int fd = agent_open_uffd();

	if (fd < 0)
		return fd;
	raw1(SYS_close, agent->session.staging_uffd);
	agent->session.staging_uffd = agent->answer = fd;
	return 0;
}

static int64_t move_pages(struct swap_agent *agent, const struct agent_request *request)
{
	struct uffdio_move argument = {
		.dst = request->to, .src = request->address, .len = request->bytes, .mode = request->mode};
	const struct agent_shared *shared = agent->shared;
	long rc;

	if (!in_staging(agent, request->to, request->bytes))
		return -EINVAL;
	if (__atomic_load_n(&shared->ask, __ATOMIC_SEQ_CST) && __atomic_load_n(&shared->forking, __ATOMIC_SEQ_CST))
		return -ECANCELED;
	agent->session.moved = true;
	rc = raw3(SYS_ioctl, agent->session.memory_uffd, UFFDIO_MOVE, &argument);
	agent->reply->moved = argument.move;
	return rc;
}

/* Ready, then the move, then its reply: with every signal blocked, nothing else happens on this thread in between. */
static bool serve_move(struct swap_agent *agent)
{
	uint64_t before;
	bool alive;

	block_all(&before);
	agent_answer(agent, agent->swap.connection, 0);
	alive = agent_next(agent, agent->swap.connection);
	if (alive && agent->request->op == AGENT_MOVE)
		agent_answer(agent, agent->swap.connection, move_pages(agent, agent->request));
	else if (alive && agent->request->op != AGENT_CANCEL)
		agent_answer(agent, agent->swap.connection, -EPROTO);
	raw4(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, sizeof(before));
	return alive;
}

/* The descriptor is closed here once it is sent. */
static int64_t answer_words(struct swap_agent *agent)
{
	uint64_t word = 0;
	long rc = raw2(SYS_prctl, PR_GET_TID_ADDRESS, &word);

	agent_drop_passed(agent);
	agent->passed = (int)raw4(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDONLY | O_CLOEXEC, 0);
	agent->answer = agent->passed;
	agent->reply->moved = (int64_t)word;
	return rc < 0 ? rc : (int64_t)agent->rseq;
}

static int64_t perform_request(struct swap_agent *agent, const struct agent_request *request)
{
	bool ours = in_staging(agent, request->address, request->bytes);

	switch (request->op) {
	case AGENT_PING:
		return 0;
	case AGENT_FORKS:
		__atomic_store_n(&agent->shared->ask, request->address != 0, __ATOMIC_SEQ_CST);
		return 0;
	case AGENT_AREA:
		return change_area(agent, request->mode);
	case AGENT_PROTECT:
		return ours ? protect_area(request->address, request->bytes, request->mode) : -EINVAL;
	case AGENT_DISCARD:
		return ours ? raw3(SYS_madvise, request->address, request->bytes, MADV_DONTNEED_LOCKED) : -EINVAL;
	case AGENT_POPULATE:
		return raw3(SYS_madvise, request->address, request->bytes, MADV_POPULATE_WRITE);
	case AGENT_SUPERPAGES:
		return agent_superpages(agent, request->address, request->bytes);
	case AGENT_UFFD:
		return another_uffd(agent);
	case AGENT_STORE_FD:
		return keep_passed(agent);
	case AGENT_TAKE:
		return take_kept(agent, request->address);
	case AGENT_DROP:
		return drop_kept(agent, request->address);
	case AGENT_WORDS:
		return answer_words(agent);
	case AGENT_MOVE:
		return -EPROTO;
	default:
		return -EINVAL;
	}
}

static void close_connection(struct swap_agent *agent)
{
	raw1(SYS_close, agent->swap.connection);
	agent->swap.connection = -1;
}

static void serve_request(struct swap_agent *agent)
{
	bool alive = agent_next(agent, agent->swap.connection);

	if (alive && agent->request->op == AGENT_READY) {
		alive = serve_move(agent);
	} else if (alive && agent->request->op == AGENT_CLOSE) {
		agent_release(agent);
		agent_answer(agent, agent->swap.connection, 0);
		close_connection(agent);
		agent_drop_passed(agent);
		return;
	} else if (alive && agent->request->op != AGENT_CANCEL) {
		agent_answer(agent, agent->swap.connection, perform_request(agent, agent->request));
	}
	agent_drop_passed(agent);
	if (alive)
		return;
	close_connection(agent);
	/*
	 * Gone without a word: what it may have moved out must not read as zeros, so the descriptors stay open for
	 * the session that takes over.
	 */
	if (agent->session.moved) {
		another_uffd(agent);
		agent->answer = -1;
	} else {
		agent_release(agent);
	}
}

/* Only root and the program's own user. */
static bool may_connect(int connection)
{
	struct ucred peer = {0};
	socklen_t length = sizeof(peer);

	return raw5(SYS_getsockopt, connection, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
	       (peer.uid == 0 || (long)peer.uid == raw0(SYS_geteuid));
}

/* A connection of a process that may have one, or -1. */
static int accept_from(struct swap_agent *agent, int listener)
{
	long fd = raw4(SYS_accept4, listener, 0, 0, SOCK_CLOEXEC);

	agent->deaf = fd < 0;
	if (fd < 0)
		return -1;
	if (may_connect((int)fd))
		return (int)fd;
	raw1(SYS_close, fd);
	return -1;
}

static void welcome_session(struct swap_agent *agent)
{
	int fd = accept_from(agent, agent->swap.listener);

	if (fd < 0)
		return;
	if (agent->swap.connection >= 0) {
		agent_refuse(agent, fd);
		return;
	}
	agent->swap.connection = fd;
	if (agent_greet(agent) < 0) {
		close_connection(agent);
		if (!agent->session.moved)
			agent_release(agent);
	}
}

static void welcome_reclaimer(struct swap_agent *agent)
{
	int fd = accept_from(agent, agent->reclaim.listener);

	if (fd < 0)
		return;
	if (agent_greet_reclaimer(agent, fd) < 0)
		raw1(SYS_close, fd);
	else
		agent->reclaim.connection = fd;
}

/*
 * An abstract name: nothing to clean up, no directory to agree on. Found by the descriptor, so it only has to be free.
 */
static int listen_as(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = 0;
	long fd = raw3(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	long rc;

	if (fd < 0)
		return (int)fd;
	for (; name[length]; length++)
		address.sun_path[1 + length] = name[length];
	rc = raw3(SYS_bind, fd, &address, offsetof(struct sockaddr_un, sun_path) + 1 + length);
	if (rc == 0)
		rc = raw2(SYS_listen, fd, 8);
	if (rc == 0)
		return (int)fd;
	raw1(SYS_close, fd);
	return (int)rc;
}

static int listen_somewhere(struct swap_agent *agent)
{
	agent->swap.listener = listen_as(agent->swap.name);
	agent->reclaim.listener = agent->swap.listener < 0 ? agent->swap.listener : listen_as(agent->reclaim.name);
	return agent->reclaim.listener < 0 ? agent->reclaim.listener : 0;
}

/* The page that session, agent and forking threads share. A session trusts its size because it is sealed. */
static int map_shared(struct swap_agent *agent)
{
	long fd = raw2(SYS_memfd_create, "uvm-agent", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	long at = fd < 0 ? fd : raw2(SYS_ftruncate, fd, agent->page);

	if (at == 0)
		at = raw3(SYS_fcntl, fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	if (at == 0)
		at = far_map(agent->top, agent->page, PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd);
	if (at < 0)
		return (int)at;
	raw3(SYS_madvise, at, agent->page, MADV_DONTFORK);
	agent->memfd = (int)fd;
	agent->shared = (struct agent_shared *)at;
	return 0;
}

static void set_state(struct swap_agent *agent, enum agent_state state)
{
	__atomic_store_n(&agent->state, state, __ATOMIC_SEQ_CST);
	raw3(SYS_futex, &agent->state, FUTEX_WAKE_PRIVATE, INT32_MAX);
}

/* Who asked may have given up waiting: only one of both says what comes of it. */
static bool stop_asked(struct swap_agent *agent)
{
	uint32_t stopping = AGENT_STOPPING;

	return agent->swap.connection < 0 && agent->reclaim.connection < 0 && agent->session.memory_uffd < 0 &&
	       __atomic_compare_exchange_n(&agent->state, &stopping, AGENT_STOPPED, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}

/*
 * One reclaimer at a time: the next one is greeted when all that the one before sent is done, and its descriptors are
 * closed. A session's move is in one piece: nothing is served between its two halves.
 */
static void serve_next(struct swap_agent *agent)
{
	bool taken = agent->reclaim.connection >= 0, deaf = agent->deaf;
	const struct timespec pause = {.tv_nsec = DEAF_NS};
	struct pollfd fds[] = {
		{deaf ? -1 : agent->swap.listener, POLLIN, 0},
		{agent->swap.connection, POLLIN, 0},
		{deaf || taken ? -1 : agent->reclaim.listener, POLLIN, 0},
		{agent->reclaim.connection, POLLIN, 0},
	};

	agent->deaf = false;
	/* Of more descriptors than the program may have, poll(2) tells nothing. */
	if (raw5(SYS_ppoll, fds, sizeof(fds) / sizeof(*fds), deaf ? &pause : NULL, 0, 0) == -EINVAL)
		raw4(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &pause, 0);
	if (fds[1].revents)
		serve_request(agent);
	if (fds[3].revents)
		agent_serve_reclaimer(agent);
	if (fds[0].revents)
		welcome_session(agent);
	if (fds[2].revents)
		welcome_reclaimer(agent);
}

void *agent_main(void *argument)
{
	struct swap_agent *agent = argument;

	if (&__rseq_size && __rseq_size)
		agent->rseq = (uint64_t)((uintptr_t)__builtin_thread_pointer() + (uintptr_t)__rseq_offset);
	agent->result = (int)raw3(SYS_close_range, 0, ~0U, CLOSE_RANGE_UNSHARE);
	if (agent->result == 0)
		agent->result = map_shared(agent);
	if (agent->result == 0)
		agent->result = listen_somewhere(agent);
	raw2(SYS_prctl, PR_SET_NAME, AGENT_NAME);
	if (agent->result < 0) {
		set_state(agent, AGENT_STOPPED);
		return NULL;
	}
	set_state(agent, AGENT_RUNNING);
	while (!stop_asked(agent))
		serve_next(agent);
	raw1(SYS_close, agent->reclaim.listener);
	raw1(SYS_close, agent->swap.listener);
	set_state(agent, AGENT_STOPPED);
	return NULL;
}
