/* SPDX-License-Identifier: MIT */
/* Adds up delays, hangs, and the slowest of all paces. */
#include "slowapi/longest.h"
#include "slowapi/chat.h"
#include "slowapi/limits.h"
#include <math.h>

#define PLAIN_BYTES 17 /* `slow api response` */

/* Bytes of the longest unit. */
static double unit_bytes(const struct body *body) {
    struct buf event;

    if (!content_is_events(body) || body->units == 0)
        return 1;
    buf_init(&event, SLOWAPI_PIECE_BYTES);
    int64_t made = content_append(body, body->units - 1, 1, &event);
    double bytes = made > 0 ? (double)buf_unread(&event).len : 1;
    buf_free(&event);
    return bytes;
}

/* Finds the slowest of several faults of that kind; 0: none. */
static int64_t slowest(const struct spec *spec, enum fault_kind kind) {
    int64_t most = 0;

    for (size_t i = 0; i < spec->fault_count; i++) {
        int64_t arg = spec->faults[i].arg;
        bool is_slower = kind == FAULT_DRIP ? arg > most : arg < most;
        if (spec->faults[i].kind == kind && spec->faults[i].place != FAULT_AT_UPLOAD &&
            (most == 0 || is_slower))
            most = arg;
    }
    return most;
}

/* Bandwidths, of which the slower counts; time that others take of a shared one is not known. */
static int64_t slowest_link(const struct spec *spec) {
    int64_t own = slowest(spec, FAULT_BANDWIDTH), shared = slowest(spec, FAULT_SHARED_BANDWIDTH);

    return own == 0 || (shared > 0 && shared < own) ? shared : own;
}

/* The last of all paces counts for each. */
static double longest_pace(const struct spec *spec, const struct body *body) {
    int64_t drip = slowest(spec, FAULT_DRIP), bandwidth = slowest_link(spec);
    double units = (double)body->units, piece = (double)body->piece, link = 0;

    double steps = units > 0 ? ceil(units / piece) - 1 : 0;
    double own = (double)body->lead + steps * (double)body->interval * (1 + body->jitter);
    if (body->kind == BODY_CHAT)
        own = (double)body->chat->longest;
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
        if (fault_infos[fault->kind].waits &&
            ((fault->place & FAULT_AT_CONNECTION) == 0 || !spec->of_request))
            sum += fault->arg < 0 ? (double)NSEC_NEVER : (double)fault->arg;
    }
    return sum;
}

/* The time after which a fault ends the connection in any case. */
static double cut_at(const struct spec *spec) {
    double at = (double)NSEC_NEVER;

    for (size_t i = 0; i < spec->fault_count; i++) {
        const struct fault *fault = &spec->faults[i];
        if (fault->place == FAULT_AT_TIME && fault->kind != FAULT_HANG && fault->probability >= 1)
            at = fmin(at, (double)fault->at);
    }
    return at;
}

static nsec_t to_span(double span) {
    return span < (double)NSEC_NEVER ? (nsec_t)span : NSEC_NEVER;
}

/* A model's answer that is not known yet; nothing where no law of it was given. */
static double longest_chat(const struct spec *spec) {
    double tokens = dist_longest(&spec->tokens) / (double)NSEC_PER_SEC;

    return dist_longest(&spec->ttft) + dist_longest(&spec->gap) * fmax(tokens - 1, 0);
}

nsec_t longest_answer(const struct spec *spec, const struct body *body) {
    const struct body plain = { .units = PLAIN_BYTES, .piece = SLOWAPI_PIECE_BYTES };
    double pace = longest_pace(spec, body != NULL ? body : &plain);

    if (body == NULL)
        pace = fmax(fmax(pace, longest_chat(spec)),
                    fmax((double)spec->duration, (double)spec->interval));
    return to_span(fmin(pace + all_hangs(spec), cut_at(spec)));
}

nsec_t longest_exchange(const struct spec *spec, const struct body *body) {
    const struct pause *pause = &spec->pause;
    double factor = spec->warmup.span > 0 ? spec->warmup.factor : 1;
    double delay = dist_longest(&spec->delay) + spec->linear;

    if (spec->workers > 0)
        delay += dist_longest(&spec->service);
    delay *= factor;
    if (pause->status == 0 && pause->span > 0)
        delay += (double)(pause->delay > 0 ? pause->delay : pause->span);
    return to_span(fmin(delay + (double)longest_answer(spec, body), cut_at(spec)));
}
