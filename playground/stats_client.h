/* SPDX-License-Identifier: MIT */
/* A client of a process' control endpoint, which is asked many times a second how many requests are
 * in flight.
 *
 *   stats_client_ask(&c, url)       never waits; an empty url: nobody to ask, no answer
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
#include "waits/wait.h"

/* Zeroed is closed. */
struct stats_client {
    bool is_open, asked;
    int fd;
    struct buf in;
    char host[ADDRESS_TEXT_BYTES];
};

struct stats_reading {
    uint32_t in_flight;     /* PLAY_UNKNOWN: not told */
    uint32_t in_flight_max; /* the most since the process was started, or PLAY_UNKNOWN */
};

/* Sends a question to `url`, which is http://HOST:PORT with a numeric host, as the process says it;
 * any other is not asked. The client opens a connection when it has none. */
void stats_client_ask(struct stats_client *c, const char *url);

/* Sends the question for the list of current requests to srv serve at `address`. */
void stats_client_ask_requests(struct stats_client *c, const struct address *address);

/* Waits for the list until `deadline` at most, and counts its requests by what they wait for, in
 * the words that threads have. 0; -ENOTCONN, -ETIMEDOUT, -EPROTO or another -errno: not told. */
NODISCARD int stats_client_read_requests(struct stats_client *c, nsec_t deadline,
                                         struct wait_tally *ret);

/* Waits for the answer until `deadline` at most. */
struct stats_reading stats_client_read(struct stats_client *c, nsec_t deadline);

void stats_client_close(struct stats_client *c); /* idempotent */

#endif
