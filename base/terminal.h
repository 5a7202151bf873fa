/* SPDX-License-Identifier: MIT */
/* The reader's screen: its size, text that fits it, and views that are drawn over and over.
 *
 *   terminal_view_init(&v, stderr, TERMINAL_FULL);
 *   terminal_view_begin(&v);              asks for the size anew
 *   terminal_view_line(&v, "a line");     cut before the right margin
 *   terminal_view_end(&v);                shows it, in the place of the view before
 *   terminal_view_close(&v);              takes it away; a full screen becomes what it was
 */
#ifndef BASE_TERMINAL_H
#define BASE_TERMINAL_H

#include "base/buf.h"
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

/* Whether the environment lets programs write UTF-8; and colours (TERM, https://no-color.org). */
bool terminal_takes_utf8(void);
bool terminal_takes_colour(void);

/* Prints a paragraph, its lines broken between words so that none is wider than `width` (0: one
 * line), each after `indent` blanks. A word that is wider stands alone. */
void terminal_wrap(FILE *out, const char *text, size_t indent, size_t width);

/* The lines below the cursor, or the whole screen. */
enum terminal_place { TERMINAL_INLINE, TERMINAL_FULL };

struct terminal_view {
    FILE *out;
    enum terminal_place place;
    size_t columns, rows;
    bool is_live;     /* there is a terminal: without one nothing may be drawn */
    bool is_open;     /* a full screen is ours */
    size_t lines;     /* of the view that stands there, or is being made */
    struct buf frame; /* what is being made: one write(2) shows it */
};

/* Opens nothing yet. Of full screens there is one at a time: while it is open SIGTSTP gives the
 * screen back before the process stops, and takes it again when the process goes on. */
void terminal_view_init(struct terminal_view *v, FILE *out, enum terminal_place place);

void terminal_view_begin(struct terminal_view *v);

/* One more line of UTF-8 with colours (SGR) or without. Beyond the last row nothing is shown. */
void terminal_view_line(struct terminal_view *v, const char *text);

void terminal_view_end(struct terminal_view *v);

/* Idempotent. */
void terminal_view_close(struct terminal_view *v);

#endif
