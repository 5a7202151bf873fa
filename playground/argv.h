/* SPDX-License-Identifier: MIT */
/* The words of a command: what the runner executes and what --explain prints come from the same
 * row. */
#ifndef PLAYGROUND_ARGV_H
#define PLAYGROUND_ARGV_H

#include "base/error.h"
#include "playground/row.h"

#define ARGV_WORDS_MAX  (PLAY_ARGS_MAX + 10) /* with what a program adds of its own */
#define ARGV_TEXT_BYTES 768

struct argv {
    char *words[ARGV_WORDS_MAX]; /* into `text`, ended by NULL: what execv(2) takes */
    size_t count;
    char text[ARGV_TEXT_BYTES];
    size_t used;
};

/* A {name} and the text that takes its place. */
struct argv_value {
    const char *name, *text;
};

void argv_init(struct argv *a);

/* Appends one word. 0 or -ENOBUFS. */
NODISCARD int argv_add(struct argv *a, const char *word);
NODISCARD int argv_printf(struct argv *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Appends the words of a row's process with each {name} replaced, `srv` before them when it is one
 * of srv's. 0, -ENOBUFS, -ENOENT (a {name} that nothing stands for: a mistake in the catalogue). */
NODISCARD int argv_of_process(struct argv *a, const struct play_process *process,
                              const struct argv_value *values, size_t value_count,
                              struct error *err);

/* Appends `srv bench` and the load on `url`. `trust` is the file of certificates that https needs;
 * empty: none. 0 or -ENOBUFS. */
NODISCARD int argv_of_load(struct argv *a, const struct play_load *load, const char *url,
                           const char *trust);

/* Writes the command as a shell would take it: words are quoted where they need it. Cut to `size`.
 * Returns `text`. */
const char *argv_format(const struct argv *a, char *text, size_t size);

#endif
