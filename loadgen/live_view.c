/* SPDX-License-Identifier: MIT */
/* Prints a run's seconds on stderr. */
#include "loadgen/live_view.h"
#include "loadgen/times.h"
#include <inttypes.h>

enum { SPARKS = 24 };

static const char *show(const struct live_row *row, int64_t usec, char *text) {
    if (row->answers == 0)
        return "-";
    return times_format((struct times_value){ .usec = usec }, text);
}

static void print_sparkline(const struct live *l) {
    static const char *const blocks[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
    size_t first = l->row_count > SPARKS ? l->row_count - SPARKS : 0;
    double most = 1;
    for (size_t i = first; i < l->row_count; i++)
        if (l->rows[i].rate > most)
            most = l->rows[i].rate;
    for (size_t i = first; i < l->row_count; i++)
        fputs(blocks[(size_t)(l->rows[i].rate / most * (ARRAY_LEN(blocks) - 1))], l->out);
}

void live_view_row(const struct live *l, const struct live_row *row) {
    char p50[TIMES_TEXT_BYTES], p99[TIMES_TEXT_BYTES];
    fprintf(l->out,
            "%s%6.1f s  %8.0f req/s  p50 %s  p99 %s  errors %" PRIu64 "  in flight %" PRIu64,
            l->on_terminal ? "\r\x1b[K" : "", row->second, row->rate, show(row, row->p50_us, p50),
            show(row, row->p99_us, p99), row->failed, row->in_flight);
    if (l->on_terminal) {
        fputs("  ", l->out);
        print_sparkline(l);
    } else {
        fputc('\n', l->out);
    }
    fflush(l->out);
}

void live_view_end(const struct live *l) {
    if (l->on_terminal && l->row_count > 0)
        fputc('\n', l->out);
}
