/* SPDX-License-Identifier: MIT */
/* The wishes of the user. Filled in by the command line, constant afterwards. */
#ifndef LOADGEN_CONFIG_H
#define LOADGEN_CONFIG_H

#include "base/clock.h"
#include "base/option.h"
#include "loadgen/expect.h"
#include "loadgen/look.h"
#include "loadgen/server_config.h"
#include "loadgen/shape.h"
#include "loadgen/shard.h"
#include "loadgen/start.h"
#include "loadgen/values.h"
#include <stdbool.h>

#define LOADGEN_CONCURRENCY_OPEN 500                 /* the default with a rate and without -c */
#define LOADGEN_BODY_BYTES_MAX   (256 * 1024 * 1024) /* a body is kept in memory */
#define LOADGEN_WORKERS_MAX      256

struct loadgen_config {
    const char *url;
    int64_t requests;    /* 0: not given; then one per connection, or no limit with a time limit */
    int64_t concurrency; /* connections at once */
    int64_t workers;     /* threads; 0 counts as 1 */
    nsec_t time_limit;   /* 0: none */
    bool time_is_ours;   /* nobody has given a limit: it is told */
    nsec_t timeout;      /* for one request, connecting included */
    double rate;         /* requests per second of the open model; 0: none */
    enum loadgen_arrivals arrivals;
    struct load_shape stages;
    struct load_burst burst;
    bool no_catch_up;       /* open model: what nobody is free for is dropped at its time */
    const char *think_text; /* a law of base/dist.h; NULL: connections do not pause */
    struct dist think;
    struct arena laws;               /* memory of `think` */
    int64_t seed;                    /* for random arrivals */
    nsec_t warmup;                   /* requests that begin earlier are not counted */
    nsec_t drain;                    /* span after the time limit in which answers are waited for */
    nsec_t ramp;                     /* between the starts of two connections */
    int64_t requests_per_connection; /* 0: as many as the server likes */
    bool keep_alive, http10;
    bool ignore_errors;   /* -r: go on after a socket error */
    bool variable_length; /* -l: bodies may differ in length, under ab_strict too */
    bool strict;          /* refuse what only a lenient client would accept */
    bool ab_strict;       /* one connection until the first response, HTTP/1.0, ab's lines only */

    uint64_t window_bytes;         /* socket buffers; 0: the system's */
    const char *sources;           /* a list that loadgen_parse_sources takes */
    struct option_strings resolve; /* HOST:PORT:ADDRESS[,...], checked */
    bool ipv4, ipv6;               /* only that family; not both */
    const char *proxy, *proxy_credentials, *unix_path;

    const char *ca_file, *client_certificate; /* PEM; the latter with its key */
    const char *ciphers;
    enum tls_version tls_version;
    enum loadgen_resume tls_resume;
    bool insecure, hides_name; /* believe every certificate; send no SNI */

    bool head; /* -i */
    const char *method, *post_file, *put_file, *body_text, *content_type, *credentials;
    struct option_strings headers, cookies;

    const char *requests_file; /* NULL: one request, the options' */
    enum loadgen_order requests_order;
    bool templates;     /* double braces are replaced, request by request */
    const char *replay; /* an access log */
    double replay_speed;
    const char *replay_methods; /* "GET,HEAD" */

    struct option_strings form; /* -F */
    int64_t follow;             /* redirects of one request; 0: none */
    enum loadgen_cookies cookie_policy;
    const char *body_stream; /* a file that is sent in pieces; NULL: none */
    bool chunked, expect_continue;
    bool compressed; /* ask for coded bodies, and decode them */
    struct expect_status expect_status;
    const char *expect_body; /* NULL: any */

    enum loadgen_stream stream;
    nsec_t stall;           /* a longer gap between two events is a stall */
    const char *stream_end; /* the marker that each stream must end with; NULL: none must */

    struct thresholds fail_if, abort_if;
    struct thresholds find_max; /* upper bounds; none: one run */
    nsec_t find_time;           /* for the whole search */
    enum loadgen_find_by find_by;
    const char *at_least; /* a rate or number that must be found; NULL: any will do */

    int64_t rounds;                        /* runs of each URL; 0: a single one */
    struct option_strings server_commands; /* none or two: each starts a server at the URL */
    const char *compare_path;              /* the JSON of older runs */
    const char *metric;                    /* the one that decides; NULL: all */
    double tolerance;                      /* the share by which it may be worse */

    struct load_start start;
    struct load_shard shard;
    struct server_config server;

    nsec_t merge_skew; /* the longest between the starts of merged runs */
    bool merge_anyway; /* add reports up that are not of one load */
    bool quiet, no_banner, no_percentiles, no_confidence, progress;
    bool html;
    const char *html_table, *html_row, *html_cell; /* attributes; each of them turns html on */
    struct loadgen_percentiles percentiles;
    int64_t verbosity;

    /* "-" is stdout; NULL: none */
    bool json_line; /* the JSON is one line */
    const char *json_path, *csv_path, *ndjson_path, *percentiles_path, *gnuplot_path,
        *spectrum_path;
    struct load_look look;
};

/* Checks options that depend on each other. 0 or -EINVAL with a line that names them. */
NODISCARD int loadgen_config_check(const struct loadgen_config *c, struct error *err);

/* The long name of an option that was given and is about a single run; or NULL. */
const char *loadgen_config_single(const struct loadgen_config *c);

/* The number of requests that may be started, or UINT64_MAX. */
uint64_t loadgen_config_budget(const struct loadgen_config *c);

/* Whether the run counts aloud on stderr: as in ab, from 150 requests on and not with -q. */
bool loadgen_config_shows_progress(const struct loadgen_config *c);

/* Whether requests have planned times, answered or not. */
static inline bool loadgen_config_is_open(const struct loadgen_config *c) {
    return c->rate > 0 || c->burst.count > 0 || c->replay != NULL ||
           (c->stages.count > 0 && !c->stages.is_of_connections);
}

/* Whether the number of connections changes by stages. */
bool loadgen_config_varies_connections(const struct loadgen_config *c);

/* Whether requests have a body. */
static inline bool loadgen_config_has_body(const struct loadgen_config *c) {
    return c->post_file != NULL || c->put_file != NULL || c->body_text != NULL ||
           c->form.count > 0 || c->body_stream != NULL;
}

/* Whether a record of every request is wanted. */
bool loadgen_config_keeps_samples(const struct loadgen_config *c);

/* Whether one of the outputs goes to stdout, so that the text report must not. */
bool loadgen_config_takes_stdout(const struct loadgen_config *c);

/* Makes the load of `c` the part that its shard does; once, when all else is set. 0, or -EINVAL
 * when nothing is left for it. */
NODISCARD int loadgen_config_take_shard(struct loadgen_config *c, struct error *err);

static inline uint32_t loadgen_config_workers(const struct loadgen_config *c) {
    return c->workers > 0 ? (uint32_t)c->workers : 1;
}

/* Counts what --fail-if and --abort-if call errors: failures, and, unless --expect-status says
 * which statuses are right, answers that are not 2xx. */
uint64_t loadgen_config_errors(const struct loadgen_config *c, uint64_t failed, uint64_t unwelcome);

#endif
