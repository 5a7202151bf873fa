/* SPDX-License-Identifier: MIT */
/* Connections that libcurl leaves behind, answers it would have let pass, and look-ups that hang;
 * by a thread and by fibers. */
#include "net/listener.h"
#include "server/limits.h"
#include "server/upstream/curl.h"
#include "tests/unit/server/open_fds.h"
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAD            "HTTP/1.1 200 OK\r\n"
#define OK              HEAD "Content-Length: 5\r\n\r\nhello"
#define CHUNKED         HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
#define STALE           HEAD "Content-Length: 5\r\n\r\nstale"
#define PATIENCE        (20 * NSEC_PER_SEC)
#define CONNECTIONS_MAX 8

struct fixture {
    char url[64];
    struct upstream_target target;
    struct upstream_config upstream;
    struct upstream_curl *client;
    struct arena arena;
    struct io_block block;
    struct loop *loop; /* NULL: a thread */
    struct fibers *fibers;
    struct io_fiber *fiber_io;
    struct timer timer; /* ends rest */
    unsigned calls;     /* that fibers have not ended */

    pthread_t thread;
    int listen_fd;
    const char *_Atomic answer;
    pthread_mutex_t lock; /* of what the thread does with its ends of the connections */
    struct pollfd fds[1 + CONNECTIONS_MAX];
    bool asked[1 + CONNECTIONS_MAX];
    unsigned waiting; /* requests, until `together` of them are there */
    atomic_uint together, connections, open;
};

/* --- the upstream: one thread, several connections -------------------------------------------- */

static void answer_all(struct fixture *f) {
    const char *answer = f->answer;

    for (unsigned i = 1; i <= CONNECTIONS_MAX; i++) {
        if (f->asked[i])
            (void)!send(f->fds[i].fd, answer, strlen(answer), MSG_NOSIGNAL);
        f->asked[i] = false;
    }
    f->waiting = 0;
}

static void serve(struct fixture *f, unsigned i) {
    char text[1024];

    if (recv(f->fds[i].fd, text, sizeof(text), 0) > 0) {
        f->asked[i] = true;
        if (++f->waiting >= f->together)
            answer_all(f);
        return;
    }
    close(f->fds[i].fd);
    f->fds[i].fd = -1;
    f->open--;
}

/* False at the end. */
static bool take_news(struct fixture *f, unsigned count) {
    for (unsigned i = 1; i <= count; i++)
        if (f->fds[i].fd >= 0 && f->fds[i].revents != 0)
            serve(f, i);
    if (f->fds[0].revents == 0)
        return true;
    int fd = accept(f->listen_fd, NULL, NULL);
    if (fd < 0 || count == CONNECTIONS_MAX)
        return false;
    f->fds[1 + count] = (struct pollfd){ .fd = fd, .events = POLLIN };
    f->open++;
    f->connections++;
    return true;
}

static void *run(void *arg) {
    struct fixture *f = arg;
    bool more = true;

    while (more && poll(f->fds, 1 + f->connections, -1) > 0) {
        pthread_mutex_lock(&f->lock);
        more = take_news(f, f->connections);
        pthread_mutex_unlock(&f->lock);
    }
    return NULL;
}

/* On the n-th connection, which is idle. */
static void say(struct fixture *f, unsigned n, const char *text, bool leaves) {
    pthread_mutex_lock(&f->lock);
    assert_int_equal(send(f->fds[n].fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    if (leaves)
        shutdown(f->fds[n].fd, SHUT_WR);
    pthread_mutex_unlock(&f->lock);
}

/* --- look-ups --------------------------------------------------------------------------------- */

static sem_t release;
static atomic_uint asked, found;

/* Takes the place of the C library's, for libcurl too: "slow.test" has an address once it may. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    struct timespec until;

    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (name == NULL || strcmp(name, "slow.test") != 0)
        return real(name, service, hints, ret);
    asked++;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE / NSEC_PER_SEC;
    while (sem_timedwait(&release, &until) < 0 && errno == EINTR)
        ;
    found++;
    return real("127.0.0.1", service, hints, ret);
}

/* --- the fixture ------------------------------------------------------------------------------ */

static void open_client(struct fixture *f, const char *host, unsigned idle_count_max,
                        nsec_t idle_span_max) {
    struct address bound, any = { .v4 = { .sin_family = AF_INET }, .len = sizeof(any.v4) };
    struct upstream_curl_config config = { .idle_count_max = idle_count_max,
                                           .idle_span_max = idle_span_max };

    any.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    f->listen_fd = listener_open(&any, 64, &bound, NULL);
    assert_true(f->listen_fd >= 0);
    f->fds[0] = (struct pollfd){ .fd = f->listen_fd, .events = POLLIN };
    snprintf(f->url, sizeof(f->url), "http://%s:%u/", host, address_port(&bound));
    f->upstream = (struct upstream_config){ .url = f->url, .timeout = PATIENCE };
    assert_int_equal(upstream_target_init(&f->target, &f->upstream, NULL), 0);
    config.target = &f->target;
    config.url = slice_str(f->url);
    config.fiber_io = f->fiber_io;
    f->client = upstream_curl_new(&config);
    assert_non_null(f->client);
    f->answer = OK;
    assert_int_equal(pthread_create(&f->thread, NULL, run, f), 0);
}

static void start(struct fixture *f) {
    open_client(f, "127.0.0.1", CONNECTIONS_MAX, PATIENCE);
}

static void on_timer(struct timer *timer) {
    loop_stop(CONTAINER_OF(timer, struct fixture, timer)->loop);
}

static int set_up_thread(void **state) {
    struct fixture *f = calloc(1, sizeof(*f));

    pthread_mutex_init(&f->lock, NULL);
    arena_init(&f->arena, 1u << 20);
    io_block_init(&f->block, -1);
    *state = f;
    return 0;
}

static int set_up_fibers(void **state) {
    struct fixture *f;

    set_up_thread(state);
    f = *state;
    f->timer.fire = on_timer;
    f->loop = loop_new(NULL);
    f->fibers = fibers_new(f->loop, &(struct fiber_config){ 0 }, NULL);
    f->fiber_io = io_fiber_new(f->loop, f->fibers, NULL);
    return f->fiber_io != NULL ? 0 : -1;
}

static int tear_down(void **state) {
    struct fixture *f = *state;

    upstream_curl_free(f->client);
    shutdown(f->listen_fd, SHUT_RDWR);
    pthread_join(f->thread, NULL);
    for (int i = 0; i <= CONNECTIONS_MAX; i++)
        if (f->fds[i].fd > 0)
            close(f->fds[i].fd);
    if (f->fiber_io != NULL) {
        io_fiber_free(f->fiber_io);
        fibers_free(f->fibers);
        loop_free(f->loop);
    }
    arena_free(&f->arena);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return 0;
}

/* --- calls ------------------------------------------------------------------------------------ */

struct call {
    struct fixture *f;
    nsec_t deadline;
    int rc;
    struct upstream_answer answer;
    const char *why;
};

static void run_call(struct call *c, struct io *io) {
    struct upstream_request request = { .suffix = SLICE("?a=b") };

    c->rc = upstream_curl_ask(c->f->client, io, &c->f->arena, &request, c->deadline, &c->answer,
                              &c->why);
}

static void call_in_fiber(void *arg) {
    struct call *c = arg;

    run_call(c, io_fiber_io(c->f->fiber_io));
    if (--c->f->calls == 0)
        loop_stop(c->f->loop);
}

/* All at once if fibers do it, else one after the other. */
static void make_calls(struct fixture *f, struct call *calls, unsigned count) {
    f->calls = count;
    f->together = f->loop != NULL ? count : 1;
    for (unsigned i = 0; i < count; i++) {
        calls[i].f = f;
        if (f->loop == NULL)
            run_call(&calls[i], &f->block.io);
        else
            assert_int_equal(fiber_spawn(f->fibers, "call", call_in_fiber, &calls[i]), 0);
    }
    if (f->loop != NULL)
        assert_int_equal(loop_run(f->loop), 0);
}

static struct call get(struct fixture *f) {
    struct call c = { .deadline = NSEC_NEVER };

    make_calls(f, &c, 1);
    return c;
}

static void assert_hello(struct fixture *f) {
    struct call c = get(f);

    assert_int_equal(c.rc, 0);
    assert_int_equal(c.answer.status, 200);
    assert_true(slice_eq(c.answer.body, SLICE("hello")));
}

/* No call is in progress meanwhile. */
static void rest(struct fixture *f, nsec_t span) {
    if (f->loop == NULL) {
        usleep((useconds_t)(span / NSEC_PER_USEC));
        return;
    }
    assert_int_equal(timer_set(f->loop, &f->timer, clock_now() + span), 0);
    assert_int_equal(loop_run(f->loop), 0);
}

static void rest_until_open(struct fixture *f, unsigned count) {
    nsec_t deadline = clock_now() + PATIENCE;

    while (f->open != count && clock_now() < deadline)
        rest(f, NSEC_PER_MSEC);
    assert_int_equal(f->open, count);
}

/* --- stories ---------------------------------------------------------------------------------- */

static void a_framed_answer_leaves_the_connection_for_the_next(void **state) {
    struct fixture *f = *state;

    start(f);
    for (int i = 0; i < 3; i++)
        assert_hello(f);
    f->answer = CHUNKED;
    assert_hello(f);
    assert_hello(f);
    assert_int_equal(f->connections, 1);
}

static void bytes_after_chunks_use_their_connection_up(void **state) {
    struct fixture *f = *state;

    start(f);
    f->answer = CHUNKED STALE;
    assert_hello(f);
    f->answer = OK;
    assert_hello(f);
    assert_int_equal(f->connections, 2);
}

static void what_two_may_understand_in_two_ways_is_refused(void **state) {
    static const char *const answers[] = {
        HEAD "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        HEAD "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        HEAD "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        "HTTP/2 200\r\nContent-Length: 5\r\n\r\nhello",
    };
    struct fixture *f = *state;

    start(f);
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        f->answer = answers[i];
        struct call c = get(f);
        assert_int_equal(c.rc, -EPROTO);
        assert_memory_equal(c.why, "upstream answered badly: ", 25);
    }
    f->answer = OK;
    assert_hello(f);
    rest_until_open(f, 1);
}

static void what_nobody_asked_for_is_no_answer(void **state) {
    struct fixture *f = *state;

    start(f);
    assert_hello(f);
    say(f, 1, STALE, false);
    assert_hello(f);
    assert_int_equal(f->connections, 2);
    rest_until_open(f, 1);
}

static void a_parting_word_is_no_answer(void **state) {
    struct fixture *f = *state;

    start(f);
    assert_hello(f);
    say(f, 1, STALE, true);
    rest(f, 10 * NSEC_PER_MSEC);
    assert_hello(f);
    assert_int_equal(f->connections, 2);
}

/* A loop is told; threads find out at the next call. */
static void connections_that_were_closed_leave_no_descriptor(void **state) {
    struct fixture *f = *state;
    struct call calls[3] = { { .deadline = NSEC_NEVER },
                             { .deadline = NSEC_NEVER },
                             { .deadline = NSEC_NEVER } };

    start(f);
    int before = open_fds();
    make_calls(f, calls, ARRAY_LEN(calls));
    for (unsigned n = f->connections; n > 0; n--)
        say(f, n, "", true);
    if (f->loop == NULL) {
        f->answer = HEAD "Connection: close\r\nContent-Length: 5\r\n\r\nhello";
        assert_hello(f);
    }
    rest_until_open(f, 0);
    assert_int_equal(open_fds(), before);
}

static void an_old_connection_is_closed(void **state) {
    struct fixture *f = *state;

    open_client(f, "127.0.0.1", CONNECTIONS_MAX, 20 * NSEC_PER_MSEC);
    assert_hello(f);
    if (f->loop == NULL) {
        rest(f, 40 * NSEC_PER_MSEC);
        assert_hello(f);
        assert_int_equal(f->connections, 2);
        rest_until_open(f, 1);
    } else {
        rest_until_open(f, 0);
    }
}

static void so_many_connections_are_kept(void **state) {
    struct fixture *f = *state;
    struct call calls[3] = { { .deadline = NSEC_NEVER },
                             { .deadline = NSEC_NEVER },
                             { .deadline = NSEC_NEVER } };

    open_client(f, "127.0.0.1", 2, PATIENCE);
    make_calls(f, calls, ARRAY_LEN(calls));
    rest_until_open(f, f->loop != NULL ? 2 : 1);
    assert_hello(f);
    assert_int_equal(f->connections, f->loop != NULL ? 3 : 1);
}

static void start_slow(struct fixture *f) {
    open_client(f, "slow.test", CONNECTIONS_MAX, PATIENCE);
    sem_init(&release, 0, 0);
    asked = found = 0;
}

static void a_look_up_that_hangs_ends_with_the_deadline(void **state) {
    struct fixture *f = *state;

    start_slow(f);
    struct call c = { .deadline = clock_now() + 50 * NSEC_PER_MSEC };
    make_calls(f, &c, 1);
    assert_int_equal(c.rc, -ETIMEDOUT);
    assert_string_equal(c.why, "upstream name look-up did not end in time");
    assert_int_equal(found, 0);

    sem_post(&release); /* of the thread that was left behind, and of the next one */
    sem_post(&release);
    assert_hello(f);
    while (found < 2)
        rest(f, NSEC_PER_MSEC);
}

static void look_ups_that_hang_do_not_pile_up(void **state) {
    struct fixture *f = *state;

    start_slow(f);
    for (unsigned i = 0; i < SERVER_CURL_LOOK_UPS_MAX + 10; i++) {
        struct call c = { .deadline = clock_now() + NSEC_PER_MSEC };
        make_calls(f, &c, 1);
        assert_int_equal(c.rc, -ETIMEDOUT);
    }
    struct call c = { .deadline = NSEC_NEVER };
    make_calls(f, &c, 1); /* not even begun */
    assert_int_equal(c.rc, -ETIMEDOUT);
    assert_string_equal(c.why, "upstream name look-ups do not end");

    for (unsigned i = 0; i < SERVER_CURL_LOOK_UPS_MAX; i++)
        sem_post(&release);
    while (found < SERVER_CURL_LOOK_UPS_MAX)
        rest(f, NSEC_PER_MSEC);
    assert_int_equal(asked, SERVER_CURL_LOOK_UPS_MAX);
}

static void look_ups_made_together_wait_their_turn(void **state) {
    static struct call calls[2 * SERVER_CURL_LOOK_UPS_MAX];
    struct fixture *f = *state;
    nsec_t deadline = clock_now() + 300 * NSEC_PER_MSEC;

    start_slow(f);
    if (f->loop == NULL)
        return; /* one after the other, that is the story above */
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        calls[i] = (struct call){ .deadline = deadline };
    make_calls(f, calls, ARRAY_LEN(calls));
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        assert_int_equal(calls[i].rc, -ETIMEDOUT);
    assert_in_range(asked, 1, SERVER_CURL_LOOK_UPS_MAX);
    for (unsigned i = 0; i < SERVER_CURL_LOOK_UPS_MAX; i++)
        sem_post(&release);
    while (found < asked)
        rest(f, NSEC_PER_MSEC);
}

#define CURL_TEST(name)                                           \
    { #name ", thread", name, set_up_thread, tear_down, NULL }, { \
#name ", fibers", name, set_up_fibers, tear_down, NULL    \
    }

int main(void) {
    const struct CMUnitTest tests[] = {
        CURL_TEST(a_framed_answer_leaves_the_connection_for_the_next),
        CURL_TEST(bytes_after_chunks_use_their_connection_up),
        CURL_TEST(what_two_may_understand_in_two_ways_is_refused),
        CURL_TEST(what_nobody_asked_for_is_no_answer),
        CURL_TEST(a_parting_word_is_no_answer),
        CURL_TEST(connections_that_were_closed_leave_no_descriptor),
        CURL_TEST(an_old_connection_is_closed),
        CURL_TEST(so_many_connections_are_kept),
        CURL_TEST(a_look_up_that_hangs_ends_with_the_deadline),
        CURL_TEST(look_ups_that_hang_do_not_pile_up),
        CURL_TEST(look_ups_made_together_wait_their_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
