/* SPDX-License-Identifier: MIT */
/* What every subcommand does the same way: parse its options, and say what went wrong. */
#ifndef CMD_COMMON_H
#define CMD_COMMON_H

#include "base/option.h"

/* Parses `argv` (argv[0] is the subcommand's name) into `config`, which the caller zeroed. `pos`
 * may be NULL when the spec takes no positionals. 0: run the subcommand. -ECANCELED: it is over,
 * because help or the rows (--print-options, what docs tests read) were printed, or because of a
 * bad option, which was told on stderr; exit with `*ret_exit`. */
NODISCARD int cmd_parse(const struct option_spec *spec, int argc, char **argv, void *config,
                        struct option_strings *pos, int *ret_exit);

/* "srv NAME: text" on stderr. Returns `code`, so that a failing path is
 * `return cmd_fail("serve", EXIT_CANNOT, &err)`. */
int cmd_fail(const char *name, int code, const struct error *err);

/* The words of --log-level, in the order of enum log_level; for OPTION_CHOICE. */
extern const char *const cmd_log_levels[];

#endif
