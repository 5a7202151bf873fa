/* SPDX-License-Identifier: MIT */
/* Options as rows: the value of one row, the walk over argv, and the printer of --help. */
#include "base/option.h"
#include "base/assert.h"
#include "base/slice.h"
#include "base/units.h"
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* --- one value ---------------------------------------------------------------------- */

static bool is_bounded(const struct option_row *row) {
    return row->min != 0 || row->max != 0;
}

static const char *format_bound(const struct option_row *row, int64_t bound, char *text) {
    if (row->type == OPTION_DURATION)
        return units_format_duration(bound, text);
    if (row->type == OPTION_SIZE)
        return units_format_size((uint64_t)bound, text);
    snprintf(text, UNITS_TEXT_BYTES, "%lld", (long long)bound);
    return text;
}

/* Says the range of a row alone: "1 to 1000", "at least 1s", or "" when there is none. */
static void option_range(const struct option_row *row, char *ret_text, size_t cap) {
    bool numeric = row->type == OPTION_INT || row->type == OPTION_COUNT ||
                   row->type == OPTION_DURATION || row->type == OPTION_SIZE;
    char min[UNITS_TEXT_BYTES], max[UNITS_TEXT_BYTES];
    ret_text[0] = '\0';
    if (!numeric || !is_bounded(row))
        return;
    if (row->max == INT64_MAX)
        snprintf(ret_text, cap, "at least %s", format_bound(row, row->min, min));
    else if (row->min == INT64_MIN)
        snprintf(ret_text, cap, "at most %s", format_bound(row, row->max, max));
    else
        snprintf(ret_text, cap, "%s to %s", format_bound(row, row->min, min),
                 format_bound(row, row->max, max));
}

PRINTF_LIKE(3, 4) static void append(char *text, size_t cap, const char *fmt, ...) {
    size_t len = strlen(text);
    va_list args;
    va_start(args, fmt);
    vsnprintf(text + len, cap - len, fmt, args);
    va_end(args);
}

/* Joins the words of OPTION_CHOICE with `comma`, and with `last` before the last one. */
static void option_words(const struct option_row *row, const char *comma, const char *last,
                         char *ret_text, size_t cap) {
    ret_text[0] = '\0';
    for (size_t i = 0; row->choices[i] != NULL; i++) {
        const char *glue = i == 0 ? "" : row->choices[i + 1] == NULL ? last : comma;
        append(ret_text, cap, "%s%s", glue, row->choices[i]);
    }
}

static void set_allowed_number(const struct option_row *row, const char *what, const char *example,
                               struct error *ret_text) {
    char range[2 * UNITS_TEXT_BYTES + 16];
    option_range(row, range, sizeof(range));
    bool both = row->min != INT64_MIN && row->max != INT64_MAX;
    const char *glue = range[0] == '\0' ? "" : both ? " from " : " of ";
    error_set(ret_text, 0, "%s%s%s%s", what, glue, range, example);
}

/* Says what the row takes, as errors do: "a whole number from 1 to 1000". */
static void option_allowed(const struct option_row *row, struct error *ret_text) {
    char words[sizeof(ret_text->text)];
    ret_text->text[0] = '\0';
    switch (row->type) {
    case OPTION_FLAG:
        error_set(ret_text, 0, "yes or no (also true, false, on, off, 1, 0)");
        return;
    case OPTION_INT:
        set_allowed_number(row, "a whole number", "", ret_text);
        return;
    case OPTION_COUNT:
        set_allowed_number(row, "a whole number", ", such as 500, 10k or 2m", ret_text);
        return;
    case OPTION_DURATION:
        set_allowed_number(row, "a duration", ", such as 250ms, 1.5s or 2m", ret_text);
        return;
    case OPTION_SIZE:
        set_allowed_number(row, "a size in bytes", ", such as 512, 64k or 1m", ret_text);
        return;
    case OPTION_CHOICE:
        option_words(row, ", ", " or ", words, sizeof(words));
        error_set(ret_text, 0, "%s%s", row->choices[1] != NULL ? "one of " : "", words);
        return;
    case OPTION_STRING:
    case OPTION_STRINGS:
    case OPTION_CUSTOM:
        error_set(ret_text, 0, "%s", row->meta != NULL ? row->meta : "any text");
        return;
    }
}

/* Members are reached by offset, so bytes are copied: no cast, no alignment, no aliasing to trust.
 */
static void store_bytes(const struct option_row *row, void *config, const void *value,
                        size_t size_bytes) {
    memcpy((char *)config + row->offset, value, size_bytes);
}

static int store_flag(const struct option_row *row, void *config, const char *value) {
    static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };
    if (value == NULL)
        value = "yes";
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!slice_eq_nocase(slice_str(value), slice_str(words[i])))
            continue;
        bool set = i % 2 == 1;
        store_bytes(row, config, &set, sizeof(set));
        return 0;
    }
    return -EINVAL;
}

static bool is_within(const struct option_row *row, int64_t value) {
    return !is_bounded(row) || (value >= row->min && value <= row->max);
}

static int store_int(const struct option_row *row, void *config, const char *value) {
    struct slice digits = slice_str(value);
    bool minus = slice_starts_with(digits, SLICE("-"));
    uint64_t magnitude = 0;
    uint64_t max = (uint64_t)INT64_MAX + minus;
    int rc = slice_parse_u64(slice_drop(digits, minus), max, &magnitude);
    if (rc < 0)
        return rc;
    int64_t number = (int64_t)(minus ? -magnitude : magnitude);
    if (!is_within(row, number))
        return -ERANGE;
    store_bytes(row, config, &number, sizeof(number));
    return 0;
}

static int store_count(const struct option_row *row, void *config, const char *value) {
    struct slice digits = slice_str(value);
    char unit = digits.len > 0 ? (char)(digits.ptr[digits.len - 1] | 0x20) : '\0';
    uint64_t factor = unit == 'k' ? 1000 : unit == 'm' ? 1000000 : 1, number = 0;
    digits.len -= factor > 1;
    int rc = slice_parse_u64(digits, INT64_MAX / factor, &number);
    if (rc < 0)
        return rc;
    int64_t count = (int64_t)(number * factor);
    if (!is_within(row, count))
        return -ERANGE;
    store_bytes(row, config, &count, sizeof(count));
    return 0;
}

static int store_duration(const struct option_row *row, void *config, const char *value) {
    nsec_t span = 0;
    int rc = units_parse_duration(slice_str(value), &span);
    if (rc < 0)
        return rc;
    if (!is_within(row, span))
        return -ERANGE;
    store_bytes(row, config, &span, sizeof(span));
    return 0;
}

static int store_size(const struct option_row *row, void *config, const char *value) {
    uint64_t bytes = 0;
    int rc = units_parse_size(slice_str(value), &bytes);
    if (rc < 0)
        return rc;
    if (is_bounded(row) && (bytes < (uint64_t)row->min || bytes > (uint64_t)row->max))
        return -ERANGE;
    store_bytes(row, config, &bytes, sizeof(bytes));
    return 0;
}

static int store_choice(const struct option_row *row, void *config, const char *value) {
    for (int i = 0; row->choices[i] != NULL; i++) {
        if (strcmp(row->choices[i], value) != 0)
            continue;
        store_bytes(row, config, &i, sizeof(i));
        return 0;
    }
    return -EINVAL;
}

static int append_string(const struct option_row *row, void *config, const char *value,
                         struct error *allowed) {
    struct option_strings *list = (void *)((char *)config + row->offset);
    if (list->count == OPTION_STRINGS_MAX)
        return error_set(allowed, -ERANGE, "it can be given %d times at most", OPTION_STRINGS_MAX);
    list->items[list->count++] = value;
    return 0;
}

static int store_any(const struct option_row *row, void *config, const char *value,
                     struct error *allowed) {
    ASSERT(value != NULL || row->type == OPTION_FLAG);
    switch (row->type) {
    case OPTION_FLAG:
        return store_flag(row, config, value);
    case OPTION_INT:
        return store_int(row, config, value);
    case OPTION_COUNT:
        return store_count(row, config, value);
    case OPTION_DURATION:
        return store_duration(row, config, value);
    case OPTION_SIZE:
        return store_size(row, config, value);
    case OPTION_CHOICE:
        return store_choice(row, config, value);
    case OPTION_STRINGS:
        return append_string(row, config, value, allowed);
    case OPTION_STRING:
        store_bytes(row, config, &value, sizeof(value));
        return 0;
    case OPTION_CUSTOM:
        return row->parse(config, value, allowed);
    }
    return -EINVAL;
}

/* Stores `value` (NULL: the bare flag) at the row's offset. 0, or -EINVAL with what is allowed in
 * `allowed` and the member unchanged. */
static int option_store(const struct option_row *row, void *config, const char *value,
                        struct error *allowed) {
    option_allowed(row, allowed);
    return store_any(row, config, value, allowed) < 0 ? -EINVAL : 0;
}

/* --- argv -------------------------------------------------------------------------- */

#define SHOWN_BYTES 80 /* an option as the user wrote it, in errors */

enum scan_what { SCAN_END, SCAN_OPTION, SCAN_POSITIONAL, SCAN_HELP, SCAN_BAD };

struct scan {
    const struct option_spec *spec;
    int argc, next;
    char **argv;
    const char *letters;   /* rest of a group such as -kq, or NULL */
    bool only_positionals; /* behind `--` */

    /* found by the last step */
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
    size_t rows[3][NAME_BYTES_MAX + 1]; /* rows i - 2, i - 1 and i of the matrix, modulo 3 */
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

/* --- --help ------------------------------------------------------------------------- */

#define WIDTH_MIN       80 /* also of what is no terminal: the same text everywhere */
#define WIDTH_MAX       100
#define TEXT_COLUMN_MAX 30 /* a longer name has its text start on the next line */

static size_t width_of(FILE *out) {
    struct winsize size = { 0 };
    int fd = fileno(out);
    if (fd < 0 || ioctl(fd, TIOCGWINSZ, &size) < 0 || size.ws_col < WIDTH_MIN)
        return WIDTH_MIN;
    return size.ws_col < WIDTH_MAX ? size.ws_col : WIDTH_MAX;
}

/* Words, cut at a separator, flow into lines between `indent` and `width`. */
struct flow {
    FILE *out;
    size_t column, indent, width;
};

static void flow_words(struct flow *f, const char *text, char sep) {
    struct slice rest = slice_str(text);
    while (rest.len > 0) {
        struct slice word = slice_cut(&rest, sep);
        if (word.len == 0)
            continue;
        bool glued = f->column <= f->indent; /* nothing on the line yet */
        if (!glued && f->column + 1 + word.len > f->width) {
            fputc('\n', f->out);
            f->column = 0;
            glued = true;
        }
        size_t pad = f->column < f->indent ? f->indent - f->column : !glued;
        fprintf(f->out, "%*s%.*s", (int)pad, "", (int)word.len, word.ptr);
        f->column += pad + word.len;
    }
}

/* "  -w, --workers N" */
static void format_names(const struct option_row *row, char *text, size_t cap) {
    char letter[] = { '-', row->letter, '\0' };
    char words[256];
    const char *meta = row->meta;
    if (meta == NULL && row->type == OPTION_CHOICE) {
        option_words(row, "|", "|", words, sizeof(words));
        meta = words;
    }
    snprintf(text, cap, "  %2s%s%s%s%s%s", row->letter != 0 ? letter : "",
             row->letter != 0 && row->name != NULL ? ", "
             : row->name != NULL                   ? "  "
                                                   : "",
             row->name != NULL ? "--" : "", row->name != NULL ? row->name : "",
             meta != NULL ? " " : "", meta != NULL ? meta : "");
}

static void add_note(char *notes, size_t cap, const char *label, const char *text) {
    if (text == NULL || text[0] == '\0')
        return;
    size_t len = strlen(notes);
    snprintf(notes + len, cap - len, "%s%s%s", len > 0 ? ";\n" : "[", label, text);
}

/* "[1 to 1000; default: 4; env: WORKERS]", or "". A newline stands where the line may break. */
static void format_notes(const struct option_row *row, char *notes, size_t cap) {
    char text[512];
    notes[0] = '\0';
    if (row->type == OPTION_CHOICE && row->meta != NULL) {
        option_words(row, ",\n", ",\n", text, sizeof(text));
        add_note(notes, cap, "one of: ", text);
    }
    option_range(row, text, sizeof(text));
    add_note(notes, cap, "", text);
    add_note(notes, cap, "", row->type == OPTION_STRINGS ? "repeatable" : "");
    add_note(notes, cap, "default: ", row->fallback);
    add_note(notes, cap, "env: ", row->env);
    size_t len = strlen(notes);
    if (len > 0)
        snprintf(notes + len, cap - len, "]");
}

static void print_row(const struct option_row *row, struct flow f) {
    char names[320], notes[1024];
    format_names(row, names, sizeof(names));
    format_notes(row, notes, sizeof(notes));
    fputs(names, f.out);
    f.column = strlen(names);
    if (f.column + 2 > f.indent) {
        fputc('\n', f.out);
        f.column = 0;
    }
    flow_words(&f, row->help != NULL ? row->help : "", ' ');
    flow_words(&f, notes, '\n');
    fputc('\n', f.out);
}

static const char *topic_of(const struct option_row *row) {
    return row->topic != NULL ? row->topic : "Options";
}

static bool topic_is_new(const struct option_spec *spec, size_t index) {
    for (size_t i = 0; i < index; i++)
        if (strcmp(topic_of(&spec->rows[i]), topic_of(&spec->rows[index])) == 0)
            return false;
    return true;
}

static size_t text_column(const struct option_spec *spec) {
    size_t widest = 0;
    for (size_t i = 0; i < spec->row_count; i++) {
        char names[320];
        format_names(&spec->rows[i], names, sizeof(names));
        size_t len = strlen(names) + 2;
        if (len > widest && len <= TEXT_COLUMN_MAX)
            widest = len;
    }
    return widest > 0 ? widest : TEXT_COLUMN_MAX;
}

static bool letter_is_free(const struct option_spec *spec, char letter) {
    for (size_t i = 0; i < spec->row_count; i++)
        if (spec->rows[i].letter == letter)
            return false;
    return true;
}

void option_print_help(const struct option_spec *spec, FILE *out) {
    struct flow page = { .out = out, .width = width_of(out) };
    struct flow table = { .out = out, .indent = text_column(spec), .width = page.width };
    fprintf(out, "usage: %s\n\n", spec->usage);
    flow_words(&page, spec->summary != NULL ? spec->summary : "", ' ');
    fputc('\n', out);

    for (size_t i = 0; i < spec->row_count; i++) {
        if (!topic_is_new(spec, i))
            continue;
        fprintf(out, "\n%s:\n", topic_of(&spec->rows[i]));
        for (size_t j = i; j < spec->row_count; j++)
            if (strcmp(topic_of(&spec->rows[i]), topic_of(&spec->rows[j])) == 0)
                print_row(&spec->rows[j], table);
    }
    struct option_row help = {
        .name = "help",
        .letter = letter_is_free(spec, 'h') ? 'h' : 0,
        .help = "Print this help and exit.",
    };
    fputs("\nHelp:\n", out);
    print_row(&help, table);
    if (spec->epilog != NULL)
        fprintf(out, "\n%s\n", spec->epilog);
}

void option_print_rows(const struct option_spec *spec, FILE *out) {
    for (size_t i = 0; i < spec->row_count; i++) {
        const struct option_row *row = &spec->rows[i];
        char letter[] = { row->letter, '\0' }, words[512] = "", notes[1024];
        if (row->choices != NULL)
            option_words(row, " ", " ", words, sizeof(words));
        format_notes(row, notes, sizeof(notes));
        for (char *at = notes; (at = strchr(at, '\n')) != NULL;)
            *at = ' ';
        const char *cells[] = { row->name, letter,    row->env, row->fallback, topic_of(row),
                                words,     row->meta, notes,    row->help };
        for (size_t j = 0; j < ARRAY_LEN(cells); j++)
            fprintf(out, "%s%c", cells[j] != NULL ? cells[j] : "",
                    j + 1 < ARRAY_LEN(cells) ? '\t' : '\n');
    }
}
