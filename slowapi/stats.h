/* SPDX-License-Identifier: MIT */
/* Counters of what happened: one slot per worker, summed when asked. */
#ifndef SLOWAPI_STATS_H
#define SLOWAPI_STATS_H

#include "base/hist.h"
#include "slowapi/fault.h"
#include "slowapi/paths.h"

/* X(name, NAME, help) of the counters. */
#define SLOW_COUNTERS(X)                                                                        \
    X(connections, CONNECTIONS, "Connections accepted")                                         \
    X(requests, REQUESTS, "Request heads read, well-formed ones")                               \
    X(answers, ANSWERS, "Answers written to their planned end")                                 \
    X(unanswered, UNANSWERED, "Requests that ended without a byte of an answer")                \
    X(malformed, MALFORMED, "Requests refused because they were not well-formed HTTP")          \
    X(bad_parameters, BAD_PARAMETERS, "Requests answered 400 because of a parameter")           \
    X(client_aborts, CLIENT_ABORTS, "Clients that closed before their answer was complete")     \
    X(send_timeouts, SEND_TIMEOUTS, "Clients cut because they took nothing of their answer")    \
    X(queue_full, QUEUE_FULL, "Requests turned away by a full queue")                           \
    X(limited, LIMITED, "Requests answered 429 because of limit")                               \
    X(queue_evictions, QUEUE_EVICTIONS, "Queues forgotten for want of --queues")                \
    X(sequence_evictions, SEQUENCE_EVICTIONS, "Sequences forgotten for want of --sequences")    \
    X(cut_delays, CUT_DELAYS, "Delays cut to --max-delay: by chance or load they were longer")  \
    X(tls_handshakes, TLS_HANDSHAKES, "Handshakes that were complete")                          \
    X(tls_resumed, TLS_RESUMED, "Those that went on with an earlier session")                   \
    X(tls_failed, TLS_FAILED, "Handshakes that failed, or that the client or a fault ended")    \
    X(log_dropped, LOG_DROPPED, "Access log lines that were dropped")                           \
    X(rule_matches, RULE_MATCHES, "Requests that a rule changed")                               \
    X(upstream_requests, UPSTREAM_REQUESTS, "Requests passed on to --upstream")                 \
    X(upstream_connections, UPSTREAM_CONNECTIONS, "Connections to --upstream begun")            \
    X(upstream_retries, UPSTREAM_RETRIES, "Requests sent again as an idle connection was shut") \
    X(upstream_unreachable, UPSTREAM_UNREACHABLE, "Exchanges without a connection; 502")        \
    X(upstream_closed, UPSTREAM_CLOSED,                                                         \
      "Exchanges that --upstream closed or reset before their end")                             \
    X(upstream_malformed, UPSTREAM_MALFORMED,                                                   \
      "Answers of --upstream that were not well-formed HTTP")                                   \
    X(upstream_timeouts, UPSTREAM_TIMEOUTS, "Exchanges that took --upstream too long")          \
    X(upstream_sent_bytes, UPSTREAM_SENT_BYTES, "Bytes sent to --upstream")                     \
    X(upstream_received_bytes, UPSTREAM_RECEIVED_BYTES, "Bytes received from --upstream")

enum slow_stats_counter {
#define SLOW_ENUM(name, NAME, help) SLOW_##NAME,
    SLOW_COUNTERS(SLOW_ENUM)
#undef SLOW_ENUM
        SLOW_COUNTERS_MAX,
};

/* Counts of a path: of its requests, and how they ended. */
enum slow_stats_path {
    SLOW_PATH_UNANSWERED,   /* without an answer; behind it by class, 1xx to 5xx */
    SLOW_PATH_REQUESTS = 6, /* requests whose heads were read */
    SLOW_PATH_COUNTS,
};

enum slow_stats_time { SLOW_PLANNED, SLOW_ACTUAL, SLOW_LATE, SLOW_TIMES };

/* Written by one worker only, so that plain adds suffice; read by any. The counters of all
 * requests, and of those without an answer, are sums over the paths: 0 here. */
struct slow_stats_slot {
    _Atomic uint64_t counters[SLOW_COUNTERS_MAX], faults[FAULT_KINDS];
    _Atomic uint64_t paths[PATHS_MAX + 1][SLOW_PATH_COUNTS]; /* by number; see paths.h */
    _Atomic int64_t in_flight, open;
    struct hist_shared times[SLOW_TIMES];
};

/* Written by all. */
struct slow_stats_total {
    _Atomic int64_t in_flight, in_flight_max;
    _Atomic size_t slots; /* 0..slots-1 may hold something; nobody looks at the others */
};

struct slow_stats {
    struct slow_stats_slot *slot;
    struct slow_stats_total *total;
};

static inline void slow_stats_add(_Atomic uint64_t *counter, uint64_t n) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline void slow_stats_count(struct slow_stats *t, enum slow_stats_counter counter) {
    slow_stats_add(&t->slot->counters[counter], 1);
}

/* A request of that path has come. */
static inline void slow_stats_request(struct slow_stats *t, uint32_t path) {
    slow_stats_add(&t->slot->paths[path][SLOW_PATH_REQUESTS], 1);
}

/* A request is in flight. */
static inline void slow_stats_begin(struct slow_stats *t) {
    atomic_fetch_add_explicit(&t->slot->in_flight, 1, memory_order_relaxed);

    int64_t now = atomic_fetch_add_explicit(&t->total->in_flight, 1, memory_order_relaxed) + 1;
    int64_t max = atomic_load_explicit(&t->total->in_flight_max, memory_order_relaxed);
    while (now > max && !atomic_compare_exchange_weak(&t->total->in_flight_max, &max, now)) {
    }
}

/* A status went out; 0: a request ended without one. Those above 599, which a service behind may
 * send, count as 5xx (RFC 9110 section 15). */
static inline void slow_stats_answer(struct slow_stats *t, uint32_t path, uint16_t status) {
    slow_stats_add(&t->slot->paths[path][status < 600 ? status / 100 : 5], 1);
}

/* A request of that path is in flight no longer. `status` was answered; 0: it got no answer. */
static inline void slow_stats_end(struct slow_stats *t, uint32_t path, uint16_t status) {
    atomic_fetch_sub_explicit(&t->slot->in_flight, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&t->total->in_flight, 1, memory_order_relaxed);
    slow_stats_answer(t, path, status);
}

static inline void slow_stats_time(struct slow_stats *t, enum slow_stats_time which, nsec_t span) {
    hist_shared_record_alone(&t->slot->times[which], span);
}

/* To be called first, with the place of t->slot among all. A worker that died left its requests in
 * flight: its successor takes them back. */
void slow_stats_adopt(struct slow_stats *t, size_t place);

/* --- sums ------------------------------------------------------------------------------------- */

struct slow_stats_sum {
    uint64_t counters[SLOW_COUNTERS_MAX], faults[FAULT_KINDS];
    uint64_t paths[PATHS_MAX + 1][SLOW_PATH_COUNTS];
    uint64_t classes[6]; /* answers of all paths, by class; [0]: requests without one */
    int64_t in_flight, in_flight_max, open;
    struct hist_shared times[SLOW_TIMES];
};

void slow_stats_sum(struct slow_stats_sum *sum, const struct slow_stats_slot *slots,
                    const struct slow_stats_total *total);

/* Takes away what had been counted when `then` was summed; gauges stay. */
void slow_stats_subtract(struct slow_stats_sum *sum, const struct slow_stats_sum *then);

#endif
