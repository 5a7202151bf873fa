/* SPDX-License-Identifier: MIT */
/* Mixes: which line is next, its bytes, and what is refused, without a network. */
#include "base/alloc.h"
#include "loadgen/mix.h"
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/srv-test-mix-XXXXXX";
static struct loadgen_config config;
static struct target base;

static int set_up(void **state) {
    (void)state;
    int fd = mkstemp(path);
    assert_int_equal(target_parse(&base, "http://first.test:81/base", NULL), 0);
    return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state) {
    (void)state;
    return unlink(path);
}

static struct load_mix *opened(const char *text, enum loadgen_order order, int64_t seed) {
    struct load_mix *m;
    struct error err = { .text = "" };
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    config = (struct loadgen_config){ .url = "http://first.test:81/base",
                                      .requests_file = path,
                                      .requests_order = order,
                                      .keep_alive = true,
                                      .seed = seed };
    if (mix_open(&m, &config, &base, &err) != 0)
        fail_msg("%s", err.text);
    return m;
}

/* The bytes of the next request, NUL-terminated. */
static char *next(struct load_mix *m, size_t *ret_line) {
    struct mix_turn turn;
    struct mix_request *r = mem_calloc(1, sizeof(*r));
    mix_next(m, &turn);
    assert_int_equal(mix_fill(m, &turn, r), 0);
    char *bytes = slice_dup(request_bytes(&r->request));
    mix_request_free(r);
    *ret_line = turn.line;
    return bytes;
}

static void test_lines_follow_each_other(void **state) {
    (void)state;
    struct load_mix *m =
        opened("/a\n\n#\n/b POST x\nhttp://second.test/c\r\n/d", LOADGEN_ORDER_AUTO, 1);
    static const char *const expected[] = { "GET /a HTTP/1.1\r\nHost: first.test:81\r\n",
                                            "POST /b HTTP/1.1\r\nHost: first.test:81\r\n",
                                            "GET /c HTTP/1.1\r\nHost: second.test\r\n",
                                            "GET /d HTTP/1.1\r\nHost: first.test:81\r\n" };
    assert_int_equal(mix_line_count(m), 4);
    assert_int_equal(mix_target_count(m), 2);
    for (size_t i = 0; i < 12; i++) {
        size_t line;
        char *bytes = next(m, &line);
        assert_int_equal(line, i % 4);
        assert_memory_equal(bytes, expected[i % 4], strlen(expected[i % 4]));
        assert_true(i % 4 != 1 || strstr(bytes, "\r\nContent-Length: 1\r\n\r\nx") != NULL);
        assert_true(i % 4 == 1 || strcmp(bytes + strlen(bytes) - 4, "\r\n\r\n") == 0);
        mem_free(bytes);
    }
    mix_free(m);
}

static void test_a_host_is_one_however_it_is_spelled(void **state) {
    (void)state;
    struct load_mix *m =
        opened("http://first.test:81/\nhttp://x.test/\nhttp://x.test:80/\nx.test/a\n"
               "https://x.test/\nHTTPS://x.test:443\n",
               LOADGEN_ORDER_AUTO, 1);
    assert_int_equal(mix_target_count(m), 3);
    assert_true(mix_target(m, 2)->is_tls && !mix_target(m, 1)->is_tls);
    mix_free(m);
}

/* Chi-square over 200 lines of weights 1 to 200, for 50 seeds: the 99.99 % quantile of 199 degrees
 * of freedom is 280. */
static void test_weights_are_kept(void **state) {
    (void)state;
    enum { LINES = 200, DRAWS = 40000 };
    char text[LINES * 48];
    size_t used = 0;
    for (int i = 1; i <= LINES; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used,
                                 "{\"url\":\"/%d\",\"weight\":%d}\n", i, i);
    for (int64_t seed = 1; seed <= 50; seed++) {
        struct load_mix *m = opened(text, LOADGEN_ORDER_AUTO, seed);
        unsigned counts[LINES] = { 0 };
        double sum = 0;
        for (int i = 0; i < DRAWS; i++) {
            struct mix_turn turn;
            mix_next(m, &turn);
            counts[turn.line]++;
        }
        for (int i = 0; i < LINES; i++) {
            double expected = (double)DRAWS * (i + 1) / (LINES * (LINES + 1) / 2);
            sum += (counts[i] - expected) * (counts[i] - expected) / expected;
        }
        if (sum > 290)
            fail_msg("seed %d: chi-square %f", (int)seed, sum);
        mix_free(m);
    }
}

static void test_weights_may_be_far_apart(void **state) {
    (void)state;
    struct load_mix *m =
        opened("{\"url\":\"/a\",\"weight\":0.0001}\n{\"url\":\"/b\",\"weight\":1000000}\n",
               LOADGEN_ORDER_AUTO, 1);
    size_t first = 0;
    for (int i = 0; i < 10000; i++) {
        struct mix_turn turn;
        mix_next(m, &turn);
        first += turn.line == 0;
    }
    assert_true(first <= 1);
    mix_free(m);
}

static void test_shards_take_turns(void **state) {
    (void)state;
    struct load_mix *m = opened("/0\n/1\n/2\n/3\n/4\n/5\n", LOADGEN_ORDER_IN_ORDER, 1);
    config.shard.share = (struct share){ .index = 1, .count = 3 };
    for (size_t i = 0; i < 6; i++) {
        size_t line;
        mem_free(next(m, &line));
        assert_int_equal(line, (1 + 3 * i) % 6);
    }
    mix_free(m);
}

static void test_memory_runs_out_cleanly(void **state) {
    (void)state;
    mix_free(opened(
        "{\"url\":\"http://b.test/\\u0041\",\"name\":\"n\",\"weight\":2,\"headers\":{\"A\":\"b\"},"
        "\"body\":\"x\\n\",\"expect\":{\"status\":200,\"body\":\"y\"}}\n/a\n",
        LOADGEN_ORDER_AUTO, 1));
    config.templates = true;
    for (long n = 0;; n++) {
        struct load_mix *m;
        mem_fail_after(n);
        int rc = mix_open(&m, &config, &base, NULL);
        bool failed = mem_failed();
        mem_fail_after(-1);
        mix_free(m);
        if (!failed)
            break;
        assert_int_equal(rc, -ENOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_follow_each_other),
        cmocka_unit_test(test_a_host_is_one_however_it_is_spelled),
        cmocka_unit_test(test_weights_are_kept),
        cmocka_unit_test(test_weights_may_be_far_apart),
        cmocka_unit_test(test_shards_take_turns),
        cmocka_unit_test(test_memory_runs_out_cleanly),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
