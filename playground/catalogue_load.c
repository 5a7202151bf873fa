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

nsec_t catalogue_ideal(const struct playground *row, const struct play_load *load) {
    uint32_t wave = wave_size(row, load);
    nsec_t waves = ((nsec_t)load->requests + wave - 1) / wave;
    /* Twice the number of half delays is exact, and does not overflow: both counts have 32 bits. */
    nsec_t halves = row->ideal == PLAY_IDEAL_DB_TURNS ? waves + load->requests : 2 * waves;
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
    else
        snprintf(text, size, "ceil(%u / %u) x %s", load->requests, wave_size(row, load), delay);
    return text;
}
