/* SPDX-License-Identifier: MIT */
/* Reads requests and writes answers of one connection, in the order of their lives; written once
 * for every model. */
#include "server/conn/session.h"
#include "base/assert.h"
#include "base/log.h"
#include "http/error.h"
#include "http/proxy_protocol.h"
#include "http/uwsgi.h"
#include "net/socket.h"
#include "server/limits.h"
#include "srv/app.h"
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define STATUS_UNANSWERED 499 /* for the log only; nginx's number for clients that left */

/* Bits of session.ingress: requests come in another way than just as HTTP. */
enum session_ingress {
    SESSION_INGRESS_PROXY = 1, /* a PROXY header, which has not come yet, before the rest */
    SESSION_INGRESS_UWSGI = 2, /* one uwsgi packet, one answer */
};

/* --- a connection comes ------------------------------------------------------ */

void session_init(struct session *s, const struct worker *worker, int fd) {
    const struct http_limits *limits = &worker->config->limits;

    *s = (struct session){ .worker = worker, .fd = fd, .bytes = channel_bare(fd) };
    http_conn_init(&s->http, HTTP_SERVER, limits);
    buf_init(&s->in, (size_t)limits->head_bytes + SERVER_BODY_RECV_BYTES);
    buf_init(&s->body, limits->body_bytes > 0 ? limits->body_bytes : 1);
    buf_init(&s->out, SERVER_REPLY_BYTES_MAX);
    s->file.fd = -1;
    arena_init(&s->arena, SERVER_ARENA_BYTES_MAX);
}

int session_accept(struct session *s, const struct accepted *accepted) {
    const struct serve_config *config = s->worker->config;
    uint8_t protocol = config->protocols[accepted->listener];

    s->peer = accepted->peer;
    s->http.unchunked = protocol == PROTOCOL_UWSGI;
    if (s->http.unchunked)
        s->ingress |= SESSION_INGRESS_UWSGI;
    if (config->proxy_protocol)
        s->ingress |= SESSION_INGRESS_PROXY;
    if (protocol != PROTOCOL_HTTPS)
        return 0;
    s->peer.secure = true;
    return channel_open(&s->bytes, s->fd, s->worker->tls, config->proxy_protocol);
}

/* --- ingress: plain HTTP, behind a PROXY header, or as uwsgi packets -------------------------- */

/* All three forms become the same events and the same head. */

static size_t event(struct http_event *ev, enum http_event_kind kind, size_t used) {
    *ev = (struct http_event){ .kind = kind };
    return used;
}

static size_t bad(struct http_event *ev, const char *why) {
    *ev = (struct http_event){ .kind = HTTP_EV_BAD, .why = why };
    return 0;
}

/* Something is incomplete. Nothing at all before the end is no message. */
static size_t more(const struct session *s, struct slice input, struct http_event *ev) {
    if (!s->eof)
        return event(ev, HTTP_EV_MORE, 0);
    return input.len == 0 ? event(ev, HTTP_EV_CLOSED, 0) : bad(ev, http_err_truncated);
}

/* From here on the peer is whom the header names: what that one says about others counts as much as
 * it is trusted itself. */
static void take_proxy_client(struct session *s, const struct proxy_client *client) {
    if (client->family == PROXY_UNKNOWN)
        return;
    s->peer = (struct peer){
        .kind = PEER_IP,
        .ip = ip_of_bytes(client->ip, client->family == PROXY_IPV4 ? 4 : 16),
        .port = client->port,
        .secure = client->secure || s->bytes.tls != NULL,
    };
}

static size_t feed_proxy(struct session *s, struct slice input, struct http_event *ev) {
    struct proxy_client client;
    struct http_parse parse;

    if (!cidr_list_has(&s->worker->config->forwarded_allow, &s->peer))
        return bad(ev, http_err_peer);
    parse = proxy_protocol_parse(input, &client);
    if (parse.kind == HTTP_PARSE_MORE)
        return more(s, input, ev);
    if (parse.kind == HTTP_PARSE_BAD)
        return bad(ev, parse.why);
    take_proxy_client(s, &client);
    s->ingress &= (uint8_t)~SESSION_INGRESS_PROXY;
    return event(ev, HTTP_EV_INTERIM, parse.used);
}

/* The web server has met the client. One that it does not name, or that came over its own unix
 * socket ("unix:"), has no address; above all it is not the web server, whose word is trusted. */
static void take_uwsgi_client(struct session *s, const struct uwsgi_origin *origin) {
    struct peer client = { .secure = slice_eq_nocase(origin->scheme, SLICE("https")) };
    uint64_t port = 0;

    if (slice_starts_with(origin->address, SLICE("unix:")))
        client.kind = PEER_LOCAL;
    else if (ip_parse(origin->address, &client.ip))
        client.kind = PEER_IP;
    if (slice_parse_u64(origin->port, UINT16_MAX, &port) == 0)
        client.port = (uint16_t)port;
    s->peer = client;
}

static size_t take_packet(struct session *s, struct slice packet, struct http_event *ev) {
    struct slice vars = slice_drop(packet, UWSGI_HEADER_BYTES);
    char *text = arena_alloc(&s->arena, vars.len > 0 ? vars.len : 1);
    struct uwsgi_origin origin;
    const char *why;

    if (text == NULL)
        return bad(ev, http_err_memory);
    s->head_in_arena = true;
    why = uwsgi_request(vars, s->http.limits, text, &s->head, &origin);
    if (why != NULL)
        return bad(ev, why);
    take_uwsgi_client(s, &origin);
    return http_conn_begin(&s->http, &s->head, ev, packet.len);
}

static size_t feed_uwsgi(struct session *s, struct slice input, struct http_event *ev) {
    struct http_parse parse;

    if (!cidr_list_has(&s->worker->config->uwsgi_allow, &s->peer))
        return bad(ev, http_err_peer);
    parse = uwsgi_packet(input, s->http.limits);
    if (parse.kind == HTTP_PARSE_MORE)
        return more(s, input, ev);
    if (parse.kind == HTTP_PARSE_BAD)
        return bad(ev, parse.why);
    return take_packet(s, slice_take(input, parse.used), ev);
}

/* Does what http_conn_feed does, and fills s->head. After the HEAD of a uwsgi packet nothing points
 * into `input`. */
static size_t feed_ingress(struct session *s, struct slice input, struct http_event *ev) {
    if (s->http.phase == HTTP_PHASE_HEAD && (s->ingress & SESSION_INGRESS_PROXY))
        return feed_proxy(s, input, ev);
    if (s->http.phase == HTTP_PHASE_HEAD && (s->ingress & SESSION_INGRESS_UWSGI))
        return feed_uwsgi(s, input, ev);
    return http_conn_feed(&s->http, input, s->eof, &s->head, ev);
}

/* Bytes of an incomplete header are all its own; of a complete one the length is known. As
 * feed_proxy of what was received, or -errno. */
static int receive_proxy(struct session *s, struct http_event *ev) {
    size_t before = buf_unread(&s->in).len, own;
    ssize_t n = session_reserve(s);

    if (n == 0)
        n = recv(s->fd, buf_tail(&s->in), buf_room(&s->in), MSG_PEEK | MSG_DONTWAIT);
    if (n < 0)
        return n == -1 ? -errno : (int)n;
    s->eof = n == 0;
    buf_added(&s->in, (size_t)n);
    own = feed_proxy(s, buf_unread(&s->in), ev);
    own = ev->kind == HTTP_EV_INTERIM ? own - before : (size_t)n;
    if (own > 0 && recv(s->fd, buf_tail(&s->in) - n, own, MSG_DONTWAIT) != (ssize_t)own)
        return -EIO;
    return 0;
}

enum session_step session_feed_proxy(struct session *s) {
    struct http_event ev = { .kind = HTTP_EV_MORE };
    int rc = 0;

    while (rc == 0 && ev.kind == HTTP_EV_MORE)
        rc = receive_proxy(s, &ev);
    if (rc == -EAGAIN)
        return SESSION_MORE;
    if (rc < 0 || ev.kind == HTTP_EV_CLOSED || ev.why == http_err_truncated)
        return SESSION_CLOSED;
    if (ev.kind == HTTP_EV_BAD) {
        channel_close(&s->bytes, NULL, s->worker->stats);
        return session_refuse(s, http_err_status(ev.why), ev.why);
    }
    buf_free(&s->in);
    s->bytes.begins_later = false;
    return SESSION_READY;
}

static bool has_underscore(struct slice name) {
    return memchr(name.ptr, '_', name.len) != NULL;
}

/* A copy of the lines whose names have none. NULL when out of memory. */
static char *copy_without(struct session *s, size_t *ret_len) {
    char *copy = arena_alloc(&s->arena, s->head.fields.len), *at = copy;
    struct slice rest = s->head.fields, name, value;
    const char *line = rest.ptr;

    while (copy != NULL && http_field_next(&rest, &name, &value)) {
        size_t len = (size_t)(rest.ptr - line);

        if (!has_underscore(name)) {
            memcpy(at, line, len);
            at += len;
        }
        line += len;
    }
    *ret_len = copy != NULL ? (size_t)(at - copy) : 0;
    return copy;
}

static bool names_underscore(const struct session *s) {
    struct slice rest = s->head.fields, name, value;

    while (http_field_next(&rest, &name, &value))
        if (has_underscore(name))
            return true;
    return false;
}

/* Applies --header-map to the fields of a new head: NULL, or why it is refused. X_Y and X-Y are one
 * variable to CGI's heirs: whoever filters one lets the other through. */
static const char *map_fields(struct session *s) {
    struct slice *fields = &s->head.fields;

    if (fields->len == 0 || memchr(fields->ptr, '_', fields->len) == NULL || !names_underscore(s))
        return NULL;
    if (s->worker->config->header_map == HEADER_MAP_REFUSE)
        return http_err_field_underscore;
    fields->ptr = copy_without(s, &fields->len);
    s->head_in_arena = true;
    return fields->ptr != NULL ? NULL : http_err_memory;
}

/* --- a request is read ------------------------------------------------------ */

bool session_in_body(const struct session *s) {
    return s->http.phase == HTTP_PHASE_BODY;
}

bool session_began(const struct session *s) {
    return s->http.phase != HTTP_PHASE_HEAD || buf_unread(&s->in).len > 0;
}

/* A body has 1 GiB at most: even at a byte per second its nanoseconds fit. */
nsec_t session_body_deadline(struct session *s, nsec_t now) {
    const struct serve_config *config = s->worker->config;
    nsec_t silence = deadline_after(now, config->body_timeout), earned;

    if (s->body_at == 0)
        s->body_at = now;
    if (config->body_rate == 0)
        return silence;
    earned = (nsec_t)(s->http.body.decoded * (uint64_t)NSEC_PER_SEC / config->body_rate);
    return nsec_min(silence, deadline_after(s->body_at, config->body_timeout + earned));
}

int session_reserve(struct session *s) {
    return buf_reserve(&s->in, session_in_body(s) ? SERVER_BODY_RECV_BYTES : SERVER_RECV_BYTES);
}

/* --- or refused ------------------------------------------------------------- */

static void put_error(struct session *s, uint16_t status, const char *why, bool close) {
    struct http_field retry_after = { .name = SLICE("Retry-After"),
                                      .value = SLICE(SERVER_RETRY_AFTER_SECONDS) };
    char timing[ACCESS_TIMING_BYTES];
    struct http_response_head head = {
        .status = status,
        .content_type = SLICE("text/plain"),
        .date = http_date_now(),
        .timing = access_timing(s->worker, &s->spent, s->ready_at, timing),
        .fields = &retry_after,
        .field_count = status == 503,
        .content_length = strlen(why) + 1,
        .has_content_length = true,
        .close = close,
    };
    bool sends_body = false;

    s->status = status;
    buf_consume(&s->out, buf_unread(&s->out).len);
    if (http_conn_answer(&s->http, &s->out, &head, &sends_body) < 0 ||
        (sends_body &&
         (buf_append(&s->out, slice_str(why)) < 0 || buf_append(&s->out, SLICE("\n")) < 0)))
        buf_free(&s->out);
    s->body_bytes = sends_body ? strlen(why) + 1 : 0;
}

/* Between a web server and us, or a load balancer and us, a refusal is somebody's mistake. */
static void log_refusal(const struct session *s, uint16_t status, const char *why) {
    static struct log_rate rate = { .per_second = 10 };
    char peer[PEER_TEXT_BYTES];

    if (s->ingress != 0)
        log_limited(&rate, LOG_LEVEL_WARN, "refused protocol=%s peer=%s status=%u reason=\"%s\"",
                    s->ingress & SESSION_INGRESS_UWSGI ? "uwsgi" : "http",
                    peer_format(&s->peer, peer), status, why);
}

/* Logs the answer in `out`, or that there is none; of the head as much as could be read. */
static void log_access(struct session *s, nsec_t now) {
    char id[REQUEST_ID_BYTES];
    const struct access_log *log = s->worker->access_log;
    struct access_entry entry = {
        .worker = s->worker,
        .head = &s->head,
        .peer = &s->peer,
        .channel = &s->bytes,
        .ready_at = s->ready_at,
        .ended_at = now,
        .spent = s->spent,
        .body_bytes = s->body_bytes,
        .status = s->status,
    };

    if (log == NULL)
        return;
    entry.request_id = request_id_text(&s->id, s->worker->ids, &s->head, &s->peer, id);
    access_log_write(log, &entry);
}

static void log_access_to_refused(struct session *s) {
    nsec_t now = clock_now();

    if (s->ready_at == 0)
        s->ready_at = now;
    log_access(s, now);
}

enum session_step session_refuse(struct session *s, uint16_t status, const char *why) {
    log_refusal(s, status, why);
    put_error(s, status, why, true);
    log_access_to_refused(s);
    stats_answered(s->worker->stats, status);
    s->head_used = 0;
    return SESSION_REFUSED;
}

bool session_refuse_bare(struct session *s) {
    if (!channel_is_bare_http(&s->bytes))
        return false;
    s->peer.secure = false;
    return session_refuse(s, 400, "this port speaks TLS: ask it by https") == SESSION_REFUSED;
}

/* --- reading on ------------------------------------------------------------- */

/* A request with a body is read over many receives, and its head must stay put meanwhile: it moves
 * to the arena. Without a body nothing is read before the answer, and the head stays where it is.
 */
static int pin_head(struct session *s, size_t head_used) {
    char *copy = arena_dup(&s->arena, slice_take(buf_unread(&s->in), head_used));
    struct http_parse parse;

    if (copy == NULL)
        return -ENOMEM;
    s->head_in_arena = true;
    parse = http_parse_request(slice_of(copy, head_used), 0, s->http.limits, &s->head);
    ASSERT(parse.kind == HTTP_PARSE_DONE);
    buf_consume(&s->in, head_used);
    return 0;
}

/* Best effort: a client that gets no 100 sends its body after a while (RFC 9110 section 10.1.1). */
static void invite_body(struct session *s) {
    struct slice text = HTTP_CONTINUE;

    ssize_t n = http_conn_takes_continue(&s->http) ? channel_send_now(&s->bytes, text) : 0;

    if (n < 0)
        log_write(LOG_LEVEL_DEBUG, "cannot send 100 Continue error=%s", strerrordesc_np((int)-n));
}

/* The new head's bytes stay where they are, move, or (uwsgi) are not needed any more. */
static int place_head(struct session *s, size_t used) {
    if (s->ingress & SESSION_INGRESS_UWSGI) {
        buf_consume(&s->in, used);
        return 0;
    }
    if (s->head.framing == HTTP_FRAMING_NONE ||
        (s->head.framing == HTTP_FRAMING_LENGTH && s->head.content_length == 0)) {
        s->head_used = used;
        return 0;
    }
    return pin_head(s, used);
}

static enum session_step take_head(struct session *s, size_t used) {
    const char *why = place_head(s, used) < 0 ? http_err_memory : map_fields(s);

    return why == NULL ? SESSION_MORE : session_refuse(s, http_err_status(why), why);
}

/* The handler reads them itself. */
static bool streams_bodies(const struct session *s) {
    return s->worker->app != NULL && (s->worker->app->flags & SRV_STREAM_BODY);
}

enum session_step session_feed(struct session *s) {
    struct http_event ev;
    enum session_step step;
    size_t used;

    if (s->http.phase == HTTP_PHASE_HEAD)
        s->head = (struct http_head){ 0 }; /* the last request's is over */
    for (;;) {
        used = feed_ingress(s, slice_drop(buf_unread(&s->in), s->head_used), &ev);
        switch (ev.kind) {
        case HTTP_EV_HEAD:
            step = take_head(s, used);
            if (step != SESSION_MORE)
                return step;
            if (streams_bodies(s) && !http_conn_is_complete(&s->http))
                return SESSION_READY;
            continue; /* the head's bytes are dealt with */
        case HTTP_EV_DATA:
            if (buf_append(&s->body, ev.data) < 0)
                return session_refuse(s, 503, "out of memory");
            break;
        case HTTP_EV_END:
            ASSERT(used == 0 || s->head_used == 0);
            buf_consume(&s->in, used);
            return SESSION_READY;
        case HTTP_EV_BAD:
            if (ev.why == http_err_truncated)
                return SESSION_CLOSED; /* nobody is left to read an answer */
            return session_refuse(s, http_err_status(ev.why), ev.why);
        case HTTP_EV_CLOSED:
            return SESSION_CLOSED;
        case HTTP_EV_MORE:
            if (s->http.phase == HTTP_PHASE_HEAD)
                s->head = (struct http_head){ 0 }; /* a part of one; `in` is about to move */
            buf_consume(&s->in, used);
            invite_body(s);
            return SESSION_MORE;
        case HTTP_EV_INTERIM:
            break;
        }
        buf_consume(&s->in, used);
    }
}

/* The writer to the client: the loop probes it while a thread waits for the answer that it will
 * write. */
enum session_writer { SESSION_WRITER_NONE, SESSION_WRITER_PROBE, SESSION_WRITER_ANSWER };

/* The time where waits are told to the client: within a turn of the loop, others have computed. */
static nsec_t fresh_if_told(const struct session *s, nsec_t now) {
    return UNLIKELY(s->worker->config->server_timing) ? clock_now() : now;
}

void session_ready(struct session *s, nsec_t now) {
    now = fresh_if_told(s, now);
    s->ready_at = now;
    if (s->worker->stats->lists_requests)
        s->entry = stats_enter(s->worker->stats, s->head.method_text, s->head.target, now);
    atomic_store_explicit(&s->writer, SESSION_WRITER_NONE, memory_order_relaxed);
}

/* --- it waits: is the client there? ------------------------------------------ */

/* A web server closes when its own client has gone, and never half. */
static bool half_means_gone(const struct session *s) {
    return (s->ingress & SESSION_INGRESS_UWSGI) ||
           s->worker->config->half_close == HALF_CLOSING_GONE;
}

nsec_t session_probe_span(const struct session *s) {
    if (half_means_gone(s))
        return 0;
    if (s->worker->config->half_close == HALF_CLOSING_WAIT || s->http.version_minor == 0)
        return NSEC_NEVER;
    return SERVER_PROBE_NSEC;
}

bool session_probe(struct session *s) {
    struct slice text = HTTP_CONTINUE;
    int expected = SESSION_WRITER_NONE;
    ssize_t n;
    bool gone;

    if (half_means_gone(s))
        return false;
    if (s->http.version_minor == 0 ||
        !atomic_compare_exchange_strong(&s->writer, &expected, SESSION_WRITER_PROBE))
        return true;
    if (s->stream == SESSION_CHUNKED)
        text = SLICE("0"); /* the size of the next chunk begins with it: RFC 9112 section 7.1 */
    n = channel_send_now(&s->bytes, text);
    /* A whole answer has nothing in flight yet: it fits. */
    gone = n != (ssize_t)text.len && !(s->stream == SESSION_CHUNKED && n == -EAGAIN);
    atomic_store(&s->writer, SESSION_WRITER_NONE);
    return !gone;
}

/* --- it is handled ------------------------------------------------------------ */

nsec_t session_deadline(const struct session *s) {
    return timeout_after(s->ready_at, s->worker->config->request_timeout);
}

void session_set_doing(struct session *s, enum stats_doing doing, nsec_t now) {
    if (s->entry != NULL)
        stats_does(s->entry, doing, now);
}

void session_begin(struct session *s, nsec_t now) {
    int64_t served_max = s->worker->config->keep_alive_requests;

    now = fresh_if_told(s, now);
    if (served_max > 0 && s->served + 1 >= served_max)
        s->last = true;
    s->spent.queue = now - s->ready_at;
    hist_shared_record(&s->worker->stats->queue_wait, s->spent.queue);
    if (s->entry != NULL)
        stats_does(s->entry, STATS_CPU, now);
}

/* --- its answer is written ----------------------------------------------------- */

/* Waits for a probe to end, which takes one system call. False: it was the writer already. */
static bool become_writer(struct session *s) {
    int expected = SESSION_WRITER_NONE;

    while (!atomic_compare_exchange_weak(&s->writer, &expected, SESSION_WRITER_ANSWER)) {
        if (expected == SESSION_WRITER_ANSWER)
            return false;
        expected = SESSION_WRITER_NONE;
        sched_yield();
    }
    return true;
}

/* TLS is one thing, for those that read, too: a probe must not write meanwhile. */
ssize_t session_recv_body(struct session *s) {
    bool locks = s->bytes.tls != NULL && become_writer(s);
    ssize_t n;

    invite_body(s);
    n = channel_recv(&s->bytes, buf_tail(&s->in), buf_room(&s->in));
    if (locks)
        session_rests(s);
    if (n >= 0) {
        s->eof = n == 0;
        buf_added(&s->in, (size_t)n);
    }
    return n;
}

void session_answers(struct session *s, struct io *io) {
    if (s->entry != NULL)
        stats_does(s->entry, STATS_CLIENT, io_now(io));
    become_writer(s);
}

void session_rests(struct session *s) {
    atomic_store(&s->writer, SESSION_WRITER_NONE);
}

/* The last chunk is missing; an end by closing needs to be an error instead: a reset. */
void session_cut(struct session *s) {
    struct linger reset = { .l_onoff = 1 };

    s->bytes.cut = true;
    if (s->stream == SESSION_UNTIL_CLOSE &&
        setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) < 0)
        log_write(LOG_LEVEL_DEBUG, "cannot reset a connection error=%s", strerrordesc_np(errno));
}

/* --- it ends: the connection is kept, or closed ---------------------------------- */

/* Would closing cost the client a part of its answer? What it has sent and nobody reads, now or
 * later, makes the kernel reset the connection and drop what the client has not taken yet (RFC 9112
 * section 9.6). A tiny answer fits every window; one that fits the first flight is on its way when
 * it has been sent, a larger one when the client has acknowledged it. */
static bool close_would_reset(const struct session *s) {
    unsigned long what = s->body_bytes > SERVER_FIRST_FLIGHT_BYTES ? SIOCOUTQ : SIOCOUTQNSD;
    int left = 0;
    char byte;

    if (s->eof)
        return false;
    if (buf_unread(&s->in).len > 0)
        return true;
    if (s->body_bytes > SERVER_TINY_ANSWER_BYTES && ioctl(s->fd, what, &left) == 0 && left > 0)
        return true;
    return recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

enum session_end session_close(const struct session *s) {
    return close_would_reset(s) ? SESSION_LINGER : SESSION_CLOSE;
}

/* Forgets a request that is answered, or will never be. */
static void end_request(struct session *s) {
    if (s->entry != NULL)
        stats_leave(s->entry);
    s->entry = NULL;
    s->ready_at = s->body_at = 0;
    s->stream = SESSION_WHOLE;
    if (s->file.fd >= 0)
        file_part_close(&s->file);
    s->spent = (struct access_spent){ 0 };
    s->id = (struct request_id){ 0 };
}

/* Ready for the next request, or not. */
static enum session_end finish_request(struct session *s) {
    end_request(s);
    stats_answered(s->worker->stats, s->status);
    buf_consume(&s->in, s->head_used);
    s->head_used = 0;
    buf_free(&s->body);
    arena_reset(&s->arena);
    s->head_in_arena = false;
    s->served++;
    if (http_conn_next(&s->http))
        return SESSION_KEEP;
    if (!s->eof && !http_conn_is_complete(&s->http))
        return SESSION_LINGER; /* the client may be sending the rest of its body */
    return session_close(s);
}

/* Ends a request whose client got an unknown part of its answer, unless it was a stream. When
 * memory was short it got none: ours is the fault, as it is when a handler fails in the middle of a
 * stream. */
static enum session_end end_unanswered(struct session *s, int rc, nsec_t now) {
    s->bytes.cut = true;
    bool ours = rc == -ENOMEM || rc == -ENOBUFS || (s->stream && rc != -ECANCELED);

    s->status = ours ? 500 : STATUS_UNANSWERED;
    if (s->stream == SESSION_WHOLE)
        s->body_bytes = 0;
    log_access(s, now);
    stats_add(s->worker->stats, ours ? STATS_unanswered : STATS_abandoned, 1);
    end_request(s);
    s->head_used = 0;
    return SESSION_CLOSE;
}

enum session_end session_drop(struct session *s, nsec_t now) {
    s->spent.queue = now - s->ready_at;
    return end_unanswered(s, -ECANCELED, now);
}

enum session_end session_finish(struct session *s, int rc, nsec_t now) {
    struct stats *stats = s->worker->stats;

    if (rc < 0)
        return end_unanswered(s, rc, now);
    hist_shared_record(&stats->latency, now - s->ready_at);
    log_access(s, now);
    if (s->worker->quota->limit > 0)
        worker_count_answer(s->worker);
    return finish_request(s);
}

/* Tells whether `out` is all that is still to be sent before the connection ends: its end can go
 * with that. A larger answer is asked for its acknowledgement before the end. */
static bool ends_with(const struct session *s, struct slice out) {
    return !s->http.persists && s->bytes.tls == NULL && s->stream == SESSION_WHOLE &&
           s->file.left == 0 && out.len <= SERVER_FIRST_FLIGHT_BYTES;
}

static ssize_t send_slice(struct session *s, struct watch *watch, struct slice out) {
    if (ends_with(s, out))
        return watch != NULL ? watch_send_last(watch, out.ptr, out.len)
                             : socket_send_last(s->fd, out.ptr, out.len);
    return watch != NULL ? watch_send(watch, out.ptr, out.len)
                         : channel_send(&s->bytes, out.ptr, out.len);
}

/* Sends what stands in `out`: 0 when all is sent, -EAGAIN, or -errno. */
static int send_out(struct session *s, struct watch *watch) {
    struct slice out = buf_unread(&s->out);
    ssize_t n = out.len > 0 ? send_slice(s, watch, out) : 0;

    if (n < 0)
        return (int)n;
    buf_consume(&s->out, (size_t)n);
    return (size_t)n < out.len ? -EAGAIN : 0;
}

/* Ends with -EAGAIN, too, after a burst: then the socket is not known to be full. */
static int send_file(struct session *s, struct watch *watch) {
    int rc = watch == NULL || (watch->ready & IO_WRITE)
                 ? file_part_send(&s->file, s->fd, SERVER_SEND_BURST_BYTES)
                 : -EAGAIN;

    if (rc == -EAGAIN && watch != NULL)
        watch_drained(watch, IO_WRITE);
    return rc == -EINPROGRESS ? -EAGAIN : rc;
}

/* sendfile(2) would send bare bytes: the file goes through `out`, piece by piece. Of what TLS did
 * not take, `out` keeps the bytes. */
static int send_file_within(struct session *s, struct watch *watch) {
    size_t burst = SERVER_SEND_BURST_BYTES;
    int rc = 0;

    while (rc == 0 && s->file.left > 0 && burst >= SERVER_STREAM_BYTES) {
        burst -= SERVER_STREAM_BYTES;
        rc = file_part_read(&s->file, &s->out, SERVER_STREAM_BYTES);
        if (rc == 0)
            rc = send_out(s, watch);
    }
    return rc == 0 && s->file.left > 0 ? -EAGAIN : rc;
}

int session_send(struct session *s, struct watch *watch) {
    int rc = send_out(s, watch);

    if (rc < 0 || s->file.left == 0)
        return rc;
    return s->bytes.tls != NULL ? send_file_within(s, watch) : send_file(s, watch);
}

enum session_end session_answer(struct session *s, int rc, struct io *io) {
    if (rc < 0)
        return session_finish(s, rc, io_now(io));
    session_answers(s, io);
    rc = session_send(s, NULL);
    return rc == -EAGAIN ? SESSION_SEND : session_finish(s, rc, io_now(io));
}

/* --- answers without a handler ---------------------------------------------------- */

bool session_asks_health(const struct session *s) {
    const char *path = s->worker->config->health_path;
    struct slice target = s->head.target;

    return path != NULL &&
           (s->head.method == HTTP_METHOD_GET || s->head.method == HTTP_METHOD_HEAD) &&
           slice_eq(slice_cut(&target, '?'), slice_str(path));
}

enum session_end session_tell_health(struct session *s) {
    if (worker_is_leaving(s->worker))
        return session_turn_down(s, 503, "the server is about to stop");
    return session_turn_down(s, 200, "ok");
}

enum session_end session_turn_down(struct session *s, uint16_t status, const char *why) {
    if (buf_unread(&s->in).len > s->head_used)
        s->last = true;
    s->spent.queue = clock_now() - s->ready_at;
    put_error(s, status, why, s->last);
    log_access_to_refused(s);
    return finish_request(s);
}

/* --- memory goes ------------------------------------------------------------------ */

void session_free(struct session *s) {
    end_request(s);
    buf_free(&s->in);
    buf_free(&s->body);
    buf_free(&s->out);
    arena_free(&s->arena);
}

void session_shrink(struct session *s) {
    if (s->ready_at == 0) {
        ASSERT(s->head_used == 0);
        session_free(s);
        return;
    }
    buf_free(&s->body);
    if (!s->head_in_arena) /* the head is still to be logged */
        arena_free(&s->arena);
}
