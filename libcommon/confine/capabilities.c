/* SPDX-License-Identifier: MIT */
/* Capabilities: those that the work takes stay, of what there was. */
#include <cap-ng.h>
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "confine/capabilities.h"
#include "confine/confine.h"

static const unsigned int needed[] = {
	CAP_SYS_PTRACE,      /* ptrace, pidfd_getfd, files of /proc; UFFD_FEATURE_EVENT_FORK */
	CAP_DAC_READ_SEARCH, /* files of /proc that are another user's */
	CAP_DAC_OVERRIDE,    /* cgroup.procs of a cgroup that is another user's */
	CAP_IPC_LOCK,        /* where the limit of locked memory could not be raised */
	CAP_SYS_NICE,        /* the worker's priority */
	CAP_NET_ADMIN,       /* PROC_CN_MCAST_LISTEN, before Linux 6.6 */
};

bool confine_capability_is_needed(unsigned int capability)
{
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		if (needed[i] == capability)
			return true;
	return capability == CAP_SYS_ADMIN; /* CONFINE_ADMIN */
}

/* What confine_capabilities has left, by the words of capset(2). */
static struct __user_cap_data_struct left[_LINUX_CAPABILITY_U32S_3];
static __thread bool lowered;

static void note_left(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

	if (syscall(SYS_capget, &header, left) < 0)
		memset(left, 0, sizeof(left));
}

bool confine_force(bool in_force)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	bool before = !lowered;

	if (in_force == before || !(left[0].permitted | left[1].permitted))
		return before;
	memcpy(data, left, sizeof(data));
	if (!in_force) {
		data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective &= CAP_TO_MASK(CAP_IPC_LOCK);
		data[1 - CAP_TO_INDEX(CAP_IPC_LOCK)].effective = 0;
	}
	if (syscall(SYS_capset, &header, data) == 0)
		lowered = !in_force;
	return before;
}

int confine_capabilities(unsigned int flags)
{
	bool held[CAP_LAST_CAP + 1] = {false};
	capng_select_t sets = CAPNG_SELECT_CAPS;

	if (capng_get_caps_process() < 0)
		return -ENOSYS;
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		held[needed[i]] = capng_have_capability(CAPNG_PERMITTED, needed[i]);
	held[CAP_SYS_ADMIN] = flags & CONFINE_ADMIN && capng_have_capability(CAPNG_PERMITTED, CAP_SYS_ADMIN);
	if (capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP))
		sets = CAPNG_SELECT_BOTH;
	capng_clear(sets);
	for (unsigned int i = 0; i <= CAP_LAST_CAP; i++)
		if (held[i])
			capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, i);
	if (capng_apply(sets) < 0)
		return -EPERM;
	note_left();
	return 0;
}

int confine_no_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

	return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}
