/* SPDX-License-Identifier: MIT */
/* Options as rows: parser, range checks, environment defaults and --help come from one table. */
#ifndef BASE_OPTION_H
#define BASE_OPTION_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Type of the member of the config struct. */
enum option_type {
    OPTION_FLAG,     /* bool; takes no value in argv, yes or no in the environment */
    OPTION_INT,      /* int64_t, within min..max */
    OPTION_COUNT,    /* int64_t, min..max, not negative; `10k` `2m` are thousands and millions */
    OPTION_DURATION, /* nsec_t, min..max in nanoseconds; `250ms` `1.5s`, bare numbers are seconds */
    OPTION_SIZE,     /* uint64_t bytes, min..max; `64k` `1m` */
    OPTION_STRING,   /* const char *: points into argv or the environment */
    OPTION_CHOICE,   /* int or an enum of that size: the index of the word in `choices` */
    OPTION_STRINGS,  /* struct option_strings; repeatable, appended in order */
    OPTION_CUSTOM,   /* `parse` decides; called once per occurrence */
};

#define OPTION_STRINGS_MAX 64
#define OPTION_ROWS_MAX    128 /* per spec */

struct option_strings {
    const char *items[OPTION_STRINGS_MAX];
    size_t count;
};

struct option_row {
    const char *name;  /* long name without dashes; NULL for a letter-only option */
    char letter;       /* 0 for none; flags can be grouped (-kq), a value may be glued (-n10) */
    const char *env;   /* variable that gives the default, or NULL; empty counts as unset */
    const char *topic; /* heading of --help under which it is listed */
    const char *meta;  /* the value in --help: "N", "SECONDS"; NULL: a flag, or a choice's words */
    const char *help;  /* one sentence; range, default and variable are appended by the printer */
    enum option_type type;
    size_t offset;        /* offsetof(struct config, member) */
    int64_t min, max;     /* inclusive, in the unit of the member; both 0 means unbounded, as does
                             INT64_MIN below and INT64_MAX above */
    const char *fallback; /* the default, as a user would spell it; NULL: the member stays 0 */
    const char *const *choices; /* NULL-terminated words of OPTION_CHOICE; of OPTION_CUSTOM those
                                   that shells complete */

    /* Parser of OPTION_CUSTOM: 0, or -EINVAL with what is allowed in `err` ("HOST:PORT or
     * unix:PATH"). */
    int (*parse)(void *config, const char *value, struct error *err);
};

/* A long name of other programs, and what it is called here. */
struct option_alias {
    const char *name, *meant;
};

struct option_spec {
    const char *usage;   /* "srv serve [options] [APP]" */
    const char *summary; /* one sentence under it */
    const char *epilog;  /* printed last by --help, or NULL */
    const struct option_row *rows;
    size_t row_count;
    const char *positional; /* name of positionals in errors ("URL"); NULL when none are taken */
    size_t positional_min, positional_max;
    const struct option_alias *aliases; /* ended by a NULL name; NULL: none. Refused with a hint. */
};

enum option_outcome { OPTION_RUN, OPTION_HELP, OPTION_BAD };

/* Fills `config` (zeroed by the caller): fallbacks, then environment, then argv. A row takes its
 * value from the last of these that names it, so a list in argv replaces the default list.
 *
 * argv[0] is skipped. Understood: `--name=value`, `--name value`, `-x value`, `-xvalue`, `--`, and
 * options after positionals; no abbreviations. The value may start with a dash.
 *
 * --help (and -h, unless a row takes that letter) prints to stdout and yields OPTION_HELP.
 * OPTION_BAD leaves one line in `err` that names the option (or the variable), the value and what
 * is allowed. */
NODISCARD enum option_outcome option_parse(const struct option_spec *spec, int argc, char **argv,
                                           void *config, struct option_strings *ret_positionals,
                                           struct error *err);

/* Whether argv itself names the option, rather than its default or the environment; after
 * option_parse has said OPTION_RUN to the same arguments. */
NODISCARD bool option_in_arguments(const struct option_spec *spec, int argc, char **argv,
                                   const char *name);

/* Help grouped by topic, from the rows. */
void option_print_help(const struct option_spec *spec, FILE *out);

/* One line per row, of cells that a tab parts: name, letter, variable, default, topic, words of a
 * choice, value ("FILE"), notes ("[1 to 9; default: 4]"), help. The tables of the docs, man pages
 * and completions are made of it. */
void option_print_rows(const struct option_spec *spec, FILE *out);

#endif
