/* SPDX-License-Identifier: MIT */
/* Counts a row's processes, chooses its load, and computes the best time for that. */
#include "playground/row.h"
#include "base/units.h"
#include <sched.h>
#include <stdio.h>
#include <string.h>

size_t row_process_count(const struct playground *row) {
    size_t count = 0;
    while (count < PLAY_PROCESSES_MAX && row->processes[count].name != NULL)
        count++;
    return count;
}

bool row_has_slow_api(const struct playground *row) {
    return strcmp(row->processes[0].name, PLAY_SLOW_API) == 0;
}

uint16_t row_process_status(const struct play_process *process) {
    return process->status != 0 ? process->status : 200;
}

struct play_load row_load(const struct playground *row, const struct play_overrides *overrides) {
    struct play_load load = row->load;
    if (overrides->requests != 0)
        load.requests = overrides->requests;
    if (overrides->concurrency != 0)
        load.concurrency = overrides->concurrency;
    if (overrides->has_delay)
        load.delay = overrides->delay;
    load.kept = load.kept || overrides->kept;
    if (load.concurrency > load.requests)
        load.concurrency = load.requests;
    return load;
}

double row_tutorial_seconds(const struct playground *row, const struct play_load *load) {
    bool same = load->requests == row->load.requests &&
                load->concurrency == row->load.concurrency && load->delay == row->load.delay &&
                load->kept == row->load.kept;
    return same ? row->tutorial_seconds : 0;
}

static uint32_t wave_size(const struct playground *row, const struct play_load *load) {
    return row->slots < load->concurrency ? row->slots : load->concurrency;
}

static nsec_t rounds(uint32_t requests, uint32_t at_once) {
    return ((nsec_t)requests + at_once - 1) / at_once;
}

/* The CPUs that this process may use: the playground's servers inherit them. */
static uint32_t cpus(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof(set), &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;
}

/* The number of requests that can be in the second half of the delay at once; 0: all of them. */
static uint32_t places(const struct playground *row) {
    switch (row->ideal) {
    case PLAY_IDEAL_DB_POOL:
        return PLAY_DB_POOL;
    case PLAY_IDEAL_CPUS:
        return cpus();
    case PLAY_IDEAL_WAVES:
    case PLAY_IDEAL_TURNS:
        break;
    }
    return 0;
}

/* The first ones reach the second half after the first; from then on no place is idle. */
static nsec_t halves_with_places(const struct playground *row, const struct play_load *load) {
    return 1 + rounds(load->requests, places(row));
}

/* Whether the places are what the time is made of, and not the number of clients. */
static bool places_are_short(const struct playground *row, const struct play_load *load) {
    return places(row) > 0 &&
           halves_with_places(row, load) > 2 * rounds(load->requests, wave_size(row, load));
}

/* Twice the number of half delays is exact, and does not overflow: both counts have 32 bits. */
nsec_t row_ideal(const struct playground *row, const struct play_load *load) {
    nsec_t waves = rounds(load->requests, wave_size(row, load)), halves = 2 * waves;
    if (row->ideal == PLAY_IDEAL_TURNS)
        halves = waves + load->requests;
    else if (places_are_short(row, load))
        halves = halves_with_places(row, load);
    if (load->delay > NSEC_NEVER / halves)
        return NSEC_NEVER;
    return halves * load->delay / 2;
}

const char *row_ideal_formula(const struct playground *row, const struct play_load *load,
                              char *text, size_t size) {
    char delay[UNITS_TEXT_BYTES], half[UNITS_TEXT_BYTES];
    units_format_duration(load->delay, delay);
    units_format_duration(load->delay / 2, half);
    if (row->ideal == PLAY_IDEAL_TURNS)
        snprintf(text, size, "ceil(%u / %u) x %s + %u x %s", load->requests, wave_size(row, load),
                 half, load->requests, half);
    else if (places_are_short(row, load))
        snprintf(text, size, "%s + ceil(%u / %u) x %s", half, load->requests, places(row), half);
    else
        snprintf(text, size, "ceil(%u / %u) x %s", load->requests, wave_size(row, load), delay);
    return text;
}
