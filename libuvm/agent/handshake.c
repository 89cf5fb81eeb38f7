/* SPDX-License-Identifier: MIT */
/* What a session is given: descriptor or errno, staging area or errno, in one message. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/prctl.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "agent/agent.h"
#include "agent/far.h"
#include "agent/raw.h"
#include "uffd/uapi.h"

#define SUPERPAGE (UINT64_C(2) << 20)

/*
 * By the device, which needs no privilege but its file mode, then by userfaultfd(2); never one for user-mode faults
 * only.
 */
int agent_open_uffd(void)
{
	int flags = O_CLOEXEC | O_NONBLOCK;
	long device = raw4(SYS_openat, AT_FDCWD, "/dev/userfaultfd", O_RDWR | O_CLOEXEC, 0);
	long made = device;

	if (device >= 0) {
		made = raw3(SYS_ioctl, device, USERFAULTFD_IOC_NEW, flags);
		raw1(SYS_close, device);
	}
	if (made < 0)
		made = raw1(SYS_userfaultfd, flags);
	return (int)made;
}

static int open_uffds(struct swap_agent *agent)
{
	int first = agent_open_uffd();
	int second = first < 0 ? first : agent_open_uffd();

	if (second < 0) {
		if (first >= 0)
			raw1(SYS_close, first);
		return second;
	}
	agent->session.memory_uffd = first;
	agent->session.staging_uffd = second;
	return 0;
}

/* Unreadable address space, aligned so that huge pages can move whole. */
int agent_map_staging(struct swap_agent *agent)
{
	uint64_t bytes = AGENT_AREA_BYTES + SUPERPAGE;
	long at = far_map(agent->top, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	uint64_t start;
	uint64_t end;

	if (at < 0)
		return (int)at;
	start = ((uint64_t)at + SUPERPAGE - 1) & ~(SUPERPAGE - 1);
	end = start + AGENT_AREA_BYTES;
	if (start > (uint64_t)at)
		raw2(SYS_munmap, at, start - (uint64_t)at);
	if ((uint64_t)at + bytes > end)
		raw2(SYS_munmap, end, (uint64_t)at + bytes - end);
	raw3(SYS_madvise, start, AGENT_AREA_BYTES, MADV_DONTFORK);
	raw5(SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, start, AGENT_AREA_BYTES, "uvmtools");
	agent->session.staging = start;
	return 0;
}

static long send_greeting(int connection, const struct agent_greeting *greeting, const int fds[AGENT_FDS])
{
	struct iovec iov = {(void *)greeting, sizeof(*greeting)};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(AGENT_FDS * sizeof(int))];
	} control = {.header = {CMSG_LEN(AGENT_FDS * sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fds) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		for (int i = 0; i < AGENT_FDS; i++)
			((int *)CMSG_DATA(&control.header))[i] = fds[i];
	}
	return raw3(SYS_sendmsg, connection, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void agent_refuse(const struct swap_agent *agent, int connection)
{
	struct agent_greeting greeting = {
		.magic = AGENT_MAGIC, .version = AGENT_VERSION, .uffd_errno = EBUSY, .area_errno = EBUSY};

	(void)agent;
	send_greeting(connection, &greeting, NULL);
	raw1(SYS_close, connection);
}

int agent_greet_reclaimer(const struct swap_agent *agent, int connection)
{
	struct agent_greeting greeting = {
		.magic = AGENT_MAGIC,
		.version = AGENT_VERSION,
		.uffd_errno = agent->session.memory_uffd >= 0 ? EBUSY : 0,
		.own_start = agent->own_start,
		.own_end = agent->own_end,
		.number = -1,
	};
	long sent = send_greeting(connection, &greeting, NULL);

	return sent < 0 ? (int)sent : 0;
}

int agent_greet(struct swap_agent *agent)
{
	bool resumed = agent->session.memory_uffd >= 0;
	int uffd = resumed ? 0 : open_uffds(agent);
	int area = resumed ? 0 : agent_map_staging(agent);
	struct agent_greeting greeting = {
		.magic = AGENT_MAGIC,
		.version = AGENT_VERSION,
		.uffd_errno = -uffd,
		.area_errno = -area,
		.area_start = agent->session.staging,
		.area_bytes = AGENT_AREA_BYTES,
		.own_start = agent->own_start,
		.own_end = agent->own_end,
		.number = agent->session.memory_uffd,
		.resumed = resumed,
	};
	const int fds[AGENT_FDS] = {agent->session.memory_uffd, agent->session.staging_uffd, agent->memfd};
	long sent;

	/* Until the session says otherwise. */
	if (!resumed)
		__atomic_store_n(&agent->shared->ask, 1, __ATOMIC_SEQ_CST);
	sent = send_greeting(agent->swap.connection, &greeting, uffd < 0 || area < 0 ? NULL : fds);
	return sent < 0 ? (int)sent : uffd < 0 ? uffd : area;
}

/*
 * The program may have mapped something there: nothing is registered there then. The source is an address that nothing
 * maps, so that the area stays as it is (libcommon/uffd/uffd.c, probe).
 */
static bool staging_is_ours(const struct swap_agent *agent)
{
	struct uffdio_copy probe = {.dst = agent->session.staging, .src = 0x10000, .len = AGENT_AREA_BYTES};

	return raw3(SYS_ioctl, agent->session.staging_uffd, UFFDIO_COPY, &probe) != -ENOENT;
}

static void unmap_staging(const struct swap_agent *agent)
{
	struct uffdio_range area = {.start = agent->session.staging, .len = AGENT_AREA_BYTES};

	if (!staging_is_ours(agent))
		return;
	/* Or nobody would read the event of its end. */
	raw3(SYS_ioctl, agent->session.staging_uffd, UFFDIO_UNREGISTER, &area);
	raw2(SYS_munmap, agent->session.staging, AGENT_AREA_BYTES);
}

void agent_release(struct swap_agent *agent)
{
	struct agent_shared *shared = agent->shared;

	if (agent->session.staging)
		unmap_staging(agent);
	if (agent->session.memory_uffd >= 0)
		raw1(SYS_close, agent->session.memory_uffd);
	if (agent->session.staging_uffd >= 0)
		raw1(SYS_close, agent->session.staging_uffd);
	for (int i = 0; i < AGENT_STORED_FDS; i++)
		if (agent->session.kept[i / 64] >> (i % 64) & 1)
			raw1(SYS_close, i);
	for (int i = 0; i < AGENT_STORED_FDS / 64; i++)
		agent->session.kept[i] = 0;
	agent->session.memory_uffd = agent->session.staging_uffd = -1;
	agent->session.staging = 0;
	agent->session.moved = false;
	__atomic_store_n(&shared->ask, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&shared->granted, __atomic_load_n(&shared->asked, __ATOMIC_SEQ_CST), __ATOMIC_SEQ_CST);
	raw3(SYS_futex, &shared->granted, FUTEX_WAKE, INT32_MAX);
}
