/* SPDX-License-Identifier: MIT */
/* The counters of a run. Each worker has its own; they are merged for the report. Memory does not
 * grow with the requests, unless their records are kept. */
#ifndef LOADGEN_COUNTERS_H
#define LOADGEN_COUNTERS_H

#include "base/clock.h"
#include "base/hist.h"
#include "http/head.h"
#include "loadgen/outcome.h"
#include "loadgen/server_times.h"

#define COUNTERS_LATE_USEC 1000

/* The distributions of a run, in microseconds. */
enum counters_time {
    TIME_TOTAL, /* sum of NEW and REUSED, complete after counters_settle; with what was dropped */
    TIME_PROCESSING, /* total less connect; complete after counters_settle */
    TIME_CONNECT,
    TIME_TLS, /* a part of connect; empty without TLS */
    TIME_WAIT,
    TIME_SEND,
    TIME_RECEIVE,
    TIME_QUEUE,
    TIME_HOP,       /* with --follow: each hop of a request, the last one among them */
    TIME_RAW,       /* open model: total from the real start */
    TIME_NEW,       /* total of requests that opened their connection */
    TIME_REUSED,    /* total of the others */
    TIME_DISTURBED, /* total of requests that saw a pause of the generator */
    TIME_NEW_PROCESSING,
    TIME_COUNT,
};

/* Pauses of a generator: times in which its loop did not run, or was busy in one turn. */
struct pauses {
    uint64_t count;
    nsec_t total, longest;
    nsec_t longest_at;  /* monotonic, its beginning */
    nsec_t longest_cpu; /* the thread's within it: little when it was stopped */
};

/* The counts that rows of the series tell: since the last row, or of the whole run. */
struct counters_part {
    uint64_t ended, failed, unwelcome, non_2xx, planned, late;
    struct hist *latency, *timed_out; /* times of answers; ages of requests that timed out */
};

struct server_metrics;
struct stages;
struct names;
struct streams;

struct counters {
    uint64_t succeeded; /* complete responses of any status */
    uint64_t failed[FAILURE_COUNT];
    uint64_t non_2xx;     /* among the complete ones */
    uint64_t unwelcome;   /* succeeded, but not 2xx */
    uint64_t kept_alive;  /* complete ones whose connection stayed open */
    uint64_t connections; /* established */
    uint64_t reconnects;  /* idle connections that the server closed; no request was lost */
    uint64_t bytes_received, body_bytes, bytes_sent;
    int connect_errno; /* the last one of a FAILURE_CONNECT; 0: none */

    uint64_t in_flight; /* neither answered nor failed when the run was stopped */
    nsec_t in_flight_age_max;

    /* Open model: requests whose planned time came, those of them that were begun more than
     * COUNTERS_LATE_USEC after it, and those that were never begun. `starved` of the last two were
     * so though a connection was free, or because the generator paused. */
    uint64_t planned, late, dropped, starved;
    uint64_t busy_max; /* open model: the most connections that had a request at once */

    nsec_t first_start, last_end; /* NSEC_NEVER and 0 when there was none */
    struct pauses pauses;

    /* `ended` holds complete responses of any status and length. `ages` holds how far a request had
     * come that timed out, was in flight when the run ended, or was never begun: its time is longer
     * than that, and how much longer is not known (a censored observation). A phase that was over
     * by then is in `ended`. In the open model totals count from the planned start. */
    struct hist *ended[TIME_COUNT], *ages[TIME_COUNT];
    uint64_t instant_sends, instant_receives,
        instant_queues; /* zeros, recorded by counters_settle */

    char server_software[33]; /* the first response's, up to a control character or space */
    uint64_t document_bytes;  /* body of the first 2xx response, or of the first one of all */
    bool has_document;
    bool document_is_error; /* the first 2xx response takes its place */

    struct server_times *server_times;     /* where the time went; NULL: not asked for */
    struct server_metrics *server_metrics; /* as servers count; of the first worker, or NULL */

    struct counters_part part; /* counted since it was taken last */
    struct samples samples;
    bool keeps_samples;
    struct stages *stages;   /* owned; NULL: the load has none */
    struct streams *streams; /* owned; NULL: answers are no streams */
    struct names
        *names; /* loadgen/names.h; NULL: no request has one. Whoever made them frees them */
};

extern const struct failure_info failure_infos[FAILURE_COUNT];

/* 0 or -ENOMEM. */
NODISCARD int counters_init(struct counters *t);
void counters_free(struct counters *t);

NODISCARD int counters_part_init(struct counters_part *p);
void counters_part_free(struct counters_part *p);

/* Adds all of `from`, which is empty then. */
void counters_part_move(struct counters_part *to, struct counters_part *from);

/* Begins a request, with its planned start in the open model, where it is late when it begins more
 * than COUNTERS_LATE_USEC after that. Returns the number of its record for counters_end. */
size_t counters_begin(struct counters *t, nsec_t start, bool is_planned, bool is_late);

/* Remembers what ab prints about the server. Only the first call matters. */
void counters_server(struct counters *t, const struct http_head *head);

/* Whether a body has the length that is asked for. `exact`, for --ab-strict without -l: that of the
 * first one, even if that was an error; otherwise any. Remembers the document's length. */
bool counters_fits_document(struct counters *t, uint16_t status, uint64_t body_bytes, bool exact);

/* Ends a request at `now`. `outcome` is OUTCOME_* or an enum failure; `status` is 0 without a
 * response; `timing` says how far the request came. */
void counters_end(struct counters *t, size_t sample, int outcome, uint16_t status,
                  uint64_t body_bytes, const struct timing *timing, nsec_t now);

/* Forgets what was counted, but not what is known of the server; the start becomes `now`. */
void counters_restart(struct counters *t, nsec_t now);

/* Adds all of `from`, and takes its records. Of "first" things the earlier starter's count. */
void counters_merge(struct counters *to, struct counters *from);

/* Workers that pause together do so once: count and total become those of the one that paused
 * longer. */
void counters_merge_pauses(struct pauses *to, const struct pauses *from);

/* Completes TIME_TOTAL and TIME_PROCESSING; once, when nothing more will be recorded or merged. */
void counters_settle(struct counters *t);

/* Sorts the records by start; or by total time, as ab does. Equal ones keep their order. */
void counters_sort_samples(struct samples *s, bool by_total);

/* A count per second; 0 without a span. */
static inline double counters_rate(uint64_t count, nsec_t span) {
    return span > 0 ? (double)count * (double)NSEC_PER_SEC / (double)span : 0;
}

uint64_t counters_failures(const struct counters *t);
uint64_t counters_column(const struct counters *t, enum failure_column column);

/* Requests that came to an end, good or bad: ab's "Complete requests". */
static inline uint64_t counters_ended(const struct counters *t) {
    return t->succeeded + counters_failures(t);
}

#endif
