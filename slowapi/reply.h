/* SPDX-License-Identifier: MIT */
/* An answer that is more than the plain one: made step by step, with its faults in it.
 *
 *   reply_step -> bytes in `out`, and what to do when they are written:
 *       NEXT   step again          WAIT  step again at `until`       HANG  nothing, for ever
 *       KEEP   it is complete      FIN   close                       RST   reset
 *       WS     the same, and a WebSocket follows      AWAIT  step again when the source has news
 */
#ifndef SLOWAPI_REPLY_H
#define SLOWAPI_REPLY_H

#include "base/error.h"
#include "http/conn.h"
#include "slowapi/content.h"
#include "slowapi/spec.h"
#include <jansson.h>

struct kept_request;
struct reply_rest;
struct shared;
struct websocket;
struct slow_exchange;
/* clang-format off */
enum reply_act { REPLY_NEXT, REPLY_WAIT, REPLY_AWAIT, REPLY_HANG, REPLY_KEEP, REPLY_WS, REPLY_FIN,
                 REPLY_RST };
/* clang-format on */

struct reply_step {
    enum reply_act act;
    bool breaks, cuts; /* FIN: without close_notify; the same, in the middle of a record */
    nsec_t until;      /* WAIT; of the others 0 */
};

enum reply_phase { REPLY_HEAD, REPLY_BODY, REPLY_END };
struct reply {
    struct arena memory; /* of lists that the request was asked with */
    uint16_t status;
    uint8_t phase, coding, fault_count, method; /* enum reply_phase, http_coding of the path, ... */
    bool close, is_bodyless, is_chunked, shows_truth;
    bool is_chosen, is_template; /* the body is of the parameters; `chosen` may have placeholders */
    bool has_status_fields;      /* `fields` has what the status asks for */
    bool paces_upload;           /* the request's body is read no faster than a fault says */
    int file;                    /* owned: the chosen body, or -1 */
    struct fault faults[SPEC_FAULTS_MAX]; /* faults that were rolled for this request */
    struct rng rng;
    uint64_t seed, journal; /* number in the journal; 0: none */
    struct body body;
    uint64_t sent, planned; /* units; planned: of the next piece, 0 when it is not planned yet */
    nsec_t due;             /* time of the next piece, counted from when the one before was due */
    uint64_t owed_bytes;    /* bytes of the last event, which the bandwidth has not paid for */
    uint64_t body_bytes;    /* made, without the framing of chunks */
    nsec_t delay, queued, begun_at;
    nsec_t cut_at; /* a fault ends the connection then; NSEC_NEVER: none does */
    uint64_t wire; /* bytes of the answer that were made, its head and frames among them */
    struct reply_rest *rest; /* owned: bytes behind the place of a hang; or NULL */
    nsec_t upload_at;        /* links have carried the request's body so far */
    struct shared *shared;   /* for `carry` */
    uint64_t link;           /* a hash of those who share bandwidths */
    nsec_t (*carry)(struct shared *shared, uint64_t key, uint64_t rate, uint64_t bytes,
                    nsec_t from); /* link_carry, where bandwidths are shared */
    nsec_t making;                /* time that the body of a kept request takes, beside the delay */
    nsec_t late;                  /* by how much the answer began, once it has */
    char *text;                   /* owned: what body.text points to, or NULL */
    char *fields;                 /* owned: header lines with their CRLF, or NULL */
    char *custom; /* owned: lines of header=, instead of any others of their names, or NULL */
    uint32_t path, path_age;    /* the path's number among those that are counted; see paths.h */
    char *rule, *target;        /* owned: the name of the rule that matched; for the log; or NULL */
    char *chosen;               /* owned: the chosen body until it is made, or NULL */
    uint64_t chosen_size, held; /* bytes of the text or file; of the text that the planner counts */
    const char *type;           /* chosen; NULL: as the body says */
    char *own_type;             /* owned: what `type` points to, or NULL */
    char *trailers;             /* owned: header lines behind a body in chunks, or NULL */
    char *cors;                 /* owned: header lines that stay whatever is answered, or NULL */
    struct websocket *socket;   /* owned: what a 101 opens, or NULL */
    struct kept_request *kept;  /* NULL, or the request: plan_free frees it */
    struct slow_exchange *exchange; /* with the service behind, until account_end; or NULL */
    char *reason;                   /* owned: the phrase of the status, or NULL */
    bool forwards;                  /* the service behind is asked */
    bool awaits;                    /* the answer waits for news of the exchange */
    bool has_date;                  /* `fields` has one */
    bool switches;                  /* the body is of another protocol, and lasts to the close */
};

/* NULL when out of memory. */
NODISCARD struct reply *reply_new(uint16_t status);
void reply_free(struct reply *reply); /* NULL-safe */

/* Takes over faults that were rolled, instead of those that it has. */
void reply_take_faults(struct reply *reply, const struct fault *faults, uint8_t count);

/* A status that was rolled or asked for stays. */
static inline void reply_set_status(struct reply *reply, uint16_t status) {
    if (reply->status == 200)
        reply->status = status;
}

/* The kinds of faults that struck, as bits. */
uint64_t reply_struck(const struct reply *reply);

/* Makes `text`, which is taken over (NULL: none), the body, of whatever type. */
void reply_set_text(struct reply *reply, char *text, size_t size);

/* The following return 0 or -ENOMEM. */

/* A line of text as the answer, instead of whatever was prepared, faults too; header= stays. */
NODISCARD int reply_replace(struct reply *reply, uint16_t status, const char *text);

/* A copy of `text` as the body, of that static type. */
NODISCARD int reply_set_copy(struct reply *reply, const char *type, struct slice text);

/* JSON as the body. Drops the reference; NULL is what is left when memory was short. */
NODISCARD int reply_set_json(struct reply *reply, json_t *json);

/* Adds one header line; -EINVAL with a reason when the value cannot be one. */
NODISCARD int reply_add_field(struct reply *reply, const char *name, struct slice value,
                              struct error *why);

/* Adds header lines, each with its CRLF. */
NODISCARD int reply_add_fields(struct reply *reply, const char *more);

/* Adds header lines that replace others of their names, and does as they say: close closes, chunked
 * comes in chunks. `lines` is changed. */
NODISCARD int reply_add_custom(struct reply *reply, char *lines, size_t size);

/* Appends `count` units of the body from `from` on, or fewer. How many; -EIO: its file has become
 * shorter; or as buf_reserve. */
NODISCARD int64_t reply_append_units(const struct reply *reply, uint64_t from, uint64_t count,
                                     struct buf *out);

#define UUID_TEXT_BYTES 37
/* Rolls a random UUID (RFC 9562 section 5.4). Returns `text`. */
const char *reply_uuid(struct reply *reply, char text[static UUID_TEXT_BYTES]);

/* Cuts the body into pieces that come at the pace of all its faults, spans and intervals. To be
 * called once, when the faults are rolled and the body is complete. */
void reply_set_pace(struct reply *reply);

/* `counts` of faults that struck, as struct injection has them; `last`: the connection is not to be
 * kept anyway. 0, or -errno (no memory): close. */
NODISCARD int reply_step(struct reply *reply, struct http_conn *conn, _Atomic uint64_t *counts,
                         bool last, struct buf *out, struct reply_step *ret);

/* Lets the fault strike that ends the connection at reply->cut_at: what to do is in *ret. */
void reply_cut(struct reply *reply, _Atomic uint64_t *counts, struct reply_step *ret);

/* The following are for replies with paces_upload. */

/* Bytes of the request's body that are to be read at a time. */
size_t reply_upload_portion(struct reply *reply);

/* Tells of bytes of the request's body that were read, or, when 0, that the client had none: time
 * that it takes is not made up for. reply->upload_at is when the next may be read. */
void reply_upload(struct reply *reply, _Atomic uint64_t *counts, size_t bytes);

/* Appends a plain answer to `out`: a line of text/plain, without a line end when it is a 200.
 * `close`: the last one on this connection. Errors as buf_reserve. */
NODISCARD int reply_plain(struct http_conn *conn, uint16_t status, struct slice text, bool close,
                          struct buf *out);

#endif
