/* SPDX-License-Identifier: MIT */
/* Requests of one connection over a socket pair, and that no failing allocation hurts them. */
#include "base/alloc.h"
#include "server/app/handle.h"
#include "srv/app.h"
#include "tests/unit/server/worker_rig.h"
#include <errno.h>
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
    struct io_block io;
    struct session session;
    int client, server;
};

/* GET /N answers N bytes of what it was sent; other paths make the handler return what they say. */
static int handle(struct srv_request *rq) {
    const char *path = srv_path(rq), *text = "hello", *body;
    size_t len;

    if (strcmp(path, "/nothing") == 0)
        return 0;
    if (strcmp(path, "/late") == 0)
        return -ETIMEDOUT;
    if (strcmp(path, "/cancelled") == 0)
        return -ECANCELED;
    if (strcmp(path, "/twice") == 0 && srv_reply(rq, 200, "%s", text) < 0)
        return -ENOMEM;
    body = srv_body(rq, &len);
    return len > 0 ? srv_reply_bytes(rq, 200, body, len) : srv_reply(rq, 200, "%s", text);
}

static const struct srv_app app = { .handle = handle };

static void connect_pair(struct fixture *f) {
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    f->client = fds[0];
    f->server = fds[1];
    session_init(&f->session, &f->worker, f->server);
}

static void disconnect_pair(struct fixture *f) {
    session_free(&f->session);
    close(f->client);
    close(f->server);
}

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof(*f));

    worker_set_up(&f->worker, &f->config, &f->quota, &app);
    io_block_init(&f->io, -1);
    connect_pair(f);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;

    disconnect_pair(f);
    worker_tear_down(&f->worker);
    free(f);
    return 0;
}

static void say(struct fixture *f, const char *text) {
    assert_int_equal(send(f->client, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static const char *hear(struct fixture *f) {
    static char text[65536];
    ssize_t n = recv(f->client, text, sizeof(text) - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

/* Reads what the client has said, until session_feed says anything but MORE. */
static enum session_step read_request(struct fixture *f) {
    struct session *s = &f->session;
    enum session_step step;
    ssize_t n;

    while ((step = session_feed(s)) == SESSION_MORE) {
        if (session_reserve(s) < 0)
            return session_refuse(s, 503, "out of memory");
        n = recv(f->server, buf_tail(&s->in), buf_room(&s->in), 0);
        assert_true(n >= 0);
        s->eof = n == 0;
        buf_added(&s->in, (size_t)n);
    }
    if (step == SESSION_READY)
        session_ready(s, clock_now());
    return step;
}

static enum session_end serve(struct fixture *f) {
    assert_int_equal(read_request(f), SESSION_READY);
    session_begin(&f->session, clock_now());
    return handle_serve(&f->session, &f->io.io);
}

static void assert_heard(struct fixture *f, const char *part) {
    const char *text = hear(f);

    if (strstr(text, part) == NULL)
        fail_msg("'%s' is not in '%s'", part, text);
}

static void a_request_is_answered_and_the_connection_kept(void **state) {
    struct fixture *f = *state;

    say(f, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(serve(f), SESSION_KEEP);
    assert_heard(f, "\r\n\r\nhello");
    assert_false(session_began(&f->session));
    session_shrink(&f->session);
    say(f, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_int_equal(serve(f), SESSION_CLOSE);
}

static void pipelined_requests_are_served_in_order(void **state) {
    struct fixture *f = *state;

    say(f, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none"
           "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n");
    assert_int_equal(serve(f), SESSION_KEEP);
    assert_true(session_began(&f->session));
    assert_heard(f, "\r\n\r\none");
    assert_int_equal(serve(f), SESSION_KEEP);
    assert_heard(f, "\r\n\r\ntwo");
}

static void the_last_answer_says_close_and_lets_the_client_read_it(void **state) {
    struct fixture *f = *state;

    f->config.keep_alive_requests = 1;
    say(f, "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(serve(f), SESSION_LINGER);
    assert_heard(f, "Connection: close\r\n");
}

static void failures_of_a_handler_have_their_status(void **state) {
    static const struct {
        const char *path, *status;
    } cases[] = { { "/nothing", "500 " }, { "/late", "504 " } };
    struct fixture *f = *state;
    char text[100];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", cases[i].path);
        say(f, text);
        assert_int_equal(serve(f), SESSION_KEEP);
        assert_heard(f, cases[i].status);
    }
}

/* A handler that has answered and then fails: nothing of its answer is sent, and one error is. */
static void an_answer_that_failed_is_one_error(void **state) {
    struct fixture *f = *state;
    const char *heard;

    say(f, "GET /twice HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(serve(f), SESSION_KEEP);
    heard = hear(f);
    assert_memory_equal(heard, "HTTP/1.1 500 ", 13);
    assert_null(strstr(heard + 1, "HTTP/1.1"));
    assert_null(strstr(heard, "hello"));
}

static void a_cancelled_request_has_no_answer(void **state) {
    struct fixture *f = *state;

    say(f, "GET /cancelled HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(serve(f), SESSION_CLOSE);
    assert_string_equal(hear(f), "");
}

static void what_is_malformed_is_refused_with_a_reason(void **state) {
    struct fixture *f = *state;
    struct slice out;

    say(f, "GET / HTTP/1.1\r\n\r\n");
    assert_int_equal(read_request(f), SESSION_REFUSED);
    out = buf_unread(&f->session.out);
    assert_true(slice_starts_with(out, SLICE("HTTP/1.1 400 ")));
}

static void a_client_that_leaves_is_no_error(void **state) {
    struct fixture *f = *state;

    say(f, "GET / HT");
    shutdown(f->client, SHUT_WR);
    assert_int_equal(read_request(f), SESSION_CLOSED);
    assert_null(f->session.entry); /* nothing of it is listed */
}

/* One connection with a request that uses all there is: head, body, arena, answer. */
static void any_allocation_may_fail(void **state) {
    struct fixture *f = *state;
    bool failed;

    for (long n = 0;; n++) {
        disconnect_pair(f);
        connect_pair(f);
        say(f, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde");
        mem_fail_after(n);
        enum session_step step = read_request(f);
        if (step == SESSION_READY) {
            session_begin(&f->session, clock_now());
            (void)!handle_serve(&f->session, &f->io.io);
        } else if (step == SESSION_REFUSED && buf_unread(&f->session.out).len > 0) {
            (void)!send(f->server, buf_unread(&f->session.out).ptr, buf_unread(&f->session.out).len,
                        MSG_NOSIGNAL);
        }
        failed = mem_failed();
        mem_fail_after(-1);
        const char *text = hear(f);
        assert_true(failed ? strncmp(text, "HTTP/1.1 50", 11) == 0 || *text == '\0'
                           : strstr(text, "\r\n\r\nabcde") != NULL);
        if (!failed)
            break;
        assert_in_range(n, 0, 50);
    }
    assert_int_equal(stats_get(f->worker.stats, STATS_slots_busy), 0);
}

#define SESSION_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        SESSION_TEST(a_request_is_answered_and_the_connection_kept),
        SESSION_TEST(pipelined_requests_are_served_in_order),
        SESSION_TEST(the_last_answer_says_close_and_lets_the_client_read_it),
        SESSION_TEST(failures_of_a_handler_have_their_status),
        SESSION_TEST(an_answer_that_failed_is_one_error),
        SESSION_TEST(a_cancelled_request_has_no_answer),
        SESSION_TEST(what_is_malformed_is_refused_with_a_reason),
        SESSION_TEST(a_client_that_leaves_is_no_error),
        SESSION_TEST(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
