/* SPDX-License-Identifier: MIT */
/* Process titles: written over the memory that argv and environ were born in. */
#include "proc/title.h"

#include "base/alloc.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* The kernel knows one such area per process, hence one variable.
 *
 *   start                    args_end                   end
 *    | argv[0] \0 argv[1] \0 ... | NAME=value \0 ...  \0 |
 *
 * A byte other than NUL before args_end tells proc(5) to show one string from `start` on, however
 * long; that is why the last byte of the arguments is kept set when the title is shorter: no
 * padding is shown then. */
static struct {
    char *start, *args_end, *end;
    char **argv, **env; /* the copies, reachable for leak checkers */
} area;

/* The pointers and then the strings, in one allocation: what unsetenv(3) drops from the copy of the
 * environment stays reachable through it. */
static char **copy_list(char **list) {
    size_t count = 0;
    size_t text_bytes = 0;
    for (; list[count] != NULL; count++)
        text_bytes += strlen(list[count]) + 1;

    char **copy = mem_calloc(1, (count + 1) * sizeof(*copy) + text_bytes);
    if (copy == NULL)
        return NULL;
    char *text = (char *)(copy + count + 1);
    for (size_t i = 0; i < count; i++) {
        copy[i] = text;
        text = stpcpy(text, list[i]) + 1;
    }
    return copy;
}

/* The end of the strings of `list` that follow each other without a gap from `end` on. */
static char *end_of_run(char *end, char **list) {
    for (size_t i = 0; list[i] != NULL && list[i] == end; i++)
        end += strlen(list[i]) + 1;
    return end;
}

char **title_init(int argc, char **argv) {
    if (area.start != NULL || argc < 1 || environ == NULL)
        return argv;

    char **args = copy_list(argv);
    char **env = copy_list(environ);
    if (args == NULL || env == NULL) {
        mem_free(args);
        mem_free(env);
        return argv;
    }

    area.start = argv[0];
    area.args_end = end_of_run(argv[0], argv);
    area.end = end_of_run(area.args_end, environ);
    area.argv = args;
    area.env = env;

    program_invocation_name = args[0];
    environ = env;
    return args;
}

void title_set(const char *name, const char *fmt, ...) {
    va_list args;

    prctl(PR_SET_NAME, name);
    if (area.start == NULL)
        return;

    size_t size = (size_t)(area.end - area.start);
    memset(area.start, 0, size);
    va_start(args, fmt);
    int length = vsnprintf(area.start, size, fmt, args);
    va_end(args);

    if (length >= 0 && area.start + length + 1 < area.args_end)
        area.args_end[-1] = '.';
}
