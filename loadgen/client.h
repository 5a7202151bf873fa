/* SPDX-License-Identifier: MIT */
/* The connections of one loop, from their making to their end (loadgen/client_state.h shows their
 * states). Two files tell the life of a request, from the moment it is due to the next one:
 *
 *     client_start.c
 *       on_arrival, on_ramp   a request is due, or a connection's turn has come
 *       client_start          takes the request from the plan, and a connection if one was kept
 *       client_connect        opens a connection otherwise
 *       client_secure         and with https, the tunnel and TLS
 *       client_send           writes the request
 *     client.c
 *       client_ready          the hub: a connection has news, and the state says what follows
 *       client_receive        reads the response as it comes
 *       client_judge          says whether it is what was asked for, and counts it
 *       client_next           keeps the connection and starts again
 *       client_part           or lets the server close it first, if it does
 *
 * A request that comes to nothing goes through client_fail, which starts again, too. */
#ifndef LOADGEN_CLIENT_H
#define LOADGEN_CLIENT_H

#include "loadgen/client_state.h"

/* Makes the worker's connections, none of them open. 0 or -ENOMEM; clients_close in any case. */
NODISCARD int clients_init(struct load_worker *w);

/* Starts them as the run's options ask, once its plan is made: all at once, one by one, or each
 * when a planned request is due. 0 or -ENOMEM. */
NODISCARD int clients_start(struct load_worker *w);

/* Ends the run, for the other workers too, from a callback of its loop: no request is begun any
 * more, and what is in flight is counted as such. */
void clients_stop(struct load_worker *w, enum run_end end);

/* Drops the planned requests whose time has come but that nobody was free for: their users have
 * waited, too. */
void clients_drop_due(struct load_worker *w, nsec_t now);

/* Closes the connections and counts what was in flight, after the loop has ended. */
void clients_end(struct load_worker *w, nsec_t now);

/* Closes the connections, before the loop is freed: deferred work of theirs goes with it. */
void clients_close(struct load_worker *w);

/* --- between the two halves of a life --------------------------------------------------------- */

/* A client that has nothing in flight takes the next request, or rests when none is due. */
void client_start(struct load_client *c, nsec_t now);

/* A paused client tries the request that it holds again, or takes the next one. */
void client_go_on(struct load_client *c);

/* Goes on with what comes before the first request of a connection to https. */
void client_secure(struct load_client *c);

/* Writes what is left of the request. `now` is also taken for the end of writing: on loopback the
 * server may answer within the system call. */
void client_send(struct load_client *c, nsec_t now);

/* Sends the request that a redirect leads to, over the same connection if the server keeps it. */
void client_resend(struct load_client *c, bool keeps, nsec_t now);

/* The server has answered without wanting the body: it is not sent. */
void client_forgo_body(struct load_client *c);

/* Closes the connection, if there is one. */
void client_disconnect(struct load_client *c);

/* Disconnects. The next attempt comes from a fresh stack, so that failing at once cannot recurse.
 */
void client_pause(struct load_client *c);

/* Closed loop without a ramp: starts all of those that have not started yet. */
void clients_start_rest(struct load_worker *w);

/* The first request that counts begins: forgets what the warm-up counted, and how late we were. */
void clients_warm_up_end(struct load_worker *w);

/* A connection has news: the state says what follows. */
void client_ready(struct watch *watch, unsigned what);

/* The request came to its end without a response. The client goes on after the turn. */
void client_fail(struct load_client *c, enum failure reason, nsec_t now);

#endif
