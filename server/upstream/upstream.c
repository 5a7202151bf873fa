/* SPDX-License-Identifier: MIT */
/* Requests to the upstream: take or open a connection, write, read one answer, give the connection
 * back. */
#include "server/upstream/upstream.h"
#include "base/alloc.h"
#include "net/idle_pool.h"
#include "server/limits.h"
#include "server/upstream/curl.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct upstream {
    struct upstream_target target;
    struct idle_pool idle;      /* holds connections */
    struct io_fiber *fiber_io;  /* NULL: shared between threads */
    struct tls_session session; /* the next connection goes on with it */
    struct upstream_curl *curl; /* instead of our own client; or NULL */
    char *curl_url;
    atomic_uint turn; /* counts connects to a name, for its addresses; threads share it */
};

/* A connection to the upstream. */
struct connection {
    struct idle idle;
    struct upstream *u;
    struct tls *tls; /* NULL: without */
    int fd;
    uint32_t uses;
};

/* One request and its answer, over one connection, or two when the first one was stale. */
struct upstream_attempt {
    struct upstream *u;
    struct io *io;
    nsec_t deadline;
    struct upstream_exchange exchange;
    struct connection *conn;
    bool cut; /* the request was not sent to its end */
};

/* --- connections ---------------------------------------------------------------- */

static void conn_close(struct connection *conn) {
    if (conn->tls != NULL)
        tls_shutdown(conn->tls);
    if (conn->u->fiber_io != NULL)
        io_close(io_fiber_io(conn->u->fiber_io), conn->fd);
    else
        close(conn->fd);
    tls_free(conn->tls);
    mem_free(conn);
}

static void idle_close(struct idle_pool *pool UNUSED, struct idle *idle) {
    conn_close(CONTAINER_OF(idle, struct connection, idle));
}

/* Threads ask; a loop is told. */
static bool idle_is_quiet(struct idle *idle) {
    const struct connection *conn = CONTAINER_OF(idle, struct connection, idle);

    if (conn->tls != NULL)
        return tls_peek(conn->tls) == -EAGAIN;
    return idle_socket_is_quiet(conn->fd);
}

static void on_idle_news(void *arg, int fd UNUSED) {
    struct connection *conn = arg;

    idle_pool_expel(&conn->u->idle, &conn->idle);
}

/* An idle one, if there is one. 0 or -errno. */
static int conn_take(struct upstream_attempt *c, nsec_t now) {
    struct idle *idle = idle_pool_take(&c->u->idle, now);
    int rc;

    c->conn = idle != NULL ? CONTAINER_OF(idle, struct connection, idle) : NULL;
    if (c->conn == NULL || c->conn->tls == NULL || c->u->fiber_io != NULL)
        return 0;
    rc = io_secure(c->io, c->conn->fd, c->conn->tls);
    if (rc < 0)
        conn_close(c->conn);
    return rc;
}

/* Unties it from the io of this thread: the next user, or who closes it, may be another one. */
static void conn_leave(struct upstream_attempt *c) {
    struct connection *conn = c->conn;

    if (conn->tls == NULL || c->u->fiber_io != NULL)
        return;
    c->io->ops->forget(c->io, conn->fd);
    tls_attach_socket(conn->tls, conn->fd);
}

/* Whether something came behind the answer already, where no socket shows it. */
static bool conn_is_spent(const struct connection *conn) {
    const struct tls *tls = conn->tls;

    return tls != NULL &&
           (tls->has_rest || tls->ended || tls->failure != 0 || tls->send_failure != 0);
}

/* For the next request: the answer was complete, and nothing is left over. */
static void conn_keep(struct connection *conn, nsec_t now) {
    struct upstream *u = conn->u;

    conn->uses++;
    if (u->fiber_io == NULL || io_fiber_idle(u->fiber_io, conn->fd, on_idle_news, conn) == 0)
        idle_pool_put(&u->idle, &conn->idle, now, NSEC_NEVER);
    else
        conn_close(conn);
}

/* --- set-up ------------------------------------------------------------------ */

/* curl gets the URL with everything spelled out, so that a suffix can follow it. */
static int open_curl(struct upstream *u, const struct upstream_config *config,
                     struct io_fiber *fiber_io) {
    const struct http_url *url = &u->target.url;
    struct upstream_curl_config client = {
        .target = &u->target,
        .ca_path = config->ca_path,
        .cert_path = config->cert_path,
        .key_path = config->key_path,
        .insecure = config->insecure,
        .bind = config->bind,
        .fiber_io = fiber_io,
        .idle_count_max = SERVER_CURL_IDLE_MAX,
        .idle_span_max = SERVER_UPSTREAM_IDLE_NSEC,
    };

    if (asprintf(&u->curl_url, "%.*s://%s%.*s", (int)url->scheme.len, url->scheme.ptr,
                 u->target.host, (int)url->target.len, url->target.ptr) < 0) {
        u->curl_url = NULL;
        return -ENOMEM;
    }
    client.url = slice_str(u->curl_url);
    u->curl = upstream_curl_new(&client);
    return u->curl != NULL ? 0 : -ENOMEM;
}

static void open_native(struct upstream *u, struct io_fiber *fiber_io) {
    struct idle_pool_config idle = {
        .count_max = SERVER_UPSTREAM_IDLE_MAX,
        .span_max = SERVER_UPSTREAM_IDLE_NSEC,
        .close = idle_close,
        .is_quiet = fiber_io == NULL ? idle_is_quiet : NULL,
        .loop = fiber_io != NULL ? io_fiber_loop(fiber_io) : NULL,
    };

    u->fiber_io = fiber_io;
    u->session = TLS_SESSION_INIT;
    idle_pool_init(&u->idle, &idle);
}

struct upstream *upstream_new(const struct upstream_config *config, struct io_fiber *fiber_io,
                              struct error *err) {
    struct upstream *u = mem_calloc(1, sizeof(*u));
    int rc;

    if (u == NULL) {
        error_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    open_native(u, fiber_io);
    if (upstream_target_init(&u->target, config, err) < 0)
        goto fail;
    rc = config->curl ? open_curl(u, config, fiber_io) : 0;
    if (rc == 0)
        return u;
    error_set(err, rc, "out of memory");
fail:
    upstream_free(u);
    return NULL;
}

void upstream_free(struct upstream *u) {
    if (u == NULL)
        return;
    idle_pool_end(&u->idle);
    tls_session_forget(&u->session);
    upstream_curl_free(u->curl);
    free(u->curl_url); /* asprintf's */
    mem_free(u);
}

/* --- connecting ----------------------------------------------------------------- */

/* To the first of its addresses that answers; each connection begins with the next one. */
static int connect_to_found(struct upstream_attempt *c, struct resolved *found) {
    struct upstream_exchange *x = &c->exchange;
    const struct upstream_target *target = &c->u->target;
    struct error *err = arena_alloc(x->arena, sizeof(*err));
    int rc;

    if (err == NULL)
        return -ENOMEM;
    rc = resolve_with_rules(c->io, &target->endpoint, &target->rules, c->deadline, found, err);
    if (rc < 0) {
        x->why = rc == -ETIMEDOUT ? "upstream name look-up did not end in time" : err->text;
        return rc;
    }
    resolve_rotate(found, atomic_fetch_add(&c->u->turn, 1));
    rc = -ENOENT;
    for (size_t i = 0; i < found->count; i++) {
        rc = io_connect_from(c->io, &found->addresses[i], upstream_target_source(target),
                             c->deadline);
        if (rc >= 0 || rc == -ETIMEDOUT || rc == -ECANCELED)
            break;
    }
    return rc < 0 ? exchange_fail(x, rc, "cannot be reached") : rc;
}

static int connect_by_name(struct upstream_attempt *c) {
    struct resolved *found = mem_alloc(sizeof(*found)); /* too large for a fiber's page */
    int rc = found != NULL ? connect_to_found(c, found) : -ENOMEM;

    mem_free(found);
    return rc;
}

static int connect_by_address(struct upstream_attempt *c) {
    const struct upstream_target *target = &c->u->target;
    int fd = io_connect_from(c->io, &target->address, upstream_target_source(target), c->deadline);

    return fd < 0 ? exchange_fail(&c->exchange, fd, "cannot be reached") : fd;
}

/* Makes the handshake. 0 or -errno. */
static int secure(struct upstream_attempt *c) {
    struct connection *conn = c->conn;
    const struct tls_peer peer = { .name = c->u->target.name, .session = &c->u->session };
    int rc = tls_new(c->u->target.tls, &peer, &conn->tls);

    if (rc == 0)
        rc = io_secure(c->io, conn->fd, conn->tls);
    if (rc == 0)
        rc = io_handshake(c->io, conn->fd, c->deadline);
    if (rc == 0)
        return 0;
    rc = exchange_fail_within(&c->exchange, rc, conn->tls, "cannot be reached");
    conn_leave(c);
    conn_close(conn);
    return rc;
}

static int connect_fresh(struct upstream_attempt *c) {
    struct connection *conn = mem_calloc(1, sizeof(*conn));
    int fd;

    if (conn == NULL)
        return -ENOMEM;
    fd = c->u->target.numeric ? connect_by_address(c) : connect_by_name(c);
    if (fd < 0) {
        mem_free(conn);
        return fd;
    }
    conn->u = c->u;
    conn->fd = fd;
    c->conn = conn;
    return c->u->target.tls != NULL ? secure(c) : 0;
}

/* --- one exchange ----------------------------------------------------------------- */

enum said { SAID_NOTHING, SAID_INTERIM, SAID_SOMETHING };

/* Looks at what the upstream says while it is written to. */
static enum said look(const struct upstream_attempt *c) {
    char begin[10]; /* "HTTP/1.1 1" */
    ssize_t n = c->io->ops->peek(c->io, c->conn->fd, begin, sizeof(begin));

    if (n == -EAGAIN)
        return SAID_NOTHING;
    return n == (ssize_t)sizeof(begin) && begin[9] == '1' ? SAID_INTERIM : SAID_SOMETHING;
}

/* Waits until more can be written: 0; 1: the upstream answers already, and may never read the rest;
 * -errno. */
static int wait_to_write(struct upstream_attempt *c) {
    int fd = c->conn->fd;
    enum said said = look(c);

    if (said == SAID_SOMETHING)
        return 1;
    if (said == SAID_INTERIM)
        return io_wait(c->io, fd, IO_WRITE, c->deadline);
    return io_wait(c->io, fd, IO_READ | IO_WRITE, c->deadline);
}

/* 0: all is written, or the upstream has answered before that. */
static int write_body(struct upstream_attempt *c, struct slice body) {
    int fd = c->conn->fd, rc = 0;

    while (rc == 0 && body.len > 0) {
        ssize_t n = c->io->ops->send(c->io, fd, body.ptr, body.len);

        if (n >= 0)
            body = slice_drop(body, (size_t)n);
        else if (n == -EAGAIN)
            rc = wait_to_write(c);
        else
            rc = look(c) == SAID_SOMETHING ? 1 : (int)n;
    }
    c->cut = rc > 0;
    return rc < 0 ? rc : 0;
}

/* An upstream that refuses us says why (in TLS 1.3 after our handshake), and may be gone before it
 * has read what we send: as write_body. */
static int hear_out(struct upstream_attempt *c, int rc) {
    const struct connection *conn = c->conn;

    if (conn->tls == NULL || conn->tls->send_failure == 0 || look(c) != SAID_SOMETHING)
        return exchange_fail_within(&c->exchange, rc, conn->tls, "did not take the request");
    c->cut = true;
    return 0;
}

static int write_request(struct upstream_attempt *c) {
    struct slice body = c->exchange.request->body;
    struct buf out;
    int rc;

    buf_init(&out, SERVER_UPSTREAM_REQUEST_BYTES_MAX + SERVER_BODY_RECV_BYTES);
    rc = exchange_request(&c->exchange, &out);
    if (rc == 0 && body.len > 0 &&
        body.len <= SERVER_BODY_RECV_BYTES) { /* head and body go at once */
        rc = buf_append(&out, body);
        body.len = 0;
    }
    if (rc == 0) {
        rc = io_write_all(c->io, c->conn->fd, buf_unread(&out).ptr, buf_unread(&out).len,
                          c->deadline);
        if (rc == 0 && body.len > 0)
            rc = write_body(c, body);
        if (rc < 0)
            rc = hear_out(c, rc);
    }
    buf_free(&out);
    return rc;
}

/* Waits before it makes room: a request that waits for its upstream owns no receive buffer. As
 * exchange_take. */
static int receive(struct upstream_attempt *c) {
    struct upstream_exchange *x = &c->exchange;
    int rc = io_wait(c->io, c->conn->fd, IO_READ, c->deadline);
    ssize_t n;

    if (rc == 0)
        rc = exchange_room(x);
    if (rc < 0)
        return exchange_fail(x, rc, "failed");
    n = io_read(c->io, c->conn->fd, buf_tail(&x->in), buf_room(&x->in), c->deadline);
    return n < 0 ? exchange_fail_within(x, (int)n, c->conn->tls, "failed")
                 : exchange_take(x, (size_t)n);
}

static int run_exchange(struct upstream_attempt *c) {
    int rc;

    exchange_begin(&c->exchange, c->conn->uses);
    rc = write_request(c);
    while (rc == 0)
        rc = receive(c);
    conn_leave(c);
    if (rc > 0 && !c->cut && exchange_keeps(&c->exchange) && !conn_is_spent(c->conn))
        conn_keep(c->conn, io_now(c->io));
    else
        conn_close(c->conn);
    exchange_end(&c->exchange);
    return rc < 0 ? rc : 0;
}

int upstream_ask(struct upstream *u, struct io *io, struct arena *arena,
                 const struct upstream_request *request, nsec_t deadline,
                 struct upstream_answer *ret, const char **ret_why) {
    nsec_t now = io_now(io), span = request->timeout > 0 ? request->timeout : u->target.timeout;
    struct upstream_attempt c = {
        .u = u,
        .io = io,
        .deadline = nsec_min(deadline, deadline_after(now, span)),
    };
    int rc;

    if (u->curl != NULL)
        return upstream_curl_ask(u->curl, io, arena, request, c.deadline, ret, ret_why);
    exchange_init(&c.exchange, &u->target, request, arena);
    rc = conn_take(&c, now);
    if (rc == 0 && c.conn == NULL)
        rc = connect_fresh(&c);
    if (rc == 0)
        rc = run_exchange(&c);
    if (rc < 0 && exchange_was_stale(&c.exchange, rc)) {
        rc = connect_fresh(&c);
        if (rc == 0)
            rc = run_exchange(&c);
    }
    *ret_why = c.exchange.why;
    *ret = exchange_answer(&c.exchange);
    return rc;
}

/* --- clients of several servers: a list, the last used first -------------------- */

struct origins {
    struct upstream_config config;
    uint32_t calls_max;
    struct io_fiber *fiber_io;
    pthread_mutex_t lock; /* guards all below; free where there are no threads */
    TAILQ_HEAD(origin_list, origin) list;
    unsigned count;
};

static void origin_free(struct origin *origin) {
    upstream_free(origin->upstream);
    semaphore_free(origin->semaphore);
    mem_free(origin->url);
    mem_free(origin);
}

static int origin_open(struct origins *o, struct origin *origin, struct slice url,
                       struct error *err) {
    struct upstream_config config = o->config;

    origin->url = mem_alloc(url.len + 1); /* the upstream refers to it */
    if (origin->url == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    memcpy(origin->url, url.ptr, url.len);
    origin->url[url.len] = '\0';
    config.url = origin->url;
    origin->upstream = upstream_new(&config, o->fiber_io, err);
    if (origin->upstream == NULL)
        return -EINVAL;
    if (o->calls_max == 0)
        return 0;
    origin->semaphore = semaphore_new(o->calls_max, o->fiber_io);
    return origin->semaphore != NULL ? 0 : error_set(err, -ENOMEM, "out of memory");
}

static int origin_new(struct origins *o, struct slice url, struct origin **ret, struct error *err) {
    struct origin *origin = mem_calloc(1, sizeof(*origin));
    int rc;

    if (origin == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    rc = origin_open(o, origin, url, err);
    if (rc == 0)
        *ret = origin;
    else
        origin_free(origin);
    return rc;
}

static void origin_insert(struct origins *o, struct origin *origin) {
    TAILQ_INSERT_HEAD(&o->list, origin, link);
    origin->listed = true;
    o->count++;
}

static void origin_drop(struct origins *o, struct origin *origin) {
    TAILQ_REMOVE(&o->list, origin, link);
    o->count--;
    origin_free(origin);
}

/* Ends those whose kept connections are too old by now. */
static void origins_sweep(struct origins *o, nsec_t now) {
    struct origin *last;

    while ((last = TAILQ_LAST(&o->list, origin_list)) != NULL && last->users == 0 &&
           now - last->used_at > SERVER_UPSTREAM_IDLE_NSEC)
        origin_drop(o, last);
}

/* Makes room for one more: false when all are in use. */
static bool origins_make_room(struct origins *o) {
    struct origin *origin;

    if (o->count < SERVER_ORIGINS_MAX)
        return true;
    TAILQ_FOREACH_REVERSE(origin, &o->list, origin_list, link) {
        if (origin->users == 0) {
            origin_drop(o, origin);
            return true;
        }
    }
    return false;
}

static struct origin *origins_find(struct origins *o, struct slice url) {
    struct origin *origin;

    TAILQ_FOREACH(origin, &o->list, link)
    if (slice_eq(slice_str(origin->url), url))
        return origin;
    return NULL;
}

static int origin_take(struct origins *o, struct slice url, nsec_t now, struct origin **ret,
                       struct error *err) {
    struct origin *origin = origins_find(o, url);
    int rc;

    if (origin != NULL) {
        TAILQ_REMOVE(&o->list, origin, link);
        TAILQ_INSERT_HEAD(&o->list, origin, link);
    } else {
        rc = origin_new(o, url, &origin, err);
        if (rc < 0)
            return rc;
        if (origins_make_room(o))
            origin_insert(o, origin);
    }
    origin->users++;
    origin->used_at = now;
    origins_sweep(o, now);
    *ret = origin;
    return 0;
}

int origins_take(struct origins *o, struct slice url, nsec_t now, struct origin **ret,
                 struct error *err) {
    int rc;

    pthread_mutex_lock(&o->lock);
    rc = origin_take(o, url, now, ret, err);
    pthread_mutex_unlock(&o->lock);
    return rc;
}

void origins_give_back(struct origins *o, struct origin *origin, nsec_t now) {
    pthread_mutex_lock(&o->lock);
    origin->used_at = now;
    origin->users--;
    if (!origin->listed && origin->users == 0)
        origin_free(origin);
    pthread_mutex_unlock(&o->lock);
}

struct origins *origins_new(const struct upstream_config *config, uint32_t calls_max,
                            struct io_fiber *fiber_io) {
    struct origins *o = mem_calloc(1, sizeof(*o));

    if (o == NULL)
        return NULL;
    o->config = *config;
    o->config.bare = true;
    o->config.bind = NULL;
    o->calls_max = calls_max;
    o->fiber_io = fiber_io;
    pthread_mutex_init(&o->lock, NULL);
    TAILQ_INIT(&o->list);
    return o;
}

void origins_free(struct origins *o) {
    struct origin *origin;

    if (o == NULL)
        return;
    while ((origin = TAILQ_FIRST(&o->list)) != NULL)
        origin_drop(o, origin);
    pthread_mutex_destroy(&o->lock);
    mem_free(o);
}
