/* SPDX-License-Identifier: MIT */
/* Lines of requests: all are counted, some are kept, and what is no line harms nobody. */
#include "base/alloc.h"
#include "playground/latencies.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define HEADING "start_us,outcome,status,total_us,queue_us,connect_us\n"

static int file_of(const char *text) {
    int fd = memfd_create("lines", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    return fd;
}

static void every_request_is_counted_and_placed(void **state) {
    (void)state;
    struct latencies l;
    int fd = file_of(HEADING "5,ok,200,1000,0,9\n10,status,504,4000,0,9\n20,timeout_body,0,39,0,9\n"
                             "no line\n7,ok\n,,,\n8,ok,200,-1,0,0\n");
    assert_int_equal(latencies_read(&l, fd), 0);
    assert_int_equal(l.requests, 3);
    assert_int_equal(l.count, 3);
    assert_int_equal(l.slowest_usec, 4000);
    assert_int_equal(l.points[0].end_usec, 1005);
    assert_false(l.points[0].failed);
    assert_true(l.points[1].failed && l.points[2].failed);
    assert_int_equal(l.bins[0], 1);
    assert_int_equal(l.bins[LATENCIES_BINS / 4 - 1], 1); /* 1000 of 0 to 4000 */
    assert_int_equal(l.bins[LATENCIES_BINS - 1], 1);     /* the slowest is in the last one */
    latencies_free(&l);
    close(fd);
}

static void of_many_requests_some_are_kept_and_all_counted(void **state) {
    (void)state;
    static const size_t counts[] = { 1, LATENCIES_POINTS_MAX, LATENCIES_POINTS_MAX + 1, 12345 };
    for (size_t c = 0; c < ARRAY_LEN(counts); c++) {
        struct latencies l;
        FILE *lines = tmpfile();
        uint64_t sum = 0;
        fputs(HEADING, lines);
        for (size_t i = 0; i < counts[c]; i++)
            fprintf(lines, "%zu,ok,200,%zu,0,0\n", i, i % 977);
        fflush(lines);
        assert_int_equal(latencies_read(&l, fileno(lines)), 0);
        for (size_t i = 0; i < LATENCIES_BINS; i++)
            sum += l.bins[i];
        assert_int_equal(l.requests, counts[c]);
        assert_int_equal(sum, counts[c]);
        assert_in_range(l.count, 1, LATENCIES_POINTS_MAX);
        assert_true(l.count >= LATENCIES_POINTS_MAX / 2 || l.count == counts[c]);
        latencies_free(&l);
        fclose(lines);
    }
}

static void nothing_is_empty(void **state) {
    (void)state;
    static const char *const texts[] = { "", HEADING, "\n\n", "0,ok,200,0\n" };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct latencies l;
        int fd = file_of(texts[i]);
        assert_int_equal(latencies_read(&l, fd), 0);
        assert_int_equal(l.requests, i == 3 ? 1 : 0);
        latencies_free(&l);
        close(fd);
    }
    struct latencies l;
    assert_int_equal(latencies_read(&l, -1), -EIO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request_is_counted_and_placed),
        cmocka_unit_test(of_many_requests_some_are_kept_and_all_counted),
        cmocka_unit_test(nothing_is_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
