/* SPDX-License-Identifier: MIT */
/* Answers that are streams of events: when each event came, and how the streams ended (--stream).
 *
 *   streams_begin(all, &s, head, ...)     the head of an answer
 *   streams_take(all, &s, data, now)      a piece of its body
 *   streams_end, or streams_break         the answer is complete; or nothing more will come
 *
 * All that is read before the connection has to be waited for has come at one time, as far as
 * anybody can tell: events of one such turn have no gaps that could be measured. They are counted
 * as unseen, and are no zeros among the gaps. */
#ifndef LOADGEN_STREAMS_H
#define LOADGEN_STREAMS_H

#include "base/clock.h"
#include "base/hist.h"
#include "http/event_stream.h"
#include "http/head.h"

/* The wishes of the user; constant. */
struct stream_wishes {
    bool is_auto;             /* the Content-Type names the format, or that it is no stream */
    enum event_format format; /* that of all 2xx answers, unless is_auto */
    bool decodes;             /* bodies come decoded, of any coding that http/coding.h knows */
    bool needs_end;           /* a stream without the end marker has failed */
    struct slice end;         /* the marker; empty: none is known */
    nsec_t stall;             /* a longer gap is a stall */
};

/* The stream of one connection. */
struct stream {
    struct event_stream parser;
    nsec_t planned;           /* the request's */
    nsec_t turn_at;           /* time of the first read of this turn; 0: there was none */
    nsec_t first_at, last_at; /* the first event and the last; meaningful when there was one */
    uint64_t events;
    bool is_open;    /* there is one, and it counts */
    bool is_crowded; /* several events in this turn */
    bool has_end, has_stalled;
};

struct streams {
    struct stream_wishes wishes;
    char *words;       /* owned, and pointed into by wishes.end; or NULL: they are not */
    uint64_t begun;    /* is complete + broken + in_flight at the end */
    uint64_t complete; /* by HTTP; with_end of them had the end marker */
    uint64_t with_end;
    uint64_t cut; /* complete, but within an event */
    uint64_t broken, in_flight;
    uint64_t others; /* answers that were no streams */

    uint64_t events, bytes;
    uint64_t crowded, unseen; /* turns with several events; events behind the first of them */
    uint64_t stalls, stalled; /* gaps; streams that had some */

    /* Microseconds, those of `ages` censored: the event has not come in that time. */
    struct hist *first, *first_ages, *gaps, *gap_ages;
    /* Complete streams: their events; and events in 1000 s, from the first to the last. */
    struct hist *counts, *rates;
};

/* NULL when out of memory. The text of the end marker must stay. */
NODISCARD struct streams *streams_new(const struct stream_wishes *wishes);
void streams_free(struct streams *all); /* NULL-safe */

/* Forgets what was counted. */
void streams_reset(struct streams *all);

/* Adds all of `from`. */
void streams_merge(struct streams *to, const struct streams *from);

/* The head of an answer has come to a request that was planned then. `counts`: it is no warm-up. */
void streams_begin(struct streams *all, struct stream *s, const struct http_head *head,
                   nsec_t planned, bool counts);

/* A turn of reading begins: whatever comes in it has come at its time. */
static inline void streams_turn(struct stream *s) {
    s->turn_at = 0;
}

/* A piece of the body was read at `now`. */
void streams_take(struct streams *all, struct stream *s, struct slice piece, nsec_t now);

/* The answer is complete. Whether it is as wished: false when the end marker is missing. */
bool streams_end(struct streams *all, struct stream *s, nsec_t now);

/* Nothing more will come. `waits`: an event was still waited for, as after a time-out; a first one
 * also where the answer has no head yet. `in_flight`: the run has ended. */
void streams_break(struct streams *all, struct stream *s, nsec_t planned, bool waits,
                   bool in_flight, nsec_t now);

/* A request was never begun, though its user has waited since then. */
void streams_miss(struct streams *all, nsec_t planned, nsec_t now);

#endif
