/* SPDX-License-Identifier: MIT */
/* Objects of JSON, member by member: what is taken as jansson takes it, and what is refused. */
#include "base/attr.h"
#include "base/json_scan.h"
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static int scan_all(const char *text, size_t *ret_count, const char **ret_why) {
    struct json_scan s;
    struct json_member m;
    int rc = json_scan_begin(&s, slice_str(text));
    *ret_count = 0;
    while (rc == 0 && (rc = json_scan_next(&s, &m)) > 0) {
        (*ret_count)++;
        rc = 0;
    }
    *ret_why = s.why;
    return rc;
}

static void assert_member(struct json_scan *s, const char *key, enum json_kind kind,
                          const char *value) {
    struct json_member m;
    assert_int_equal(json_scan_next(s, &m), 1);
    assert_true(slice_eq(m.key, slice_str(key)));
    assert_int_equal(m.kind, kind);
    if (!slice_eq(m.value, slice_str(value)))
        fail_msg("%.*s is not %s", (int)m.value.len, m.value.ptr, value);
}

static void test_members_come_in_their_order(void **state) {
    struct json_scan s;
    struct json_member m;
    (void)state;
    assert_int_equal(
        json_scan_begin(&s, SLICE(" {\"a\": \"x\\n\", \"b\":-1.5e3 ,\"c\":[1,{\"d\":[]}], "
                                  "\"e\":{},\"f\":true,\"g\":null}\t")),
        0);
    assert_member(&s, "a", JSON_KIND_STRING, "x\\n");
    assert_member(&s, "b", JSON_KIND_NUMBER, "-1.5e3");
    assert_member(&s, "c", JSON_KIND_ARRAY, "[1,{\"d\":[]}]");
    assert_member(&s, "e", JSON_KIND_OBJECT, "{}");
    assert_member(&s, "f", JSON_KIND_WORD, "true");
    assert_member(&s, "g", JSON_KIND_WORD, "null");
    assert_int_equal(json_scan_next(&s, &m), 0);
}

static const char *const good[] = {
    "{}",          "{ }",
    "{\"\":0}",    "{\"a\":{\"b\":{\"c\":[[[]]]}}}",
    "{\"a\":[ ]}", "{\"a\":[1,2 , 3]}",
    "{\"a\":0.0}", "{\"a\":\"\\u00e9\\\\\\/\"}",
};

static const char *const bad[] = {
    "",
    "[]",
    "{",
    "{}x",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{,}",
    "{\"a\" 1}",
    "{a:1}",
    "{\"a\":01}",
    "{\"a\":1.}",
    "{\"a\":+1}",
    "{\"a\":1e}",
    "{\"a\":nul}",
    "{\"a\":\"x}",
    "{\"a\":[1,]}",
    "{\"a\":[1 2]}",
    "{\"a\":[}",
    "{\"a\":{]}",
    "{\"a\":[1}",
    "{\"a\":{1:2}}",
    "{\"a\":\"\n\"}",
    "{\"a\":\"\\x\"}",
    "{\"a\":\"\\u12\"}",
    "{\"a\":\"\\u0000\"}",
    "{\"a\":[,1]}",
    "{\"a\":{\"b\":1,}}",
    "{\"a\":1 \"b\":2}",
};

static void test_texts_are_judged_as_jansson_does(void **state) {
    size_t count;
    const char *why;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        json_t *json = json_loads(good[i], 0, NULL);
        if (json == NULL || scan_all(good[i], &count, &why) != 0)
            fail_msg("%s: %s", good[i], why);
        assert_int_equal(count, json_object_size(json));
        json_decref(json);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        json_t *json = json_loads(bad[i], 0, NULL);
        assert_false(json_is_object(json));
        json_decref(json);
        if (scan_all(bad[i], &count, &why) != -EINVAL || why == NULL)
            fail_msg("%s is taken", bad[i]);
    }
}

static void test_depth_has_a_limit(void **state) {
    char text[2 * JSON_SCAN_DEPTH_MAX + 16] = "{\"a\":";
    size_t count, at = strlen(text);
    const char *why;
    (void)state;
    for (int i = 0; i < JSON_SCAN_DEPTH_MAX; i++)
        text[at++] = '[';
    assert_int_equal(scan_all(text, &count, &why), -EINVAL);
    assert_string_equal(why, "is nested too deeply");
}

static void test_escapes_are_undone_as_jansson_does(void **state) {
    static const char *const strings[] = { "",         "plain",   "\\n\\t\\b\\f\\r\\/\\\\\\\"",
                                           "\\u00e9",  "\\u20ac", "\\ud83d\\ude00 and \xc3\xa9",
                                           "a\\u0041b" };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(strings); i++) {
        char quoted[64], out[64];
        snprintf(quoted, sizeof(quoted), "\"%s\"", strings[i]);
        json_t *json = json_loads(quoted, JSON_DECODE_ANY, NULL);
        assert_non_null(json);
        size_t len = json_scan_unescape(slice_str(strings[i]), out);
        assert_int_equal(len, json_string_length(json));
        assert_memory_equal(out, json_string_value(json), len);
        json_decref(json);
    }
    char alone[] = "\\ud800x";
    size_t len = json_scan_unescape(slice_str(alone), alone);
    assert_int_equal(len, 4);
    assert_memory_equal(alone, "\xef\xbf\xbdx", len);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members_come_in_their_order),
        cmocka_unit_test(test_texts_are_judged_as_jansson_does),
        cmocka_unit_test(test_depth_has_a_limit),
        cmocka_unit_test(test_escapes_are_undone_as_jansson_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
