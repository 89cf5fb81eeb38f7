/* SPDX-License-Identifier: MIT */
/* Telling the service manager. */
#pragma once

#include <jansson.h>

/*
 * Tells the service manager that started us that we are ready; nothing happens when there is none (no NOTIFY_SOCKET in
 * the environment).
 */
void notify_ready(void);

/* A session's record as run_record takes it: it is ready, and the service manager hears of it. Context: struct run. */
void notify_record(void *context, json_t *record);
