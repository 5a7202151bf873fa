/* SPDX-License-Identifier: MIT */
/* The size of a reader's screen, and text that fits it. */
#ifndef PLAYGROUND_TERMINAL_H
#define PLAYGROUND_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define TERMINAL_COLUMNS_DEFAULT 80

struct terminal_size {
    size_t columns, rows; /* 0 when it does not say */
    bool is_live;         /* lines on it can be written over */
};

/* The size of the terminal behind `out`; zeroed when there is none. */
struct terminal_size terminal_size(FILE *out);

/* Prints a paragraph, its lines broken between words so that none is wider than `width` (0: one
 * line), each after `indent` blanks. A word that is wider stands alone. */
void terminal_wrap(FILE *out, const char *text, size_t indent, size_t width);

#endif
