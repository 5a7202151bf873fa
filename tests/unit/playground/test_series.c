/* SPDX-License-Identifier: MIT */
/* Series grow, thin out, and sockets are counted as the kernel knows them. */
#include "base/alloc.h"
#include "playground/series.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void long_series_keep_evenly_spread_points(void **state) {
    (void)state;
    struct series series = { 0 };
    const size_t added = 5 * SERIES_POINTS_MAX;
    for (size_t i = 0; i < added; i++)
        assert_int_equal(series_add(&series, &(struct series_point){ .elapsed = (nsec_t)i }), 0);
    assert_in_range(series.count, SERIES_POINTS_MAX / 2, SERIES_POINTS_MAX);
    assert_int_equal(series.points[0].elapsed, 0);
    nsec_t step = series.points[1].elapsed;
    for (size_t i = 1; i < series.count; i++)
        assert_int_equal(series.points[i].elapsed - series.points[i - 1].elapsed, step);
    assert_true(series.points[series.count - 1].elapsed > (nsec_t)(added - 2 * (size_t)step));
    series_free(&series);
}

static void being_out_of_memory_loses_nothing(void **state) {
    (void)state;
    struct series series = { 0 };
    mem_fail_after(0);
    int rc = series_add(&series, &(struct series_point){ .elapsed = 1 });
    mem_fail_after(-1);
    assert_int_equal(rc, -ENOMEM);
    series_free(&series);
}

static void sockets_are_counted_at_both_ends(void **state) {
    (void)state;
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0), clients[3];
    assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(clients[i], (struct sockaddr *)&address, len), 0);
    }

    uint16_t ports[2] = { 0, ntohs(address.sin_port) };
    struct series_sockets counts[2];
    series_count_sockets(ports, 2, counts);
    assert_int_equal(counts[0].accepted, 0);
    assert_int_equal(counts[0].made, 0);
    assert_int_equal(counts[1].accepted, ARRAY_LEN(clients));
    assert_int_equal(counts[1].made, ARRAY_LEN(clients));

    /* What the server has said, and then closed, its client has yet to take. */
    int accepted = accept(listener, NULL, NULL);
    assert_true(accepted >= 0);
    close(accepted);
    series_count_sockets(ports, 2, counts);
    assert_int_equal(counts[1].accepted, ARRAY_LEN(clients) - 1);
    assert_int_equal(counts[1].made, ARRAY_LEN(clients));
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        close(clients[i]);
    series_count_sockets(ports, 2, counts);
    assert_int_equal(counts[1].made, 0);
    close(listener);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_series_keep_evenly_spread_points),
        cmocka_unit_test(being_out_of_memory_loses_nothing),
        cmocka_unit_test(sockets_are_counted_at_both_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
