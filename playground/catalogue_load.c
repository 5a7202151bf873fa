/* SPDX-License-Identifier: MIT */
/* What follows from a row: how many processes, which load, and the best time for it. */
#include "base/units.h"
#include "playground/catalogue.h"
#include <stdio.h>

size_t catalogue_process_count(const struct playground *row) {
    size_t count = 0;
    while (count < PLAY_PROCESSES_MAX && row->processes[count].name != NULL)
        count++;
    return count;
}

bool catalogue_has_proxy(const struct playground *row) {
    size_t count = catalogue_process_count(row);
    return count > 0 && !row->processes[count - 1].measured;
}

bool catalogue_same_load(const struct play_load *a, const struct play_load *b) {
    return a->requests == b->requests && a->concurrency == b->concurrency && a->delay == b->delay;
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

static nsec_t rounds(uint32_t requests, uint32_t at_once) {
    return ((nsec_t)requests + at_once - 1) / at_once;
}

/* The first ones reach the database after half a delay; from then on it is never idle. */
static nsec_t halves_with_pool(const struct play_load *load) {
    return 1 + rounds(load->requests, PLAY_DB_POOL);
}

/* Whether the connections are what the time is made of, and not the number of clients. */
static bool pool_is_short(const struct playground *row, const struct play_load *load) {
    return row->ideal == PLAY_IDEAL_DB_POOL &&
           halves_with_pool(load) > 2 * rounds(load->requests, wave_size(row, load));
}

/* Twice the number of half delays is exact, and does not overflow: both counts have 32 bits. */
nsec_t catalogue_ideal(const struct playground *row, const struct play_load *load) {
    nsec_t waves = rounds(load->requests, wave_size(row, load)), halves = 2 * waves;
    if (row->ideal == PLAY_IDEAL_DB_TURNS)
        halves = waves + load->requests;
    else if (pool_is_short(row, load))
        halves = halves_with_pool(load);
    if (load->delay > NSEC_NEVER / halves)
        return NSEC_NEVER;
    return halves * load->delay / 2;
}

const char *catalogue_ideal_formula(const struct playground *row, const struct play_load *load,
                                    char *text, size_t size) {
    char delay[UNITS_TEXT_BYTES], half[UNITS_TEXT_BYTES];
    units_format_duration(load->delay, delay);
    units_format_duration(load->delay / 2, half);
    if (row->ideal == PLAY_IDEAL_DB_TURNS)
        snprintf(text, size, "ceil(%u / %u) x %s + %u x %s", load->requests, wave_size(row, load),
                 half, load->requests, half);
    else if (pool_is_short(row, load))
        snprintf(text, size, "%s + ceil(%u / %d) x %s", half, load->requests, PLAY_DB_POOL, half);
    else
        snprintf(text, size, "ceil(%u / %u) x %s", load->requests, wave_size(row, load), delay);
    return text;
}
