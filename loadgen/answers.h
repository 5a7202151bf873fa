/* SPDX-License-Identifier: MIT */
/* The responses of a run apart from their times: statuses, lengths, faults, and which address gave
 * them. */
#ifndef LOADGEN_ANSWERS_H
#define LOADGEN_ANSWERS_H

#include "fiber/resolve.h"
#include "http/head.h"
#include "loadgen/outcome.h"
#include "net/tls.h"

enum {
    ANSWERS_STATUSES = 1000,   /* three digits */
    ANSWERS_REASONS = 8,       /* kinds of malformed responses; further ones count as the last */
    ANSWERS_REASON_BYTES = 64, /* any text of http/error.h */
    ANSWERS_WORDS_BYTES = 96,  /* the reason why a connection failed */
    ANSWERS_FIRST_BYTES = 400, /* kept of the first malformed response */
};

/* The names of a kind of leniency, in JSON and for people. */
struct answers_lenience {
    const char *key, *text;
};
extern const struct answers_lenience answers_leniences[HTTP_LENIENCE_COUNT];

struct answers_address {
    uint64_t connections, responses;
    int left_out; /* the errno for which it is not tried any more; 0: it is */
};

/* The agreements with servers: of the first handshake, and counts of all. */
struct answers_tls {
    uint64_t handshakes, resumed;
    char protocol[160];    /* as ab spells it: version,cipher,bits of the key,bits of the cipher */
    char temp_key[64];     /* "X25519 253 bits"; "" when there was none */
    char server_name[256]; /* told to the server; "": none was */
    /* by enum failure, of failure_has_words: the first one's; "" when there was none */
    char reasons[FAILURE_COUNT][ANSWERS_WORDS_BYTES];
};

/* Content codings, those of enum http_coding first. */
enum answers_coding {
    ANSWERS_CODING_IDENTITY,
    ANSWERS_CODING_GZIP,
    ANSWERS_CODING_DEFLATE,
    ANSWERS_CODING_BR,
    ANSWERS_CODING_OTHER, /* not decoded */
    ANSWERS_CODINGS,
};
extern const char *const answers_coding_names[ANSWERS_CODINGS];

/* Bodies that may have been coded. */
struct answers_codings {
    bool asked; /* for coded ones */
    uint64_t responses[ANSWERS_CODINGS];
    uint64_t coded_bytes, decoded_bytes; /* the bytes received, and those they became */
    nsec_t spent;                        /* on decoding */
};

/* Users who remember: redirects and cookies. */
struct answers_users {
    bool follows, keeps_cookies;
    uint64_t hops;      /* redirects that were followed */
    uint64_t elsewhere; /* redirects that were not: they led to another origin */
    uint64_t cookies_kept, cookies_refused;
};

struct answers_reason {
    char text[ANSWERS_REASON_BYTES];
    uint64_t count;
};

/* All zero: none yet. One per worker; too large for a stack. */
struct answers {
    uint64_t statuses[ANSWERS_STATUSES];
    uint64_t shortest, longest; /* bodies of 2xx responses; 0 when there were none */

    uint64_t lenient; /* responses that only a lenient client takes */
    uint64_t leniences[HTTP_LENIENCE_COUNT];
    uint64_t overrun; /* followed by bytes that nobody asked for, which ended their connection */

    struct answers_reason reasons[ANSWERS_REASONS];
    char first[ANSWERS_FIRST_BYTES]; /* the beginning of the first malformed response */
    size_t first_len;

    struct answers_address addresses[RESOLVE_MAX]; /* in the order of the target's */
    struct answers_tls tls;
    struct answers_codings codings;
    struct answers_users users;
};

/* Notes the length of a body whose status was counted. */
void answers_add_length(struct answers *a, uint64_t body_bytes);
void answers_add_lenient(struct answers *a, unsigned noted);

/* A complete response. `noted`: bits of enum http_lenience. */
static inline void answers_add(struct answers *a, uint16_t status, uint64_t body_bytes,
                               unsigned noted) {
    a->statuses[status]++;
    if (UNLIKELY(body_bytes < a->shortest || body_bytes > a->longest) && status / 100 == 2)
        answers_add_length(a, body_bytes);
    if (UNLIKELY(noted != 0))
        answers_add_lenient(a, noted);
}

/* A malformed response: why, and its bytes as far as they are at hand. */
void answers_add_malformed(struct answers *a, const char *why, struct slice bytes);

/* A handshake is complete. */
void answers_add_handshake(struct answers *a, const struct tls *tls);

/* A connection failed for a reason with words of its own (failure_has_words). */
void answers_add_words(struct answers *a, enum failure reason, const char *words);

/* Adds all of `from`. */
void answers_merge(struct answers *to, const struct answers *from);

/* Forgets what was counted, but not which addresses are connected. */
void answers_restart(struct answers *a);

/* Responses of any status from `first` to `last`. */
uint64_t answers_count(const struct answers *a, int first, int last);

#endif
