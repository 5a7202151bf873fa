/* SPDX-License-Identifier: MIT */
/* Prints a run's seconds on stderr. */
#include "loadgen/live_view.h"
#include <inttypes.h>

enum { SPARKS = 24 };

static void format_usec(char *text, size_t cap, int64_t usec) {
    if (usec < 10000)
        snprintf(text, cap, "%" PRId64 " us", usec);
    else if (usec < 10000000)
        snprintf(text, cap, "%.1f ms", (double)usec / 1000);
    else
        snprintf(text, cap, "%.1f s", (double)usec / 1000000);
}

static void print_sparkline(const struct live *l) {
    static const char *const blocks[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
    size_t first = l->row_count > SPARKS ? l->row_count - SPARKS : 0;
    uint64_t most = 1;
    for (size_t i = first; i < l->row_count; i++)
        if (l->rows[i].requests > most)
            most = l->rows[i].requests;
    for (size_t i = first; i < l->row_count; i++)
        fputs(blocks[l->rows[i].requests * (ARRAY_LEN(blocks) - 1) / most], l->out);
}

void live_view_row(const struct live *l, const struct live_row *row) {
    char p50[24], p99[24];
    format_usec(p50, sizeof(p50), row->p50_us);
    format_usec(p99, sizeof(p99), row->p99_us);
    fprintf(l->out,
            "%s%6.1f s  %8" PRIu64 " req/s  p50 %s  p99 %s  errors %" PRIu64 "  in flight %" PRIu64,
            l->on_terminal ? "\r\x1b[K" : "", row->second, row->requests, p50, p99, row->failed,
            row->in_flight);
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
