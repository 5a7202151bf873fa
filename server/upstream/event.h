/* SPDX-License-Identifier: MIT */
/* The GETs of server/upstream/upstream.c as callbacks: begun here, ended by a call of `done`. What
 * straight code has as its place in a function is a state here, and what it has on its stack is a
 * struct. */
#ifndef SERVER_UPSTREAM_EVENT_H
#define SERVER_UPSTREAM_EVENT_H

#include "net/watch.h"
#include "server/upstream/exchange.h"

struct upstream_event;
struct link;
struct lookup;

enum upstream_state {
    UPSTREAM_CONNECTING,
    UPSTREAM_SHAKING, /* hands, for https */
    UPSTREAM_WRITING,
    UPSTREAM_READING
};

/* One GET. It stays put until `done` was called, and belongs to the caller again from there on. */
struct upstream_call {
    /* 0 with the answer in `exchange`; or -errno as upstream_ask, with the reason there. It may be
     * called before upstream_event_get has returned. */
    void (*done)(struct upstream_call *call, int rc);
    struct upstream_exchange exchange;
    struct upstream_event *u;
    struct upstream_request request;
    struct buf out; /* still to be written */
    struct timer deadline;
    struct link *link; /* the connection it uses; NULL: none yet */
    struct lookup *lookup;
    struct watch looked_up;
    const struct address *addresses; /* to be tried */
    size_t address_count;
    enum upstream_state state;
};

/* Makes the client, as upstream_new, on the loop's thread; without libcurl. */
NODISCARD struct upstream_event *upstream_event_new(const struct upstream_config *config,
                                                    struct loop *loop, struct error *err);
void upstream_event_free(struct upstream_event *u); /* NULL-safe; no call may be in progress */

/* Begins a GET of the URL with `suffix`, which must live as long as the call; `call->done` is set.
 * The deadline, and the rest, as upstream_ask. */
void upstream_event_get(struct upstream_event *u, struct upstream_call *call, struct arena *arena,
                        struct slice suffix, nsec_t deadline);

/* Ends a call in progress: closes its connection and calls `done` with -ECANCELED. */
void upstream_call_cancel(struct upstream_call *call);

#endif
