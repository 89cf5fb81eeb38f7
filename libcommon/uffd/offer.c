/* SPDX-License-Identifier: MIT */
/* Trying features one by one, and registering a little memory of each kind. */
#include "uffd/offer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "uffd/uffd.h"

#define TRIED (2 * MiB) /* enough for a huge page of either kind; of hugetlb none is reserved for it */

const char *uffd_memory_name(enum uffd_memory memory)
{
	static const char *const names[] = {"anonymous", "shmem", "memfd", "hugetlb", "private_file", "thp"};

	return names[memory];
}

int uffd_try_feature(enum uffd_route route, unsigned int bit)
{
	_cleanup_close_ int fd = uffd_open(route);

	return fd < 0 ? fd : uffd_handshake(fd, UINT64_C(1) << bit);
}

int uffd_try_api(enum uffd_route route, uint64_t *features)
{
	_cleanup_close_ int fd = uffd_open(route);

	return fd < 0 ? fd : uffd_offered(fd, features);
}

static void *map_memfd(void)
{
	_cleanup_close_ int fd = memfd_create("uvmtools", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, TRIED))
		return MAP_FAILED;
	return mmap(NULL, TRIED, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

/* The program itself: a file on whatever file system it lies. */
static void *map_file(void)
{
	_cleanup_close_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? MAP_FAILED : mmap(NULL, TRIED, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
}

static void *map_thp(void)
{
	void *at = mmap(NULL, TRIED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at != MAP_FAILED && madvise(at, TRIED, MADV_HUGEPAGE)) {
		munmap(at, TRIED);
		return MAP_FAILED;
	}
	return at;
}

static void *map_memory(enum uffd_memory memory)
{
	const int access = PROT_READ | PROT_WRITE, flags = MAP_ANONYMOUS | MAP_NORESERVE;

	switch (memory) {
	case UFFD_MEMORY_SHMEM:
		return mmap(NULL, TRIED, access, flags | MAP_SHARED, -1, 0);
	case UFFD_MEMORY_MEMFD:
		return map_memfd();
	case UFFD_MEMORY_HUGETLB:
		return mmap(NULL, TRIED, access, flags | MAP_PRIVATE | MAP_HUGETLB | (int)MAP_HUGE_2MB, -1, 0);
	case UFFD_MEMORY_PRIVATE_FILE:
		return map_file();
	case UFFD_MEMORY_THP:
		return map_thp();
	default:
		return mmap(NULL, TRIED, access, flags | MAP_PRIVATE, -1, 0);
	}
}

static int try_register(enum uffd_route route, uint64_t features, struct region region, uint64_t mode, uint64_t *ioctls)
{
	_cleanup_close_ int fd = uffd_open(route);
	int code = fd < 0 ? fd : uffd_handshake(fd, features);

	return code ? code : uffd_register(fd, region, mode, ioctls);
}

void uffd_try_memory(enum uffd_route route, uint64_t features, enum uffd_memory memory, unsigned int mode,
		     struct uffd_offer *offer)
{
	/* Features without which the kernel refuses a mode for some kinds of memory. */
	const uint64_t helpers[] = {0, UFFD_FEATURE_WP_ASYNC, UFFD_FEATURE_RWP};
	void *at = map_memory(memory);
	struct region region = region_at((uintptr_t)at, TRIED);

	*offer = (struct uffd_offer){0};
	if (at == MAP_FAILED) {
		offer->code = offer->memory_code = -errno;
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(helpers); i++) {
		int code;

		if ((helpers[i] & features) != helpers[i])
			continue;
		code = try_register(route, helpers[i], region, UINT64_C(1) << mode, &offer->ioctls);
		if (!i || !code)
			offer->code = code;
		if (!code) {
			offer->needs = helpers[i];
			break;
		}
	}
	munmap(at, TRIED);
}

int uffd_enable(int fd, uint64_t features, struct error *error)
{
	bool moves = features & UFFD_FEATURE_MOVE;
	int rc = uffd_handshake(fd, features);

	if (rc == -EPERM)
		return error_set(error, rc,
				 "fork events need CAP_SYS_PTRACE, and without them a child would read zeros",
				 "run as root or with CAP_SYS_PTRACE", "enable the userfaultfd");
	if (rc == -EOPNOTSUPP)
		return error_set(error, rc,
				 moves ? "this kernel's userfaultfd lacks UFFDIO_MOVE"
				       : "this kernel's userfaultfd lacks UFFDIO_POISON",
				 moves ? "Linux 6.8 or newer is needed" : "Linux 6.6 or newer is needed",
				 "enable the userfaultfd");
	return rc < 0 ? error_set(error, rc, NULL, NULL, "enable the userfaultfd") : 0;
}
