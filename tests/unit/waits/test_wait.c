/* SPDX-License-Identifier: MIT */
/* Words of waits, and sums that stay whole. */
#include "base/alloc.h"
#include "waits/wait.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct wait wait_of(enum wait_kind kind, const char *role, const char *object) {
    struct wait w = { .kind = kind };
    snprintf(w.role, sizeof(w.role), "%s", role);
    snprintf(w.object, sizeof(w.object), "%s", object);
    return w;
}

static void assert_words(struct wait w, uint32_t min, const char *expected) {
    char text[WAIT_TEXT_BYTES];
    struct wait_group group = { .wait = w, .descriptors_min = min, .threads = 1 };
    assert_string_equal(wait_text(&group, text), expected);
}

static void words_name_the_other_end(void **state) {
    (void)state;
    struct wait polled = wait_of(WAIT_RECV, "upstream", "127.0.0.1:4000");
    struct wait epoll = { .kind = WAIT_EPOLL, .descriptors = 20 };
    assert_words(polled, 0, "recv from upstream 127.0.0.1:4000");
    polled.polled = true;
    assert_words(polled, 0, "recv from upstream 127.0.0.1:4000 (poll)");
    assert_words(wait_of(WAIT_RECV, "client", "[::1]:80"), 0, "recv from client of [::1]:80");
    assert_words(wait_of(WAIT_SEND, "", ""), 0, "send to a socket");
    assert_words(wait_of(WAIT_ACCEPT, "", "unix:/a"), 0, "accept on unix:/a");
    assert_words(wait_of(WAIT_CONNECT, "database", "[::1]:5432"), 0,
                 "connect to database [::1]:5432");
    assert_words(wait_of(WAIT_FILE_LOCK, "", "/a"), 0, "lock of /a");
    assert_words(epoll, 20, "epoll on 20 descriptors");
    assert_words(epoll, 18, "epoll on 18 to 20 descriptors");
    epoll.descriptors = 0;
    assert_words(epoll, 0, "epoll");
}

static void every_kind_has_a_name_and_words(void **state) {
    (void)state;
    for (int kind = 0; kind < WAIT_KINDS; kind++) {
        char text[WAIT_TEXT_BYTES];
        struct wait_group group = { .wait.kind = (enum wait_kind)kind };
        assert_true(strlen(wait_kind_name((enum wait_kind)kind)) > 0);
        assert_true(strlen(wait_text(&group, text)) > 0);
        for (int other = 0; other < kind; other++)
            assert_string_not_equal(wait_kind_name((enum wait_kind)kind),
                                    wait_kind_name((enum wait_kind)other));
    }
}

static uint32_t sum(const struct wait_tally *t) {
    uint32_t threads = 0;
    for (size_t i = 0; i < t->count; i++)
        threads += t->groups[i].threads;
    return threads;
}

static void equal_waits_are_one_group(void **state) {
    (void)state;
    struct wait_tally *t = mem_calloc(1, sizeof(*t));
    struct wait two = { .kind = WAIT_POLL, .descriptors = 2 };
    struct wait three = { .kind = WAIT_POLL, .descriptors = 3 };
    struct wait sleep = { .kind = WAIT_SLEEP };
    char text[200];
    tally_add(t, &sleep);
    tally_add(t, &three);
    tally_add(t, &two);
    tally_sort(t);
    assert_int_equal(t->count, 2);
    assert_int_equal(t->threads, 3);
    assert_string_equal(tally_text(t, text, sizeof(text)),
                        "2: poll on 2 to 3 descriptors; 1: sleep");
    mem_free(t);
}

/* More kinds of waits than there are places, in any order of adding and sorting. */
static void sums_stay_whole_without_places(void **state) {
    (void)state;
    struct wait_tally *t = mem_calloc(1, sizeof(*t)), *all = mem_calloc(1, sizeof(*all));
    for (unsigned i = 0; i < 3 * TALLY_GROUPS_MAX; i++) {
        char object[20];
        snprintf(object, sizeof(object), "127.0.0.1:%u", i % (2 * TALLY_GROUPS_MAX));
        struct wait w = wait_of(WAIT_RECV, "upstream", object);
        tally_add(t, &w);
        tally_sort(t);
        assert_int_equal(t->threads, i + 1);
        assert_int_equal(sum(t), i + 1);
        assert_true(t->count <= TALLY_GROUPS_MAX);
    }
    for (size_t i = 0; i < 2 * t->count; i++)
        tally_add_group(all, &t->groups[i / 2]);
    assert_int_equal(all->threads, 2 * t->threads);
    assert_int_equal(sum(all), 2 * t->threads);
    mem_free(t);
    mem_free(all);
}

static void what_does_not_fit_a_line_is_a_number(void **state) {
    (void)state;
    struct wait_tally *t = mem_calloc(1, sizeof(*t));
    struct wait sleep = { .kind = WAIT_SLEEP }, recv = wait_of(WAIT_RECV, "upstream", "[::1]:1");
    char text[64];
    tally_add(t, &sleep);
    tally_add(t, &sleep);
    tally_add(t, &sleep);
    tally_add(t, &recv);
    tally_add(t, &recv);
    tally_sort(t);
    assert_string_equal(tally_text(t, text, 39), "3: sleep; 2: other waits");
    assert_string_equal(tally_text(t, text, 64), "3: sleep; 2: recv from upstream [::1]:1");
    mem_free(t);
}

static void json_says_the_same(void **state) {
    (void)state;
    struct wait_group group = { .wait = wait_of(WAIT_RECV, "upstream", "127.0.0.1:1"),
                                .threads = 7 };
    group.wait.polled = true;
    char *text = json_line(wait_json(&group, "threads"));
    assert_string_equal(text, "{\"kind\":\"recv\",\"text\":\"recv from upstream 127.0.0.1:1 "
                              "(poll)\",\"threads\":7,\"role\":\"upstream\",\"object\":"
                              "\"127.0.0.1:1\",\"polled\":true}");
    free(text); /* json_line's */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_name_the_other_end),
        cmocka_unit_test(every_kind_has_a_name_and_words),
        cmocka_unit_test(equal_waits_are_one_group),
        cmocka_unit_test(sums_stay_whole_without_places),
        cmocka_unit_test(what_does_not_fit_a_line_is_a_number),
        cmocka_unit_test(json_says_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
