/* SPDX-License-Identifier: MIT */
/* GETs of an upstream that a thread plays from a script: what is reused, retried and refused, by
 * the straight client and by the one of callbacks alike. */
#include "base/alloc.h"
#include "net/listener.h"
#include "server/upstream/event.h"
#include "server/upstream/upstream.h"
#include "tests/unit/server/open_fds.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define OK    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define STALE "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale"

struct fixture;

/* One of the two clients. */
struct client_kind {
    void (*open)(struct fixture *f, const struct upstream_config *config);
    void (*close)(struct fixture *f);
    int (*get)(struct fixture *f, struct upstream_answer *ret, const char **ret_why);
    void (*rest)(struct fixture *f, nsec_t span); /* no call is in progress meanwhile */
};

/* The answers in order: NULL ends the list; '!' comes before one that is followed by a close, '~'
 * by what nobody asked for. The last one is repeated. */
struct fixture {
    const struct client_kind *kind;
    const char *const *script;
    char url[64];
    struct upstream *u;
    struct upstream_event *event;
    struct loop *loop;
    struct arena arena;
    struct io_block io;
    pthread_t thread;
    int listen_fd;
    atomic_uint connections, requests;
};

/* --- the straight client ------------------------------------------------------ */

static void straight_open(struct fixture *f, const struct upstream_config *config) {
    f->u = upstream_new(config, NULL, NULL);
    assert_non_null(f->u);
}

static void straight_close(struct fixture *f) {
    upstream_free(f->u);
}

static int straight_get(struct fixture *f, struct upstream_answer *ret, const char **ret_why) {
    struct upstream_request request = { .suffix = SLICE("?a=b") };

    return upstream_ask(f->u, &f->io.io, &f->arena, &request, NSEC_NEVER, ret, ret_why);
}

static void straight_rest(struct fixture *f, nsec_t span) {
    (void)f;
    usleep((useconds_t)(span / 1000));
}

static struct client_kind straight = { straight_open, straight_close, straight_get, straight_rest };

/* --- the one of callbacks ------------------------------------------------------ */

static void event_open(struct fixture *f, const struct upstream_config *config) {
    f->loop = loop_new(NULL);
    f->event = upstream_event_new(config, f->loop, NULL);
    assert_non_null(f->event);
}

static void event_close(struct fixture *f) {
    upstream_event_free(f->event);
    loop_free(f->loop);
}

struct event_get {
    struct upstream_call call;
    struct loop *loop;
    int rc, times;
};

static void event_done(struct upstream_call *call, int rc) {
    struct event_get *get = CONTAINER_OF(call, struct event_get, call);

    get->rc = rc;
    get->times++;
    loop_stop(get->loop);
}

static int event_get(struct fixture *f, struct upstream_answer *ret, const char **ret_why) {
    struct event_get get = { .loop = f->loop, .call = { .done = event_done } };

    upstream_event_get(f->event, &get.call, &f->arena, SLICE("?a=b"), NSEC_NEVER);
    assert_int_equal(loop_run(f->loop), 0);
    assert_int_equal(get.times, 1);
    *ret_why = get.call.exchange.why;
    *ret = exchange_answer(&get.call.exchange);
    return get.rc;
}

struct event_rest {
    struct timer timer;
    struct loop *loop;
};

static void event_rested(struct timer *timer) {
    loop_stop(CONTAINER_OF(timer, struct event_rest, timer)->loop);
}

static void event_rest(struct fixture *f, nsec_t span) {
    struct event_rest rest = { .timer = { .fire = event_rested }, .loop = f->loop };

    assert_int_equal(timer_set(f->loop, &rest.timer, clock_now() + span), 0);
    assert_int_equal(loop_run(f->loop), 0);
}

static struct client_kind callbacks = { event_open, event_close, event_get, event_rest };

/* --- the upstream --------------------------------------------------------------- */

static bool read_request(int fd) {
    char text[1024];
    size_t len = 0;

    while (len < sizeof(text) && memmem(text, len, "\r\n\r\n", 4) == NULL) {
        ssize_t n = recv(fd, text + len, sizeof(text) - len, 0);
        if (n <= 0)
            return false;
        len += (size_t)n;
    }
    return true;
}

static void play(struct fixture *f, int fd) {
    while (read_request(fd)) {
        const char *answer = *f->script;
        bool closes = *answer == '!', talks = *answer == '~';
        size_t skip = closes || talks;

        atomic_fetch_add(&f->requests, 1);
        if (f->script[1] != NULL)
            f->script++;
        int more = closes ? MSG_MORE : 0; /* the end in one piece with it */
        if (send(fd, answer + skip, strlen(answer) - skip, MSG_NOSIGNAL | more) < 0 || closes)
            return;
        if (talks) {
            usleep(20000); /* the answer was read */
            (void)!send(fd, STALE, strlen(STALE), MSG_NOSIGNAL);
        }
    }
}

static void *run(void *arg) {
    struct fixture *f = arg;
    int fd;

    /* Some cases take the process's descriptors away for a while. */
    while ((fd = accept(f->listen_fd, NULL, NULL)) >= 0 || errno == EMFILE) {
        if (fd < 0) {
            usleep(1000);
            continue;
        }
        atomic_fetch_add(&f->connections, 1);
        play(f, fd);
        close(fd);
    }
    return NULL;
}

static void start_as(struct fixture *f, const char *host, const char *const *script,
                     nsec_t timeout) {
    struct address bound, any = { .v4 = { .sin_family = AF_INET }, .len = sizeof(any.v4) };
    struct upstream_config config = { .url = f->url, .timeout = timeout };

    any.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    f->script = script;
    f->listen_fd = listener_open(&any, 64, &bound, NULL);
    assert_true(f->listen_fd >= 0);
    fcntl(f->listen_fd, F_SETFL, 0); /* the thread waits in accept */
    snprintf(f->url, sizeof(f->url), "http://%s:%u/", host, address_port(&bound));
    f->kind->open(f, &config);
    assert_int_equal(pthread_create(&f->thread, NULL, run, f), 0);
}

static void start(struct fixture *f, const char *const *script, nsec_t timeout) {
    start_as(f, "127.0.0.1", script, timeout);
}

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof(*f));

    f->kind = *state;
    arena_init(&f->arena, 1u << 20);
    io_block_init(&f->io, -1);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;

    f->kind->close(f); /* also what the thread may still read from */
    shutdown(f->listen_fd, SHUT_RDWR);
    pthread_join(f->thread, NULL);
    close(f->listen_fd);
    arena_free(&f->arena);
    free(f);
    return 0;
}

static int get(struct fixture *f, struct upstream_answer *ret, const char **ret_why) {
    *ret_why = NULL;
    return f->kind->get(f, ret, ret_why);
}

static void assert_hello(struct fixture *f) {
    struct upstream_answer answer;
    const char *why;

    assert_int_equal(get(f, &answer, &why), 0);
    assert_int_equal(answer.status, 200);
    assert_true(slice_eq(answer.body, SLICE("hello")));
}

static void assert_fails(struct fixture *f, int rc, const char *part) {
    struct upstream_answer answer;
    const char *why;

    assert_int_equal(get(f, &answer, &why), rc);
    assert_non_null(why);
    if (strstr(why, part) == NULL)
        fail_msg("'%s' is not in '%s'", part, why);
}

static void a_framed_answer_leaves_the_connection_for_the_next(void **state) {
    static const char *const script[] = { OK, NULL };
    struct fixture *f = *state;

    start(f, script, NSEC_PER_SEC);
    for (int i = 0; i < 5; i++)
        assert_hello(f);
    assert_int_equal(f->connections, 1);
}

static void an_unframed_answer_uses_its_connection_up(void **state) {
    static const char *const script[] = { "!HTTP/1.1 200 OK\r\n\r\nhello", NULL };
    struct fixture *f = *state;

    start(f, script, NSEC_PER_SEC);
    assert_hello(f);
    assert_hello(f);
    assert_int_equal(f->connections, 2);
}

static void bytes_after_an_answer_use_its_connection_up(void **state) {
    static const char *const script[] = { OK "HTTP/1.1 200 OK\r\n", OK, NULL };
    struct fixture *f = *state;

    start(f, script, NSEC_PER_SEC);
    assert_hello(f);
    assert_hello(f);
    assert_int_equal(f->connections, 2);
}

static void an_empty_body_is_no_null_pointer(void **state) {
    static const char *const script[] = { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", NULL };
    struct fixture *f = *state;
    struct upstream_answer answer;
    const char *why;

    start(f, script, NSEC_PER_SEC);
    assert_int_equal(get(f, &answer, &why), 0);
    assert_int_equal(answer.body.len, 0);
    assert_non_null(answer.body.ptr);
}

static void a_reused_connection_that_dies_is_replaced_once(void **state) {
    static const char *const script[] = { OK, "!", OK, NULL };
    struct fixture *f = *state;

    start(f, script, NSEC_PER_SEC);
    assert_hello(f);
    assert_hello(f);
    assert_int_equal(f->connections, 2);
    assert_int_equal(f->requests, 3);
}

static void a_new_connection_that_dies_is_not_retried(void **state) {
    static const char *const script[] = { "!", NULL };
    struct fixture *f = *state;

    start(f, script, NSEC_PER_SEC);
    assert_fails(f, -ECONNRESET, "without an answer");
    assert_int_equal(f->requests, 1);
}

static void half_an_answer_is_not_retried(void **state) {
    static const char *const script[] = { OK, "!HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nh",
                                          NULL };
    struct fixture *f = *state;

    start(f, script, NSEC_PER_SEC);
    assert_hello(f);
    assert_fails(f, -EPROTO, "badly");
    assert_int_equal(f->requests, 2);
}

static void the_reason_is_that_of_the_last_try(void **state) {
    static const char *const script[] = { OK, "!", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nh",
                                          NULL };
    struct fixture *f = *state;

    start(f, script, 50 * NSEC_PER_MSEC);
    assert_hello(f);
    assert_fails(f, -ETIMEDOUT, "in time");
}

static void what_is_not_http_is_refused(void **state) {
    static const char *const script[] = { "!\x16\x03\x01 hello\r\n\r\n", NULL };
    struct fixture *f = *state;

    start(f, script, NSEC_PER_SEC);
    assert_fails(f, -EPROTO, "badly");
}

static void a_silent_upstream_is_too_late(void **state) {
    static const char *const script[] = { "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nh", NULL };
    struct fixture *f = *state;

    start(f, script, 30 * NSEC_PER_MSEC);
    assert_fails(f, -ETIMEDOUT, "in time");
}

static void what_nobody_asked_for_is_no_answer(void **state) {
    static const char *const script[] = { "~" OK, OK, NULL };
    struct fixture *f = *state;

    start(f, script, NSEC_PER_SEC);
    assert_hello(f);
    f->kind->rest(f, 60 * NSEC_PER_MSEC);
    assert_hello(f);
    assert_int_equal(f->connections, 2);
}

static void an_idle_connection_that_was_closed_is_not_used(void **state) {
    static const char *const script[] = { "!" OK, NULL };
    struct fixture *f = *state;
    int before;
    start(f, script, NSEC_PER_SEC);
    before = open_fds();
    for (int i = 0; i < 5; i++) {
        assert_hello(f);
        f->kind->rest(f, 30 * NSEC_PER_MSEC);
    }
    assert_int_equal(f->connections, 5);
    assert_int_equal(f->requests, 5);
    assert_in_range(open_fds(), 1, before + (f->event == NULL)); /* a loop notices at once */
}

/* getaddrinfo(3) knows this one on every machine, and nobody but getaddrinfo does. */
static void a_name_is_looked_up(void **state) {
    static const char *const script[] = { "!" OK, NULL };
    struct fixture *f = *state;

    start_as(f, "127.1", script, 10 * NSEC_PER_SEC);
    for (int i = 0; i < 5; i++)
        assert_hello(f);
    assert_int_equal(f->connections, 5);
}

static void a_name_that_nobody_has_is_an_error(void **state) {
    static const char *const script[] = { OK, NULL };
    struct fixture *f = *state;
    struct upstream_answer answer;
    const char *why;

    start_as(f, "no-such-host.invalid", script, 10 * NSEC_PER_SEC);
    assert_true(get(f, &answer, &why) < 0);
    assert_non_null(strstr(why, "look"));
}

static void a_port_that_nobody_listens_on_is_refused(void **state) {
    static const char *const script[] = { OK, NULL };
    struct fixture *f = *state;

    start(f, script, NSEC_PER_SEC);
    shutdown(f->listen_fd, SHUT_RDWR);
    assert_fails(f, -ECONNREFUSED, "cannot be reached");
}

static int lowest_free_fd(void) {
    int fd = dup(0);

    close(fd);
    return fd;
}

static void without_descriptors_a_call_fails_and_the_next_works(void **state) {
    static const char *const script[] = { OK, NULL };
    struct fixture *f = *state;
    struct rlimit before, none;

    start(f, script, NSEC_PER_SEC);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)lowest_free_fd();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_fails(f, -EMFILE, "cannot be reached");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_hello(f);
}

static void without_descriptors_a_name_is_not_looked_up(void **state) {
    static const char *const script[] = { OK, NULL };
    struct fixture *f = *state;
    struct rlimit before, none;

    start_as(f, "127.1", script, 10 * NSEC_PER_SEC);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)lowest_free_fd();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_fails(f, -EMFILE, "cannot look up a name: Too many open files");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_hello(f);
}

static void interim_answers_are_passed_over(void **state) {
    static const char *const script[] = { "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" OK,
                                          NULL };
    struct fixture *f = *state;

    start(f, script, NSEC_PER_SEC);
    assert_hello(f);
    assert_hello(f);
    assert_int_equal(f->connections, 1);
}

static void any_allocation_may_fail(void **state) {
    static const char *const script[] = { OK, NULL };
    struct fixture *f = *state;
    struct upstream_answer answer;
    const char *why;
    bool failed;

    start(f, script, NSEC_PER_SEC);
    for (long n = 0;; n++) {
        arena_reset(&f->arena);
        mem_fail_after(n);
        int rc = get(f, &answer, &why);
        failed = mem_failed();
        mem_fail_after(-1);
        assert_int_equal(rc, failed ? -ENOMEM : 0);
        if (!failed)
            break;
        assert_in_range(n, 0, 50);
    }
}

#define TEST_OF(name, kind) \
    { #name ", " #kind, name, set_up, tear_down, &(kind) }
#define UPSTREAM_TEST(name) TEST_OF(name, straight), TEST_OF(name, callbacks)

int main(void) {
    const struct CMUnitTest tests[] = {
        UPSTREAM_TEST(a_framed_answer_leaves_the_connection_for_the_next),
        UPSTREAM_TEST(an_unframed_answer_uses_its_connection_up),
        UPSTREAM_TEST(bytes_after_an_answer_use_its_connection_up),
        UPSTREAM_TEST(an_empty_body_is_no_null_pointer),
        UPSTREAM_TEST(a_reused_connection_that_dies_is_replaced_once),
        UPSTREAM_TEST(a_new_connection_that_dies_is_not_retried),
        UPSTREAM_TEST(half_an_answer_is_not_retried),
        UPSTREAM_TEST(the_reason_is_that_of_the_last_try),
        UPSTREAM_TEST(what_is_not_http_is_refused),
        UPSTREAM_TEST(a_silent_upstream_is_too_late),
        UPSTREAM_TEST(what_nobody_asked_for_is_no_answer),
        UPSTREAM_TEST(an_idle_connection_that_was_closed_is_not_used),
        UPSTREAM_TEST(a_name_is_looked_up),
        UPSTREAM_TEST(a_name_that_nobody_has_is_an_error),
        UPSTREAM_TEST(a_port_that_nobody_listens_on_is_refused),
        UPSTREAM_TEST(without_descriptors_a_call_fails_and_the_next_works),
        UPSTREAM_TEST(without_descriptors_a_name_is_not_looked_up),
        UPSTREAM_TEST(interim_answers_are_passed_over),
        UPSTREAM_TEST(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
