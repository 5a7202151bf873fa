/* SPDX-License-Identifier: MIT */
/* Exchanges over a socket pair: what they own while they wait, and that no failing allocation
 * leaves one behind. */
#include "base/alloc.h"
#include "slowapi/conn.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define TURN (2 * NSEC_PER_MSEC)

struct fixture {
    struct slowapi_config config;
    struct shared *shared;
    struct slow_worker *w;
    struct timer stop;
    int client;
};

static void on_stop(struct timer *timer) {
    loop_stop(CONTAINER_OF(timer, struct fixture, stop)->w->loop);
}

static void run_for(struct fixture *f, nsec_t span) {
    assert_int_equal(timer_set(f->w->loop, &f->stop, clock_now() + span), 0);
    assert_int_equal(loop_run(f->w->loop), 0);
}

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof(*f));
    f->config = (struct slowapi_config){ .keep_alive = 60 * NSEC_PER_SEC,
                                         .header_timeout = 60 * NSEC_PER_SEC,
                                         .send_timeout = 60 * NSEC_PER_SEC };
    f->stop.fire = on_stop;
    f->w = calloc(1, sizeof(*f->w));
    f->w->config = &f->config;
    f->shared = shared_new(64, 64, NULL);
    if (f->shared == NULL || planner_init(&f->w->planner, &f->config, f->shared, 0, NULL) < 0)
        return -1;
    f->w->limits = (struct http_limits)HTTP_LIMITS_DEFAULT;
    f->w->loop = loop_new(NULL);
    buf_init(&f->w->out, SLOWAPI_OUT_BYTES);
    f->client = -1;
    *state = f;
    return f->w->loop != NULL ? buf_reserve(&f->w->out, SLOWAPI_ANSWER_BYTES) : -1;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    slow_conn_close_all(f->w);
    timer_cancel(f->w->loop, &f->stop);
    loop_free(f->w->loop);
    buf_free(&f->w->out);
    planner_free(&f->w->planner);
    shared_free(f->shared);
    free(f->w);
    if (f->client >= 0)
        close(f->client);
    free(f);
    return 0;
}

static struct slow_conn *open_conn(struct fixture *f) {
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    f->client = fds[1];
    const struct address nobody = { .any.sa_family = AF_UNIX };
    assert_int_equal(slow_conn_open(f->w, fds[0], 0, &nobody), 0);
    return f->w->conns;
}

static void say(struct fixture *f, const char *text) {
    assert_int_equal(send(f->client, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* What the client has got so far, as text. */
static void hear(const struct fixture *f, char *ret, size_t cap) {
    ssize_t n = recv(f->client, ret, cap - 1, 0);
    ret[n > 0 ? n : 0] = '\0';
}

/* Two runs may see two seconds. */
static void blank_dates(char *text) {
    for (char *at = text; (at = strstr(at, "Date: ")) != NULL; at++)
        memset(at, '-', strcspn(at, "\r"));
}

static void only_an_incomplete_head_owns_a_buffer(void **state) {
    struct fixture *f = *state;
    struct slow_conn *conn = open_conn(f);
    char got[1024];

    run_for(f, TURN);
    assert_int_equal(conn->state, CONN_IDLE);
    assert_null(conn->in.data);

    say(f, "GET /?delay=0.02 HTTP/1.1\r\n");
    run_for(f, TURN);
    assert_int_equal(conn->state, CONN_HEAD);
    assert_non_null(conn->in.data);

    say(f, "Host: x\r\n\r\n");
    run_for(f, TURN);
    assert_int_equal(conn->state, CONN_SLEEP);
    assert_null(conn->in.data);
    assert_null(conn->out.data);

    run_for(f, 30 * NSEC_PER_MSEC);
    hear(f, got, sizeof(got));
    assert_non_null(strstr(got, "slow api response"));
    assert_int_equal(conn->state, CONN_IDLE);
    assert_null(conn->in.data);
    assert_null(conn->out.data);
}

static void a_byte_at_a_time_is_answered_as_all_at_once(void **state) {
    static const char text[] = "GET /x HTTP/1.1\r\nHost: x\r\n\r\n"
                               "POST /?delay=-1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
                               "PUT /?delay=0 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                               "\r\n2\r\nab\r\n0\r\n\r\n"
                               "GET / HTTP/1.1\r\nbad\r\n\r\n";
    struct fixture *f = *state;
    static char pieces[1024], whole[1024];
    char *end = pieces;

    open_conn(f);
    for (const char *c = text; *c != '\0'; c++) {
        const char byte[] = { *c, '\0' };
        if (send(f->client, byte, 1, MSG_NOSIGNAL) != 1)
            break; /* refused before the last byte of the bad head */
        run_for(f, 0);
        hear(f, end, (size_t)(pieces + sizeof(pieces) - end));
        end += strlen(end);
    }
    close(f->client);

    open_conn(f);
    say(f, text);
    run_for(f, TURN);
    hear(f, whole, sizeof(whole));
    assert_non_null(strstr(whole, "HTTP/1.1 404 "));
    blank_dates(pieces);
    blank_dates(whole);
    assert_string_equal(pieces, whole);
}

static uint64_t answers(const struct fixture *f) {
    return atomic_load(&f->shared->slots[0].counters[SLOW_ANSWERS]);
}

static void a_turn_answers_a_bounded_number_of_pipelined_requests(void **state) {
    static const char request[] = "GET /?delay=0 HTTP/1.1\r\nHost: x\r\n\r\n";
    enum { COUNT = 250, MOST = SLOWAPI_TURN_BYTES / SLOWAPI_STEP_COST };
    struct fixture *f = *state;
    static char all[COUNT * sizeof(request)], got[COUNT * 200];

    open_conn(f);
    run_for(f, 0);
    for (int i = 0; i < COUNT; i++)
        strcat(all + i * strlen(request), request);
    say(f, all);
    run_for(f, 0); /* a turn */
    assert_in_range(answers(f), 1, 2 * MOST);
    run_for(f, 10 * TURN);
    assert_int_equal(answers(f), COUNT);
    hear(f, got, sizeof(got));
    assert_int_equal(f->w->conns->state, CONN_IDLE);
    assert_null(f->w->conns->in.data);
}

static void a_turn_makes_a_bounded_part_of_a_download(void **state) {
    struct fixture *f = *state;
    struct slow_conn *conn = open_conn(f);

    run_for(f, 0);
    say(f, "GET /?delay=0&size=10m&fault=none HTTP/1.1\r\nHost: x\r\n\r\n");
    run_for(f, 0);
    assert_int_equal(conn->state, CONN_SEND);
    assert_in_range(conn->reply->body_bytes, 1, 2 * SLOWAPI_TURN_BYTES);
}

/* As say, to an exchange that may be closed by now. */
static void try_to_say(const struct fixture *f, const char *text) {
    ssize_t n = send(f->client, text, strlen(text), MSG_NOSIGNAL);
    assert_true(n < 0 || n == (ssize_t)strlen(text));
}

/* One life with everything that allocates in it. */
static void live(struct fixture *f) {
    if (open_conn(f) == NULL)
        return;
    try_to_say(f, "GET /?delay=x HTTP/1.1\r\nHo");
    run_for(f, TURN);
    try_to_say(f, "st: x\r\n\r\nGET /?delay=0.001 HTTP/1.1\r\nHost: x\r\n\r\nGET /?");
    run_for(f, 2 * TURN);
}

static void no_failing_allocation_leaves_an_exchange_behind(void **state) {
    struct fixture *f = *state;
    long n = 0;

    log_set_level(LOG_LEVEL_ERROR);
    run_for(f, 0); /* the heap of timers has room from here on */
    for (bool failed = true; failed; n++) {
        mem_fail_after(n);
        live(f);
        failed = mem_failed();
        mem_fail_after(-1);

        assert_int_equal(f->w->open_count, failed ? 0 : 1);
        close(f->client);
        f->client = -1;
        run_for(f, TURN);
        assert_int_equal(f->w->open_count, 0);
    }
    assert_true(n > 3);
}

/* Whatever fails: nothing is left behind, and nothing of it is counted as kept. */
static void answers_made_of_requests_keep_nothing(void **state) {
#define FORM "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\na=b&c=d"
#define JSON "Content-Length: 9\r\n\r\n{\"a\":[1]}"
#define CHAT(more, size)                                             \
    "Content-Length: " size "\r\n\r\n{\"model\":\"m\",\"messages\":" \
    "[{\"role\":\"user\",\"content\":\"x\"}]" more "}"
    static const char *const requests[] = {
        "POST /anything?x=1 HTTP/1.1\r\nHost: x\r\nOrigin: y\r\n" FORM,
        "POST /?body=%7B%7Bjson.a.0%7D%7D%7B%7Buuid%7D%7D&encoding=gzip HTTP/1.1\r\nHost: "
        "x\r\n" JSON,
        "POST /v1/chat/completions?tokens=3&tpm=1000000 HTTP/1.1\r\nHost: x\r\n" CHAT("", "56"),
        "POST /v1/chat/completions?tpm=1 HTTP/1.1\r\nHost: x\r\n" CHAT("", "56"),
        "POST /v1/chat/completions?tokens=3&gap=1ms HTTP/1.1\r\nHost: x\r\n" CHAT(
            ",\"stream\":true", "70"),
        "GET /digest-auth/auth/u/p HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /response-headers?A=b&type=a/b HTTP/1.1\r\nHost: x\r\nAccept-Encoding: br\r\n\r\n",
        "GET /trailers?A=b HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /cookies/set?A=b HTTP/1.1\r\nHost: x\r\nCookie: a=b\r\n\r\n",
        "GET /websocket/echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        "\x81\x81....x",
    };
    struct fixture *f = *state;

    log_set_level(LOG_LEVEL_ERROR);
    run_for(f, 0);
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        long n = 0;
        for (bool failed = true; failed; n++) {
            mem_fail_after(n);
            if (open_conn(f) != NULL) {
                try_to_say(f, requests[i]);
                run_for(f, TURN);
            }
            failed = mem_failed();
            mem_fail_after(-1);
            close(f->client);
            f->client = -1;
            run_for(f, TURN);
            assert_int_equal(f->w->open_count, 0);
            assert_int_equal(f->w->planner.kept_bytes, 0);
        }
        assert_true(n > 3);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_made_of_requests_keep_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_an_incomplete_head_owns_a_buffer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_byte_at_a_time_is_answered_as_all_at_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_turn_answers_a_bounded_number_of_pipelined_requests,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_turn_makes_a_bounded_part_of_a_download, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(no_failing_allocation_leaves_an_exchange_behind, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
