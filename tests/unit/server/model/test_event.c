/* SPDX-License-Identifier: MIT */
/* Model `event` as a whole, in front of an upstream that a thread plays: no failing allocation, and
 * no stop, leaves anything behind. The test is what the worker looks after while its loop runs. */
#include "base/alloc.h"
#include "net/listener.h"
#include "server/app/app.h"
#include "server/model/model.h"
#include "tests/unit/server/open_fds.h"
#include "tests/unit/server/worker_rig.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define GET     "GET /?delay=0 HTTP/1.1\r\nHost: x\r\n\r\n"
#define CLIENTS 4

struct fixture {
    struct serve_config config;
    struct worker_quota quota;
    struct worker worker;
    char url[64];
    pthread_t upstream;
    struct address address; /* of the worker */
    int listen_fd, upstream_fd;
    uint16_t upstream_port;
    int clients[CLIENTS], count; /* that ask at the same time */
    int fds_before;
    long nth; /* allocation that fails */
    bool asked, ended;
    nsec_t stop_after; /* span */
};

/* --- the upstream --------------------------------------------------------------- */

/* One request per connection; silent ones are read until they end. */
static void *play(void *arg) {
    static const char text[] =
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    struct fixture *f = arg;
    char request[1024];
    int fd;

    while ((fd = accept(f->upstream_fd, NULL, NULL)) >= 0) {
        if (recv(fd, request, sizeof(request), 0) > 0)
            (void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
        close(fd);
    }
    return NULL;
}

static int listen_on(struct address *ret) {
    struct address any = { .v4 = { .sin_family = AF_INET }, .len = sizeof(any.v4) };
    int fd;

    any.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fd = listener_open(&any, 64, ret, NULL);
    assert_true(fd >= 0);
    return fd;
}

/* --- set-up --------------------------------------------------------------------- */

static void ready(void) {
}

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof(*f));
    struct address upstream;

    f->fds_before = open_fds();
    worker_set_up(&f->worker, &f->config, &f->quota, app_index.built_in);
    f->config.app = &app_index;
    f->config.model = &model_event;
    f->config.upstream_url = f->url;
    f->listen_fd = listen_on(&f->address);
    f->upstream_fd = listen_on(&upstream);
    fcntl(f->upstream_fd, F_SETFL, 0); /* the thread waits in accept */
    f->upstream_port = address_port(&upstream);
    snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%u/", f->upstream_port);
    f->worker.listen_fds = &f->listen_fd;
    f->worker.listen_count = 1;
    f->worker.ready = ready;
    f->worker.arg = f;
    memset(f->clients, -1, sizeof(f->clients));
    f->count = 1;
    assert_int_equal(pthread_create(&f->upstream, NULL, play, f), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;

    shutdown(f->upstream_fd, SHUT_RDWR);
    pthread_join(f->upstream, NULL);
    close(f->upstream_fd);
    close(f->listen_fd);
    /* A look-up that nobody waits for any more gives its descriptors back when it ends. */
    for (int i = 0; i < 2000 && open_fds() > f->fds_before; i++)
        usleep(5000);
    assert_int_equal(open_fds(), f->fds_before);
    worker_tear_down(&f->worker);
    free(f);
    return 0;
}

/* Runs the worker until the test stops it. Everything is back at zero then. */
static void serve(struct fixture *f, nsec_t (*tend)(void *arg, nsec_t now)) {
    static const enum stats_value gauges[] = { STATS_connections, STATS_slots_busy,
                                               STATS_queue_depth, STATS_upstream_waiting,
                                               STATS_upstream_queued };
    struct error err;

    f->worker.tend = tend;
    assert_int_equal(model_event.run(&f->worker, &err), 0);
    assert_true(f->ended);
    for (size_t i = 0; i < ARRAY_LEN(gauges); i++)
        assert_int_equal(stats_get(f->worker.stats, gauges[i]), 0);
    for (size_t i = 0; i < STATS_ENTRIES; i++)
        assert_int_equal(f->worker.stats->entries[i].doing, STATS_NOTHING);
}

static void ask(struct fixture *f) {
    for (int i = 0; i < f->count; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_int_equal(connect(fd, &f->address.any, f->address.len), 0);
        assert_int_equal(send(fd, GET, strlen(GET), MSG_NOSIGNAL), strlen(GET));
        f->clients[i] = fd;
    }
    f->asked = true;
}

static void hang_up(struct fixture *f, int i) {
    close(f->clients[i]);
    f->clients[i] = -1;
}

static void stop(struct fixture *f, int signo) {
    f->ended = true;
    raise(signo);
}

/* --- memory --------------------------------------------------------------------- */

/* Every client has its answer, or none. */
static bool all_answered(struct fixture *f) {
    char text[1024];
    bool all = true;

    for (int i = 0; i < f->count; i++) {
        ssize_t n =
            f->clients[i] < 0 ? 0 : recv(f->clients[i], text, sizeof(text) - 1, MSG_DONTWAIT);

        if (f->clients[i] < 0)
            continue;
        if (n < 0 && errno == EAGAIN) {
            all = false;
            continue;
        }
        text[n > 0 ? n : 0] = '\0';
        if (strncmp(text, "HTTP/1.1 200", 12) != 0)
            assert_true(mem_failed() && (strncmp(text, "HTTP/1.1 50", 11) == 0 || *text == '\0'));
        hang_up(f, i);
    }
    return all;
}

/* Again and again, and each time one allocation more succeeds before one fails. */
static nsec_t ask_without_memory(void *arg, nsec_t now) {
    struct fixture *f = arg;

    if (f->ended)
        return NSEC_NEVER;
    if (!f->asked) {
        ask(f);
        mem_fail_after(f->nth++);
    } else if (all_answered(f)) {
        assert_in_range(f->nth, 1, 100);
        if (!mem_failed())
            stop(f, SIGTERM);
        mem_fail_after(-1);
        f->asked = false;
    }
    return now + NSEC_PER_MSEC / 5;
}

static void any_allocation_may_fail(void **state) {
    serve(*state, ask_without_memory);
}

static void any_allocation_may_fail_around_a_look_up(void **state) {
    struct fixture *f = *state;

    snprintf(f->url, sizeof(f->url), "http://127.1:%u/", f->upstream_port);
    serve(f, ask_without_memory);
}

static void any_allocation_may_fail_in_the_queue_of_calls(void **state) {
    struct fixture *f = *state;

    f->config.upstream_max = 1;
    f->count = CLIENTS;
    serve(f, ask_without_memory);
}

/* --- the end ---------------------------------------------------------------------- */

static nsec_t ask_and_stop(void *arg, nsec_t now) {
    struct fixture *f = arg;

    if (!f->asked) {
        ask(f);
        return now + f->stop_after;
    }
    stop(f, SIGINT);
    return NSEC_NEVER;
}

/* During accept, look-up, connect, write or read, as it comes. */
static void it_may_stop_at_any_time(void **state) {
    struct fixture *f = *state;

    snprintf(f->url, sizeof(f->url), "http://127.1:%u/", f->upstream_port);
    f->config.upstream_max = 2;
    f->count = CLIENTS;
    for (f->stop_after = 0; f->stop_after < NSEC_PER_MSEC; f->stop_after += 20000) {
        f->asked = f->ended = false;
        serve(f, ask_and_stop);
        for (int i = 0; i < f->count; i++)
            hang_up(f, i);
    }
}

#define EVENT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        EVENT_TEST(any_allocation_may_fail),
        EVENT_TEST(any_allocation_may_fail_around_a_look_up),
        EVENT_TEST(any_allocation_may_fail_in_the_queue_of_calls),
        EVENT_TEST(it_may_stop_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
