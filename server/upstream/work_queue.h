/* SPDX-License-Identifier: MIT */
/* Calls that block and whose result nobody waits for, made one after the other on a thread of their
 * own, which lives as long as there are some. */
#ifndef SERVER_ERRANDS_H
#define SERVER_ERRANDS_H

#include "base/attr.h"
#include "base/clock.h"
#include <stdbool.h>

struct work_queue;

/* At most `waiting_max` wait. NULL when out of memory. */
NODISCARD struct work_queue *work_queue_new(uint32_t waiting_max);

/* Lets them finish until then; what still waits after that is dropped, and a call that still runs
 * is left to its thread, which cleans up. */
void work_queue_free(struct work_queue *e, nsec_t until);

/* Threads may share it. Calls `run(arg)` later, or `drop(arg)` instead when it will not: exactly
 * one of both, and both release `arg`. */
void work_queue_add(struct work_queue *e, void (*run)(void *arg), void (*drop)(void *arg),
                    void *arg);

#endif
