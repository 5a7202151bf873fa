/* SPDX-License-Identifier: MIT */
/* The control block of a fiber, at the top of its stack. Private to net/fiber*.c. */
#ifndef NET_FIBER_BLOCK_H
#define NET_FIBER_BLOCK_H

#include "net/fiber.h"
#include "net/fiber_context.h"

enum fiber_state {
    FIBER_CACHED, /* a stack without a fiber */
    FIBER_READY,  /* in the run queue */
    FIBER_RUNNING,
    FIBER_PARKED,
    FIBER_ENDED, /* has left its stack for the last time */
};

struct fiber {
    struct fiber_context context;
    struct fibers *fibers;
    struct fiber *next; /* in the run queue or in the cache */
    enum fiber_state state;
    bool woken, cancelled;
    bool timed_out; /* why it was made ready, unless one of those above */
    bool trimmed;   /* while cached: only the top page is resident */

    /* The timer may be armed earlier than the deadline, or for a deadline that is over: it looks at
     * `deadline` when it fires. So a park that ends in time costs no work on the heap. It stays
     * armed even across lives. */
    nsec_t deadline;
    struct timer timer;

    const char *name;
    void (*run)(void *);
    void *arg;
    char *stack_low;
};

#endif
