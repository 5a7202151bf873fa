/* SPDX-License-Identifier: MIT */
/* The rows of the catalogue, and what follows from them: the load, the ideal, the names. */
#include "playground/catalogue.h"
#include "base/attr.h"
#include "base/units.h"
#include <stdio.h>
#include <string.h>

/* The slow API that every playground starts first. */
#define SLOW_API \
    { .name = "slowapi", .args = { "slowapi", "--bind", "{bind}" }, .port_by_hand = 4000 }

#define APP(...)                                                                                  \
    {                                                                                             \
        .name = "app",                                                                            \
        .args = { "serve", "--bind", "{bind}", __VA_ARGS__, "--upstream", "{slowapi}", "index" }, \
        .port_by_hand = 3000, .measured = true                                                    \
    }

const struct playground catalogue[] = {
    {
        .name = "single",
        .alias = "sync-devserver",
        .title = "one thread, one request at a time",
        .shows = "A server with one thread that blocks while the slow API sleeps: every other "
                 "client waits for its turn. The time grows with the number of requests, whatever "
                 "the number of clients.",
        .notice = "the clients queue for one thread: requests pass one by one, and p50 is the "
                  "delay times the number of clients",
        .processes = { SLOW_API, APP("--model", "single") },
        .load = { .requests = 10, .concurrency = 5, .delay = NSEC_PER_SEC },
        .slots = 1,
        .tutorial_seconds = 10.139,
    },
    {
        .name = "green",
        .alias = "async-gevent-pywsgi",
        .title = "one thread, a green thread per request",
        .shows = "The same straight-line handler on fibers: a request that waits is parked and "
                 "costs a small stack, no thread. One thread keeps all clients in flight, so the "
                 "time is the number of waves times the delay.",
        .notice = "one thread, asleep most of the time, holds every request in flight at once",
        .processes = { SLOW_API, APP("--model", "green") },
        .load = { .requests = 2000, .concurrency = 200, .delay = NSEC_PER_SEC },
        .slots = PLAY_SLOTS_UNLIMITED,
        .tutorial_seconds = 17.536,
    },
};
const size_t catalogue_count = ARRAY_LEN(catalogue);

bool catalogue_matches(const struct playground *row, const char *word) {
    return strcmp(word, PLAY_ALL) == 0 || strcmp(word, row->name) == 0 ||
           (row->alias != NULL && strcmp(word, row->alias) == 0);
}

size_t catalogue_process_count(const struct playground *row) {
    size_t count = 0;
    while (count < PLAY_PROCESSES_MAX && row->processes[count].name != NULL)
        count++;
    return count;
}

#define WORD_MAX 40 /* longer words are near nothing */

/* Levenshtein distance with two rows; WORD_MAX when either word is too long. */
static size_t distance(const char *a, const char *b) {
    size_t a_len = strlen(a), b_len = strlen(b);
    if (a_len >= WORD_MAX || b_len >= WORD_MAX)
        return WORD_MAX;

    size_t previous[WORD_MAX], current[WORD_MAX];
    for (size_t j = 0; j <= b_len; j++)
        previous[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        current[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = previous[j - 1] + (a[i - 1] != b[j - 1]);
            if (previous[j] + 1 < best)
                best = previous[j] + 1;
            if (current[j - 1] + 1 < best)
                best = current[j - 1] + 1;
            current[j] = best;
        }
        memcpy(previous, current, sizeof(previous));
    }
    return previous[b_len];
}

static void consider(const char *word, const char *candidate, const char **best,
                     size_t *best_distance) {
    if (candidate == NULL)
        return;
    size_t d = strncmp(candidate, word, strlen(word)) == 0 ? 0 : distance(word, candidate);
    if (d < *best_distance) {
        *best_distance = d;
        *best = candidate;
    }
}

const char *catalogue_closest(const char *word) {
    const char *best = NULL;
    size_t best_distance = strlen(word) / 3 + 2; /* about a third of the letters may be wrong */
    if (*word == '\0')
        return NULL;
    for (size_t i = 0; i < catalogue_count; i++) {
        consider(word, catalogue[i].name, &best, &best_distance);
        consider(word, catalogue[i].alias, &best, &best_distance);
    }
    return best;
}

struct play_load catalogue_load(const struct playground *row,
                                const struct play_overrides *overrides) {
    struct play_load load = row->load;
    if (overrides->requests != 0)
        load.requests = overrides->requests;
    if (overrides->concurrency != 0)
        load.concurrency = overrides->concurrency;
    if (overrides->has_delay)
        load.delay = overrides->delay;
    if (load.concurrency > load.requests)
        load.concurrency = load.requests;
    return load;
}

static uint32_t wave_size(const struct playground *row, const struct play_load *load) {
    return row->slots < load->concurrency ? row->slots : load->concurrency;
}

nsec_t catalogue_ideal(const struct playground *row, const struct play_load *load) {
    uint32_t wave = wave_size(row, load);
    nsec_t waves = ((nsec_t)load->requests + wave - 1) / wave;
    return load->delay > NSEC_NEVER / waves ? NSEC_NEVER : waves * load->delay;
}

const char *catalogue_ideal_formula(const struct playground *row, const struct play_load *load,
                                    char *text, size_t size) {
    char delay[UNITS_TEXT_BYTES];
    snprintf(text, size, "ceil(%u / %u) x %s", load->requests, wave_size(row, load),
             units_format_duration(load->delay, delay));
    return text;
}
