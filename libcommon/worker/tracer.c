/* SPDX-License-Identifier: MIT */
/*
 * A debugger reads memory where no fault can be served (ptrace(2) and /proc/PID/mem: EIO; mm/memory.c,
 * __access_remote_vm): as long as one traces the target everything is kept in core.
 */
#include "worker/tracer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "index/index.h"
#include "pager/job.h"
#include "pager/pager.h"
#include "proc/tasks.h"
#include "proc/tracer.h"
#include "swapin/fill.h"
#include "swapin/filler.h"

#define SCAN_MS    100
#define LISTEN_MS  400 /* where the kernel tells of each tracer that comes */
#define SCANS      8   /* in which every thread has been inspected once */
#define SCAN_LEAST 16  /* threads in a scan */

struct tracer_watch {
	struct pager *pager;
	int listen;      /* netlink socket that tells of tracers, or -1 */
	unsigned int at; /* of the threads, the one that is looked at next */
	pid_t tracer;
};

/* Only of this process: the messages are of all processes of the machine. */
static int filter_for(int fd, pid_t pid)
{
	const uint32_t at =
		NLMSG_HDRLEN + sizeof(struct cn_msg) + offsetof(struct proc_event, event_data.ptrace.process_tgid);
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl((uint32_t)pid), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	const struct sock_fprog program = {.len = ARRAY_SIZE(code), .filter = code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno : 0;
}

/*
 * The kernel's process events (CONFIG_PROC_EVENTS; drivers/connector/cn_proc.c), those of ptrace alone. -1 where there
 * are none, or not for us: outside the first namespaces of processes and users.
 */
static int listen_for_tracers(pid_t pid)
{
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_CONNECTOR);
	const struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = CN_IDX_PROC};
	const uint32_t asked[] = {PROC_CN_MCAST_LISTEN, PROC_EVENT_PTRACE};
	const struct cn_msg message = {.id = {CN_IDX_PROC, CN_VAL_PROC}, .len = sizeof(asked)};
	const struct nlmsghdr header = {.nlmsg_len = NLMSG_LENGTH(sizeof(message) + sizeof(asked)),
					.nlmsg_type = NLMSG_DONE};
	unsigned char request[NLMSG_LENGTH(sizeof(message) + sizeof(asked))];

	memcpy(request, &header, sizeof(header));
	memcpy(request + NLMSG_HDRLEN, &message, sizeof(message));
	memcpy(request + NLMSG_HDRLEN + sizeof(message), asked, sizeof(asked));
	if (fd < 0 || filter_for(fd, pid) < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    send(fd, request, sizeof(request), 0) < 0)
		return -1;
	return steal_fd(&fd);
}

/* Until it is time for another scan. What a message says is not looked at: it may be late, or missing. */
static void wait_for_tracer(const struct tracer_watch *w)
{
	struct pollfd fd = {.fd = w->listen, .events = POLLIN};
	char message[512];

	if (poll(&fd, 1, w->listen < 0 ? SCAN_MS : LISTEN_MS) > 0)
		while (recv(w->listen, message, sizeof(message), 0) > 0)
			;
}

/* Looked at twice: a tracing thread of the session that has let go and ended meanwhile has no name any more. */
static pid_t debugger_of(const struct pager *pager, pid_t tid)
{
	pid_t tracer = tracer_of(&pager->target, tid);

	return tracer && tracer != pager->supervision.supervisor_pid && !tracer_is_ours(tracer) &&
			       tracer_of(&pager->target, tid) == tracer
		       ? tracer
		       : 0;
}

/* The main thread, and a part of the others: all of them in SCANS scans. */
static pid_t find_debugger(struct tracer_watch *w)
{
	const struct pager *pager = w->pager;
	_cleanup_closedir_ DIR *tasks = tasks_open(&pager->target);
	pid_t found = debugger_of(pager, pager->target.pid);
	unsigned int count = 0;
	unsigned int most = SCAN_LEAST;

	if (!tasks)
		return 0;
	for (pid_t tid; (tid = tasks_next(tasks)) > 0; count++)
		if (!found && count >= w->at && count < w->at + most)
			found = debugger_of(pager, tid);
	most = (unsigned int)max_u64(SCAN_LEAST, count / SCANS + 1);
	w->at = w->at + most < count ? w->at + most : 0;
	return found;
}

static bool anything_out(struct pager *pager)
{
	bool out;

	pthread_mutex_lock(&pager->lock);
	out = index_count(pager->index, 0) > 0;
	pthread_mutex_unlock(&pager->lock);
	return out;
}

/* Everything back, and kept there. It is tried again while it fails: its cgroup may be at its limit. */
static void bring_back(struct tracer_watch *w, struct filler *filler)
{
	struct pager *pager = w->pager;
	const struct region everything = {0, UINT64_MAX};

	job_begin(pager);
	if (!atomic_load(&pager->ended) && !pager->spaces[0].dead)
		fill_region(filler, &pager->spaces[0], everything);
	job_end(pager);
}

static void *tracer_main(void *argument)
{
	struct pager *pager = argument;
	struct tracer_watch w = {.pager = pager, .listen = listen_for_tracers(pager->target.pid)};
	struct filler filler;

	if (filler_init(&filler, pager) < 0)
		return NULL;
	while (!atomic_load(&pager->ended)) {
		pid_t before = w.tracer;

		/* A tracer that was found is looked for everywhere before it counts as gone. */
		w.tracer = 0;
		for (unsigned int i = 0; !w.tracer && i < (before ? SCANS : 1); i++)
			w.tracer = before || anything_out(pager) ? find_debugger(&w) : 0;
		atomic_store(&pager->tracer.pid, w.tracer);
		if (w.tracer && !before)
			atomic_fetch_add(&pager->serving.holds, 1);
		if (!w.tracer && before)
			atomic_fetch_sub(&pager->serving.holds, 1);
		if (w.tracer && anything_out(pager))
			bring_back(&w, &filler);
		wait_for_tracer(&w);
	}
	cleanup_close(&w.listen);
	filler_free(&filler);
	return NULL;
}

int tracer_start(struct pager *pager)
{
	if (index_header(pager->index)->session.watched)
		return 0;
	pager->tracer.watched = pthread_create(&pager->tracer.thread, NULL, tracer_main, pager) == 0;
	return pager->tracer.watched ? 0 : -EAGAIN;
}

void tracer_stop(struct pager *pager)
{
	if (pager->tracer.watched)
		pthread_join(pager->tracer.thread, NULL);
}
