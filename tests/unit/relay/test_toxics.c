/* SPDX-License-Identifier: MIT */
/* Toxics: their spelling, what is refused, and how changes are laid over them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "relay/toxics.h"
#include <errno.h>

static struct relay_toxics toxics; /* too large for a frame */

static void each_way_has_its_own(void **state UNUSED) {
    const struct relay_stream *up = &toxics.ways[RELAY_UP], *down = &toxics.ways[RELAY_DOWN];
    struct error err;

    assert_int_equal(relay_toxics_parse(SLICE("latency=50ms&latency=5ms@up&bandwidth=10k@both&"
                                              "slice=1-5,2ms&corrupt=1%@up&shared-bandwidth=1m&"
                                              "close-delay=never@up&jitter=3ms&toxicity=25"),
                                        &toxics, &err),
                     0);
    assert_true(down->has_latency && up->has_latency);
    assert_int_equal((nsec_t)down->latency.a, 50 * NSEC_PER_MSEC);
    assert_int_equal((nsec_t)up->latency.a, 5 * NSEC_PER_MSEC);
    assert_int_equal(up->bandwidth, 10240);
    assert_int_equal(down->bandwidth, 10240);
    assert_int_equal(up->shared, 0);
    assert_int_equal(down->shared, 1 << 20);
    assert_int_equal(down->slice_min, 1);
    assert_int_equal(down->slice_max, 5);
    assert_int_equal(down->slice_pause, 2 * NSEC_PER_MSEC);
    assert_int_equal(up->slice_min, 0);
    assert_true(up->corrupt > 0.0099 && up->corrupt < 0.0101 && down->corrupt == 0);
    assert_true(up->keeps_close && !down->delays_close);
    assert_int_equal(down->jitter, 3 * NSEC_PER_MSEC);
    assert_true(toxics.toxicity == 0.25 && toxics.enabled);
}

static void nothing_is_nothing(void **state UNUSED) {
    assert_int_equal(relay_toxics_parse(SLICE(""), &toxics, NULL), 0);
    assert_true(toxics.enabled && toxics.toxicity == 1 && toxics.fault_count == 0);
    assert_int_equal(toxics.buffer, 1 << 20);
    assert_int_equal(toxics.connect_timeout, 10 * NSEC_PER_SEC);
}

static void faults_are_understood_and_told_back(void **state UNUSED) {
    static const struct {
        const char *text, *shown;
        double probability;
    } cases[] = {
        { "fault=rst", "rst@accept", 1 },
        { "fault=rst@down=64k:10", "rst@down=64k", 0.1 },
        { "fault=fin-up@up", "fin-up@up=0", 1 },
        { "fault=hang=2s@time=500ms:5%", "hang=2s@time=500ms", 0.05 },
        { "fault=hang-down@up=1", "hang-down@up=1", 1 },
        { "fault=rst@10k", "rst@down=10k", 1 },
        { "fault=rst@512b", "rst@down=512", 1 },
        { "fault=fin@500ms:1", "fin@time=500ms", 0.01 },
        { "fault=rst@up=7b", "rst@up=7", 1 },
        { "fault=refuse:0", "refuse@accept", 0 },
    };
    char text[RELAY_FAULT_TEXT];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(relay_toxics_parse(slice_str(cases[i].text), &toxics, NULL), 0);
        assert_int_equal(toxics.fault_count, 1);
        assert_string_equal(relay_fault_format(&toxics.faults[0], text), cases[i].shown);
        assert_true(toxics.faults[0].probability == cases[i].probability);
    }
    assert_int_equal(relay_toxics_parse(SLICE("fault=rst,fin@time=1s&fault=none"), &toxics, NULL),
                     0);
    assert_int_equal(toxics.fault_count, 0);
}

static void what_is_none_is_refused_in_a_line(void **state UNUSED) {
    static const char *const cases[] = {
        "latency",
        "latency=",
        "latency=@up",
        "latency=5x",
        "latency=-1s",
        "latency=1s@sideways",
        "jitter=exp:5ms",
        "bandwidth=0",
        "bandwidth=2g",
        "bandwidth=5x@up",
        "slice=0",
        "slice=5-2",
        "slice=5,",
        "slice=2m",
        "corrupt=101",
        "corrupt=x",
        "close-delay=later",
        "toxicity=-1",
        "fault=",
        "fault=boom",
        "fault=rst@",
        "fault=rst:",
        "fault=rst@up=",
        "fault=rst@up=-1",
        "fault=rst@2m",
        "fault=rst@7",
        "fault=rst@b",
        "fault=rst@7=1",
        "fault=rst@xs",
        "fault=rst@accept=1",
        "fault=rst@time",
        "fault=rst@time=x",
        "fault=refuse@up=1",
        "fault=rst=1s",
        "fault=hang=x",
        "fault=rst,rst,rst,rst,rst,rst,rst,rst,rst",
        "connections=1.5",
        "connections=9999999",
        "buffer=0",
        "buffer=2g",
        "enabled=yes",
        "connect-timeout=0",
        "connect-timeout=x",
        "name=a b",
        "name=a/b",
        "unknown=1",
        "=1",
        "connections=5@up",
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct error err = { .text = "" };
        assert_int_equal(relay_toxics_parse(slice_str(cases[i]), &toxics, &err), -EINVAL);
        assert_true(strlen(err.text) > 10 && strchr(err.text, '\n') == NULL);
    }
}

static void changes_are_laid_over(void **state UNUSED) {
    static const struct {
        const char *text, *change, *wanted;
    } cases[] = {
        { "", "latency=1s", "latency=1s" },
        { "latency=1s", "latency=2s", "latency=2s" },
        { "latency=1s@both", "latency=2s", "latency=1s@up&latency=2s" },
        { "latency=1s", "latency=2s@up", "latency=1s&latency=2s@up" },
        { "latency=1s@up&slice=5", "latency=", "slice=5" },
        { "latency=1s@both", "latency=@down", "latency=1s@up" },
        { "latency=1s@both", "latency=2s@both", "latency=2s@both" },
        { "fault=rst:5&buffer=1k", "fault=", "buffer=1k" },
        { "fault=rst:5", "fault=fin", "fault=fin" },
        { "buffer=1k", "", "buffer=1k" },
        { "buffer=1k", "&&", "buffer=1k" },
    };
    char changed[RELAY_TOXICS_TEXT];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(relay_toxics_change(slice_str(cases[i].text), slice_str(cases[i].change),
                                             changed, NULL),
                         0);
        assert_string_equal(changed, cases[i].wanted);
        assert_int_equal(relay_toxics_parse(slice_str(changed), &toxics, NULL), 0);
    }
}

static void texts_that_are_too_long_are_refused(void **state UNUSED) {
    static char text[RELAY_TOXICS_TEXT + 1];
    char changed[RELAY_TOXICS_TEXT];
    struct error err = { .text = "" };

    memset(text, '&', RELAY_TOXICS_TEXT - 1);
    assert_int_equal(relay_toxics_parse(slice_str(text), &toxics, NULL), 0);
    text[RELAY_TOXICS_TEXT - 1] = '&';
    assert_int_equal(relay_toxics_parse(slice_str(text), &toxics, &err), -EINVAL);
    memcpy(text, "latency=p50=", 12);
    memset(text + 12, '1', RELAY_TOXICS_TEXT - 13);
    text[RELAY_TOXICS_TEXT - 1] = '\0';
    assert_int_equal(relay_toxics_change(SLICE("buffer=1k"), slice_str(text), changed, &err),
                     -EINVAL);
    assert_int_equal(relay_toxics_change(SLICE(""), SLICE("no=5"), changed, &err), -EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_way_has_its_own),
        cmocka_unit_test(nothing_is_nothing),
        cmocka_unit_test(faults_are_understood_and_told_back),
        cmocka_unit_test(what_is_none_is_refused_in_a_line),
        cmocka_unit_test(changes_are_laid_over),
        cmocka_unit_test(texts_that_are_too_long_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
