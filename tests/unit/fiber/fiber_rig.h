/* SPDX-License-Identifier: MIT */
/* A loop with fibers, and two simple lives for them. */
#ifndef TESTS_NET_FIBER_RIG_H
#define TESTS_NET_FIBER_RIG_H

#include "fiber/fiber.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct rig {
    struct loop *loop;
    struct fibers *fibers;
    struct fiber *fiber; /* the last one that said who it is */
    struct timer end;
    nsec_t deadline;
    int rc;
    unsigned steps;
    uintptr_t stack;
};

static inline void on_end(struct timer *timer) {
    loop_stop(CONTAINER_OF(timer, struct rig, end)->loop);
}

static inline void rig_open(struct rig *r, struct fiber_config config) {
    struct error err;
    *r = (struct rig){ .deadline = NSEC_NEVER, .end.fire = on_end };
    r->loop = loop_new(&err);
    assert_non_null(r->loop);
    r->fibers = fibers_new(r->loop, &config, &err);
    assert_non_null(r->fibers);
}

static inline void rig_close(struct rig *r) {
    assert_int_equal(fiber_stats(r->fibers).live, 0);
    fibers_free(r->fibers);
    loop_free(r->loop);
}

static inline void run_for(struct rig *r, nsec_t span) {
    assert_int_equal(timer_set(r->loop, &r->end, clock_now() + span), 0);
    assert_int_equal(loop_run(r->loop), 0);
}

static inline void park_once(void *arg) {
    struct rig *r = arg;
    r->fiber = fiber_self(r->fibers);
    r->rc = fiber_park(r->fibers, r->deadline);
    r->steps++;
}

struct one_of_many {
    struct rig *rig;
    struct fiber *fiber;
};

static inline void park_one_of_many(void *arg) {
    struct one_of_many *one = arg;
    one->fiber = fiber_self(one->rig->fibers);
    int rc = fiber_park(one->rig->fibers, NSEC_NEVER);
    one->rig->steps += rc == -ECANCELED;
}

#endif
