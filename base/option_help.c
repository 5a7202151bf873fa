/* SPDX-License-Identifier: MIT */
/* Prints the rows: --help for people, one line per row for tests. */
#include "base/option_value.h"
#include "base/slice.h"
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

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
        char letter[] = { row->letter, '\0' };
        fprintf(out, "%s|%s|%s|%s|%s\n", row->name != NULL ? row->name : "", letter,
                row->env != NULL ? row->env : "", row->fallback != NULL ? row->fallback : "",
                row->help != NULL ? row->help : "");
    }
}
