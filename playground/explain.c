/* SPDX-License-Identifier: MIT */
/* Prints the catalogue, and the commands of one row with the addresses that a person would take. */
#include "playground/explain.h"
#include "base/alloc.h"
#include "base/terminal.h"
#include "base/units.h"
#include "playground/program.h"
#include <errno.h>
#include <string.h>

#define TEXT_WIDTH 92

void explain_list(const struct playground *const *rows, size_t count, FILE *out) {
    for (size_t i = 0; i < count; i++) {
        const struct playground *row = rows[i];
        char delay[UNITS_TEXT_BYTES];
        fprintf(out, "%-16s n=%-5u c=%-4u delay=%-5s %s", row->name, row->load.requests,
                row->load.concurrency, units_format_duration(row->load.delay, delay), row->title);
        if (row->alias != NULL)
            fprintf(out, " (%s)", row->alias);
        fputc('\n', out);
    }
}

/* The processes of the row on their own ports. `starts` has a place for each. */
static int print_processes(const struct playground *row, struct program_start *starts, FILE *out,
                           struct error *err) {
    size_t count = row_process_count(row);
    bool in_source = false;
    int rc = 0;
    for (size_t i = 0; i < count; i++)
        in_source = in_source || program_of(&row->processes[i])->in_source;
    if (in_source)
        fprintf(out, "  # from the folder of srv's source\n");
    for (size_t i = 0; rc == 0 && i < count; i++) {
        const struct play_process *process = &row->processes[i];
        starts[i] = (struct program_start){
            .process = process,
            .port_by_hand = process->port_by_hand,
            .value_count = i + 1,
        };
        for (size_t j = 0; j < i; j++)
            starts[i].values[j + 1] = (struct argv_value){ row->processes[j].name, starts[j].url };
        rc = program_of(process)->explain(&starts[i], out, err);
    }
    return rc;
}

static int print_load(const struct play_load *load, const struct program_start *target, FILE *out,
                      struct error *err) {
    char text[ARGV_TEXT_BYTES];
    struct argv argv;
    argv_init(&argv);
    int rc = argv_of_load(&argv, load, target->url, target->certificate);
    if (rc != 0)
        return error_set(err, rc, "the command of srv bench is too long");
    fprintf(out, "  %s\n", argv_format(&argv, text, sizeof(text)));
    return 0;
}

int explain_commands(const struct playground *row, const struct play_load *load, FILE *out,
                     struct error *err) {
    struct program_start *starts = mem_calloc(PLAY_PROCESSES_MAX, sizeof(*starts));
    if (starts == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    int rc = print_processes(row, starts, out, err);
    if (rc == 0)
        rc = print_load(load, &starts[row_process_count(row) - 1], out, err);
    mem_free(starts);
    return rc;
}

/* Names the processes that top(1) should show: all that have the socket of the measured server,
 * whatever they are called. */
static void print_watching(const struct playground *row, FILE *out) {
    unsigned port = 0;
    bool tells = false;
    for (size_t i = 0; i < row_process_count(row); i++)
        if (row->processes[i].measured) {
            port = row->processes[i].port_by_hand;
            tells = row->processes[i].program == NULL; /* srv has a control endpoint */
        }
    fprintf(out, "and meanwhile, for the threads%s:\n",
            row_has_slow_api(row) ? " and for what is in flight" : "");
    fprintf(out, "  top -H -p PID    # PID,PID,... of the server: ss -tlnp 'sport = :%u'\n", port);
    fprintf(out, "  # what they wait for: srv play --attach PID");
    if (tells)
        fprintf(out, " --control 127.0.0.1:%u", port + 1);
    fputc('\n', out);
    if (row_has_slow_api(row))
        fprintf(out, "  curl 127.0.0.1:%u/stats\n", row->processes[0].port_by_hand + 1u);
}

int explain_row(const struct playground *row, const struct play_load *load, FILE *out,
                struct error *err) {
    char formula[64];
    size_t columns = terminal_size(out).columns;
    fprintf(out, "%s: %s\n", row->name, row->title);
    terminal_wrap(out, row->shows, 2, columns > 0 && columns < TEXT_WIDTH ? columns : TEXT_WIDTH);

    fprintf(out, "\nBy hand, each in a terminal of its own:\n");
    int rc = explain_commands(row, load, out, err);
    if (rc != 0)
        return rc;
    print_watching(row, out);

    fprintf(out, "\nIdeal: %s = %.2f s.", row_ideal_formula(row, load, formula, sizeof(formula)),
            (double)row_ideal(row, load) / NSEC_PER_SEC);
    double tutorial = row_tutorial_seconds(row, load);
    if (tutorial > 0)
        fprintf(out, " The tutorial (%s) reports %.3f s%s%s.", row->alias, tutorial,
                row->tutorial_has != NULL ? ", with " : "",
                row->tutorial_has != NULL ? row->tutorial_has : "");
    fputc('\n', out);
    return 0;
}
