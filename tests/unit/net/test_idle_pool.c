/* SPDX-License-Identifier: MIT */
/* The pool of idle connections, shared by threads and on a loop, over socket pairs. */
#include "fiber/io.h"
#include "net/idle_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE (20 * NSEC_PER_SEC)
#define PAIRS    4

/* One pool in one mode; `ours` go into the pool, `theirs` are the peers' ends. */
struct fixture {
    struct loop *loop;
    struct fibers *fibers;
    struct io_fiber *fiber_io; /* NULL: threads */
    struct idle_pool pool;
    struct timer timer; /* ends run_loop */
    int ours[PAIRS], theirs[PAIRS];
};

static const struct idle_pool_config defaults = { .count_max = PAIRS, .span_max = PATIENCE };

/* --- connections, as a client has them ------------------------------------------------------- */

struct conn {
    struct idle idle;
    struct fixture *f;
    int fd;
    uint32_t uses;
};

static struct conn *conn_of(struct idle *idle) {
    return CONTAINER_OF(idle, struct conn, idle);
}

static void conn_close(struct idle_pool *pool, struct idle *idle) {
    struct fixture *f = CONTAINER_OF(pool, struct fixture, pool);

    if (f->fiber_io != NULL)
        io_close(io_fiber_io(f->fiber_io), conn_of(idle)->fd);
    else
        close(conn_of(idle)->fd);
    free(conn_of(idle));
}

static bool conn_is_quiet(struct idle *idle) {
    return idle_socket_is_quiet(conn_of(idle)->fd);
}

static void on_news(void *arg, int fd UNUSED) {
    struct conn *conn = arg;

    idle_pool_expel(&conn->f->pool, &conn->idle);
}

static void put_until(struct fixture *f, int fd, uint32_t uses, nsec_t now, nsec_t ends_at) {
    struct conn *conn = calloc(1, sizeof(*conn));

    conn->f = f;
    conn->fd = fd;
    conn->uses = uses;
    if (f->fiber_io != NULL)
        assert_int_equal(io_fiber_idle(f->fiber_io, fd, on_news, conn), 0);
    idle_pool_put(&f->pool, &conn->idle, now, ends_at);
}

static void put(struct fixture *f, int fd, uint32_t uses, nsec_t now) {
    put_until(f, fd, uses, now, NSEC_NEVER);
}

/* The descriptor, or -ENOENT. Using it ends its watch, which knows the memory that is freed. */
static int take(struct fixture *f, nsec_t now, uint32_t *ret_uses) {
    struct idle *idle = idle_pool_take(&f->pool, now);
    int fd;

    if (idle == NULL)
        return -ENOENT;
    fd = conn_of(idle)->fd;
    *ret_uses = conn_of(idle)->uses;
    if (f->fiber_io != NULL)
        io_fiber_io(f->fiber_io)->ops->ready(io_fiber_io(f->fiber_io), fd, IO_READ);
    free(conn_of(idle));
    return fd;
}

/* --- the fixture ----------------------------------------------------------------------------- */

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

    idle_pool_end(&f->pool);
    for (int i = 0; i < PAIRS; i++)
        close(f->theirs[i]);
    if (f->fiber_io != NULL) {
        io_fiber_free(f->fiber_io);
        fibers_free(f->fibers);
        loop_free(f->loop);
    }
    return 0;
}

static void open_pool(struct fixture *f, struct idle_pool_config config) {
    config.close = conn_close;
    config.is_quiet = f->loop == NULL ? conn_is_quiet : NULL;
    config.loop = f->loop;
    idle_pool_init(&f->pool, &config);
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
    assert_int_equal(f->pool.count, idle);
}

static void last_in_is_first_out(void **state) {
    struct fixture *f = *state;
    uint32_t uses;

    open_pool(f, defaults);
    assert_int_equal(take(f, clock_now(), &uses), -ENOENT);
    for (unsigned i = 0; i < PAIRS; i++)
        put(f, f->ours[i], 10 + i, clock_now());
    assert_idle(f, PAIRS);

    for (unsigned i = PAIRS; i-- > 0;) {
        assert_int_equal(take(f, clock_now(), &uses), f->ours[i]);
        assert_int_equal(uses, 10 + i);
    }
    assert_int_equal(take(f, clock_now(), &uses), -ENOENT);
    assert_int_equal(f->pool.reused, PAIRS);
    assert_int_equal(f->pool.stored, PAIRS);
    for (unsigned i = 0; i < PAIRS; i++)
        put(f, f->ours[i], 1, clock_now());
}

static void more_than_max_idle_evicts_the_oldest(void **state) {
    struct fixture *f = *state;
    struct idle_pool_config config = { .count_max = 2, .span_max = PATIENCE };

    open_pool(f, config);
    for (unsigned i = 0; i < PAIRS; i++)
        put(f, f->ours[i], 1, clock_now());
    assert_idle(f, 2);
    assert_true(is_closed(f->theirs[0]));
    assert_true(is_closed(f->theirs[1]));
    assert_false(is_closed(f->theirs[2]));
    assert_false(is_closed(f->theirs[3]));
}

static void none_is_kept_without_room(void **state) {
    struct fixture *f = *state;
    struct idle_pool_config config = { .count_max = 0, .span_max = PATIENCE };

    open_pool(f, config);
    put(f, f->ours[0], 1, clock_now());
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
        put(f, f->ours[i], 1, now + i);
    assert_int_equal(take(f, now + PATIENCE + 2, &uses), f->ours[3]);
    assert_true(is_closed(f->theirs[0]));
    assert_true(is_closed(f->theirs[1]));
    assert_false(is_closed(f->theirs[2]));
    assert_int_equal(take(f, now + PATIENCE + 4, &uses), -ENOENT);
    assert_true(is_closed(f->theirs[2]));
    assert_int_equal(f->pool.dead, 0);
    put(f, f->ours[3], 1, now);
}

static void closed_by_the_peer_is_not_reused(void **state) {
    struct fixture *f = *state;
    uint32_t uses;

    open_pool(f, defaults);
    for (int i = 0; i < 3; i++)
        put(f, f->ours[i], 1, clock_now());
    shutdown(f->theirs[1], SHUT_WR);
    shutdown(f->theirs[2], SHUT_WR);
    run_loop(f, 20 * NSEC_PER_MSEC);
    assert_int_equal(take(f, clock_now(), &uses), f->ours[0]);
    assert_int_equal(f->pool.dead, 2);
    assert_int_equal(f->pool.reused, 1);
    put(f, f->ours[0], 1, clock_now());
    close_ours(f, 3);
}

static void stray_bytes_end_it(void **state) {
    struct fixture *f = *state;
    uint32_t uses;

    open_pool(f, defaults);
    put(f, f->ours[0], 1, clock_now());
    assert_int_equal(send(f->theirs[0], "x", 1, 0), 1);
    run_loop(f, 20 * NSEC_PER_MSEC);
    assert_int_equal(take(f, clock_now(), &uses), -ENOENT);
    assert_int_equal(f->pool.dead, 1);
    close_ours(f, 1);
}

static void freeing_closes_them(void **state) {
    struct fixture *f = *state;

    open_pool(f, defaults);
    for (int i = 0; i < PAIRS; i++)
        put(f, f->ours[i], 1, clock_now());
    idle_pool_shut(&f->pool);
    for (int i = 0; i < PAIRS; i++)
        assert_true(is_closed(f->theirs[i]));
}

static void what_ended_before_its_span_leaves_first(void **state) {
    struct fixture *f = *state;
    nsec_t now = clock_now();
    uint32_t uses;

    open_pool(f, defaults);
    put_until(f, f->ours[0], 1, now, now + 100);
    put_until(f, f->ours[1], 1, now + 1, NSEC_NEVER);
    put_until(f, f->ours[2], 1, now + 2, now + 50);
    put_until(f, f->ours[3], 1, now + 3, now + 3); /* has ended already */
    assert_true(is_closed(f->theirs[3]));
    assert_int_equal(take(f, now + 51, &uses), f->ours[1]);
    assert_true(is_closed(f->theirs[2]));
    assert_false(is_closed(f->theirs[0]));
    assert_int_equal(take(f, now + 101, &uses), -ENOENT);
    assert_true(is_closed(f->theirs[0]));
    put(f, f->ours[1], 1, now);
}

static void those_put_until_then_are_dropped(void **state) {
    struct fixture *f = *state;
    nsec_t now = clock_now();

    open_pool(f, defaults);
    for (int i = 0; i < PAIRS; i++)
        put(f, f->ours[i], 1, now + i);
    assert_int_equal(idle_pool_drop(&f->pool, now + 1), 2);
    assert_true(is_closed(f->theirs[0]) && is_closed(f->theirs[1]));
    assert_false(is_closed(f->theirs[2]) || is_closed(f->theirs[3]));
    assert_int_equal(idle_pool_drop(&f->pool, NSEC_NEVER), 2);
    assert_idle(f, 0);
}

static void a_pool_that_is_shut_keeps_nothing(void **state) {
    struct fixture *f = *state;

    open_pool(f, defaults);
    put(f, f->ours[0], 1, clock_now());
    idle_pool_shut(&f->pool);
    assert_true(is_closed(f->theirs[0]));
    put(f, f->ours[1], 1, clock_now());
    assert_true(is_closed(f->theirs[1]));
    assert_idle(f, 0);
    close_ours(f, 2);
}

/* --- threads --------------------------------------------------------------------------------- */

/* The later one ends first: the thread must not sleep until the end of the other. */
static void a_thread_reaps_old_ones(void **state) {
    struct fixture *f = *state;
    struct idle_pool_config config = { .count_max = PAIRS, .span_max = PATIENCE, .reaps = true };
    nsec_t now = clock_now();

    open_pool(f, config);
    put(f, f->ours[0], 1, now);
    put_until(f, f->ours[1], 1, now, now + 20 * NSEC_PER_MSEC);
    while (!is_closed(f->theirs[1]) && clock_now() < now + PATIENCE)
        usleep(1000);
    assert_true(is_closed(f->theirs[1]));
    assert_false(is_closed(f->theirs[0]));
    close_ours(f, 2);
}

static void *take_and_put(void *arg) {
    struct fixture *f = arg;
    uint32_t uses;

    for (int i = 0; i < 2000; i++) {
        int fd = take(f, clock_now(), &uses);
        if (fd >= 0)
            put(f, fd, uses + 1, clock_now());
    }
    return NULL;
}

static void threads_share_it(void **state) {
    struct fixture *f = *state;
    pthread_t threads[4];

    open_pool(f, defaults);
    for (int i = 0; i < PAIRS; i++)
        put(f, f->ours[i], 0, clock_now());
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_put, f), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);

    assert_int_equal(f->pool.count, PAIRS);
    assert_int_equal(f->pool.stored, f->pool.reused + PAIRS);
}

/* --- fibers ---------------------------------------------------------------------------------- */

static void dead_one_leaves_without_a_take(void **state) {
    struct fixture *f = *state;

    open_pool(f, defaults);
    put(f, f->ours[0], 1, clock_now());
    put(f, f->ours[1], 1, clock_now());
    shutdown(f->theirs[0], SHUT_WR);
    run_loop(f, 20 * NSEC_PER_MSEC);
    assert_idle(f, 1);
    assert_true(is_closed(f->theirs[0]));
    close_ours(f, 2);
}

static void old_ones_leave_without_a_take(void **state) {
    struct fixture *f = *state;
    struct idle_pool_config config = { .count_max = PAIRS, .span_max = 20 * NSEC_PER_MSEC };
    uint32_t uses;

    open_pool(f, config);
    put(f, f->ours[0], 1, clock_now());
    run_loop(f, 10 * NSEC_PER_MSEC);
    put(f, f->ours[1], 1, clock_now());
    for (nsec_t end = clock_now() + PATIENCE; clock_now() < end && !is_closed(f->theirs[1]);)
        run_loop(f, 5 * NSEC_PER_MSEC);
    assert_true(is_closed(f->theirs[0]));
    assert_true(is_closed(f->theirs[1]));
    assert_idle(f, 0);
    assert_int_equal(take(f, clock_now(), &uses), -ENOENT);
    close_ours(f, 2);
}

/* Another one that was put later, and ends sooner, sets the timer anew. */
static void the_first_to_end_sets_the_timer(void **state) {
    struct fixture *f = *state;
    nsec_t now = clock_now();

    open_pool(f, defaults);
    put(f, f->ours[0], 1, now);
    put_until(f, f->ours[1], 1, now, now + 20 * NSEC_PER_MSEC);
    for (nsec_t end = now + PATIENCE; clock_now() < end && !is_closed(f->theirs[1]);)
        run_loop(f, 5 * NSEC_PER_MSEC);
    assert_true(is_closed(f->theirs[1]));
    assert_idle(f, 1);
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
        int fd = take(f, io_now(io), &uses);
        assert_int_equal(fd, f->ours[0]);
        assert_int_equal(io_write_all(io, fd, "?", 1, deadline), 0);
        assert_int_equal(io_read(io, fd, &byte, 1, deadline), 1); /* no more, no EAGAIN seen */
        put(f, fd, uses + 1, io_now(io));
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
    put(f, f->ours[0], 0, clock_now());
    assert_int_equal(fiber_spawn(f->fibers, "answer", answer_twice, f), 0);
    assert_int_equal(fiber_spawn(f->fibers, "exchange", exchange_twice, f), 0);
    run_loop(f, PATIENCE);
    assert_int_equal(f->pool.reused, 2);
    assert_int_equal(f->pool.dead, 0);
    assert_idle(f, 1);
    close_ours(f, 1);
}

/* A taken connection whose watch still stands must not take another one's entry down with it. */
static void event_after_a_take_hits_nobody(void **state) {
    struct fixture *f = *state;
    struct idle_pool_config config = { .count_max = 1, .span_max = PATIENCE };
    uint32_t uses;

    open_pool(f, config);
    put(f, f->ours[0], 1, clock_now());
    assert_int_equal(take(f, clock_now(), &uses), f->ours[0]);
    put(f, f->ours[1], 1, clock_now());
    assert_int_equal(send(f->theirs[0], "x", 1, 0), 1);
    run_loop(f, 20 * NSEC_PER_MSEC);
    assert_idle(f, 1);
    assert_int_equal(f->pool.dead, 0);
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
        BOTH(what_ended_before_its_span_leaves_first),
        BOTH(those_put_until_then_are_dropped),
        BOTH(a_pool_that_is_shut_keeps_nothing),
        THREADS(a_thread_reaps_old_ones),
        THREADS(threads_share_it),
        FIBERS(dead_one_leaves_without_a_take),
        FIBERS(old_ones_leave_without_a_take),
        FIBERS(the_first_to_end_sets_the_timer),
        FIBERS(used_ones_come_back),
        FIBERS(event_after_a_take_hits_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
