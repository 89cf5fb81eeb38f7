/* SPDX-License-Identifier: MIT */
/* What all ways into a target have in common. */
#include "access/target_ops.h"
#include "base/cleanup.h"

/* What it shares would live on without the program. */
void access_check(struct access *access)
{
	if (access->puppet.self.pid && !puppet_shares(&access->puppet, access->target))
		puppet_kill(&access->puppet);
}

unsigned int access_reap(struct access *access)
{
	return (unsigned int)(inject_reap(&access->inject) + inject_reap(&access->puppet.inject));
}

uint64_t access_held_us(const struct access *access)
{
	const struct inject *inject = access->puppet.self.pid ? &access->puppet.inject : &access->inject;

	return inject->stop ? inject_held_us(inject) : 0;
}

struct region access_in_use(const struct access *access)
{
	bool by_thread = !access->puppet.self.pid && access->inject.stop;

	return by_thread ? inject_rseq_pages(&access->inject) : (struct region){0, 0};
}

int access_processor(const struct access *access)
{
	return access->puppet.self.pid ? -1 : inject_processor(&access->inject);
}

int access_memory(const struct access *access)
{
	return access->inject.mem_fd >= 0 ? access->inject.mem_fd : access->agent.mem_fd;
}

unsigned int access_fds(const struct access *access, int *fds)
{
	const int all[ACCESS_DESCRIPTORS] = {
		access->inject.mem_fd,        access->inject.maps_fd,        access->puppet.self.pidfd,
		access->puppet.inject.mem_fd, access->puppet.inject.maps_fd, access->agent.socket,
		access->agent.memfd,          access->agent.mem_fd,
	};
	unsigned int count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i] >= 0)
			fds[count++] = all[i];
	return count;
}
