/* SPDX-License-Identifier: MIT */
/* Prints the catalogue, and the commands of one row with the addresses that a person would take. */
#include "playground/explain.h"
#include "base/slice.h"
#include "base/units.h"
#include "playground/argv.h"
#include <string.h>

#define TEXT_WIDTH 92

void explain_list(FILE *out) {
    for (size_t i = 0; i < catalogue_count; i++) {
        const struct playground *row = &catalogue[i];
        char delay[UNITS_TEXT_BYTES];
        fprintf(out, "%-16s n=%-5u c=%-4u delay=%-5s %s", row->name, row->load.requests,
                row->load.concurrency, units_format_duration(row->load.delay, delay), row->title);
        if (row->alias != NULL)
            fprintf(out, " (%s)", row->alias);
        fputc('\n', out);
    }
}

/* Breaks lines between words. */
static void print_wrapped(const char *text, FILE *out) {
    size_t column = 0;
    struct slice rest = slice_str(text);
    while (rest.len > 0) {
        struct slice word = slice_cut(&rest, ' ');
        if (column > 0 && column + 1 + word.len > TEXT_WIDTH) {
            fputc('\n', out);
            column = 0;
        }
        fprintf(out, "%s%.*s", column > 0 ? " " : "  ", (int)word.len, word.ptr);
        column += word.len + 1;
    }
    fputc('\n', out);
}

static void print_command(const struct argv *argv, FILE *out) {
    char text[ARGV_TEXT_BYTES];
    fprintf(out, "  %s\n", argv_format(argv, text, sizeof(text)));
}

static int print_commands(const struct playground *row, const struct play_load *load, FILE *out,
                          struct error *err) {
    struct argv_value values[PLAY_PROCESSES_MAX + 1];
    char urls[PLAY_PROCESSES_MAX][40];
    size_t count = catalogue_process_count(row);
    struct argv argv;
    for (size_t i = 0; i < count; i++) {
        char bind[24];
        snprintf(bind, sizeof(bind), "127.0.0.1:%u", row->processes[i].port_by_hand);
        snprintf(urls[i], sizeof(urls[i]), "http://%s/", bind);
        values[0] = (struct argv_value){ "bind", bind };
        argv_init(&argv);
        int rc = argv_of_process(&argv, &row->processes[i], values, i + 1, err);
        if (rc != 0)
            return rc;
        print_command(&argv, out);
        values[i + 1] = (struct argv_value){ row->processes[i].name, urls[i] };
    }

    argv_init(&argv);
    int rc = argv_of_load(&argv, load, urls[count - 1]);
    if (rc != 0)
        return error_set(err, rc, "the command of srv bench is too long");
    print_command(&argv, out);
    return 0;
}

int explain_row(const struct playground *row, const struct play_load *load, FILE *out,
                struct error *err) {
    char formula[64];
    fprintf(out, "%s: %s\n", row->name, row->title);
    print_wrapped(row->shows, out);

    fprintf(out, "\nBy hand, each in a terminal of its own (`top -H` in one more):\n");
    int rc = print_commands(row, load, out, err);
    if (rc != 0)
        return rc;

    fprintf(out, "\nIdeal: %s = %.2f s.",
            catalogue_ideal_formula(row, load, formula, sizeof(formula)),
            (double)catalogue_ideal(row, load) / NSEC_PER_SEC);
    bool own_load = load->requests == row->load.requests &&
                    load->concurrency == row->load.concurrency && load->delay == row->load.delay;
    if (row->tutorial_seconds > 0 && own_load)
        fprintf(out, " The tutorial (%s) reports %.3f s.", row->alias, row->tutorial_seconds);
    fputc('\n', out);
    return 0;
}
