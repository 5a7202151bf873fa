/* SPDX-License-Identifier: MIT */
/* Connections to the service behind --upstream, and one exchange at a time on each:
 *
 *   [DIALLING -> [SHAKING ->]] OPEN: the request goes out, the head of the answer comes in, and
 *   pull() takes the body -> OVER, well or not
 *
 * A failure is never told within a call of the owner's, but by notify from the loop, so that no
 * owner is surprised in the middle of its work. Whoever calls tell() must not touch the exchange
 * afterwards. */
#include "slowapi/upstream.h"
#include "base/alloc.h"
#include "http/url.h"
#include "net/idle_pool.h"
#include "net/socket.h"
#include "slowapi/limits.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define HEAD_BYTES (SLOWAPI_RECV_BYTES * 2) /* room for the next read of a head */

/* A connection. */
struct slow_link {
    struct watch watch; /* once it is open */
    struct tls *tls;    /* NULL: without */
    struct slow_upstream *u;
    struct slow_exchange *x; /* NULL: idle */
    struct dialler dial;
    struct idle idle;
    struct deferred freeing;
    uint32_t uses;
    bool is_open;
};

struct slow_upstream {
    struct slow_upstream_options options;
    struct loop *loop;
    struct http_url url;
    struct endpoint endpoint;
    struct gateway_route route;
    struct http_limits limits, usual;
    struct idle_pool idle;      /* holds links */
    struct tls_session session; /* the next connection goes on with it */
    char name[256], host[300], origin[320];
    char in[SLOWAPI_RECV_BYTES]; /* heads are read into it first */
};

static void on_link(struct watch *watch, unsigned what);
static void dial(struct slow_exchange *x);
static void step(struct slow_exchange *x);

/* --- connections ------------------------------------------------------------------------------ */

static void free_link(struct deferred *work) {
    struct slow_link *link = CONTAINER_OF(work, struct slow_link, freeing);

    tls_free(link->tls);
    mem_free(link);
}

/* Closes at once; the memory stays until the turn ends, for this may run in its own callback. */
static void close_link(struct slow_link *link) {
    dial_cancel(&link->dial);
    if (link->is_open) {
        if (link->tls != NULL)
            tls_shutdown(link->tls);
        watch_close(&link->watch);
        close(link->watch.fd);
    }
    link->is_open = false;
    link->freeing.run = free_link;
    loop_defer(link->u->loop, &link->freeing);
}

static void close_idle(struct idle_pool *pool UNUSED, struct idle *idle) {
    close_link(CONTAINER_OF(idle, struct slow_link, idle));
}

static bool idle_is_quiet(struct idle *idle) {
    return idle_watch_is_quiet(&CONTAINER_OF(idle, struct slow_link, idle)->watch);
}

/* --- the clock -------------------------------------------------------------------------------- */

/* A deadline that moves away is only noted: the timer finds out when it fires. */
static void expect_within(struct slow_exchange *x, nsec_t span) {
    struct loop *loop = x->upstream->loop;

    x->deadline = span > 0 ? deadline_after(loop_now(loop), span) : NSEC_NEVER;
    if (x->deadline == NSEC_NEVER || (timer_armed(&x->timer) && x->timer.at <= x->deadline))
        return;
    if (timer_set(loop, &x->timer, x->deadline) < 0)
        x->deadline = NSEC_NEVER; /* a client that leaves ends it, too */
}

static bool is_drained(const struct slow_exchange *x) {
    return buf_unread(&x->out).len == x->tried;
}

/* The upstream is to take what there is, then to answer. A client that is slow to send is none of
 * its business. */
static void expect_next(struct slow_exchange *x) {
    const struct slow_upstream_options *options = &x->upstream->options;

    if (x->state != EXCHANGE_OPEN || x->has_head)
        return;
    expect_within(x, !is_drained(x) ? options->idle_timeout
                     : x->is_sent   ? options->answer_timeout
                                    : 0);
}

/* --- failures --------------------------------------------------------------------------------- */

static void tell(struct slow_exchange *x) {
    if (x->is_beginning)
        loop_defer(x->upstream->loop, &x->telling);
    else
        x->notify(x);
}

static void tell_later(struct deferred *work) {
    struct slow_exchange *x = CONTAINER_OF(work, struct slow_exchange, telling);

    if (x->state == EXCHANGE_OPEN && !x->has_head)
        step(x);
    else
        tell(x);
}

static void leave_link(struct slow_exchange *x) {
    if (x->link != NULL)
        close_link(x->link);
    x->link = NULL;
}

/* Ends the exchange, and says why; the owner is not told. The first failure stays. */
static void note_failure(struct slow_exchange *x, enum slow_exchange_failure failure,
                         const char *what, const char *why) {
    if (x->state == EXCHANGE_OVER)
        return;
    x->state = EXCHANGE_OVER;
    x->failure = (uint8_t)failure;
    error_set(&x->why, 0, "%s%s%s", what, why[0] != '\0' ? ": " : "", why);
    leave_link(x);
}

static void fail_later(struct slow_exchange *x, enum slow_exchange_failure failure,
                       const char *what, const char *why) {
    note_failure(x, failure, what, why);
    loop_defer(x->upstream->loop, &x->telling);
}

/* A call on its connection failed; 0 is the end of it. */
static void note_broken(struct slow_exchange *x, ssize_t rc) {
    const struct tls *tls = x->link != NULL ? x->link->tls : NULL;
    const char *reason = tls != NULL ? tls_reason(tls) : "";

    if (rc == 0)
        note_failure(x, EXCHANGE_CLOSED, "the upstream closed the connection", "");
    else if (rc == -ENOMEM || rc == -ENOBUFS)
        note_failure(x, EXCHANGE_MEMORY, "out of memory", "");
    else
        note_failure(x, EXCHANGE_CLOSED, "the connection to the upstream broke",
                     reason[0] != '\0' ? reason : strerrordesc_np((int)-rc));
}

/* The server's time-out of an idle connection raced with us: another one is tried, if the request
 * may be sent twice (RFC 9112 section 9.3.1). */
static bool retries(struct slow_exchange *x) {
    if (!x->may_retry || !x->was_reused || x->got_bytes || x->was_retried)
        return false;
    x->was_retried = true;
    x->was_reused = false;
    x->is_deaf = false;
    x->tried = 0;
    leave_link(x);
    dial(x);
    return true;
}

static void on_late(struct timer *timer) {
    struct slow_exchange *x = CONTAINER_OF(timer, struct slow_exchange, timer);
    struct loop *loop = x->upstream->loop;

    if (loop_now(loop) < x->deadline) {
        if (x->deadline != NSEC_NEVER && timer_set(loop, timer, x->deadline) < 0)
            x->deadline = NSEC_NEVER;
        return;
    }
    note_failure(x, EXCHANGE_LATE,
                 x->state != EXCHANGE_OPEN ? "the upstream was not reached in time"
                 : x->has_head             ? "the upstream stopped in the middle of its answer"
                 : x->is_sent              ? "the upstream did not answer in time"
                                           : "the upstream did not take the request in time",
                 "");
    tell(x);
}

/* --- connecting ------------------------------------------------------------------------------- */

/* Methods that do the same once and twice (RFC 9110 section 9.2.2). */
static bool is_idempotent(enum http_method method) {
    return method == HTTP_METHOD_GET || method == HTTP_METHOD_HEAD ||
           method == HTTP_METHOD_OPTIONS || method == HTTP_METHOD_TRACE ||
           method == HTTP_METHOD_PUT || method == HTTP_METHOD_DELETE;
}

/* The connection stands, and a request goes over it. */
static void ask(struct slow_exchange *x) {
    x->state = EXCHANGE_OPEN;
    http_conn_init(&x->http, HTTP_CLIENT, &x->upstream->limits);
    http_conn_sent(&x->http, x->method, false);
    if (x->asks_upgrade)
        http_conn_asks_upgrade(&x->http);
    expect_next(x);
}

static void step_shaking(struct slow_exchange *x) {
    int rc = watch_handshake(&x->link->watch);

    if (rc == -EAGAIN)
        return;
    if (rc == 0) {
        ask(x);
        step(x);
        return;
    }
    const char *why = tls_reason(x->link->tls);
    note_failure(x, EXCHANGE_UNREACHABLE, "the TLS handshake with the upstream failed",
                 why[0] != '\0' ? why : strerrordesc_np(-rc));
    tell(x);
}

static int open_link(struct slow_link *link, int fd) {
    struct slow_upstream *u = link->u;
    const struct tls_peer peer = { .name = u->name, .session = &u->session };
    int rc = watch_open(&link->watch, u->loop, fd, on_link);

    if (rc < 0) {
        close(fd);
        return rc;
    }
    link->is_open = true;
    watch_drained(&link->watch, IO_READ); /* nothing is there before the request */
    if (u->options.tls == NULL)
        return 0;
    rc = tls_new(u->options.tls, &peer, &link->tls);
    if (rc == 0)
        watch_secure(&link->watch, link->tls);
    return rc;
}

static void on_dialled(struct dialler *d, int fd) {
    struct slow_link *link = CONTAINER_OF(d, struct slow_link, dial);
    struct slow_exchange *x = link->x;
    int rc = fd < 0 ? fd : open_link(link, fd);

    if (rc < 0) {
        fail_later(x, rc == -ETIMEDOUT ? EXCHANGE_LATE : EXCHANGE_UNREACHABLE,
                   "the upstream cannot be reached",
                   d->why.text[0] != '\0' ? d->why.text : strerrordesc_np(-rc));
        return;
    }
    x->state = link->tls != NULL ? EXCHANGE_SHAKING : EXCHANGE_OPEN;
    if (link->tls == NULL)
        ask(x);
    step(x);
}

static void dial(struct slow_exchange *x) {
    struct slow_upstream *u = x->upstream;
    struct slow_link *link = mem_calloc(1, sizeof(*link));

    if (link == NULL) {
        fail_later(x, EXCHANGE_MEMORY, "out of memory", "");
        return;
    }
    link->u = u;
    link->x = x;
    link->dial.done = on_dialled;
    x->dials++;
    x->link = link;
    x->state = EXCHANGE_DIALLING;
    expect_within(x, u->options.connect_timeout);
    dial_begin(&link->dial, u->loop, &u->endpoint, NSEC_NEVER);
}

/* --- the request ------------------------------------------------------------------------------ */

/* Bytes that may have to be sent twice stay until the answer begins. */
static void sent(struct slow_exchange *x, size_t size) {
    x->sent_bytes += size;
    x->tried += size;
    if (x->may_retry)
        return;
    buf_consume(&x->out, x->tried);
    x->tried = 0;
}

/* The client of a tunnel sends no more. */
static void shut(struct slow_exchange *x) {
    if (x->link->tls != NULL)
        tls_shutdown(x->link->tls);
    else
        shutdown(x->link->watch.fd, SHUT_WR);
    x->is_deaf = true;
}

/* A service that does not take the request may have said why: what it said is still read. */
static void send_more(struct slow_exchange *x) {
    struct slice rest = slice_drop(buf_unread(&x->out), x->tried);

    if (rest.len == 0 && x->is_tunnel && x->is_sent && !x->is_deaf)
        shut(x);
    if (rest.len == 0 || x->is_deaf)
        return;
    ssize_t n = watch_send(&x->link->watch, rest.ptr, rest.len);
    if (n == -EAGAIN)
        return;
    if (n < 0) {
        x->is_deaf = true;
        loop_defer(x->upstream->loop, &x->telling);
        return;
    }
    sent(x, (size_t)n);
    expect_next(x);
}

bool slow_exchange_has_room(const struct slow_exchange *x) {
    return x->is_deaf || buf_unread(&x->out).len - x->tried < SLOWAPI_FORWARD_BYTES;
}

int slow_exchange_write(struct slow_exchange *x, struct slice data) {
    if (x->state == EXCHANGE_OVER || x->is_deaf || data.len == 0)
        return 0;
    return x->is_chunked && !x->is_tunnel ? http_encode_chunk(&x->out, data)
                                          : buf_append(&x->out, data);
}

int slow_exchange_end(struct slow_exchange *x, struct slice trailers) {
    int rc = 0;

    x->is_sent = true;
    expect_next(x);
    if (x->state == EXCHANGE_OVER || x->is_deaf || !x->is_chunked || x->is_tunnel)
        return 0;
    rc = buf_append(&x->out, SLICE("0\r\n"));
    if (rc == 0)
        rc = buf_append(&x->out, trailers);
    return rc == 0 ? buf_append(&x->out, SLICE("\r\n")) : rc;
}

void slow_exchange_flush(struct slow_exchange *x) {
    if (x->state == EXCHANGE_OPEN)
        send_more(x);
}

/* --- the head of the answer ------------------------------------------------------------------- */

static int keep_interim(struct slow_exchange *x, const struct http_head *head) {
    int rc = buf_printf(&x->interims, "HTTP/1.1 %u %.*s\r\n", head->status, (int)head->reason.len,
                        head->reason.ptr);
    if (rc == 0)
        rc = gateway_fields(&x->interims, head, &x->upstream->route);
    if (rc == 0)
        rc = buf_append(&x->interims, SLICE("\r\n"));
    if (rc == -ENOBUFS)
        note_failure(x, EXCHANGE_MALFORMED, "the upstream's interim answers are too long", "");
    return rc;
}

static int take_final(struct slow_exchange *x, const struct http_head *head) {
    x->has_head = true;
    x->head_at = clock_now();
    x->is_tunnel = head->status == 101;
    x->is_sent = x->is_sent && !x->is_tunnel; /* the client has more to say */
    x->may_retry = false;
    buf_consume(&x->out, x->tried);
    x->tried = 0;
    x->deadline = NSEC_NEVER;
    return x->take_head(x, head);
}

/* Feeds the codec until the final head is taken. Bytes of `input` that it used, or -errno. */
static ssize_t feed_head(struct slow_exchange *x, struct slice input) {
    struct http_head head;
    struct http_event ev;
    size_t used = 0;
    int rc = 0;

    while (!x->has_head && rc == 0) {
        used += http_conn_feed(&x->http, slice_drop(input, used), false, &head, &ev);
        if (ev.kind == HTTP_EV_MORE)
            return (ssize_t)used;
        if (ev.kind == HTTP_EV_INTERIM)
            rc = keep_interim(x, &head);
        else if (ev.kind == HTTP_EV_HEAD)
            rc = take_final(x, &head);
        else {
            note_failure(x, EXCHANGE_MALFORMED, "the upstream answered badly", ev.why);
            return -EPROTO;
        }
    }
    return rc < 0 ? rc : (ssize_t)used;
}

/* Reads until the head is there. 0; -EAGAIN; -errno: the exchange is over; 1: another connection is
 * tried, and the exchange may be gone. */
static int read_head(struct slow_exchange *x) {
    struct slow_upstream *u = x->upstream;
    struct slice input;

    while (!x->has_head) {
        ssize_t n =
            watch_recv_behind(&x->link->watch, &x->in, HEAD_BYTES, u->in, sizeof(u->in), &input);
        if (n == -EAGAIN)
            return -EAGAIN;
        if (n <= 0 && retries(x))
            return 1;
        if (n <= 0) {
            note_broken(x, n);
            return -ECONNRESET;
        }
        x->got_bytes = true;
        x->received_bytes += (uint64_t)n;
        ssize_t used = feed_head(x, input);
        int rc = used < 0 ? (int)used : buf_keep(&x->in, input, (size_t)used);
        if (rc < 0) {
            note_broken(x, rc);
            return rc;
        }
    }
    return 0;
}

/* --- the body of the answer ------------------------------------------------------------------- */

static void complete(struct slow_exchange *x, bool is_clean) {
    x->state = EXCHANGE_OVER;
    x->is_unclean = !is_clean;
}

/* Decodes bytes that lie in `room`, in place: nothing is taken apart that was not read before it is
 * written over. Bytes of the body, 0 when more is needed or the end has come, or -errno. */
static ssize_t decode(struct slow_exchange *x, char *room, struct slice input, bool eof,
                      size_t *ret_used) {
    struct http_head head;
    struct http_event ev;
    size_t used = 0, made = 0;

    for (;;) {
        used += http_conn_feed(&x->http, slice_drop(input, used), eof, &head, &ev);
        *ret_used = used;
        if (ev.kind == HTTP_EV_DATA) {
            memmove(room + made, ev.data.ptr, ev.data.len);
            made += ev.data.len;
            continue;
        }
        if (ev.kind == HTTP_EV_END)
            complete(x, used == input.len);
        else if (ev.kind != HTTP_EV_MORE)
            note_failure(x, eof ? EXCHANGE_CLOSED : EXCHANGE_MALFORMED,
                         eof ? "the upstream closed the connection in the middle of its answer"
                             : "the upstream answered badly",
                         eof || ev.why == NULL ? "" : ev.why);
        return (ssize_t)made;
    }
}

/* Takes what came with the head. */
static ssize_t pull_kept(struct slow_exchange *x, struct buf *out, size_t size) {
    struct slice input = slice_take(buf_unread(&x->in), size);
    bool is_all = input.len == buf_unread(&x->in).len;
    size_t used;

    int rc = buf_reserve(out, input.len);
    if (rc < 0)
        return rc;
    ssize_t made = decode(x, buf_tail(out), input, false, &used);
    if (x->state == EXCHANGE_OVER && !is_all)
        x->is_unclean = true;
    buf_consume(&x->in, used);
    if (buf_unread(&x->in).len == 0)
        buf_free(&x->in);
    return made;
}

/* Receives no more than the caller wants, so that nothing has to be kept. */
static ssize_t pull_fresh(struct slow_exchange *x, struct buf *out, size_t size) {
    size_t used;

    int rc = buf_reserve(out, size);
    if (rc < 0)
        return rc;
    char *room = buf_tail(out);
    ssize_t n = watch_recv(&x->link->watch, room, size);
    if (n < 0) {
        if (n != -EAGAIN)
            note_broken(x, n);
        return n;
    }
    x->received_bytes += (uint64_t)n;
    return decode(x, room, slice_of(room, (size_t)n), n == 0, &used);
}

static ssize_t pull_more(struct slow_exchange *x, struct buf *out, size_t size) {
    ssize_t n = 0;

    while (n == 0 && x->state != EXCHANGE_OVER) {
        if (http_conn_is_complete(&x->http)) {
            complete(x, buf_unread(&x->in).len == 0); /* no event tells */
            break;
        }
        n = buf_unread(&x->in).len > 0 ? pull_kept(x, out, size) : pull_fresh(x, out, size);
    }
    x->is_starved = n == -EAGAIN;
    if (n > 0)
        buf_added(out, (size_t)n);
    if (n == 0 && x->failure != EXCHANGE_WELL)
        n = -EPROTO;
    if (x->is_starved && !x->is_tunnel)
        expect_within(x, x->upstream->options.idle_timeout);
    else
        x->deadline = NSEC_NEVER;
    return n;
}

static ssize_t pull(struct content_source *source, struct buf *out, size_t size) {
    struct slow_exchange *x = CONTAINER_OF(source, struct slow_exchange, body);
    struct slice ahead = slice_take(buf_unread(&x->ahead), size);

    if (ahead.len == 0)
        return pull_more(x, out, size);
    int rc = buf_append(out, ahead);
    buf_consume(&x->ahead, ahead.len);
    if (buf_unread(&x->ahead).len == 0)
        buf_free(&x->ahead);
    return rc < 0 ? rc : (ssize_t)ahead.len;
}

ssize_t slow_exchange_look_ahead(struct slow_exchange *x, size_t size) {
    ssize_t n = 1;

    while (n > 0 && buf_unread(&x->ahead).len < size)
        n = pull_more(x, &x->ahead, size - buf_unread(&x->ahead).len);
    return n == -EAGAIN ? -EAGAIN : (ssize_t)buf_unread(&x->ahead).len;
}

/* --- news of a connection --------------------------------------------------------------------- */

static void step_open(struct slow_exchange *x) {
    bool had_room = slow_exchange_has_room(x);

    send_more(x);
    bool has_news = !had_room && slow_exchange_has_room(x);
    if (!x->has_head) {
        int rc = read_head(x);
        if (rc > 0)
            return;
        has_news |= rc != -EAGAIN || buf_unread(&x->interims).len > 0;
    } else {
        has_news |= x->is_starved && (x->link->watch.ready & IO_READ) != 0;
    }
    if (has_news)
        tell(x);
}

static void step(struct slow_exchange *x) {
    switch ((enum slow_exchange_state)x->state) {
    case EXCHANGE_SHAKING:
        step_shaking(x);
        return;
    case EXCHANGE_OPEN:
        step_open(x);
        return;
    case EXCHANGE_DIALLING:
    case EXCHANGE_OVER:
        return;
    }
}

static void on_link(struct watch *watch, unsigned what) {
    struct slow_link *link = CONTAINER_OF(watch, struct slow_link, watch);

    if (link->x != NULL)
        step(link->x);
    else if ((what & (IO_READ | IO_HANGUP)) &&
             (link->tls == NULL || !idle_watch_is_quiet(&link->watch)))
        idle_pool_expel(&link->u->idle, &link->idle);
}

/* --- an exchange ------------------------------------------------------------------------------ */

struct slow_exchange *slow_exchange_new(struct slow_upstream *u) {
    struct slow_exchange *x = mem_calloc(1, sizeof(*x));

    if (x == NULL)
        return NULL;
    x->upstream = u;
    x->body.pull = pull;
    x->timer.fire = on_late;
    x->telling.run = tell_later;
    x->begun_at = clock_now();
    buf_init(&x->out, SLOWAPI_FORWARD_OUT_BYTES);
    buf_init(&x->in, u->limits.head_bytes + 2 * HEAD_BYTES);
    buf_init(&x->interims, u->limits.head_bytes);
    buf_init(&x->ahead, 2 * SLOWAPI_AHEAD_BYTES);
    return x;
}

void slow_exchange_begin(struct slow_exchange *x, const struct slow_exchange_how *how) {
    struct slow_upstream *u = x->upstream;

    x->method = how->method;
    x->is_chunked = how->is_chunked;
    x->asks_upgrade = how->asks_upgrade;
    x->may_retry = !how->has_body && is_idempotent(how->method);
    struct idle *idle = idle_pool_take(&u->idle, loop_now(u->loop));
    if (idle == NULL) {
        x->is_beginning = true;
        dial(x);
        x->is_beginning = false;
        return;
    }
    x->link = CONTAINER_OF(idle, struct slow_link, idle);
    x->link->x = x;
    x->was_reused = true;
    ask(x);
}

/* All of the answer has come, of the request all has gone, and nothing else lies on the way. */
static bool keeps(struct slow_exchange *x) {
    return x->upstream->options.keep_alive > 0 && x->link != NULL && x->link->is_open &&
           x->has_head && x->failure == EXCHANGE_WELL && !x->is_unclean && !x->is_tunnel &&
           x->is_sent && is_drained(x) && !x->is_deaf && buf_unread(&x->in).len == 0 &&
           http_conn_next(&x->http) && idle_watch_is_quiet(&x->link->watch);
}

void slow_exchange_free(struct slow_exchange *x) {
    if (x == NULL)
        return;
    struct slow_upstream *u = x->upstream;
    timer_cancel(u->loop, &x->timer);
    if (x->telling.pending)
        loop_undefer(u->loop, &x->telling);
    if (keeps(x)) {
        x->link->x = NULL;
        x->link->uses++;
        idle_pool_put(&u->idle, &x->link->idle, loop_now(u->loop), NSEC_NEVER);
    } else {
        leave_link(x);
    }
    buf_free(&x->out);
    buf_free(&x->in);
    buf_free(&x->interims);
    buf_free(&x->ahead);
    mem_free(x);
}

/* --- the upstream ----------------------------------------------------------------------------- */

static int parse_url(const char *text, struct http_url *ret, struct error *err) {
    const char *why = NULL;

    if (http_url_parse(slice_str(text), ret, &why) < 0)
        return error_set(err, -EINVAL,
                         "'%s' %s; http[s]://HOST[:PORT][/PATH] or unix:/PATH is expected", text,
                         why);
    if (ret->userinfo.len > 0)
        return error_set(err, -EINVAL, "'%s' holds a user name, which is not sent", text);
    if (slice_find(ret->target, '?') < ret->target.len)
        return error_set(err, -EINVAL, "'%s' has a query; that of each request is sent", text);
    if (ret->host.len > 255)
        return error_set(err, -EINVAL, "the host name of '%.40s...' is too long", text);
    return 0;
}

int slow_upstream_check(const char *url, bool *ret_secure, struct error *err) {
    struct http_url parsed;
    int rc = parse_url(url, &parsed, err);

    if (rc == 0)
        *ret_secure = slice_eq_nocase(parsed.scheme, SLICE("https"));
    return rc;
}

static void name_host(struct slow_upstream *u) {
    const struct http_url *url = &u->url;
    const char *open = url->host_is_ipv6 ? "[" : "", *close = url->host_is_ipv6 ? "]" : "";
    struct slice name = url->host;
    char port[8] = "";

    if (url->has_port)
        snprintf(port, sizeof(port), ":%u", url->port);
    snprintf(u->host, sizeof(u->host), "%s%.*s%s%s", open, (int)url->host.len, url->host.ptr, close,
             port);
    if (u->endpoint.is_unix)
        snprintf(u->host, sizeof(u->host), "localhost");
    else
        snprintf(u->origin, sizeof(u->origin), "%.*s://%s", (int)url->scheme.len, url->scheme.ptr,
                 u->host);
    if (name.len > 0 && name.ptr[name.len - 1] == '.') /* RFC 6066 section 3 */
        name.len--;
    snprintf(u->name, sizeof(u->name), "%.*s", (int)name.len, name.ptr);
}

struct slow_upstream *slow_upstream_new(const struct slow_upstream_options *options,
                                        struct slice hidden, struct loop *loop, struct error *err) {
    struct slow_upstream *u = mem_calloc(1, sizeof(*u));

    if (u == NULL || parse_url(options->url, &u->url, err) < 0) {
        if (u == NULL)
            error_set(err, -ENOMEM, "out of memory");
        mem_free(u);
        return NULL;
    }
    const struct idle_pool_config idle = { .count_max = SLOWAPI_UPSTREAM_IDLE_MAX,
                                           .span_max = options->keep_alive,
                                           .close = close_idle,
                                           .is_quiet = idle_is_quiet,
                                           .loop = loop };
    struct slice prefix = u->url.target;

    u->options = *options;
    u->loop = loop;
    u->endpoint = (struct endpoint){ .host = u->url.host,
                                     .port = u->url.port,
                                     .is_unix = slice_eq(u->url.scheme, SLICE("unix")) };
    u->usual = (struct http_limits)HTTP_LIMITS_RESPONSE;
    u->limits = u->usual;
    if (options->is_lenient)
        u->limits.usual = &u->usual;
    name_host(u);
    if (prefix.len > 0 && prefix.ptr[prefix.len - 1] == '/')
        prefix.len--;
    u->route = (struct gateway_route){ .origin = slice_str(u->origin),
                                       .prefix = prefix,
                                       .host = options->preserves_host ? (struct slice){ "", 0 }
                                                                       : slice_str(u->host),
                                       .hidden = hidden };
    u->session = TLS_SESSION_INIT;
    idle_pool_init(&u->idle, &idle);
    return u;
}

void slow_upstream_free(struct slow_upstream *u) {
    if (u == NULL)
        return;
    idle_pool_end(&u->idle);
    tls_session_forget(&u->session);
    mem_free(u);
}

const struct gateway_route *slow_upstream_route(const struct slow_upstream *u) {
    return &u->route;
}
