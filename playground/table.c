/* SPDX-License-Identifier: MIT */
/* Columns as data: a heading of two lines and the function that writes a cell. */
#include "playground/table.h"
#include "base/attr.h"
#include <inttypes.h>
#include <string.h>

#define MIB (1024.0 * 1024.0)

#define CELL(noun, ...)                                                                        \
    static void cell_##noun(const struct play_result *r, char text[static TABLE_CELL_BYTES]) { \
        snprintf(text, TABLE_CELL_BYTES, __VA_ARGS__);                                         \
    }

CELL(model, "%s", r->row->name)
CELL(requests, "%" PRIu32, r->load.requests)
CELL(concurrency, "%" PRIu32, r->load.concurrency)
CELL(delay, "%.6g", (double)r->load.delay / NSEC_PER_SEC)
CELL(seconds, "%.2f", r->seconds)
CELL(ideal, "%.2f", (double)r->ideal / NSEC_PER_SEC)
CELL(rate, "%.1f", r->requests_per_second)
CELL(p50, "%.1f", (double)r->p50_usec / 1000)
CELL(p99, "%.1f", (double)r->p99_usec / 1000)
CELL(failed, "%" PRIu64, r->failed)
CELL(threads_before, "%" PRIu32, r->threads_before)
CELL(threads_during, "%" PRIu32, r->threads_during)
CELL(sleeping, "%.0f", r->sleeping_during)
CELL(cpu, "%.0f", result_cpu_usec(r))
CELL(memory, "%.1f", (double)r->memory_peak_bytes / MIB)

const struct table_column table_columns[] = {
    { "", "model",
      cell_model }, /* the first column is the only one that is text: aligned to the left */
    { "", "n", cell_requests },
    { "", "c", cell_concurrency },
    { "delay", "s", cell_delay },
    { "time", "s", cell_seconds },
    { "ideal", "s", cell_ideal },
    { "requests", "per s", cell_rate },
    { "p50", "ms", cell_p50 },
    { "p99", "ms", cell_p99 },
    { "", "failed", cell_failed },
    { "threads", "before", cell_threads_before },
    { "threads", "during", cell_threads_during },
    { "asleep", "during", cell_sleeping },
    { "CPU us", "per req", cell_cpu },
    { "memory", "MiB", cell_memory },
};
const size_t table_column_count = ARRAY_LEN(table_columns);

static size_t max_size(size_t a, size_t b) {
    return a > b ? a : b;
}

static int column_width(const struct table_column *column, const struct play_result *results,
                        size_t count) {
    size_t width = max_size(strlen(column->top), strlen(column->bottom));
    for (size_t i = 0; i < count; i++) {
        char text[TABLE_CELL_BYTES];
        column->cell(&results[i], text);
        width = max_size(width, strlen(text));
    }
    return (int)width;
}

static void print_cell(size_t column, int width, const char *text, FILE *out) {
    if (column == 0)
        fprintf(out, "%-*s", width, text);
    else
        fprintf(out, "  %*s", width, text);
}

void table_print(const struct play_result *results, size_t count, FILE *out) {
    int widths[ARRAY_LEN(table_columns)];
    for (size_t c = 0; c < ARRAY_LEN(table_columns); c++)
        widths[c] = column_width(&table_columns[c], results, count);

    for (size_t c = 0; c < ARRAY_LEN(table_columns); c++)
        print_cell(c, widths[c], table_columns[c].top, out);
    fputc('\n', out);
    for (size_t c = 0; c < ARRAY_LEN(table_columns); c++)
        print_cell(c, widths[c], table_columns[c].bottom, out);
    fputc('\n', out);
    for (size_t i = 0; i < count; i++) {
        if (results[i].skipped[0] != '\0') {
            fprintf(out, "%-*s  skipped: %s\n", widths[0], results[i].row->name,
                    results[i].skipped);
            continue;
        }
        for (size_t c = 0; c < ARRAY_LEN(table_columns); c++) {
            char text[TABLE_CELL_BYTES];
            table_columns[c].cell(&results[i], text);
            print_cell(c, widths[c], text, out);
        }
        fputc('\n', out);
    }
}

/* A proxy in front of the app works, too: what each of them spent. */
static void print_processes(const struct play_result *r, FILE *out) {
    size_t count = catalogue_process_count(r->row);
    if (count == 0 || r->row->processes[count - 1].measured || r->requests == 0)
        return;
    fprintf(out, "%s: CPU us per request:", r->row->name);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "%s %s %.0f", i > 0 ? "," : "", r->row->processes[i].name,
                result_process_cpu_usec(r, i));
    fprintf(out, ".\n");
}

void table_print_notices(const struct play_result *results, size_t count, FILE *out) {
    for (size_t i = 0; i < count; i++)
        if (results[i].skipped[0] == '\0' && results[i].row->peer_of == NULL) {
            fprintf(out, "%s: %s.\n", results[i].row->name, results[i].row->notice);
            print_processes(&results[i], out);
        }
}
