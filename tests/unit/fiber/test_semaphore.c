/* SPDX-License-Identifier: MIT */
/* A semaphore lets its number in, queues the rest fairly, and forgets whoever gave up. */
#include "base/alloc.h"
#include "fiber/semaphore.h"
#include "tests/unit/fiber/io_rig.h"
#include <stdatomic.h>
#include <string.h>

enum { CROWD = 8, ROUNDS = 200, PLACES = 3 };

/* --- one waiter, told to a thread and to a fiber ---------------------------------------------- */

static void lets_in_as_many_as_it_has_places(struct rig *r) {
    struct semaphore *semaphore = semaphore_new(2, r->io_fiber);
    assert_int_equal(semaphore_acquire(semaphore, r->io, late()), 0);
    assert_int_equal(semaphore_acquire(semaphore, r->io, 0), 0); /* a free place needs no time */
    assert_int_equal(semaphore_stats(semaphore).taken, 2);
    assert_int_equal(semaphore_acquire(semaphore, r->io, clock_now() + SOON), -ETIMEDOUT);
    assert_int_equal(semaphore_stats(semaphore).turned, 1);

    semaphore_release(semaphore);
    assert_int_equal(semaphore_acquire(semaphore, r->io, 0), 0);
    semaphore_release(semaphore);
    semaphore_release(semaphore);
    assert_int_equal(semaphore_stats(semaphore).taken, 0);
    semaphore_free(semaphore);
}

static void a_wait_ends_when_it_is_cancelled(struct rig *r) {
    struct semaphore *semaphore = semaphore_new(1, r->io_fiber);
    assert_int_equal(semaphore_acquire(semaphore, r->io, late()), 0);
    r->cancel_soon(r);
    assert_int_equal(semaphore_acquire(semaphore, r->io, late()), -ECANCELED);
    assert_int_equal(semaphore_stats(semaphore).waiting, 0);
    semaphore_release(semaphore);
    semaphore_free(semaphore);
}

/* What the peer writes makes `mine` readable, which cancels. */
static void cancel_thread_soon(struct rig *r) {
    soon(r, peer_says_more);
}

static void tell_a_thread(void **state) {
    void (*const *story)(struct rig *) = *state;
    struct rig r = { .cancel_soon = cancel_thread_soon };
    open_pair(&r);
    io_block_init(&r.block, r.mine);
    r.io = &r.block.io;
    (*story)(&r);
    close_pair(&r);
}

/* --- many fibers ------------------------------------------------------------------------------ */

struct crowd {
    struct rig rig;
    struct semaphore *semaphore;
    struct fiber *fibers[CROWD];
    char order[CROWD + 1]; /* who came in */
    unsigned came, ended;
};

struct one {
    struct crowd *crowd;
    unsigned index;
};

static void pass_through(void *arg) {
    struct one *one = arg;
    struct crowd *c = one->crowd;
    c->fibers[one->index] = fiber_self(c->rig.fibers);
    if (semaphore_acquire(c->semaphore, c->rig.io, late()) == 0) {
        c->order[c->came++] = (char)('a' + one->index);
        assert_int_equal(io_sleep(c->rig.io, clock_now() + NSEC_PER_MSEC), 0);
        semaphore_release(c->semaphore);
    }
    if (++c->ended == CROWD)
        loop_stop(c->rig.loop);
}

static void fibers_come_in_as_they_came_and_the_cancelled_one_is_skipped(void **state) {
    (void)state;
    static struct crowd c;
    struct one ones[CROWD];
    fiber_rig_open(&c.rig);
    c.semaphore = semaphore_new(1, c.rig.io_fiber);
    for (unsigned i = 0; i < CROWD; i++) {
        ones[i] = (struct one){ &c, i };
        assert_int_equal(fiber_spawn(c.rig.fibers, "one", pass_through, &ones[i]), 0);
    }
    assert_int_equal(semaphore_stats(c.semaphore).waiting, CROWD - 1);
    fiber_cancel(c.fibers[2]);
    assert_int_equal(loop_run(c.rig.loop), 0);
    assert_string_equal(c.order, "abdefgh");
    assert_int_equal(semaphore_stats(c.semaphore).waited, CROWD - 2);
    semaphore_free(c.semaphore);
    fiber_rig_close(&c.rig);
}

/* --- many threads ----------------------------------------------------------------------------- */

struct threads {
    struct semaphore *semaphore;
    atomic_int inside, most, failed;
};

static void *come_and_go(void *arg) {
    struct threads *t = arg;
    struct io_block block;
    io_block_init(&block, -1);
    for (unsigned i = 0; i < ROUNDS; i++) {
        /* Every third one is in a hurry, so that places and deadlines meet. */
        nsec_t deadline = i % 3 == 0 ? clock_now() + 20 * NSEC_PER_USEC : late();
        int rc = semaphore_acquire(t->semaphore, &block.io, deadline);
        if (rc != 0) {
            t->failed += rc != -ETIMEDOUT;
            continue;
        }
        int now = ++t->inside;
        if (now > t->most)
            t->most = now;
        usleep(10);
        t->inside--;
        semaphore_release(t->semaphore);
    }
    return NULL;
}

static void threads_are_never_more_than_the_places(void **state) {
    (void)state;
    static struct threads t;
    pthread_t threads[CROWD];
    t.semaphore = semaphore_new(PLACES, NULL);
    for (unsigned i = 0; i < CROWD; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &t), 0);
    for (unsigned i = 0; i < CROWD; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(t.failed, 0);
    assert_true(t.most <= PLACES);
    struct semaphore_stats stats = semaphore_stats(t.semaphore);
    assert_int_equal(stats.taken, 0);
    assert_int_equal(stats.waiting, 0);
    semaphore_free(t.semaphore);
}

static void without_memory_there_is_no_semaphore(void **state) {
    (void)state;
    mem_fail_after(0);
    struct semaphore *semaphore = semaphore_new(1, NULL);
    mem_fail_after(-1);
    assert_null(semaphore);
    semaphore_free(NULL);
}

static void (*const stories[])(struct rig *) = {
    lets_in_as_many_as_it_has_places,
    a_wait_ends_when_it_is_cancelled,
};

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(tell_a_thread, (void *)(uintptr_t)&stories[0]),
        cmocka_unit_test_prestate(tell_a_thread, (void *)(uintptr_t)&stories[1]),
        cmocka_unit_test_prestate(tell_a_fiber, (void *)(uintptr_t)&stories[0]),
        cmocka_unit_test_prestate(tell_a_fiber, (void *)(uintptr_t)&stories[1]),
        cmocka_unit_test(fibers_come_in_as_they_came_and_the_cancelled_one_is_skipped),
        cmocka_unit_test(threads_are_never_more_than_the_places),
        cmocka_unit_test(without_memory_there_is_no_semaphore),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
