/* SPDX-License-Identifier: MIT */
/* A session on a thread that it has to itself: straight lines from the first byte to the last. */
#ifndef SERVER_SESSION_THREAD_H
#define SERVER_SESSION_THREAD_H

#include "server/conn/session.h"

/* Reads until session_feed says anything but MORE. Time-outs: keep-alive, header (of the first
 * request from here on, of later ones from their first byte), body. It waits for the first byte
 * with `idle`, for everything else with `io`. */
NODISCARD enum session_step session_read(struct session *s, struct io *idle, struct io *io);

/* Runs the application on the request that is READY, and writes the answer. Never SESSION_SEND. */
NODISCARD enum session_end session_serve(struct session *s, struct io *io);

/* Writes the refusal in `out`. SESSION_LINGER, or SESSION_CLOSE: the client does not take it. */
NODISCARD enum session_end session_write_refusal(struct session *s, struct io *io);

/* Lets the client read the answer before the connection goes (net/linger.h). */
void session_linger(struct session *s, struct io *io);

/* Answers a request for --health-path. */
NODISCARD enum session_end session_write_health(struct session *s, struct io *io);

#endif
