/* SPDX-License-Identifier: MIT */
/* Serves the routes of a control endpoint through evhttp. */
#include "net/control.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/listener.h"
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_BYTES_MAX  16384
#define PATIENCE_SEC    30
#define CONTROL_BACKLOG 64
#define PAUSE_USEC      100000

struct control {
    struct evhttp *http;
    const struct control_route *routes;
    size_t route_count;
    const struct option_strings *hosts;
    bool is_local; /* a unix socket: no browser comes that way */
    void *arg;
};

/* --- where it listens ------------------------------------------------------------------------- */

static int parse_address(const char *text, struct address *ret, mode_t *ret_mode,
                         struct error *err) {
    struct endpoint endpoint;

    if (endpoint_parse(slice_str(text), 0, &endpoint, NULL) < 0 ||
        address_of_endpoint(&endpoint, false, ret) < 0)
        return error_set(err, -EINVAL,
                         "HOST:PORT with a numeric host, :PORT or PORT (of 127.0.0.1), "
                         "[IPv6]:PORT or unix:/path");
    *ret_mode = endpoint.mode;
    return 0;
}

int control_check(const char *text, struct error *err) {
    struct address at;
    mode_t mode = 0;

    return parse_address(text, &at, &mode, err);
}

int control_listen(const char *option, const char *text, struct address *ret_bound,
                   struct error *err) {
    struct error why = { "" };
    struct address at;
    mode_t mode = 0;

    int rc = parse_address(text, &at, &mode, &why);
    if (rc == 0)
        rc = listener_open_with_mode(&at, mode, CONTROL_BACKLOG, ret_bound, &why);
    return rc < 0 ? error_set(err, rc, "%s: %s", option, why.text) : rc;
}

/* Names only: the port may be another one where containers map it. */
int control_hosts_check(const struct option_strings *hosts, struct error *err) {
    struct endpoint endpoint;

    for (size_t i = 0; i < hosts->count; i++) {
        struct slice text = slice_str(hosts->items[i]);

        if (slice_find(text, ':') < text.len || endpoint_parse(text, 80, &endpoint, NULL) < 0)
            return error_set(err, -EINVAL,
                             "--control-host: '%s' is not allowed; a host name without a port",
                             hosts->items[i]);
    }
    return 0;
}

/* --- requests --------------------------------------------------------------------------------- */

static unsigned method_bit(enum evhttp_cmd_type type) {
    switch ((unsigned)type) {
    case EVHTTP_REQ_GET:
    case EVHTTP_REQ_HEAD:
        return CONTROL_GET;
    case EVHTTP_REQ_PUT:
        return CONTROL_PUT;
    case EVHTTP_REQ_DELETE:
        return CONTROL_DELETE;
    case EVHTTP_REQ_POST:
        return CONTROL_POST;
    case EVHTTP_REQ_PATCH:
        return CONTROL_PATCH;
    default:
        return 0;
    }
}

static struct slice body_of(struct evhttp_request *evhttp) {
    struct evbuffer *in = evhttp_request_get_input_buffer(evhttp);
    size_t len = evbuffer_get_length(in);

    /* Without memory to join the pieces there is no body to show, and the route refuses it. */
    const unsigned char *bytes = len > 0 ? evbuffer_pullup(in, -1) : NULL;
    return bytes != NULL ? slice_of((const char *)bytes, len) : SLICE("");
}

bool control_header(const struct control_request *rq, const char *name, struct slice *ret_value) {
    const char *value = evhttp_find_header(evhttp_request_get_input_headers(rq->evhttp), name);

    *ret_value = slice_str(value);
    return value != NULL;
}

/* evhttp would ask gmtime_r(3), for whose lock a process that was forked beside threads may wait
 * for ever. */
static void add_date(struct evkeyvalq *headers) {
    char text[CLOCK_HTTP_BYTES];

    clock_format_http(clock_wall() / NSEC_PER_SEC, text);
    evhttp_add_header(headers, "Date", text);
}

/* evhttp would send a body to HEAD, too. */
static void keep_only_length(struct evkeyvalq *headers, struct evbuffer *out) {
    char text[24];

    snprintf(text, sizeof(text), "%zu", evbuffer_get_length(out));
    evhttp_add_header(headers, "Content-Length", text);
    evbuffer_drain(out, evbuffer_get_length(out));
}

void control_add_header(struct control_request *rq, const char *name, const char *value) {
    evhttp_add_header(evhttp_request_get_output_headers(rq->evhttp), name, value);
}

void control_reply(struct control_request *rq, int status, const char *content_type,
                   struct slice body) {
    struct evkeyvalq *headers = evhttp_request_get_output_headers(rq->evhttp);
    struct evbuffer *out = evhttp_request_get_output_buffer(rq->evhttp);

    add_date(headers);
    evhttp_add_header(headers, "Content-Type", content_type);
    evbuffer_add(out, body.ptr, body.len);
    if (evhttp_request_get_command(rq->evhttp) == EVHTTP_REQ_HEAD)
        keep_only_length(headers, out);
    evhttp_send_reply(rq->evhttp, status, NULL, NULL);
}

void control_reply_text(struct control_request *rq, int status, const char *text) {
    struct evbuffer *out = evhttp_request_get_output_buffer(rq->evhttp);

    evbuffer_add_printf(out, "%s\n", text);
    control_reply(rq, status, "text/plain", SLICE(""));
}

/* --- streams ---------------------------------------------------------------------------------- */

struct control_stream {
    struct evhttp_request *evhttp;
    struct evbuffer *piece;
    void (*closed)(void *arg);
    void *arg;
};

static struct evbuffer *output_of(const struct control_stream *s) {
    struct evhttp_connection *connection = evhttp_request_get_connection(s->evhttp);
    return bufferevent_get_output(evhttp_connection_get_bufferevent(connection));
}

/* The request is evhttp's as long as it has a connection; from one that broke it was taken out, and
 * its end frees it. */
static void on_stream_closed(struct evhttp_connection *connection UNUSED, void *arg) {
    struct control_stream *s = arg;

    if (evhttp_request_get_connection(s->evhttp) == NULL)
        evhttp_send_reply_end(s->evhttp);
    s->closed(s->arg);
    evbuffer_free(s->piece);
    mem_free(s);
}

struct control_stream *control_stream_open(struct control_request *rq, const char *content_type,
                                           void (*closed)(void *arg), void *arg) {
    const struct timeval patience = { .tv_sec = PATIENCE_SEC };
    struct evhttp_connection *connection = evhttp_request_get_connection(rq->evhttp);
    struct control_stream *s;
    struct evbuffer *piece;

    if (evhttp_request_get_command(rq->evhttp) == EVHTTP_REQ_HEAD) {
        control_reply(rq, 200, content_type, SLICE(""));
        return NULL;
    }
    s = mem_calloc(1, sizeof(*s));
    piece = evbuffer_new();

    if (s == NULL || piece == NULL) {
        mem_free(s);
        if (piece != NULL)
            evbuffer_free(piece);
        control_reply_text(rq, 503, "out of memory");
        return NULL;
    }
    *s = (struct control_stream){
        .evhttp = rq->evhttp, .piece = piece, .closed = closed, .arg = arg
    };
    add_date(evhttp_request_get_output_headers(rq->evhttp));
    control_add_header(rq, "Content-Type", content_type);
    evhttp_connection_set_closecb(connection, on_stream_closed, s);
    evhttp_send_reply_start(rq->evhttp, 200, NULL);
    /* The client has nothing more to say, and is not to be dropped for that. */
    bufferevent_set_timeouts(evhttp_connection_get_bufferevent(connection), NULL, &patience);
    return s;
}

void control_stream_send(struct control_stream *s, struct slice bytes) {
    evbuffer_add(s->piece, bytes.ptr, bytes.len);
    evhttp_send_reply_chunk(s->evhttp, s->piece);
}

size_t control_stream_backlog(const struct control_stream *s) {
    return evbuffer_get_length(output_of(s));
}

void control_stream_end(struct control_stream *s) {
    evhttp_connection_set_closecb(evhttp_request_get_connection(s->evhttp), NULL, NULL);
    evhttp_send_reply_end(s->evhttp);
    evbuffer_free(s->piece);
    mem_free(s);
}

/* --- routes ----------------------------------------------------------------------------------- */

static void refuse_method(struct control_request *rq, unsigned methods) {
    char allow[64];

    snprintf(allow, sizeof(allow), "%s%s%s%s%s", methods & CONTROL_GET ? "GET, HEAD, " : "",
             methods & CONTROL_PUT ? "PUT, " : "", methods & CONTROL_DELETE ? "DELETE, " : "",
             methods & CONTROL_POST ? "POST, " : "", methods & CONTROL_PATCH ? "PATCH, " : "");
    allow[strlen(allow) - 2] = '\0'; /* the last comma */
    control_add_header(rq, "Allow", allow);
    control_reply_text(rq, 405, "method not allowed here; see Allow");
}

/* A page from elsewhere can have its own name lead to this machine, and have a browser ask (DNS
 * rebinding); but the browser says which name that was. */
static bool host_is_ours(const struct control *c, struct slice host) {
    struct endpoint endpoint;
    struct address at;

    if (endpoint_parse(host, 80, &endpoint, NULL) < 0 || endpoint.is_unix || endpoint.host.len == 0)
        return false;
    if (slice_eq_nocase(endpoint.host, SLICE("localhost")) ||
        address_of_endpoint(&endpoint, false, &at) == 0)
        return true;
    for (size_t i = 0; i < c->hosts->count; i++)
        if (slice_eq_nocase(endpoint.host, slice_str(c->hosts->items[i])))
            return true;
    return false;
}

/* 0, or the status that refuses. Without a Host, as HTTP/1.0 allows, it is no browser. */
static int check_host(const struct control *c, const struct evhttp_request *evhttp) {
    const struct evkeyval *field;
    unsigned count = 0;

    TAILQ_FOREACH(field, evhttp->input_headers, next) {
        if (strcasecmp(field->key, "Host") != 0)
            continue;
        if (count++ > 0)
            return 400;
        if (!c->is_local && !host_is_ours(c, slice_str(field->value)))
            return 403;
    }
    return count == 0 && (evhttp->major > 1 || evhttp->minor > 0) ? 400 : 0;
}

/* Pages that have no origin say null, which is not ours. */
bool control_origin_is_ours(const struct control_request *rq) {
    struct slice origin, host;

    if (!control_header(rq, "Origin", &origin))
        return true;
    return control_header(rq, "Host", &host) && slice_starts_with(origin, SLICE("http://")) &&
           slice_eq_nocase(slice_drop(origin, strlen("http://")), host);
}

/* Whether it may be asked at all; else it has been answered. */
static bool admit(const struct control *c, struct control_request *rq) {
    int status = check_host(c, rq->evhttp);

    if (status == 403)
        control_reply_text(rq, status,
                           "Host is not a number, localhost or a name that was allowed");
    else if (status != 0)
        control_reply_text(rq, status, "exactly one Host is needed");
    else if (rq->method != CONTROL_GET && !control_origin_is_ours(rq))
        control_reply_text(rq, 403, "Origin is another one");
    else
        return true;
    return false;
}

static void on_request(struct evhttp_request *evhttp, void *arg) {
    const struct control *c = arg;
    struct slice rest = slice_str(evhttp_request_get_uri(evhttp));
    struct control_request rq = {
        .evhttp = evhttp,
        .path = slice_cut(&rest, '?'),
        .query = rest,
        .body = body_of(evhttp),
        .method = method_bit(evhttp_request_get_command(evhttp)),
    };

    if (!admit(c, &rq))
        return;
    for (size_t i = 0; i < c->route_count; i++) {
        const struct control_route *route = &c->routes[i];
        if (!slice_eq(rq.path, slice_str(route->path)))
            continue;
        if (route->methods & rq.method)
            route->handle(c->arg, &rq);
        else
            refuse_method(&rq, route->methods);
        return;
    }
    control_reply_text(&rq, 404, "not found");
}

/* --- life ------------------------------------------------------------------------------------- */

static void accept_again(evutil_socket_t fd, short what, void *listener);

/* Out of descriptors, say: who waits stays readable, and trying at once would spin. The argument is
 * evhttp's, so the pause belongs to the loop. */
static void accept_failed(struct evconnlistener *listener, void *http UNUSED) {
    static struct log_rate rate = { .per_second = 1 };
    const struct timeval pause = { .tv_usec = PAUSE_USEC };
    struct event_base *base = evconnlistener_get_base(listener);

    log_limited(&rate, LOG_LEVEL_WARN, "control accept paused error=\"%s\"",
                strerrordesc_np(EVUTIL_SOCKET_ERROR()));
    if (event_base_once(base, -1, EV_TIMEOUT, accept_again, listener, &pause) == 0)
        evconnlistener_disable(listener);
}

/* Epoll may be short of what accept(2) was short of. */
static void accept_again(evutil_socket_t fd UNUSED, short what UNUSED, void *listener) {
    if (evconnlistener_enable(listener) < 0)
        accept_failed(listener, NULL);
}

/* evhttp closes what it accepts from; the caller's descriptor is to stay. */
static int accept_from(struct control *c, int listen_fd) {
    int fd = fcntl(listen_fd, F_DUPFD_CLOEXEC, 0);
    struct evhttp_bound_socket *bound;

    if (fd < 0)
        return -errno;
    bound = evhttp_accept_socket_with_handle(c->http, fd);
    if (bound == NULL) {
        close(fd);
        return -ENOMEM;
    }
    evconnlistener_set_error_cb(evhttp_bound_socket_get_listener(bound), accept_failed);
    return 0;
}

static bool is_unix(int listen_fd) {
    struct sockaddr_storage at;
    socklen_t len = sizeof(at);

    return getsockname(listen_fd, (struct sockaddr *)&at, &len) == 0 && at.ss_family == AF_UNIX;
}

struct control *control_new(struct loop *loop, int listen_fd, const struct control_route *routes,
                            size_t route_count, const struct option_strings *hosts, void *arg,
                            struct error *err) {
    struct control *c = mem_calloc(1, sizeof(*c));
    int rc = -ENOMEM;

    if (c != NULL) {
        *c = (struct control){ .routes = routes,
                               .route_count = route_count,
                               .hosts = hosts,
                               .is_local = is_unix(listen_fd),
                               .arg = arg };
        c->http = evhttp_new(loop_base(loop));
    }
    if (c != NULL && c->http != NULL) {
        evhttp_set_allowed_methods(c->http, UINT16_MAX); /* a route checks its own */
        evhttp_set_max_body_size(c->http, CONTROL_BODY_BYTES_MAX);
        evhttp_set_max_headers_size(c->http, HEAD_BYTES_MAX);
        evhttp_set_timeout(c->http, PATIENCE_SEC);
        evhttp_set_gencb(c->http, on_request, c);
        rc = accept_from(c, listen_fd);
    }
    if (rc < 0) {
        error_set(err, rc, "cannot open the control endpoint: %s", strerrordesc_np(-rc));
        control_free(c);
        return NULL;
    }
    return c;
}

void control_free(struct control *c) {
    if (c == NULL)
        return;
    if (c->http != NULL)
        evhttp_free(c->http);
    mem_free(c);
}
