/* SPDX-License-Identifier: MIT */
/* GETs of the upstream as a state machine:
 *
 *   [look-up ->] CONNECTING -> [SHAKING ->] WRITING -> READING -> done
 *        an idle connection -------------------^
 *
 * Whoever calls call_end, or a function that may, must not touch the call afterwards: it has told
 * its owner, who may have given the memory back. */
#include "server/upstream/event.h"
#include "base/alloc.h"
#include "fiber/resolve.h"
#include "net/idle_pool.h"
#include "net/socket.h"
#include "server/limits.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* A connection to the upstream. */
struct link {
    struct watch watch;
    struct tls *tls; /* NULL: without */
    struct upstream_event *u;
    struct upstream_call *call; /* NULL: idle */
    struct idle idle;
    struct deferred freeing;
    uint32_t uses;
};

struct upstream_event {
    struct upstream_target target;
    struct loop *loop;
    struct idle_pool idle;      /* holds links */
    struct tls_session session; /* the next connection goes on with it */
    size_t turn;                /* counts calls that connect to a name, for its addresses */
};

static void call_end(struct upstream_call *call, int rc);
static void call_step(struct upstream_call *call);
static void link_notify(struct watch *watch, unsigned what);

/* --- connections ---------------------------------------------------------------- */

static void link_free(struct deferred *work) {
    struct link *link = CONTAINER_OF(work, struct link, freeing);

    tls_free(link->tls);
    mem_free(link);
}

/* Closes at once; the memory stays until the turn ends, for this may run in its own callback. */
static void link_close(struct link *link) {
    if (link->tls != NULL)
        tls_shutdown(link->tls);
    watch_close(&link->watch);
    close(link->watch.fd);
    link->freeing.run = link_free;
    loop_defer(link->u->loop, &link->freeing);
}

static void idle_close(struct idle_pool *pool UNUSED, struct idle *idle) {
    link_close(CONTAINER_OF(idle, struct link, idle));
}

static void link_park(struct link *link) {
    struct upstream_event *u = link->u;

    link->call = NULL;
    link->uses++;
    idle_pool_put(&u->idle, &link->idle, loop_now(u->loop), NSEC_NEVER);
}

static bool idle_is_quiet(struct idle *idle) {
    return idle_watch_is_quiet(&CONTAINER_OF(idle, struct link, idle)->watch);
}

/* 0 or -ENOMEM. */
static int link_secure(struct link *link) {
    struct upstream_event *u = link->u;
    const struct tls_peer peer = { .name = u->target.name, .session = &u->session };
    int rc = tls_new(u->target.tls, &peer, &link->tls);

    if (rc == 0)
        watch_secure(&link->watch, link->tls);
    return rc;
}

/* Begins to connect. 0 or -errno. */
static int link_open(struct upstream_call *call, const struct address *to) {
    struct upstream_event *u = call->u;
    struct link *link = mem_calloc(1, sizeof(*link));
    bool pending = false;
    int fd, rc;

    if (link == NULL)
        return -ENOMEM;
    fd = socket_connect_from(to, upstream_target_source(&u->target), &pending);
    rc = fd < 0 ? fd : watch_open(&link->watch, u->loop, fd, link_notify);
    if (rc < 0) {
        if (fd >= 0)
            close(fd);
        mem_free(link);
        return rc;
    }
    if (pending)
        link->watch.ready = 0;
    link->u = u;
    link->call = call;
    call->link = link;
    return 0;
}

/* An idle one that has news: its upstream has left, or says what nobody asked for. Tickets are no
 * news. */
static void link_notify(struct watch *watch, unsigned what) {
    struct link *link = CONTAINER_OF(watch, struct link, watch);

    if (link->call != NULL)
        call_step(link->call);
    else if ((what & (IO_READ | IO_HANGUP)) &&
             (link->tls == NULL || !idle_watch_is_quiet(&link->watch)))
        idle_pool_expel(&link->u->idle, &link->idle);
}

/* --- the end of a call ------------------------------------------------------------ */

static void drop_link(struct upstream_call *call) {
    if (call->link != NULL)
        link_close(call->link);
    call->link = NULL;
}

static void drop_lookup(struct upstream_call *call) {
    if (call->lookup == NULL)
        return;
    watch_close(&call->looked_up);
    resolve_free(call->lookup);
    call->lookup = NULL;
}

static void call_end(struct upstream_call *call, int rc) {
    timer_cancel(call->u->loop, &call->deadline);
    drop_lookup(call);
    drop_link(call);
    buf_free(&call->out);
    exchange_end(&call->exchange);
    call->done(call, rc);
}

static int say_why(struct upstream_call *call, int rc, const char *what) {
    const struct tls *tls = call->link != NULL ? call->link->tls : NULL;

    return exchange_fail_within(&call->exchange, rc, tls, what);
}

static void call_fail(struct upstream_call *call, int rc, const char *what) {
    call_end(call, say_why(call, rc, what));
}

static void call_complete(struct upstream_call *call) {
    struct link *link = call->link;

    if (exchange_keeps(&call->exchange) && idle_watch_is_quiet(&link->watch)) {
        call->link = NULL;
        link_park(link);
    }
    call_end(call, 0);
}

static void call_late(struct timer *timer) {
    struct upstream_call *call = CONTAINER_OF(timer, struct upstream_call, deadline);

    if (call->lookup != NULL) {
        call->exchange.why = "upstream name look-up did not end in time";
        call_end(call, -ETIMEDOUT);
    } else {
        call_fail(call, -ETIMEDOUT, "is late");
    }
}

void upstream_call_cancel(struct upstream_call *call) {
    call_end(call, -ECANCELED);
}

/* --- connecting ------------------------------------------------------------------- */

/* To the next of the addresses. */
static void call_connect(struct upstream_call *call) {
    int rc = -ENOENT;

    call->state = UPSTREAM_CONNECTING;
    while (call->address_count > 0) {
        rc = link_open(call, call->addresses);
        call->addresses++;
        call->address_count--;
        if (rc == 0) {
            call_step(call);
            return;
        }
    }
    call_fail(call, rc, "cannot be reached");
}

/* Each call that connects begins with the next of the addresses. */
static void call_connect_found(struct upstream_call *call, struct resolved *found) {
    struct address *addresses =
        arena_alloc(call->exchange.arena, found->count * sizeof(*addresses));

    if (addresses == NULL) {
        call_end(call, -ENOMEM);
        return;
    }
    resolve_rotate(found, call->u->turn++);
    memcpy(addresses, found->addresses, found->count * sizeof(*addresses));
    call->addresses = addresses;
    call->address_count = found->count;
    call_connect(call);
}

static void call_looked_up(struct watch *watch, unsigned what) {
    struct upstream_call *call = CONTAINER_OF(watch, struct upstream_call, looked_up);
    const struct upstream_target *target = &call->u->target;
    struct resolved *found;
    struct error err = { "" };
    int rc;

    if (!(what & IO_READ))
        return;
    found = mem_alloc(sizeof(*found)); /* large for an arena that outlives the connecting */
    rc = found != NULL ? resolve_end(call->lookup, found, &err) : -ENOMEM;
    drop_lookup(call);
    if (rc == 0)
        rc = resolve_keep_family(found, &target->endpoint, target->rules.family, &err);
    if (rc == 0) {
        call_connect_found(call, found);
    } else {
        call->exchange.why =
            err.text[0] != '\0' ? arena_dup(call->exchange.arena, slice_str(err.text)) : NULL;
        call_end(call, rc);
    }
    mem_free(found);
}

/* The addresses that the user has given; false when there are none. */
static bool call_connect_overridden(struct upstream_call *call) {
    const struct upstream_target *target = &call->u->target;
    struct resolved *found;

    if (target->rules.override_count == 0)
        return false;
    found = mem_alloc(sizeof(*found));
    if (found == NULL || !resolve_is_overridden(&target->rules, &target->endpoint, found)) {
        mem_free(found);
        return false;
    }
    struct error err = { "" };
    if (resolve_keep_family(found, &target->endpoint, target->rules.family, &err) == 0) {
        call_connect_found(call, found);
    } else {
        call->exchange.why = arena_dup(call->exchange.arena, slice_str(err.text));
        call_end(call, -ENOENT);
    }
    mem_free(found);
    return true;
}

static int lookup_begin(struct upstream_call *call) {
    struct error err;
    int rc = resolve_begin(&call->u->target.endpoint, &call->lookup, &err);

    if (rc < 0) {
        call->exchange.why = arena_dup(call->exchange.arena, slice_str(err.text));
        return rc;
    }
    rc = watch_open(&call->looked_up, call->u->loop, resolve_fd(call->lookup), call_looked_up);
    if (rc < 0) {
        resolve_free(call->lookup);
        call->lookup = NULL;
        return rc;
    }
    call->looked_up.ready = IO_WRITE; /* an eventfd is writable at any time */
    return 0;
}

static void call_look_up(struct upstream_call *call) {
    int rc = lookup_begin(call);

    if (rc < 0)
        call_end(call, rc);
}

static void call_connect_fresh(struct upstream_call *call) {
    const struct upstream_target *target = &call->u->target;

    if (!target->numeric) {
        if (!call_connect_overridden(call))
            call_look_up(call);
        return;
    }
    call->addresses = &target->address;
    call->address_count = 1;
    call_connect(call);
}

/* --- writing and reading ------------------------------------------------------------ */

/* The connection stands: writes the request on it. */
static void call_ask(struct upstream_call *call) {
    struct upstream_exchange *x = &call->exchange;
    int rc;

    call->state = UPSTREAM_WRITING;
    exchange_begin(x, call->link->uses);
    buf_free(&call->out);
    rc = exchange_request(x, &call->out);
    if (rc < 0)
        call_end(call, rc);
    else
        call_step(call);
}

/* On a kept connection the upstream may just have closed it: once more then, on a new one. */
static void call_broke(struct upstream_call *call, int rc) {
    if (!exchange_was_stale(&call->exchange, rc)) {
        call_end(call, rc);
        return;
    }
    drop_link(call);
    call_connect_fresh(call);
}

static void step_shaking(struct upstream_call *call) {
    int rc = watch_handshake(&call->link->watch);

    if (rc == 0)
        call_ask(call);
    else if (rc != -EAGAIN)
        call_fail(call, rc, "cannot be reached");
}

static void call_connected(struct upstream_call *call) {
    int rc;

    if (call->u->target.tls == NULL) {
        call_ask(call);
        return;
    }
    rc = link_secure(call->link);
    if (rc < 0) {
        call_end(call, rc);
        return;
    }
    call->state = UPSTREAM_SHAKING;
    step_shaking(call);
}

static void step_connecting(struct upstream_call *call) {
    int rc;

    if (call->link->watch.ready == 0)
        return;
    rc = socket_error(call->link->watch.fd);
    if (rc == 0) {
        call_connected(call);
        return;
    }
    drop_link(call);
    if (call->address_count > 0)
        call_connect(call);
    else
        call_fail(call, rc, "cannot be reached");
}

/* An upstream that refuses us says why (in TLS 1.3 after our handshake), and may be gone before it
 * has read what we send. */
static bool link_may_tell(struct link *link) {
    return link->tls != NULL && link->tls->send_failure != 0 && watch_peek(&link->watch) != -EAGAIN;
}

static void step_writing(struct upstream_call *call) {
    struct slice out = buf_unread(&call->out);
    ssize_t n = watch_send(&call->link->watch, out.ptr, out.len);

    if (n == -EAGAIN)
        return;
    if (n < 0 && link_may_tell(call->link)) {
        call->state = UPSTREAM_READING;
        call_step(call);
        return;
    }
    if (n < 0) {
        call_broke(call, say_why(call, (int)n, "did not take the request"));
        return;
    }
    buf_consume(&call->out, (size_t)n);
    if ((size_t)n < out.len)
        return;
    buf_free(&call->out);
    call->state = UPSTREAM_READING;
    call_step(call);
}

static void step_reading(struct upstream_call *call) {
    struct upstream_exchange *x = &call->exchange;
    struct watch *watch = &call->link->watch;
    ssize_t n;
    int rc = 0;

    while (rc == 0 && (watch->ready & IO_READ)) {
        rc = exchange_room(x);
        if (rc < 0) {
            exchange_fail(x, rc, "failed");
            break;
        }
        n = watch_recv(watch, buf_tail(&x->in), buf_room(&x->in));
        if (n == -EAGAIN)
            break;
        rc = n < 0 ? say_why(call, (int)n, "failed") : exchange_take(x, (size_t)n);
    }
    if (rc < 0)
        call_broke(call, rc);
    else if (rc > 0)
        call_complete(call);
    else if (!x->got_bytes)
        exchange_end(x); /* a call that waits owns no buffer */
}

static void call_step(struct upstream_call *call) {
    switch (call->state) {
    case UPSTREAM_CONNECTING:
        step_connecting(call);
        return;
    case UPSTREAM_SHAKING:
        step_shaking(call);
        return;
    case UPSTREAM_WRITING:
        step_writing(call);
        return;
    case UPSTREAM_READING:
        step_reading(call);
        return;
    }
}

/* --- public --------------------------------------------------------------------------- */

void upstream_event_get(struct upstream_event *u, struct upstream_call *call, struct arena *arena,
                        struct slice suffix, nsec_t deadline) {
    nsec_t until = nsec_min(deadline, deadline_after(loop_now(u->loop), u->target.timeout));
    struct idle *idle;
    int rc;

    *call = (struct upstream_call){ .done = call->done, .u = u, .request = { .suffix = suffix } };
    exchange_init(&call->exchange, &u->target, &call->request, arena);
    buf_init(&call->out, SERVER_UPSTREAM_REQUEST_BYTES_MAX);
    call->deadline.fire = call_late;
    rc = timer_set(u->loop, &call->deadline, until);
    if (rc < 0) {
        call_end(call, rc);
        return;
    }
    idle = idle_pool_take(&u->idle, loop_now(u->loop));
    if (idle == NULL) {
        call_connect_fresh(call);
        return;
    }
    call->link = CONTAINER_OF(idle, struct link, idle);
    call->link->call = call;
    call_ask(call);
}

struct upstream_event *upstream_event_new(const struct upstream_config *config, struct loop *loop,
                                          struct error *err) {
    struct upstream_event *u = mem_calloc(1, sizeof(*u));
    struct idle_pool_config idle = { .count_max = SERVER_UPSTREAM_IDLE_MAX,
                                     .span_max = SERVER_UPSTREAM_IDLE_NSEC,
                                     .close = idle_close,
                                     .is_quiet = idle_is_quiet,
                                     .loop = loop };

    if (u == NULL) {
        error_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    u->loop = loop;
    u->session = TLS_SESSION_INIT;
    idle_pool_init(&u->idle, &idle);
    if (upstream_target_init(&u->target, config, err) == 0)
        return u;
    mem_free(u);
    return NULL;
}

void upstream_event_free(struct upstream_event *u) {
    if (u == NULL)
        return;
    idle_pool_end(&u->idle);
    tls_session_forget(&u->session);
    mem_free(u);
}
