/* SPDX-License-Identifier: MIT */
/* Parses stages, and turns areas below them into moments and back. */
#include "loadgen/shape.h"
#include "base/units.h"
#include <errno.h>
#include <math.h>

/* --- spelling --------------------------------------------------------------------------------- */

enum unit { UNIT_NONE, UNIT_RATE, UNIT_CONNECTIONS };

static bool cut_end(struct slice *text, struct slice end) {
    if (text->len < end.len || !slice_eq(slice_drop(*text, text->len - end.len), end))
        return false;
    *text = slice_take(*text, text->len - end.len);
    return true;
}

/* `100/s` `90/m` `2k/s` `50c`; 0 needs no unit. -EINVAL otherwise. */
static int parse_level(struct slice text, double *ret, enum unit *ret_unit) {
    double factor = 1;
    *ret_unit = UNIT_NONE;
    if (cut_end(&text, SLICE("/s"))) {
        *ret_unit = UNIT_RATE;
    } else if (cut_end(&text, SLICE("/m"))) {
        *ret_unit = UNIT_RATE;
        factor = 1.0 / 60;
    } else if (cut_end(&text, SLICE("c"))) {
        *ret_unit = UNIT_CONNECTIONS;
    }
    if (cut_end(&text, SLICE("k")) || cut_end(&text, SLICE("K")))
        factor *= 1000;
    if (units_parse_number(text, ret) < 0)
        return -EINVAL;
    *ret *= factor;
    if (*ret_unit == UNIT_CONNECTIONS && *ret != floor(*ret))
        return -EINVAL;
    return *ret_unit == UNIT_NONE && *ret != 0 ? -EINVAL : 0;
}

/* One level of a stage, in the unit of those before. */
static int take_level(struct slice text, const struct shape_limits *limits, struct load_shape *s,
                      enum unit *unit, double *ret, struct error *err) {
    enum unit of_this;
    if (parse_level(text, ret, &of_this) < 0)
        return error_set(err, -EINVAL,
                         "'%.*s' is no rate (100/s, 90/m, 2k/s) and no whole number of "
                         "connections (50c)",
                         (int)text.len, text.ptr);
    double most = of_this == UNIT_CONNECTIONS ? limits->connections : limits->rate;
    if (*ret > most)
        return error_set(err, -EINVAL, "'%.*s' is more than %.0f%s", (int)text.len, text.ptr, most,
                         of_this == UNIT_CONNECTIONS ? "c" : "/s");
    if (of_this == UNIT_NONE)
        return 0;
    if (*unit != UNIT_NONE && *unit != of_this)
        return error_set(err, -EINVAL,
                         "'%.*s': all stages are of a rate, or all are of connections",
                         (int)text.len, text.ptr);
    *unit = of_this;
    s->is_of_connections = of_this == UNIT_CONNECTIONS;
    return 0;
}

static int parse_span(struct slice whole, struct slice text, nsec_t *ret, struct error *err) {
    if (units_parse_duration(text, ret) < 0)
        return error_set(err, -EINVAL,
                         "'%.*s' has no length: write it as LEVEL:LENGTH, such as 100/s:1m",
                         (int)whole.len, whole.ptr);
    if (*ret < NSEC_PER_MSEC || *ret > 365 * 24 * 3600 * NSEC_PER_SEC)
        return error_set(err, -EINVAL,
                         "'%.*s' has a length that is not from 1ms to a year; a step has one, "
                         "too: =LEVEL:LENGTH",
                         (int)whole.len, whole.ptr);
    return 0;
}

/* Index of the first "..", or the length. */
static size_t find_dots(struct slice text) {
    size_t i = 0;
    while (i + 1 < text.len && (text.ptr[i] != '.' || text.ptr[i + 1] != '.'))
        i++;
    return i + 1 < text.len ? i : text.len;
}

static int parse_stage(struct slice whole, const struct shape_limits *limits, struct load_shape *s,
                       enum unit *unit, struct error *err) {
    struct load_stage *stage = &s->stages[s->count];
    struct slice span = whole, level = slice_trim(slice_cut(&span, ':'));
    size_t dots = find_dots(level);
    bool is_step = level.len > 0 && level.ptr[0] == '=';
    stage->from = s->count > 0 ? stage[-1].to : 0;
    stage->text = whole;
    int rc = 0;
    if (dots < level.len && !is_step) {
        rc = take_level(slice_trim(slice_take(level, dots)), limits, s, unit, &stage->from, err);
        level = slice_trim(slice_drop(level, dots + 2));
    } else if (is_step) {
        level = slice_trim(slice_drop(level, 1));
    }
    if (rc == 0)
        rc = take_level(level, limits, s, unit, &stage->to, err);
    if (is_step)
        stage->from = stage->to;
    return rc == 0 ? parse_span(whole, slice_trim(span), &stage->span, err) : rc;
}

int shape_parse(const char *text, struct shape_limits limits, struct load_shape *ret,
                struct error *err) {
    struct slice rest = slice_str(text);
    enum unit unit = UNIT_NONE;
    *ret = (struct load_shape){ .text = text };
    while (rest.len > 0) {
        struct slice stage = slice_trim(slice_cut(&rest, ','));
        if (ret->count == SHAPE_STAGES_MAX)
            return error_set(err, -EINVAL, "at most %d stages", SHAPE_STAGES_MAX);
        int rc = parse_stage(stage, &limits, ret, &unit, err);
        if (rc != 0)
            return rc;
        ret->count++;
    }
    double most = 0;
    for (size_t i = 0; i < ret->count; i++)
        most = fmax(most, fmax(ret->stages[i].from, ret->stages[i].to));
    if (most > 0)
        return 0;
    return error_set(err, -EINVAL,
                     "stages such as '10/s:30s, 100/s:1m, 0:10s' (straight lines from one rate to "
                     "the next), '=50/s:1m' (a step) or '50c:1m' (connections)");
}

/* --- areas and moments ------------------------------------------------------------------------ */

static double seconds(nsec_t span) {
    return (double)span / (double)NSEC_PER_SEC;
}

nsec_t shape_span(const struct load_shape *s) {
    nsec_t sum = 0;
    for (size_t i = 0; i < s->count; i++)
        sum += s->stages[i].span;
    return sum;
}

/* The requests that stage `i` plans. */
static double stage_requests(const struct load_stage *stage) {
    return (stage->from + stage->to) / 2 * seconds(stage->span);
}

size_t shape_stage_at(const struct load_shape *s, nsec_t at) {
    size_t i = 0;
    for (; i + 1 < s->count && at >= s->stages[i].span; i++)
        at -= s->stages[i].span;
    return i;
}

/* The time within a stage after which its area is `area`: the root of from*t + slope*t*t/2, in the
 * form that subtracts no numbers of almost the same size. */
static nsec_t time_within(const struct load_stage *stage, double area) {
    double slope = (stage->to - stage->from) / seconds(stage->span);
    double root = sqrt(fmax(stage->from * stage->from + 2 * slope * area, 0));
    double after = stage->from + root > 0 ? 2 * area / (stage->from + root) : 0;
    nsec_t at = (nsec_t)(after * (double)NSEC_PER_SEC);
    return nsec_min(at, stage->span);
}

nsec_t shape_when(const struct load_shape *s, struct shape_cursor *c, double requests) {
    while (c->stage < s->count) {
        const struct load_stage *stage = &s->stages[c->stage];
        double area = stage_requests(stage);
        if (requests < c->area + area)
            return c->began + time_within(stage, requests - c->area);
        c->area += area;
        c->began += stage->span;
        c->stage++;
    }
    return NSEC_NEVER;
}

static double level_at(const struct load_stage *stage, nsec_t at) {
    return stage->from + (stage->to - stage->from) * ((double)at / (double)stage->span);
}

double shape_area(const struct load_shape *s, nsec_t at) {
    double area = 0;
    for (size_t i = 0; i < s->count && at > 0; i++) {
        const struct load_stage *stage = &s->stages[i];
        nsec_t within = nsec_min(at, stage->span);
        area += (stage->from + level_at(stage, within)) / 2 * seconds(within);
        at -= within;
    }
    return area;
}

/* The time within a stage at which the rounded level becomes another than `now`; its span when that
 * does not happen within it. */
static nsec_t change_within(const struct load_stage *stage, nsec_t at, double now) {
    double rise = stage->to - stage->from;
    if (rise == 0)
        return stage->span;
    double edge = rise > 0 ? now + 0.5 : now - 0.5;
    double when = (edge - stage->from) / rise * (double)stage->span;
    if (when >= (double)stage->span)
        return stage->span;
    nsec_t change = (nsec_t)when + 1;
    return change > at ? change : at + NSEC_PER_USEC;
}

uint32_t shape_connections(const struct load_shape *s, nsec_t at, nsec_t *ret_next) {
    nsec_t began = 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct load_stage *stage = &s->stages[i];
        if (at < began + stage->span) {
            double now = floor(level_at(stage, at - began) + 0.5);
            *ret_next = began + change_within(stage, at - began, now);
            return (uint32_t)now;
        }
        began += stage->span;
    }
    *ret_next = NSEC_NEVER;
    return 0;
}

uint32_t shape_peak(const struct load_shape *s) {
    double most = 0;
    for (size_t i = 0; i < s->count; i++)
        most = fmax(most, fmax(s->stages[i].from, s->stages[i].to));
    return (uint32_t)most;
}
