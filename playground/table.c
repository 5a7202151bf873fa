/* SPDX-License-Identifier: MIT */
/* Columns as data: a heading of two lines and the function that writes a cell. */
#include "playground/table.h"
#include "base/attr.h"
#include "playground/terminal.h"
#include <inttypes.h>
#include <string.h>

#define MIB        (1024.0 * 1024.0)
#define GAP        2   /* blanks between columns */
#define TEXT_BYTES 512 /* of a sentence; names are short */

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

void table_calls(const struct play_result *r, char text[static TABLE_CELL_BYTES]) {
    if (r->calls_max == 0)
        strcpy(text, "-");
    else
        snprintf(text, TABLE_CELL_BYTES, "%" PRIu32, r->calls_max);
}

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
    { "calls", "at once", table_calls },
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
        fprintf(out, "%*s%*s", GAP, "", width, text);
}

/* Columns that stand side by side: the first one, and those from `begin` to before `end`. */
struct block {
    size_t begin, end;
    const int *widths;
};

typedef void text_fn(const struct table_column *, const void *arg, char[static TABLE_CELL_BYTES]);

static void text_of_top(const struct table_column *column, const void *arg UNUSED,
                        char text[static TABLE_CELL_BYTES]) {
    snprintf(text, TABLE_CELL_BYTES, "%s", column->top);
}

static void text_of_bottom(const struct table_column *column, const void *arg UNUSED,
                           char text[static TABLE_CELL_BYTES]) {
    snprintf(text, TABLE_CELL_BYTES, "%s", column->bottom);
}

static void text_of_cell(const struct table_column *column, const void *result,
                         char text[static TABLE_CELL_BYTES]) {
    column->cell(result, text);
}

static void print_line(const struct block *block, text_fn *text_of, const void *arg, FILE *out) {
    char text[TABLE_CELL_BYTES];
    text_of(&table_columns[0], arg, text);
    print_cell(0, block->widths[0], text, out);
    for (size_t c = block->begin; c < block->end; c++) {
        text_of(&table_columns[c], arg, text);
        print_cell(c, block->widths[c], text, out);
    }
    fputc('\n', out);
}

/* A row that was skipped has its reason in the first block, and no line in the others. */
static void print_block(const struct block *block, const struct play_result *results, size_t count,
                        FILE *out) {
    print_line(block, text_of_top, NULL, out);
    print_line(block, text_of_bottom, NULL, out);
    for (size_t i = 0; i < count; i++) {
        if (results[i].skipped[0] == '\0')
            print_line(block, text_of_cell, &results[i], out);
        else if (block->begin == 1)
            fprintf(out, "%-*s  skipped: %s\n", block->widths[0], results[i].row->name,
                    results[i].skipped);
    }
}

void table_print(const struct play_result *results, size_t count, size_t width, FILE *out) {
    int widths[ARRAY_LEN(table_columns)];
    for (size_t c = 0; c < ARRAY_LEN(table_columns); c++)
        widths[c] = column_width(&table_columns[c], results, count);

    struct block block = { .end = 1, .widths = widths };
    while (block.end < ARRAY_LEN(table_columns)) {
        size_t used = (size_t)widths[0];
        block.begin = block.end;
        do
            used += GAP + (size_t)widths[block.end++];
        while (block.end < ARRAY_LEN(table_columns) &&
               (width == 0 || used + GAP + (size_t)widths[block.end] <= width));
        if (block.begin > 1)
            fputc('\n', out);
        print_block(&block, results, count, out);
    }
}

/* A proxy in front of the app works, too: what each of them spent. */
static void print_processes(const struct play_result *r, size_t width, FILE *out) {
    char text[TEXT_BYTES];
    int len = snprintf(text, sizeof(text), "%s: CPU us per request:", r->row->name);
    for (size_t i = 0; i < catalogue_process_count(r->row); i++)
        len += snprintf(text + len, sizeof(text) - (size_t)len, "%s %s %.0f", i > 0 ? "," : "",
                        r->row->processes[i].name, result_process_cpu_usec(r, i));
    snprintf(text + len, sizeof(text) - (size_t)len, ".");
    terminal_wrap(out, text, 0, width);
}

void table_print_notices(const struct play_result *results, size_t count, size_t width, FILE *out) {
    for (size_t i = 0; i < count; i++) {
        const struct playground *row = results[i].row;
        char text[TEXT_BYTES];
        if (results[i].skipped[0] != '\0' || row->peer_of != NULL)
            continue;
        snprintf(text, sizeof(text), "%s: %s.", row->name, row->notice);
        terminal_wrap(out, text, 0, width);
        if (catalogue_has_proxy(row) && results[i].requests > 0)
            print_processes(&results[i], width, out);
    }
}
