/* SPDX-License-Identifier: MIT */
/* GETs of an upstream that a thread plays from a script: what is reused, retried and refused. */
#include "base/alloc.h"
#include "net/listener.h"
#include "server/upstream.h"
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
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

/* The answers in order: NULL ends the list; one that begins with '!' is followed by a close. The
 * last one is repeated. */
struct fixture {
    const char *const *script;
    char url[64];
    struct upstream *u;
    struct arena arena;
    struct io_block io;
    pthread_t thread;
    int listen_fd;
    atomic_uint connections, requests;
};

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
        bool closes = *answer == '!';

        atomic_fetch_add(&f->requests, 1);
        if (f->script[1] != NULL)
            f->script++;
        if (send(fd, answer + closes, strlen(answer) - closes, MSG_NOSIGNAL) < 0 || closes)
            return;
    }
}

static void *run(void *arg) {
    struct fixture *f = arg;
    int fd;

    while ((fd = accept(f->listen_fd, NULL, NULL)) >= 0) {
        atomic_fetch_add(&f->connections, 1);
        play(f, fd);
        close(fd);
    }
    return NULL;
}

static void start(struct fixture *f, const char *const *script, nsec_t timeout) {
    struct address bound, any = { .v4 = { .sin_family = AF_INET }, .len = sizeof(any.v4) };
    struct upstream_config config = { .url = f->url, .timeout = timeout };

    any.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    f->script = script;
    f->listen_fd = listener_open(&any, 64, &bound, NULL);
    assert_true(f->listen_fd >= 0);
    fcntl(f->listen_fd, F_SETFL, 0); /* the thread waits in accept */
    snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%u/", address_port(&bound));
    f->u = upstream_new(&config, NULL, NULL);
    assert_non_null(f->u);
    assert_int_equal(pthread_create(&f->thread, NULL, run, f), 0);
}

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof(*f));

    arena_init(&f->arena, 1u << 20);
    io_block_init(&f->io, -1);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;

    upstream_free(f->u); /* closes what the thread may still read from */
    shutdown(f->listen_fd, SHUT_RDWR);
    pthread_join(f->thread, NULL);
    close(f->listen_fd);
    arena_free(&f->arena);
    free(f);
    return 0;
}

static int get(struct fixture *f, struct upstream_answer *ret, const char **ret_why) {
    *ret_why = NULL;
    return upstream_get(f->u, &f->io.io, &f->arena, SLICE("?a=b"), NSEC_NEVER, ret, ret_why);
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

#define UPSTREAM_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        UPSTREAM_TEST(a_framed_answer_leaves_the_connection_for_the_next),
        UPSTREAM_TEST(an_unframed_answer_uses_its_connection_up),
        UPSTREAM_TEST(bytes_after_an_answer_use_its_connection_up),
        UPSTREAM_TEST(a_reused_connection_that_dies_is_replaced_once),
        UPSTREAM_TEST(a_new_connection_that_dies_is_not_retried),
        UPSTREAM_TEST(half_an_answer_is_not_retried),
        UPSTREAM_TEST(the_reason_is_that_of_the_last_try),
        UPSTREAM_TEST(what_is_not_http_is_refused),
        UPSTREAM_TEST(a_silent_upstream_is_too_late),
        UPSTREAM_TEST(interim_answers_are_passed_over),
        UPSTREAM_TEST(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
