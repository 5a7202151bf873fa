/* SPDX-License-Identifier: MIT */
/* Log lines: their form, one write each, levels, and the rate limit of a call site. */
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static int sink[2]; /* keeps the borders of writes: one packet, one write(2) */

static int open_sink(void **state) {
    (void)state;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, sink) < 0)
        return -1;
    log_set_fd(sink[1]);
    log_set_level(LOG_LEVEL_INFO);
    return 0;
}

static int close_sink(void **state) {
    (void)state;
    log_set_fd(2);
    close(sink[0]);
    close(sink[1]);
    return 0;
}

/* The next line that was written, "" when there is none. */
static const char *next_line(void) {
    static char line[4096];
    ssize_t n = recv(sink[0], line, sizeof(line) - 1, 0);
    line[n > 0 ? n : 0] = '\0';
    return line;
}

/* What stands behind the time. */
static const char *next_text(void) {
    const char *line = next_line();
    return line[0] != '\0' ? line + CLOCK_TEXT_BYTES : line;
}

static void a_line_has_time_level_and_text(void **state) {
    (void)state;
    regex_t form;
    const char *pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
                          "\\.[0-9]{3}Z INFO  worker started pid=7\n$";
    assert_int_equal(regcomp(&form, pattern, REG_EXTENDED | REG_NOSUB), 0);
    log_write(LOG_LEVEL_INFO, "worker started pid=%d", 7);
    assert_int_equal(regexec(&form, next_line(), 0, NULL, 0), 0);
    regfree(&form);
    log_write(LOG_LEVEL_ERROR, "x");
    assert_string_equal(next_text(), "ERROR x\n");
    log_write(LOG_LEVEL_WARN, "x");
    assert_string_equal(next_text(), "WARN  x\n");
    assert_string_equal(next_text(), "");
}

static void levels_above_are_dropped(void **state) {
    (void)state;
    log_write(LOG_LEVEL_DEBUG, "hidden");
    assert_string_equal(next_line(), "");
    log_set_level(LOG_LEVEL_DEBUG);
    assert_int_equal(log_level(), LOG_LEVEL_DEBUG);
    log_write(LOG_LEVEL_DEBUG, "shown");
    assert_string_equal(next_text(), "DEBUG shown\n");
    log_set_level(LOG_LEVEL_ERROR);
    log_write(LOG_LEVEL_WARN, "hidden");
    assert_string_equal(next_line(), "");
}

static void nobody_forges_a_line(void **state) {
    (void)state;
    log_write(LOG_LEVEL_INFO, "path=%s", "/a\n2026-01-01T00:00:00.000Z ERROR forged\x1b[2J");
    assert_string_equal(next_text(),
                        "INFO  path=/a\\n2026-01-01T00:00:00.000Z ERROR forged\\x1b[2J\n");
    assert_string_equal(next_line(), "");
}

static void a_long_line_is_cut_and_still_a_line(void **state) {
    (void)state;
    log_write(LOG_LEVEL_INFO, "%3000d", 1);
    const char *line = next_line();
    size_t len = strlen(line);
    assert_true(len > 1000 && len < 2000);
    assert_string_equal(line + len - 4, "...\n");
}

static void errno_survives(void **state) {
    (void)state;
    log_set_fd(-1); /* write(2) fails, and so does nothing else */
    errno = ENOENT;
    log_write(LOG_LEVEL_INFO, "lost");
    assert_int_equal(errno, ENOENT);
    log_set_fd(sink[1]);
}

static void a_full_sink_loses_lines_but_does_not_block(void **state) {
    (void)state;
    for (int i = 0; i < 2000; i++)
        log_write(LOG_LEVEL_INFO, "line %d", i);
    log_say("srv: line %d\n", 2000);
    assert_string_equal(next_text(), "INFO  line 0\n");
}

static void a_call_site_is_limited_and_says_so(void **state) {
    (void)state;
    struct log_rate rate = { .per_second = 2 };
    for (int i = 0; i < 5; i++)
        log_limited(&rate, LOG_LEVEL_WARN, "n=%d", i);
    assert_string_equal(next_text(), "WARN  n=0\n");
    assert_string_equal(next_text(), "WARN  n=1\n");
    assert_string_equal(next_text(), "");

    rate.second_start -= NSEC_PER_SEC; /* a second later */
    log_limited(&rate, LOG_LEVEL_WARN, "n=5");
    log_limited(&rate, LOG_LEVEL_WARN, "n=6");
    log_limited(&rate, LOG_LEVEL_WARN, "n=7");
    assert_string_equal(next_text(), "WARN  n=5 dropped=3\n");
    assert_string_equal(next_text(), "WARN  n=6\n");
    assert_string_equal(next_text(), "");
}

static void hidden_levels_spend_no_rate(void **state) {
    (void)state;
    struct log_rate rate = { .per_second = 1 };
    log_limited(&rate, LOG_LEVEL_DEBUG, "hidden");
    log_limited(&rate, LOG_LEVEL_INFO, "shown");
    assert_string_equal(next_text(), "INFO  shown\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_has_time_level_and_text, open_sink, close_sink),
        cmocka_unit_test_setup_teardown(levels_above_are_dropped, open_sink, close_sink),
        cmocka_unit_test_setup_teardown(nobody_forges_a_line, open_sink, close_sink),
        cmocka_unit_test_setup_teardown(a_long_line_is_cut_and_still_a_line, open_sink, close_sink),
        cmocka_unit_test_setup_teardown(errno_survives, open_sink, close_sink),
        cmocka_unit_test_setup_teardown(a_full_sink_loses_lines_but_does_not_block, open_sink,
                                        close_sink),
        cmocka_unit_test_setup_teardown(a_call_site_is_limited_and_says_so, open_sink, close_sink),
        cmocka_unit_test_setup_teardown(hidden_levels_spend_no_rate, open_sink, close_sink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
