/* SPDX-License-Identifier: MIT */
/* The account of a worker: each connection, handshake and request is counted once, however it ends.
 */
#ifndef SLOWAPI_ACCOUNT_H
#define SLOWAPI_ACCOUNT_H

#include <stdint.h>

struct slow_conn;
struct slow_worker;

/* Makes the connection one of the worker's, and the other way round: the last one ends a graceful
 * stop. */
void account_open(struct slow_conn *c, struct slow_worker *w);
void account_close(struct slow_conn *c);

/* Compares planned and actual, when the answer begins. */
void account_time(struct slow_conn *c);

/* Ends the request in flight, if there is one: counts and logs it, and frees its plan. `outcome` is
 * for the log. */
void account_end(struct slow_conn *c, const char *outcome);

/* The same; `status` went out, 0: none did. */
void account_end_as(struct slow_conn *c, const char *outcome, uint16_t status);

/* The end of a TLS handshake, whichever; once. */
void account_handshake(struct slow_conn *c);

/* Logs only. */
void account_log(struct slow_conn *c, const char *outcome, uint16_t status);

#endif
