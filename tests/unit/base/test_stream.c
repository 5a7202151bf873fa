/* SPDX-License-Identifier: MIT */
/* What a FILE did not take is told, with the reason. */
#include "base/attr.h"
#include "base/stream.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void what_arrived_is_no_failure(void **state UNUSED) {
    FILE *out = fopen("/dev/null", "w");

    assert_non_null(out);
    assert_int_equal(stream_flush(out), 0);
    fputs("something", out);
    assert_int_equal(stream_flush(out), 0);
    fclose(out);
}

static void the_reason_is_told(void **state UNUSED) {
    FILE *out = fopen("/dev/full", "w");

    assert_non_null(out);
    fputs("something", out);
    assert_int_equal(stream_flush(out), -ENOSPC);
    fclose(out);
}

static void what_failed_before_is_not_forgotten(void **state UNUSED) {
    FILE *out = fopen("/dev/full", "w");

    assert_non_null(out);
    setvbuf(out, NULL, _IONBF, 0);
    fputs("something", out);
    assert_int_equal(stream_flush(out), -EIO);
    fclose(out);
}

static void a_file_is_made_and_emptied(void **state UNUSED) {
    char path[] = "/tmp/stream-XXXXXX", text[8];
    FILE *out;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "much longer", 11), 11);
    assert_int_equal(stream_create(&out, path, NULL), 0);
    fputs("new", out);
    assert_int_equal(stream_close(out), 0);
    assert_int_equal(pread(fd, text, sizeof(text), 0), 3);
    close(fd);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(stream_create(&out, path, NULL), 0);
    assert_int_equal(stream_close(out), 0);
    assert_int_equal(unlink(path), 0);
}

static void a_dash_is_standard_output(void **state UNUSED) {
    FILE *out;

    assert_int_equal(stream_create(&out, "-", NULL), 0);
    assert_ptr_equal(out, stdout);
    assert_int_equal(stream_close(out), 0);
    assert_true(fileno(stdout) >= 0); /* open still */
    assert_int_equal(stream_close(NULL), 0);
}

static void outputs_that_cannot_be_are_told_with_their_path(void **state UNUSED) {
    struct error err;
    FILE *out;

    assert_int_equal(stream_create(&out, "/no/such/folder", &err), -ENOENT);
    assert_null(out);
    assert_string_equal(err.text, "cannot write /no/such/folder: No such file or directory");
    assert_int_equal(stream_create(&out, "/tmp", &err), -EISDIR);
    assert_int_equal(stream_create(&out, "/dev/full", &err), 0);
    fputs("something", out);
    assert_int_equal(stream_close(out), -ENOSPC);
}

/* Reads what comes through the FIFO, after a while. */
static void *read_later(void *path) {
    static char text[16];

    usleep(50000);
    int fd = open(path, O_RDONLY);
    while (fd >= 0 && read(fd, text, sizeof(text)) > 0) {
    }
    close(fd);
    return text;
}

static void a_fifo_is_waited_for(void **state UNUSED) {
    char path[] = "/tmp/stream-XXXXXX";
    pthread_t reader;
    void *text;
    FILE *out;

    close(mkstemp(path));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(pthread_create(&reader, NULL, read_later, path), 0);
    assert_int_equal(stream_create(&out, path, NULL), 0);
    fputs("through", out);
    assert_int_equal(stream_close(out), 0);
    assert_int_equal(pthread_join(reader, &text), 0);
    assert_string_equal(text, "through");
    assert_int_equal(unlink(path), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_arrived_is_no_failure),
        cmocka_unit_test(the_reason_is_told),
        cmocka_unit_test(what_failed_before_is_not_forgotten),
        cmocka_unit_test(a_file_is_made_and_emptied),
        cmocka_unit_test(a_dash_is_standard_output),
        cmocka_unit_test(outputs_that_cannot_be_are_told_with_their_path),
        cmocka_unit_test(a_fifo_is_waited_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
