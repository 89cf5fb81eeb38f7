/* What the files of this room share: the layout of the control area, and what is kept of a stopped thread. */
#pragma once

#include <signal.h>

#include "inject/arch.h"
#include "inject/inject.h"

#define FRAMES 8

/* The control area: frames, scratch, trampoline, in this order. */
#define AREA_FRAMES (FRAMES * ARCH_FRAME)
#define AREA_DATA   (AREA_FRAMES + INJECT_SCRATCH)

/* Names a mapping "uvmtools": a courtesy, where the kernel can (CONFIG_ANON_VMA_NAME). A thread is stopped. */
void inject_name(struct inject *inject, struct region region);

/* What is kept of a stopped thread, and where it stands. */
struct inject_stop {
	struct arch_regs first; /* as it will go on */
	struct arch_regs now;   /* the last registers we gave it */
	uint64_t sigmask;
	sigset_t our_sigmask; /* this thread's own, while SIGCHLD is blocked */
	uint64_t since_us;
	uint64_t frame; /* address in the target */
	struct region rseq;
	bool entered; /* at the entry stop of a call */
	bool moved;   /* its registers are not its own */
	/* The timed wait that was interrupted last, to keep its deadline over many stops. */
	struct {
		pid_t tid;
		struct arch_regs regs;
		uint64_t since_us;
		uint64_t switches;
	} wait;
};
