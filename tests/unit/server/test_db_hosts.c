/* SPDX-License-Identifier: MIT */
/* Lists of hosts and ports as addresses. No test needs a network. */
#include "server/db_hosts.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define PATIENCE (30 * NSEC_PER_SEC)

/* One look-up; the lists are in the arena. */
struct outcome {
    struct arena arena;
    struct db_hosts hosts;
    const char *why;
    int rc;
};

static void find(struct outcome *o, const char *hosts, const char *ports) {
    struct io_block io;

    io_block_init(&io, -1);
    arena_init(&o->arena, 1 << 20);
    o->why = NULL;
    o->rc = db_hosts_find(hosts, ports, &io.io, &o->arena, deadline_after(clock_now(), PATIENCE),
                          &o->hosts, &o->why);
}

static void nothing_to_replace(void **state) {
    static const char *const hosts[] = { NULL,   "",          "127.0.0.1",         "::1",
                                         "/run", "@abstract", "/run,10.0.0.1,/tmp" };
    struct outcome o;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        find(&o, hosts[i], "5432");
        assert_int_equal(o.rc, 0);
        assert_null(o.hosts.host);
        assert_null(o.hosts.hostaddr);
        assert_null(o.hosts.port);
        arena_free(&o.arena);
    }
}

static size_t count(const char *list) {
    size_t n = 1;

    for (; *list != '\0'; list++)
        n += *list == ',';
    return n;
}

/* Whatever families this machine knows localhost by. */
static void a_name_stands_there_once_for_each_address(void **state) {
    struct outcome o;

    (void)state;
    find(&o, "localhost", "7777");
    assert_int_equal(o.rc, 0);
    assert_true(strstr(o.hosts.hostaddr, "127.0.0.1") != NULL ||
                strstr(o.hosts.hostaddr, "::1") != NULL);
    assert_memory_equal(o.hosts.host, "localhost", strlen("localhost"));
    assert_memory_equal(o.hosts.port, "7777", 4);
    assert_int_equal(count(o.hosts.host), count(o.hosts.hostaddr));
    assert_int_equal(count(o.hosts.port), count(o.hosts.hostaddr));
    arena_free(&o.arena);
}

static void what_is_no_name_keeps_its_place_and_port(void **state) {
    struct outcome o;

    (void)state;
    find(&o, "/run,localhost,10.0.0.1", "1,2,3");
    assert_int_equal(o.rc, 0);
    assert_memory_equal(o.hosts.host, "/run,localhost", strlen("/run,localhost"));
    assert_non_null(strstr(o.hosts.host, ",10.0.0.1"));
    assert_int_equal(o.hosts.hostaddr[0], ',');
    assert_int_equal(o.hosts.hostaddr[strlen(o.hosts.hostaddr) - 1], ',');
    assert_memory_equal(o.hosts.port, "1,2", 3);
    assert_string_equal(strrchr(o.hosts.port, ','), ",3");
    arena_free(&o.arena);
}

static void without_ports_libpq_knows_its_own(void **state) {
    struct outcome o;

    (void)state;
    find(&o, "localhost", NULL);
    assert_int_equal(o.rc, 0);
    assert_int_equal(strspn(o.hosts.port, ","), strlen(o.hosts.port));
    arena_free(&o.arena);
}

static void fewer_ports_than_hosts_are_refused(void **state) {
    struct outcome o;

    (void)state;
    find(&o, "localhost,10.0.0.1,10.0.0.2", "1,2");
    assert_int_equal(o.rc, -EINVAL);
    assert_null(o.hosts.host);
    arena_free(&o.arena);
}

/* .invalid is nobody's (RFC 2606). */
static void an_unknown_name_is_told(void **state) {
    struct outcome o;

    (void)state;
    find(&o, "10.0.0.1,nowhere.invalid", "1");
    assert_int_equal(o.rc, -ENOENT);
    assert_non_null(strstr(o.why, "nowhere.invalid"));
    assert_null(o.hosts.host);
    arena_free(&o.arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_to_replace),
        cmocka_unit_test(a_name_stands_there_once_for_each_address),
        cmocka_unit_test(what_is_no_name_keeps_its_place_and_port),
        cmocka_unit_test(without_ports_libpq_knows_its_own),
        cmocka_unit_test(fewer_ports_than_hosts_are_refused),
        cmocka_unit_test(an_unknown_name_is_told),
    };

    return cmocka_run_group_tests_name("server/db_hosts", tests, NULL, NULL);
}
