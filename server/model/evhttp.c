/* SPDX-License-Identifier: MIT */
/* Model `evhttp`: libevent's own HTTP server and client over bufferevents, for the app `index`, so
 * that everybody sees what the library gives for free. Nothing of the other models' front, session
 * or upstream client is here; which of serve's promises this costs stands in docs/models.md, and
 * tests/e2e/test_evhttp.py shows each. */
#include "base/alloc.h"
#include "base/log.h"
#include "base/units.h"
#include "http/server_timing.h"
#include "proc/signals.h"
#include "server/app/app.h"
#include "server/heartbeat.h"
#include "server/limits.h"
#include "server/model/model.h"
#include "server/upstream/exchange.h"
#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <fcntl.h>
#include <sys/queue.h>
#include <unistd.h>

enum { PATH_BYTES_MAX = 2048, TIMING_BYTES = 160 };

static int evhttp_run(struct worker *worker, struct error *err);

const struct model model_evhttp = {
    .name = "evhttp",
    .summary = "one thread; libevent's own HTTP server and client, as a reference",
    .run = evhttp_run,
};

/* A connection to the upstream. Between two calls it stands in `idle`, last used first. */
struct evhttp_line {
    struct evhttp_connection *connection;
    SLIST_ENTRY(evhttp_line) idle;
};

/* A client's request whose call of the upstream is in progress. */
struct ask {
    struct evhttp_model *model;
    struct evhttp_request *client;
    struct evhttp_line *line;
    nsec_t began_at;
    bool late;
    LIST_ENTRY(ask) link;
};

struct evhttp_model {
    struct worker *worker;
    struct loop *loop;
    struct signals *signals;
    struct heartbeat heartbeat;
    struct evhttp *server;
    struct evhttp_bound_socket *sockets[LISTENERS_MAX];
    struct upstream_target target;
    char host[300]; /* the upstream's, as text with an end */
    SLIST_HEAD(, evhttp_line) idle;
    LIST_HEAD(, ask) asks;
    unsigned writing; /* answers whose last byte evhttp has not sent yet */
    struct timer patience;
    bool stopping;
};

static struct timeval timeval_of(nsec_t span) {
    return (struct timeval){ .tv_sec = span / NSEC_PER_SEC,
                             .tv_usec = span % NSEC_PER_SEC / NSEC_PER_USEC };
}

/* The loop's time is that of the beginning of its turn, before a request of the turn had come. */
static nsec_t now_of(const struct evhttp_model *m) {
    return m->worker->config->server_timing ? clock_now() : loop_now(m->loop);
}

static void stop_when_done(struct evhttp_model *m) {
    if (m->stopping && LIST_EMPTY(&m->asks) && m->writing == 0)
        loop_stop(m->loop);
}

/* --- answers --------------------------------------------------------------- */

/* The client of an answer in `writing` has left before its last byte. */
static void on_closed(struct evhttp_connection *connection UNUSED, void *arg) {
    struct evhttp_model *m = arg;

    m->writing--;
    stop_when_done(m);
}

static void on_written(struct evhttp_request *client, void *arg) {
    struct evhttp_connection *connection = evhttp_request_get_connection(client);

    evhttp_connection_set_closecb(connection, NULL, NULL);
    on_closed(connection, arg);
}

/* The handler waits for the upstream, and for nothing else; evhttp has no queue. 0 or -1. */
static int put_timing(struct evkeyvalq *fields, nsec_t spent) {
    char text[TIMING_BYTES], *at = server_timing_put(text, true, SLICE("queue"), 0);

    at = server_timing_put(at, false, SLICE("handler"), 0);
    at = server_timing_put(at, false, SLICE("upstream"), spent / NSEC_PER_USEC);
    at = server_timing_put(at, false, SLICE("db"), 0);
    *at = '\0';
    return evhttp_add_header(fields, "Server-Timing", text);
}

static void answer(struct evhttp_model *m, struct evhttp_request *client, int status,
                   struct evbuffer *body, nsec_t began_at) {
    const struct worker *worker = m->worker;
    struct evhttp_connection *connection = evhttp_request_get_connection(client);
    struct evkeyvalq *fields = evhttp_request_get_output_headers(client);
    nsec_t spent = now_of(m) - began_at;

    if (evhttp_add_header(fields, "Content-Type", "text/plain") < 0 ||
        (status == 503 && evhttp_add_header(fields, "Retry-After", "1") < 0) ||
        (worker->config->server_timing && put_timing(fields, spent) < 0) ||
        ((m->stopping || worker->config->keep_alive == 0) &&
         evhttp_add_header(fields, "Connection", "close") < 0))
        log_write(LOG_LEVEL_WARN, "no memory for the fields of an answer");
    if (connection != NULL) { /* the client is still there */
        evhttp_request_set_on_complete_cb(client, on_written, m);
        evhttp_connection_set_closecb(connection, on_closed, m);
        m->writing++;
    }
    evhttp_send_reply(client, status, NULL, body);
    stats_answered(worker->stats, (uint16_t)status);
    hist_shared_record(&worker->stats->latency, spent);
    worker_count_answer(worker);
}

static void answer_text(struct evhttp_model *m, struct evhttp_request *client, int status,
                        const char *text, nsec_t began_at) {
    struct evbuffer *body = evbuffer_new();

    if (body != NULL && evbuffer_add_printf(body, "%s\n", text) < 0)
        log_write(LOG_LEVEL_WARN, "no memory for the body of an answer");
    answer(m, client, status, body, began_at);
    if (body != NULL)
        evbuffer_free(body);
}

/* --- the upstream ------------------------------------------------------------ */

static void line_free(struct evhttp_line *line) {
    if (line == NULL)
        return;
    if (line->connection != NULL)
        evhttp_connection_free(line->connection);
    mem_free(line);
}

/* The most recently used connection that is idle, or a new one. evhttp connects when a request is
 * made, again when the upstream has closed meanwhile. */
static struct evhttp_line *line_take(struct evhttp_model *m) {
    struct evhttp_line *line = SLIST_FIRST(&m->idle);
    struct timeval timeout = timeval_of(m->target.timeout);

    if (line != NULL) {
        SLIST_REMOVE_HEAD(&m->idle, idle);
        return line;
    }
    line = mem_calloc(1, sizeof(*line));
    if (line == NULL)
        return NULL;
    line->connection =
        evhttp_connection_base_new(loop_base(m->loop), NULL, m->host, m->target.url.port);
    if (line->connection == NULL) {
        line_free(line);
        return NULL;
    }
    evhttp_connection_set_timeout_tv(line->connection, &timeout);
    evhttp_connection_set_max_body_size(line->connection, SERVER_UPSTREAM_BODY_BYTES_MAX);
    return line;
}

/* `reply` is NULL, or without a status, when the call failed. */
static void on_reply(struct evhttp_request *reply, void *arg) {
    struct ask *ask = arg;
    struct evhttp_model *m = ask->model;
    int status = reply != NULL ? evhttp_request_get_response_code(reply) : 0;
    struct evbuffer *body;

    stats_add(m->worker->stats, STATS_upstream_waiting, -1);
    stats_add(m->worker->stats, STATS_upstream_calls, 1);
    if (status == 0)
        stats_add(m->worker->stats, ask->late ? STATS_upstream_late : STATS_upstream_failed, 1);
    if (status == 200) {
        body = evhttp_request_get_input_buffer(reply);
        if (evbuffer_prepend(body, "Hi there! ", 10) < 0)
            log_write(LOG_LEVEL_WARN, "no memory for the greeting of an answer");
        answer(m, ask->client, 200, body, ask->began_at);
    } else if (ask->late) {
        answer_text(m, ask->client, 504, "the upstream did not answer in time", ask->began_at);
    } else {
        answer_text(m, ask->client, 502,
                    status == 0 ? "the call of the upstream failed"
                                : "the upstream answered with an error",
                    ask->began_at);
    }
    SLIST_INSERT_HEAD(&m->idle, ask->line, idle);
    LIST_REMOVE(ask, link);
    mem_free(ask);
    stop_when_done(m);
}

/* evhttp calls this before on_reply. */
static void on_error(enum evhttp_request_error error, void *arg) {
    struct ask *ask = arg;

    ask->late = error == EVREQ_HTTP_TIMEOUT;
}

static int make_request(struct ask *ask, const char *seconds) {
    const struct upstream_target *t = &ask->model->target;
    struct evhttp_request *request = evhttp_request_new(on_reply, ask);
    char path[PATH_BYTES_MAX];
    int len = snprintf(path, sizeof(path), "%.*s?delay=%s", (int)t->url.target.len,
                       t->url.target.ptr, seconds);

    if (request == NULL)
        return -ENOMEM;
    evhttp_request_set_error_cb(request, on_error);
    if (len >= (int)sizeof(path) ||
        evhttp_add_header(evhttp_request_get_output_headers(request), "Host", t->host) < 0) {
        evhttp_request_free(request);
        return -ENOMEM;
    }
    return evhttp_make_request(ask->line->connection, request, EVHTTP_REQ_GET, path) < 0 ? -EIO : 0;
}

/* Asks the slow API; its answer goes to `client`. 0 or -errno: then no answer is on its way. */
static int ask_upstream(struct evhttp_model *m, struct evhttp_request *client,
                        const char *seconds) {
    struct ask *ask = mem_calloc(1, sizeof(*ask));
    int rc;

    if (ask == NULL)
        return -ENOMEM;
    *ask = (struct ask){ .model = m, .client = client, .began_at = now_of(m) };
    ask->line = line_take(m);
    rc = ask->line != NULL ? make_request(ask, seconds) : -ENOMEM;
    if (rc < 0) {
        line_free(ask->line);
        mem_free(ask);
        return rc;
    }
    LIST_INSERT_HEAD(&m->asks, ask, link);
    stats_add(m->worker->stats, STATS_upstream_waiting, 1);
    return 0;
}

/* --- requests ---------------------------------------------------------------- */

/* `GET /?delay=S`, as server/app/index.c. */
static void on_request(struct evhttp_request *client, void *arg) {
    struct evhttp_model *m = arg;
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(client);
    const char *path = evhttp_uri_get_path(uri), *query = evhttp_uri_get_query(uri);
    const char *seconds, *why = NULL;
    struct evkeyvalq parameters;
    char text[200];
    nsec_t span, now = now_of(m);

    TAILQ_INIT(&parameters);
    if (path == NULL || strcmp(path, "/") != 0) {
        answer_text(m, client, 404, "not found", now);
        return;
    }
    if (query != NULL && evhttp_parse_query_str(query, &parameters) < 0) {
        answer_text(m, client, 400, "malformed query", now);
        return;
    }
    seconds = evhttp_find_header(&parameters, "delay");
    if (seconds == NULL || seconds[0] == '\0')
        seconds = "1";
    if (units_parse_seconds(slice_str(seconds), &span, &why) < 0) {
        snprintf(text, sizeof(text), "delay '%.60s' %s; examples: 0, 0.25, 30", seconds, why);
        answer_text(m, client, 400, text, now);
    } else if (ask_upstream(m, client, seconds) < 0) {
        answer_text(m, client, 503, "out of memory", now);
    }
    evhttp_clear_headers(&parameters);
}

/* --- life ---------------------------------------------------------------------- */

/* Requests in progress after the wait are dropped with their connections by evhttp_close. */
static void out_of_patience(struct timer *timer) {
    struct evhttp_model *m = CONTAINER_OF(timer, struct evhttp_model, patience);

    log_write(LOG_LEVEL_WARN, "graceful stop takes too long, dropping requests");
    loop_stop(m->loop);
}

static void stop(struct evhttp_model *m, nsec_t patience, bool retires) {
    nsec_t until = deadline_after(loop_now(m->loop), patience);

    for (size_t i = 0; !m->stopping && i < m->worker->listen_count; i++)
        evhttp_del_accept_socket(m->server, m->sockets[i]);
    if (!m->stopping)
        worker_stopping(m->worker, retires);
    m->stopping = true;
    if (patience == 0 || timer_set(m->loop, &m->patience, until) < 0)
        loop_stop(m->loop);
    stop_when_done(m);
}

static void on_signal(void *arg, int signo) {
    struct evhttp_model *m = arg;
    bool first = !m->stopping;

    if (first && (signo == SIGTERM || signo == SIGRETIRE))
        stop(m, m->worker->config->graceful_timeout, signo == SIGRETIRE);
    else if (signo == SIGTERM || signo == SIGINT || signo == SIGQUIT)
        stop(m, 0, false);
}

static int open_server(struct evhttp_model *m, struct error *err) {
    const struct serve_config *config = m->worker->config;
    struct timeval idle =
        timeval_of(config->keep_alive > 0 ? config->keep_alive : config->header_timeout);

    m->server = evhttp_new(loop_base(m->loop));
    if (m->server == NULL)
        return error_set(err, -ENOMEM, "cannot make an HTTP server: out of memory");
    evhttp_set_gencb(m->server, on_request, m);
    evhttp_set_timeout_tv(m->server, &idle);
    evhttp_set_max_headers_size(m->server, (ev_ssize_t)config->limits.head_bytes);
    evhttp_set_max_body_size(m->server, (ev_ssize_t)config->limits.body_bytes);
    evhttp_set_allowed_methods(m->server, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST |
                                              EVHTTP_REQ_PUT | EVHTTP_REQ_PATCH |
                                              EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS);
    for (size_t i = 0; i < m->worker->listen_count; i++) {
        int fd = fcntl(m->worker->listen_fds[i], F_DUPFD_CLOEXEC, 0); /* evhttp closes it */
        m->sockets[i] = fd >= 0 ? evhttp_accept_socket_with_handle(m->server, fd) : NULL;
        if (m->sockets[i] == NULL)
            return error_set(err, -EIO, "cannot accept connections");
    }
    return 0;
}

static int evhttp_open(struct evhttp_model *m, struct worker *worker, struct error *err) {
    struct upstream_config upstream =
        upstream_config_of(worker->config, worker->index, worker->upstream_tls);
    int rc;

    m->worker = worker;
    m->patience.fire = out_of_patience;
    rc = upstream_target_init(&m->target, &upstream, err);
    if (rc < 0)
        return rc;
    snprintf(m->host, sizeof(m->host), "%.*s", (int)m->target.url.host.len, m->target.url.host.ptr);
    m->loop = loop_new(err);
    if (m->loop == NULL)
        return -EIO;
    m->signals = signals_new(m->loop, on_signal, m, err);
    if (m->signals == NULL)
        return -EIO;
    signals_enforce();
    rc = heartbeat_start(&m->heartbeat, m->loop, worker);
    if (rc < 0)
        return error_set(err, rc, "out of memory");
    return open_server(m, err);
}

/* The server first, which frees the clients' requests; then the calls made for them. */
static void evhttp_close(struct evhttp_model *m) {
    struct evhttp_line *line;
    struct ask *ask;

    if (m->server != NULL)
        evhttp_free(m->server);
    while ((ask = LIST_FIRST(&m->asks)) != NULL) {
        LIST_REMOVE(ask, link);
        line_free(ask->line);
        mem_free(ask);
    }
    while ((line = SLIST_FIRST(&m->idle)) != NULL) {
        SLIST_REMOVE_HEAD(&m->idle, idle);
        line_free(line);
    }
    if (m->loop != NULL)
        timer_cancel(m->loop, &m->patience);
    heartbeat_stop(&m->heartbeat);
    signals_free(m->signals);
    loop_free(m->loop);
}

static int evhttp_run(struct worker *worker, struct error *err) {
    struct evhttp_model *m = mem_calloc(1, sizeof(*m));
    int rc;

    if (m == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    rc = evhttp_open(m, worker, err);
    if (rc == 0) {
        worker_ready(worker);
        rc = loop_run(m->loop);
        if (rc < 0)
            error_set(err, rc, "the event loop failed: %s", strerrordesc_np(-rc));
    }
    signals_hold();
    evhttp_close(m);
    mem_free(m);
    return rc;
}
