/* SPDX-License-Identifier: MIT */
/* The access log: one JSON object per line and request (NDJSON), written by the logger process. */
#ifndef SLOWAPI_ACCESS_LOG_H
#define SLOWAPI_ACCESS_LOG_H

#include "net/tls.h"
#include "proc/logger.h"
#include "slowapi/reply.h"

/* The facts of a request that only the connection knows. */
struct access_log_facts {
    const char *client;          /* the client's address */
    const char *outcome;         /* "answered", "aborted", ... */
    uint16_t status;             /* the one that went out; 0: none did */
    bool has_begun;              /* the answer has */
    const struct tls_facts *tls; /* NULL: no TLS, or a handshake that is not complete */
    nsec_t upstream; /* from the request to the head of the upstream's answer; -1: none */
    uint64_t bytes;  /* bytes of the body, without framing, that the kernel took */
};

/* `reply` is NULL for what was no request that could be understood. False when the line was
 * dropped, which is told: the logger has too much to do, or memory is short. Waits for nothing. */
bool slow_access_log_write(const struct logger *logger, const struct reply *reply,
                           const struct access_log_facts *facts);

/* Writes a line of json_line, which is freed; NULL: memory was short. False when it was dropped:
 * also when it is longer than LOGGER_LINE_BYTES. */
bool slow_access_log_put(const struct logger *logger, char *line);

#endif
