/* SPDX-License-Identifier: MIT */
/* agentcalls LIBRARY: starts and stops its swap agent while signals come, and on threads that were cancelled. */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>

#define ROUNDS 100

static int (*start)(const void *options);
static int (*stop)(void);

static void ignore_signal(int signal)
{
	(void)signal;
}

static void set_timer(long us)
{
	setitimer(ITIMER_REAL, &(struct itimerval){{0, us}, {0, us}}, NULL);
}

static int count_failures(void)
{
	int failures = 0;

	for (int i = 0; i < ROUNDS; i++)
		failures += start(NULL) != 0 || stop() != 0;
	return failures;
}

static void *start_cancelled(void *unused)
{
	pthread_cancel(pthread_self());
	start(NULL);
	pthread_testcancel();
	return unused;
}

static void *stop_cancelled(void *unused)
{
	pthread_cancel(pthread_self());
	stop();
	pthread_testcancel();
	return unused;
}

static void run_thread(void *(*run)(void *))
{
	pthread_t thread;

	pthread_create(&thread, NULL, run, NULL);
	pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;

	if (!library)
		return 1;
	*(void **)&start = dlsym(library, "uvm_swap_agent_start");
	*(void **)&stop = dlsym(library, "uvm_swap_agent_stop");
	signal(SIGALRM, ignore_signal);
	set_timer(100);
	printf("failures %d\n", count_failures());
	set_timer(0);
	fflush(stdout);
	run_thread(start_cancelled);
	printf("stop %d\n", stop());
	start(NULL);
	run_thread(stop_cancelled);
	printf("stop %d\n", stop());
	return 0;
}
