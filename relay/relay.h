/* SPDX-License-Identifier: MIT */
/* Two open connections whose bytes are passed on to each other, both ways, with their ends; and
 * faults that strike them.
 *
 *   relay_init(&r, &site, seed, over);                    rolls which faults will strike
 *   rc = relay_push(&r, RELAY_UP, bytes);                 what was read before; any number of times
 *   relay_open(&r, &client, &target);                     takes over what the watches tell:
 *   in notify of either watch: relay_notify(&r, watch, what);
 *   over(): close both descriptors as told, relay_close(&r), free the memory later (loop_defer)
 *
 * The watches and descriptors stay the caller's. A relay may call `over` within any of these
 * functions but relay_init, relay_push and relay_close, once, as the last thing that it does. */
#ifndef RELAY_RELAY_H
#define RELAY_RELAY_H

#include "relay/counts.h"
#include "relay/lane.h"

/* The place in which relays live: what those of a worker and a proxy have in common. */
struct relay_site {
    struct loop *loop;
    const struct relay_toxics *toxics;
    struct bucket *shared; /* RELAY_WAYS bandwidths */
    struct relay_counts *counts;
    char *room; /* RELAY_BULK_BYTES, used within one call */
};

enum relay_outcome {
    RELAY_ENDED,     /* both sides have closed */
    RELAY_BY_CLIENT, /* reset by the client */
    RELAY_BY_TARGET, /* reset by the target */
    RELAY_BY_FAULT,  /* ended by a fault */
    RELAY_BY_US,     /* relay_finish, or no memory */
};

struct relay {
    const struct relay_site *site;
    struct watch *sides[RELAY_WAYS]; /* a way's source: [RELAY_UP] is the client's */
    struct relay_lane lanes[RELAY_WAYS];
    struct timer clock;    /* the next fault by time; the end of patience with an end */
    struct deferred later; /* goes on when others have had their turn */
    struct rng rng;
    nsec_t until;              /* the end of patience with sockets that have not sent all */
    nsec_t since;              /* times of faults count from here */
    uint64_t base[RELAY_WAYS]; /* bytes given then */
    uint64_t told[RELAY_WAYS]; /* bytes given that are counted */
    uint64_t told_dropped;
    uint16_t rolled; /* bits of toxics->faults that are still to strike */
    uint16_t struck; /* bits of the kinds that did */
    uint8_t resets;  /* sides that get an RST when the sockets have sent what they took */
    bool is_open, finishes, breaks, by_us;
    /* `resets`: which sides get an RST instead of a FIN, bits of their ways. */
    void (*over)(struct relay *r, enum relay_outcome outcome, unsigned resets);
};

#define RELAY_RESET_BOTH (1u << RELAY_UP | 1u << RELAY_DOWN)

/* Times count from now on. */
void relay_init(struct relay *r, const struct relay_site *site, uint64_t seed,
                void (*over)(struct relay *, enum relay_outcome, unsigned));

/* Adds the bytes that its lanes have moved or dropped since the last call to the counters, which a
 * relay that is open does by itself. */
void relay_tell_bytes(struct relay *r);

/* A fault that strikes now, before there is a target, if one was rolled: refuse, rst, rst-down, fin
 * or hang, at the accept or by time. It counts as having struck. NULL: none, or no more. */
const struct relay_fault *relay_strike_early(struct relay *r);

/* The time of the next such fault; NSEC_NEVER: none. */
nsec_t relay_strikes_early_at(const struct relay *r);

NODISCARD int relay_push(struct relay *r, enum relay_way way, struct slice bytes);

void relay_open(struct relay *r, struct watch *client, struct watch *target);

void relay_notify(struct relay *r, const struct watch *w, unsigned what);

/* site->toxics have changed: rolls anew, and faults count from now on. Before relay_open, too. */
void relay_change(struct relay *r);

/* Ends both ways with a FIN, and waits a moment for those of the sides. */
void relay_finish(struct relay *r);

/* Whether bytes wait in it. */
bool relay_is_busy(const struct relay *r);

/* Frees what it holds; NULL-safe members: after relay_init in any state. */
void relay_close(struct relay *r);

#endif
