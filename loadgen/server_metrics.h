/* SPDX-License-Identifier: MIT */
/* What servers counted during a run: their counters before and after it, from the text format of
 * Prometheus. Gauges and buckets are left out, and series of one name are added up over labels. */
#ifndef LOADGEN_SERVER_METRICS_H
#define LOADGEN_SERVER_METRICS_H

#include "base/error.h"
#include "base/slice.h"

enum {
    SERVER_METRICS_MAX = 256, /* names of one server that are kept */
    SERVER_METRICS_SOURCES_MAX = 64,
    SERVER_METRICS_NAME_BYTES = 96,
    SERVER_METRICS_URL_BYTES = 256,
    SERVER_METRICS_ERROR_BYTES = 160,
};

/* A counter, or the _sum or _count of a histogram or summary. One that is not there yet is 0. */
struct server_counter {
    char name[SERVER_METRICS_NAME_BYTES];
    double before, after;
};

struct server_source {
    char url[SERVER_METRICS_URL_BYTES];
    char error[SERVER_METRICS_ERROR_BYTES]; /* why it was not read after the run; "": it was */
    struct server_counter *counters;        /* in the order of the text */
    size_t count;
    uint64_t further, malformed; /* names beyond the limit, and lines, of the last text */
};

struct server_metrics {
    struct server_source *sources; /* the first one is the target's */
    size_t count;
};

/* NULL when out of memory. */
NODISCARD struct server_metrics *server_metrics_new(void);
void server_metrics_free(struct server_metrics *m); /* NULL-safe */

/* The source of that URL, made if there is none. NULL without memory, or beyond the limit. */
NODISCARD struct server_source *server_metrics_source(struct server_metrics *m, const char *url);

/* The counter of that name, made if there is none. NULL beyond the limit, and for no name. */
NODISCARD struct server_counter *server_source_counter(struct server_source *s, struct slice name);

/* Takes the text from before or after the run, for the last time or again. `patterns`, separated by
 * commas and as fnmatch(3) has them, choose the names; NULL: all. */
enum server_moment { SERVER_BEFORE, SERVER_AFTER };
void server_source_read(struct server_source *s, struct slice text, const char *patterns,
                        enum server_moment moment);

/* How much a counter has grown; false when it is not there, or fell: its server began anew. */
bool server_source_growth(const struct server_source *s, const char *name, double *ret);

/* The counter of a source's requests, by the names that servers have for it, and its growth; NULL:
 * it has none that we know. */
const char *server_source_requests(const struct server_source *s, double *ret_growth);

#endif
