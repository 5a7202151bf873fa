/* SPDX-License-Identifier: MIT */
/* Calls for handlers of model `event`: those of server/app/request.h that do not wait, and instead
 * of the waits those that follow. A handler begins, and goes on in callbacks. This is internal:
 * objects of users have straight code. */
#ifndef SERVER_EVENT_APP_H
#define SERVER_EVENT_APP_H

#include "server/app/request.h"
#include "server/upstream/exchange.h"

/* An application as callbacks. */
struct event_app {
    const char *name; /* the built-in application that does this work as straight code */
    /* Ends with event_answer, now or in a later callback. NULL: the straight code never waits. */
    void (*begin)(struct srv_request *rq);
};

/* NULL when the application of that name has only straight code that waits. */
const struct event_app *event_app_find(const char *name);

/* Goes on in `done` when the upstream has answered, or has not, as srv_get would:
 * with 0 and what it said, or with -errno and NULL. After this call, as after event_answer, the
 * request may be gone: return. */
void event_upstream_get(struct srv_request *rq, struct slice suffix,
                        void (*done)(struct srv_request *rq, int rc,
                                     const struct upstream_answer *answer));

/* Ends the handler, as a return ends straight code: 0 or more after request_reply, or the -errno of
 * a call. Exactly once. */
void event_answer(struct srv_request *rq, int rc);

#endif
