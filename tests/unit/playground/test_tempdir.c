/* SPDX-License-Identifier: MIT */
/* Temporary folders: they are there, and go in every way that their owner can go. */
#include "base/attr.h"
#include "playground/tempdir.h"
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void write_file(const struct tempdir *s, const char *name) {
    char path[TEMPDIR_PATH_BYTES + 32];
    FILE *out;

    snprintf(path, sizeof(path), "%s/%s", s->path, name);
    out = fopen(path, "w");
    assert_non_null(out);
    fputs("text", out);
    assert_int_equal(fclose(out), 0);
}

static void fill(const struct tempdir *s) {
    char path[TEMPDIR_PATH_BYTES + 32];

    snprintf(path, sizeof(path), "%s/deep", s->path);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file(s, "deep/file");
    write_file(s, "file");
}

static void it_is_private_and_goes_when_closed(void **state UNUSED) {
    char path[TEMPDIR_PATH_BYTES];
    struct tempdir s;
    struct error err;
    struct stat status;

    assert_int_equal(tempdir_open(&s, "srv-test", NULL, &err), 0);
    assert_int_equal(stat(s.path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    fill(&s);
    strcpy(path, s.path);
    tempdir_close(&s);
    assert_int_equal(access(path, F_OK), -1);
    assert_string_equal(s.path, "");
    tempdir_close(&s);
}

static const char *witness; /* where the file must be found after its folder is gone */

static void move_to_witness(const char *path) {
    char file[TEMPDIR_PATH_BYTES + 32];

    snprintf(file, sizeof(file), "%s/file", path);
    rename(file, witness);
}

/* Opens and fills `s`, whose file will be found at `seen`, in `other`. */
static void open_seen(struct tempdir *s, struct tempdir *other,
                      char seen[TEMPDIR_PATH_BYTES + 32]) {
    struct error err;

    assert_int_equal(tempdir_open(other, "srv-test", NULL, &err), 0);
    snprintf(seen, TEMPDIR_PATH_BYTES + 32, "%s/seen", other->path);
    witness = seen;
    assert_int_equal(tempdir_open(s, "srv-test", move_to_witness, &err), 0);
    fill(s);
}

static void somebody_may_look_before_it_goes(void **state UNUSED) {
    char seen[TEMPDIR_PATH_BYTES + 32];
    struct tempdir s, other;

    open_seen(&s, &other, seen);
    tempdir_close(&s);
    assert_int_equal(access(seen, F_OK), 0);
    tempdir_close(&other);
}

static void it_goes_when_its_cleaner_was_killed(void **state UNUSED) {
    char path[TEMPDIR_PATH_BYTES], seen[TEMPDIR_PATH_BYTES + 32];
    struct tempdir s, other;

    open_seen(&s, &other, seen);
    strcpy(path, s.path);
    assert_int_equal(kill(s.cleaner, SIGKILL), 0);
    tempdir_close(&s);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(access(seen, F_OK), 0);
    tempdir_close(&other);
}

static void it_goes_when_its_owner_is_killed(void **state UNUSED) {
    char path[TEMPDIR_PATH_BYTES] = "";
    int fds[2];
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        struct tempdir first, second; /* the younger cleaner must not hold the older one's pipe */
        struct error err;

        if (tempdir_open(&first, "srv-test", NULL, &err) == 0 &&
            tempdir_open(&second, "srv-test", NULL, &err) == 0 &&
            write(fds[1], first.path, sizeof(path)) > 0)
            raise(SIGKILL);
        _exit(1);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(read(fds[0], path, sizeof(path)), sizeof(path));
    for (int i = 0; i < 500 && access(path, F_OK) == 0; i++)
        usleep(10000);
    assert_int_equal(access(path, F_OK), -1);
}

static void what_cannot_be_made_is_told(void **state UNUSED) {
    struct tempdir s;
    struct error err;

    setenv("TMPDIR", "/nonexistent", 1);
    assert_int_equal(tempdir_open(&s, "srv-test", NULL, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nonexistent"));
    tempdir_close(&s);
    unsetenv("TMPDIR");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_private_and_goes_when_closed),
        cmocka_unit_test(somebody_may_look_before_it_goes),
        cmocka_unit_test(it_goes_when_its_cleaner_was_killed),
        cmocka_unit_test(it_goes_when_its_owner_is_killed),
        cmocka_unit_test(what_cannot_be_made_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
