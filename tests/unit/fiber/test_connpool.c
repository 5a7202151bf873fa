/* SPDX-License-Identifier: MIT */
/* The pool of idle connections, shared by threads and on a loop, over socket pairs. */
#include "fiber/connpool.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE (20 * NSEC_PER_SEC)
#define PAIRS    4

/* One pool in one mode; `ours` go into the pool, `theirs` are the peers' ends. */
struct fixture {
    struct loop *loop;
    struct fibers *fibers;
    struct io_fiber *fiber_io; /* NULL: threads */
    struct connpool *pool;
    struct timer timer; /* ends run_loop */
    int ours[PAIRS], theirs[PAIRS];
};

static const struct connpool_config defaults = { .idle_count_max = PAIRS,
                                                 .idle_span_max = PATIENCE };

static void on_time_out(struct timer *timer) {
    loop_stop(CONTAINER_OF(timer, struct fixture, timer)->loop);
}

static int set_up_threads(void **state) {
    static struct fixture f;

    f = (struct fixture){ .timer.fire = on_time_out };
    for (int i = 0; i < PAIRS; i++) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
            return -1;
        f.ours[i] = pair[0];
        f.theirs[i] = pair[1];
    }
    *state = &f;
    return 0;
}

static int set_up_fibers(void **state) {
    struct fixture *f;

    if (set_up_threads(state) != 0)
        return -1;
    f = *state;
    f->loop = loop_new(NULL);
    f->fibers = fibers_new(f->loop, &(struct fiber_config){ 0 }, NULL);
    f->fiber_io = io_fiber_new(f->loop, f->fibers, NULL);
    return f->fiber_io != NULL ? 0 : -1;
}

/* The pool owns what it was given; what a test took back it gives back or closes. */
static int tear_down(void **state) {
    struct fixture *f = *state;

    connpool_free(f->pool);
    for (int i = 0; i < PAIRS; i++)
        close(f->theirs[i]);
    if (f->fiber_io != NULL) {
        io_fiber_free(f->fiber_io);
        fibers_free(f->fibers);
        loop_free(f->loop);
    }
    return 0;
}

static void open_pool(struct fixture *f, struct connpool_config config) {
    f->pool = connpool_new(&config, f->fiber_io);
    assert_non_null(f->pool);
}

/* Takes the last `count` pairs out of the test. */
static void close_ours(struct fixture *f, int from) {
    for (int i = from; i < PAIRS; i++)
        close(f->ours[i]);
}

/* What the loop does meanwhile; nothing without one. */
static void run_loop(struct fixture *f, nsec_t span) {
    if (f->loop == NULL)
        return;
    assert_int_equal(timer_set(f->loop, &f->timer, deadline_after(clock_now(), span)), 0);
    assert_int_equal(loop_run(f->loop), 0);
}

static bool is_closed(int peer) {
    char byte;

    return recv(peer, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void assert_idle(struct fixture *f, unsigned idle) {
    assert_int_equal(connpool_stats(f->pool).idle, idle);
}

static void last_in_is_first_out(void **state) {
    struct fixture *f = *state;
    uint32_t uses;

    open_pool(f, defaults);
    assert_int_equal(connpool_take(f->pool, clock_now(), &uses), -ENOENT);
    for (unsigned i = 0; i < PAIRS; i++)
        connpool_put(f->pool, f->ours[i], 10 + i, clock_now());
    assert_idle(f, PAIRS);

    for (unsigned i = PAIRS; i-- > 0;) {
        assert_int_equal(connpool_take(f->pool, clock_now(), &uses), f->ours[i]);
        assert_int_equal(uses, 10 + i);
    }
    assert_int_equal(connpool_take(f->pool, clock_now(), &uses), -ENOENT);
    assert_int_equal(connpool_stats(f->pool).reused, PAIRS);
    assert_int_equal(connpool_stats(f->pool).stored, PAIRS);
    for (unsigned i = 0; i < PAIRS; i++)
        connpool_put(f->pool, f->ours[i], 1, clock_now());
}

static void more_than_max_idle_evicts_the_oldest(void **state) {
    struct fixture *f = *state;
    struct connpool_config config = { .idle_count_max = 2, .idle_span_max = PATIENCE };

    open_pool(f, config);
    for (unsigned i = 0; i < PAIRS; i++)
        connpool_put(f->pool, f->ours[i], 1, clock_now());
    assert_idle(f, 2);
    assert_true(is_closed(f->theirs[0]));
    assert_true(is_closed(f->theirs[1]));
    assert_false(is_closed(f->theirs[2]));
    assert_false(is_closed(f->theirs[3]));
}

static void none_is_kept_without_room(void **state) {
    struct fixture *f = *state;
    struct connpool_config config = { .idle_count_max = 0, .idle_span_max = PATIENCE };

    open_pool(f, config);
    connpool_put(f->pool, f->ours[0], 1, clock_now());
    assert_idle(f, 0);
    assert_true(is_closed(f->theirs[0]));
    close_ours(f, 1);
}

static void expired_ones_are_not_reused(void **state) {
    struct fixture *f = *state;
    nsec_t now = clock_now();
    uint32_t uses;

    open_pool(f, defaults);
    for (int i = 0; i < PAIRS; i++)
        connpool_put(f->pool, f->ours[i], 1, now + i);
    assert_int_equal(connpool_take(f->pool, now + PATIENCE + 2, &uses), f->ours[3]);
    assert_true(is_closed(f->theirs[0]));
    assert_true(is_closed(f->theirs[1]));
    assert_false(is_closed(f->theirs[2]));
    assert_int_equal(connpool_take(f->pool, now + PATIENCE + 4, &uses), -ENOENT);
    assert_true(is_closed(f->theirs[2]));
    assert_int_equal(connpool_stats(f->pool).dead, 0);
    connpool_put(f->pool, f->ours[3], 1, now);
}

static void closed_by_the_peer_is_not_reused(void **state) {
    struct fixture *f = *state;
    uint32_t uses;

    open_pool(f, defaults);
    for (int i = 0; i < 3; i++)
        connpool_put(f->pool, f->ours[i], 1, clock_now());
    shutdown(f->theirs[1], SHUT_WR);
    shutdown(f->theirs[2], SHUT_WR);
    run_loop(f, 20 * NSEC_PER_MSEC);
    assert_int_equal(connpool_take(f->pool, clock_now(), &uses), f->ours[0]);
    assert_int_equal(connpool_stats(f->pool).dead, 2);
    assert_int_equal(connpool_stats(f->pool).reused, 1);
    connpool_put(f->pool, f->ours[0], 1, clock_now());
    close_ours(f, 3);
}

static void stray_bytes_end_it(void **state) {
    struct fixture *f = *state;
    uint32_t uses;

    open_pool(f, defaults);
    connpool_put(f->pool, f->ours[0], 1, clock_now());
    assert_int_equal(send(f->theirs[0], "x", 1, 0), 1);
    run_loop(f, 20 * NSEC_PER_MSEC);
    assert_int_equal(connpool_take(f->pool, clock_now(), &uses), -ENOENT);
    assert_int_equal(connpool_stats(f->pool).dead, 1);
    close_ours(f, 1);
}

static void freeing_closes_them(void **state) {
    struct fixture *f = *state;

    open_pool(f, defaults);
    for (int i = 0; i < PAIRS; i++)
        connpool_put(f->pool, f->ours[i], 1, clock_now());
    connpool_free(f->pool);
    f->pool = NULL;
    for (int i = 0; i < PAIRS; i++)
        assert_true(is_closed(f->theirs[i]));
}

/* --- threads -------------------------------------------------------------------------------- */

static void *take_and_put(void *arg) {
    struct fixture *f = arg;
    uint32_t uses;

    for (int i = 0; i < 2000; i++) {
        int fd = connpool_take(f->pool, clock_now(), &uses);
        if (fd >= 0)
            connpool_put(f->pool, fd, uses + 1, clock_now());
    }
    return NULL;
}

static void threads_share_it(void **state) {
    struct fixture *f = *state;
    pthread_t threads[4];

    open_pool(f, defaults);
    for (int i = 0; i < PAIRS; i++)
        connpool_put(f->pool, f->ours[i], 0, clock_now());
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_put, f), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);

    struct connpool_stats stats = connpool_stats(f->pool);
    assert_int_equal(stats.idle, PAIRS);
    assert_int_equal(stats.stored, stats.reused + PAIRS);
}

/* --- fibers --------------------------------------------------------------------------------- */

static void dead_one_leaves_without_a_take(void **state) {
    struct fixture *f = *state;

    open_pool(f, defaults);
    connpool_put(f->pool, f->ours[0], 1, clock_now());
    connpool_put(f->pool, f->ours[1], 1, clock_now());
    shutdown(f->theirs[0], SHUT_WR);
    run_loop(f, 20 * NSEC_PER_MSEC);
    assert_idle(f, 1);
    assert_true(is_closed(f->theirs[0]));
    close_ours(f, 2);
}

static void old_ones_leave_without_a_take(void **state) {
    struct fixture *f = *state;
    struct connpool_config config = { .idle_count_max = PAIRS,
                                      .idle_span_max = 20 * NSEC_PER_MSEC };
    uint32_t uses;

    open_pool(f, config);
    connpool_put(f->pool, f->ours[0], 1, clock_now());
    run_loop(f, 10 * NSEC_PER_MSEC);
    connpool_put(f->pool, f->ours[1], 1, clock_now());
    for (nsec_t end = clock_now() + PATIENCE; clock_now() < end && !is_closed(f->theirs[1]);)
        run_loop(f, 5 * NSEC_PER_MSEC);
    assert_true(is_closed(f->theirs[0]));
    assert_true(is_closed(f->theirs[1]));
    assert_idle(f, 0);
    assert_int_equal(connpool_take(f->pool, clock_now(), &uses), -ENOENT);
    close_ours(f, 2);
}

/* One fiber asks twice over a connection that rests in the pool between the exchanges. */
static void exchange_twice(void *arg) {
    struct fixture *f = arg;
    struct io *io = io_fiber_io(f->fiber_io);
    nsec_t deadline = clock_now() + PATIENCE;
    char byte;
    uint32_t uses;

    for (int i = 0; i < 2; i++) {
        int fd = connpool_take(f->pool, io_now(io), &uses);
        assert_int_equal(fd, f->ours[0]);
        assert_int_equal(io_write_all(io, fd, "?", 1, deadline), 0);
        assert_int_equal(io_read(io, fd, &byte, 1, deadline), 1); /* no more, no EAGAIN seen */
        connpool_put(f->pool, fd, uses + 1, io_now(io));
        assert_int_equal(io_sleep(io, io_now(io) + 10 * NSEC_PER_MSEC), 0);
    }
    loop_stop(f->loop);
}

static void answer_twice(void *arg) {
    struct fixture *f = arg;
    struct io *io = io_fiber_io(f->fiber_io);
    nsec_t deadline = clock_now() + PATIENCE;
    char byte;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(io_read(io, f->theirs[0], &byte, 1, deadline), 1);
        assert_int_equal(io_write_all(io, f->theirs[0], "!", 1, deadline), 0);
    }
    io->ops->forget(io, f->theirs[0]);
}

static void used_ones_come_back(void **state) {
    struct fixture *f = *state;

    open_pool(f, defaults);
    connpool_put(f->pool, f->ours[0], 0, clock_now());
    assert_int_equal(fiber_spawn(f->fibers, "answer", answer_twice, f), 0);
    assert_int_equal(fiber_spawn(f->fibers, "exchange", exchange_twice, f), 0);
    run_loop(f, PATIENCE);
    assert_int_equal(connpool_stats(f->pool).reused, 2);
    assert_int_equal(connpool_stats(f->pool).dead, 0);
    assert_idle(f, 1);
    close_ours(f, 1);
}

/* A taken connection whose watch still stands must not take another one's entry down with it. */
static void event_after_a_take_hits_nobody(void **state) {
    struct fixture *f = *state;
    struct connpool_config config = { .idle_count_max = 1, .idle_span_max = PATIENCE };
    uint32_t uses;

    open_pool(f, config);
    connpool_put(f->pool, f->ours[0], 1, clock_now());
    assert_int_equal(connpool_take(f->pool, clock_now(), &uses), f->ours[0]);
    connpool_put(f->pool, f->ours[1], 1, clock_now());
    assert_int_equal(send(f->theirs[0], "x", 1, 0), 1);
    run_loop(f, 20 * NSEC_PER_MSEC);
    assert_idle(f, 1);
    assert_int_equal(connpool_stats(f->pool).dead, 0);
    assert_false(is_closed(f->theirs[0]));
    io_close(io_fiber_io(f->fiber_io), f->ours[0]);
    close_ours(f, 2);
}

#define BOTH(test)                                                   \
    { #test " (threads)", test, set_up_threads, tear_down, NULL }, { \
#test " (fibers)", test, set_up_fibers, tear_down, NULL      \
    }
#define THREADS(test) cmocka_unit_test_setup_teardown(test, set_up_threads, tear_down)
#define FIBERS(test)  cmocka_unit_test_setup_teardown(test, set_up_fibers, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(last_in_is_first_out),
        BOTH(more_than_max_idle_evicts_the_oldest),
        BOTH(none_is_kept_without_room),
        BOTH(expired_ones_are_not_reused),
        BOTH(closed_by_the_peer_is_not_reused),
        BOTH(stray_bytes_end_it),
        BOTH(freeing_closes_them),
        THREADS(threads_share_it),
        FIBERS(dead_one_leaves_without_a_take),
        FIBERS(old_ones_leave_without_a_take),
        FIBERS(used_ones_come_back),
        FIBERS(event_after_a_take_hits_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
