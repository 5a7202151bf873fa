/* SPDX-License-Identifier: MIT */
/* Progress on stderr, quiet enough for logs and lively enough for a terminal. */
#include "playground/progress.h"
#include "base/units.h"
#include "playground/terminal.h"
#include <inttypes.h>
#include <string.h>

#define BAR_CELLS       20
#define BAR_CELLS_SLIM  8
#define WIDE            76 /* columns; on less some of the view is left out */
#define HEADING         "           threads running  asleep in flight  CPU %     MiB"
#define LINE_BYTES      256
#define IN_FLIGHT_BYTES 16
#define MIB             (1024.0 * 1024.0)

/* A window may be made smaller while it shows the view. */
static void measure(struct progress *p) {
    struct terminal_size size = terminal_size(p->out);
    p->columns = size.columns > 1 ? (int)size.columns : TERMINAL_COLUMNS_DEFAULT;
    p->rows = (int)size.rows;
}

void progress_init(struct progress *p, FILE *out, size_t count) {
    *p = (struct progress){ .out = out, .live = terminal_is_live(out), .count = count };
    measure(p);
}

/* Goes back to where the live view begins, and takes it away. */
static void rewind_view(struct progress *p) {
    if (p->lines > 1)
        fprintf(p->out, "\033[%zuA", p->lines - 1);
    fputs("\r\033[J", p->out);
    p->lines = 0;
}

/* One more line, cut before the right margin: one that wraps could not be taken back. */
static void show(struct progress *p, const char *line) {
    fprintf(p->out, "%s%.*s", p->lines > 0 ? "\n" : "", p->columns - 1, line);
    p->lines++;
}

void progress_start(struct progress *p, const struct playground *row,
                    const struct play_load *load) {
    char line[LINE_BYTES], delay[UNITS_TEXT_BYTES];
    p->index++;
    snprintf(line, sizeof(line),
             "srv play: %zu/%zu %s: n=%" PRIu32 " c=%" PRIu32 " delay=%s, ideal %.2f s", p->index,
             p->count, row->name, load->requests, load->concurrency,
             units_format_duration(load->delay, delay),
             (double)catalogue_ideal(row, load) / NSEC_PER_SEC);
    p->last = (struct series_point){ 0 };
    if (p->live) {
        rewind_view(p);
        show(p, line);
        fflush(p->out);
    } else
        fprintf(p->out, "%s\n", line);
}

static void show_bar(struct progress *p, const struct play_result *so_far,
                     const struct series_point *now) {
    char line[LINE_BYTES], bar[BAR_CELLS + 1];
    double share = so_far->ideal > 0 ? (double)now->elapsed / (double)so_far->ideal : 0;
    size_t cells = p->columns > WIDE ? BAR_CELLS : BAR_CELLS_SLIM;
    memset(bar, '.', cells);
    memset(bar, '#', (size_t)((share < 1 ? share : 1) * (double)cells));
    bar[cells] = '\0';
    snprintf(line, sizeof(line),
             "%zu/%zu %s [%s] %.1f of %.1f s  threads %" PRIu32 ", asleep %" PRIu32 "  %.1f MiB",
             p->index, p->count, so_far->row->name, bar, (double)now->elapsed / NSEC_PER_SEC,
             (double)so_far->ideal / NSEC_PER_SEC, now->total.threads, now->total.sleeping,
             (double)now->total.rss_bytes / MIB);
    show(p, line);
}

/* Nobody asks a database or a proxy. Returns `text`. */
static const char *in_flight_text(uint32_t in_flight, char text[static IN_FLIGHT_BYTES]) {
    if (in_flight == GAUGE_UNKNOWN)
        return "-";
    snprintf(text, IN_FLIGHT_BYTES, "%" PRIu32, in_flight);
    return text;
}

/* What `top -H` would show, a line for each process of the row, and what is under way there. */
static void show_processes(struct progress *p, const struct playground *row,
                           const struct series_point *now) {
    char line[LINE_BYTES], in_flight[IN_FLIGHT_BYTES];
    nsec_t span = now->elapsed - p->last.elapsed;
    bool wide = p->columns > WIDE;
    show(p, wide ? HEADING "  connections" : HEADING);
    for (size_t i = 0; i < catalogue_process_count(row); i++) {
        const struct probe_sample *seen = &now->of[i];
        nsec_t cpu = seen->cpu - p->last.of[i].cpu;
        snprintf(line, sizeof(line),
                 "  %-8s%8" PRIu32 "%8" PRIu32 "%8" PRIu32 "%10s%7.1f%8.1f%13" PRIu32,
                 row->processes[i].name, seen->threads, seen->running, seen->sleeping,
                 in_flight_text(now->in_flight[i], in_flight),
                 span > 0 ? 100.0 * (double)cpu / (double)span : 0, (double)seen->rss_bytes / MIB,
                 now->connections[i]);
        if (!wide)
            line[sizeof(HEADING) - 1] = '\0';
        show(p, line);
    }
}

void progress_sample(void *arg, const struct play_result *so_far, const struct series_point *now) {
    struct progress *p = arg;
    if (!p->live)
        return;
    rewind_view(p);
    measure(p);
    show_bar(p, so_far, now);
    /* The first sample has nothing to take a rate from. */
    if (p->last.elapsed > 0 && p->rows > PLAY_PROCESSES_MAX + 2)
        show_processes(p, so_far->row, now);
    fflush(p->out);
    p->last = *now;
}

void progress_done(struct progress *p, const struct play_result *result) {
    progress_clear(p);
    fprintf(p->out, "srv play: %zu/%zu %s: done in %.2f s, %" PRIu64 " failed", p->index, p->count,
            result->row->name, result->seconds, result->failed);
    if (result->failed > 0 && result->last_words[0] != '\0')
        fprintf(p->out, " (last said by %s)", result->last_words);
    fputc('\n', p->out);
}

void progress_clear(struct progress *p) {
    if (p->live)
        rewind_view(p);
    fflush(p->out);
}
