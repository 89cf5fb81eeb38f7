/* SPDX-License-Identifier: MIT */
/* Where pids have a meaning: a boot of the machine, and a namespace in it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define BOOT_ID 37

/*
 * The kernel's number of this boot (/proc/sys/kernel/random/boot_id of proc_sys_kernel(5)) into id[BOOT_ID]. Returns
 * whether it is known; the text is empty when not.
 */
bool boot_id(char id[BOOT_ID]);

/* The inode number of this process's pid namespace (pid_namespaces(7)), or 0. Opens no descriptor. */
uint64_t pid_namespace(void);
