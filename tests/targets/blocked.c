/* SPDX-License-Identifier: MIT */
/*
 * Blocks in one system call: blocked CALL [MS [FILE]]. Prints "ready [PORT]" and, once the call has returned, "returned
 * RESULT ERRNO MS MEMORY": how long it took, and "ok" or "wrong" for the memory it has. What ends the call: MS, a line
 * on standard input, a connection to PORT, or SIGUSR1.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/usbdevice_fs.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pattern.h"

#define BYTES (16 * MEBIBYTE)

static volatile sig_atomic_t handled;

static long milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct timespec timespec_of(long ms)
{
	return (struct timespec){ms / 1000, ms % 1000 * 1000000};
}

static void handle(int number)
{
	(void)number;
	handled++;
}

static int epoll_of_input(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	int epoll = epoll_create1(0);

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event))
		die("epoll_ctl");
	return epoll;
}

/* A child that waits for a line, acts and ends with status 7. */
static pid_t child_at_input(uint32_t *word)
{
	pid_t child = fork();
	char byte;

	if (child < 0)
		die("fork");
	if (child > 0)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (read(0, &byte, 1) == 1 && word) {
		*word = 1;
		syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
	}
	_exit(7);
}

/* Every call is made once; what must be there before is made by prepare(). */
static struct {
	const char *name, *path;
	long ms;
	int epoll, listener, pair[2], file;
	uint32_t *word;
	pid_t child;
	sigset_t usr1;
} call;

static bool is(const char *name)
{
	return !strcmp(call.name, name);
}

static int listen_somewhere(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) || listen(fd, 1) ||
	    getsockname(fd, (struct sockaddr *)&address, &length))
		die("listen");
	call.listener = fd;
	return ntohs(address.sin_port);
}

static int prepare(void)
{
	struct sigaction action = {.sa_handler = handle};
	struct timeval limit = {call.ms / 1000, call.ms % 1000 * 1000};

	sigemptyset(&call.usr1);
	sigaddset(&call.usr1, SIGUSR1);
	if (is("sigsuspend") || is("sigtimedwait"))
		sigprocmask(SIG_BLOCK, &call.usr1, NULL);
	if (is("sigsuspend") || is("pause"))
		sigaction(SIGUSR1, &action, NULL);
	if (is("epoll_wait"))
		call.epoll = epoll_of_input();
	if (is("recv") && (socketpair(AF_UNIX, SOCK_STREAM, 0, call.pair) ||
			   setsockopt(call.pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit))))
		die("socketpair");
	if (is("futex"))
		call.word = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (is("close") || is("usb"))
		call.file = open(call.path, O_RDWR | O_CLOEXEC);
	if (call.file < 0)
		die(call.path);
	if (is("futex") || is("wait4"))
		call.child = child_at_input(call.word);
	return is("accept") ? listen_somewhere() : 0;
}

static long sleep_for(void)
{
	struct timespec time = timespec_of(call.ms);

	return nanosleep(&time, NULL);
}

static long poll_input(void)
{
	struct pollfd fd = {.fd = 0, .events = POLLIN};

	return poll(&fd, 1, (int)call.ms);
}

static long wait_for_signal(void)
{
	struct timespec limit = timespec_of(call.ms);

	return sigtimedwait(&call.usr1, NULL, &limit);
}

static long wait_for_child(void)
{
	int status = 0;

	return wait4(call.child, &status, 0, NULL) == call.child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The request alone counts: the file may be any that has ioctl(2). */
static long transfer(void)
{
	struct usbdevfs_ctrltransfer control = {0};

	return ioctl(call.file, USBDEVFS_CONTROL, &control);
}

static long block(void)
{
	struct epoll_event event;
	sigset_t none;
	char byte;

	sigemptyset(&none);
	if (is("nanosleep"))
		return sleep_for();
	if (is("poll"))
		return poll_input();
	if (is("epoll_wait"))
		return epoll_wait(call.epoll, &event, 1, (int)call.ms);
	if (is("sigtimedwait"))
		return wait_for_signal();
	if (is("recv"))
		return recv(call.pair[0], &byte, 1, 0);
	if (is("read"))
		return read(0, &byte, 1);
	if (is("accept"))
		return accept(call.listener, NULL, NULL) > 0;
	if (is("wait4"))
		return wait_for_child();
	if (is("futex"))
		return syscall(SYS_futex, call.word, FUTEX_WAIT, 0, NULL, NULL, 0);
	if (is("close"))
		return close(call.file);
	if (is("usb"))
		return transfer();
	if (is("pause"))
		return pause();
	if (is("sigsuspend"))
		return sigsuspend(&none);
	_exit(2);
}

int main(int argc, char **argv)
{
	const struct pattern pattern = {"mixed", 11};
	long started, result;
	int port, error;
	char *at;

	if (argc < 2)
		return 2;
	call.name = argv[1];
	call.path = argc > 3 ? argv[3] : "";
	call.ms = argc > 2 ? strtol(argv[2], NULL, 0) : -1;
	at = map_aligned(BYTES);
	pattern_fill(at, BYTES, &pattern);
	port = prepare();
	printf("ready %d\n", port);
	fflush(stdout);
	started = milliseconds();
	errno = 0;
	result = block();
	error = errno;
	printf("returned %ld %s %ld %s\n", result, error ? strerrorname_np(error) : "0", milliseconds() - started,
	       pattern_wrong(at, BYTES, &pattern) ? "wrong" : "ok");
	fflush(stdout);
	for (;;)
		pause();
}
