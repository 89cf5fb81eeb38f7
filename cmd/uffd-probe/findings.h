/* SPDX-License-Identifier: MIT */
/* What was found on this kernel, for this user. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "facilities.h"
#include "uffd/names.h"
#include "uffd/offer.h"
#include "uffd/route.h"

#define FEATURE_BITS 64

struct findings {
	int route[UFFD_ROUTES]; /* 0 or -errno, as everything here */
	bool asked;             /* a route worked, so that the kernel could be asked what follows */
	enum uffd_route by;     /* that route; UFFD_ROUTES for none */
	uint64_t offered;       /* feature bits */
	int feature[FEATURE_BITS];
	struct uffd_offer memory[UFFD_MEMORIES][UFFD_NAMED_MODES];
	int facility[FACILITIES];
};

/* Tries everything except the exercises. */
void findings_make(struct findings *findings);
