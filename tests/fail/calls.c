/* SPDX-License-Identifier: MIT */
/* The calls that can fail, in front of those of libc. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/magic.h>
#include <linux/ptrace.h>
#include <linux/userfaultfd.h>

#include "fail.h"

/* NOLINTBEGIN(bugprone-macro-parentheses,readability-inconsistent-declaration-parameter-name) */

#define EXPORT __attribute__((visibility("default")))

/* The one of libc, looked up once. */
#define REAL(name)                                                                         \
	({                                                                                 \
		static __typeof__(&(name)) found;                                          \
		if (!found)                                                                \
			found = (__typeof__(&(name)))dlsym(RTLD_NEXT, #name); /* NOLINT */ \
		found;                                                                     \
	})

#define WRAP(type, name, kind, failed, parameters, arguments) \
	EXPORT type name parameters                           \
	{                                                     \
		if (fail_now(CALL_##kind))                    \
			return failed;                        \
		return REAL(name) arguments;                  \
	}

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

EXPORT void *malloc(size_t size)
{
	return fail_now(CALL_memory) ? NULL : __libc_malloc(size);
}

EXPORT void *calloc(size_t count, size_t size)
{
	return fail_now(CALL_memory) ? NULL : __libc_calloc(count, size);
}

EXPORT void *realloc(void *old, size_t size)
{
	return fail_now(CALL_memory) ? NULL : __libc_realloc(old, size);
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
	return fail_now(CALL_memory) ? NULL : __libc_memalign(alignment, size);
}

EXPORT int posix_memalign(void **at, size_t alignment, size_t size)
{
	void *found = fail_now(CALL_memory) ? NULL : __libc_memalign(alignment, size);

	if (!found)
		return ENOMEM;
	*at = found;
	return 0;
}

WRAP(void *, mmap, mmap, MAP_FAILED, (void *at, size_t length, int protection, int flags, int fd, off_t offset),
     (at, length, protection, flags, fd, offset))
WRAP(int, mprotect, mprotect, -1, (void *at, size_t length, int protection), (at, length, protection))
WRAP(int, mlock, mlock, -1, (const void *at, size_t length), (at, length))
WRAP(int, mlockall, mlock, -1, (int flags), (flags))
WRAP(ssize_t, preadv, pread, -1, (int fd, const struct iovec *iov, int count, off_t offset), (fd, iov, count, offset))
WRAP(ssize_t, recvmsg, receive, -1, (int fd, struct msghdr *header, int flags), (fd, header, flags))
WRAP(ssize_t, sendmsg, send, -1, (int fd, const struct msghdr *header, int flags), (fd, header, flags))
WRAP(int, fallocate, allocate, -1, (int fd, int mode, off_t offset, off_t length), (fd, mode, offset, length))
WRAP(int, ftruncate, allocate, -1, (int fd, off_t length), (fd, length))
WRAP(int, posix_fallocate, allocate, errno, (int fd, off_t offset, off_t length), (fd, offset, length))
WRAP(FILE *, fopen, open, NULL, (const char *path, const char *mode), (path, mode))
WRAP(FILE *, fdopen, open, NULL, (int fd, const char *mode), (fd, mode))
WRAP(DIR *, opendir, open, NULL, (const char *path), (path))
WRAP(DIR *, fdopendir, open, NULL, (int fd), (fd))
WRAP(int, stat, stat, -1, (const char *path, struct stat *result), (path, result))
WRAP(int, fstat, stat, -1, (int fd, struct stat *result), (fd, result))
WRAP(int, fstatat, stat, -1, (int fd, const char *path, struct stat *result, int flags), (fd, path, result, flags))
WRAP(ssize_t, readlink, stat, -1, (const char *path, char *buffer, size_t size), (path, buffer, size))
WRAP(ssize_t, readlinkat, stat, -1, (int fd, const char *path, char *buffer, size_t size), (fd, path, buffer, size))
WRAP(int, mkdir, link, -1, (const char *path, mode_t mode), (path, mode))
WRAP(int, mkdirat, link, -1, (int fd, const char *path, mode_t mode), (fd, path, mode))
WRAP(int, unlink, link, -1, (const char *path), (path))
WRAP(int, unlinkat, link, -1, (int fd, const char *path, int flags), (fd, path, flags))
WRAP(int, rename, link, -1, (const char *from, const char *to), (from, to))
WRAP(int, renameat, link, -1, (int fd, const char *from, int other, const char *to), (fd, from, other, to))
WRAP(int, flock, lock, -1, (int fd, int operation), (fd, operation))
WRAP(int, socket, descriptor, -1, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(int, socketpair, descriptor, -1, (int domain, int type, int protocol, int fds[2]), (domain, type, protocol, fds))
WRAP(int, pipe2, descriptor, -1, (int fds[2], int flags), (fds, flags))
WRAP(int, eventfd, descriptor, -1, (unsigned int count, int flags), (count, flags))
WRAP(int, signalfd, descriptor, -1, (int fd, const sigset_t *set, int flags), (fd, set, flags))
WRAP(int, memfd_create, descriptor, -1, (const char *name, unsigned int flags), (name, flags))
WRAP(int, dup, descriptor, -1, (int fd), (fd))
WRAP(int, epoll_create1, descriptor, -1, (int flags), (flags))
WRAP(int, bind, bind, -1, (int fd, const struct sockaddr *address, socklen_t length), (fd, address, length))
WRAP(int, listen, bind, -1, (int fd, int backlog), (fd, backlog))
WRAP(int, accept4, accept, -1, (int fd, struct sockaddr *address, socklen_t *length, int flags),
     (fd, address, length, flags))
WRAP(int, connect, connect, -1, (int fd, const struct sockaddr *address, socklen_t length), (fd, address, length))
WRAP(int, epoll_ctl, epoll_ctl, -1, (int fd, int operation, int other, struct epoll_event *event),
     (fd, operation, other, event))
WRAP(int, epoll_wait, wait, -1, (int fd, struct epoll_event *events, int most, int timeout_ms),
     (fd, events, most, timeout_ms))
WRAP(int, poll, wait, -1, (struct pollfd * fds, nfds_t count, int timeout_ms), (fds, count, timeout_ms))
WRAP(pid_t, waitpid, wait, -1, (pid_t pid, int *status, int flags), (pid, status, flags))
WRAP(pid_t, fork, fork, -1, (void), ())
WRAP(int, pthread_create, thread, EAGAIN,
     (pthread_t * thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument),
     (thread, attributes, start, argument))
WRAP(ssize_t, process_vm_readv, vm_read, -1,
     (pid_t pid, const struct iovec *here, unsigned long count, const struct iovec *there, unsigned long others,
      unsigned long flags),
     (pid, here, count, there, others, flags))

static bool is_proc(int fd)
{
	struct statfs fs;

	return REAL(fstatfs)(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

/* Those that can do a part. */
EXPORT ssize_t pread(int fd, void *to, size_t bytes, off_t offset)
{
	return fail_or_shorten(is_proc(fd) ? CALL_proc : CALL_pread, &bytes) ? -1 : REAL(pread)(fd, to, bytes, offset);
}

EXPORT ssize_t pwrite(int fd, const void *from, size_t bytes, off_t offset)
{
	return fail_or_shorten(is_proc(fd) ? CALL_proc : CALL_pwrite, &bytes) ? -1
									      : REAL(pwrite)(fd, from, bytes, offset);
}

EXPORT ssize_t write(int fd, const void *from, size_t bytes)
{
	return fail_or_shorten(CALL_write, &bytes) ? -1 : REAL(write)(fd, from, bytes);
}

EXPORT ssize_t send(int fd, const void *from, size_t bytes, int flags)
{
	return fail_or_shorten(CALL_send, &bytes) ? -1 : REAL(send)(fd, from, bytes, flags);
}

EXPORT ssize_t read(int fd, void *to, size_t bytes)
{
	return fail_now(CALL_read) ? -1 : REAL(read)(fd, to, bytes);
}

EXPORT ssize_t recv(int fd, void *to, size_t bytes, int flags)
{
	return fail_now(CALL_receive) ? -1 : REAL(recv)(fd, to, bytes, flags);
}

/* Only what the kernel can refuse: waking cannot fail. */
static bool ioctl_fails(unsigned long request)
{
	switch (request) {
	case UFFDIO_COPY:
		return fail_now(CALL_uffd_copy);
	case UFFDIO_ZEROPAGE:
		return fail_now(CALL_uffd_zeropage);
	case _IOWR(UFFDIO, 0x08, uint64_t[4]): /* POISON, newer than these headers */
		return fail_now(CALL_uffd_poison);
	case UFFDIO_REGISTER:
		return fail_now(CALL_uffd_register);
	case UFFDIO_UNREGISTER:
		return fail_now(CALL_uffd_unregister);
	case UFFDIO_WAKE:
		return false;
	default:
		return fail_now(_IOC_TYPE(request) == UFFDIO ? CALL_uffd_api : CALL_ioctl);
	}
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
	va_list list;
	void *argument;

	va_start(list, request);
	argument = va_arg(list, void *);
	va_end(list);
	return ioctl_fails(request) ? -1 : REAL(ioctl)(fd, request, argument);
}

EXPORT int open(const char *path, int flags, ...)
{
	va_list list;
	mode_t mode;

	va_start(list, flags);
	mode = va_arg(list, mode_t);
	va_end(list);
	return fail_now(CALL_open) ? -1 : REAL(open)(path, flags, mode);
}

EXPORT int openat(int fd, const char *path, int flags, ...)
{
	va_list list;
	mode_t mode;

	va_start(list, flags);
	mode = va_arg(list, mode_t);
	va_end(list);
	return fail_now(CALL_open) ? -1 : REAL(openat)(fd, path, flags, mode);
}

/* What the fortified headers make of those without a mode. */
extern int __open_2(const char *path, int flags);
extern int __openat_2(int fd, const char *path, int flags);
WRAP(int, __open_2, open, -1, (const char *path, int flags), (path, flags))
WRAP(int, __openat_2, open, -1, (int fd, const char *path, int flags), (fd, path, flags))

EXPORT int prctl(int option, ...)
{
	unsigned long arguments[4];
	va_list list;

	va_start(list, option);
	for (int i = 0; i < 4; i++)
		arguments[i] = va_arg(list, unsigned long);
	va_end(list);
	if (option == PR_SET_NAME)
		fail_named((const char *)arguments[0]);
	return REAL(prctl)(option, arguments[0], arguments[1], arguments[2], arguments[3]);
}

static bool syscall_fails(long number)
{
	switch (number) {
	case SYS_pidfd_open:
	case SYS_memfd_secret:
		return fail_now(CALL_descriptor);
	case SYS_pidfd_getfd:
		return fail_now(CALL_getfd);
	case SYS_clone:
		return fail_now(CALL_fork);
	default:
		return false;
	}
}

EXPORT long syscall(long number, ...)
{
	unsigned long a[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, unsigned long);
	va_end(list);
	return syscall_fails(number) ? -1 : REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

#ifdef __x86_64__

/* The call of a traced thread that is to fail, until its result is read. */
static __thread struct {
	pid_t tid;
	int error;
} failing;

static bool call_fails(uint64_t number)
{
	switch (number) {
	case SYS_mmap:
	case SYS_munmap:
	case SYS_mprotect:
	case SYS_madvise:
	case SYS_mremap:
		return fail_now(CALL_target_memory);
	case SYS_ioctl:
		return fail_now(CALL_target_ioctl);
	case SYS_socketpair:
	case SYS_recvmsg:
	case SYS_fcntl:
	case SYS_dup:
	case SYS_userfaultfd:
	case SYS_openat:
		return fail_now(CALL_target_descriptor);
	default:
		return false;
	}
}

/* A thread at the entry of a call goes on into it: into none, when that one is to fail. */
static void skip_failing(pid_t tid)
{
	struct ptrace_syscall_info info;
	struct user_regs_struct regs;

	if (REAL(ptrace)(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) <= 0 ||
	    info.op != PTRACE_SYSCALL_INFO_ENTRY || !call_fails(info.entry.nr))
		return;
	failing.error = errno;
	failing.tid = tid;
	REAL(ptrace)(PTRACE_GETREGS, tid, NULL, &regs);
	regs.orig_rax = (unsigned long long)-1;
	REAL(ptrace)(PTRACE_SETREGS, tid, NULL, &regs);
}

EXPORT long ptrace(enum __ptrace_request request, ...)
{
	va_list list;
	pid_t tid;
	void *address;
	void *data;
	long rc;

	va_start(list, request);
	tid = va_arg(list, pid_t);
	address = va_arg(list, void *);
	data = va_arg(list, void *);
	va_end(list);
	if (request == PTRACE_SYSCALL)
		skip_failing(tid);
	rc = REAL(ptrace)(request, tid, address, data);
	if (request == PTRACE_GETREGS && failing.tid == tid && rc == 0) {
		struct user_regs_struct *regs = data;

		regs->rax = (unsigned long long)-failing.error;
		failing.tid = 0;
	}
	return rc;
}

#endif

/* NOLINTEND(bugprone-macro-parentheses,readability-inconsistent-declaration-parameter-name) */
