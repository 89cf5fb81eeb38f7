/* SPDX-License-Identifier: MIT */
/*
 * A FUSE file system at FOLDER that has one file, "f", of 1,000 bytes: slowfs FOLDER MS [final]. Each open, read and
 * look at it takes so long, and fails with EINTR when it is interrupted, as a server may. With "final" so do close(2)
 * and ioctl(2), but these end only when they are interrupted. Prints "ready" when it is mounted.
 * Written from the protocol: include/uapi/linux/fuse.h, Documentation/filesystems/fuse.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define REQUESTS 64
#define BUFFER   65536
#define INODE    2

/* Requests that wait for their time: unique number, and when it is over (0: free). */
static struct waiting {
	uint64_t unique;
	uint32_t opcode;
	long due;
} waiting[REQUESTS];

static int device;
static long delay;
static bool final;

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void answer(uint64_t unique, int error, const void *data, size_t bytes)
{
	char buffer[BUFFER];
	struct fuse_out_header header = {.len = (uint32_t)(sizeof(header) + bytes), .error = error, .unique = unique};

	memcpy(buffer, &header, sizeof(header));
	if (bytes)
		memcpy(buffer + sizeof(header), data, bytes);
	/* ENOENT: nobody waits for it any more. */
	if (write(device, buffer, header.len) < 0 && errno != ENOENT)
		perror("slowfs");
}

static struct fuse_attr attributes(uint64_t inode)
{
	return (struct fuse_attr){.ino = inode,
				  .size = inode == INODE ? 1000 : 0,
				  .mode = inode == INODE ? S_IFREG | 0644 : S_IFDIR | 0755,
				  .nlink = 1};
}

static void answer_attributes(uint64_t unique, uint64_t inode)
{
	struct fuse_attr_out out = {.attr = attributes(inode)};

	answer(unique, 0, &out, sizeof(out));
}

static void look_up(const struct fuse_in_header *in, const char *name)
{
	struct fuse_entry_out out = {.nodeid = INODE, .entry_valid = 1000, .attr = attributes(INODE)};

	if (strcmp(name, "f"))
		answer(in->unique, -ENOENT, NULL, 0);
	else
		answer(in->unique, 0, &out, sizeof(out));
}

static void start(const struct fuse_in_header *in, const struct fuse_init_in *init)
{
	struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION,
				    .minor = init->minor < FUSE_KERNEL_MINOR_VERSION ? init->minor
										     : FUSE_KERNEL_MINOR_VERSION,
				    .max_background = REQUESTS,
				    .max_write = 4096};

	answer(in->unique, 0, &out, sizeof(out));
}

static void delay_request(const struct fuse_in_header *in, long ms)
{
	for (size_t i = 0; i < REQUESTS; i++)
		if (!waiting[i].due) {
			waiting[i] = (struct waiting){in->unique, in->opcode, now_ms() + ms};
			return;
		}
	answer(in->unique, -ENOMEM, NULL, 0);
}

static void interrupt_request(uint64_t unique)
{
	for (size_t i = 0; i < REQUESTS; i++)
		if (waiting[i].due && waiting[i].unique == unique) {
			waiting[i].due = 0;
			answer(unique, -EINTR, NULL, 0);
		}
}

static void complete(const struct waiting *request)
{
	static const char bytes[1000];
	struct fuse_open_out out = {.open_flags = FOPEN_DIRECT_IO};

	if (request->opcode == FUSE_GETATTR)
		answer_attributes(request->unique, INODE);
	else if (request->opcode == FUSE_OPEN)
		answer(request->unique, 0, &out, sizeof(out));
	else
		answer(request->unique, 0, bytes, sizeof(bytes));
}

static void serve(const struct fuse_in_header *in, const void *argument)
{
	switch (in->opcode) {
	case FUSE_INIT:
		start(in, argument);
		break;
	case FUSE_LOOKUP:
		look_up(in, argument);
		break;
	case FUSE_GETATTR:
		if (in->nodeid == INODE)
			delay_request(in, delay);
		else
			answer_attributes(in->unique, in->nodeid);
		break;
	case FUSE_OPEN:
	case FUSE_READ:
		delay_request(in, delay);
		break;
	case FUSE_INTERRUPT:
		interrupt_request(((const struct fuse_interrupt_in *)argument)->unique);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
		break;
	case FUSE_FLUSH:
	case FUSE_IOCTL:
		if (final)
			delay_request(in, LONG_MAX / 2);
		else
			answer(in->unique, in->opcode == FUSE_FLUSH ? 0 : -ENOSYS, NULL, 0);
		break;
	case FUSE_RELEASE:
		answer(in->unique, 0, NULL, 0);
		break;
	default:
		answer(in->unique, -ENOSYS, NULL, 0);
		break;
	}
}

int main(int argc, char **argv)
{
	static char buffer[FUSE_MIN_READ_BUFFER + BUFFER];
	char options[100];
	bool told = false;

	if (argc < 3)
		return 2;
	delay = strtol(argv[2], NULL, 0);
	final = argc > 3;
	device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
	if (device < 0 || mount("slowfs", argv[1], "fuse.slowfs", MS_NOSUID | MS_NODEV, options)) {
		perror("slowfs: mount");
		return 1;
	}
	for (;;) {
		struct pollfd fd = {.fd = device, .events = POLLIN};

		if (poll(&fd, 1, 5) > 0 && read(device, buffer, sizeof(buffer)) < 0 && errno == ENODEV)
			return 0;
		if (fd.revents & POLLIN)
			serve((const void *)buffer, buffer + sizeof(struct fuse_in_header));
		for (size_t i = 0; i < REQUESTS; i++)
			if (waiting[i].due && now_ms() >= waiting[i].due) {
				complete(&waiting[i]);
				waiting[i].due = 0;
			}
		if (!told)
			puts("ready");
		fflush(stdout);
		told = true;
	}
}
