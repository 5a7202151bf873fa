/* SPDX-License-Identifier: MIT */
/* What a control endpoint says is read; what it does not say, or not in time, is unknown. */
#include "base/alloc.h"
#include "base/attr.h"
#include "playground/process.h"
#include "playground/stats_client.h"
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", ntohs(address.sin_port));
    return 0;
}

static int tear_down(void **state UNUSED) {
    return close(listener);
}

static void put(int fd, const char *text) {
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* Takes the question off the connection. */
static void hear(int fd) {
    char request[512];
    ssize_t n = read(fd, request, sizeof(request) - 1);
    assert_true(n > 0);
    request[n] = '\0';
    assert_ptr_equal(strstr(request, "GET /stats HTTP/1.1\r\n"), request);
}

static void answer(int fd, const char *body) {
    char text[512];
    snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body),
             body);
    put(fd, text);
}

static struct stats_reading soon(struct stats_client *g) {
    return stats_client_read(g, clock_now() + SOON);
}

static void one_connection_serves_many_questions(void **state UNUSED) {
    struct stats_client g = { .is_open = false };
    stats_client_ask(&g, url);
    int fd = accept(listener, NULL, NULL);
    for (uint32_t i = 0; i < 3; i++) {
        char body[64];
        if (i > 0)
            stats_client_ask(&g, url);
        hear(fd);
        snprintf(body, sizeof(body), "{\"in_flight\": %u, \"in_flight_max\": 9}", i);
        answer(fd, body);
        struct stats_reading reading = soon(&g);
        assert_int_equal(reading.in_flight, i);
        assert_int_equal(reading.in_flight_max, 9);
    }
    stats_client_close(&g);
    close(fd);
}

static void *second_half(void *arg) {
    usleep(20000);
    put(*(int *)arg, "ht\": 7}");
    return NULL;
}

static void answer_may_come_in_pieces(void **state UNUSED) {
    struct stats_client g = { .is_open = false };
    pthread_t thread;
    stats_client_ask(&g, url);
    int fd = accept(listener, NULL, NULL);
    put(fd, "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"in_flig");
    assert_int_equal(pthread_create(&thread, NULL, second_half, &fd), 0);
    struct stats_reading reading = soon(&g);
    pthread_join(thread, NULL);
    assert_int_equal(reading.in_flight, 7);
    assert_int_equal(reading.in_flight_max, PLAY_UNKNOWN);
    stats_client_close(&g);
    close(fd);
}

static void silence_is_a_gap_and_the_next_question_gets_its_own_answer(void **state UNUSED) {
    struct stats_client g = { .is_open = false };
    stats_client_ask(&g, url);
    int late = accept(listener, NULL, NULL);
    nsec_t begin = clock_now();
    assert_int_equal(stats_client_read(&g, begin + 20 * NSEC_PER_MSEC).in_flight, PLAY_UNKNOWN);
    assert_true(clock_now() - begin < SOON / 2);

    stats_client_ask(&g, url);
    int fd = accept(listener, NULL, NULL);
    answer(late, "{\"in_flight\": 1}");
    answer(fd, "{\"in_flight\": 2}");
    assert_int_equal(soon(&g).in_flight, 2);
    stats_client_close(&g);
    close(late);
    close(fd);
}

static void strange_answers_are_unknown(void **state UNUSED) {
    static const char *const answers[] = {
        "",
        "junk\r\n\r\n",
        "HTTP/1.1 500 No\r\nContent-Length: 16\r\n\r\n{\"in_flight\": 7}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"in_flight\": -1}",
        "HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{\"in_flight\": 1.5}",
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"in_flight\": 1}",
    };
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct stats_client g = { .is_open = false };
        stats_client_ask(&g, url);
        int fd = accept(listener, NULL, NULL);
        hear(fd);
        put(fd, answers[i]);
        close(fd);
        assert_int_equal(soon(&g).in_flight, PLAY_UNKNOWN);
        stats_client_close(&g);
    }
}

static void nobody_to_ask_is_no_error(void **state UNUSED) {
    static const char *const urls[] = { "", "unix:/nonexistent", "http://", "http://127.0.0.1:1" };
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct stats_client g = { .is_open = false };
        stats_client_ask(&g, urls[i]);
        assert_int_equal(soon(&g).in_flight, PLAY_UNKNOWN);
        stats_client_close(&g);
        stats_client_close(&g);
    }
}

/* What a fiber waits for has the words that threads have; what is new to us is unknown. */
static void requests_are_counted_by_what_they_wait_for(void **state UNUSED) {
    static const char body[] =
        "[{\"waits_for\": \"upstream\"}, {\"waits_for\": \"queue\"}, {\"waits_for\": \"cpu\"},"
        "{\"waits_for\": \"upstream\"}, {\"waits_for\": \"patched: recv\", \"peer\": \"[::1]:80\"},"
        "{\"waits_for\": \"patched: poll\"}, {\"waits_for\": 7}, {}, {\"waits_for\": \"client\"}]";
    struct stats_client g = { .is_open = false };
    struct wait_tally *tally = mem_alloc(sizeof(*tally));
    struct address address;
    char text[300];
    assert_int_equal(process_address(url, &address), 0);
    stats_client_ask_requests(&g, &address);
    int fd = accept(listener, NULL, NULL);
    answer(fd, body);
    assert_int_equal(stats_client_read_requests(&g, clock_now() + SOON, tally), 0);
    assert_string_equal(tally_text(tally, text, sizeof(text)),
                        "2: recv from upstream; 2: not permitted to look; 1: running; 1: send to "
                        "client; 1: queue, for a slot; 1: in poll; 1: in recv [::1]:80");
    assert_int_equal(tally->threads, 9);

    stats_client_ask_requests(&g, &address);
    answer(fd, "{}");
    assert_int_equal(stats_client_read_requests(&g, clock_now() + SOON, tally), -EPROTO);
    assert_int_equal(tally->threads, 0);
    mem_free(tally);
    stats_client_close(&g);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_counted_by_what_they_wait_for),
        cmocka_unit_test(one_connection_serves_many_questions),
        cmocka_unit_test(answer_may_come_in_pieces),
        cmocka_unit_test(silence_is_a_gap_and_the_next_question_gets_its_own_answer),
        cmocka_unit_test(strange_answers_are_unknown),
        cmocka_unit_test(nobody_to_ask_is_no_error),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
