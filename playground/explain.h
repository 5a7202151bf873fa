/* SPDX-License-Identifier: MIT */
/* The catalogue in words: --list and --explain. */
#ifndef PLAYGROUND_EXPLAIN_H
#define PLAYGROUND_EXPLAIN_H

#include "base/error.h"
#include "playground/row.h"
#include <stdio.h>

/* One line per row: name, load, title, alias. */
void explain_list(const struct playground *const *rows, size_t count, FILE *out);

/* Only the commands, a line each. 0, or -errno with a line when the row itself is wrong. */
NODISCARD int explain_commands(const struct playground *row, const struct play_load *load,
                               FILE *out, struct error *err);

/* Prints what the row shows, the commands that do by hand what the runner does, the ideal and the
 * tutorial's figure. 0, or -errno with a line when the row itself is wrong. */
NODISCARD int explain_row(const struct playground *row, const struct play_load *load, FILE *out,
                          struct error *err);

#endif
