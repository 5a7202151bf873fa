/* SPDX-License-Identifier: MIT */
/* Collects a row per second from all workers, and watches the conditions of --abort-if. */
#include "loadgen/live.h"
#include "base/alloc.h"
#include "base/terminal.h"
#include "loadgen/percentile.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Progress is shown every tenth of the run, as in ab, or as below. */
enum { PROGRESS_STEP_MIN = 100, PROGRESS_STEP_UNKNOWN = 5000, ROWS_FIRST = 64, SPARKS = 24 };

static void init_progress(struct live *l) {
    uint64_t budget = loadgen_config_budget(l->config);
    if (!loadgen_config_shows_progress(l->config) || l->shows_rows || l->has_screen)
        return;
    l->progress_step = budget == UINT64_MAX ? PROGRESS_STEP_UNKNOWN : budget / 10;
    if (l->progress_step < PROGRESS_STEP_MIN)
        l->progress_step = PROGRESS_STEP_MIN;
    atomic_store(&l->progress_at, l->progress_step);
}

int live_init(struct live *l, const struct loadgen_config *c) {
    *l = (struct live){ .config = c, .out = stderr, .lock = PTHREAD_MUTEX_INITIALIZER };
    l->on_terminal = terminal_size(stderr).is_live;
    l->has_screen = c->look.live && l->on_terminal;
    bool wants_rows = c->progress || c->look.live;
    l->shows_rows =
        !c->quiet && !l->has_screen && (wants_rows || (l->on_terminal && !c->ab_strict));
    init_progress(l);
    uint32_t workers = loadgen_config_workers(c);
    atomic_store(&l->others, workers - 1);
    l->ages = hist_new();
    l->states = mem_calloc(workers, sizeof(*l->states));
    int rc = l->ages != NULL && l->states != NULL ? counters_part_init(&l->row) : -ENOMEM;
    if (rc == 0)
        rc = counters_part_init(&l->so_far);
    for (uint32_t i = 0; i < workers && rc == 0; i++) {
        l->states[i].ages = hist_new();
        rc = l->states[i].ages != NULL ? 0 : -ENOMEM;
    }
    if (rc != 0)
        live_free(l);
    return rc;
}

void live_free(struct live *l) {
    for (uint32_t i = 0; l->states != NULL && i < loadgen_config_workers(l->config); i++)
        hist_free(l->states[i].ages);
    mem_free(l->states);
    mem_free(l->totals);
    hist_free(l->ages);
    counters_part_free(&l->row);
    counters_part_free(&l->so_far);
    for (size_t i = 0; i < l->row_count; i++)
        mem_free(l->rows[i].bands);
    mem_free(l->rows);
    l->states = NULL;
    l->totals = NULL;
    l->ages = NULL;
    l->rows = NULL;
}

void live_watch(struct live *l, struct live_watcher *watcher) {
    watcher->next = l->watchers;
    l->watchers = watcher;
}

void live_stop(struct live *l, enum run_end why) {
    int nobody = RUN_END_DONE;
    atomic_compare_exchange_strong(&l->end, &nobody, (int)why);
}

enum run_end live_end(const struct live *l) {
    return (enum run_end)atomic_load_explicit(&l->end, memory_order_relaxed);
}

/* Without a known end the step grows with the count, so that a long run does not print for ever. */
static void show_progress(struct live *l, uint64_t ended) {
    uint64_t at = atomic_load(&l->progress_at);
    uint64_t step = loadgen_config_budget(l->config) == UINT64_MAX ? at : l->progress_step;
    if (ended < at || !atomic_compare_exchange_strong(&l->progress_at, &at, at + step))
        return;
    fprintf(l->out, "Completed %" PRIu64 " requests\n", at);
}

void live_request_ended(struct live *l) {
    if (l->progress_step == 0)
        return;
    uint64_t ended = atomic_fetch_add_explicit(&l->ended, 1, memory_order_relaxed) + 1;
    if (ended >= atomic_load_explicit(&l->progress_at, memory_order_relaxed))
        show_progress(l, ended);
}

static void copy_state(struct live_state *to, const struct live_state *from) {
    struct hist *ages = to->ages;
    *to = *from;
    to->ages = ages;
    hist_reset(ages);
    hist_merge(ages, from->ages);
}

static void copy_totals(struct live_totals *to, const struct counters *t, const struct answers *a) {
    memcpy(to->statuses, a->statuses, sizeof(to->statuses));
    memcpy(to->failed, t->failed, sizeof(to->failed));
    to->connections = t->connections;
    to->bytes_received = t->bytes_received;
    to->bytes_sent = t->bytes_sent;
    to->planned = t->planned;
    to->late = t->late;
    to->dropped = t->dropped;
}

void live_publish(struct live *l, uint32_t worker, struct counters *t, const struct answers *a,
                  const struct live_state *state) {
    pthread_mutex_lock(&l->lock);
    counters_part_move(&l->row, &t->part);
    copy_state(&l->states[worker], state);
    if (l->totals != NULL)
        copy_totals(&l->totals[worker], t, a);
    pthread_mutex_unlock(&l->lock);
}

int live_want_totals(struct live *l) {
    if (l->totals == NULL)
        l->totals = mem_calloc(loadgen_config_workers(l->config), sizeof(*l->totals));
    return l->totals != NULL ? 0 : -ENOMEM;
}

void live_sum_totals(const struct live *l, struct live_totals *ret) {
    memset(ret, 0, sizeof(*ret));
    for (uint32_t w = 0; w < loadgen_config_workers(l->config); w++) {
        const struct live_totals *one = &l->totals[w];
        for (size_t i = 0; i < ANSWERS_STATUSES; i++)
            ret->statuses[i] += one->statuses[i];
        for (size_t i = 0; i < FAILURE_COUNT; i++)
            ret->failed[i] += one->failed[i];
        ret->connections += one->connections;
        ret->bytes_received += one->bytes_received;
        ret->bytes_sent += one->bytes_sent;
        ret->planned += one->planned;
        ret->late += one->late;
        ret->dropped += one->dropped;
    }
}

static struct live_row *next_row(struct live *l) {
    if (l->row_count == LIVE_ROWS_MAX)
        return NULL;
    if (l->row_count == l->row_cap) {
        size_t cap = l->row_cap > 0 ? 2 * l->row_cap : ROWS_FIRST;
        struct live_row *rows = mem_realloc(l->rows, cap * sizeof(*rows));
        if (rows == NULL)
            return NULL;
        l->rows = rows;
        l->row_cap = cap;
    }
    return &l->rows[l->row_count++];
}

/* The run as a report would tell it if it ended now: requests that wait for a connection would be
 * dropped. */
static struct threshold_facts facts_of(struct live *l, nsec_t span) {
    const struct counters_part *p = &l->so_far;
    struct threshold_facts facts = {
        .latency = { p->latency, l->ages },
        .ended = p->ended,
        .planned = p->planned,
        .errors = loadgen_config_errors(l->config, p->failed, p->unwelcome),
        .non_2xx = p->non_2xx,
        .late = p->late,
        .rate = counters_rate(p->ended - p->failed, span),
    };
    hist_reset(l->ages);
    hist_merge(l->ages, p->timed_out);
    for (uint32_t i = 0; i < loadgen_config_workers(l->config); i++) {
        const struct live_state *state = &l->states[i];
        hist_merge(l->ages, state->ages);
        facts.planned += state->waiting;
        facts.dropped += state->waiting;
        facts.late += state->waiting_late;
    }
    return facts;
}

static void check_abort(struct live *l, nsec_t now) {
    const struct thresholds *conditions = &l->config->abort_if;
    nsec_t span = now - l->measure_from;
    if (conditions->count == 0 || span <= 0 || l->aborted_by != NULL)
        return;
    struct threshold_facts facts = facts_of(l, span);
    for (size_t i = 0; i < conditions->count && l->aborted_by == NULL; i++) {
        const struct threshold *t = &conditions->items[i];
        if (threshold_holds(t, threshold_fact(t, &facts)))
            l->aborted_by = t->text;
    }
    if (l->aborted_by != NULL)
        live_stop(l, RUN_END_ABORT);
}

uint64_t live_in_flight(const struct live *l) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < loadgen_config_workers(l->config); i++)
        sum += l->states[i].in_flight;
    return sum;
}

static struct live_row make_row(const struct live *l, nsec_t now) {
    nsec_t length = now - (l->row_ended > 0 ? l->row_ended : l->measure_from);
    const struct hist *latency = l->row.latency;
    struct live_row row = {
        .second = (double)(now - l->measure_from) / (double)NSEC_PER_SEC,
        .length = (double)length / (double)NSEC_PER_SEC,
        .rate = counters_rate(l->row.ended, length),
        .requests = l->row.ended,
        .failed = l->row.failed,
        .answers = hist_count(latency),
        .p50_us = hist_quantile(latency, 0.5),
        .p99_us = hist_quantile(latency, 0.99),
        .max_us = hist_max(latency),
        .in_flight = live_in_flight(l),
    };
    return row;
}

/* A page has a map of each second, also a page that is made of the JSON later. */
static bool keeps_bands(const struct loadgen_config *c) {
    return c->json_path != NULL || c->look.page_path != NULL;
}

static size_t count_bands(const struct hist *latency) {
    uint32_t cursor = 0;
    int64_t usec;
    uint64_t count;
    size_t bands = 0, last = BANDS_MAX;
    while (hist_next(latency, &cursor, &usec, &count)) {
        bands += band_of(usec) != last;
        last = band_of(usec);
    }
    return bands;
}

/* Copies what the row's histogram holds, in bands. Without memory the row has none. */
static void keep_bands(struct live_row *row, const struct hist *latency) {
    uint32_t cursor = 0;
    int64_t usec;
    uint64_t count;
    size_t bands = count_bands(latency), last = BANDS_MAX;
    row->bands = bands > 0 ? mem_calloc(bands, sizeof(*row->bands)) : NULL;
    if (row->bands == NULL)
        return;
    while (hist_next(latency, &cursor, &usec, &count)) {
        row->band_count += band_of(usec) != last;
        last = band_of(usec);
        row->bands[row->band_count - 1].usec = usec;
        row->bands[row->band_count - 1].count += count;
    }
}

static const char *show(const struct live_row *row, int64_t usec, char *text) {
    if (row->answers == 0)
        return "-";
    return percentile_format((struct percentile_value){ .usec = usec }, text);
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

/* Prints one line per second. On a terminal it replaces the one before, and ends in a sparkline of
 * the last rates. */
static void print_row(const struct live *l, const struct live_row *row) {
    char p50[PERCENTILE_TEXT_BYTES], p99[PERCENTILE_TEXT_BYTES];
    fprintf(l->out,
            "%s%6.1f s  %8.0f req/s  p50 %s  p99 %s  errors %" PRIu64 "  in flight %" PRIu64,
            l->on_terminal ? "\r\x1b[K" : "", row->second, row->rate, show(row, row->p50_us, p50),
            show(row, row->p99_us, p99), row->failed, row->in_flight);
    if (l->on_terminal) {
        fputs("  ", l->out);
        if (terminal_takes_utf8())
            print_sparkline(l);
    } else {
        fputc('\n', l->out);
    }
    fflush(l->out);
}

static void leave_last_line(const struct live *l) {
    if (l->on_terminal && l->row_count > 0)
        fputc('\n', l->out);
}

/* Under the lock. */
static void close_row(struct live *l, nsec_t now, bool shown) {
    struct live_row row = make_row(l, now);
    struct live_row *kept = next_row(l);
    if (kept != NULL && keeps_bands(l->config))
        keep_bands(&row, l->row.latency);
    if (kept != NULL)
        *kept = row;
    for (struct live_watcher *w = l->watchers; w != NULL; w = w->next)
        w->on_row(w, l, &row);
    counters_part_move(&l->so_far, &l->row);
    l->row_ended = now;
    if (shown && l->shows_rows)
        print_row(l, &row);
}

void live_close_row(struct live *l, nsec_t now) {
    pthread_mutex_lock(&l->lock);
    close_row(l, now, true);
    check_abort(l, now);
    pthread_mutex_unlock(&l->lock);
}

/* A rest without an answer is a row, too: a server may have hung in it. A rest that is too short
 * for a row belongs to the last one, which tells what was in flight at the end. */
void live_finish(struct live *l, nsec_t now) {
    nsec_t began = l->row_ended > 0 ? l->row_ended : l->measure_from;
    if (now < began)
        now = began;
    bool whole =
        now - began > live_period(l->config) * 9 / 10; /* less would look like a drop of the rate */
    pthread_mutex_lock(&l->lock);
    if (l->row.ended > 0 || now - began > live_period(l->config) / 20)
        close_row(l, now, whole);
    else if (l->row_count > 0)
        l->rows[l->row_count - 1].in_flight = live_in_flight(l);
    pthread_mutex_unlock(&l->lock);
    if (l->shows_rows)
        leave_last_line(l);
    if (l->progress_step > 0)
        fprintf(l->out, "Finished %" PRIu64 " requests\n", (uint64_t)atomic_load(&l->ended));
}
