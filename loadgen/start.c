/* SPDX-License-Identifier: MIT */
/* Finds the moment at which load begins, and says how far the wall clock can be trusted. */
#include "loadgen/start.h"
#include "base/units.h"
#include <errno.h>
#include <string.h>
#include <sys/timex.h>

#define AHEAD_MAX (366 * 86400 * NSEC_PER_SEC)

/* Digits with an optional fraction: seconds since 1970, as date +%s.%N prints them. */
static bool parse_epoch(const char *text, nsec_t *ret) {
    nsec_t seconds = 0, unit = NSEC_PER_SEC / 10, fraction = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9' && seconds < NSEC_NEVER / NSEC_PER_SEC / 10; at++)
        seconds = seconds * 10 + (*at - '0');
    if (at == text)
        return false;
    if (*at == '.')
        for (at++; *at >= '0' && *at <= '9'; at++, unit /= 10)
            fraction += (*at - '0') * unit;
    *ret = seconds * NSEC_PER_SEC + fraction;
    return *at == '\0';
}

static bool parse_span(const char *text, nsec_t *ret) {
    return units_parse_duration(slice_str(text), ret) == 0 && *ret > 0 && *ret <= AHEAD_MAX;
}

int load_start_parse(const char *text, struct load_start *ret, struct error *err) {
    bool ok;
    if (text[0] == '+') {
        ret->kind = LOAD_START_AFTER;
        ok = parse_span(text + 1, &ret->time);
    } else if (strncmp(text, "*/", 2) == 0) {
        ret->kind = LOAD_START_EVERY;
        ok = parse_span(text + 2, &ret->time);
    } else {
        ret->kind = LOAD_START_AT;
        ok = clock_parse(text, &ret->time) == 0 || parse_epoch(text, &ret->time);
    }
    if (ok)
        return 0;
    return error_set(err, -EINVAL,
                     "a time such as 2026-11-23T01:02:03Z, seconds since 1970, +5s from now, or "
                     "*/10s for the next multiple of 10 s; at most a year ahead");
}

/* The monotonic clock is read on both sides of the wall clock: a process that was stopped between
 * them would see the load begin late. */
static struct load_moment moment_now(void) {
    struct load_moment now = { 0, 0 };
    nsec_t least = NSEC_NEVER;
    for (int i = 0; i < 5; i++) {
        nsec_t before = clock_now(), wall = clock_wall(), after = clock_now();
        if (after - before >= least)
            continue;
        least = after - before;
        now = (struct load_moment){ before + least / 2, wall };
    }
    return now;
}

static nsec_t wall_of(const struct load_start *s, nsec_t now) {
    switch (s->kind) {
    case LOAD_START_AT_ONCE:
        break;
    case LOAD_START_AT:
        return s->time;
    case LOAD_START_AFTER:
        return now + s->time;
    case LOAD_START_EVERY:
        return (now / s->time + 1) * s->time;
    }
    return now;
}

int load_start_find(const struct load_start *s, struct load_moment *ret, struct error *err) {
    struct load_moment now = moment_now();
    nsec_t ahead = wall_of(s, now.wall) - now.wall;
    char text[CLOCK_TEXT_BYTES], at[CLOCK_TEXT_BYTES];
    *ret = (struct load_moment){ now.mono + ahead, now.wall + ahead };
    if (ahead < 0)
        return error_set(err, -EINVAL, "--start-at %s has passed %.3f s ago: it is %s here",
                         clock_format(ret->wall, at), (double)-ahead / (double)NSEC_PER_SEC,
                         clock_format(now.wall, text));
    if (ahead > AHEAD_MAX)
        return error_set(err, -EINVAL, "--start-at %s is more than a year ahead: it is %s here",
                         clock_format(ret->wall, at), clock_format(now.wall, text));
    return 0;
}

struct load_clock load_clock_look(void) {
    struct timex t = { .modes = 0 };
    int state = adjtimex(&t);
    if (state < 0)
        return (struct load_clock){ .is_known = false };
    return (struct load_clock){
        .is_known = true,
        .is_synchronized = state != TIME_ERROR && (t.status & STA_UNSYNC) == 0,
        .error_max = (nsec_t)t.maxerror * NSEC_PER_USEC,
    };
}
