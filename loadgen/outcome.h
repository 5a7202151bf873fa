/* SPDX-License-Identifier: MIT */
/* The end of a request: the reasons for which it can fail, how far it came, and its record. */
#ifndef LOADGEN_OUTCOME_H
#define LOADGEN_OUTCOME_H

#include "base/clock.h"
#include <stdbool.h>
#include <stddef.h>

/* X(name, key in JSON, column of ab's report, text in ours). The one list of all reasons: each
 * failed request has exactly one of them. */
#define FAILURES(X)                                                                               \
    X(REFUSED, "refused", CONNECT, "connection refused")                                          \
    X(CONNECT, "connect_error", CONNECT, "cannot connect")                                        \
    X(TIMEOUT_CONNECT, "timeout_connect", CONNECT, "time-out while connecting")                   \
    X(PROXY, "proxy_refused", CONNECT, "the proxy makes no tunnel")                               \
    X(TIMEOUT_TLS, "timeout_tls", CONNECT, "time-out within the TLS handshake")                   \
    X(TLS_CLOSED, "tls_closed", CONNECT, "closed within the TLS handshake")                       \
    X(TLS_HANDSHAKE, "tls_handshake", CONNECT, "TLS handshake failed")                            \
    X(TLS_VERIFY, "tls_verify", CONNECT, "certificate that is not trusted")                       \
    X(TLS_ERROR, "tls_error", EXCEPTIONS, "TLS failed after the handshake")                       \
    X(TLS_TRUNCATED, "tls_truncated", LENGTH, "closed within the response, without TLS's word")   \
    X(RESET, "reset", RECEIVE, "connection reset by peer")                                        \
    X(TIMEOUT_FIRST_BYTE, "timeout_first_byte", RECEIVE, "time-out before the first byte")        \
    X(TIMEOUT_BODY, "timeout_body", RECEIVE, "time-out within the response")                      \
    X(CLOSED_EARLY, "closed_early", LENGTH, "closed before a response")                           \
    X(CLOSED_REUSED, "closed_reused", LENGTH, "reused connection closed before a response")       \
    X(TRUNCATED, "truncated", LENGTH, "closed within the response")                               \
    X(LENGTH, "length", LENGTH, "body length differs from the first (--ab-strict)")               \
    X(STATUS, "status", LENGTH, "status that was not expected")                                   \
    X(BODY, "body", LENGTH, "body without the expected text")                                     \
    X(STREAM_END, "stream_end", LENGTH, "stream without its end (--stream-end)")                  \
    X(REDIRECTS, "redirects", LENGTH, "more redirects than --follow allows")                      \
    X(REQUEST_BODY, "request_body", EXCEPTIONS, "file of the request's body that cannot be read") \
    X(CODING, "coding", EXCEPTIONS, "body that is not coded as it says")                          \
    X(BAD_RESPONSE, "bad_response", EXCEPTIONS, "malformed response")

enum failure {
#define FAILURE_ENUM(name, key, column, text) FAILURE_##name,
    FAILURES(FAILURE_ENUM)
#undef FAILURE_ENUM
        FAILURE_COUNT,
};

/* The four columns of ab's "Failed requests" line. */
enum failure_column {
    FAILURE_COLUMN_CONNECT,
    FAILURE_COLUMN_RECEIVE,
    FAILURE_COLUMN_LENGTH,
    FAILURE_COLUMN_EXCEPTIONS,
    FAILURE_COLUMNS,
};

struct failure_info {
    const char *key, *text;
    enum failure_column column;
};

/* Whether the request has reached an age worth recording. */
static inline bool failure_is_timeout(enum failure reason) {
    return reason == FAILURE_TIMEOUT_CONNECT || reason == FAILURE_TIMEOUT_TLS ||
           reason == FAILURE_TIMEOUT_FIRST_BYTE || reason == FAILURE_TIMEOUT_BODY;
}

/* Whether the run ends with it, unless told to go on (--ignore-errors). */
static inline bool failure_is_of_socket(enum failure reason) {
    return reason == FAILURE_REFUSED || reason == FAILURE_CONNECT || reason == FAILURE_RESET ||
           reason == FAILURE_PROXY || reason == FAILURE_TLS_CLOSED ||
           reason == FAILURE_TLS_HANDSHAKE || reason == FAILURE_TLS_VERIFY;
}

/* Whether the report tells the reason of the first one in its own words. */
static inline bool failure_has_words(enum failure reason) {
    return reason == FAILURE_PROXY || (reason >= FAILURE_TLS_CLOSED && reason <= FAILURE_TLS_ERROR);
}

/* The stage that a request has reached. */
enum phase { PHASE_CONNECT, PHASE_TLS, PHASE_SEND, PHASE_WAIT, PHASE_RECEIVE };

/* Microseconds of one request, along ab's definitions. */
struct timing {
    nsec_t planned;  /* the moment at which to begin; in a closed loop the one at which it began */
    int64_t queue;   /* open model: from the planned start to the real one, inside the generator */
    int64_t connect; /* with the TLS handshake, as ab's; 0 on a reused connection */
    int64_t tls;     /* the part of `connect` that the handshake took */
    int64_t send;    /* from the connection to the end of writing */
    int64_t wait;    /* from the end of writing the request to the first byte of the response */
    int64_t receive; /* from the first byte of the response to the last */
    int64_t total;   /* from the start of connecting, or of writing, to the last byte */
    enum phase phase;
    bool reused;    /* not the first request of its connection */
    bool disturbed; /* the generator paused meanwhile */
};

/* An outcome is one of these, or an enum failure. */
enum {
    OUTCOME_OK = -1,
    OUTCOME_UNFINISHED = -2, /* in flight when the run ended */
    OUTCOME_DROPPED = -3,    /* open model: never begun */
};

/* The record of one request. */
struct sample {
    nsec_t start; /* planned, in the open model */
    uint32_t queue_us, connect_us, tls_us, send_us, wait_us, receive_us;
    uint32_t total_us; /* from `start` */
    uint64_t body_bytes;
    uint16_t status; /* 0: none */
    int8_t outcome;
    bool reused, disturbed;
};

/* Records of all requests, in start order, for the outputs that want them: the only memory of a run
 * that grows with the number of requests. */
struct samples {
    struct sample *items;
    size_t count, cap;
    bool incomplete; /* memory ran out: later requests are missing */
};

#endif
