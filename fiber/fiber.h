/* SPDX-License-Identifier: MIT */
/* Fibers (green threads) on a loop: straight-line code that parks instead of blocking. They never
 * migrate between threads.
 *
 * Stacks are private mappings, each with a guard below; the control block lives at the top of the
 * stack, so a parked fiber that is not deep holds one resident page. A finished fiber's stack is
 * cached; one to two seconds after its last use its memory, beyond the top page, is given back.
 * A fiber must not change floating point modes. */
#ifndef FIBER_FIBER_H
#define FIBER_FIBER_H

#include "net/loop.h"

struct fiber;
struct fibers; /* the scheduler: one per loop */

/* Belongs to the fiber that runs (fiber/patch.h): NULL at its start, kept while it is parked; NULL
 * on the loop's own stack, and on threads without fibers. */
struct patch;
extern __thread struct patch *fiber_patch __attribute__((tls_model("local-exec")));

struct fiber_config {
    uint32_t stack_bytes; /* usable bytes, rounded up to pages; 0 = 256 KiB; 16 KiB at least */
    uint32_t cache;       /* finished stacks kept for good; 0 = 64 */
};

/* NULL with a reason. Create after fork, on the loop's thread. */
NODISCARD struct fibers *fibers_new(struct loop *loop, const struct fiber_config *config,
                                    struct error *err);

/* All fibers must have ended, and the loop must still be there. */
void fibers_free(struct fibers *fibers);

/* Gives each fiber exceptions of C++ of its own, as a thread has, so that it may wait while it
 * handles one: to be called once libraries are loaded that use them. Cheap when nothing was loaded
 * since. */
void fibers_keep_exceptions(struct fibers *fibers);

/* Starts one: it runs at once, until it first parks or ends, when called from a loop callback; from
 * a fiber, at the next chance. `name` is shown when it overflows its stack; it is not copied. 0, or
 * -ENOMEM or -EAGAIN (no stack: memory or vm.max_map_count), which is also logged. */
NODISCARD int fiber_spawn(struct fibers *fibers, const char *name, void (*run)(void *), void *arg);

/* As fiber_spawn, from a fiber: the new one does a part of its work, and the observer sees it as
 * that fiber. */
NODISCARD int fiber_spawn_part(struct fibers *fibers, const char *name, void (*run)(void *),
                               void *arg);

/* As fiber_spawn, but the observer does not see it. */
NODISCARD int fiber_spawn_aside(struct fibers *fibers, const char *name, void (*run)(void *),
                                void *arg);

/* Calls `switched` on the loop's stack before a fiber runs, with its argument, or that of the fiber
 * whose part it is, and after it has parked or ended, with NULL. A NULL function ends it. */
void fibers_observe(struct fibers *fibers, void (*switched)(void *arg, void *shown), void *arg);

/* The observer is shown this for the fiber. Safe in signal handlers. */
void *fiber_shown(const struct fiber *fiber);

/* The running fiber, NULL on the loop's own stack. */
struct fiber *fiber_self(const struct fibers *fibers);

/* Parks the running fiber. 0 when woken, -ETIMEDOUT at the deadline, -ECANCELED once it is
 * cancelled (and on every later park), -ENOMEM when there is no room for its timer. A wake that
 * came since the last park is not lost: it returns at once. */
NODISCARD int fiber_park(struct fibers *fibers, nsec_t deadline);

/* Parks the running fiber until it is woken, cancelled or not: for what must end before it may. */
void fiber_await(struct fibers *fibers);

/* Parks the running fiber until then, though it may be cancelled already; a cancellation that comes
 * meanwhile ends it early. */
void fiber_nap(struct fibers *fibers, nsec_t until);

/* Makes a parked one run: at once from a loop callback, after the current fiber parks otherwise. */
void fiber_wake(struct fiber *fiber);

/* Wakes a fiber as fiber_wake, but runs it at fibers_run: for a callback that wakes several, or
 * that still needs what they might free. */
void fiber_wake_later(struct fiber *fiber);
void fibers_run(struct fibers *fibers);

/* Cancellation is an error return of the wait it sits in, or of its next one. */
void fiber_cancel(struct fiber *fiber);
bool fiber_cancelled(const struct fiber *fiber);

struct fiber_stats {
    uint32_t live, peak; /* fibers not yet ended */
    uint32_t cached_stacks;
    uint64_t spawned;
    uint64_t stack_peak_bytes; /* deepest stack that ended so far; needs SRV_FIBER_CENSUS=1 */
};

/* Counts of now, for tests: stacks cannot be seen from outside. */
struct fiber_stats fiber_stats(const struct fibers *fibers);

#endif
