/* SPDX-License-Identifier: MIT */
/* The mappings of a target: /proc/PID/maps line by line, and PROCMAP_QUERY for a single one. */
#include "proc/maps.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "proc/lines.h"
#include "proc/uapi.h"

/* Where the kernel keeps memory that has a file behind it in name only. 0: not known. */
static struct {
	dev_t shmem, dev_shm, hugetlb[3], hugepages;
} devices;

static dev_t device_of_memfd(unsigned int flags)
{
	_cleanup_close_ int fd = memfd_create("uvmtools", MFD_CLOEXEC | flags);
	struct stat st;

	return fd >= 0 && !fstat(fd, &st) ? st.st_dev : 0;
}

static dev_t device_of_mount(const char *path)
{
	struct stat parent, st;

	if (stat("/dev", &parent) || stat(path, &st) || parent.st_dev == st.st_dev)
		return 0;
	return st.st_dev;
}

static void learn_devices(void)
{
	devices.shmem = device_of_memfd(0);
	devices.dev_shm = device_of_mount("/dev/shm");
	devices.hugetlb[0] = device_of_memfd(MFD_HUGETLB);
	devices.hugetlb[1] = device_of_memfd(MFD_HUGETLB | MFD_HUGE_2MB);
	devices.hugetlb[2] = device_of_memfd(MFD_HUGETLB | MFD_HUGE_1GB);
	devices.hugepages = device_of_mount("/dev/hugepages");
}

static bool starts_with(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

static bool is_hugetlb(const char *name, dev_t device)
{
	if (starts_with(name, "/anon_hugepage"))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(devices.hugetlb); i++)
		if (device && device == devices.hugetlb[i])
			return true;
	return device && device == devices.hugepages;
}

static bool is_shmem(const char *name, dev_t device)
{
	return starts_with(name, "/memfd:") || starts_with(name, "/SYSV") || starts_with(name, "/dev/shm/") ||
	       starts_with(name, "/dev/zero (deleted)") ||
	       (device && (device == devices.shmem || device == devices.dev_shm));
}

static enum mapping_kind kind_of(const struct mapping *mapping)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const char *name = mapping->name;
	dev_t device = mapping->device;

	pthread_once(&once, learn_devices);
	if (starts_with(name, "[anon_shmem:"))
		return MAPPING_SHMEM;
	if (starts_with(name, "[anon:") || !strcmp(name, "[heap]") || starts_with(name, "[stack"))
		return mapping->shared ? MAPPING_SPECIAL : MAPPING_ANON;
	if (!*name && !mapping->inode)
		return mapping->shared ? MAPPING_SPECIAL : MAPPING_ANON;
	if (is_hugetlb(name, device))
		return MAPPING_HUGETLB;
	if (is_shmem(name, device))
		return MAPPING_SHMEM;
	/* "[vdso]", "anon_inode:[io_uring]", "/[aio]", "/dev/dri/…": whatever these hold, it is not a file's bytes. */
	if (*name != '/' || starts_with(name, "/[") || starts_with(name, "/dev/") || !mapping->inode)
		return MAPPING_SPECIAL;
	return MAPPING_FILE;
}

static void set_permissions(struct mapping *mapping, const char *perm)
{
	memcpy(mapping->perm, perm, 4);
	mapping->perm[4] = '\0';
	mapping->read = perm[0] == 'r';
	mapping->write = perm[1] == 'w';
	mapping->execute = perm[2] == 'x';
	mapping->shared = perm[3] == 's';
}

/*
 * "START-END rwxp OFFSET MAJOR:MINOR INODE          NAME"; sscanf would be the slowest part of a walk over many
 * mappings. False when the line is not one that begins a mapping.
 */
static bool parse_mapping(const char *line, struct mapping *mapping)
{
	unsigned long major, minor;
	const char *perm;
	char *at;

	mapping->region.start = strtoull(line, &at, 16);
	if (at == line || *at != '-')
		return false;
	mapping->region.end = strtoull(at + 1, &at, 16);
	if (*at != ' ' || strlen(at) < 6)
		return false;
	perm = at + 1;
	mapping->offset = strtoull(perm + 4, &at, 16);
	major = strtoul(at, &at, 16);
	if (*at != ':')
		return false;
	minor = strtoul(at + 1, &at, 16);
	mapping->inode = strtoull(at, &at, 10);
	set_permissions(mapping, perm);
	at += strspn(at, " ");
	snprintf(mapping->name, sizeof(mapping->name), "%s", at);
	mapping->device = makedev(major, minor);
	mapping->kind = kind_of(mapping);
	return mapping->region.start < mapping->region.end;
}

int maps_open(struct maps_reader *reader, const struct target *target)
{
	return lines_open(reader, target, "maps");
}

void maps_close(struct maps_reader *reader)
{
	cleanup_close(&reader->fd);
	reader->fd = -1;
}

int maps_next(struct maps_reader *reader, struct mapping *mapping)
{
	char *line;
	int result;

	do {
		result = lines_next(reader, &line);
		if (result < 0)
			return result;
		if (!result)
			return address_space_gone(reader->fd) ? -ESRCH : 0;
	} while (!parse_mapping(line, mapping));
	return 1;
}

static int mapping_by_file(int maps_fd, uint64_t address, struct mapping *mapping)
{
	struct maps_reader reader = {.fd = -1};
	char path[40];
	int result;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", maps_fd);
	reader.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (reader.fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	do
		result = maps_next(&reader, mapping);
	while (result > 0 && mapping->region.end <= address);
	maps_close(&reader);
	/* After an exec the new descriptor shows another address space than the one that was asked about. */
	if (address_space_gone(maps_fd))
		return -ESRCH;
	return result > 0 && mapping_is_kernels(mapping) ? 0 : result;
}

/* The file prints a newline in a name as \012, the ioctl does not. */
static void copy_name(struct mapping *mapping, const char *name)
{
	size_t used = 0;

	for (; *name && used + 5 < sizeof(mapping->name); name++) {
		if (*name == '\n')
			used += (size_t)sprintf(mapping->name + used, "\\012");
		else
			mapping->name[used++] = *name;
	}
	mapping->name[used] = '\0';
}

int mapping_at_or_after(int maps_fd, uint64_t address, struct mapping *mapping)
{
	char name[PATH_MAX] = "", perm[5];
	struct procmap_query query = {
		.size = sizeof(query),
		.query_flags = PROCMAP_QUERY_COVERING_OR_NEXT_VMA,
		.query_addr = address,
		.vma_name_addr = (uintptr_t)name,
		.vma_name_size = sizeof(name),
	};

	if (ioctl(maps_fd, PROCMAP_QUERY, &query)) {
		if (errno == ENOENT)
			return 0;
		if (errno == ENOTTY || errno == ENAMETOOLONG)
			return mapping_by_file(maps_fd, address, mapping);
		return -errno;
	}
	perm[0] = query.vma_flags & PROCMAP_QUERY_VMA_READABLE ? 'r' : '-';
	perm[1] = query.vma_flags & PROCMAP_QUERY_VMA_WRITABLE ? 'w' : '-';
	perm[2] = query.vma_flags & PROCMAP_QUERY_VMA_EXECUTABLE ? 'x' : '-';
	perm[3] = query.vma_flags & PROCMAP_QUERY_VMA_SHARED ? 's' : 'p';
	set_permissions(mapping, perm);
	mapping->region = (struct region){query.vma_start, query.vma_end};
	mapping->offset = query.vma_offset;
	mapping->inode = query.inode;
	copy_name(mapping, query.vma_name_size ? name : "");
	mapping->device = makedev(query.dev_major, query.dev_minor);
	mapping->kind = query.vma_page_size > page_size() ? MAPPING_HUGETLB : kind_of(mapping);
	return 1;
}

int mapping_at(int maps_fd, uint64_t address, struct mapping *mapping)
{
	int rc = mapping_at_or_after(maps_fd, address, mapping);

	return rc > 0 ? mapping->region.start <= address : rc;
}

int procmap_query_try(int maps_fd)
{
	struct procmap_query query = {.size = sizeof(query), .query_addr = (uintptr_t)&query};

	return ioctl(maps_fd, PROCMAP_QUERY, &query) ? -errno : 0;
}
