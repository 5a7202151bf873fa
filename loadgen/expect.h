/* SPDX-License-Identifier: MIT */
/* The demands of the user: on a response, for it to be a success, and on the outcome of a run, in
 * conditions for scripts: 'p99>200ms', 'errors>0.1%', 'rps<500'. */
#ifndef LOADGEN_EXPECT_H
#define LOADGEN_EXPECT_H

#include "base/error.h"
#include "base/slice.h"
#include "loadgen/percentile.h"
#include <stdbool.h>

/* Statuses of three digits, one bit each; none set: any status will do. */
struct expect_status {
    uint64_t bits[1000 / 64 + 1];
    bool any_given;
};

/* "200", "200,204", "2xx,304". 0 or -EINVAL with what is allowed. */
NODISCARD int expect_status_parse(const char *text, struct expect_status *ret, struct error *err);

static inline bool expect_status_has(const struct expect_status *e, unsigned status) {
    return !e->any_given ||
           (status < 1000 && (e->bits[status / 64] >> (status % 64) & UINT64_C(1)) != 0);
}

/* Looks for one text in bodies that come in pieces (Knuth, Morris and Pratt): a body's search needs
 * one number between its pieces, and never looks back. */
struct expect_body {
    struct slice text;   /* empty: any body will do */
    uint32_t *fallbacks; /* length that still matches after a mismatch, per matched length */
};

/* `text` must outlive it; NULL: any. 0 or -ENOMEM. */
NODISCARD int expect_body_init(struct expect_body *e, const char *text);
void expect_body_free(struct expect_body *e);

/* `matched` is 0 before the first piece; returns it for the next one. */
uint32_t expect_body_feed(const struct expect_body *e, uint32_t matched, struct slice piece);

static inline bool expect_body_found(const struct expect_body *e, uint32_t matched) {
    return matched >= e->text.len;
}

#define THRESHOLDS_MAX 16

enum threshold_metric {
    THRESHOLD_QUANTILE, /* a time; also median, min and max */
    THRESHOLD_MEAN,
    THRESHOLD_ERRORS,
    THRESHOLD_NON_2XX,
    THRESHOLD_DROPPED,
    THRESHOLD_LATE,
    THRESHOLD_STALLS,
    THRESHOLD_RATE,
};

/* The times that a quantile or mean is of. */
enum threshold_times { THRESHOLD_LATENCY, THRESHOLD_FIRST_EVENT, THRESHOLD_GAP };

enum threshold_sign {
    THRESHOLD_ABOVE,
    THRESHOLD_AT_LEAST,
    THRESHOLD_BELOW,
    THRESHOLD_AT_MOST,
};

struct threshold {
    const char *text; /* the condition in the user's words */
    enum threshold_metric metric;
    enum threshold_times of;
    enum threshold_sign sign;
    bool is_share;   /* the value is a share (0..1) of the requests, not a count */
    double quantile; /* 0..1, of THRESHOLD_QUANTILE */
    double value;    /* microseconds of latencies */
};

struct thresholds {
    struct threshold items[THRESHOLDS_MAX];
    size_t count;
};

/* The facts they are compared with. Shares of errors and non2xx are of the requests that came to an
 * end, those of late and dropped ones of the planned requests, those of stalls of the gaps. */
struct threshold_facts {
    struct times latency;
    struct times first_event, gap; /* without histograms: there were no streams */
    uint64_t ended, planned, errors, non_2xx, dropped, late, stalls;
    double rate;
};

/* A fact in the unit of the condition's value. */
struct threshold_fact {
    double value;
    bool is_known; /* false: nothing was measured that it could be */
    bool at_least; /* a lower bound */
};

/* Appends one; `text` must stay. 0 or -EINVAL with what is allowed. */
NODISCARD int threshold_parse(const char *text, struct thresholds *to, struct error *err);

/* Whether the condition is about a time, its value in microseconds. */
bool threshold_is_latency(const struct threshold *t);

/* Whether the condition is about the events of streams. */
bool threshold_is_of_streams(const struct threshold *t);

/* The fact that the condition is about. */
struct threshold_fact threshold_fact(const struct threshold *t,
                                     const struct threshold_facts *facts);

/* The times that a condition is about; `ended` is NULL when there were none of the kind. */
struct times threshold_times(const struct threshold *t, const struct threshold_facts *facts);

/* A count, and what a share of it is of. */
struct threshold_portion {
    uint64_t count, whole;
};

/* The portion that a condition about a count or a share looks at; zeros for all others. */
struct threshold_portion threshold_portion(const struct threshold *t,
                                           const struct threshold_facts *facts);

/* Whether the condition surely holds: what it says has happened. */
bool threshold_holds(const struct threshold *t, struct threshold_fact fact);

#endif
