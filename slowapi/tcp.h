/* SPDX-License-Identifier: MIT */
/* The proxies of --tcp (relay/), as the service sees them: their lines of the access log, and /tcp
 * of the control endpoint. */
#ifndef SLOWAPI_TCP_H
#define SLOWAPI_TCP_H

#include "net/control.h"
#include "proc/logger.h"
#include "relay/proxy.h"

/* Writes the line of a connection that has ended. False when it was dropped. */
bool slow_tcp_log(const struct logger *logger, const struct relay_facts *facts);

/* Answers /tcp: GET tells, PUT replaces, PATCH changes and DELETE restores what is done. `table`
 * may be NULL: there is no proxy. */
void slow_tcp_control(struct relay_table *table, struct control_request *rq);

#endif
