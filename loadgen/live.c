/* SPDX-License-Identifier: MIT */
/* Collects a row per second from all workers, and watches the conditions of --abort-if. */
#include "loadgen/live.h"
#include "base/alloc.h"
#include "loadgen/live_view.h"
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

/* Progress is shown every tenth of the run, as in ab, or as below. */
enum { PROGRESS_STEP_MIN = 100, PROGRESS_STEP_UNKNOWN = 5000, ROWS_FIRST = 64 };

int live_part_init(struct live_part *p) {
    *p = (struct live_part){ .latency = hist_new() };
    return p->latency != NULL ? 0 : -ENOMEM;
}

void live_part_free(struct live_part *p) {
    hist_free(p->latency);
    p->latency = NULL;
}

static void init_progress(struct live *l) {
    uint64_t budget = loadgen_config_budget(l->config);
    if (!loadgen_config_shows_progress(l->config) || l->shows_rows)
        return;
    l->progress_step = budget == UINT64_MAX ? PROGRESS_STEP_UNKNOWN : budget / 10;
    if (l->progress_step < PROGRESS_STEP_MIN)
        l->progress_step = PROGRESS_STEP_MIN;
    atomic_store(&l->progress_at, l->progress_step);
}

int live_init(struct live *l, const struct loadgen_config *c) {
    *l = (struct live){ .config = c, .out = stderr, .lock = PTHREAD_MUTEX_INITIALIZER };
    l->on_terminal = isatty(STDERR_FILENO) == 1;
    l->shows_rows = !c->quiet && (c->progress || (l->on_terminal && !c->ab_strict));
    init_progress(l);
    int rc = live_part_init(&l->row);
    if (rc == 0)
        rc = live_part_init(&l->so_far);
    if (rc != 0)
        live_free(l);
    return rc;
}

void live_free(struct live *l) {
    live_part_free(&l->row);
    live_part_free(&l->so_far);
    mem_free(l->rows);
    l->rows = NULL;
}

void live_stop(struct live *l, enum run_end why) {
    int nobody = RUN_END_DONE;
    atomic_compare_exchange_strong(&l->end, &nobody, (int)why);
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

static void add_part(struct live_part *to, const struct live_part *from) {
    to->ended += from->ended;
    to->failed += from->failed;
    to->non_2xx += from->non_2xx;
    to->dropped += from->dropped;
    to->late += from->late;
    to->in_flight += from->in_flight;
    hist_merge(to->latency, from->latency);
}

static void empty_part(struct live_part *p) {
    struct hist *latency = p->latency;
    hist_reset(latency);
    *p = (struct live_part){ .latency = latency };
}

void live_publish(struct live *l, struct live_part *part) {
    pthread_mutex_lock(&l->lock);
    add_part(&l->row, part);
    pthread_mutex_unlock(&l->lock);
    empty_part(part);
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

static void check_abort(struct live *l, nsec_t now) {
    const struct thresholds *conditions = &l->config->abort_if;
    nsec_t span = now - l->measure_from;
    struct threshold_facts facts = {
        .latency = l->so_far.latency,
        .requests = l->so_far.ended,
        .errors = l->so_far.failed,
        .non_2xx = l->so_far.non_2xx,
        .late = l->so_far.late,
        .rate = span > 0 ? (double)(l->so_far.ended - l->so_far.failed) * (double)NSEC_PER_SEC /
                               (double)span
                         : 0,
    };
    for (size_t i = 0; i < conditions->count && span > 0 && l->aborted_by == NULL; i++) {
        if (!threshold_holds(&conditions->items[i], &facts))
            continue;
        l->aborted_by = conditions->items[i].text;
        live_stop(l, RUN_END_ABORT);
    }
}

void live_close_row(struct live *l, nsec_t now, bool shown) {
    pthread_mutex_lock(&l->lock);
    add_part(&l->so_far, &l->row);
    l->so_far.in_flight = l->row.in_flight;
    struct live_row row = {
        .second = (double)(now - l->measure_from) / (double)NSEC_PER_SEC,
        .requests = l->row.ended,
        .failed = l->row.failed,
        .in_flight = l->row.in_flight,
        .p50_us = hist_quantile(l->row.latency, 0.5),
        .p99_us = hist_quantile(l->row.latency, 0.99),
        .max_us = hist_max(l->row.latency),
    };
    struct live_row *kept = next_row(l);
    if (kept != NULL)
        *kept = row;
    empty_part(&l->row);
    l->row_ended = now;
    check_abort(l, now);
    if (shown && l->shows_rows)
        live_view_row(l, &row);
    pthread_mutex_unlock(&l->lock);
}

void live_finish(struct live *l, nsec_t now) {
    nsec_t began = l->row_ended > 0 ? l->row_ended : l->measure_from;
    bool whole = now - began > LIVE_PERIOD * 9 / 10; /* less would look like a drop of the rate */
    if (l->row.ended > 0)
        live_close_row(l, now, whole);
    if (l->shows_rows)
        live_view_end(l);
    if (l->progress_step > 0)
        fprintf(l->out, "Finished %" PRIu64 " requests\n", (uint64_t)atomic_load(&l->ended));
}
