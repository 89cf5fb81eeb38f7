/* SPDX-License-Identifier: MIT */
/* Our memory in a target: the layout of the control area, how it is known, and what stands for it. */
#pragma once

#include "inject/arch/arch.h"
#include "inject/inject.h"

#define FRAMES 8 /* the last one is a puppet's */

/*
 * The control area: frames, scratch, a mark, trampoline, in this order. What lies before the trampoline is one mapping,
 * which becomes one with no other: MADV_DONTFORK.
 */
#define AREA_FRAMES (FRAMES * ARCH_FRAME)
#define AREA_MARK   (AREA_FRAMES + INJECT_SCRATCH)
#define AREA_DATA   (AREA_MARK + 4096)

/* Whether the code at an address of a target (its /proc/PID/mem) is the trampoline of a control area. */
bool inject_is_trampoline(int mem_fd, uint64_t address);

/*
 * Whether the control area is as it was made. The program may have mapped something over it. Returns 0, -EADDRINUSE
 * when it is not ours any more, or -ESTALE when its memory is gone.
 */
int inject_check_area(const struct inject *inject);

/* The same, quickly, of the trampoline alone. */
int inject_check_trampoline(const struct inject *inject);

/* Writes the mark of the control area that begins there. Returns 0 or as inject_write. */
int inject_mark_area(struct inject *inject, uint64_t start);

/*
 * Maps private anonymous memory at a place of far_choose, on the stopped thread, or at another such place when
 * something has come there since it was chosen. Returns the address, or a negative errno as mmap(2)
 * (MAP_FIXED_NOREPLACE).
 */
int64_t inject_map_far(struct inject *inject, uint64_t at, uint64_t bytes, int protection, int flags);

/*
 * Names a mapping: a courtesy, where the kernel can (CONFIG_ANON_VMA_NAME), that keeps it apart from its neighbours. A
 * thread is stopped.
 */
void inject_name(struct inject *inject, struct region region, const char *name);

/* munmap(2) on the stopped thread; nothing for an empty region. Returns 0 or -errno. */
int64_t inject_unmap(struct inject *inject, struct region region);

/*
 * Writes code where the stopped thread may execute but not write; what follows it up to a whole word becomes zeros.
 * Returns 0 or -errno. Source: ptrace(2), PTRACE_POKETEXT; unlike /proc/PID/mem not subject to proc_mem.force_override.
 */
int inject_write_code(struct inject *inject, uint64_t address, const unsigned char *code, size_t bytes);

/* Size of the control area. */
uint64_t inject_area_bytes(void);

/*
 * Before the control area is there, and when it goes: a trampoline and the frame of the stopped thread in unused bytes
 * of the vdso (a private copy of its page; the kernel lets a debugger write there). Returns 0, -EBUSY when other tools
 * have taken all of them, or threads of killed tools still need them, or another -errno when there is no room or no
 * permission: calls then go through an instruction of the program, without a way back.
 */
int inject_bootstrap_take(struct inject *inject);

/* When the stopped thread has its own registers again, and before it is let go: the next one may need the room. */
void inject_bootstrap_leave(struct inject *inject);

/* Frees what killed tools left, as far as the threads are home. No thread may be stopped by the caller. */
void inject_bootstrap_tidy(struct inject *inject);
