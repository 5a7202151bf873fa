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

/* Changes what is done to the connections of the proxies that the query names: PUT replaces, PATCH
 * changes and DELETE restores it. As relay_table_edit. */
NODISCARD int slow_tcp_edit(struct relay_table *table, const struct control_request *rq,
                            struct error *err);

#endif
