/* SPDX-License-Identifier: MIT */
/* One way of a relayed connection: bytes are taken from one socket, may wait, and are given to
 * another.
 *
 *   from ----> take: corrupt, due at ----> [piece] [piece] ----> give: pace, slice ----> to
 *              latency                     due     due           up to `stop_at`
 *
 * While nothing is done to them, bytes go from a shared buffer straight to the other socket, and
 * only those that it does not take at once are held. The end of a way, FIN or RST, waits as the
 * bytes before it do. */
#ifndef RELAY_LANE_H
#define RELAY_LANE_H

#include "base/bucket.h"
#include "net/watch.h"
#include "relay/counts.h"

/* Bounds of what is taken at once, and so held without a latency: of a way as it comes, and of one
 * whose receiver has taken whole pieces at once. Large pieces cost a third less. */
#define RELAY_TAKE_BYTES 65536
#define RELAY_BULK_BYTES (4 * RELAY_TAKE_BYTES)

/* Pieces of one way that are held at most: a sender of single bytes must not cost a megabyte's
 * worth of them. */
#define RELAY_PIECES_MAX 8192

#define RELAY_NO_STOP UINT64_MAX

/* The end of the bytes. */
enum relay_lane_end {
    LANE_OPEN,
    LANE_FIN,  /* the source has closed its side; to be passed on when it is due */
    LANE_RST,  /* the source is broken; the same */
    LANE_OVER, /* the end has been passed on, or never will be */
};

/* Results of relay_lane_run. */
enum relay_lane_news {
    LANE_WAITS,  /* for its sockets, or for its timer */
    LANE_TIRED,  /* has more to do, but others are to have their turn */
    LANE_STOPS,  /* `stop_at` is reached, and there is more */
    LANE_BROKE,  /* the reset of the source is due */
    LANE_LOST,   /* the other socket takes nothing any more */
    LANE_FAILED, /* out of memory */
};

struct relay_piece;

struct relay_lane {
    struct relay_piece *first, **last; /* pieces held, in their order */
    size_t held;                       /* bytes of these */
    uint32_t pieces;
    uint8_t end;        /* enum relay_lane_end */
    bool is_plain;      /* nothing is done to its bytes */
    bool is_bulk;       /* the last piece was as large as it might be, and was given at once */
    bool is_toxic;      /* `stream` is done to it */
    bool stop_waits;    /* `stop_at` is reached when one more byte is there */
    bool is_blocked;    /* bytes may wait in the source, which nobody reads for want of room */
    bool swallows;      /* takes and throws away, for ever */
    bool is_shut;       /* passed an end on that the source has not sent */
    nsec_t hangs_until; /* the end of a hang that has one */
    nsec_t due;         /* time of the last piece, or of the end */
    nsec_t opens_at;    /* gives nothing before: a hang, a pause, a bandwidth */
    uint64_t taken, given, dropped; /* bytes so far */
    uint64_t stop_at;               /* count of `given`; RELAY_NO_STOP: none */
    uint32_t slice_left, pace_left; /* bytes that may be given without another look */
    nsec_t pace_from;               /* end of the last portion, while bytes wait; else 0 */
    struct bucket pace;             /* bandwidth of this lane alone */
    struct timer timer;             /* the next time at which it can go on */
};

/* Tools of the lanes of one worker and one proxy. */
struct relay_lane_tools {
    struct loop *loop;
    const struct relay_stream *stream; /* toxics of the way */
    struct bucket *shared;             /* bandwidth of all lanes of the way */
    struct rng *rng;
    size_t buffer; /* bytes that are held at most */
    char *room;    /* RELAY_BULK_BYTES, used within one call */
    struct relay_counts *counts;
};

/* `fired` is called when the lane should be run again. */
void relay_lane_init(struct relay_lane *lane, void (*fired)(struct timer *));
void relay_lane_close(struct relay_lane *lane, struct loop *loop);

/* Takes over what `tools->stream` says now, or nothing when the lane is not toxic: what is held is
 * due no later than it would be if it came now. */
void relay_lane_change(struct relay_lane *lane, const struct relay_lane_tools *tools);

/* Adds bytes that somebody else has read from the source. 0 or -ENOMEM. */
NODISCARD int relay_lane_push(struct relay_lane *lane, struct slice bytes);

/* Takes and gives what can be now. */
NODISCARD enum relay_lane_news relay_lane_run(struct relay_lane *lane, struct watch *from,
                                              struct watch *to,
                                              const struct relay_lane_tools *tools);

/* Stops when so many bytes have been given, or (`waits`) when one more could be; RELAY_NO_STOP:
 * never. */
void relay_lane_stop_at(struct relay_lane *lane, uint64_t at, bool waits,
                        const struct relay_lane_tools *tools);

/* Gives nothing for that long; below 0: never again, and throws away what comes. */
void relay_lane_hang(struct relay_lane *lane, nsec_t span, nsec_t now);

/* Passes an end on at once, and throws away all else. */
void relay_lane_finish(struct relay_lane *lane, struct watch *to);

/* Whether bytes wait in it, or its end does. */
static inline bool relay_lane_is_busy(const struct relay_lane *lane) {
    return lane->held > 0 || lane->end == LANE_FIN || lane->end == LANE_RST;
}

#endif
