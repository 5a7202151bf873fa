/* SPDX-License-Identifier: MIT */
/* Walks argv by the rows and fills the config struct: fallbacks, environment, arguments. */
#include "base/option.h"
#include "base/assert.h"
#include "base/option_value.h"
#include "base/slice.h"
#include <errno.h>
#include <stdlib.h>

#define SHOWN_BYTES 80 /* an option as the user wrote it, in errors */

enum scan_what { SCAN_END, SCAN_OPTION, SCAN_POSITIONAL, SCAN_HELP, SCAN_BAD };

struct scan {
    const struct option_spec *spec;
    int argc, next;
    char **argv;
    const char *letters;   /* what is left of a group such as -kq, or NULL */
    bool only_positionals; /* behind `--` */

    /* what the last step found */
    const struct option_row *row;
    const char *value; /* NULL for a flag */
    char shown[SHOWN_BYTES];
};

static const struct option_row *row_by_name(const struct option_spec *spec, struct slice name) {
    for (size_t i = 0; i < spec->row_count; i++)
        if (spec->rows[i].name != NULL && slice_eq(slice_str(spec->rows[i].name), name))
            return &spec->rows[i];
    return NULL;
}

static const struct option_row *row_by_letter(const struct option_spec *spec, char letter) {
    for (size_t i = 0; i < spec->row_count; i++)
        if (spec->rows[i].letter == letter)
            return &spec->rows[i];
    return NULL;
}

#define NAME_BYTES_MAX 40

static size_t size_min(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`. */
static size_t edit_distance(struct slice a, struct slice b) {
    size_t rows[3][NAME_BYTES_MAX + 1]; /* of the matrix: i - 2, i - 1 and i, modulo 3 */
    ASSERT(a.len <= NAME_BYTES_MAX && b.len <= NAME_BYTES_MAX);
    for (size_t j = 0; j <= b.len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t *above = rows[(i - 1) % 3], *here = rows[i % 3];
        here[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            bool same = a.ptr[i - 1] == b.ptr[j - 1];
            bool swapped =
                i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1];
            here[j] = size_min(above[j], here[j - 1]) + 1;
            here[j] = size_min(here[j], above[j - 1] + !same);
            if (swapped)
                here[j] = size_min(here[j], rows[(i - 2) % 3][j - 2] + 1);
        }
    }
    return rows[a.len % 3][b.len];
}

/* The name that was probably meant, or NULL: a quarter of it may be wrong, or its end missing. */
static const char *closest_name(const struct option_spec *spec, struct slice wrong) {
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;
    if (wrong.len > NAME_BYTES_MAX)
        return NULL;
    for (size_t i = 0; i < spec->row_count; i++) {
        struct slice name = slice_str(spec->rows[i].name);
        if (name.len == 0 || name.len > NAME_BYTES_MAX)
            continue;
        bool begun = wrong.len >= 2 && slice_starts_with(name, wrong);
        size_t distance = begun ? 1 : edit_distance(wrong, name);
        if (distance <= (name.len + 2) / 4 && distance < name.len && distance < best_distance) {
            best = spec->rows[i].name;
            best_distance = distance;
        }
    }
    return best;
}

static enum scan_what unknown_name(const struct scan *s, struct slice name, struct error *err) {
    const char *meant = NULL;
    for (const struct option_alias *a = s->spec->aliases; a != NULL && a->name != NULL; a++)
        if (slice_eq(slice_str(a->name), name))
            meant = a->meant;
    if (meant == NULL)
        meant = closest_name(s->spec, name);
    if (meant != NULL)
        error_set(err, 0, "%s: unknown option; did you mean --%s?", s->shown, meant);
    else
        error_set(err, 0, "%s: unknown option; --help lists them all", s->shown);
    return SCAN_BAD;
}

/* Takes the value of s->row: the glued one, or the next argument whatever it looks like. */
static enum scan_what take_value(struct scan *s, const char *glued, struct error *err) {
    s->value = glued;
    if (glued == NULL && s->next < s->argc)
        s->value = s->argv[s->next++];
    if (s->value != NULL)
        return SCAN_OPTION;
    struct error allowed;
    option_allowed(s->row, &allowed);
    error_set(err, 0, "%s: needs a value; %s", s->shown, allowed.text);
    return SCAN_BAD;
}

static enum scan_what scan_name(struct scan *s, const char *text, struct error *err) {
    struct slice value = slice_str(text);
    struct slice name = slice_cut(&value, '=');
    const char *glued = text[name.len] == '=' ? text + name.len + 1 : NULL;
    bool help = slice_eq(name, SLICE("help"));
    snprintf(s->shown, sizeof(s->shown), "--%.*s", (int)name.len, name.ptr);
    s->row = row_by_name(s->spec, name);
    if (s->row == NULL && !help)
        return unknown_name(s, name, err);
    if (s->row != NULL && s->row->type != OPTION_FLAG)
        return take_value(s, glued, err);
    if (glued != NULL) {
        error_set(err, 0, "%s: '%s' is not allowed; it takes no value", s->shown, glued);
        return SCAN_BAD;
    }
    s->value = NULL;
    return s->row != NULL ? SCAN_OPTION : SCAN_HELP;
}

static enum scan_what scan_letter(struct scan *s, struct error *err) {
    char letter = *s->letters++;
    snprintf(s->shown, sizeof(s->shown), "-%c", letter);
    s->row = row_by_letter(s->spec, letter);
    if (s->row == NULL && letter == 'h')
        return SCAN_HELP;
    if (s->row == NULL)
        return unknown_name(s, SLICE(""), err);
    if (s->row->type == OPTION_FLAG) {
        s->value = NULL;
        return SCAN_OPTION;
    }
    const char *glued = *s->letters != '\0' ? s->letters : NULL;
    s->letters = NULL;
    return take_value(s, glued, err);
}

static enum scan_what scan_next(struct scan *s, struct error *err) {
    if (s->letters != NULL && *s->letters != '\0')
        return scan_letter(s, err);
    if (!s->only_positionals && s->next < s->argc && strcmp(s->argv[s->next], "--") == 0) {
        s->only_positionals = true;
        s->next++;
    }
    if (s->next >= s->argc)
        return SCAN_END;
    const char *arg = s->argv[s->next++];
    if (s->only_positionals || arg[0] != '-' || arg[1] == '\0') {
        s->value = arg;
        return SCAN_POSITIONAL;
    }
    if (arg[1] == '-')
        return scan_name(s, arg + 2, err);
    s->letters = arg + 1;
    return scan_letter(s, err);
}

static int take_positional(const struct scan *s, struct option_strings *positionals,
                           struct error *err) {
    const struct option_spec *spec = s->spec;
    size_t max = spec->positional != NULL ? spec->positional_max : 0;
    if (positionals->count < size_min(max, OPTION_STRINGS_MAX)) {
        positionals->items[positionals->count++] = s->value;
        return 0;
    }
    if (max == 0)
        return error_set(err, -EINVAL, "'%s': unexpected argument; only options are taken",
                         s->value);
    return error_set(err, -EINVAL, "'%s': unexpected argument; %zu %s at most", s->value, max,
                     spec->positional);
}

/* First walk: checks the form of argv, collects positionals, and notes which rows are given. */
static enum option_outcome check_form(struct scan s, bool *given,
                                      struct option_strings *ret_positionals, struct error *err) {
    const struct option_spec *spec = s.spec;
    for (;;) {
        switch (scan_next(&s, err)) {
        case SCAN_OPTION:
            given[s.row - spec->rows] = true;
            break;
        case SCAN_POSITIONAL:
            if (take_positional(&s, ret_positionals, err) < 0)
                return OPTION_BAD;
            break;
        case SCAN_HELP:
            option_print_help(spec, stdout);
            return OPTION_HELP;
        case SCAN_BAD:
            return OPTION_BAD;
        case SCAN_END:
            if (spec->positional == NULL || ret_positionals->count >= spec->positional_min)
                return OPTION_RUN;
            error_set(err, 0, "%s: missing; usage: %s", spec->positional, spec->usage);
            return OPTION_BAD;
        }
    }
}

static int store_or_say(const struct option_row *row, void *config, const char *shown,
                        const char *value, struct error *err) {
    struct error allowed;
    if (option_store(row, config, value, &allowed) == 0)
        return 0;
    return error_set(err, -EINVAL, "%s: '%s' is not allowed; %s", shown, value, allowed.text);
}

static const char *env_value(const struct option_row *row) {
    const char *value = row->env != NULL ? getenv(row->env) : NULL;
    return value != NULL && value[0] != '\0' ? value : NULL;
}

/* The environment or else the fallback, for rows that argv does not give: a list named by the user
 * replaces the default instead of adding to it, and a bad default does not matter when overridden.
 */
static int store_default(const struct option_row *row, void *config, struct error *err) {
    char shown[SHOWN_BYTES];
    const char *value = env_value(row);
    if (value != NULL) {
        snprintf(shown, sizeof(shown), "%s (environment)", row->env);
        return store_or_say(row, config, shown, value, err);
    }
    if (row->fallback == NULL)
        return 0;
    const char letter[] = { row->letter, '\0' };
    snprintf(shown, sizeof(shown), "%s%s (default)", row->name != NULL ? "--" : "-",
             row->name != NULL ? row->name : letter);
    return store_or_say(row, config, shown, row->fallback, err);
}

/* Second walk, over what the first has found well-formed. */
static int store_arguments(struct scan s, void *config, struct error *err) {
    for (;;) {
        enum scan_what what = scan_next(&s, err);
        if (what == SCAN_END)
            return 0;
        if (what != SCAN_OPTION)
            continue;
        int rc = store_or_say(s.row, config, s.shown, s.value, err);
        if (rc < 0)
            return rc;
    }
}

enum option_outcome option_parse(const struct option_spec *spec, int argc, char **argv,
                                 void *config, struct option_strings *ret_positionals,
                                 struct error *err) {
    ASSERT(spec->row_count <= OPTION_ROWS_MAX);
    bool given[OPTION_ROWS_MAX] = { false };
    struct scan start = { .spec = spec, .argc = argc, .next = 1, .argv = argv };
    ret_positionals->count = 0;
    enum option_outcome outcome = check_form(start, given, ret_positionals, err);
    if (outcome != OPTION_RUN)
        return outcome;

    for (size_t i = 0; i < spec->row_count; i++)
        if (!given[i] && store_default(&spec->rows[i], config, err) < 0)
            return OPTION_BAD;
    return store_arguments(start, config, err) < 0 ? OPTION_BAD : OPTION_RUN;
}

bool option_in_arguments(const struct option_spec *spec, int argc, char **argv, const char *name) {
    struct scan start = { .spec = spec, .argc = argc, .next = 1, .argv = argv };
    bool given[OPTION_ROWS_MAX] = { false };
    struct option_strings positionals = { .count = 0 };
    struct error err = { "" };

    if (check_form(start, given, &positionals, &err) != OPTION_RUN)
        return false;
    for (size_t i = 0; i < spec->row_count; i++)
        if (given[i] && spec->rows[i].name != NULL && strcmp(spec->rows[i].name, name) == 0)
            return true;
    return false;
}
