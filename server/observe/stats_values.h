/* SPDX-License-Identifier: MIT */
/* What a worker counts: the names, kinds and explanations of /metrics and /stats. */
#ifndef SERVER_STATS_VALUES_H
#define SERVER_STATS_VALUES_H

/* X(name, kind, help): `kind` is counter (only grows) or gauge. */
#define STATS_VALUES(X)                                                                       \
    X(connections, gauge, "Client connections that are open.")                                \
    X(connections_opened, counter, "Client connections accepted.")                            \
    X(slots, gauge, "Requests that can be served at once; 0 is no limit.")                    \
    X(slots_busy, gauge, "Requests that are being served.")                                   \
    X(queue_depth, gauge, "Complete requests that wait for a slot.")                          \
    X(shed, counter, "Requests turned down because the queue was full.")                      \
    X(expired, counter, "Requests that ran out of time, in the queue or while being served.") \
    X(abandoned, counter, "Requests that nobody took the answer of: the client had gone.")    \
    X(unanswered, counter, "Requests that got no answer because memory was short.")           \
    X(upstream_calls, counter, "Calls of the upstream that ended.")                           \
    X(upstream_waiting, gauge, "Calls of the upstream in progress.")                          \
    X(upstream_queued, gauge, "Requests that wait until they may call the upstream.")         \
    X(upstream_failed, counter, "Calls that the upstream refused, broke or answered badly.")  \
    X(upstream_late, counter, "Calls that the upstream did not answer in time.")              \
    X(db_pool, gauge, "Database connections that there may be.")                              \
    X(db_in_use, gauge, "Statements in progress, each with a connection of its own.")         \
    X(db_idle, gauge, "Open database connections that nobody uses.")                          \
    X(db_waiting, gauge, "Statements that wait for a database connection.")                   \
    X(db_statements, counter, "Statements that the database answered.")                       \
    X(db_failed, counter, "Statements that failed, whatever the reason.")                     \
    X(db_connects, counter, "Database connections opened.")                                   \
    X(db_dead, counter, "Database connections that ended while they were idle.")              \
    X(db_retried, counter, "Statements run again on a new connection.")                       \
    X(db_cancelled, counter, "Statements cancelled because their request ended early.")       \
    X(log_dropped, counter, "Access log lines dropped because the log process was too slow.") \
    X(starts, counter, "Times that this worker was started.")

#endif
