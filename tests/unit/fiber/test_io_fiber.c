/* SPDX-License-Identifier: MIT */
/* What only fibers can do with io: share a descriptor, close it under each other, leave it idle. */
#include "base/alloc.h"
#include "tests/unit/fiber/io_rig.h"

static void read_one(void *arg) {
    struct rig *r = arg;
    char byte;
    assert_int_equal(io_read(r->io, r->mine, &byte, 1, late()), 1);
    loop_stop(r->loop);
}

static void write_bulk(void *arg) {
    struct rig *r = arg;
    char *bulk = calloc(1, BULK_BYTES);
    assert_non_null(bulk);
    assert_int_equal(io_write_all(r->io, r->mine, bulk, BULK_BYTES, late()), 0);
    free(bulk);
    assert_int_equal(write(r->peer, "x", 1), 1); /* ends the other fiber */
}

static void test_one_fiber_reads_while_another_writes(void **state) {
    struct rig r = { 0 };
    (void)state;
    fiber_rig_open(&r);
    soon(&r, peer_reads_bulk);
    assert_int_equal(fiber_spawn(r.fibers, "reader", read_one, &r), 0);
    assert_int_equal(fiber_spawn(r.fibers, "writer", write_bulk, &r), 0);
    assert_int_equal(loop_run(r.loop), 0);
    fiber_rig_close(&r);
}

static void wait_for_closed(void *arg) {
    struct rig *r = arg;
    assert_int_equal(io_wait(r->io, r->mine, IO_READ, late()), -EBADF);
    open_pair(r);
    loop_stop(r->loop);
}

static void close_it(void *arg) {
    struct rig *r = arg;
    io_close(r->io, r->mine);
    close(r->peer);
}

static void test_closing_a_descriptor_ends_the_waits_on_it(void **state) {
    struct rig r = { 0 };
    (void)state;
    fiber_rig_open(&r);
    assert_int_equal(fiber_spawn(r.fibers, "waiter", wait_for_closed, &r), 0);
    assert_int_equal(fiber_spawn(r.fibers, "closer", close_it, &r), 0);
    assert_int_equal(loop_run(r.loop), 0);
    fiber_rig_close(&r);
}

struct idle_probe {
    struct rig *rig;
    unsigned notified;
};

static void on_idle(void *arg, int fd) {
    struct idle_probe *p = arg;
    assert_int_equal(fd, p->rig->mine);
    p->notified++;
}

static void on_end_of_run(struct timer *timer) {
    loop_stop(CONTAINER_OF(timer, struct rig, cancel_timer)->loop);
}

static void run_a_little(struct rig *r) {
    r->cancel_timer.fire = on_end_of_run;
    assert_int_equal(timer_set(r->loop, &r->cancel_timer, clock_now() + 2 * SOON), 0);
    assert_int_equal(loop_run(r->loop), 0);
}

static void test_an_idle_descriptor_tells_once(void **state) {
    static void (*const actions[])(struct rig *) = { peer_says_more, peer_closes,
                                                     peer_says_more_and_closes, peer_resets };
    (void)state;
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        struct rig r = { 0 };
        struct idle_probe p = { .rig = &r };
        fiber_rig_open(&r);
        use_tcp(&r);
        assert_int_equal(io_fiber_idle(r.io_fiber, r.mine, on_idle, &p), 0);
        run_a_little(&r);
        assert_int_equal(p.notified, 0);
        actions[i](&r);
        run_a_little(&r);
        if (r.peer >= 0)
            peer_says_more(&r);
        run_a_little(&r);
        assert_int_equal(p.notified, 1);
        fiber_rig_close(&r);
    }
}

static void leave_unread_then_idle(struct rig *r) {
    struct idle_probe p = { .rig = r };
    char text[4];

    soon(r, peer_says_more);
    assert_int_equal(io_read(r->io, r->mine, text, 3, late()), 3);
    assert_int_equal(io_fiber_idle(r->io_fiber, r->mine, on_idle, &p), 0);
    assert_int_equal(p.notified, 0); /* from the loop, not from here */
    assert_int_equal(io_sleep(r->io, clock_now() + SOON), 0);
    assert_int_equal(p.notified, 1);

    assert_int_equal(io_read(r->io, r->mine, text, 1, late()), 1); /* fills its buffer exactly */
    assert_int_equal(io_fiber_idle(r->io_fiber, r->mine, on_idle, &p), 0);
    assert_int_equal(io_sleep(r->io, clock_now() + SOON), 0);
    assert_int_equal(p.notified, 1);

    assert_int_equal(io_write_all(r->io, r->mine, "x", 1, late()), 0); /* any use ends it */
    peer_says_more(r);
    assert_int_equal(io_sleep(r->io, clock_now() + SOON), 0);
    assert_int_equal(p.notified, 1);
}

static void test_idle_tells_of_what_was_there_before(void **state) {
    void (*story)(struct rig *) = leave_unread_then_idle;
    (void)state;
    void *box = &story;
    tell_a_fiber(&box);
}

struct hungry {
    struct rig *rig;
    int rc;
};

static void wait_once(void *arg) {
    struct hungry *h = arg;
    struct rig *r = h->rig;
    h->rc = io_wait(r->io, r->mine, IO_WRITE, late());
    loop_stop(r->loop);
}

/* 0, or the error of the first step that found no memory. */
static int set_up_and_wait(struct rig *r) {
    struct hungry h = { .rig = r, .rc = -ENOMEM };
    struct error err;

    r->loop = loop_new(&err);
    if (r->loop != NULL)
        r->fibers = fibers_new(r->loop, &(struct fiber_config){ 0 }, &err);
    if (r->fibers != NULL)
        r->io_fiber = io_fiber_new(r->loop, r->fibers, &err);
    if (r->io_fiber != NULL) {
        r->io = io_fiber_io(r->io_fiber);
        assert_int_equal(fiber_spawn(r->fibers, "hungry", wait_once, &h), 0);
        assert_int_equal(loop_run(r->loop), 0);
    }
    io_fiber_free(r->io_fiber);
    fibers_free(r->fibers);
    loop_free(r->loop);
    return h.rc;
}

static void test_any_failed_allocation_is_an_error_and_no_leak(void **state) {
    (void)state;
    for (long n = 0;; n++) {
        struct rig r = { 0 };
        open_pair(&r);
        mem_fail_after(n);
        int rc = set_up_and_wait(&r);
        bool failed = mem_failed();
        mem_fail_after(-1);
        close(r.mine);
        close(r.peer);
        assert_int_equal(rc, failed ? -ENOMEM : 0);
        if (!failed)
            break;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_fiber_reads_while_another_writes),
        cmocka_unit_test(test_closing_a_descriptor_ends_the_waits_on_it),
        cmocka_unit_test(test_an_idle_descriptor_tells_once),
        cmocka_unit_test(test_any_failed_allocation_is_an_error_and_no_leak),
        cmocka_unit_test(test_idle_tells_of_what_was_there_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
