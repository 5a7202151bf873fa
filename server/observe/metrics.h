/* SPDX-License-Identifier: MIT */
/* The counters as text: for Prometheus and as JSON. */
#ifndef SERVER_METRICS_H
#define SERVER_METRICS_H

#include "base/buf.h"
#include "server/observe/admin.h"

/* Prometheus text exposition format, version 0.0.4. 0 or -errno as buf_append. */
NODISCARD int metrics_prometheus(const struct admin *o, struct buf *out);

/* JSON text, malloc'ed; NULL when out of memory. */
NODISCARD char *metrics_stats(const struct admin *o);
NODISCARD char *metrics_requests(const struct admin *o);

/* A worker that was started and is still a process. */
bool metrics_alive(const struct stats *s);

#endif
