/* SPDX-License-Identifier: MIT */
/* What comes before the first request of a connection to https: a proxy's tunnel, if there is a
 * proxy, and the TLS handshake. */
#ifndef LOADGEN_SECURE_H
#define LOADGEN_SECURE_H

#include "base/buf.h"
#include "http/conn.h"
#include "loadgen/answers.h"
#include "loadgen/config.h"
#include "loadgen/target.h"
#include "net/watch.h"

/* The part of all connections of a run. Without TLS all zero. */
struct secure {
    struct tls_context *context; /* NULL: without TLS */
    const char *name;            /* the server's */
    bool hides_name, resumes;
    struct buf tunnel; /* the request for a tunnel; empty: there is no proxy */
};

/* Reads the files of certificates and prepares the request for a tunnel. 0, or -errno with the
 * reason: -EINVAL for values that do not fit. secure_free in any case. */
NODISCARD int secure_init(struct secure *s, const struct loadgen_config *c,
                          const struct target *target, struct error *err);
void secure_free(struct secure *s);

/* One connection on its way. */
struct secure_conn {
    const struct secure *run;
    struct tls *tls;
    struct http_conn http;           /* with the proxy */
    struct buf in;                   /* its answer */
    size_t sent;                     /* bytes of the request for a tunnel */
    bool is_shaking;                 /* the tunnel stands, or there is none */
    char words[ANSWERS_WORDS_BYTES]; /* why the proxy refused; "": it did not */
};

/* Begins on a watch that is being connected; `session` is the worker's. *ret is NULL when the run
 * is without TLS. 0, or -ENOMEM with the watch closed. */
NODISCARD int secure_open(struct secure_conn **ret, const struct secure *s,
                          struct tls_session *session, struct watch *w);

/* Goes on. 0 when requests can be sent, -EAGAIN, or -errno: secure_failure says more. */
NODISCARD int secure_step(struct secure_conn *c, struct watch *w);

/* Whether it is connected, since bytes have been taken. */
bool secure_is_dialed(const struct secure_conn *c);

/* The reason of a connection that failed on the way, and its words. */
enum failure secure_failure(const struct secure_conn *c);
const char *secure_words(const struct secure_conn *c);

/* Says goodbye, where somebody listens, and closes the watch, but not its descriptor. With NULL in
 * *c only the latter. */
void secure_leave(struct secure_conn **c, struct watch *w);

#endif
