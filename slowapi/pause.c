/* SPDX-License-Identifier: MIT */
/* Parses and evaluates time profiles. */
#include "slowapi/pause.h"
#include "base/units.h"
#include "slowapi/mix.h"
#include <errno.h>

static int parse_span(struct slice value, nsec_t *ret) {
    if (*ret > 0 || units_parse_duration(value, ret) < 0)
        return -EINVAL;
    return *ret > 0 ? 0 : -EINVAL;
}

static int parse_part(struct slice name, struct slice value, struct pause *ret,
                      const char **ret_why) {
    uint64_t status;

    *ret_why = "has a part that is not a duration above 0, or comes twice";
    if (slice_eq(name, SLICE("every")))
        return parse_span(value, &ret->every);
    if (slice_eq(name, SLICE("for")))
        return parse_span(value, &ret->span);
    if (slice_eq(name, SLICE("delay")))
        return parse_span(value, &ret->delay);

    *ret_why = "has a part that is not every, for, delay or status";
    if (!slice_eq(name, SLICE("status")))
        return -EINVAL;
    *ret_why = "has a status that is not 200 to 599, or two";
    if (ret->status != 0 || slice_parse_u64(value, 599, &status) < 0 || status < 200)
        return -EINVAL;
    ret->status = (uint16_t)status;
    return 0;
}

int pause_parse(struct slice text, struct pause *ret, const char **ret_why) {
    *ret = (struct pause){ 0 };
    while (text.len > 0) {
        struct slice words = slice_cut(&text, ',');
        while (words.len > 0) {
            struct slice value = slice_cut(&words, ' ');
            struct slice name = slice_cut(&value, '=');
            if (name.len > 0 && parse_part(name, value, ret, ret_why) < 0)
                return -EINVAL;
        }
    }
    *ret_why = "has both a status and a delay";
    if (ret->status != 0 && ret->delay > 0)
        return -EINVAL;
    *ret_why = "needs every=D and for=D, not longer than every";
    return ret->span > 0 && ret->span <= ret->every ? 0 : -EINVAL;
}

nsec_t pause_left(const struct pause *pause, nsec_t at) {
    if (pause->span == 0)
        return 0;

    nsec_t into = at % pause->every;
    return into >= pause->every - pause->span ? pause->every - into : 0;
}

int warmup_parse(struct slice text, struct warmup *ret, const char **ret_why) {
    struct slice span = slice_cut(&text, ':');

    *ret_why = "is not a duration and a factor, such as 30s:20";
    if (units_parse_duration(span, &ret->span) < 0 || number_parse(text, &ret->factor) < 0)
        return -EINVAL;
    *ret_why = "has a factor below 1 or above 1000000";
    return ret->factor >= 1 && ret->factor <= 1e6 ? 0 : -EINVAL;
}

double warmup_factor(const struct warmup *warmup, nsec_t at) {
    if (at >= warmup->span)
        return 1;
    return 1 + (warmup->factor - 1) * (1 - (double)at / (double)warmup->span);
}
