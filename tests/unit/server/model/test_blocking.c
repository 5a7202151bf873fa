/* SPDX-License-Identifier: MIT */
/* One connection on a thread of its own, from its first byte to its last. */
#include "server/model/blocking.h"
#include "srv/app.h"
#include "tests/unit/server/open_fds.h"
#include "tests/unit/server/worker_rig.h"
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct serve_config config;
    struct worker_quota quota;
    struct worker worker;
    struct blocking blocking;
    pthread_t thread;
    int client, server;
    int fds_before;
    bool serving;
};

static int handle(struct srv_request *rq) {
    return srv_reply(rq, 200, "hello");
}

static const struct srv_app app = { .handle = handle };

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof(*f));
    int fds[2];

    f->fds_before = open_fds();
    worker_set_up(&f->worker, &f->config, &f->quota, &app);
    f->blocking = (struct blocking){ .accept_fd = -1, .silence_fd = -1, .cancel_fd = -1 };
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    f->client = fds[0];
    f->server = fds[1];
    fcntl(f->server, F_SETFL, O_NONBLOCK);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    static const enum stats_value gauges[] = { STATS_connections, STATS_slots_busy };
    struct fixture *f = *state;

    if (f->client >= 0)
        close(f->client);
    if (f->serving)
        pthread_join(f->thread, NULL);
    for (size_t i = 0; i < ARRAY_LEN(gauges); i++)
        assert_int_equal(stats_get(f->worker.stats, gauges[i]), 0);
    assert_int_equal(open_fds(), f->fds_before); /* the connection is closed */
    worker_tear_down(&f->worker);
    free(f);
    return 0;
}

static void *run(void *arg) {
    struct fixture *f = arg;
    struct accepted accepted = { .fd = f->server };

    blocking_serve(&f->blocking, &f->worker, &accepted, false);
    return NULL;
}

static void serve(struct fixture *f) {
    f->serving = true;
    assert_int_equal(pthread_create(&f->thread, NULL, run, f), 0);
}

static void say(struct fixture *f, const char *text) {
    assert_int_equal(send(f->client, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Reads to the end of the connection. */
static const char *hear_all(struct fixture *f) {
    static char text[65536];
    size_t len = 0;
    ssize_t n;

    while ((n = recv(f->client, text + len, sizeof(text) - 1 - len, 0)) > 0)
        len += (size_t)n;
    text[len] = '\0';
    return text;
}

static void requests_are_answered_until_the_last(void **state) {
    struct fixture *f = *state;
    const char *text;

    serve(f);
    say(f, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    say(f, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    text = strstr(hear_all(f), "\r\n\r\nhelloHTTP/1.1 200 ");
    assert_non_null(text);
    assert_non_null(strstr(text, "\r\n\r\nhello"));
}

/* The connection lingers: what the client still sends does not cost it the answer. */
static void what_is_malformed_is_refused_with_a_reason(void **state) {
    struct fixture *f = *state;
    const char *text;

    serve(f);
    say(f, "GET / HTTP/1.1\r\n\r\n");
    text = hear_all(f);
    assert_ptr_equal(strstr(text, "HTTP/1.1 400 "), text);
    say(f, "more");
}

static void a_head_that_does_not_end_is_408(void **state) {
    struct fixture *f = *state;
    const char *text;

    f->config.header_timeout = 20 * NSEC_PER_MSEC;
    say(f, "GET / HT");
    serve(f);
    text = hear_all(f);
    assert_ptr_equal(strstr(text, "HTTP/1.1 408 "), text);
}

static void one_that_does_not_read_is_given_up(void **state) {
    struct fixture *f = *state;
    char junk[1024] = { 0 };

    f->config.send_timeout = 20 * NSEC_PER_MSEC;
    while (send(f->server, junk, sizeof(junk), MSG_NOSIGNAL) > 0)
        ;
    say(f, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    serve(f);
    pthread_join(f->thread, NULL);
    f->serving = false;
    assert_int_equal(stats_get(f->worker.stats, STATS_abandoned), 1);
}

#define BLOCKING_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        BLOCKING_TEST(requests_are_answered_until_the_last),
        BLOCKING_TEST(what_is_malformed_is_refused_with_a_reason),
        BLOCKING_TEST(a_head_that_does_not_end_is_408),
        BLOCKING_TEST(one_that_does_not_read_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
