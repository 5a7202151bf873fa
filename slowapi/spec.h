/* SPDX-License-Identifier: MIT */
/* The values of all parameters; slowapi/param.h is how they are spelled. */
#ifndef SLOWAPI_SPEC_H
#define SLOWAPI_SPEC_H

#include "base/clock.h"
#include "base/dist.h"
#include "slowapi/fault.h"

#define SPEC_FAULTS_MAX   8
#define SPEC_SEQ_MAX      32
#define SPEC_FIELDS_BYTES 512

/* Stands still for the last `span` of each period, counted from the start of the server: it begins
 * healthy. */
struct pause {
    nsec_t every, span; /* 0: none */
    nsec_t delay;       /* added within it, when above 0 */
    uint16_t status; /* answered within it, when not 0; else what falls into it waits for its end */
};

/* Tells how long the pause that `at` (since the start) falls into still lasts; 0 outside. */
static inline nsec_t pause_left(const struct pause *pause, nsec_t at) {
    nsec_t into = pause->span > 0 ? at % pause->every : 0;

    return pause->span > 0 && into >= pause->every - pause->span ? pause->every - into : 0;
}

/* For the first `span` after the start delays are longer: `factor` times at first, then less and
 * less. */
struct warmup {
    nsec_t span; /* 0: none */
    double factor;
};

static inline double warmup_factor(const struct warmup *warmup, nsec_t at) {
    if (at >= warmup->span)
        return 1;
    return 1 + (warmup->factor - 1) * (1 - (double)at / (double)warmup->span);
}

struct spec_text {    /* lives where its layer lives */
    struct slice raw; /* ptr NULL: not given */
    bool is_encoded;  /* percent-encoded, as in a query */
};

/* The values of all parameters. Layers fill one in turn: the server's defaults, those of the
 * listening address, a rule, the query, the X-Slowapi header. */
struct spec {
    struct dist delay;
    bool has_delay; /* asked for by a layer; else it is --delay, which only `/` takes */
    bool has_seed, has_key, has_body_size;
    bool of_request; /* asked for by a request or a rule, which cannot reach the accept any more */
    uint64_t given;  /* a bit for each row of param.c that the layer at hand has named */
    uint64_t seed;
    double close_share;
    struct mix status, size;

    struct fault faults[SPEC_FAULTS_MAX];
    uint8_t fault_count;

    struct arena *memory; /* of lists of values; of the layers so far, or of the request */

    uint8_t seq_count;
    uint16_t seq[SPEC_SEQ_MAX];
    int64_t first, every;
    uint64_t key;

    int64_t workers, queue; /* workers 0: no queue model */
    struct dist service;
    uint16_t full;                        /* answered when the queue is */
    int64_t limit;                        /* requests in a window; 0: any */
    nsec_t limit_span;                    /* span of a window */
    double linear;                        /* ns per request in flight */
    double collapse_knee, collapse_power; /* knee 0: none */

    struct pause pause;
    struct warmup warmup;

    int64_t count; /* events of a stream; -1: not given, as below */
    nsec_t duration, interval;
    double jitter;                          /* share of the interval */
    int64_t numbytes, chunk_size, tpm, rpm; /* tpm and rpm: budgets of a minute; 0: none */
    double failure_rate;
    struct dist ttft, gap,
        tokens; /* laws of a model's answer; `tokens` is one of dist_parse_counts */
    struct spec_text body, body_file, type;
    struct spec_text key_template; /* made into `key` when the request is known; ptr NULL: none */
    struct spec_text said;         /* value of the row that is parsed at the moment */
    uint8_t encoding;              /* enum http_coding, when has_encoding and not is_auto_encoded */
    bool has_encoding, is_auto_encoded, has_template, is_template;

    uint16_t fields_len, fields_base; /* lines before fields_base are of earlier layers */
    char fields[SPEC_FIELDS_BYTES];   /* header lines with their CRLF */
};

/* Lists that are parsed into it will stand in `memory`. */
void spec_init(struct spec *spec, nsec_t delay, struct arena *memory);

static inline bool spec_chooses_body(const struct spec *spec) {
    return spec->body.raw.ptr != NULL || spec->body_file.raw.ptr != NULL;
}

/* Decodes the text; mem_free. NULL when out of memory, or with *ret_bad: an escape is none. */
NODISCARD char *spec_text_dup(const struct spec_text *text, bool *ret_bad);

/* Removes the lines of that name (case-blind) from `size` bytes of header lines, each with its
 * CRLF. How many bytes are left. */
size_t spec_drop_lines(char *lines, size_t size, struct slice name);

/* Adds a header line, instead of those of that name that earlier layers gave. 0, or -ENOSPC. */
NODISCARD int spec_add_line(struct spec *spec, struct slice name, struct slice value);

#endif
