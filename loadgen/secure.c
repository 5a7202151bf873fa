/* SPDX-License-Identifier: MIT */
/* Makes the context of a run from files, and leads connections through tunnel and handshake. */
#include "loadgen/secure.h"
#include "base/alloc.h"
#include "loadgen/input.h"
#include "loadgen/request.h"
#include <errno.h>
#include <stdio.h>

enum {
    PEM_BYTES_MAX = 4 << 20,
    TUNNEL_BYTES_MAX = 8192,
    ANSWER_BYTES_MAX = 65536,
    STEP = 2048,
    BUSY_MAX = 1000 /* connections that may keep their buffers, 34 MB */
};

static const struct http_limits limits = HTTP_LIMITS_RESPONSE;
static const struct http_limits lenient = HTTP_LIMITS_LENIENT(&limits);

/* --- the run ---------------------------------------------------------------------------------- */

static int read_pem(const char *path, struct buf *text, struct tls_pem *ret, struct error *err) {
    buf_init(text, PEM_BYTES_MAX);
    int rc = path != NULL ? input_read(path, text, err) : 0;
    if (rc == 0 && path != NULL)
        *ret = (struct tls_pem){ path, buf_unread(text) };
    return rc;
}

/* As ab, --ab-strict believes every server, unless it is told whom to trust. */
static bool verifies(const struct loadgen_config *c) {
    return !c->insecure && (!c->ab_strict || c->ca_file != NULL);
}

static int make_context(struct secure *s, const struct loadgen_config *c, struct error *err) {
    struct tls_certificate own = { .chain = { .name = NULL } };
    struct tls_pem trust = { .name = NULL };
    struct buf own_text, trust_text;
    int rc = read_pem(c->client_certificate, &own_text, &own.chain, err);
    own.key = own.chain; /* one file has both, as ab's */
    buf_init(&trust_text, PEM_BYTES_MAX);
    if (rc == 0)
        rc = read_pem(c->ca_file, &trust_text, &trust, err);
    const struct tls_config config = {
        .role = TLS_CLIENT,
        .verify = verifies(c) ? TLS_VERIFY_REQUIRED : TLS_VERIFY_NONE,
        .version_min = c->tls_version,
        .version_max = c->tls_version,
        .certificates = &own,
        .certificate_count = c->client_certificate != NULL,
        .trust = trust,
        .ciphers = c->ciphers,
        .alpn = TLS_ALPN_HTTP,
        .keeps_buffers = c->concurrency <= BUSY_MAX,
        .no_resumption = c->tls_resume != LOADGEN_RESUME_ON,
    };
    if (rc == 0)
        s->context = tls_context_new(&config, err);
    buf_free(&own_text);
    buf_free(&trust_text);
    return rc == 0 && s->context == NULL ? -EINVAL : rc;
}

int secure_init(struct secure *s, const struct loadgen_config *c, const struct target *target,
                struct error *err) {
    *s = (struct secure){ .name = target->host,
                          .hides_name = c->hides_name,
                          .resumes = c->tls_resume == LOADGEN_RESUME_ON };
    buf_init(&s->tunnel, TUNNEL_BYTES_MAX);
    if (!target->is_tls)
        return 0;
    int rc = make_context(s, c, err);
    if (rc == 0 && target->through_proxy)
        rc = request_build_tunnel(&s->tunnel, c, target, err);
    return rc;
}

void secure_free(struct secure *s) {
    tls_context_unref(s->context);
    buf_free(&s->tunnel);
    s->context = NULL;
}

/* --- a connection ------------------------------------------------------------------------- */

int secure_open(struct secure_conn **ret, const struct secure *s, struct tls_session *session,
                struct watch *w) {
    *ret = NULL;
    if (s == NULL || s->context == NULL)
        return 0;
    const struct tls_peer peer = { s->name, s->hides_name, s->resumes ? session : NULL };
    struct secure_conn *c = mem_calloc(1, sizeof(*c));
    if (c == NULL || tls_new(s->context, &peer, &c->tls) != 0) {
        mem_free(c);
        watch_close(w);
        return -ENOMEM;
    }
    c->run = s;
    buf_init(&c->in, ANSWER_BYTES_MAX);
    http_conn_init(&c->http, HTTP_CLIENT, &lenient);
    http_conn_sent(&c->http, HTTP_METHOD_CONNECT, false);
    *ret = c;
    return 0;
}

static int refuse(struct secure_conn *c, const char *words) {
    snprintf(c->words, sizeof(c->words), "%s", words);
    return -EPROTO;
}

/* The proxy's answer as far as it has come. The server behind it speaks later. */
static int judge_tunnel(struct secure_conn *c, bool eof) {
    struct http_head head;
    struct http_event ev;
    char status[40];
    do {
        size_t used = http_conn_feed(&c->http, buf_unread(&c->in), eof, &head, &ev);
        buf_consume(&c->in, used);
        if (ev.kind == HTTP_EV_HEAD && head.status / 100 != 2) {
            snprintf(status, sizeof(status), "status %u", head.status);
            return refuse(c, status);
        }
    } while (ev.kind == HTTP_EV_INTERIM || ev.kind == HTTP_EV_HEAD);
    if (ev.kind == HTTP_EV_MORE)
        return -EAGAIN;
    if (ev.kind == HTTP_EV_BAD)
        return refuse(c, ev.why);
    return ev.kind == HTTP_EV_END ? 0 : refuse(c, "closed before an answer");
}

static int make_tunnel(struct secure_conn *c, struct watch *w) {
    struct slice left = slice_drop(buf_unread(&c->run->tunnel), c->sent);
    while (left.len > 0) {
        ssize_t n = watch_send(w, left.ptr, left.len);
        if (n < 0)
            return (int)n;
        c->sent += (size_t)n;
        left = slice_drop(left, (size_t)n);
    }
    for (;;) {
        int rc = buf_reserve(&c->in, STEP);
        ssize_t n = rc == 0 ? watch_recv(w, buf_tail(&c->in), buf_room(&c->in)) : rc;
        if (n < 0)
            return (int)n;
        buf_added(&c->in, (size_t)n);
        rc = judge_tunnel(c, n == 0);
        if (rc != -EAGAIN)
            return rc;
    }
}

int secure_step(struct secure_conn *c, struct watch *w) {
    bool has_tunnel = buf_unread(&c->run->tunnel).len > 0;
    int rc = has_tunnel && !c->is_shaking ? make_tunnel(c, w) : 0;
    if (rc != 0)
        return rc;
    if (!c->is_shaking) {
        c->is_shaking = true;
        buf_free(&c->in);
        watch_secure(w, c->tls);
    }
    return watch_handshake(w);
}

bool secure_is_dialed(const struct secure_conn *c) {
    return c->sent > 0 || c->tls->wire.said;
}

enum failure secure_failure(const struct secure_conn *c) {
    switch ((enum tls_state)c->tls->state) {
    case TLS_HANDSHAKING:
        return c->words[0] != '\0' ? FAILURE_PROXY : FAILURE_RESET;
    case TLS_FAILED_VERIFY:
        return FAILURE_TLS_VERIFY;
    case TLS_FAILED_CLOSED:
        return FAILURE_TLS_CLOSED;
    case TLS_FAILED_OPEN:
        return FAILURE_TLS_ERROR;
    case TLS_TRUNCATED:
        return FAILURE_TLS_TRUNCATED;
    case TLS_FAILED_HANDSHAKE:
    case TLS_FAILED_WIRE:
    case TLS_OPEN:
        break;
    }
    return FAILURE_TLS_HANDSHAKE;
}

const char *secure_words(const struct secure_conn *c) {
    return c->words[0] != '\0' ? c->words : tls_reason(c->tls);
}

void secure_leave(struct secure_conn **c, struct watch *w) {
    struct secure_conn *gone = *c;
    *c = NULL;
    if (gone != NULL && !(w->ready & IO_HANGUP))
        tls_shutdown(gone->tls);
    watch_close(w);
    if (gone == NULL)
        return;
    tls_free(gone->tls);
    buf_free(&gone->in);
    mem_free(gone);
}
