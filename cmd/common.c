/* SPDX-License-Identifier: MIT */
/* Glue between a subcommand's option rows and the process: help, rows, errors, exit codes. */
#include "cmd/common.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *const cmd_log_levels[] = { "error", "warn", "info", "debug", NULL };

int cmd_fail(const char *name, int code, const struct error *err) {
    fprintf(stderr, "srv %s: %s\n", name, err->text);
    return code;
}

int cmd_parse(const struct option_spec *spec, int argc, char **argv, void *config,
              struct option_strings *pos, int *ret_exit) {
    struct option_strings ignored = { .count = 0 };
    struct error err = { .text = "" };

    *ret_exit = 0;
    if (argc == 2 && strcmp(argv[1], "--print-options") == 0) {
        option_print_rows(spec, stdout);
        return -ECANCELED;
    }
    switch (option_parse(spec, argc, argv, config, pos != NULL ? pos : &ignored, &err)) {
    case OPTION_RUN:
        return 0;
    case OPTION_HELP:
        break;
    case OPTION_BAD:
        *ret_exit = cmd_fail(argv[0], EXIT_USAGE, &err);
        break;
    }
    return -ECANCELED;
}

void cmd_forget_defaults(const struct option_spec *options) {
    for (size_t i = 0; i < options->row_count; i++)
        if (options->rows[i].env != NULL)
            unsetenv(options->rows[i].env);
}
