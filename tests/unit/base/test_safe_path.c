/* SPDX-License-Identifier: MIT */
/* Paths are walked as the kernel walks them, but for links that others than root can change. */
#include "base/attr.h"
#include "base/safe_path.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { OTHER = 65534 };

static int set_up(void **state) {
    static char folder[32];

    snprintf(folder, sizeof(folder), "/tmp/safe-path-XXXXXX");
    *state = folder;
    return mkdtemp(folder) == NULL || chdir(folder) < 0 || mkdir("d", 0755) < 0;
}

static int tear_down(void **state) {
    char command[64];

    snprintf(command, sizeof(command), "rm -r %s", (char *)*state);
    return chdir("/") < 0 || system(command) != 0;
}

static int find(const char *path, enum safe_path_mode mode, struct safe_path *ret) {
    int rc = safe_path_find(ret, path, mode, NULL);

    safe_path_close(ret);
    return rc;
}

static void folders_and_names_are_told_apart(void **state) {
    char absolute[64];
    struct safe_path p;

    snprintf(absolute, sizeof(absolute), "%s//d/../d/./x", (char *)*state);
    assert_int_equal(find(absolute, SAFE_PATH_FOLLOW, &p), 0);
    assert_string_equal(p.leaf, "x");
    assert_int_equal(find("x", SAFE_PATH_FOLLOW, &p), 0);
    assert_string_equal(p.leaf, "x");
    assert_int_equal(find("", SAFE_PATH_FOLLOW, &p), -ENOENT);
    assert_int_equal(find("/", SAFE_PATH_FOLLOW, &p), -EISDIR);
    assert_int_equal(find("d/", SAFE_PATH_FOLLOW, &p), -EISDIR);
    assert_int_equal(find("d/..", SAFE_PATH_FOLLOW, &p), -EISDIR);
    assert_int_equal(find("no/x", SAFE_PATH_FOLLOW, &p), -ENOENT);
}

static void what_is_too_long_or_endless_is_refused(void **state UNUSED) {
    static char path[2 * PATH_MAX];
    struct safe_path p;

    memset(path, 'x', NAME_MAX + 1);
    assert_int_equal(find(path, SAFE_PATH_FOLLOW, &p), -ENAMETOOLONG);
    memset(path, '/', sizeof(path) - 1);
    assert_int_equal(find(path, SAFE_PATH_FOLLOW, &p), -ENAMETOOLONG);
    assert_int_equal(symlink("loop", "loop"), 0);
    assert_int_equal(find("loop", SAFE_PATH_FOLLOW, &p), -ELOOP);
    assert_int_equal(find("loop/x", SAFE_PATH_FOLLOW, &p), -ELOOP);
    assert_int_equal(find("loop", SAFE_PATH_KEEP, &p), 0);
}

static void descriptors_have_names(void **state UNUSED) {
    struct safe_path p;

    assert_int_equal(find("/dev/stderr", SAFE_PATH_FOLLOW, &p), 0);
    assert_int_equal(p.descriptor, 2);
    assert_int_equal(find("/proc/self/fd/7", SAFE_PATH_FOLLOW, &p), 0);
    assert_int_equal(p.descriptor, 7);
    assert_int_equal(symlink("/dev/stdout", "out"), 0);
    assert_int_equal(find("out", SAFE_PATH_FOLLOW, &p), 0);
    assert_int_equal(p.descriptor, 1);
    assert_int_equal(find("/dev/fd/x", SAFE_PATH_KEEP, &p), 0);
    assert_int_equal(p.descriptor, -1);
}

static void links_of_ones_own_lead_on(void **state UNUSED) {
    struct safe_path p;
    int fd;

    assert_int_equal(symlink("d/", "folder"), 0);
    assert_int_equal(symlink("../file", "d/link"), 0);
    assert_int_equal(safe_path_find(&p, "folder/link", SAFE_PATH_FOLLOW, NULL), 0);
    assert_string_equal(p.leaf, "file");
    fd = safe_path_append(&p, SAFE_PATH_ANY, SAFE_PATH_ANY, NULL);
    assert_true(fd >= 0);
    close(fd);
    safe_path_close(&p);
    assert_int_equal(access("file", F_OK), 0);
}

static void links_of_others_lead_root_nowhere(void **state UNUSED) {
    struct safe_path p;
    struct error why;

    if (geteuid() != 0)
        skip();
    assert_int_equal(symlink("d", "link"), 0);
    assert_int_equal(find("link/x", SAFE_PATH_FOLLOW, &p), 0);
    assert_int_equal(lchown("link", OTHER, OTHER), 0);
    assert_int_equal(safe_path_find(&p, "link/x", SAFE_PATH_FOLLOW, &why), -ELOOP);
    safe_path_close(&p);
    assert_string_equal(why.text, "'link' is a link that others than root can change");
    /* Root's own, but where others can put it there */
    assert_int_equal(chmod("d", 01777), 0);
    assert_int_equal(symlink("y", "d/link"), 0);
    assert_int_equal(find("d/link", SAFE_PATH_FOLLOW, &p), -ELOOP);
    assert_int_equal(chmod("d", 0755), 0);
    assert_int_equal(find("d/link", SAFE_PATH_FOLLOW, &p), 0);
}

static void content(const char *expected) {
    char text[128];
    FILE *file = fopen("d/f", "r");
    size_t len = fread(text, 1, sizeof(text) - 1, file);

    fclose(file);
    text[len] = '\0';
    assert_string_equal(text, expected);
}

static void content_is_replaced_and_removed(void **state UNUSED) {
    struct safe_path p;

    assert_int_equal(safe_path_find(&p, "d/f", SAFE_PATH_FOLLOW, NULL), 0);
    assert_int_equal(safe_path_replace(&p, SLICE("12345\n"), SAFE_PATH_ANY, SAFE_PATH_ANY, NULL),
                     0);
    content("12345\n");
    assert_int_equal(safe_path_replace(&p, SLICE("7\n"), SAFE_PATH_ANY, SAFE_PATH_ANY, NULL), 0);
    content("7\n");
    assert_int_equal(safe_path_remove(&p, NULL), 0);
    assert_int_equal(rmdir("d"), 0); /* nothing is left beside it */
    assert_int_equal(mkdir("d", 0755), 0);
    safe_path_close(&p);
}

#define SAFE_PATH_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        SAFE_PATH_TEST(folders_and_names_are_told_apart),
        SAFE_PATH_TEST(what_is_too_long_or_endless_is_refused),
        SAFE_PATH_TEST(descriptors_have_names),
        SAFE_PATH_TEST(links_of_ones_own_lead_on),
        SAFE_PATH_TEST(links_of_others_lead_root_nowhere),
        SAFE_PATH_TEST(content_is_replaced_and_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
