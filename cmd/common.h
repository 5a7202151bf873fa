/* SPDX-License-Identifier: MIT */
/* Steps that all subcommands share: parsing the options, telling what went wrong. */
#ifndef CMD_COMMON_H
#define CMD_COMMON_H

#include "base/option.h"

/* Parses `argv` (argv[0] is the subcommand's name) into `config`, which the caller zeroed. `pos`
 * may be NULL when the spec takes no positionals. 0: run the subcommand. -ECANCELED: exit with
 * `*ret_exit`, because help or the rows (--print-options, for the tests of the docs) were printed,
 * or a bad option was told on stderr. */
NODISCARD int cmd_parse(const struct option_spec *spec, int argc, char **argv, void *config,
                        struct option_strings *pos, int *ret_exit);

/* Writes "srv NAME: text" to stderr. Returns `code`, so that a failing path is
 * `return cmd_fail("serve", EXIT_CANNOT, &err)`. */
int cmd_fail(const char *name, int code, const struct error *err);

/* Unsets the variables that give defaults: the commands that the caller starts say all that
 * matters, and WORKERS=4 of the user would change what they do. */
void cmd_forget_defaults(const struct option_spec *options);

/* The words of --log-level, in the order of enum log_level; for OPTION_CHOICE. */
extern const char *const cmd_log_levels[];

#endif
