/* SPDX-License-Identifier: MIT */
/* The first request to a server that was just started: which answers say that it serves. */
#include "base/attr.h"
#include "playground/program.h"
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#define SOON (2 * NSEC_PER_SEC)

static int listener;
static char url[64];

static int set_up(void **state UNUSED) {
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(address);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, len) != 0 || listen(listener, 8) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &len) != 0)
        return -1;
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/", ntohs(address.sin_port));
    return 0;
}

static int tear_down(void **state UNUSED) {
    return close(listener);
}

struct script {
    const char *const *answers; /* ended by NULL; after each the connection is closed */
};

/* Answers one request after the other. */
static void *serve(void *arg) {
    const struct script *script = arg;
    for (const char *const *answer = script->answers; *answer != NULL; answer++) {
        char request[512];
        int fd = accept(listener, NULL, NULL);
        if (read(fd, request, sizeof(request)) < 0)
            abort();
        for (const char *c = *answer; *c != '\0'; c++) { /* byte by byte */
            if (send(fd, c, 1, MSG_NOSIGNAL) != 1)
                break;
            if (c - *answer < 20)
                usleep(200);
        }
        close(fd);
    }
    return NULL;
}

/* Asks whether a server with these answers serves, where a process answers with `status`. */
static int ready(const char *const *answers, uint16_t status, struct error *err) {
    struct play_process process = { .name = "app", .status = status };
    struct program_start start = { .process = &process };
    struct script script = { answers };
    pthread_t server;
    snprintf(start.url, sizeof(start.url), "%s", url);
    assert_int_equal(pthread_create(&server, NULL, serve, &script), 0);
    int rc = program_ready_http(&start, -1, clock_now() + SOON, err);
    pthread_join(server, NULL);
    return rc;
}

#define ANSWERS(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define NO_BODY      "\r\nContent-Length: 0\r\n\r\n"

static void answer_with_the_status_of_the_row_is_ready(void **state UNUSED) {
    struct error err;
    assert_int_equal(ready(ANSWERS("HTTP/1.1 200 OK" NO_BODY), 0, &err), 0);
    assert_int_equal(ready(ANSWERS("HTTP/1.0 200 OK\r\n\r\nto the end"), 0, &err), 0);
    assert_int_equal(ready(ANSWERS("HTTP/1.1 504 Late" NO_BODY), 504, &err), 0);
    assert_int_equal(
        ready(ANSWERS("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK" NO_BODY), 0, &err),
        0); /* only the last one is the answer */
    assert_int_equal(ready(ANSWERS("HTTP/1.1 500 No" NO_BODY), 0, &err), -EPROTO);
    assert_non_null(strstr(err.text, "answers 500 to the first request"));
}

static void proxy_is_asked_again_until_its_server_is_up(void **state UNUSED) {
    struct error err;
    assert_int_equal(ready(ANSWERS("HTTP/1.1 502 Bad" NO_BODY, "HTTP/1.1 502 Bad" NO_BODY,
                                   "HTTP/1.1 200 OK" NO_BODY),
                           0, &err),
                     0);
}

static void other_bytes_are_no_answer(void **state UNUSED) {
    struct error err;
    assert_int_equal(ready(ANSWERS("SSH-2.0-x\r\n"), 0, &err), -EPROTO);
    assert_int_equal(ready(ANSWERS("HTTP/1.1 200 OK\r\nno colon\r\n\r\n"), 0, &err), -EPROTO);
    assert_int_equal(ready(ANSWERS("HTTP/1.1 200 OK\r\nCut: "), 0, &err), -EPROTO);
    assert_int_equal(ready(ANSWERS(""), 0, &err), -ECONNRESET);
    assert_non_null(strstr(err.text, "does not answer"));
}

static void who_speaks_tls_has_a_certificate_that_clients_trust(void **state UNUSED) {
    struct play_process process = { .name = "app", .speaks_tls = true };
    struct program_start start = { .process = &process, .value_count = 1 };
    struct script script = { ANSWERS("HTTP/1.1 200 OK" NO_BODY) };
    struct error err;
    pthread_t server;
    assert_int_equal(program_open_folder(&start, &err), 0);
    assert_int_equal(access(start.certificate, R_OK), 0);
    assert_int_equal(access(start.key, R_OK), 0);
    assert_string_equal(program_scheme(&start), "https");
    snprintf(start.url, sizeof(start.url), "https%s", strchr(url, ':'));
    assert_int_equal(pthread_create(&server, NULL, serve, &script), 0);
    int rc = program_ready_http(&start, -1, clock_now() + SOON, &err);
    pthread_join(server, NULL);
    assert_int_equal(rc, -EPROTO); /* it answers without TLS */
    program_close_folder(&start);
    assert_int_equal(access(start.certificate, F_OK), -1);
}

static void server_that_refuses_is_asked_later(void **state UNUSED) {
    struct play_process process = { .name = "app" };
    struct program_start start = { .process = &process };
    struct error err;
    int port = program_free_port(&err);
    assert_true(port > 0);
    snprintf(start.url, sizeof(start.url), "http://127.0.0.1:%d/", port);
    assert_int_equal(program_ready_http(&start, -1, clock_now() + SOON, &err), -EAGAIN);
    snprintf(start.url, sizeof(start.url), "uwsgi://127.0.0.1:%d/", port);
    assert_int_equal(program_ready_http(&start, -1, clock_now() + SOON, &err), 0);
}

static void silence_ends_with_the_deadline_or_a_cancellation(void **state UNUSED) {
    struct play_process process = { .name = "app" };
    struct program_start start = { .process = &process };
    struct error err;
    int cancel_fd = eventfd(1, EFD_CLOEXEC);
    snprintf(start.url, sizeof(start.url), "%s", url);
    nsec_t begin = clock_now();
    assert_int_equal(program_ready_http(&start, -1, begin + 50 * NSEC_PER_MSEC, &err), -ETIMEDOUT);
    assert_int_equal(program_ready_http(&start, cancel_fd, begin + 60 * NSEC_PER_SEC, &err),
                     -ECANCELED);
    assert_true(clock_now() - begin < 30 * NSEC_PER_SEC);
    close(cancel_fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answer_with_the_status_of_the_row_is_ready),
        cmocka_unit_test(proxy_is_asked_again_until_its_server_is_up),
        cmocka_unit_test(other_bytes_are_no_answer),
        cmocka_unit_test(who_speaks_tls_has_a_certificate_that_clients_trust),
        cmocka_unit_test(server_that_refuses_is_asked_later),
        cmocka_unit_test(silence_ends_with_the_deadline_or_a_cancellation),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
