/* SPDX-License-Identifier: MIT */
/* The stop of a front (server/conn/front.h). */
#ifndef SERVER_FRONT_STOP_H
#define SERVER_FRONT_STOP_H

/* For signals_new, whose argument is the front. TERM, after --graceful-delay: no new connections;
 * running requests are finished, and idle connections stay until their next request or until their
 * keep-alive runs out, so that no request is lost. Answers say close. At most for
 * --graceful-timeout; then all is cancelled. A second TERM, INT and QUIT cancel at once. RETIRE: as
 * TERM, while a successor accepts on the same sockets. The loop stops when all clients are gone. */
void front_signal(void *front, int signo);

#endif
