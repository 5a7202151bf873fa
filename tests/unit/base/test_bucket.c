/* SPDX-License-Identifier: MIT */
/* Bandwidths: how long takers wait, alone, late and many at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bucket.h"
#include <pthread.h>

#define START (1000 * NSEC_PER_SEC)

static void takers_wait_for_those_before(void **state UNUSED) {
    struct bucket bucket = { 0 };

    assert_int_equal(bucket_carry(&bucket, 500, 1000, START), START + NSEC_PER_SEC / 2);
    assert_int_equal(bucket_carry(&bucket, 500, 1000, START), START + NSEC_PER_SEC);
    assert_int_equal(bucket_carry(&bucket, 1000, 1000, START + 1), START + 2 * NSEC_PER_SEC);
}

static void what_nobody_took_is_lost_but_who_was_late_makes_up(void **state UNUSED) {
    struct bucket bucket = { 0 };
    nsec_t later = START + 100 * NSEC_PER_SEC;

    assert_int_equal(bucket_carry(&bucket, 1000, 1000, START), START + NSEC_PER_SEC);
    assert_int_equal(bucket_carry(&bucket, 1000, 1000, START + NSEC_PER_SEC),
                     START + 2 * NSEC_PER_SEC);
    assert_int_equal(bucket_carry(&bucket, 1000, 1000, later), later + NSEC_PER_SEC);
    bucket_clear(&bucket);
    assert_int_equal(bucket_carry(&bucket, 1000, 1000, START), START + NSEC_PER_SEC);
}

static void *take_many(void *arg) {
    nsec_t last = 0;

    for (int i = 0; i < 10000; i++) {
        nsec_t at = bucket_carry(arg, 100, 1000000, START);
        assert_true(at > last);
        last = at;
    }
    return NULL;
}

static void no_byte_is_given_twice(void **state UNUSED) {
    struct bucket bucket = { 0 };
    pthread_t threads[4];

    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, &bucket), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(bucket_carry(&bucket, 1, 1, START), START + 5 * NSEC_PER_SEC);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takers_wait_for_those_before),
        cmocka_unit_test(what_nobody_took_is_lost_but_who_was_late_makes_up),
        cmocka_unit_test(no_byte_is_given_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
