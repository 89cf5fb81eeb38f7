/* SPDX-License-Identifier: MIT */
/*
 * A program that uses userfaultfd itself: probe_hold [undumpable|strict]. It has two descriptors: one with the features
 * event_remap and thread_id and 3 pages registered as missing, 2 pages of a memfd as minor, 4 pages as write-protected;
 * and one before its handshake. A thread waits in a fault that nobody answers. Prints "ready FD FD START", START where
 * the pages registered as missing begin. With "undumpable" or "strict" it does without all that and only makes itself
 * so.
 */
#include <fcntl.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static long page;

static int make(void)
{
	int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	int fd = device < 0 ? (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY)
			    : ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC);

	close(device);
	if (fd < 0) {
		perror("userfaultfd");
		exit(1);
	}
	return fd;
}

static char *register_pages(int fd, int count, uint64_t mode)
{
	int file = mode == UFFDIO_REGISTER_MODE_MINOR ? memfd_create("held", 0) : -1;
	char *at;
	struct uffdio_register reg = {.mode = mode};

	if (file >= 0 && ftruncate(file, count * page))
		exit(1);
	at = mmap(NULL, (size_t)(count * page), PROT_READ | PROT_WRITE,
		  file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, file, 0);
	reg.range.start = (uintptr_t)at;
	reg.range.len = (uint64_t)(count * page);
	if (ioctl(fd, UFFDIO_REGISTER, &reg)) {
		perror("UFFDIO_REGISTER");
		exit(1);
	}
	return at;
}

static void *read_byte(void *at)
{
	return (void *)(uintptr_t) * (volatile unsigned char *)at;
}

static int waiting(int fd)
{
	char path[40], line[80];
	int total = 0;
	FILE *info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = fopen(path, "r");
	while (info && fgets(line, sizeof(line), info))
		sscanf(line, "total: %d", &total);
	if (info)
		fclose(info);
	return total;
}

static void hold(void)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_THREAD_ID};
	int fd = make(), other = make();
	pthread_t thread;
	char *at;

	page = sysconf(_SC_PAGESIZE);
	if (ioctl(fd, UFFDIO_API, &api)) {
		perror("UFFDIO_API");
		exit(1);
	}
	at = register_pages(fd, 3, UFFDIO_REGISTER_MODE_MISSING);
	register_pages(fd, 2, UFFDIO_REGISTER_MODE_MINOR);
	register_pages(fd, 4, UFFDIO_REGISTER_MODE_WP);
	pthread_create(&thread, NULL, read_byte, at);
	while (!waiting(fd))
		sched_yield();
	printf("ready %d %d %lx\n", fd, other, (unsigned long)at);
}

int main(int argc, char **argv)
{
	int ends[2];
	char byte;

	if (pipe(ends))
		return 1;
	if (argc < 2)
		hold();
	else if (!strcmp(argv[1], "undumpable"))
		prctl(PR_SET_DUMPABLE, 0);
	if (argc > 1)
		puts("ready");
	fflush(stdout);
	if (argc > 1 && !strcmp(argv[1], "strict"))
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	/* Nobody writes: this waits, by a call that strict mode allows. */
	return read(ends[0], &byte, 1) == 1;
}
