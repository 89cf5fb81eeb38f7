/* SPDX-License-Identifier: MIT */
/*
 * Interrupted calls. Most of the kernel asks for a restart itself (ERESTARTSYS and its like, which a tracer sees). A
 * plain EINTR comes from aio, bpf(2), epoll, fallocate(2) on tmpfs, FUSE and other file systems whose server says so,
 * io_uring, poll and select that cannot write what is left of their time, System V semaphores, sigtimedwait(2), sockets
 * with a timeout, and many drivers. Such a call has done nothing yet, or has taken it back, so that it can be made
 * again; one that has done a part says how much instead. is_final() has the exceptions. What a USB device does is by
 * reading of the kernel alone: its test has another file in its place.
 *
 * The kernel does not tell how much of a relative timeout is left. When a call is made again for the first time, the
 * time at which it is to end is put in the upper half of the register with its number, of which the kernel reads the
 * lower half only: it stays there while the same call is interrupted and made again, every later tracer sees it, and it
 * is gone when the call returns.
 */
#include "inject/restart.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/usbdevice_fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/pidfd.h"
#include "base/size.h"
#include "proc/maps.h"
#include "proc/stat.h"

#define MARK_MASK        0x7fffffffU
#define RING_ABS_TIMER   (1U << 5) /* IORING_ENTER_*, newer than the headers */
#define RING_EXT_ARG_REG (1U << 6)

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif

#define FOREVER_MS (INT64_C(1) << 29) /* six days; what takes longer starts anew */

enum clock {
	CLOCK_MS,       /* the argument is a number of milliseconds, or negative */
	CLOCK_TIMESPEC, /* the argument points to a timespec, or is NULL */
	CLOCK_TIMEVAL,
	CLOCK_RING,    /* io_uring_enter(2): in a structure that the argument points to */
	CLOCK_RECEIVE, /* the timeout of the socket that is the first argument */
	CLOCK_SEND,
};

/* What a call leaves behind in the memory of its caller when its time is over. */
enum outputs {
	OUTPUTS_NONE,
	OUTPUTS_POLL,
	OUTPUTS_SELECT,
};

struct timed_call {
	long number;
	enum clock clock;
	unsigned int argument;
	int result; /* when the time is over */
	enum outputs outputs;
};

static const struct timed_call timed_calls[] = {
#ifdef SYS_epoll_wait
	{SYS_epoll_wait, CLOCK_MS, 3, 0, OUTPUTS_NONE},
#endif
#ifdef SYS_select
	{SYS_select, CLOCK_TIMEVAL, 4, 0, OUTPUTS_SELECT},
#endif
	{SYS_epoll_pwait, CLOCK_MS, 3, 0, OUTPUTS_NONE},
	{SYS_epoll_pwait2, CLOCK_TIMESPEC, 3, 0, OUTPUTS_NONE},
	{SYS_ppoll, CLOCK_TIMESPEC, 2, 0, OUTPUTS_POLL},
	{SYS_pselect6, CLOCK_TIMESPEC, 4, 0, OUTPUTS_SELECT},
	{SYS_semtimedop, CLOCK_TIMESPEC, 3, -EAGAIN, OUTPUTS_NONE},
	{SYS_rt_sigtimedwait, CLOCK_TIMESPEC, 2, -EAGAIN, OUTPUTS_NONE},
	{SYS_io_getevents, CLOCK_TIMESPEC, 4, 0, OUTPUTS_NONE},
	{SYS_io_pgetevents, CLOCK_TIMESPEC, 4, 0, OUTPUTS_NONE},
	{SYS_io_uring_enter, CLOCK_RING, 4, -ETIME, OUTPUTS_NONE},
	{SYS_accept, CLOCK_RECEIVE, 0, -EAGAIN, OUTPUTS_NONE},
	{SYS_accept4, CLOCK_RECEIVE, 0, -EAGAIN, OUTPUTS_NONE},
	{SYS_read, CLOCK_RECEIVE, 0, -EAGAIN, OUTPUTS_NONE},
	{SYS_readv, CLOCK_RECEIVE, 0, -EAGAIN, OUTPUTS_NONE},
	{SYS_preadv2, CLOCK_RECEIVE, 0, -EAGAIN, OUTPUTS_NONE},
	{SYS_recvfrom, CLOCK_RECEIVE, 0, -EAGAIN, OUTPUTS_NONE},
	{SYS_recvmsg, CLOCK_RECEIVE, 0, -EAGAIN, OUTPUTS_NONE},
	{SYS_recvmmsg, CLOCK_RECEIVE, 0, -EAGAIN, OUTPUTS_NONE},
	{SYS_splice, CLOCK_RECEIVE, 0, -EAGAIN, OUTPUTS_NONE},
	{SYS_connect, CLOCK_SEND, 0, 0, OUTPUTS_NONE}, /* its result: connect_result() */
	{SYS_write, CLOCK_SEND, 0, -EAGAIN, OUTPUTS_NONE},
	{SYS_writev, CLOCK_SEND, 0, -EAGAIN, OUTPUTS_NONE},
	{SYS_pwritev2, CLOCK_SEND, 0, -EAGAIN, OUTPUTS_NONE},
	{SYS_sendto, CLOCK_SEND, 0, -EAGAIN, OUTPUTS_NONE},
	{SYS_sendmsg, CLOCK_SEND, 0, -EAGAIN, OUTPUTS_NONE},
	{SYS_sendmmsg, CLOCK_SEND, 0, -EAGAIN, OUTPUTS_NONE},
	{SYS_sendfile, CLOCK_SEND, 0, -EAGAIN, OUTPUTS_NONE},
};

/* Whether a call that failed must not be made again, because it has done what cannot be done twice. */
static bool is_final(const struct arch_regs *regs)
{
	long number = arch_number(regs);
	unsigned int request = (unsigned int)arch_argument(regs, 1);

	/* Its descriptor is free, and may be another file's by now (fs/open.c). */
	if (number == SYS_close)
		return true;
	/* What it went on with is not known any more (kernel/signal.c, do_no_restart_syscall). */
	if (number == SYS_restart_syscall)
		return true;
	/* What was transferred is lost, and all of it would follow (drivers/usb/core/devio.c). */
	return number == SYS_ioctl && (request == USBDEVFS_CONTROL || request == USBDEVFS_BULK);
}

/* Whether a call has failed because of a signal that had come, or of a stop. */
static bool gave_up(const struct arch_regs *regs)
{
	int64_t result = arch_result(regs);

	/* The verifier says EAGAIN, and nothing else does there (kernel/bpf/verifier.c, do_check). */
	return result == -EINTR ||
	       (result == -EAGAIN && arch_number(regs) == SYS_bpf && arch_argument(regs, 0) == BPF_PROG_LOAD);
}

/* Whether the call came by the instruction that its number belongs to. */
static bool is_native_call(pid_t tid, const struct arch_regs *regs)
{
	struct __ptrace_syscall_info info;

	return arch_in_call(regs) && ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) > 0 &&
	       info.arch == ARCH_AUDIT;
}

static int peek_bytes(pid_t tid, uint64_t address, void *to, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += sizeof(long)) {
		long word;

		errno = 0;
		word = ptrace(PTRACE_PEEKDATA, tid, address + at, NULL);
		if (errno)
			return -EIO;
		memcpy((char *)to + at, &word, min_u64(sizeof(word), bytes - at));
	}
	return 0;
}

/* Two numbers that make a time, the second of which counts `unit` in a second. */
static int64_t time_at(pid_t tid, uint64_t address, int64_t unit)
{
	int64_t time[2] = {0};

	if (!address || peek_bytes(tid, address, time, sizeof(time)) < 0 || time[0] < 0 || time[0] > FOREVER_MS / 1000)
		return -1;
	return time[0] * 1000000 + time[1] / (unit / 1000000);
}

/* include/uapi/linux/io_uring.h: io_uring_getevents_arg, the same on all machines. */
static int64_t ring_timeout(pid_t tid, const struct arch_regs *regs)
{
	uint64_t flags = arch_argument(regs, 3);
	uint64_t address = 0;

	if (!(flags & IORING_ENTER_EXT_ARG) || flags & (RING_ABS_TIMER | RING_EXT_ARG_REG) ||
	    peek_bytes(tid, arch_argument(regs, 4) + offsetof(struct io_uring_getevents_arg, ts), &address,
		       sizeof(address)) < 0)
		return -1;
	return time_at(tid, address, 1000000000);
}

/* Our descriptor for a socket of its process, or -errno. Nothing else: to close a file may take a server's time. */
static int borrow_socket(pid_t tid, int number)
{
	_cleanup_close_ int pidfd = -1;
	char path[64];
	char text[64] = "";
	uint64_t process;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", tid, number);
	if (readlink(path, text, sizeof(text) - 1) < 0 || strncmp(text, "socket:", strlen("socket:")) != 0)
		return -ENOTSOCK;
	if (proc_status_read(tid, "Tgid", 10, &process) < 0)
		return -ESRCH;
	pidfd = pidfd_of((pid_t)process);
	return pidfd < 0 ? pidfd : pidfd_take(pidfd, number);
}

static int64_t socket_timeout(pid_t tid, const struct arch_regs *regs, int option)
{
	_cleanup_close_ int fd = borrow_socket(tid, (int)arch_argument(regs, 0));
	struct timeval time;
	socklen_t size = sizeof(time);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, option, &time, &size) < 0 || time.tv_sec > FOREVER_MS / 1000)
		return -1;
	return time.tv_sec || time.tv_usec ? (int64_t)time.tv_sec * 1000000 + time.tv_usec : -1;
}

/* Microseconds that the call waits at most when it is made now; -1 when there is no such time, or it is not known. */
static int64_t timeout_of(pid_t tid, const struct arch_regs *regs, const struct timed_call *call)
{
	uint64_t argument = arch_argument(regs, call->argument);

	switch (call->clock) {
	case CLOCK_MS:
		return (int)argument > FOREVER_MS ? -1 : (int64_t)(int)argument * 1000;
	case CLOCK_TIMESPEC:
		return time_at(tid, argument, 1000000000);
	case CLOCK_TIMEVAL:
		return time_at(tid, argument, 1000000);
	case CLOCK_RING:
		return ring_timeout(tid, regs);
	case CLOCK_RECEIVE:
		return socket_timeout(tid, regs, SO_RCVTIMEO);
	case CLOCK_SEND:
		return socket_timeout(tid, regs, SO_SNDTIMEO);
	}
	return -1;
}

/* Writes zeros over `bytes` at `address`, under a mask that is applied to each word. Returns 0 or -errno. */
static int clear_words(pid_t tid, uint64_t address, uint64_t bytes, uint64_t mask)
{
	for (uint64_t at = address; address && at < address + bytes; at += sizeof(long)) {
		long word = 0;

		if (peek_bytes(tid, at, &word, sizeof(word)) < 0)
			return -EIO;
		if (ptrace(PTRACE_POKEDATA, tid, at, word & (long)mask) < 0)
			return -errno;
	}
	return 0;
}

/* poll_select_finish and its callers in fs/select.c: nothing is ready. */
static int clear_outputs(pid_t tid, const struct arch_regs *regs, enum outputs outputs)
{
	uint64_t words;
	int rc = 0;

	switch (outputs) {
	case OUTPUTS_NONE:
		return 0;
	case OUTPUTS_POLL: /* revents is the last quarter of each */
		return clear_words(tid, arch_argument(regs, 0), arch_argument(regs, 1) * sizeof(uint64_t),
				   UINT64_MAX >> 16);
	case OUTPUTS_SELECT:
		words = ((uint64_t)(unsigned int)arch_argument(regs, 0) + 63) / 64;
		for (unsigned int i = 1; i <= 3 && rc == 0; i++)
			rc = clear_words(tid, arch_argument(regs, i), words * sizeof(uint64_t), 0);
		return rc;
	}
	return 0;
}

/* Whether an instruction is in a function of the C library, whose callers do not rely on the arguments' registers. */
static bool in_c_library(pid_t tid, uint64_t ip)
{
	_cleanup_close_ int maps = proc_open(tid, "maps", O_RDONLY);
	struct mapping mapping;
	const char *name;

	if (maps < 0 || mapping_at(maps, ip, &mapping) <= 0 || mapping.kind != MAPPING_FILE)
		return false;
	name = strrchr(mapping.name, '/');
	return name && (strncmp(name, "/libc.", 6) == 0 || strncmp(name, "/libc-", 6) == 0 ||
			strncmp(name, "/ld-musl-", 9) == 0);
}

/* What connect(2) says when its time is over, or 0: net/unix/af_unix.c, net/ipv4/af_inet.c. */
static int connect_result(pid_t tid, const struct arch_regs *regs)
{
	_cleanup_close_ int fd = borrow_socket(tid, (int)arch_argument(regs, 0));
	int domain = -1;
	socklen_t size = sizeof(domain);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0)
		return 0;
	return domain == AF_UNIX ? -EAGAIN : domain == AF_INET || domain == AF_INET6 ? -EINPROGRESS : 0;
}

/* The time is over. Where that cannot be told, or memory cannot be written now, the call is made once more. */
static void end_call(pid_t tid, struct arch_regs *regs, const struct timed_call *call)
{
	int result = call->number == SYS_connect ? connect_result(tid, regs) : call->result;

	if ((call->number != SYS_connect || result) && clear_outputs(tid, regs, call->outputs) == 0)
		arch_set_result(regs, result);
}

static void keep_deadline(pid_t tid, struct arch_regs *regs, const struct timed_call *call)
{
	int64_t now = (int64_t)(now_us() / 1000);
	int64_t timeout = arch_mark(regs) ? 0 : timeout_of(tid, regs, call);
	int64_t left;

	if (timeout < 0 || !arch_keeps_mark())
		return;
	if (!arch_mark(regs)) {
		int64_t end = ((int64_t)now_us() + timeout + 999) / 1000;

		arch_set_mark(regs, (uint32_t)end & MARK_MASK ?: 1);
	}
	left = (int32_t)((arch_mark(regs) - (uint32_t)now) << 1) >> 1;
	if (call->clock == CLOCK_MS && in_c_library(tid, arch_ip(regs)))
		arch_set_argument(regs, call->argument, (uint64_t)(left > 0 ? left : 0));
	else if (left <= 0)
		end_call(tid, regs, call);
}

static const struct timed_call *find_timed(long number)
{
	for (size_t i = 0; i < ARRAY_SIZE(timed_calls); i++)
		if (timed_calls[i].number == number)
			return &timed_calls[i];
	return NULL;
}

uint64_t restart_inherits(long number, const uint64_t arguments[6])
{
	if (number != SYS_futex)
		return 0;
	switch (arguments[1] & FUTEX_CMD_MASK) {
	case FUTEX_LOCK_PI:
	case FUTEX_LOCK_PI2:
		return arguments[0];
	case FUTEX_WAIT_REQUEUE_PI:
		return arguments[4];
	default:
		return 0;
	}
}

bool restart_loses(long number, const uint64_t arguments[6])
{
	switch (number) {
	case SYS_write: /* pipe(7): up to that it is all or nothing */
	case SYS_pwrite64:
	case SYS_getrandom:
		return arguments[number == SYS_getrandom ? 1 : 2] > PIPE_BUF;
	case SYS_recvfrom:
		return arguments[3] & MSG_WAITALL;
	case SYS_recvmsg:
		return arguments[2] & MSG_WAITALL;
	case SYS_io_getevents:
	case SYS_io_pgetevents:
		return arguments[1] > 1;
	case SYS_io_uring_enter: /* what was submitted is told without waiting for the rest */
		return arguments[1] > 0 || arguments[2] > 1;
	case SYS_futex: /* with priority inheritance a waiter has a place in a queue, and its owner the waiter's
			   priority */
		return restart_inherits(number, arguments) != 0;
	case SYS_writev:
	case SYS_pwritev:
	case SYS_pwritev2:
	case SYS_sendto:
	case SYS_sendmsg:
	case SYS_sendmmsg:
	case SYS_recvmmsg:
	case SYS_sendfile:
	case SYS_splice:
	case SYS_tee:
	case SYS_vmsplice:
	case SYS_copy_file_range:
	case SYS_close: /* SO_LINGER, and drivers that wait for what was written */
	case SYS_ioctl:
		return true;
	default:
		return false;
	}
}

void restart_interrupted(pid_t tid, struct arch_regs *regs)
{
	const struct timed_call *call;
	bool asked = arch_restarts_anew(regs);

	if ((!asked && !gave_up(regs)) || !is_native_call(tid, regs) || (!asked && is_final(regs)))
		return;
	arch_restart(regs);
	call = find_timed(arch_number(regs));
	/* poll and select, asked for again by the kernel, have been told how much time is left. */
	if (call && !(asked && call->outputs != OUTPUTS_NONE))
		keep_deadline(tid, regs, call);
}
