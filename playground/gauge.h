/* SPDX-License-Identifier: MIT */
/* Asks the control endpoint of a process, many times a second, how many requests are in flight.
 *
 *   gauge_open(&g, url)            an empty url: nobody to ask, every answer is missing
 *   gauge_ask(&g)                  never waits
 *   ...                            the asker does something else meanwhile
 *   reading = gauge_answer(&g, deadline)
 *   gauge_close(&g)
 *
 * The connection is kept, so that a question costs the process little. What it does not answer in
 * time stays unknown, and the next question comes on a new connection. */
#ifndef PLAYGROUND_GAUGE_H
#define PLAYGROUND_GAUGE_H

#include "base/buf.h"
#include "base/clock.h"
#include "net/address.h"

#define GAUGE_UNKNOWN UINT32_MAX

struct gauge {
    struct address address;
    bool has_address;
    int fd; /* -1: not connected */
    bool asked;
    struct buf in;
    char host[ADDRESS_TEXT_BYTES];
};

struct gauge_reading {
    uint32_t in_flight;     /* or GAUGE_UNKNOWN */
    uint32_t in_flight_max; /* since the process was started, or GAUGE_UNKNOWN */
};

/* `url` is http://HOST:PORT with a numeric host, as the process says it; any other is not asked. */
void gauge_open(struct gauge *g, const char *url);
void gauge_ask(struct gauge *g);

/* Waits for the answer until `deadline` at most. */
struct gauge_reading gauge_answer(struct gauge *g, nsec_t deadline);

void gauge_close(struct gauge *g); /* idempotent; not for one that is only zeroed */

#endif
