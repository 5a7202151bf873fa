/* SPDX-License-Identifier: MIT */
/* The proxies of one worker: they accept, connect to their targets, and have what comes relayed,
 * as the table says (relay/table.h). */
#ifndef RELAY_PROXY_H
#define RELAY_PROXY_H

#include "net/crowd.h"
#include "net/loop.h"
#include "relay/table.h"

struct relay_worker;

/* A connection that has ended, for a log; the texts live as long as the call. */
struct relay_facts {
    const char *proxy, *client, *target; /* names and addresses */
    const char *outcome;
    const char *faults[RELAY_FAULT_KINDS]; /* kinds that struck */
    size_t fault_count;
    nsec_t took, connect; /* from the accept to the end, to the target; the latter -1: never */
    uint64_t bytes_up, bytes_down, bytes_dropped;
};

/* Needs of proxies that their server meets. */
struct relay_host {
    void *arg;
    uint64_t (*roll)(void *arg);          /* a seed for each connection */
    void (*count)(void *arg, int change); /* a connection was accepted (1), or has gone (-1) */
    void (*log)(void *arg, const struct relay_facts *facts); /* NULL: nobody is told */
    struct crowd_place *place;                               /* among the workers, or NULL */
    bool shared; /* other workers accept from the same sockets */
};

/* Starts the proxies of the `index`-th worker, which must have room in the table. NULL with a
 * reason. */
NODISCARD struct relay_worker *relay_worker_new(struct loop *loop, struct relay_table *table,
                                                size_t index, const struct relay_host *host,
                                                struct error *err);

/* Accepts nothing more. Connections end when they are `quiet` for a moment, and when they wait for
 * ever; otherwise when their sides end them. */
void relay_worker_drain(struct relay_worker *w, bool quiet);

/* Another worker may accept again: connections have ended. */
void relay_worker_look_again(struct relay_worker *w);

/* Ends all connections at once. NULL-safe. */
void relay_worker_free(struct relay_worker *w);

#endif
