/* SPDX-License-Identifier: MIT */
/* Lists of servers taken apart, and who of them is reached. No test needs a network: connections
 * are eventfds that somebody makes readable. */
#include "server/limits.h"
#include "server/upstream/db_hosts.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE (30 * NSEC_PER_SEC)

/* --- lists ------------------------------------------------------------------------------------ */

/* The list as "host/hostaddr:port?" with spaces between; `?` for names. */
static const char *parsed(struct arena *arena, const char *hosts, const char *addresses,
                          const char *ports) {
    const char *text = "";
    struct db_hosts list;
    struct db_host *h;

    assert_int_equal(db_hosts_parse(hosts, addresses, ports, arena, &list), 0);
    STAILQ_FOREACH(h, &list, link) {
        text = arena_printf(arena, "%s%s%s/%s:%s%s", text, text[0] != '\0' ? " " : "", h->host,
                            h->hostaddr, h->port, h->is_name ? "?" : "");
        assert_non_null(text);
    }
    return text;
}

static void lists_are_taken_apart(void **state) {
    static const struct {
        const char *hosts, *addresses, *ports, *text;
    } rows[] = {
        { NULL, NULL, NULL, "/:" },
        { "", "", "", "/:" },
        { "127.0.0.1", NULL, "5432", "127.0.0.1/:5432" },
        { "::1", NULL, NULL, "::1/:" },
        { "/run,@abstract", NULL, "1", "/run/:1 @abstract/:1" },
        { "localhost", NULL, "7", "localhost/:7?" },
        { "/run,a.example,10.0.0.1", NULL, "1,2,3", "/run/:1 a.example/:2? 10.0.0.1/:3" },
        { NULL, "10.0.0.1,10.0.0.2", "1", "/10.0.0.1:1 /10.0.0.2:1" },
        { "a.example,b.example", "10.0.0.1,", NULL, "a.example/10.0.0.1: b.example/:?" },
        { "a.example,", NULL, ",6", "a.example/:? /:6" },
    };
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_string_equal(parsed(&arena, rows[i].hosts, rows[i].addresses, rows[i].ports),
                            rows[i].text);
    arena_free(&arena);
}

static void lists_of_different_lengths_are_refused(void **state) {
    struct arena arena;
    struct db_hosts list;
    char many[2 * SERVER_DB_HOSTS_MAX + 2];

    (void)state;
    arena_init(&arena, 1 << 20);
    assert_int_equal(db_hosts_parse("a,b,c", NULL, "1,2", &arena, &list), -EINVAL);
    assert_int_equal(db_hosts_parse("a,b", "10.0.0.1", NULL, &arena, &list), -EINVAL);
    assert_int_equal(db_hosts_parse("a", NULL, "1,2", &arena, &list), -EINVAL);
    memset(many, ',', sizeof(many) - 1);
    many[sizeof(many) - 1] = '\0';
    assert_int_equal(db_hosts_parse(many, NULL, NULL, &arena, &list), -EINVAL);
    arena_free(&arena);
}

/* --- reaching --------------------------------------------------------------------------------- */

/* What a fake server does, by the first letter of its host. */
enum { SILENT = '1', REFUSES = '2', UNWANTED = '3', READY = '4' };

struct fake {
    const struct db_host *host;
    int fd;
};

struct story {
    struct arena arena;
    int others[8], other_count; /* descriptors that somebody else keeps open */
    char tried[256], said[512];
    int open;
    nsec_t took;
    struct fake *won;
    int rc;
};

static int fake_begin(void *arg, const struct db_host *host, void **ret) {
    struct story *s = arg;
    struct fake *f = malloc(sizeof(*f));
    const char *name = host->hostaddr[0] != '\0' ? host->hostaddr : host->host;

    assert_non_null(f);
    strcat(strcat(s->tried, s->tried[0] != '\0' ? " " : ""), name);
    *f = (struct fake){ .host = host, .fd = eventfd(name[0] != SILENT, EFD_NONBLOCK) };
    s->others[s->other_count++] = dup(f->fd);
    s->open++;
    *ret = f;
    return 0;
}

static unsigned fake_wants(void *arg, void *conn, int *ret_fd) {
    (void)arg;
    *ret_fd = ((struct fake *)conn)->fd;
    return IO_READ;
}

static int fake_step(void *arg, void *conn) {
    const struct db_host *h = ((struct fake *)conn)->host;

    (void)arg;
    switch (h->hostaddr[0] != '\0' ? h->hostaddr[0] : h->host[0]) {
    case REFUSES:
        return -ECONNREFUSED;
    case UNWANTED:
        return -ECONNABORTED;
    default:
        return 1;
    }
}

static void fake_end(void *arg, void *conn) {
    close(((struct fake *)conn)->fd);
    ((struct story *)arg)->open--;
    free(conn);
}

static void fake_say(void *arg, const char *why) {
    struct story *s = arg;

    strcat(strcat(s->said, why), ";");
}

static void tell(struct story *s, const char *hosts, const char *ports, nsec_t span,
                 nsec_t patience) {
    struct db_dial dial = { fake_begin, fake_wants, fake_step, fake_end, fake_say, s };
    nsec_t began = clock_now();
    struct db_hosts list;
    struct io_block io;
    void *won = NULL;

    *s = (struct story){ .open = 0 };
    io_block_init(&io, -1);
    arena_init(&s->arena, 1 << 20);
    assert_int_equal(db_hosts_parse(hosts, NULL, ports, &s->arena, &list), 0);
    s->rc =
        db_hosts_dial(&list, &dial, &io.io, &s->arena, span, deadline_after(began, patience), &won);
    s->took = clock_now() - began;
    s->won = won;
}

/* All but the winner have been ended. */
static void end(struct story *s) {
    assert_int_equal(s->open, s->won != NULL);
    if (s->won != NULL)
        fake_end(s, s->won);
    while (s->other_count > 0)
        close(s->others[--s->other_count]);
    arena_free(&s->arena);
}

static void the_first_that_is_ready_wins(void **state) {
    struct story s;

    (void)state;
    tell(&s, "4.0.0.1,4.0.0.2", NULL, NSEC_NEVER, PATIENCE);
    assert_int_equal(s.rc, 0);
    assert_string_equal(s.tried, "4.0.0.1");
    end(&s);
    tell(&s, "2.0.0.1,2.0.0.2,4.0.0.3", NULL, NSEC_NEVER, PATIENCE);
    assert_int_equal(s.rc, 0);
    assert_string_equal(s.won->host->host, "4.0.0.3");
    assert_true(s.took < SERVER_DB_HOST_NSEC); /* who refuses is not waited for */
    end(&s);
}

static void the_next_begins_beside_a_silent_one(void **state) {
    struct story s;

    (void)state;
    tell(&s, "1.0.0.1,1.0.0.2,4.0.0.3", NULL, NSEC_NEVER, PATIENCE);
    assert_int_equal(s.rc, 0);
    assert_string_equal(s.tried, "1.0.0.1 1.0.0.2 4.0.0.3");
    assert_true(s.took >= 2 * SERVER_DB_HOST_NSEC);
    assert_true(s.took < PATIENCE / 2);
    end(&s);
}

/* Its descriptor is ready all the while, in another process for example. */
static void one_that_has_ended_is_not_asked_again(void **state) {
    struct story s;

    (void)state;
    tell(&s, "2.0.0.1,1.0.0.1,4.0.0.1", NULL, NSEC_NEVER, PATIENCE);
    assert_int_equal(s.rc, 0);
    assert_string_equal(s.won->host->host, "4.0.0.1");
    end(&s);
}

static void each_has_its_own_time(void **state) {
    struct story s;

    (void)state;
    tell(&s, "1.0.0.1,1.0.0.2", "5,6", 100 * NSEC_PER_MSEC, PATIENCE);
    assert_int_equal(s.rc, -ETIMEDOUT);
    assert_string_equal(s.said,
                        "no answer in time from 1.0.0.1:5;no answer in time from 1.0.0.2:6;");
    assert_true(s.took < PATIENCE / 2);
    end(&s);
}

static void the_deadline_ends_all(void **state) {
    struct story s;

    (void)state;
    tell(&s, "1.0.0.1,1.0.0.2", NULL, NSEC_NEVER, SERVER_DB_HOST_NSEC + 100 * NSEC_PER_MSEC);
    assert_int_equal(s.rc, -ETIMEDOUT);
    assert_non_null(strstr(s.said, "1.0.0.1"));
    assert_non_null(strstr(s.said, "1.0.0.2"));
    end(&s);
}

static void one_that_does_not_want_us_ends_the_list(void **state) {
    struct story s;

    (void)state;
    tell(&s, "2.0.0.1,3.0.0.1,4.0.0.1", NULL, NSEC_NEVER, PATIENCE);
    assert_int_equal(s.rc, -ECONNABORTED);
    assert_string_equal(s.tried, "2.0.0.1 3.0.0.1");
    end(&s);
}

/* Whatever families this machine knows localhost by: 127.0.0.1 is a silent server here. */
static void a_name_is_tried_by_its_addresses(void **state) {
    struct story s;

    (void)state;
    tell(&s, "localhost,4.0.0.1", NULL, NSEC_NEVER, PATIENCE);
    assert_int_equal(s.rc, 0);
    assert_true(strstr(s.tried, "127.0.0.1") != NULL || strstr(s.tried, "::1") != NULL);
    end(&s);
}

/* .invalid is nobody's (RFC 2606). */
static void an_unknown_name_is_told_and_passed_over(void **state) {
    struct story s;

    (void)state;
    tell(&s, "nowhere.invalid", NULL, NSEC_NEVER, PATIENCE);
    assert_int_equal(s.rc, -ENOENT);
    assert_non_null(strstr(s.said, "nowhere.invalid"));
    end(&s);
    tell(&s, "nowhere.invalid,4.0.0.1", NULL, NSEC_NEVER, PATIENCE);
    assert_int_equal(s.rc, 0);
    end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_taken_apart),
        cmocka_unit_test(lists_of_different_lengths_are_refused),
        cmocka_unit_test(the_first_that_is_ready_wins),
        cmocka_unit_test(the_next_begins_beside_a_silent_one),
        cmocka_unit_test(one_that_has_ended_is_not_asked_again),
        cmocka_unit_test(each_has_its_own_time),
        cmocka_unit_test(the_deadline_ends_all),
        cmocka_unit_test(one_that_does_not_want_us_ends_the_list),
        cmocka_unit_test(a_name_is_tried_by_its_addresses),
        cmocka_unit_test(an_unknown_name_is_told_and_passed_over),
    };

    return cmocka_run_group_tests_name("server/db_hosts", tests, NULL, NULL);
}
