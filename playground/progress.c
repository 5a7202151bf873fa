/* SPDX-License-Identifier: MIT */
/* Progress on stderr, quiet enough for logs and lively enough for a terminal. */
#include "playground/progress.h"
#include "base/terminal.h"
#include "base/units.h"
#include <inttypes.h>
#include <string.h>

#define BAR_CELLS       20
#define BAR_CELLS_MIN   4
#define LINE_BYTES      256
#define IN_FLIGHT_BYTES 16
#define FIELD_BYTES     32
#define MIB             (1024.0 * 1024.0)

/* Puts `piece` behind `line`, unless that would pass the right margin: a figure is shown as a whole
 * or not at all. Whether it was put. */
static bool add_piece(const struct play_progress *p, char line[static LINE_BYTES],
                      const char *piece) {
    size_t used = strlen(line), len = strlen(piece);
    if (used + len >= LINE_BYTES || used + len >= p->view.columns)
        return false;
    memcpy(line + used, piece, len + 1);
    return true;
}

static void show_pieces(struct play_progress *p, char pieces[][LINE_BYTES], size_t count) {
    char line[LINE_BYTES] = "";
    for (size_t i = 0; i < count && add_piece(p, line, pieces[i]); i++)
        ;
    terminal_view_line(&p->view, line);
}

void progress_start(struct play_progress *p, FILE *out, size_t index, size_t count,
                    const struct playground *row, const struct play_load *load) {
    char pieces[3][LINE_BYTES], delay[UNITS_TEXT_BYTES];
    *p = (struct play_progress){ .index = index, .count = count };
    terminal_view_init(&p->view, out, TERMINAL_INLINE);
    snprintf(pieces[0], LINE_BYTES, "srv play: %zu/%zu %s", p->index, p->count, row->name);
    snprintf(pieces[1], LINE_BYTES, ": n=%" PRIu32 " c=%" PRIu32 " delay=%s", load->requests,
             load->concurrency, units_format_duration(load->delay, delay));
    snprintf(pieces[2], LINE_BYTES, ", ideal %.2f s", (double)row_ideal(row, load) / NSEC_PER_SEC);
    if (p->view.is_live) {
        terminal_view_begin(&p->view);
        show_pieces(p, pieces, ARRAY_LEN(pieces));
        terminal_view_end(&p->view);
    } else
        fprintf(out, "%s%s%s\n", pieces[0], pieces[1], pieces[2]);
}

/* " [####....]", in what is left of the line; nothing when that is too short to tell anything. */
static void fill_bar(const struct play_progress *p, size_t used, double share,
                     char bar[static BAR_CELLS + 4]) {
    int room = (int)p->view.columns - 1 - (int)used - (int)strlen(" []");
    int cells = room < BAR_CELLS ? room : BAR_CELLS;
    bar[0] = '\0';
    if (cells < BAR_CELLS_MIN)
        return;
    memcpy(bar, " [", 2);
    memset(bar + 2, '.', (size_t)cells);
    memset(bar + 2, '#', (size_t)((share < 1 ? share : 1) * cells));
    memcpy(bar + 2 + cells, "]", 2);
}

static void show_bar(struct play_progress *p, const struct play_result *so_far,
                     const struct series_point *now) {
    char name[LINE_BYTES], pieces[3][LINE_BYTES], line[LINE_BYTES], bar[BAR_CELLS + 4];
    double share = so_far->ideal > 0 ? (double)now->elapsed / (double)so_far->ideal : 0;
    size_t count = 0;
    snprintf(name, sizeof(name), "%zu/%zu %s", p->index, p->count, so_far->row->name);
    snprintf(pieces[0], LINE_BYTES, " %.1f of %.1f s", (double)now->elapsed / NSEC_PER_SEC,
             (double)so_far->ideal / NSEC_PER_SEC);
    snprintf(pieces[1], LINE_BYTES, "  threads %" PRIu32 ", asleep %" PRIu32, now->total.threads,
             now->total.sleeping);
    snprintf(pieces[2], LINE_BYTES, "  %.1f MiB", (double)now->total.rss_bytes / MIB);
    memcpy(line, name, sizeof(line));
    while (count < ARRAY_LEN(pieces) && add_piece(p, line, pieces[count]))
        count++;
    fill_bar(p, strlen(line), share, bar);
    memcpy(line, name, sizeof(line));
    add_piece(p, line, bar);
    for (size_t i = 0; i < count; i++)
        add_piece(p, line, pieces[i]);
    terminal_view_line(&p->view, line);
}

/* Nobody asks a database or a proxy. Returns `text`. */
static const char *in_flight_text(uint32_t in_flight, char text[static IN_FLIGHT_BYTES]) {
    if (in_flight == PLAY_UNKNOWN)
        return "-";
    snprintf(text, IN_FLIGHT_BYTES, "%" PRIu32, in_flight);
    return text;
}

/* A figure of a process. */
struct field {
    const char *heading;
    int width;
    int columns; /* a terminal this wide has room for it beside those that matter more */
};

enum {
    FIELD_THREADS,
    FIELD_RUNNING,
    FIELD_ASLEEP,
    FIELD_IN_FLIGHT,
    FIELD_CPU,
    FIELD_MEMORY,
    FIELD_CONNECTIONS,
    FIELDS,
};

static const struct field fields[FIELDS] = {
    [FIELD_THREADS] = { "threads", 8, 19 },
    [FIELD_RUNNING] = { "running", 8, 60 },
    [FIELD_ASLEEP] = { "asleep", 8, 27 },
    [FIELD_IN_FLIGHT] = { "in flight", 10, 37 },
    [FIELD_CPU] = { "CPU %", 7, 44 },
    [FIELD_MEMORY] = { "MiB", 8, 52 },
    [FIELD_CONNECTIONS] = { "connections", 13, 73 },
};

static void show_fields(struct play_progress *p, const char *name,
                        char texts[FIELDS][FIELD_BYTES]) {
    char line[LINE_BYTES];
    int len = snprintf(line, sizeof(line), "  %-8.8s", name);
    for (size_t i = 0; i < FIELDS; i++)
        if ((int)p->view.columns >= fields[i].columns)
            len +=
                snprintf(line + len, sizeof(line) - (size_t)len, "%*s", fields[i].width, texts[i]);
    terminal_view_line(&p->view, line);
}

/* The figures of `top -H`, a line for each process of the row, and what is under way there. */
static void show_processes(struct play_progress *p, const struct playground *row,
                           const struct series_point *now) {
    char texts[FIELDS][FIELD_BYTES], in_flight[IN_FLIGHT_BYTES];
    nsec_t span = now->elapsed - p->last.elapsed;
    for (size_t i = 0; i < FIELDS; i++)
        snprintf(texts[i], FIELD_BYTES, "%s", fields[i].heading);
    show_fields(p, "", texts);
    for (size_t i = 0; i < row_process_count(row); i++) {
        const struct procstat *seen = &now->of[i];
        nsec_t cpu = seen->cpu - p->last.of[i].cpu;
        snprintf(texts[FIELD_THREADS], FIELD_BYTES, "%" PRIu32, seen->threads);
        snprintf(texts[FIELD_RUNNING], FIELD_BYTES, "%" PRIu32, seen->running);
        snprintf(texts[FIELD_ASLEEP], FIELD_BYTES, "%" PRIu32, seen->sleeping);
        snprintf(texts[FIELD_IN_FLIGHT], FIELD_BYTES, "%s",
                 in_flight_text(now->in_flight[i], in_flight));
        snprintf(texts[FIELD_CPU], FIELD_BYTES, "%.1f",
                 span > 0 ? 100.0 * (double)cpu / (double)span : 0);
        snprintf(texts[FIELD_MEMORY], FIELD_BYTES, "%.1f", (double)seen->rss_bytes / MIB);
        snprintf(texts[FIELD_CONNECTIONS], FIELD_BYTES, "%" PRIu32, now->connections[i]);
        show_fields(p, row->processes[i].name, texts);
    }
}

/* Shows what the threads of the server wait for, in as many words as fit. */
static void show_waits(struct play_progress *p, const struct wait_history *h) {
    static const char head[] = "  waits   ";
    char line[LINE_BYTES], text[LINE_BYTES - sizeof(head)];
    size_t room = p->view.columns > sizeof(head) ? p->view.columns - sizeof(head) : 0;
    if (room < FIELD_BYTES)
        return;
    history_text_now(h, text, room < sizeof(text) ? room : sizeof(text));
    snprintf(line, sizeof(line), "%s%s", head, text);
    terminal_view_line(&p->view, line);
}

void progress_sample(void *arg, const struct play_result *so_far, const struct series_point *now) {
    struct play_progress *p = arg;
    if (!p->view.is_live)
        return;
    terminal_view_begin(&p->view);
    show_bar(p, so_far, now);
    /* The first sample has nothing to take a rate from. */
    if (p->last.elapsed > 0 && p->view.rows > PLAY_PROCESSES_MAX + 3) {
        show_processes(p, so_far->row, now);
        if (so_far->waits != NULL)
            show_waits(p, so_far->waits);
    }
    terminal_view_end(&p->view);
    p->last = *now;
}

void progress_end(struct play_progress *p, const struct play_result *result) {
    FILE *out = p->view.out;
    terminal_view_close(&p->view);
    fflush(out);
    if (result == NULL)
        return;
    fprintf(out, "srv play: %zu/%zu %s: done in %.2f s, %" PRIu64 " failed", p->index, p->count,
            result->row->name, result->seconds, result->failed);
    if (result->failed > 0 && result->last_words[0] != '\0')
        fprintf(out, " (last said by %s)", result->last_words);
    fputc('\n', out);
}
