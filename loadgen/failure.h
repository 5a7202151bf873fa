/* SPDX-License-Identifier: MIT */
/* Why a request failed. Each failed request has exactly one of these. */
#ifndef LOADGEN_FAILURE_H
#define LOADGEN_FAILURE_H

#include <stdbool.h>

/* X(name, key in JSON, column of ab's report, text in ours). The one list of all reasons. */
#define FAILURES(X)                                                                         \
    X(REFUSED, "refused", CONNECT, "connection refused")                                    \
    X(CONNECT, "connect_error", CONNECT, "cannot connect")                                  \
    X(TIMEOUT_CONNECT, "timeout_connect", CONNECT, "time-out while connecting")             \
    X(RESET, "reset", RECEIVE, "connection reset by peer")                                  \
    X(TIMEOUT_FIRST_BYTE, "timeout_first_byte", RECEIVE, "time-out before the first byte")  \
    X(TIMEOUT_BODY, "timeout_body", RECEIVE, "time-out within the response")                \
    X(CLOSED_EARLY, "closed_early", LENGTH, "closed before a response")                     \
    X(CLOSED_REUSED, "closed_reused", LENGTH, "reused connection closed before a response") \
    X(TRUNCATED, "truncated", LENGTH, "closed within the response")                         \
    X(LENGTH, "length", LENGTH, "body length differs from the first (--ab-strict)")         \
    X(STATUS, "status", LENGTH, "status that was not expected")                             \
    X(BODY, "body", LENGTH, "body without the expected text")                               \
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

extern const struct failure_info failure_infos[FAILURE_COUNT];

/* Its request has reached an age worth recording. */
static inline bool failure_is_timeout(enum failure reason) {
    return reason == FAILURE_TIMEOUT_CONNECT || reason == FAILURE_TIMEOUT_FIRST_BYTE ||
           reason == FAILURE_TIMEOUT_BODY;
}

#endif
