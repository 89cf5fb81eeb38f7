/* SPDX-License-Identifier: MIT */
#include "inject/written.h"

#include <stddef.h>

const char inject_uffd_device[] = "/dev/userfaultfd";
const char inject_cgroup_procs[] = "cgroup.procs";

const char *const inject_written[] = {inject_uffd_device, inject_cgroup_procs, NULL};
