/* SPDX-License-Identifier: MIT */
/* Writes the files of a new application out of templates, which are files of cmd/new/. */
#include "cmd/serve_new.h"
#include "base/attr.h"
#include "base/error.h"
#include "cmd/common.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PLACE "@NAME@"

enum { NAME_CHARS_MAX = 64 };

extern const char new_app[], new_build[], new_test[], new_readme[];

/* Files by what stands before and behind the name. */
static const struct template {
    const char *before, *behind;
    bool named, runs;
    const char *text;
}
templates[] = {
    { .behind = ".c", .named = true, .text = new_app },
    { .before = "test_", .behind = ".py", .named = true, .runs = true, .text = new_test },
    { .behind = "meson.build", .text = new_build },
    { .behind = "README.md", .text = new_readme },
};

static bool is_name(const char *name) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t len = strlen(name);

    return len > 0 && len <= NAME_CHARS_MAX && strchr(letters, name[0]) != NULL &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                             "0123456789_-")] == '\0';
}

static void print_text(FILE *out, const char *text, const char *name) {
    const char *place;

    while ((place = strstr(text, PLACE)) != NULL) {
        fprintf(out, "%.*s%s", (int)(place - text), text, name);
        text = place + strlen(PLACE);
    }
    fputs(text, out);
}

static int write_template(const struct template *t, const char *name, struct error *err) {
    char path[2 * NAME_CHARS_MAX + 32];
    FILE *out = NULL;
    int fd, rc = 0;

    snprintf(path, sizeof(path), "%s/%s%s%s", name, t->before != NULL ? t->before : "",
             t->named ? name : "", t->behind);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, t->runs ? 0777 : 0666);
    if (fd >= 0)
        out = fdopen(fd, "w");
    if (out == NULL) {
        rc = -errno;
        if (fd >= 0)
            close(fd);
        return error_set(err, rc, "cannot write '%s': %s", path, strerrordesc_np(-rc));
    }
    print_text(out, t->text, name);
    if (ferror(out))
        rc = -EIO;
    if (fclose(out) != 0)
        rc = -errno;
    return rc == 0 ? 0 : error_set(err, rc, "cannot write '%s': %s", path, strerrordesc_np(-rc));
}

static const char next_steps[] = "@NAME@/ is a new application. Serve it; it is compiled again "
                                 "whenever you save it:\n\n"
                                 "    srv slowapi &\n"
                                 "    srv serve --reload @NAME@/@NAME@.c\n"
                                 "    curl http://127.0.0.1:3000/hello/you\n\n"
                                 "Test it:\n\n"
                                 "    python3 @NAME@/test_@NAME@.py\n\n"
                                 "Build the object for production, and test that:\n\n"
                                 "    meson setup @NAME@/build @NAME@ && meson test -C "
                                 "@NAME@/build\n";

int serve_new(const char *name) {
    struct error err = { "" };

    if (!is_name(name)) {
        error_set(&err, -EINVAL,
                  "--new: '%s' is not allowed; a letter, then letters, digits, '_' and '-', up to "
                  "%d",
                  name, NAME_CHARS_MAX);
        return cmd_fail("serve", EXIT_USAGE, &err);
    }
    if (mkdir(name, 0777) < 0) {
        error_set(&err, -errno, "--new: cannot make '%s': %s", name, strerrordesc_np(errno));
        return cmd_fail("serve", EXIT_CANNOT, &err);
    }
    for (size_t i = 0; i < ARRAY_LEN(templates); i++)
        if (write_template(&templates[i], name, &err) < 0)
            return cmd_fail("serve", EXIT_CANNOT, &err);
    print_text(stdout, next_steps, name);
    return 0;
}
