/* SPDX-License-Identifier: MIT */
/* Serves the routes of a control endpoint through evhttp. */
#include "net/control.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/listener.h"
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HEAD_BYTES_MAX  16384
#define PATIENCE_SEC    30
#define CONTROL_BACKLOG 64
#define PAUSE_USEC      100000

struct control {
    struct evhttp *http;
    const struct control_route *routes;
    size_t route_count;
    void *arg;
};

struct control_request {
    struct evhttp_request *evhttp;
    struct slice path, query;
    unsigned method;
};

/* --- where it listens ------------------------------------------------------------------------- */

static int parse_address(const char *text, struct address *ret, struct error *err) {
    struct endpoint endpoint;

    if (endpoint_parse(slice_str(text), 0, &endpoint, NULL) < 0 ||
        address_of_endpoint(&endpoint, false, ret) < 0)
        return error_set(err, -EINVAL,
                         "HOST:PORT with a numeric host, :PORT or PORT (of 127.0.0.1), "
                         "[IPv6]:PORT or unix:/path");
    return 0;
}

int control_check(const char *text, struct error *err) {
    struct address at;

    return parse_address(text, &at, err);
}

int control_listen(const char *text, struct address *ret_bound, struct error *err) {
    struct error why = { "" };
    struct address at;

    int rc = parse_address(text, &at, &why);
    if (rc == 0)
        rc = listener_open(&at, CONTROL_BACKLOG, ret_bound, &why);
    return rc < 0 ? error_set(err, rc, "--control: %s", why.text) : rc;
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
    default:
        return 0;
    }
}

unsigned control_method(const struct control_request *rq) {
    return rq->method;
}

struct slice control_path(const struct control_request *rq) {
    return rq->path;
}

struct slice control_query(const struct control_request *rq) {
    return rq->query;
}

struct slice control_body(const struct control_request *rq) {
    struct evbuffer *in = evhttp_request_get_input_buffer(rq->evhttp);
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

/* --- routes ----------------------------------------------------------------------------------- */

static bool route_fits(const struct control_route *route, struct slice path) {
    struct slice prefix = slice_str(route->path);

    return slice_starts_with(path, prefix) &&
           (path.len == prefix.len || path.ptr[prefix.len] == '/');
}

static void refuse_method(struct control_request *rq, unsigned methods) {
    char allow[64];

    snprintf(allow, sizeof(allow), "%s%s%s%s", methods & CONTROL_GET ? "GET, HEAD, " : "",
             methods & CONTROL_PUT ? "PUT, " : "", methods & CONTROL_DELETE ? "DELETE, " : "",
             methods & CONTROL_POST ? "POST, " : "");
    allow[strlen(allow) - 2] = '\0'; /* the last comma */
    evhttp_add_header(evhttp_request_get_output_headers(rq->evhttp), "Allow", allow);
    control_reply_text(rq, 405, "method not allowed here; see Allow");
}

static void on_request(struct evhttp_request *evhttp, void *arg) {
    const struct control *c = arg;
    struct slice rest = slice_str(evhttp_request_get_uri(evhttp));
    struct control_request rq = {
        .evhttp = evhttp,
        .path = slice_cut(&rest, '?'),
        .query = rest,
        .method = method_bit(evhttp_request_get_command(evhttp)),
    };

    for (size_t i = 0; i < c->route_count; i++) {
        const struct control_route *route = &c->routes[i];
        if (!route_fits(route, rq.path))
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

struct control *control_new(struct loop *loop, int listen_fd, const struct control_route *routes,
                            size_t route_count, void *arg, struct error *err) {
    struct control *c = mem_calloc(1, sizeof(*c));
    int rc = -ENOMEM;

    if (c != NULL) {
        *c = (struct control){ .routes = routes, .route_count = route_count, .arg = arg };
        c->http = evhttp_new(loop_base(loop));
    }
    if (c != NULL && c->http != NULL) {
        evhttp_set_allowed_methods(c->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT |
                                                EVHTTP_REQ_DELETE | EVHTTP_REQ_POST);
        evhttp_set_max_body_size(c->http, CONTROL_BODY_BYTES_MAX);
        evhttp_set_max_headers_size(c->http, HEAD_BYTES_MAX);
        evhttp_set_timeout(c->http, PATIENCE_SEC);
        evhttp_set_gencb(c->http, on_request, c);
        rc = accept_from(c, listen_fd);
    }
    if (rc < 0) {
        error_set(err, rc, "cannot open the control endpoint: %s", strerror(-rc));
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
