/* SPDX-License-Identifier: MIT */
/* A client of a process' control endpoint, which is asked many times a second how many requests are
 * in flight.
 *
 *   stats_client_open(&c, url)      an empty url: nobody to ask, every answer is missing
 *   stats_client_ask(&c)            never waits
 *   ...                             the asker does something else meanwhile
 *   reading = stats_client_read(&c, deadline)
 *   stats_client_close(&c)
 *
 * The connection is kept, so that a question costs the process little. A question that it does not
 * answer in time stays unknown, and the next question comes on a new connection. */
#ifndef PLAYGROUND_STATS_CLIENT_H
#define PLAYGROUND_STATS_CLIENT_H

#include "base/buf.h"
#include "base/clock.h"
#include "net/address.h"
#include "playground/row.h"

struct stats_client {
    struct address address;
    bool has_address;
    int fd; /* -1: not connected */
    bool asked;
    struct buf in;
    char host[ADDRESS_TEXT_BYTES];
};

struct stats_reading {
    uint32_t in_flight;     /* PLAY_UNKNOWN: not told */
    uint32_t in_flight_max; /* the most since the process was started, or PLAY_UNKNOWN */
};

/* `url` is http://HOST:PORT with a numeric host, as the process says it; any other is not asked. */
void stats_client_open(struct stats_client *c, const char *url);
void stats_client_ask(struct stats_client *c);

/* Waits for the answer until `deadline` at most. */
struct stats_reading stats_client_read(struct stats_client *c, nsec_t deadline);

void stats_client_close(struct stats_client *c); /* idempotent; not for one that is only zeroed */

#endif
