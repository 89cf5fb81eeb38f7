/* SPDX-License-Identifier: MIT */
/*
 * What userfaultfd does here, seen with numbers instead of names: probe_sees. Prints a line a fact:
 *   route INDEX ERRNO            0 userfaultfd(2), 1 in user mode only, 2 the device
 *   feature BIT OFFERED ERRNO    of enabling it alone
 *   range MEMORY MODE ERRNO MASK 0 private, 1 shared anonymous, 2 memfd, 3 hugetlb, 4 a file privately, 5 huge pages;
 *                                register mode bit
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LENGTH   0x200000
#define API      0xc018aa3fUL
#define REGISTER 0xc020aa00UL
#define NEW      0xaa00UL

struct api {
	uint64_t api, features, ioctls;
};

struct registration {
	uint64_t start, length, mode, ioctls;
};

static int open_route(int route)
{
	int device, fd;

	if (route < 2)
		return (int)syscall(SYS_userfaultfd, O_CLOEXEC | route);
	device = open("/dev/userfaultfd", O_RDWR);
	if (device < 0)
		return -1;
	fd = ioctl(device, NEW, O_CLOEXEC);
	close(device);
	return fd;
}

static char *map(int memory)
{
	static const int flags[] = {MAP_PRIVATE | MAP_ANONYMOUS,
				    MAP_SHARED | MAP_ANONYMOUS,
				    MAP_SHARED,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB,
				    MAP_PRIVATE,
				    MAP_PRIVATE | MAP_ANONYMOUS};
	int fd = memory == 2 ? memfd_create("seen", 0) : memory == 4 ? open("/proc/self/exe", O_RDONLY) : -1;
	char *at;

	if (memory == 2 && ftruncate(fd, LENGTH))
		return MAP_FAILED;
	at = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, flags[memory] | MAP_NORESERVE, fd, 0);
	if (memory == 5 && at != MAP_FAILED && madvise(at, LENGTH, MADV_HUGEPAGE))
		return MAP_FAILED;
	return at;
}

static int handshake(int fd, uint64_t wanted, uint64_t *offered)
{
	struct api api = {0xaa, wanted, 0};

	if (ioctl(fd, API, &api))
		return errno;
	*offered = api.features;
	return 0;
}

static void see_range(int route, int memory, int mode)
{
	struct registration reg = {0, LENGTH, 1ULL << mode, 0};
	char *at = map(memory);
	uint64_t offered;
	int fd = open_route(route), error;

	reg.start = (uintptr_t)at;
	error = at == MAP_FAILED ? errno : handshake(fd, 0, &offered);
	if (!error)
		error = ioctl(fd, REGISTER, &reg) ? errno : 0;
	printf("range %d %d %d 0x%llx\n", memory, mode, error, error ? 0ULL : (unsigned long long)reg.ioctls);
	close(fd);
	munmap(at, LENGTH);
}

int main(void)
{
	uint64_t offered = 0, unused;
	int best = -1, fd;

	for (int route = 0; route < 3; route++) {
		fd = open_route(route);
		printf("route %d %d\n", route, fd < 0 ? errno : 0);
		if (fd >= 0)
			best = route;
		close(fd);
	}
	if (best < 0)
		return 0;
	fd = open_route(best);
	if (handshake(fd, 0, &offered))
		return 1;
	close(fd);
	for (int bit = 0; bit < 64; bit++) {
		fd = open_route(best);
		printf("feature %d %d %d\n", bit, (int)(offered >> bit & 1), handshake(fd, 1ULL << bit, &unused));
		close(fd);
	}
	for (int memory = 0; memory < 6; memory++)
		for (int mode = 0; mode < 3; mode++)
			see_range(best, memory, mode);
	return 0;
}
