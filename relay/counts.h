/* SPDX-License-Identifier: MIT */
/* Counters of a proxy: one slot for each worker, written by it alone, read by all. */
#ifndef RELAY_COUNTS_H
#define RELAY_COUNTS_H

#include "relay/toxics.h"
#include <stdatomic.h>

/* X(name, NAME, help). Every connection that was accepted is still open, or counted once among the
 * seven below `connections`. */
#define RELAY_COUNTERS(X)                                                                   \
    X(connections, CONNECTIONS, "TCP connections accepted")                                 \
    X(limited, LIMITED, "TCP connections reset because of connections=N")                   \
    X(connect_failed, CONNECT_FAILED, "TCP connections whose target could not be reached")  \
    X(closed, CLOSED, "TCP connections that their sides closed")                            \
    X(client_resets, CLIENT_RESETS, "TCP connections that their client reset")              \
    X(target_resets, TARGET_RESETS, "TCP connections that their target reset")              \
    X(struck, STRUCK, "TCP connections ended by a fault")                                   \
    X(stopped, STOPPED, "TCP connections ended by enabled=false, a stop or lack of memory") \
    X(bytes_up, BYTES_UP, "Bytes passed on to targets")                                     \
    X(bytes_down, BYTES_DOWN, "Bytes passed on to clients")                                 \
    X(bytes_dropped, BYTES_DROPPED, "Bytes taken and thrown away")                          \
    X(bytes_corrupted, BYTES_CORRUPTED, "Bytes that were changed")

enum relay_counter {
#define RELAY_ENUM(name, NAME, help) RELAY_##NAME,
    RELAY_COUNTERS(RELAY_ENUM)
#undef RELAY_ENUM
        RELAY_COUNTERS_MAX,
};

struct relay_counts {
    _Atomic uint64_t counters[RELAY_COUNTERS_MAX], faults[RELAY_FAULT_KINDS];
    _Atomic int64_t open;
};

static inline void relay_add(_Atomic uint64_t *counter, uint64_t n) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline void relay_count(struct relay_counts *counts, enum relay_counter counter,
                               uint64_t n) {
    if (n > 0)
        relay_add(&counts->counters[counter], n);
}

#endif
