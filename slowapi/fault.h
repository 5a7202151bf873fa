/* SPDX-License-Identifier: MIT */
/* Faults: their kinds, the places where they may strike, how they are spelled, and what they do.
 *
 *   KIND[=ARG][@PLACE][:PERCENT]     rst@head:10   hang=2s@body   fin@50%:5   bandwidth=10k
 *                                    rst@2s        fin@10k        bandwidth=10k@upload
 *
 * A new kind is a name in enum fault_kind, a row of fault_infos, and the function of that row: what
 * it does when its moment has come. Options, queries, rules, /stats, /metrics, logs and docs take
 * it from the row. A new effect needs its cases in conn.c and reply.c, too (docs/hacking.md). */
#ifndef SLOWAPI_FAULT_H
#define SLOWAPI_FAULT_H

#include "base/rng.h"
#include "base/slice.h"
#include "http/encode.h"

enum fault_kind {
    FAULT_RST,
    FAULT_FIN,
    FAULT_TRUNCATE,
    FAULT_HANG,
    FAULT_DRIP,
    FAULT_BANDWIDTH,
    FAULT_SHARED_BANDWIDTH,
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
    FAULT_TLS_EXPIRED,
    FAULT_TLS_SELF_SIGNED,
    FAULT_TLS_WRONG_NAME,
    FAULT_TLS_WRONG_PROTOCOL,
    FAULT_TLS_DELAY,
    FAULT_TLS_HANG,
    FAULT_TLS_RESET,
    FAULT_TLS_CLOSE,
    FAULT_TLS_CUT,
    FAULT_KINDS,
};

/* Bits, so that a kind can say where it may strike. */
enum fault_place {
    FAULT_AT_ACCEPT = 1,  /* the connection, before anything is read */
    FAULT_AT_HEAD = 2,    /* the answer is due, and not a byte is sent */
    FAULT_AT_BODY = 4,    /* the head is sent, the body is not */
    FAULT_AT_PERCENT = 8, /* a share of the body is sent: of its bytes, or of a stream's events */

    FAULT_AT_HELLO = 16,       /* the client's hello has come, and not a byte is sent */
    FAULT_AT_CERTIFICATE = 32, /* the server's hello is sent, its certificate is not */
    FAULT_AT_FINISHED = 64,    /* the client has finished its handshake, nothing more is sent */

    FAULT_AT_BYTES = 128,  /* some bytes of the answer are sent, its head among them */
    FAULT_AT_TIME = 256,   /* some time after the head of the request came */
    FAULT_AT_UPLOAD = 512, /* the body of the request */

    FAULT_AT_HANDSHAKE = FAULT_AT_HELLO | FAULT_AT_CERTIFICATE | FAULT_AT_FINISHED,
    FAULT_AT_CONNECTION = FAULT_AT_ACCEPT | FAULT_AT_HANDSHAKE, /* before any request */
};

/* Moments at which faults are injected, in the order of an answer's life. */
enum fault_moment {
    FAULT_ON_ACCEPT,    /* the connection is accepted; also of any other fault @accept */
    FAULT_ON_HANDSHAKE, /* a place of the handshake; also of any other fault there */
    FAULT_ON_REUSE,     /* the head of a request that is not the first one of its connection */
    FAULT_ON_REQUEST,   /* the head of any request */
    FAULT_BEFORE_HEAD,  /* the answer is due */
    FAULT_IN_HEAD,      /* the head is about to be encoded */
    FAULT_IN_FIELDS,    /* header lines are appended */
    FAULT_AFTER_FIELDS, /* all header lines are there */
    FAULT_AT_STOP,      /* the place of the fault is reached: there the answer stops */
    FAULT_AT_PIECE,     /* the next piece of the body is paced, see reply.c */
    FAULT_IN_PIECE,     /* a piece of the body is made; as often as there are pieces */
};

enum fault_arg { FAULT_NO_ARG, FAULT_SPAN, FAULT_SIZE, FAULT_COUNT, FAULT_DELTA };

struct fault;

enum fault_effect {
    FAULT_GOES_ON,
    FAULT_WAITS,   /* for its argument; below 0: for ever */
    FAULT_CLOSES,  /* FIN, within TLS after close_notify */
    FAULT_BREAKS,  /* FIN, within TLS without close_notify */
    FAULT_CUTS,    /* the same, in the middle of a record */
    FAULT_RESETS,  /* RST */
    FAULT_ANSWERS, /* at once, whatever of the request has not come yet */
    FAULT_PAUSES,  /* no connection is accepted for its argument */
};

/* The things that a fault is given when its moment has come, and that it may change. */
struct injection {
    _Atomic uint64_t *counts; /* faults that struck, by kind; written by one worker */
    enum fault_effect effect;
    struct buf *out;                 /* the answer: bytes may be appended */
    int version_minor;               /* FAULT_BEFORE_HEAD: of the request, HTTP/1.x */
    struct http_response_head *head; /* FAULT_IN_HEAD */
    bool is_chunked;                 /* FAULT_IN_HEAD: the length is not told anyway */
    bool
        is_unframed; /* FAULT_IN_HEAD, set: the head is encoded as it is, the close ends the body */
    char *bytes;     /* FAULT_IN_PIECE */
    size_t size;
    struct rng *rng;
};

struct fault_info {
    struct slice name;
    enum fault_arg arg;
    int64_t arg_default, arg_max; /* ns, bytes, or a number; -1: for ever */
    unsigned places; /* the lowest is the default, but those of connections only without others */
    enum fault_moment moment;
    int (*inject)(struct fault *fault, struct injection *at); /* 0 or -ENOMEM */
    const char *rolls; /* the thing that its probability is rolled for */
    const char *help;
    unsigned chunked_places; /* places where it is seen in chunks only */
    bool ends_connection;    /* no other answer can follow the one that it is in */
    bool waits;              /* for its argument, which --max-delay bounds; below 0: for ever */
    bool needs_tls;
};

extern const struct fault_info fault_infos[FAULT_KINDS];

struct fault {
    uint8_t kind;   /* enum fault_kind */
    bool done;      /* has struck, and is counted */
    uint16_t place; /* enum fault_place */
    union {
        double share; /* share of the body, for FAULT_AT_PERCENT */
        int64_t at;   /* bytes or ns, for FAULT_AT_BYTES and FAULT_AT_TIME */
    };
    double probability;
    int64_t arg;
};

/* 0, or -EINVAL with a static text in *ret_why. */
NODISCARD int fault_parse(struct slice text, struct fault *ret, const char **ret_why);

#define FAULT_TEXT_BYTES 64

/* Spells the fault, without the percent. `text` has FAULT_TEXT_BYTES and is returned. */
const char *fault_format(const struct fault *fault, char *text);

/* The fault strikes: at->effect tells what follows. A fault is counted once. 0 or -ENOMEM. */
NODISCARD int fault_inject(struct fault *fault, struct injection *at);

/* Injects all of that moment which have not struck yet, but those at FAULT_AT_UPLOAD; the last one
 * that does not go on decides at->effect. 0 or -ENOMEM. */
NODISCARD int fault_inject_all(struct fault *faults, size_t count, enum fault_moment moment,
                               struct injection *at);

#endif
