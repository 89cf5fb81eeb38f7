/* SPDX-License-Identifier: MIT */
/* Real mappings. */
#pragma once

#include "graph/graph.h"

/* Addresses without access, so many bytes of them; and back. */
int window_reserve(struct uvm_space *space, uint64_t bytes);
void window_release(struct uvm_space *space);

/*
 * Actions of views. The first three map what the space says now; when that fails, window_try leaves what was there and
 * the others take it out of reach. All but window_remap let those who wait for a fault try again.
 */
int window_try(struct uvm_space *space, struct region region);
int window_show(struct uvm_space *space, struct region region);
int window_remap(struct uvm_space *space, struct region region);

/* Takes it out of reach. */
int window_hide(struct uvm_space *space, struct region region);

/* Lets a page that is shown already be written to. */
int window_permit(struct uvm_space *space, struct region region);

/* Lets those who wait try again, and no more. */
int window_wake(struct uvm_space *space, struct region region);
