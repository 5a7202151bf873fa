/* SPDX-License-Identifier: MIT */
/* Model `event`: callbacks on libevent's evhttp and bufferevents; the handler turned inside out.
 *
 * The same work as app `index`, written as asynchronous code is: what straight code keeps in local
 * variables stands in a struct, each wait ends one function and a callback begins the next, and
 * every way out must remember what is still owed. It is here to be compared with
 * server/app_index.c. */
#include "base/alloc.h"
#include "base/log.h"
#include "base/units.h"
#include "http/url.h"
#include "net/binds.h"
#include "net/resolve.h"
#include "net/signals.h"
#include "server/model.h"
#include "server/pulse.h"
#include "server/stats.h"
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#define ACCEPT_PAUSE (100 * NSEC_PER_MSEC)

static int event_run(struct worker *worker, struct error *err);

const struct model model_event = {
    .name = "event",
    .summary = "one thread; callbacks on evhttp, with a handler of its own (app index only)",
    .run = event_run,
};

struct server {
    const struct worker *worker;
    struct loop *loop;
    struct evhttp *http;
    struct signals *signals;
    struct timer patience, accept_again;
    struct pulse pulse;
    struct evhttp_bound_socket *accepting[BINDS_MAX];
    char host[NI_MAXHOST], authority[300], path[300];
    uint16_t port;
    SLIST_HEAD(, upstream_conn) idle; /* last in, first out */
    LIST_HEAD(, exchange) exchanges;  /* what a stop at once leaves behind */
    unsigned in_flight;
    bool stopping;
    bool retiring; /* idle connections may still send a request; evhttp cannot tell how many there
                      are */
};

/* A connection to the upstream; evhttp opens it, and opens it again when it was closed. */
struct upstream_conn {
    SLIST_ENTRY(upstream_conn) link;
    struct evhttp_connection *http;
};

/* One request: what local variables are in straight code. */
struct exchange {
    LIST_ENTRY(exchange) link;
    struct server *server;
    struct evhttp_request *client;
    struct evhttp_connection *client_conn;
    struct upstream_conn *upstream;
    nsec_t ready_at;
    bool client_gone, timed_out, replied;
};

/* --- the second half of the handler: the upstream has answered, or not --------------- */

static void exchange_end(struct exchange *x) {
    struct server *s = x->server;

    LIST_REMOVE(x, link);
    mem_free(x);
    s->in_flight--;
    stats_add(s->worker->stats, STATS_slots_busy, -1);
    if (s->stopping && !s->retiring && s->in_flight == 0)
        loop_stop(s->loop);
}

/* evhttp frees the request with its connection: from here on it must not be touched. */
static void client_closed(struct evhttp_connection *conn UNUSED, void *arg) {
    struct exchange *x = arg;

    x->client_gone = true;
    if (x->replied)
        exchange_end(x);
}

static void reply_sent(struct evhttp_request *client UNUSED, void *arg) {
    struct exchange *x = arg;

    evhttp_connection_set_closecb(x->client_conn, NULL, NULL);
    exchange_end(x);
}

/* Sends what stands in the output buffer; reply_sent or client_closed ends the exchange. */
static void reply(struct exchange *x, int status) {
    struct evkeyvalq *fields = evhttp_request_get_output_headers(x->client);

    evhttp_add_header(fields, "Content-Type", "text/plain");
    if (x->server->stopping)
        evhttp_add_header(fields, "Connection", "close");
    x->replied = true;
    stats_answered(x->server->worker->stats, (uint16_t)status);
    stats_observe(&x->server->worker->stats->latency, loop_now(x->server->loop) - x->ready_at);
    evhttp_request_set_on_complete_cb(x->client, reply_sent, x);
    evhttp_send_reply(x->client, status, NULL, NULL);
}

static void reply_text(struct exchange *x, int status, const char *text) {
    evbuffer_add(evhttp_request_get_output_buffer(x->client), text, strlen(text));
    reply(x, status);
}

static void greet(struct exchange *x, struct evhttp_request *answer) {
    struct evbuffer *body = evhttp_request_get_output_buffer(x->client);

    evbuffer_add(body, "Hi there! ", 10);
    evbuffer_add_buffer(body, evhttp_request_get_input_buffer(answer));
    reply(x, 200);
}

/* evhttp tells the reason first, to upstream_failed, and then calls this with no answer. */
static void upstream_done(struct evhttp_request *answer, void *arg) {
    struct exchange *x = arg;
    int status = answer != NULL ? evhttp_request_get_response_code(answer) : 0;

    SLIST_INSERT_HEAD(&x->server->idle, x->upstream, link);
    x->upstream = NULL;
    if (x->client_gone)
        exchange_end(x);
    else if (status == 200)
        greet(x, answer);
    else if (x->timed_out)
        reply_text(x, 504, "upstream did not answer in time\n");
    else
        reply_text(x, 502, "upstream could not answer\n");
}

static void upstream_failed(enum evhttp_request_error error, void *arg) {
    struct exchange *x = arg;

    x->timed_out = error == EVREQ_HTTP_TIMEOUT;
}

/* --- the first half: a request has come ------------------------------------------------ */

static struct timeval timeval_of(nsec_t span) {
    return (struct timeval){ .tv_sec = span / NSEC_PER_SEC,
                             .tv_usec = span % NSEC_PER_SEC / NSEC_PER_USEC };
}

static struct upstream_conn *take_upstream(struct server *s) {
    const struct serve_config *config = s->worker->config;
    struct timeval timeout = timeval_of(config->upstream_timeout);
    const char *bind = worker_upstream_bind(s->worker);
    struct upstream_conn *u = SLIST_FIRST(&s->idle);

    if (u != NULL) {
        SLIST_REMOVE_HEAD(&s->idle, link);
        return u;
    }
    u = mem_calloc(1, sizeof(*u));
    if (u == NULL)
        return NULL;
    u->http = evhttp_connection_base_new(loop_base(s->loop), NULL, s->host, s->port);
    if (u->http == NULL) {
        mem_free(u);
        return NULL;
    }
    if (bind != NULL)
        evhttp_connection_set_local_address(u->http, bind);
    evhttp_connection_set_timeout_tv(u->http, &timeout);
    return u;
}

/* evhttp owns `ask` from here on, also when it fails. */
static int send_upstream(struct exchange *x, const char *seconds) {
    struct evhttp_request *ask = evhttp_request_new(upstream_done, x);
    char target[512];
    int len = snprintf(target, sizeof(target), "%s?delay=%s", x->server->path, seconds);

    if (ask == NULL || len < 0 || (size_t)len >= sizeof(target))
        return -EINVAL;
    evhttp_request_set_error_cb(ask, upstream_failed);
    evhttp_add_header(evhttp_request_get_output_headers(ask), "Host", x->server->authority);
    evhttp_add_header(evhttp_request_get_output_headers(ask), "Connection", "keep-alive");
    return evhttp_make_request(x->upstream->http, ask, EVHTTP_REQ_GET, target) < 0 ? -EIO : 0;
}

static void ask(struct exchange *x, const char *seconds) {
    x->upstream = take_upstream(x->server);
    if (x->upstream != NULL && send_upstream(x, seconds) == 0)
        return; /* upstream_done goes on */
    if (x->upstream != NULL)
        SLIST_INSERT_HEAD(&x->server->idle, x->upstream, link);
    x->upstream = NULL;
    reply_text(x, 502, "upstream could not be asked\n");
}

/* The decoded value of `delay`, empty when absent; false when it was too long to be a number. */
static bool find_delay(struct slice query, char *text, size_t size) {
    struct slice raw;
    long len;

    text[0] = '\0';
    if (!http_query_find(query, SLICE("delay"), &raw))
        return true;
    if (raw.len >= size)
        return false;
    len = http_percent_decode(raw, text);
    text[len > 0 ? len : 0] = '\0';
    return len >= 0;
}

static void handle(struct exchange *x) {
    struct slice path, query;
    char seconds[64], text[160];
    const char *why = "is not a number";
    nsec_t delay;

    http_target_split(slice_str(evhttp_request_get_uri(x->client)), &path, &query);
    if (!slice_eq(path, SLICE("/"))) {
        reply_text(x, 404, "not found\n");
    } else if (!find_delay(query, seconds, sizeof(seconds)) ||
               units_parse_seconds(slice_str(seconds), &delay, &why) < 0) {
        snprintf(text, sizeof(text), "delay %s; examples: 0, 0.25, 30\n", why);
        reply_text(x, 400, text);
    } else {
        ask(x, seconds[0] != '\0' ? seconds : "1");
    }
}

static void on_request(struct evhttp_request *client, void *arg) {
    struct server *s = arg;
    struct exchange *x = mem_calloc(1, sizeof(*x));

    if (x == NULL) {
        evhttp_send_error(client, 503, NULL);
        return;
    }
    x->server = s;
    x->ready_at = loop_now(s->loop);
    x->client = client;
    x->client_conn = evhttp_request_get_connection(client);
    s->in_flight++;
    stats_add(s->worker->stats, STATS_slots_busy, 1);
    LIST_INSERT_HEAD(&s->exchanges, x, link);
    evhttp_connection_set_closecb(x->client_conn, client_closed, x);
    handle(x);
}

/* --- life ---------------------------------------------------------------------------------- */

/* The loop ends when nothing is in flight any more, at the latest after this. */
static void stop_within(struct server *s, nsec_t patience) {
    nsec_t until = deadline_after(loop_now(s->loop), patience);

    if ((s->in_flight == 0 && !s->retiring) || timer_set(s->loop, &s->patience, until) < 0)
        loop_stop(s->loop);
}

static void out_of_patience(struct timer *timer) {
    struct server *s = CONTAINER_OF(timer, struct server, patience);

    if (s->retiring) {
        s->retiring = false;
        stop_within(s, s->worker->config->graceful_timeout);
        return;
    }
    log_write(LOG_LEVEL_WARN, "graceful stop takes too long, dropping requests=%u", s->in_flight);
    loop_stop(s->loop);
}

static void on_signal(void *arg, int signo) {
    struct server *s = arg;
    const struct serve_config *config = s->worker->config;
    bool first = !s->stopping, again = s->stopping && !s->retiring;

    if (signo == SIGHUP)
        return;
    atomic_store(&s->worker->stats->life, STATS_STOPPING);
    for (size_t i = 0; first && i < s->worker->listen_count; i++)
        evhttp_del_accept_socket(s->http, s->accepting[i]);
    s->stopping = true;
    s->retiring = signo == SIGRETIRE && first;
    if (s->retiring)
        stop_within(s, config->keep_alive);
    else if (signo == SIGTERM && !again)
        stop_within(s, config->graceful_timeout);
    else if (signo != SIGRETIRE)
        loop_stop(s->loop);
}

/* evhttp keeps the argument of its listeners' callbacks to itself, and one process runs one server.
 */
static struct server *own_server;

static void set_accepting(struct server *s, bool accepting) {
    for (size_t i = 0; i < s->worker->listen_count; i++) {
        struct evconnlistener *listener = evhttp_bound_socket_get_listener(s->accepting[i]);

        if ((accepting ? evconnlistener_enable(listener) : evconnlistener_disable(listener)) < 0)
            log_write(LOG_LEVEL_ERROR, "cannot change what is accepted from");
    }
}

/* Out of descriptors, say: what waits stays readable, and the next turn would fail as this one. */
static void accept_failed(struct evconnlistener *listener UNUSED, void *http UNUSED) {
    static struct log_rate rate = { .per_second = 1 };
    struct server *s = own_server;

    log_limited(&rate, LOG_LEVEL_WARN, "accept paused error=\"%s\"", strerrordesc_np(errno));
    if (timer_set(s->loop, &s->accept_again, deadline_after(clock_now(), ACCEPT_PAUSE)) == 0)
        set_accepting(s, false);
}

static void accept_again(struct timer *timer) {
    struct server *s = CONTAINER_OF(timer, struct server, accept_again);

    if (!s->stopping)
        set_accepting(s, true);
}

/* evhttp closes what it accepts on; the listening sockets are the master's. */
static int accept_on(struct server *s, struct error *err) {
    for (size_t i = 0; i < s->worker->listen_count; i++) {
        int fd = dup(s->worker->listen_fds[i]);

        s->accepting[i] = fd < 0 ? NULL : evhttp_accept_socket_with_handle(s->http, fd);
        if (s->accepting[i] == NULL)
            return error_set(err, -EIO, "evhttp cannot accept connections");
        evconnlistener_set_error_cb(evhttp_bound_socket_get_listener(s->accepting[i]),
                                    accept_failed);
    }
    return 0;
}

/* evhttp would look the name up anew, and blocking, for each connection. */
static int find_upstream(struct server *s, struct error *err) {
    const char *why = NULL;
    struct http_url url;
    struct endpoint endpoint;
    struct resolved found;
    struct io_block block;
    char text[ADDRESS_TEXT_BYTES];
    int rc = http_url_parse(slice_str(s->worker->config->upstream_url), &url, &why);

    if (rc < 0)
        return error_set(err, rc, "--upstream: %s", why);
    io_block_init(&block, -1);
    endpoint = (struct endpoint){ .host = url.host, .port = url.port };
    rc = resolve(&block.io, &endpoint, deadline_after(clock_now(), 10 * NSEC_PER_SEC), &found, err);
    if (rc < 0)
        return rc;
    s->port = address_port(&found.addresses[0]);
    getnameinfo(&found.addresses[0].any, found.addresses[0].len, s->host, sizeof(s->host), NULL, 0,
                NI_NUMERICHOST);
    snprintf(s->authority, sizeof(s->authority), "%.*s:%u", (int)url.host.len, url.host.ptr,
             url.port);
    snprintf(s->path, sizeof(s->path), "%.*s", (int)url.target.len, url.target.ptr);
    address_format(&found.addresses[0], text);
    log_write(LOG_LEVEL_DEBUG, "upstream address=%s", text);
    return 0;
}

static int server_open(struct server *s, struct error *err) {
    const struct serve_config *config = s->worker->config;
    struct timeval header_timeout = timeval_of(config->header_timeout);
    int rc = find_upstream(s, err);

    if (rc < 0)
        return rc;
    s->loop = loop_new_batching(err);
    if (s->loop == NULL)
        return -EIO;
    s->signals = signals_new(s->loop, on_signal, s, err);
    s->http = evhttp_new(loop_base(s->loop));
    if (s->signals == NULL || s->http == NULL)
        return error_set(err, -ENOMEM, "cannot start evhttp");
    rc = pulse_start(&s->pulse, s->loop, NULL, s->worker);
    if (rc < 0)
        return error_set(err, rc, "out of memory");
    own_server = s;
    s->patience.fire = out_of_patience;
    s->accept_again.fire = accept_again;
    evhttp_set_gencb(s->http, on_request, s);
    evhttp_set_timeout_tv(s->http, &header_timeout);
    evhttp_set_max_headers_size(s->http, config->limits.head_bytes);
    evhttp_set_max_body_size(s->http, (ev_ssize_t)config->limits.body_bytes);
    return accept_on(s, err);
}

/* evhttp calls nobody back for what it drops. */
static void drop_exchanges(struct server *s) {
    struct exchange *x;

    while ((x = LIST_FIRST(&s->exchanges)) != NULL) {
        LIST_REMOVE(x, link);
        if (x->upstream != NULL)
            SLIST_INSERT_HEAD(&s->idle, x->upstream, link);
        mem_free(x);
    }
}

static void server_close(struct server *s) {
    struct upstream_conn *u;

    if (s->http != NULL)
        evhttp_free(s->http);
    drop_exchanges(s);
    while ((u = SLIST_FIRST(&s->idle)) != NULL) {
        SLIST_REMOVE_HEAD(&s->idle, link);
        evhttp_connection_free(u->http);
        mem_free(u);
    }
    if (s->loop != NULL) {
        timer_cancel(s->loop, &s->patience);
        timer_cancel(s->loop, &s->accept_again);
    }
    signals_hold();
    pulse_stop(&s->pulse);
    signals_free(s->signals);
    loop_free(s->loop);
}

static int event_run(struct worker *worker, struct error *err) {
    struct server s = { .worker = worker };
    int rc = server_open(&s, err);

    if (rc == 0) {
        worker_ready(worker);
        rc = loop_run(s.loop);
        if (rc < 0)
            error_set(err, rc, "the event loop failed: %s", strerrordesc_np(-rc));
    }
    server_close(&s);
    return rc;
}
