/* SPDX-License-Identifier: MIT */
/* The values of all parameters: how they begin, how layers meet, and how long they make an
 * exchange. */
#include "slowapi/spec.h"
#include "slowapi/body.h"
#include "slowapi/limits.h"
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

#define PLAIN_BYTES 17 /* `slow api response` */

/* Bytes of the longest unit. */
static double unit_bytes(const struct body *body) {
    struct buf event;

    if (!body_is_events(body) || body->units == 0)
        return 1;
    buf_init(&event, SLOWAPI_PIECE_BYTES);
    int64_t made = body_append(body, body->units - 1, 1, &event);
    double bytes = made > 0 ? (double)buf_unread(&event).len : 1;
    buf_free(&event);
    return bytes;
}

/* Of several faults of that kind the one that is slowest; 0: none. */
static int64_t slowest(const struct spec *spec, enum fault_kind kind) {
    int64_t most = 0;

    for (size_t i = 0; i < spec->fault_count; i++) {
        int64_t arg = spec->faults[i].arg;
        bool is_slower = kind == FAULT_BANDWIDTH ? arg < most : arg > most;
        if (spec->faults[i].kind == kind && (most == 0 || is_slower))
            most = arg;
    }
    return most;
}

/* As reply.c paces pieces: the last of all paces counts for each. */
static double longest_pace(const struct spec *spec, const struct body *body) {
    int64_t drip = slowest(spec, FAULT_DRIP), bandwidth = slowest(spec, FAULT_BANDWIDTH);
    double units = (double)body->units, piece = (double)body->piece, link = 0;

    double steps = units > 0 ? ceil(units / piece) - 1 : 0;
    double own = (double)body->lead + steps * (double)body->interval * (1 + body->jitter);
    for (size_t i = 0; spec->has_body_size && i < spec->size.count; i++)
        units = fmax(units, (double)spec->size.items[i].value);
    if (bandwidth > 0)
        link = unit_bytes(body) * (double)NSEC_PER_SEC / (double)bandwidth;
    double dripped = units > 0 ? (units - 1) * (double)drip : 0;
    return fmax(units * link, fmax(own, dripped) + fmin(piece, units) * link);
}

static double all_hangs(const struct spec *spec) {
    double sum = 0;

    for (size_t i = 0; i < spec->fault_count; i++) {
        const struct fault *fault = &spec->faults[i];
        bool waits = fault->kind == FAULT_HANG || fault->kind == FAULT_SLOWACCEPT;
        if (waits && (fault->place != FAULT_AT_ACCEPT || !spec->of_request))
            sum += fault->arg < 0 ? (double)NSEC_NEVER : (double)fault->arg;
    }
    return sum;
}

static nsec_t to_span(double span) {
    return span < (double)NSEC_NEVER ? (nsec_t)span : NSEC_NEVER;
}

nsec_t spec_longest_answer(const struct spec *spec, const struct body *body) {
    const struct body plain = { .units = PLAIN_BYTES, .piece = SLOWAPI_PIECE_BYTES };
    double pace = longest_pace(spec, body != NULL ? body : &plain);

    if (body == NULL)
        pace = fmax(pace, fmax((double)spec->duration, (double)spec->interval));
    return to_span(pace + all_hangs(spec));
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
