/* SPDX-License-Identifier: MIT */
/* The reclaimers' lock: who holds it is the open file description, so it ends with its holder and threads share it. */
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "ring/protocol.h"

#define FIRST_PAUSE_NS 20000
#define LAST_PAUSE_NS  500000

/* Not by nanosleep(3): a thread must not be cancelled with half of a batch reclaimed. */
bool ring_pause(uint64_t *pause_ns, uint64_t deadline_ns)
{
	struct timespec pause = {.tv_nsec = 0};

	if (clock_now_ns() >= deadline_ns)
		return false;
	*pause_ns = *pause_ns ? *pause_ns * 2 : FIRST_PAUSE_NS;
	if (*pause_ns > LAST_PAUSE_NS)
		*pause_ns = LAST_PAUSE_NS;
	pause.tv_nsec = (long)*pause_ns;
	syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &pause, NULL);
	return true;
}

static int lock_first_byte(int fd, short type)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_len = 1};

	return fcntl(fd, F_OFD_SETLK, &lock) ? -errno : 0;
}

int ring_lock(int fd, int timeout_ms)
{
	uint64_t deadline = clock_now_ns() + (uint64_t)timeout_ms * 1000000, pause = 0;

	for (;;) {
		int result = lock_first_byte(fd, F_WRLCK);

		if (result != -EAGAIN && result != -EACCES && result != -EINTR)
			return result;
		if (!ring_pause(&pause, deadline))
			return -ETIMEDOUT;
	}
}

void ring_unlock(int fd)
{
	lock_first_byte(fd, F_UNLCK);
}
