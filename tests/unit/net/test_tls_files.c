/* SPDX-License-Identifier: MIT */
/* Certificates in files: options that fit, files that can be read, and reasons that name them. */
#include "net/listeners.h"
#include "net/tls_files.h"
#include "tls_pki.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct files_state {
    char folder[32];
    char good[64], key[64], both[64], empty[64], missing[64], trust[64];
    struct tls_pki pki;
};

static void write_file(char *path, const struct files_state *s, const char *name,
                       struct slice first, struct slice second) {
    FILE *out;

    snprintf(path, 64, "%s/%s", s->folder, name);
    out = fopen(path, "w");
    assert_non_null(out);
    fwrite(first.ptr, 1, first.len, out);
    fwrite(second.ptr, 1, second.len, out);
    assert_int_equal(fclose(out), 0);
}

static int set_up(void **state) {
    struct files_state *s = calloc(1, sizeof(*s));
    struct slice none = SLICE("");

    strcpy(s->folder, "/tmp/tls_files.XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    pki_open(&s->pki);
    write_file(s->good, s, "good.pem", buf_unread(&s->pki.good.chain), none);
    write_file(s->key, s, "good.key", buf_unread(&s->pki.good.key), none);
    write_file(s->both, s, "both.pem", buf_unread(&s->pki.other.chain),
               buf_unread(&s->pki.other.key));
    write_file(s->trust, s, "ca.pem", buf_unread(&s->pki.authority.chain), none);
    write_file(s->empty, s, "empty.pem", none, none);
    snprintf(s->missing, sizeof(s->missing), "%s/missing.pem", s->folder);
    *state = s;
    return 0;
}

static int tear_down(void **state) {
    struct files_state *s = *state;
    char *const paths[] = { s->good, s->key, s->both, s->empty, s->trust };

    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        unlink(paths[i]);
    rmdir(s->folder);
    pki_close(&s->pki);
    free(s);
    return 0;
}

static struct option_strings one(const char *path) {
    return (struct option_strings){ .items = { path }, .count = 1 };
}

static void refuse(const struct tls_files *files, const char *part) {
    struct error err = { "" };

    assert_null(tls_files_load(files, TLS_ALPN_HTTP, &err));
    if (strstr(err.text, part) == NULL)
        fail_msg("'%s' is not in '%s'", part, err.text);
}

static void loads_a_chain_and_its_key(void **state) {
    struct files_state *s = *state;
    struct tls_files apart = { .certificates = one(s->good), .keys = one(s->key) };
    struct tls_files together = { .certificates = one(s->both),
                                  .trust = s->trust,
                                  .verify = TLS_VERIFY_REQUIRED };
    struct error err = { "" };
    struct tls_context *context = tls_files_load(&apart, TLS_ALPN_HTTP, &err);

    assert_non_null(context);
    tls_context_unref(context);
    context = tls_files_load(&together, TLS_ALPN_HTTP, &err);
    assert_non_null(context);
    tls_context_unref(context);
}

static void names_the_file_that_is_bad(void **state) {
    struct files_state *s = *state;
    struct tls_files files = { .certificates = one(s->missing) };

    refuse(&files, "missing.pem': No such file or directory");
    files.certificates = one(s->folder);
    refuse(&files, "Is a directory");
    assert_int_equal(mkfifo(s->missing, 0600), 0);
    files.certificates = one(s->missing);
    refuse(&files, "is no regular file");
    unlink(s->missing);
    files.certificates = one(s->empty);
    refuse(&files, "empty.pem' has no certificate in PEM");
    files.certificates = one(s->good);
    refuse(&files, "good.pem' has no private key in PEM");
    files.keys = one(s->both);
    refuse(&files, "both.pem' is not that of certificate");
    files.keys = one(s->key);
    files.trust = s->missing;
    files.verify = TLS_VERIFY_OPTIONAL;
    refuse(&files, "missing.pem': No such file or directory");
    files.trust = NULL;
    files.ciphers = "NONSENSE";
    refuse(&files, "ciphers 'NONSENSE'");
}

static void large_files_are_refused(void **state) {
    struct files_state *s = *state;
    struct tls_files files = { .certificates = one(s->empty) };

    assert_int_equal(truncate(s->empty, 1048577), 0);
    refuse(&files, "empty.pem': File too large");
}

static void keys_come_one_for_each_certificate(void **state) {
    struct files_state *s = *state;
    struct tls_files files = { .keys = one(s->key) };
    struct error err;

    assert_int_equal(tls_files_check(&files, &err), -EINVAL);
    assert_string_equal(err.text, "--keyfile: needs --certfile");
    files.certificates = (struct option_strings){ .items = { s->good, s->both }, .count = 2 };
    assert_int_equal(tls_files_check(&files, &err), -EINVAL);
    assert_non_null(strstr(err.text, "--keyfile: given 1 times beside 2 of --certfile"));
    files.keys.count = 0;
    assert_int_equal(tls_files_check(&files, &err), 0);
}

static void check_versions(const char *text, enum tls_version min, enum tls_version max) {
    enum tls_version got_min = TLS_VERSION_ANY, got_max = TLS_VERSION_ANY;
    struct error err;

    assert_int_equal(tls_files_parse_versions(text, &got_min, &got_max, &err), 0);
    assert_int_equal(got_min, min);
    assert_int_equal(got_max, max);
}

static void versions_are_words(void **state UNUSED) {
    const char *const bad[] = { "", "TLSv1", "TLSv1.1,TLSv1.2", "SSLv3", "1.4", ",", "TLSv1.2;" };
    enum tls_version min, max;
    struct error err;

    check_versions("TLSv1.2", TLS_VERSION_1_2, TLS_VERSION_1_2);
    check_versions("tlsv1_3", TLS_VERSION_1_3, TLS_VERSION_1_3);
    check_versions("TLSv1.3, TLSv1.2", TLS_VERSION_1_2, TLS_VERSION_1_3);
    check_versions("1.2 1.3", TLS_VERSION_1_2, TLS_VERSION_1_3);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (tls_files_parse_versions(bad[i], &min, &max, &err) != -EINVAL)
            fail_msg("'%s' is taken", bad[i]);
}

static void verifying_is_a_word_or_pythons_number(void **state UNUSED) {
    enum tls_verify verify = TLS_VERIFY_NONE;
    struct error err;

    assert_int_equal(tls_files_parse_verify("2", &verify, &err), 0);
    assert_int_equal(verify, TLS_VERIFY_REQUIRED);
    assert_int_equal(tls_files_parse_verify("optional", &verify, &err), 0);
    assert_int_equal(verify, TLS_VERIFY_OPTIONAL);
    assert_int_equal(tls_files_parse_verify("3", &verify, &err), -EINVAL);
    assert_string_equal(err.text, "none (0), optional (1) or required (2)");
}

static void schemes_stand_before_addresses(void **state UNUSED) {
    static const char *const schemes[] = { "http", "https", NULL };
    const char *plain = "127.0.0.1:80", *secure = "https://:443", *other = "httpsx://:443";

    assert_int_equal(listeners_take_scheme(&plain, schemes), -1);
    assert_string_equal(plain, "127.0.0.1:80");
    assert_int_equal(listeners_take_scheme(&secure, schemes), 1);
    assert_string_equal(secure, ":443");
    assert_int_equal(listeners_take_scheme(&other, schemes), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(loads_a_chain_and_its_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_the_file_that_is_bad, set_up, tear_down),
        cmocka_unit_test_setup_teardown(large_files_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_come_one_for_each_certificate, set_up, tear_down),
        cmocka_unit_test(versions_are_words),
        cmocka_unit_test(verifying_is_a_word_or_pythons_number),
        cmocka_unit_test(schemes_stand_before_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
