/* SPDX-License-Identifier: MIT */
/* Says on stderr which fiber overflowed its stack, before the process dies of it. Private to
 * net/fiber*.c. */
#ifndef NET_FIBER_OVERFLOW_H
#define NET_FIBER_OVERFLOW_H

#include "base/attr.h"
#include <stddef.h>

struct fiber;

/* Gives the thread a signal stack and handles SIGSEGV for it; `running` points at the thread's
 * running fiber, and `guard_bytes` lie below each stack. Under a sanitizer, which has its own
 * report, nothing happens. 0 or -errno. */
NODISCARD int fiber_overflow_watch(struct fiber *const *running, size_t guard_bytes);

/* `running` as given above; the handler stays. */
void fiber_overflow_unwatch(struct fiber *const *running);

#endif
