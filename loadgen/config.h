/* SPDX-License-Identifier: MIT */
/* What the user asked for. Filled in by the command line, constant afterwards. */
#ifndef LOADGEN_CONFIG_H
#define LOADGEN_CONFIG_H

#include "base/clock.h"
#include "base/option.h"
#include <stdbool.h>

#define LOADGEN_CONCURRENCY_MAX 200000
#define LOADGEN_BODY_BYTES_MAX  (256 * 1024 * 1024) /* a body is kept in memory */

struct loadgen_config {
    const char *url;
    int64_t requests;    /* 0: not given; then 1, or no limit when there is a time limit */
    int64_t concurrency; /* connections at once */
    nsec_t time_limit;   /* 0: none */
    nsec_t timeout;      /* of one request, connecting included */
    bool keep_alive, http10;
    bool ignore_errors;   /* -r: go on after a socket error */
    bool variable_length; /* -l: bodies may differ in length */

    bool head; /* -i */
    const char *method, *post_file, *put_file, *content_type, *credentials;
    struct option_strings headers, cookies;

    bool quiet, no_percentiles, no_confidence;
    int64_t verbosity;
    const char *json_path; /* "-" is stdout; NULL: none */
};

/* What the rows of the option table cannot check one by one. 0 or -EINVAL with a line that names
 * the options. */
NODISCARD int loadgen_config_check(const struct loadgen_config *c, struct error *err);

/* How many requests may be started: the count, or UINT64_MAX. */
uint64_t loadgen_config_budget(const struct loadgen_config *c);

/* Whether the run counts aloud on stderr: as in ab, from 150 requests on and not with -q. */
bool loadgen_config_shows_progress(const struct loadgen_config *c);

#endif
