/* SPDX-License-Identifier: MIT */
/* Values of options that only bench has, and their parsers. */
#ifndef LOADGEN_VALUES_H
#define LOADGEN_VALUES_H

#include "base/dist.h"
#include "loadgen/shape.h"
#include "net/address.h"
#include "net/tls_context.h"

#define LOADGEN_CONCURRENCY_MAX 200000
#define LOADGEN_SOURCES_MAX     32
#define LOADGEN_PERCENTILES_MAX 16
#define LOADGEN_BURST_MAX       1000000 /* requests at once */

#define USERS_LOCATION_BYTES 1500 /* room for a target that a redirect leads to */

#define LOADGEN_STREAM_END "[DONE]" /* the marker that is known without being asked for */

/* The least -v level that shows it, as in ab. */
enum { VERBOSE_HEADS = 2, VERBOSE_STATUS = 3, VERBOSE_MAX = 4 };

enum {
    LOADGEN_EXIT_NO_SUCCESS = 3, /* connected, but not one request succeeded */
    LOADGEN_EXIT_THRESHOLD = 4,  /* a condition of --fail-if or --abort-if came true */
    LOADGEN_EXIT_SIGNAL = 128,   /* plus the signal's number */
};

enum loadgen_arrivals { LOADGEN_ARRIVALS_EVEN, LOADGEN_ARRIVALS_POISSON };

/* The format of answers whose events are counted; AUTO: as their Content-Type says. */
enum loadgen_stream { STREAM_OFF, STREAM_SSE, STREAM_JSON_LINES, STREAM_AUTO };

/* The load that --find-max finds. */
enum loadgen_find_by { LOADGEN_FIND_RATE, LOADGEN_FIND_CONNECTIONS };

enum loadgen_cookies { LOADGEN_COOKIES_OFF, LOADGEN_COOKIES_KEEP };

enum loadgen_resume { LOADGEN_RESUME_OFF, LOADGEN_RESUME_ON };

enum loadgen_order {
    LOADGEN_ORDER_AUTO, /* weighted when a line has a weight, in order otherwise */
    LOADGEN_ORDER_IN_ORDER,
    LOADGEN_ORDER_WEIGHTED,
    LOADGEN_ORDER_RANDOM,
};

/* Requests that come at once, again and again. */
struct load_burst {
    uint32_t count; /* 0: none */
    nsec_t every;
};

struct loadgen_sources {
    struct address addresses[LOADGEN_SOURCES_MAX];
    size_t count;
};

struct loadgen_percentiles {
    double values[LOADGEN_PERCENTILES_MAX]; /* 0 to 100 */
    size_t count;
};

/* Parsers of option values, in the form of option_row.parse's text and error. `500`, `0.5`, `30/s`,
 * `90/m` per second; "99,99.9"; "TLS1.2"; "127.0.0.2,127.0.0.3". 0 or -EINVAL with what is
 * allowed. */
NODISCARD int loadgen_parse_rate(const char *text, double *ret, struct error *err);
NODISCARD int loadgen_parse_stages(const char *text, struct load_shape *ret, struct error *err);
NODISCARD int loadgen_parse_burst(const char *text, struct load_burst *ret, struct error *err);
NODISCARD int loadgen_parse_think(const char *text, struct arena *memory, struct dist *ret,
                                  struct error *err);
NODISCARD int loadgen_parse_speed(const char *text, double *ret, struct error *err);
NODISCARD int loadgen_parse_methods(const char *text, const char **ret, struct error *err);
NODISCARD int loadgen_parse_percentiles(const char *text, struct loadgen_percentiles *ret,
                                        struct error *err);
NODISCARD int loadgen_parse_tls_version(const char *text, enum tls_version *ret, struct error *err);
NODISCARD int loadgen_parse_sources(const char *text, struct loadgen_sources *ret,
                                    struct error *err);

#endif
