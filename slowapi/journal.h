/* SPDX-License-Identifier: MIT */
/* The access log: one JSON object per line and request (NDJSON). */
#ifndef SLOWAPI_JOURNAL_H
#define SLOWAPI_JOURNAL_H

#include "base/error.h"
#include "slowapi/reply.h"

/* A descriptor to append to; `-` is stdout. Or -errno with a reason. */
NODISCARD int journal_open(const char *path, struct error *err);

/* One write(2), so that workers do not mix. `outcome`: "answered", "aborted", ... */
void journal_write(int fd, const struct reply *reply, const char *outcome);

#endif
