/* SPDX-License-Identifier: MIT */
/* Where the time of answers went, as the client and the server's Server-Timing tell together:
 *
 *   planned   started   connected   written           first byte    last byte
 *      |generator|  connect  |  send   |     wait         |   receive  |
 *                                      |network| metrics  |
 *
 * The network is the wait without what the server tells; a server that begins before our send
 * returns shortens the send. Only answers that tell are here, so that the parts add up to the
 * total. Bounded, whatever servers send. */
#ifndef LOADGEN_SERVER_TIMES_H
#define LOADGEN_SERVER_TIMES_H

#include "base/hist.h"
#include "http/head.h"
#include "loadgen/outcome.h"

enum {
    SERVER_TIMES_NAMES = 16, /* kept; the first ones that come */
    SERVER_TIMES_NAME_BYTES = 48,
};

enum server_phase {
    SERVER_PHASE_GENERATOR,
    SERVER_PHASE_CONNECT,
    SERVER_PHASE_SEND,
    SERVER_PHASE_NETWORK,
    SERVER_PHASE_RECEIVE,
    SERVER_PHASE_TOTAL,
    SERVER_PHASE_COUNT,
};

/* One time of all answers that tell, in microseconds. The sum is exact; a network below 0, which
 * the histogram has as 0, is in it. */
struct server_row {
    struct hist *hist;
    int64_t sum;
};

struct server_metric {
    char name[SERVER_TIMES_NAME_BYTES], desc[SERVER_TIMES_NAME_BYTES]; /* of the first one */
    struct server_row row;
    uint64_t answers; /* that have it; to all others it is 0, after server_times_settle */
    bool is_added;    /* a part of the wait; otherwise it is only told */
};

struct server_told; /* what the answer of one connection has told so far */

struct server_times {
    const char *parts;        /* names of those that are added, with commas; NULL: all but totals */
    struct server_told *told; /* per connection */
    struct server_row phases[SERVER_PHASE_COUNT];
    struct server_metric metrics[SERVER_TIMES_NAMES];
    size_t metric_count;
    uint64_t answers, telling;          /* all that are complete; of them, those with the field */
    uint64_t over;                      /* told more than they took */
    int64_t over_usec;                  /* by so much in all */
    uint64_t bare, unusable, malformed; /* metrics without, or with a bad duration; no metrics */
    uint64_t further;                   /* durations of names beyond SERVER_TIMES_NAMES */
};

/* For so many connections, 0 for sums. `parts` outlives it. NULL when out of memory. */
NODISCARD struct server_times *server_times_new(const char *parts, size_t connections);
void server_times_free(struct server_times *t); /* NULL-safe */

/* The head of an answer on that connection; and the whole answer. */
void server_times_head(struct server_times *t, size_t connection, const struct http_head *head);
void server_times_end(struct server_times *t, size_t connection, const struct timing *timing);

/* The metric of that name, made when there is room and it is a token; or NULL. */
struct server_metric *server_times_metric(struct server_times *t, struct slice name);

void server_times_restart(struct server_times *t); /* forgets what was counted */

/* Adds all of `from`. Of names beyond the limit the time goes to the network. */
void server_times_merge(struct server_times *to, const struct server_times *from);

/* Counts each metric as 0 for answers without it; again after more was added. */
void server_times_settle(struct server_times *t);

#endif
