/* SPDX-License-Identifier: MIT */
/* The values of all parameters: how they begin, how layers meet, and how long they make an
 * exchange. */
#include "slowapi/spec.h"
#include "slowapi/body.h"
#include <math.h>

void spec_init(struct spec *spec, nsec_t delay) {
    *spec = (struct spec){
        .delay = dist_fixed(delay),
        .queue = SPEC_LOAD_QUEUE_MAX,
        .full = 503,
        .count = -1,
        .duration = -1,
        .interval = -1,
        .numbytes = -1,
        .chunk_size = -1,
        .failure_rate = 0.5,
    };
}

void spec_begin_layer(struct spec *spec) {
    spec->given = 0;
    spec->fields_base = spec->fields_len;
}

size_t spec_drop_lines(char *lines, size_t size, struct slice name) {
    struct slice rest = slice_of(lines, size);
    size_t kept = 0;

    while (rest.len > 0) {
        struct slice line = slice_take(rest, slice_find(rest, '\n') + 1);
        rest = slice_drop(rest, line.len);
        if (slice_eq_nocase(slice_take(line, slice_find(line, ':')), name))
            continue;
        memmove(lines + kept, line.ptr, line.len);
        kept += line.len;
    }
    return kept;
}

/* --- how long --------------------------------------------------------------------------------- */

/* An event of a stream is never longer. */
#define EVENT_BYTES 96

#define PLAIN_BYTES 17 /* `slow api response` */

static double largest_size(const struct spec *spec, const struct body *body) {
    double units = body != NULL ? (double)body->units : PLAIN_BYTES;

    for (size_t i = 0; spec->has_body_size && i < spec->size.count; i++)
        units = fmax(units, (double)spec->size.items[i].value);
    return units;
}

/* The time that one fault adds to the answer, or, of a pace, gives it. */
static double fault_time(const struct fault *fault, double units, double bytes) {
    if (fault->kind == FAULT_HANG || fault->kind == FAULT_SLOWACCEPT)
        return fault->arg < 0 ? (double)NSEC_NEVER : (double)fault->arg;
    if (fault->kind == FAULT_DRIP)
        return fmax(units - 1, 0) * (double)fault->arg;
    if (fault->kind == FAULT_BANDWIDTH)
        return bytes / (double)fault->arg * (double)NSEC_PER_SEC;
    return 0;
}

static nsec_t to_span(double span) {
    return span < (double)NSEC_NEVER ? (nsec_t)span : NSEC_NEVER;
}

/* Paces hold side by side, the slowest counts; hangs come one after the other. */
nsec_t spec_longest_answer(const struct spec *spec, const struct body *body) {
    double units = largest_size(spec, body), pace = 0, hangs = 0;
    double bytes = body != NULL && body_is_events(body) ? units * EVENT_BYTES : units;

    if (body == NULL)
        pace = fmax((double)spec->duration, (double)spec->interval);
    else if (units > 0 && body->interval > 0)
        pace =
            (ceil(units / (double)body->piece) - 1) * (double)body->interval * (1 + body->jitter);
    for (size_t i = 0; i < spec->fault_count; i++) {
        const struct fault *fault = &spec->faults[i];
        double time = fault_time(fault, units, bytes);
        if (fault->kind == FAULT_DRIP || fault->kind == FAULT_BANDWIDTH)
            pace = fmax(pace, time);
        else if (fault->place != FAULT_AT_ACCEPT || !spec->of_request)
            hangs += time;
    }
    return to_span(fmax(pace, 0) + hangs);
}

nsec_t spec_longest(const struct spec *spec, const struct body *body) {
    const struct pause *pause = &spec->pause;
    double factor = spec->warmup.span > 0 ? spec->warmup.factor : 1;
    double delay = dist_longest(&spec->delay) + spec->linear;

    if (spec->workers > 0)
        delay += dist_longest(&spec->service);
    delay *= factor;
    if (pause->status == 0 && pause->span > 0)
        delay += (double)(pause->delay > 0 ? pause->delay : pause->span);
    return to_span(delay + (double)spec_longest_answer(spec, body));
}
