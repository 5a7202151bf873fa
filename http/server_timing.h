/* SPDX-License-Identifier: MIT */
/* The Server-Timing field (W3C Server Timing, section 4), for those who write and who read it:
 *
 *     Server-Timing: queue;dur=12.004, db;dur=53.2;desc="two queries", cache;desc=hit */
#ifndef HTTP_SERVER_TIMING_H
#define HTTP_SERVER_TIMING_H

#include "base/slice.h"

#define SERVER_TIMING_USEC_MAX INT64_C(3600000000) /* no wait of a request is longer */

enum server_timing_kind {
    SERVER_TIMING_END,       /* no metric is left */
    SERVER_TIMING_SPAN,      /* a metric with a duration */
    SERVER_TIMING_BARE,      /* a metric without one */
    SERVER_TIMING_UNUSABLE,  /* its duration is no number from 0 to SERVER_TIMING_USEC_MAX */
    SERVER_TIMING_MALFORMED, /* no metric: the list goes on behind the next comma */
};

struct server_timing {
    struct slice name; /* a token */
    struct slice desc; /* as it was sent: without its quotes, with its backslashes; or empty */
    int64_t usec;      /* of SERVER_TIMING_SPAN; rounded */
};

/* Takes the next metric from the value of a field; what is not valid is left out, as far as a
 * browser leaves it out. Of parameters of one name the first one counts, whatever it holds. */
enum server_timing_kind server_timing_next(struct slice *rest, struct server_timing *ret);

/* Writes "NAME;dur=1.234" at `at`, with its microseconds, and ", " before, unless it is the first.
 * Takes the length of the name and SERVER_TIMING_PUT_BYTES; a span outside of the limits becomes
 * the next one within. Returns the end. */
enum { SERVER_TIMING_PUT_BYTES = 24 };
char *server_timing_put(char *at, bool first, struct slice name, int64_t usec);

#endif
