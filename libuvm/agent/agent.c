/* SPDX-License-Identifier: MIT */
/* Starting and stopping the swap agent, and what a fork has to wait for. Runs on the program's own threads. */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/far.h"
#include "agent/raw.h"
#include "uvm/swap_agent.h"

#define ASK_AGAIN_MS 100 /* a forking thread looks whether the session is still there */
#define STOP_S       5

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct swap_agent *running; /* NULL: none, or not of this process (a child's copy) */
static pthread_t thread;

static void wait_on(uint32_t *word, uint32_t while_it_is, int ms)
{
	const struct timespec limit = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	raw4(SYS_futex, word, FUTEX_WAIT, while_it_is, &limit);
}

/* For STOP_S at most, however many signals come. Whether its state is another one. */
static bool wait_for_thread(struct swap_agent *agent, enum agent_state while_it_is)
{
	struct timespec end;
	long rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += STOP_S;
	while (__atomic_load_n(&agent->state, __ATOMIC_SEQ_CST) == while_it_is && rc != -ETIMEDOUT)
		rc = raw6(SYS_futex, &agent->state, FUTEX_WAIT_BITSET_PRIVATE, while_it_is, &end, 0,
			  FUTEX_BITSET_MATCH_ANY);
	return __atomic_load_n(&agent->state, __ATOMIC_SEQ_CST) != while_it_is;
}

/*
 * Everything comes back first where the session cannot be told of forks; the agent moves nothing from here until the
 * fork is over.
 */
static void before_fork(void)
{
	struct agent_shared *shared;
	uint32_t ticket;
	uint32_t granted;

	pthread_mutex_lock(&lock);
	if (!running)
		return;
	shared = running->shared;
	__atomic_add_fetch(&shared->forking, 1, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&shared->ask, __ATOMIC_SEQ_CST))
		return;
	ticket = __atomic_add_fetch(&shared->asked, 1, __ATOMIC_SEQ_CST);
	raw3(SYS_futex, &shared->asked, FUTEX_WAKE, INT32_MAX);
	while (__atomic_load_n(&shared->ask, __ATOMIC_SEQ_CST) &&
	       (int32_t)((granted = __atomic_load_n(&shared->granted, __ATOMIC_SEQ_CST)) - ticket) < 0)
		wait_on(&shared->granted, granted, ASK_AGAIN_MS);
}

static void after_fork(void)
{
	if (running)
		__atomic_sub_fetch(&running->shared->forking, 1, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&lock);
}

/* Threads are not inherited: the child has no agent. */
static void in_child(void)
{
	running = NULL;
	pthread_mutex_init(&lock, NULL);
}

static int follow_forks(void)
{
	static bool done;
	int rc = done ? 0 : -pthread_atfork(before_fork, after_fork, in_child);

	done = rc == 0;
	return rc;
}

static int make_agent(struct swap_agent **agent)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t data = (sizeof(**agent) + page - 1) & ~(page - 1);
	uint64_t bytes = page + data + AGENT_STACK + page;
	uint64_t top = far_top();
	long at = far_map(top, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1);
	char *own = (char *)at;
	uint64_t random;

	if (at < 0)
		return (int)at;
	if (mprotect(own + page, data + AGENT_STACK, PROT_READ | PROT_WRITE) < 0 ||
	    getrandom(&random, sizeof(random), 0) != sizeof(random)) {
		munmap(own, bytes);
		return -ENOMEM;
	}
	prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, own + page, data + AGENT_STACK, "uvmtools");
	*agent = (struct swap_agent *)(own + page);
	**agent = (struct swap_agent){
		.request = (struct agent_request *)(*agent)->buffers.request,
		.reply = (struct agent_reply *)(*agent)->buffers.reply,
		.own_start = (uintptr_t)own,
		.own_end = (uintptr_t)own + bytes,
		.page = page,
		.top = top,
		.swap = {.listener = -1, .connection = -1},
		.reclaim = {.listener = -1, .connection = -1},
		.session = {.memory_uffd = -1, .staging_uffd = -1},
		.memfd = -1,
		.passed = -1,
		.answer = -1,
	};
	snprintf((*agent)->swap.name, sizeof((*agent)->swap.name), AGENT_NAME ".%016llx", (unsigned long long)random);
	snprintf((*agent)->reclaim.name, sizeof((*agent)->reclaim.name), AGENT_RECLAIM ".%016llx",
		 (unsigned long long)random);
	return 0;
}

static void destroy_agent(struct swap_agent *agent)
{
	if (agent->shared)
		munmap(agent->shared, agent->page);
	munmap((void *)agent->own_start, agent->own_end - agent->own_start);
}

/* With every signal blocked that libc lets be blocked, from the first instruction on. */
static int start_thread(struct swap_agent *agent)
{
	pthread_attr_t attributes;
	sigset_t all;
	sigset_t before;
	int rc;

	pthread_attr_init(&attributes);
	rc = -pthread_attr_setstack(&attributes, (char *)agent->own_end - agent->page - AGENT_STACK, AGENT_STACK);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (rc == 0)
		rc = -pthread_create(&thread, &attributes, agent_main, agent);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (rc < 0)
		return rc;
	while (!wait_for_thread(agent, AGENT_STARTING))
		;
	if (agent->result < 0)
		pthread_join(thread, NULL);
	return agent->result;
}

/* A thread that was cancelled in the middle would leave the lock to nobody, and no thread could fork. */
static int lock_uncancelled(void)
{
	int before;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
	pthread_mutex_lock(&lock);
	return before;
}

static void unlock_as_before(int before)
{
	pthread_mutex_unlock(&lock);
	pthread_setcancelstate(before, NULL);
}

int uvm_swap_agent_start(const struct uvm_swap_agent_options *options)
{
	struct swap_agent *agent = NULL;
	int rc = 0;
	int before;

	if (options && (options->size != sizeof(*options) || options->flags))
		return -EINVAL;
	before = lock_uncancelled();
	if (running)
		rc = -EALREADY;
	if (rc == 0)
		rc = follow_forks();
	if (rc == 0)
		rc = make_agent(&agent);
	if (rc == 0) {
		rc = start_thread(agent);
		if (rc < 0)
			destroy_agent(agent);
		else
			running = agent;
	}
	unlock_as_before(before);
	return rc;
}

/* The agent looks at its state when a client connects. */
static void wake_thread(const struct swap_agent *agent)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(agent->swap.name);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(address.sun_path + 1, agent->swap.name, length);
	(void)connect(fd, (struct sockaddr *)&address,
		      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length));
	close(fd);
}

static int stop_thread(struct swap_agent *agent)
{
	uint32_t stopping = AGENT_STOPPING;

	if (agent->session.memory_uffd >= 0)
		return -EBUSY;
	__atomic_store_n(&agent->state, AGENT_STOPPING, __ATOMIC_SEQ_CST);
	wake_thread(agent);
	wait_for_thread(agent, AGENT_STOPPING);
	/* A session came first. */
	if (__atomic_compare_exchange_n(&agent->state, &stopping, AGENT_RUNNING, false, __ATOMIC_SEQ_CST,
					__ATOMIC_SEQ_CST))
		return -EBUSY;
	pthread_join(thread, NULL);
	destroy_agent(agent);
	return 0;
}

int uvm_swap_agent_stop(void)
{
	int before = lock_uncancelled();
	int rc = -ESRCH;

	if (running) {
		rc = stop_thread(running);
		if (rc == 0)
			running = NULL;
	}
	unlock_as_before(before);
	return rc;
}

/* swapctl run preloads the library and says so; a program that links it decides for itself. */
__attribute__((constructor)) static void start_when_preloaded(void)
{
	const char *wanted = secure_getenv("UVM_SWAP_AGENT");

	if (wanted && strcmp(wanted, "1") == 0)
		uvm_swap_agent_start(NULL);
}
