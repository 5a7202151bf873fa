/* SPDX-License-Identifier: MIT */
/* The control endpoint: routes, methods, and what a handler sees of a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "net/control.h"
#include "net/listener.h"
#include "net/socket.h"
#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

struct rig {
    struct loop *loop;
    struct timer timer;
    int client;
    char reply[2048];
    size_t len;
};

static void show(void *arg UNUSED, struct control_request *rq) {
    struct slice header = { 0 };
    char text[256];

    bool has = control_header(rq, "X-Test", &header);
    int n = snprintf(text, sizeof(text), "%u %.*s ? %.*s # %.*s ; %s%.*s", rq->method,
                     (int)rq->path.len, rq->path.ptr, (int)rq->query.len, rq->query.ptr,
                     (int)rq->body.len, rq->body.ptr, has ? "X-Test=" : "", (int)header.len,
                     header.ptr);
    control_reply(rq, 200, "text/x-shown", slice_of(text, (size_t)n));
}

static const struct control_route routes[] = {
    { "/get", CONTROL_GET, show },
    { "/rules", CONTROL_GET | CONTROL_PUT | CONTROL_DELETE, show },
};

static const struct option_strings hosts = { .items = { "metrics", "app.example" }, .count = 2 };

static void look(struct timer *timer) {
    struct rig *rig = CONTAINER_OF(timer, struct rig, timer);
    ssize_t n = socket_recv(rig->client, rig->reply + rig->len, sizeof(rig->reply) - 1 - rig->len);

    if (n > 0)
        rig->len += (size_t)n;
    if (n == 0 || (n < 0 && n != -EAGAIN))
        loop_stop(rig->loop);
    else
        assert_int_equal(timer_set(rig->loop, timer, clock_now() + NSEC_PER_MSEC), 0);
}

/* What it answers to the bytes of one request that asks to close. */
static const char *ask(struct rig *rig, const char *request) {
    struct address bound;
    struct error err;
    bool pending;

    *rig = (struct rig){ .timer.fire = look };
    rig->loop = loop_new(&err);
    assert_non_null(rig->loop);
    int fd = control_listen("--control", "0", &bound, &err);
    assert_true(fd >= 0);
    struct control *c = control_new(rig->loop, fd, routes, ARRAY_LEN(routes), &hosts, NULL, &err);
    assert_non_null(c);

    rig->client = socket_connect(&bound, &pending);
    assert_true(rig->client >= 0);
    struct pollfd p = { .fd = rig->client, .events = POLLOUT };
    assert_int_equal(poll(&p, 1, 5000), 1);
    assert_int_equal(socket_send(rig->client, request, strlen(request)), strlen(request));
    assert_int_equal(timer_set(rig->loop, &rig->timer, clock_now()), 0);
    assert_int_equal(loop_run(rig->loop), 0);

    control_free(c);
    close(rig->client);
    listener_close(fd, &bound);
    loop_free(rig->loop);
    return rig->reply;
}

#define END " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"

static void a_handler_sees_the_request(void **state UNUSED) {
    struct rig rig;

    const char *reply = ask(&rig, "GET /get?a=b&c" END "X-Test: 7\r\n\r\n");
    assert_non_null(strstr(reply, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(reply, "Content-Type: text/x-shown\r\n"));
    char *date = strstr(reply, "Date: ");
    assert_non_null(date);
    assert_null(strstr(date + 1, "Date: "));
    assert_non_null(strstr(reply, "1 /get ? a=b&c #  ; X-Test=7"));

    reply = ask(&rig, "PUT /rules" END "Content-Length: 5\r\n\r\nhello");
    assert_non_null(strstr(reply, "2 /rules ?  # hello ; "));
}

static void head_gets_the_length_and_no_body(void **state UNUSED) {
    struct rig rig;

    const char *reply = ask(&rig, "HEAD /get" END "\r\n");
    assert_non_null(strstr(reply, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(reply, "Content-Length: 15\r\n"));
    assert_string_equal(strstr(reply, "\r\n\r\n"), "\r\n\r\n");

    reply = ask(&rig, "HEAD /nothing" END "\r\n");
    assert_non_null(strstr(reply, "HTTP/1.1 404 "));
    assert_string_equal(strstr(reply, "\r\n\r\n"), "\r\n\r\n");
}

static void others_are_refused_with_the_reason(void **state UNUSED) {
    struct rig rig;

    assert_non_null(strstr(ask(&rig, "GET /getting" END "\r\n"), "HTTP/1.1 404 "));
    assert_non_null(strstr(ask(&rig, "GET /get/ting" END "\r\n"), "HTTP/1.1 404 "));
    assert_non_null(strstr(ask(&rig, "GET /get/" END "\r\n"), "HTTP/1.1 404 "));
    assert_non_null(strstr(ask(&rig, "OPTIONS /get" END "\r\n"), "HTTP/1.1 405 "));
    assert_non_null(strstr(ask(&rig, "PATCH /rules" END "\r\n"), "HTTP/1.1 405 "));
    const char *reply = ask(&rig, "POST /rules" END "Content-Length: 0\r\n\r\n");
    assert_non_null(strstr(reply, "HTTP/1.1 405 "));
    assert_non_null(strstr(reply, "Allow: GET, HEAD, PUT, DELETE\r\n"));
}

static unsigned status_of(const char *line, const char *fields) {
    char request[512];
    struct rig rig;
    unsigned status = 0;

    snprintf(request, sizeof(request), "%s\r\nConnection: close\r\nContent-Length: 0\r\n%s\r\n",
             line, fields);
    (void)sscanf(ask(&rig, request), "HTTP/1.%*u %u", &status);
    return status;
}

static void names_of_others_are_refused(void **state UNUSED) {
    static const char *const good[] = { "127.0.0.1",    "10.0.0.1:80", "[::1]",
                                        "[::1]:99",     "LocalHost",   "localhost:1",
                                        "metrics:9090", "App.Example", "localhost:0" };
    static const char *const bad[] = { "evil.example",
                                       "localhost.evil.example",
                                       "127.0.0.1.evil",
                                       "",
                                       ":80",
                                       "app.example.evil",
                                       "unix:/x",
                                       "80",
                                       "localhost@evil",
                                       "127.0.0.1:x" };
    char field[64];

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        snprintf(field, sizeof(field), "Host: %s\r\n", good[i]);
        assert_int_equal(status_of("GET /get HTTP/1.1", field), 200);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(field, sizeof(field), "Host: %s\r\n", bad[i]);
        assert_int_equal(status_of("GET /get HTTP/1.1", field), 403);
    }
    assert_int_equal(status_of("GET /get HTTP/1.1", ""), 400);
    assert_int_equal(status_of("GET /get HTTP/1.0", ""), 200);
    assert_int_equal(status_of("GET /get HTTP/1.1", "Host: localhost\r\nHost: localhost\r\n"), 400);
    assert_int_equal(status_of("GET /get HTTP/1.1", "Host: localhost\r\nHost: evil\r\n"), 400);
}

static void pages_of_others_write_nothing(void **state UNUSED) {
    static const struct {
        const char *fields;
        unsigned status;
    } cases[] = {
        { "Host: localhost:80\r\n", 200 },
        { "Host: localhost:80\r\nOrigin: http://localhost:80\r\n", 200 },
        { "Host: localhost:80\r\nOrigin: http://localhost:81\r\n", 403 },
        { "Host: localhost:80\r\nOrigin: https://localhost:80\r\n", 403 },
        { "Host: localhost:80\r\nOrigin: http://evil.example\r\n", 403 },
        { "Host: localhost:80\r\nOrigin: null\r\n", 403 },
        { "Host: localhost:80\r\nOrigin:\r\n", 403 },
        { "Origin: http://localhost\r\n", 400 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(status_of("PUT /rules HTTP/1.1", cases[i].fields), cases[i].status);
        assert_int_equal(status_of("DELETE /rules HTTP/1.1", cases[i].fields), cases[i].status);
    }
    assert_int_equal(status_of("GET /get HTTP/1.1", "Host: localhost\r\nOrigin: null\r\n"), 200);
    assert_int_equal(status_of("PUT /rules HTTP/1.0", "Origin: http://evil.example\r\n"), 403);
}

/* --- shortages ---------------------------------------------------------------------------- */

static unsigned accept_fails, register_fails; /* so often from now on; registering after accept */

/* In the place of the C library's. */
int accept4(int fd, __SOCKADDR_ARG peer, socklen_t *restrict size, int flags) {
    if (accept_fails == 0)
        return (int)syscall(SYS_accept4, fd, peer.__sockaddr__, size, flags);
    accept_fails--;
    errno = EMFILE;
    return -1;
}

int epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event) {
    if (op != EPOLL_CTL_ADD || accept_fails > 0 || register_fails == 0)
        return (int)syscall(SYS_epoll_ctl, epoll_fd, op, fd, event);
    register_fails--;
    errno = ENOSPC;
    return -1;
}

static void no_message(int severity UNUSED, const char *text UNUSED) {
}

static void goes_on_when_it_could_not_accept(void **state UNUSED) {
    struct rig rig;

    log_set_fd(-1);
    event_set_log_callback(no_message); /* libevent's own */
    alarm(20);
    accept_fails = 1;
    register_fails = 2;
    assert_non_null(strstr(ask(&rig, "GET /get" END "\r\n"), "HTTP/1.1 200 OK\r\n"));
    assert_int_equal(register_fails, 0);
    alarm(0);
    event_set_log_callback(NULL);
    log_set_fd(2);
}

static void addresses_without_a_host_are_local(void **state UNUSED) {
    struct error err;
    struct address bound;
    char text[ADDRESS_TEXT_BYTES];

    int fd = control_listen("--control", ":0", &bound, &err);
    assert_true(fd >= 0);
    assert_memory_equal(address_format(&bound, text), "127.0.0.1:", 10);
    listener_close(fd, &bound);

    assert_int_equal(control_check("unix:/tmp/x", &err), 0);
    assert_int_equal(control_check("nowhere", &err), -EINVAL);
    assert_int_equal(control_check("name.example:80", &err), -EINVAL);
    assert_non_null(strstr(err.text, "numeric host"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handler_sees_the_request),
        cmocka_unit_test(head_gets_the_length_and_no_body),
        cmocka_unit_test(others_are_refused_with_the_reason),
        cmocka_unit_test(names_of_others_are_refused),
        cmocka_unit_test(pages_of_others_write_nothing),
        cmocka_unit_test(goes_on_when_it_could_not_accept),
        cmocka_unit_test(addresses_without_a_host_are_local),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
