/* SPDX-License-Identifier: MIT */
/* Progress on stderr, quiet enough for logs and lively enough for a terminal. */
#include "playground/progress.h"
#include "base/units.h"
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BAR_CELLS       20
#define COLUMNS_DEFAULT 80
#define LINE_BYTES      256

void progress_init(struct progress *p, FILE *out, size_t count) {
    struct winsize size = { 0 };
    *p = (struct progress){
        .out = out, .live = isatty(fileno(out)) == 1, .columns = COLUMNS_DEFAULT, .count = count
    };
    if (p->live && ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 1)
        p->columns = size.ws_col;
}

/* Replaces the live line; cut before the right margin, since a line that wraps could not be taken
 * back. */
static void show(struct progress *p, const char *line) {
    fprintf(p->out, "\r\033[K%.*s", p->columns - 1, line);
    fflush(p->out);
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
    if (p->live)
        show(p, line);
    else
        fprintf(p->out, "%s\n", line);
}

void progress_sample(void *arg, const struct play_result *so_far, const struct series_point *now) {
    struct progress *p = arg;
    char line[LINE_BYTES], bar[BAR_CELLS + 1];
    if (!p->live)
        return;
    double share = so_far->ideal > 0 ? (double)now->elapsed / (double)so_far->ideal : 0;
    size_t filled = (size_t)((share < 1 ? share : 1) * BAR_CELLS);
    memset(bar, '.', BAR_CELLS);
    memset(bar, '#', filled);
    bar[BAR_CELLS] = '\0';
    snprintf(line, sizeof(line),
             "%zu/%zu %s [%s] %.1f of %.1f s  threads %" PRIu32 ", asleep %" PRIu32 "  %.1f MiB",
             p->index, p->count, so_far->row->name, bar, (double)now->elapsed / NSEC_PER_SEC,
             (double)so_far->ideal / NSEC_PER_SEC, now->total.threads, now->total.sleeping,
             (double)now->total.rss_bytes / (1024 * 1024));
    show(p, line);
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
        show(p, "");
}
