/* SPDX-License-Identifier: MIT */
/* Faults: their kinds, the places where they may strike, and how they are spelled:
 *
 *   KIND[=ARG][@PLACE][:PERCENT]     rst@head:10   hang=2s@body   fin@50%:5   bandwidth=10k
 */
#ifndef SLOWAPI_FAULT_H
#define SLOWAPI_FAULT_H

#include "base/rng.h"
#include "base/slice.h"

enum fault_kind {
    FAULT_RST,
    FAULT_FIN,
    FAULT_TRUNCATE,
    FAULT_HANG,
    FAULT_DRIP,
    FAULT_BANDWIDTH,
    FAULT_BADCHUNK,
    FAULT_GARBAGE,
    FAULT_LENGTH,
    FAULT_NOLENGTH,
    FAULT_HUGEHEADER,
    FAULT_BADHEADER,
    FAULT_INTERIM,
    FAULT_EARLY,
    FAULT_STALE,
    FAULT_CORRUPT,
    FAULT_REFUSE,
    FAULT_SLOWACCEPT,
    FAULT_KINDS,
};

/* Bits, so that a kind can say where it may strike. */
enum fault_place {
    FAULT_AT_ACCEPT = 1,  /* the connection, before anything is read */
    FAULT_AT_HEAD = 2,    /* when the answer is due, before its first byte */
    FAULT_AT_BODY = 4,    /* after the head, before the body */
    FAULT_AT_PERCENT = 8, /* after that share of the body: of its bytes, or of a stream's events */
};

enum fault_arg { FAULT_NO_ARG, FAULT_SPAN, FAULT_SIZE, FAULT_COUNT, FAULT_DELTA };

struct fault_info {
    struct slice name;
    enum fault_arg arg;
    int64_t arg_default, arg_max; /* ns, bytes, or a number; -1: for ever */
    unsigned places;              /* the lowest is the default, unless it is a truncation */
    const char *rolls;            /* what its probability is rolled for */
    const char *help;
};

extern const struct fault_info fault_infos[FAULT_KINDS];

struct fault {
    uint8_t kind;  /* enum fault_kind */
    uint8_t place; /* enum fault_place */
    bool done;     /* has struck, and is counted */
    double share;  /* of the body, for FAULT_AT_PERCENT */
    double probability;
    int64_t arg;
};

/* 0, or -EINVAL with a static text in *ret_why. */
NODISCARD int fault_parse(struct slice text, struct fault *ret, const char **ret_why);

#define FAULT_TEXT_BYTES 64

/* As it is spelled, without the percent. `text` has FAULT_TEXT_BYTES and is returned. */
const char *fault_format(const struct fault *fault, char *text);

/* Whether the answer stops where it strikes: for a while, or for good. */
bool fault_is_stop(enum fault_kind kind);

#endif
