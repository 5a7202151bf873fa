/* SPDX-License-Identifier: MIT */
/* Base64: the vectors of RFC 4648 section 10, both alphabets, and what is none. */
#include "base/base64.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct {
    struct slice plain, standard, url;
} vectors[] = {
    { SLICE_INIT(""), SLICE_INIT(""), SLICE_INIT("") },
    { SLICE_INIT("f"), SLICE_INIT("Zg=="), SLICE_INIT("Zg==") },
    { SLICE_INIT("fo"), SLICE_INIT("Zm8="), SLICE_INIT("Zm8=") },
    { SLICE_INIT("foo"), SLICE_INIT("Zm9v"), SLICE_INIT("Zm9v") },
    { SLICE_INIT("foob"), SLICE_INIT("Zm9vYg=="), SLICE_INIT("Zm9vYg==") },
    { SLICE_INIT("fooba"), SLICE_INIT("Zm9vYmE="), SLICE_INIT("Zm9vYmE=") },
    { SLICE_INIT("foobar"), SLICE_INIT("Zm9vYmFy"), SLICE_INIT("Zm9vYmFy") },
    { SLICE_INIT("\xfb\xff\xfe"), SLICE_INIT("+//+"), SLICE_INIT("-__-") },
};

static void the_vectors_hold(void **state) {
    char out[16];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        size_t len = base64_encode(vectors[i].plain, BASE64_STANDARD, out);
        assert_true(slice_eq(slice_of(out, len), vectors[i].standard));
        assert_int_equal(len, base64_size(vectors[i].plain.len));
        len = base64_encode(vectors[i].plain, BASE64_URL, out);
        assert_true(slice_eq(slice_of(out, len), vectors[i].url));
        long back = base64_decode(vectors[i].standard, out);
        assert_true(back >= 0 && slice_eq(slice_of(out, (size_t)back), vectors[i].plain));
        back = base64_decode(vectors[i].url, out);
        assert_true(back >= 0 && slice_eq(slice_of(out, (size_t)back), vectors[i].plain));
    }
}

static void padding_may_be_left_out(void **state) {
    char out[8];

    (void)state;
    assert_int_equal(base64_decode(SLICE("Zm8"), out), 2);
    assert_int_equal(base64_decode(SLICE("Zg"), out), 1);
}

static void what_is_no_base64_is_refused(void **state) {
    static const char *const bad[] = { "Z",    "Zm9vY",  "Zg=",      "Zm9v=", "Zm9v====", "Z===",
                                       "Zm 9", "Zm9v\n", "Zg==Zg==", "=",     "!!!!" };
    char out[16];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (base64_decode(slice_str(bad[i]), out) != -EINVAL)
            fail_msg("%s", bad[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_hold),
        cmocka_unit_test(padding_may_be_left_out),
        cmocka_unit_test(what_is_no_base64_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
