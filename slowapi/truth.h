/* SPDX-License-Identifier: MIT */
/* What really happened, counted: one slot per worker, summed when asked. */
#ifndef SLOWAPI_TRUTH_H
#define SLOWAPI_TRUTH_H

#include "base/hist.h"
#include "slowapi/fault.h"

/* X(name, NAME, help) of the counters. */
#define TRUTH_COUNTERS(X)                                                                      \
    X(connections, CONNECTIONS, "Connections accepted")                                        \
    X(requests, REQUESTS, "Request heads read, well-formed ones")                              \
    X(answers, ANSWERS, "Answers written to their planned end")                                \
    X(malformed, MALFORMED, "Requests refused because they were not well-formed HTTP")         \
    X(bad_parameters, BAD_PARAMETERS, "Requests answered 400 because of a parameter")          \
    X(client_aborts, CLIENT_ABORTS, "Clients that closed before their answer was complete")    \
    X(send_timeouts, SEND_TIMEOUTS, "Clients cut because they took nothing of their answer")   \
    X(queue_full, QUEUE_FULL, "Requests turned away by a full queue")                          \
    X(queue_evictions, QUEUE_EVICTIONS, "Queues forgotten for want of --queues")               \
    X(sequence_evictions, SEQUENCE_EVICTIONS, "Sequences forgotten for want of --sequences")   \
    X(cut_delays, CUT_DELAYS, "Delays cut to --max-delay: by chance or load they were longer") \
    X(log_dropped, LOG_DROPPED, "Access log lines that were dropped")                          \
    X(rule_matches, RULE_MATCHES, "Requests that a rule changed")

enum truth_counter {
#define TRUTH_ENUM(name, NAME, help) TRUTH_##NAME,
    TRUTH_COUNTERS(TRUTH_ENUM)
#undef TRUTH_ENUM
        TRUTH_COUNTERS_MAX,
};

enum truth_time { TRUTH_PLANNED, TRUTH_ACTUAL, TRUTH_LATE, TRUTH_TIMES };

/* Written by one worker only, so that plain adds suffice; read by any. */
struct truth_slot {
    _Atomic uint64_t counters[TRUTH_COUNTERS_MAX], faults[FAULT_KINDS], classes[6];
    _Atomic int64_t in_flight, open;
    struct hist_shared times[TRUTH_TIMES];
};

/* Written by all. */
struct truth_total {
    _Atomic int64_t in_flight, in_flight_max;
    _Atomic size_t slots; /* 0..slots-1 may hold something; nobody looks at the others */
};

struct truth {
    struct truth_slot *slot;
    struct truth_total *total;
};

static inline void truth_add(_Atomic uint64_t *counter, uint64_t n) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline void truth_count(struct truth *t, enum truth_counter counter) {
    truth_add(&t->slot->counters[counter], 1);
}

void truth_begin(struct truth *t);                /* a request is in flight */
void truth_end(struct truth *t, uint16_t status); /* no longer; 0: it got no answer */

static inline void truth_time(struct truth *t, enum truth_time which, nsec_t span) {
    hist_shared_record_alone(&t->slot->times[which], span);
}

/* To be called first, with the place of t->slot among all. A worker that died left its requests in
 * flight: its successor takes them back. */
void truth_adopt(struct truth *t, size_t place);

/* --- sums ------------------------------------------------------------------------------------- */

struct truth_sum {
    uint64_t counters[TRUTH_COUNTERS_MAX], faults[FAULT_KINDS], classes[6];
    int64_t in_flight, in_flight_max, open;
    struct hist_shared times[TRUTH_TIMES];
};

void truth_sum(struct truth_sum *sum, const struct truth_slot *slots,
               const struct truth_total *total);

#endif
