/* SPDX-License-Identifier: MIT */
/* The live view on terminals of every width: figures are shown as a whole or not at all. */
#include "base/attr.h"
#include "playground/progress.h"
#include <fcntl.h>
#include <pty.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#define SHOWN_BYTES 8192

static const struct playground row = {
    .name = "gunicorn-threads",
    .processes = { { .name = "slowapi" }, { .name = "app", .measured = true } },
    .load = { 2000, 200, NSEC_PER_SEC },
    .slots = 200,
};

/* Lines that the view may have: all of it, or without its last fields. */
static const char *const lines[] = {
    "^srv play: 1/23 gunicorn-threads(: n=2000 c=200 delay=1s(, ideal 10\\.00 s)?)?$",
    "^1/23 gunicorn-threads( \\[#+\\.+\\])?"
    "( 5\\.[01] of 10\\.0 s(  threads 205, asleep 204(  1234\\.5 MiB)?)?)?$",
    "^           threads( running)?(  asleep( in flight(  CPU %(     MiB(  connections)?)?)?)?)?$",
    "^  (slowapi|app) +205(       1)?(     204(       199(   12\\.0(  1234\\.5"
    "(          198)?)?)?)?)?$",
};

static bool is_whole(const char *line) {
    bool found = *line == '\0';
    for (size_t i = 0; i < ARRAY_LEN(lines) && !found; i++) {
        regex_t expression;
        assert_int_equal(regcomp(&expression, lines[i], REG_EXTENDED | REG_NOSUB), 0);
        found = regexec(&expression, line, 0, NULL, 0) == 0;
        regfree(&expression);
    }
    return found;
}

static struct series_point point(nsec_t elapsed, nsec_t cpu) {
    struct series_point p = { .elapsed = elapsed };
    struct procstat seen = { .threads = 205,
                             .running = 1,
                             .sleeping = 204,
                             .cpu = cpu,
                             .rss_bytes = (uint64_t)(1234.5 * 1024 * 1024) };
    p.total = p.of[0] = p.of[1] = seen;
    p.in_flight[0] = p.in_flight[1] = 199;
    p.connections[0] = p.connections[1] = 198;
    return p;
}

/* What a terminal with `columns` gets; it is told in `shown`. */
static void view(unsigned short columns, char shown[static SHOWN_BYTES]) {
    struct winsize size = { .ws_row = 24, .ws_col = columns };
    struct play_result result = { .row = &row, .load = row.load, .ideal = 10 * NSEC_PER_SEC };
    struct series_point first = point(5 * NSEC_PER_SEC, 0),
                        second = point(5100 * NSEC_PER_MSEC, 12 * NSEC_PER_MSEC);
    struct play_progress progress;
    int parent, child;
    ssize_t n;
    size_t len = 0;
    assert_int_equal(openpty(&parent, &child, NULL, NULL, &size), 0);
    setenv("TERM", "xterm", 1);
    FILE *out = fdopen(child, "w");
    assert_non_null(out);
    progress_start(&progress, out, 1, 23, &row, &row.load);
    progress_sample(&progress, &result, &first);
    progress_sample(&progress, &result, &second);
    fcntl(parent, F_SETFL, O_NONBLOCK);
    while (len + 1 < SHOWN_BYTES && (n = read(parent, shown + len, SHOWN_BYTES - 1 - len)) > 0)
        len += (size_t)n;
    shown[len] = '\0';
    fclose(out);
    close(parent);
}

/* Calls `check` with each line, without what moves the cursor. */
static void each_line(char *shown, unsigned columns, void (*check)(const char *, unsigned)) {
    for (char *line = strtok(shown, "\r\n"); line != NULL; line = strtok(NULL, "\r\n")) {
        char *escape;
        while ((escape = strchr(line, '\033')) != NULL) {
            size_t len = strcspn(escape, "AJ") + 1;
            memmove(escape, escape + len, strlen(escape + len) + 1);
        }
        check(line, columns);
    }
}

static void check_line(const char *line, unsigned columns) {
    if (strlen(line) >= columns || !is_whole(line))
        fail_msg("on %u columns: '%s'", columns, line);
}

static void no_figure_is_cut(void **state) {
    (void)state;
    char shown[SHOWN_BYTES];
    for (unsigned short columns = 31; columns <= 140; columns++) {
        view(columns, shown);
        each_line(shown, columns, check_line);
    }
}

static void all_is_shown_where_there_is_room(void **state) {
    (void)state;
    char shown[SHOWN_BYTES];
    view(120, shown);
    assert_non_null(strstr(shown, " [##########..........] 5.1 of 10.0 s  threads 205, asleep 204  "
                                  "1234.5 MiB"));
    assert_non_null(strstr(shown, "  connections"));
    view(80, shown);
    assert_non_null(strstr(shown, " 5.1 of 10.0 s  threads 205, asleep 204"));
    assert_non_null(strstr(shown, "  connections"));
    view(40, shown);
    assert_non_null(strstr(shown, "1/23 gunicorn-threads 5.1 of 10.0 s"));
    assert_non_null(strstr(shown, "           threads  asleep in flight\r\n"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_figure_is_cut),
        cmocka_unit_test(all_is_shown_where_there_is_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
