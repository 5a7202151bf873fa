/* SPDX-License-Identifier: MIT */
/* Toxics: what is done to the connections of a proxy on purpose, and how it is spelled.
 *
 *   latency=50ms&bandwidth=10k@up&slice=1-100,5ms&fault=rst@down=64k:10,hang@time=5s
 *
 * A toxic of bytes ends in @up (from the client to the target), @down (from the target to the
 * client, the default) or @both. A fault is KIND[=ARG][@PLACE][:PERCENT], as those of requests are
 * (slowapi/fault.h), with places of its own. */
#ifndef RELAY_TOXICS_H
#define RELAY_TOXICS_H

#include "base/dist.h"
#include "base/error.h"
#include <stdio.h>

#define RELAY_FAULTS_MAX  8
#define RELAY_BUFFER_MAX  (UINT64_C(1) << 30)
#define RELAY_ITEMS_MAX   64   /* values of a law that is a list */
#define RELAY_TOXICS_TEXT 2048 /* the longest spelling, with its NUL */
#define RELAY_NAME_BYTES  128  /* the longest name of a proxy, with its NUL */

enum relay_way { RELAY_UP, RELAY_DOWN, RELAY_WAYS };

enum relay_fault_kind {
    RELAY_RST,
    RELAY_RST_UP,
    RELAY_RST_DOWN,
    RELAY_FIN,
    RELAY_FIN_UP,
    RELAY_FIN_DOWN,
    RELAY_HANG,
    RELAY_HANG_UP,
    RELAY_HANG_DOWN,
    RELAY_REFUSE,
    RELAY_FAULT_KINDS,
};

enum relay_place {
    RELAY_AT_ACCEPT, /* before the target is connected to */
    RELAY_AT_TIME,   /* a time after the accept */
    RELAY_AT_UP,     /* a number of bytes has been passed to the target */
    RELAY_AT_DOWN,   /* bytes to the client, else as above */
};

struct relay_fault {
    uint8_t kind;  /* enum relay_fault_kind */
    uint8_t place; /* enum relay_place */
    double probability;
    nsec_t span; /* span of a hang; below 0: for ever */
    int64_t at;  /* nanoseconds or bytes */
};

/* Toxics of the bytes of one way. */
struct relay_stream {
    bool has_latency, delays_close, keeps_close; /* the last: its end is never passed on */
    struct dist latency, close_delay;
    struct mix_item latencies[RELAY_ITEMS_MAX], close_delays[RELAY_ITEMS_MAX]; /* of the laws */
    nsec_t jitter;
    uint64_t bandwidth, shared;    /* bytes a second of a connection, and of all; 0: any */
    uint32_t slice_min, slice_max; /* bytes; 0: not sliced */
    nsec_t slice_pause;
    double corrupt; /* share of the bytes */
};

/* Laws point into it: it stays where it was parsed. */
struct relay_toxics {
    struct relay_stream ways[RELAY_WAYS];
    struct relay_fault faults[RELAY_FAULTS_MAX];
    uint8_t fault_count;
    bool enabled; /* false: nobody listens */
    bool delays_connect;
    struct dist connect_delay;
    struct mix_item connect_delays[RELAY_ITEMS_MAX]; /* of the law */
    nsec_t connect_timeout;
    int64_t connections; /* the most at a time; 0: any */
    uint64_t buffer;     /* bytes of a way that are held at most */
    double toxicity;     /* share of the connections to which `ways` is done */
    char name[RELAY_NAME_BYTES];
};

struct relay_fault_info {
    struct slice name;
    bool takes_span;
    const char *help;
};

extern const struct relay_fault_info relay_fault_infos[RELAY_FAULT_KINDS];

/* Parses a text shorter than RELAY_TOXICS_TEXT; of a parameter that is repeated for one way the
 * last counts. 0, or -EINVAL with a line that names the parameter, the value and what is allowed.
 */
NODISCARD int relay_toxics_parse(struct slice text, struct relay_toxics *ret, struct error *why);

/* Lays `change` over `text`, both as above: a parameter of `change` replaces that of `text` for its
 * ways, and one without a value removes it. `ret` has RELAY_TOXICS_TEXT. 0, or -EINVAL with a
 * reason, which a value that is not allowed is not. */
NODISCARD int relay_toxics_change(struct slice text, struct slice change, char *ret,
                                  struct error *why);

#define RELAY_FAULT_TEXT 96

/* Spells a fault without its percent. `text` has RELAY_FAULT_TEXT and is returned. */
const char *relay_fault_format(const struct relay_fault *fault, char *text);

/* One line "KIND|NAME|VALUE|HELP" per row, for the docs. */
void relay_toxics_print_rows(FILE *out);

#endif
