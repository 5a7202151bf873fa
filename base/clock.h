/* SPDX-License-Identifier: MIT */
/* Monotonic time in nanoseconds. Below the option parser there are deadlines, never time-outs. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/attr.h"
#include <stdint.h>

typedef int64_t nsec_t; /* a point in monotonic time, or a span, in nanoseconds */

#define NSEC_PER_SEC  INT64_C(1000000000)
#define NSEC_PER_MSEC INT64_C(1000000)
#define NSEC_PER_USEC INT64_C(1000)
#define NSEC_NEVER    INT64_MAX /* a deadline that never comes */

/* CLOCK_MONOTONIC, clock_gettime(2). */
nsec_t clock_now(void);

/* CLOCK_THREAD_CPUTIME_ID: processor time that the calling thread has spent. */
nsec_t clock_thread_cpu(void);

/* CLOCK_REALTIME, nanoseconds since 1970: for log lines and reports, and to agree on a moment with
 * other machines. */
nsec_t clock_wall(void);

#define CLOCK_TEXT_BYTES 25

/* "2026-11-23T01:02:03.456Z" (RFC 3339) of a time since 1970, 0 or later. `text` has
 * CLOCK_TEXT_BYTES and is returned. */
const char *clock_format(nsec_t wall, char *text);

/* Reads what RFC 3339 calls a date-time, "2026-11-23T01:02:03.5+01:00", as nanoseconds since 1970;
 * digits beyond the ninth of a fraction are dropped. Logs have a comma before the fraction and no
 * colon in the zone (ISO 8601), too. 0, or -EINVAL: it is none, or before 1970. */
NODISCARD int clock_parse(const char *text, nsec_t *ret_wall);

#define CLOCK_HTTP_BYTES 30

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7) of a time in seconds since 1970, 0 or
 * later, in a year of four digits. `text` has CLOCK_HTTP_BYTES. Takes no lock, so that a process
 * forked beside threads may call it. */
void clock_format_http(int64_t seconds, char *text);

/* now + span, saturating at NSEC_NEVER; a span of NSEC_NEVER or less than 0 means never. */
static inline nsec_t deadline_after(nsec_t now, nsec_t span) {
    return span < 0 || span > NSEC_NEVER - now ? NSEC_NEVER : now + span;
}

/* Like deadline_after, for time-outs that can be switched off: a span of 0 means never. */
static inline nsec_t timeout_after(nsec_t now, nsec_t span) {
    return span > 0 ? deadline_after(now, span) : NSEC_NEVER;
}

static inline nsec_t nsec_min(nsec_t a, nsec_t b) {
    return a < b ? a : b;
}

static inline nsec_t nsec_max(nsec_t a, nsec_t b) {
    return a > b ? a : b;
}

#endif
