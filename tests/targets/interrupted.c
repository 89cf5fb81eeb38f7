/* SPDX-License-Identifier: MIT */
/*
 * A thread for each of many system calls that wait: interrupted MS [FILE [whole]]. Prints "ready CALLS TIMED"; then,
 * for each call that has come back as it should, "ok NAME MS", and "wrong NAME RESULT ERRNO MS" for any other: one that
 * failed with EINTR, or ended before its time. A line on standard input gives those without a timeout what they wait
 * for. FILE is opened, looked at and read over and over until then. "whole": also calls that have done a part and wait
 * for the rest, which nobody can let go on after an interruption.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pattern.h"

#define TWO_PIPES 131072 /* bytes; twice what a pipe takes */
#define LOOPS     60000  /* of the verifier: longer than it is left alone */

static long ms;
static const char *slow_file = "/dev/zero";
static struct timespec limit;        /* as the calls want it */
static const struct timespec *fixed; /* the same in memory that cannot be written */
static int input[2];                 /* a byte comes when all is to end */
static int half[2], full[2];         /* a socket with a byte in it; a pipe that nobody reads until then */
static bool whole;
static int semaphore, queue, lock[2], epoll;
static pid_t child;
static atomic_bool ending;

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Calls whose time runs out. Each returns what its system call does, with errno. */

static long call_epoll_wait(void)
{
	struct epoll_event event;

	return epoll_wait(epoll_create1(0), &event, 1, (int)ms);
}

#ifdef __x86_64__
/* Not by the C library: all registers but two are as they were, or it says so. */
static long call_epoll_wait_by_itself(void)
{
	struct epoll_event event;
	long instance = epoll_create1(0), result;
	register long time __asm__("r10") = ms;

	__asm__ volatile("syscall"
			 : "=a"(result), "+r"(time)
			 : "0"((long)SYS_epoll_wait), "D"(instance), "S"(&event), "d"(1L)
			 : "rcx", "r11", "memory");
	errno = result < 0 ? (int)-result : 0;
	return time == ms ? result : 99;
}
#endif

static long call_epoll_pwait(void)
{
	struct epoll_event event;
	sigset_t none;

	sigemptyset(&none);
	return epoll_pwait(epoll_create1(0), &event, 1, (int)ms, &none);
}

static long call_epoll_pwait2(void)
{
	struct epoll_event event;

	return syscall(SYS_epoll_pwait2, epoll_create1(0), &event, 1, fixed, NULL, 8);
}

static long call_poll(void)
{
	return poll(NULL, 0, (int)ms);
}

static long call_ppoll(void)
{
	return ppoll(NULL, 0, &limit, NULL);
}

/* What is left of the time cannot be written there; what is ready is to be told as "nothing" all the same. */
static long call_ppoll_fixed(void)
{
	struct pollfd fds[3] = {{input[0], POLLIN, 0x5a}, {-1, POLLIN, 0x5a}, {input[0], POLLIN, 0x5a}};
	long result;

	mlock(fds, sizeof(fds)); /* or it cannot be written in every stop, and the call is only made again */
	result = syscall(SYS_ppoll, fds, 3, fixed, NULL, 8);
	return fds[0].revents | fds[1].revents | fds[2].revents || fds[2].events != POLLIN ? 99 : result;
}

static long call_pselect_fixed(void)
{
	fd_set set = {0};
	long result;

	mlock(&set, sizeof(set));
	FD_SET(input[0], &set);
	result = syscall(SYS_pselect6, input[0] + 1, &set, NULL, NULL, fixed, NULL);
	return FD_ISSET(input[0], &set) ? 99 : result;
}

static long call_nanosleep(void)
{
	return nanosleep(&limit, NULL);
}

static long call_semtimedop(void)
{
	struct sembuf down = {.sem_num = 1, .sem_op = -1};

	return semtimedop(semaphore, &down, 1, fixed);
}

static long call_sigtimedwait(void)
{
	sigset_t usr1;

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	return sigtimedwait(&usr1, NULL, fixed);
}

static long io_events(long number, const struct timespec *time)
{
	aio_context_t context = 0;
	struct io_event event;

	if (syscall(SYS_io_setup, 1, &context))
		die("io_setup");
	return syscall(number, context, 1, 1, &event, time, NULL);
}

static long call_io_getevents(void)
{
	return io_events(SYS_io_getevents, fixed);
}

static long call_io_pgetevents(void)
{
	return io_events(SYS_io_pgetevents, fixed);
}

static long call_io_uring(void)
{
	struct io_uring_params params = {0};
	struct io_uring_getevents_arg argument = {.ts = (uint64_t)(uintptr_t)fixed};
	int ring = (int)syscall(SYS_io_uring_setup, 1, &params);

	if (ring < 0) { /* not in this kernel, or not for everybody */
		poll(NULL, 0, (int)ms);
		errno = ETIME;
		return -1;
	}
	return syscall(SYS_io_uring_enter, ring, 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &argument,
		       sizeof(argument));
}

static int limited_socket(int other[1])
{
	struct timeval time = {ms / 1000, ms % 1000 * 1000};
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) ||
	    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)) ||
	    setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time)))
		die("socketpair");
	*other = pair[1];
	return pair[0];
}

static long call_recv(void)
{
	int other;
	char byte;

	return recv(limited_socket(&other), &byte, 1, 0);
}

static long call_read_socket(void)
{
	int other;
	char byte;

	return read(limited_socket(&other), &byte, 1);
}

static long call_send(void)
{
	int other, fd = limited_socket(&other);

	while (send(fd, "", 1, MSG_DONTWAIT) == 1)
		;
	errno = 0;
	return send(fd, "", 1, 0);
}

static int listener(struct sockaddr_un *name, socklen_t *length)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	*name = (struct sockaddr_un){.sun_family = AF_UNIX};
	*length = sizeof(*name);
	if (bind(fd, (struct sockaddr *)name, sizeof(name->sun_family)) || listen(fd, 0) ||
	    getsockname(fd, (struct sockaddr *)name, length))
		die("listen");
	return fd;
}

static long call_accept(void)
{
	struct timeval time = {ms / 1000, ms % 1000 * 1000};
	struct sockaddr_un name;
	socklen_t length;
	int fd = listener(&name, &length);

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)))
		die("setsockopt");
	return accept(fd, NULL, NULL);
}

static long call_connect(void)
{
	struct sockaddr_un name;
	socklen_t length;
	int fd, other;

	listener(&name, &length);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *)&name, length))
		die("connect");
	fd = limited_socket(&other);
	dup2(socket(AF_UNIX, SOCK_STREAM, 0), other);
	setsockopt(other, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){ms / 1000, ms % 1000 * 1000},
		   sizeof(struct timeval));
	return connect(other, (struct sockaddr *)&name, length);
}

static long call_mq_timedreceive(void)
{
	struct timespec end;
	char name[32], byte[16];
	mqd_t mq;

	snprintf(name, sizeof(name), "/interrupted.%d", getpid());
	mq = mq_open(name, O_CREAT | O_RDONLY, 0600, &(struct mq_attr){.mq_maxmsg = 1, .mq_msgsize = 1});
	mq_unlink(name);
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += ms / 1000;
	end.tv_nsec += ms % 1000 * 1000000;
	end.tv_sec += end.tv_nsec / 1000000000;
	end.tv_nsec %= 1000000000;
	return mq_timedreceive(mq, byte, 1, NULL, &end);
}

/* Calls that get what they wait for. */

static long wait_epoll(void)
{
	struct epoll_event event;

	return epoll_wait(epoll, &event, 1, -1);
}

static long wait_poll(void)
{
	return poll(&(struct pollfd){.fd = input[0], .events = POLLIN}, 1, -1);
}

static long wait_read(void)
{
	char byte;

	return read(lock[0], &byte, 1);
}

static long wait_msgrcv(void)
{
	struct {
		long type;
		char byte;
	} message;

	return msgrcv(queue, &message, 1, 0, 0);
}

static long wait_semop(void)
{
	return semop(semaphore, &(struct sembuf){.sem_op = -1}, 1);
}

static long wait_flock(void)
{
	return flock(open("lock", O_RDWR), LOCK_EX);
}

static long wait_record_lock(void)
{
	return fcntl(open("lock", O_RDWR), F_SETLKW, &(struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET});
}

static long wait_child(void)
{
	int status;

	return wait4(child, &status, 0, NULL) == child ? WEXITSTATUS(status) : -1;
}

static long wait_inotify(void)
{
	int fd = inotify_init1(0);
	char event[4096];

	inotify_add_watch(fd, ".", IN_CREATE);
	return read(fd, event, sizeof(event)) > 0;
}

static long wait_fifo(void)
{
	return open("fifo", O_RDONLY) >= 0;
}

/* A file system whose server answers what is interrupted with EINTR; nothing of it may be short or fail. */
static long use_file(void)
{
	char bytes[1000];
	struct stat stat_;

	while (!atomic_load(&ending)) {
		int fd = open(slow_file, O_RDONLY);

		if (fd < 0 || stat(slow_file, &stat_) || read(fd, bytes, sizeof(bytes)) != sizeof(bytes))
			return -1;
		close(fd);
		usleep(1000);
	}
	return 0;
}

/* A loop that the verifier goes through: interrupted, it gives up with EAGAIN. */
static long load_program(void)
{
	static const struct bpf_insn loop[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_7},
		/* NOLINTNEXTLINE(misc-redundant-expression): two of them are 0 */
		{.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_7, .imm = 1},
		{.code = BPF_JMP | BPF_JLT | BPF_K, .dst_reg = BPF_REG_7, .off = -2, .imm = LOOPS},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr load = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER, .insn_cnt = sizeof(loop) / sizeof(*loop)};

	load.insns = (uintptr_t)loop;
	load.license = (uintptr_t) "GPL";
	return syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load)) < 0 ? -1 : 0;
}

static long receive_all(void)
{
	char bytes[2];

	return recv(half[0], bytes, sizeof(bytes), MSG_WAITALL);
}

static long write_all(void)
{
	static char bytes[TWO_PIPES];

	return write(full[1], bytes, sizeof(bytes));
}

static const struct {
	const char *name;
	long (*make)(void);
	long result;
	int error;
	bool timed;
	bool in_parts;
} calls[] = {
	{"epoll_wait", call_epoll_wait, 0, 0, true, false},
#ifdef __x86_64__
	{"epoll_wait by itself", call_epoll_wait_by_itself, 0, 0, true, false},
#endif
	{"epoll_pwait", call_epoll_pwait, 0, 0, true, false},
	{"epoll_pwait2", call_epoll_pwait2, 0, 0, true, false},
	{"poll", call_poll, 0, 0, true, false},
	{"ppoll", call_ppoll, 0, 0, true, false},
	{"ppoll with a fixed time", call_ppoll_fixed, 0, 0, true, false},
	{"pselect with a fixed time", call_pselect_fixed, 0, 0, true, false},
	{"nanosleep", call_nanosleep, 0, 0, true, false},
	{"semtimedop", call_semtimedop, -1, EAGAIN, true, false},
	{"sigtimedwait", call_sigtimedwait, -1, EAGAIN, true, false},
	{"io_getevents", call_io_getevents, 0, 0, true, false},
	{"io_pgetevents", call_io_pgetevents, 0, 0, true, false},
	{"io_uring_enter", call_io_uring, -1, ETIME, true, false},
	{"recv", call_recv, -1, EAGAIN, true, false},
	{"read from a socket", call_read_socket, -1, EAGAIN, true, false},
	{"send", call_send, -1, EAGAIN, true, false},
	{"accept", call_accept, -1, EAGAIN, true, false},
	{"connect", call_connect, -1, EAGAIN, true, false},
	{"mq_timedreceive", call_mq_timedreceive, -1, ETIMEDOUT, true, false},
	{"epoll_wait for ever", wait_epoll, 1, 0, false, false},
	{"poll for ever", wait_poll, 1, 0, false, false},
	{"read", wait_read, 1, 0, false, false},
	{"msgrcv", wait_msgrcv, 1, 0, false, false},
	{"semop", wait_semop, 0, 0, false, false},
	{"flock", wait_flock, 0, 0, false, false},
	{"fcntl", wait_record_lock, 0, 0, false, false},
	{"wait4", wait_child, 7, 0, false, false},
	{"inotify", wait_inotify, 1, 0, false, false},
	{"open", wait_fifo, 1, 0, false, false},
	{"a slow file", use_file, 0, 0, false, false},
	{"bpf", load_program, 0, 0, false, false},
	{"recv of all", receive_all, 2, 0, false, true},
	{"write of all", write_all, TWO_PIPES, 0, false, true},
};

#define CALLS (sizeof(calls) / sizeof(*calls))

static void *make_call(void *number)
{
	size_t i = (size_t)(uintptr_t)number;
	long began = now_ms(), result, took;
	int error;

	errno = 0;
	result = calls[i].make();
	error = errno;
	took = now_ms() - began;
	if (result == calls[i].result && (result >= 0 || error == calls[i].error) && (!calls[i].timed || took >= ms))
		printf("ok %s %ld\n", calls[i].name, took);
	else
		printf("wrong %s %ld %s %ld\n", calls[i].name, result, strerrorname_np(error), took);
	fflush(stdout);
	return NULL;
}

/* A child that holds the locks until a line comes, and then lets everybody go on. */
static void hold_locks(int ready)
{
	struct {
		long type;
		char byte;
	} message = {1, 'x'};
	int fd = open("lock", O_CREAT | O_RDWR, 0600);
	char bytes[4096];
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (flock(fd, LOCK_EX) || fcntl(fd, F_SETLK, &(struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET}))
		die("lock");
	if (write(ready, "", 1) != 1 || read(0, &byte, 1) != 1)
		_exit(1);
	close(open("created", O_CREAT | O_RDWR, 0600));
	msgsnd(queue, &message, 1, 0);
	semop(semaphore, &(struct sembuf){.sem_op = 1}, 1);
	if (write(input[1], "", 1) != 1 || write(lock[1], "", 1) != 1)
		_exit(1);
	close(open("fifo", O_WRONLY));
	if (write(half[1], "", 1) != 1)
		_exit(1);
	for (ssize_t got = 0, rest = whole ? TWO_PIPES : 0; rest > 0 && got >= 0; rest -= got)
		got = read(full[0], bytes, sizeof(bytes));
	_exit(7);
}

static void prepare(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct timespec *time = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sigset_t usr1;
	int ready[2];
	char byte;

	limit = (struct timespec){ms / 1000, ms % 1000 * 1000000};
	*time = limit;
	mprotect(time, PAGE, PROT_READ);
	fixed = time;
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	semaphore = semget(IPC_PRIVATE, 2, 0600);
	queue = msgget(IPC_PRIVATE, 0600);
	epoll = epoll_create1(0);
	if (semaphore < 0 || queue < 0 || pipe(input) || pipe(lock) || pipe(ready) || pipe(full) ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, half) || write(half[1], "", 1) != 1 || mkfifo("fifo", 0600) ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, input[0], &event))
		die("prepare");
	child = fork();
	if (child == 0)
		hold_locks(ready[1]);
	if (child < 0 || read(ready[0], &byte, 1) != 1)
		die("fork");
}

int main(int argc, char **argv)
{
	pthread_t threads[CALLS];
	size_t count = 0, timed = 0;

	ms = argc > 1 ? strtol(argv[1], NULL, 0) : 0;
	slow_file = argc > 2 ? argv[2] : slow_file;
	whole = argc > 3;
	if (ms <= 0)
		return 2;
	prepare();
	for (size_t i = 0; i < CALLS; i++) {
		if (calls[i].in_parts && !whole)
			continue;
		timed += calls[i].timed;
		if (pthread_create(&threads[count++], NULL, make_call, (void *)(uintptr_t)i))
			die("pthread_create");
	}
	printf("ready %zu %zu\n", count, timed);
	fflush(stdout);
	waitid(P_PID, (id_t)child, &(siginfo_t){0}, WEXITED | WNOWAIT);
	atomic_store(&ending, true);
	for (size_t i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	semctl(semaphore, 0, IPC_RMID);
	msgctl(queue, IPC_RMID, NULL);
	puts("end");
	return 0;
}
