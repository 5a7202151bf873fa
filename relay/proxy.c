/* SPDX-License-Identifier: MIT */
/* Accepts connections, connects each to its target, and hands both to a relay. */
#include "relay/proxy.h"
#include "base/alloc.h"
#include "base/log.h"
#include "fiber/resolve.h"
#include "net/acceptor.h"
#include "net/linger.h"
#include "relay/relay.h"
#include <errno.h>
#include <unistd.h>

#define ACCEPT_BURST 64

/* A target whose backlog is full, a unix socket's, is tried again so much later. */
#define CONNECT_AGAIN (5 * NSEC_PER_MSEC)

/* After a stop, a connection on which nothing moved for so long is closed. */
#define QUIET_TIME (1 * NSEC_PER_SEC)

/*          delay, hang        name found          connected
 *   PAUSES ----------> LOOKUP ----------> CONNECTS ---------> RELAYS ----> CLOSED
 *                                         next address          FIN, RST, faults
 *   HOLE: hangs for ever without a target, or has got a FIN; takes bytes and throws them away */
enum proxy_state {
    STATE_PAUSES,
    STATE_HOLE,
    STATE_LOOKUP,
    STATE_CONNECTS,
    STATE_RELAYS,
    STATE_CLOSED, /* the memory goes when the turn ends */
};

struct relay_proxy {
    struct acceptor acceptor;
    struct relay_worker *worker;
    struct relay_entry *entry;
    size_t index; /* place of the entry */
    struct endpoint target;
    struct address address; /* the target's; none when a name is to be looked up */
    struct relay_toxics toxics;
    uint32_t generation; /* generation of `toxics` */
    struct relay_site site;
    struct proxy_conn *conns;
};

struct proxy_conn {
    struct relay relay;
    struct watch client, target;
    struct timer timer; /* the end of a pause, or of patience with the target */
    struct deferred later;
    struct relay_proxy *proxy;
    struct proxy_conn *prev, *next;
    struct lookup *lookup;
    struct watch looked_up;
    struct resolved *found; /* addresses of a name; NULL: the proxy has the one */
    size_t tried;           /* addresses tried of those */
    nsec_t accepted_at, connected_at, connect_by;
    nsec_t connect_at;  /* begins to connect then, unless a fault holds it; 0: not drawn yet */
    nsec_t awaited;     /* when to go on; the timer may come earlier, for a fault */
    uint64_t moved;     /* bytes at the last look, when draining */
    unsigned has_ended; /* IO_HANGUP: the client closed its side while it waited */
    uint8_t state;      /* enum proxy_state */
    bool has_target;
    bool is_finished; /* the client has got a FIN, and is waited for a moment */
    char peer[];      /* with a log only: ADDRESS_TEXT_BYTES */
};

struct relay_worker {
    struct loop *loop;
    struct relay_table *table;
    struct relay_host host;
    struct watch news; /* news of changes */
    struct timer quiet;
    size_t count;
    bool draining;
    struct relay_proxy proxies[LISTENERS_MAX];
    char room[RELAY_BULK_BYTES];
};

static void go_on(struct proxy_conn *c);
static int await(struct proxy_conn *c, nsec_t at);
static void refresh(struct relay_proxy *p);

/* --- the end of a connection ------------------------------------------------------------------ */

static const struct {
    enum relay_counter counter;
    const char *word;
} outcomes[] = {
    [RELAY_ENDED] = { RELAY_CLOSED, "closed" },
    [RELAY_BY_CLIENT] = { RELAY_CLIENT_RESETS, "client reset" },
    [RELAY_BY_TARGET] = { RELAY_TARGET_RESETS, "target reset" },
    [RELAY_BY_FAULT] = { RELAY_STRUCK, "fault" },
    [RELAY_BY_US] = { RELAY_STOPPED, "stopped" },
};

static void tell(const struct proxy_conn *c, const char *outcome) {
    const struct relay_proxy *p = c->proxy;
    const struct relay *r = &c->relay;
    struct relay_facts facts = {
        .proxy = p->entry->name,
        .client = c->peer,
        .target = p->entry->target,
        .outcome = outcome,
        .took = clock_now() - c->accepted_at,
        .connect = c->connected_at != 0 ? c->connected_at - c->accepted_at : -1,
        .bytes_up = r->lanes[RELAY_UP].given,
        .bytes_down = r->lanes[RELAY_DOWN].given,
        .bytes_dropped = r->lanes[RELAY_UP].dropped + r->lanes[RELAY_DOWN].dropped,
    };

    for (unsigned i = 0; i < RELAY_FAULT_KINDS; i++)
        if (r->struck & 1u << i)
            facts.faults[facts.fault_count++] = relay_fault_infos[i].name.ptr;
    p->worker->host.log(p->worker->host.arg, &facts);
}

static void on_later(struct deferred *work) {
    mem_free(CONTAINER_OF(work, struct proxy_conn, later));
}

static void close_side(struct watch *w, bool resets) {
    const struct linger now = { .l_onoff = 1 };

    if (resets)
        setsockopt(w->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    watch_close(w);
    close(w->fd);
}

static void drop_lookup(struct proxy_conn *c) {
    if (c->lookup == NULL)
        return;
    watch_close(&c->looked_up);
    resolve_free(c->lookup);
    c->lookup = NULL;
}

/* `resets`: bits as relay.h has them. */
static void end_conn(struct proxy_conn *c, enum relay_counter counter, const char *outcome,
                     unsigned resets) {
    struct relay_proxy *p = c->proxy;
    struct relay_worker *w = p->worker;

    c->state = STATE_CLOSED;
    relay_close(&c->relay);
    timer_cancel(w->loop, &c->timer);
    drop_lookup(c);
    mem_free(c->found);
    close_side(&c->client, resets & 1u << RELAY_UP);
    if (c->has_target)
        close_side(&c->target, resets & 1u << RELAY_DOWN);
    relay_count(p->site.counts, counter, 1);
    if (w->host.log != NULL)
        tell(c, outcome);

    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        p->conns = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    atomic_fetch_sub(&p->site.counts->open, 1);
    atomic_fetch_sub(&p->entry->open, 1);
    c->later.run = on_later;
    loop_defer(w->loop, &c->later);
    w->host.count(w->host.arg, -1);
}

static void on_over(struct relay *r, enum relay_outcome outcome, unsigned resets) {
    end_conn(CONTAINER_OF(r, struct proxy_conn, relay), outcomes[outcome].counter,
             outcomes[outcome].word, resets);
}

static void fail_connect(struct proxy_conn *c, const char *why) {
    static struct log_rate rate = { .per_second = 1 };

    log_limited(&rate, LOG_LEVEL_WARN, "cannot connect proxy=%s target=%s error=\"%s\"",
                c->proxy->entry->name, c->proxy->entry->target, why);
    end_conn(c, RELAY_CONNECT_FAILED, "connect failed", RELAY_RESET_BOTH);
}

/* --- to the target ---------------------------------------------------------------------------- */

static const struct address *next_address(struct proxy_conn *c) {
    size_t turn = c->tried++;

    if (c->found == NULL)
        return turn == 0 ? &c->proxy->address : NULL;
    return turn < c->found->count ? &c->found->addresses[turn] : NULL;
}

static void on_target(struct watch *w, unsigned what);

static void begin_relay(struct proxy_conn *c) {
    c->state = STATE_RELAYS;
    c->connected_at = clock_now();
    timer_cancel(c->proxy->worker->loop, &c->timer);
    mem_free(c->found);
    c->found = NULL;
    c->client.ready = IO_READ | IO_WRITE | c->has_ended; /* nobody has looked yet */
    relay_open(&c->relay, &c->client, &c->target);
}

/* Tries the next address; *why is the reason of the last failure. */
static void try_next(struct proxy_conn *c, int why) {
    struct loop *loop = c->proxy->worker->loop;
    const struct address *to;
    bool is_pending = false;

    while ((to = next_address(c)) != NULL) {
        int fd = socket_connect(to, &is_pending);
        if (fd == -EAGAIN) {
            c->tried--;
            c->state = STATE_LOOKUP; /* the timer comes back here */
            if (await(c, clock_now() + CONNECT_AGAIN) == 0)
                return;
        }
        why = fd < 0 ? fd : 0;
        if (fd < 0)
            continue;
        why = watch_open(&c->target, loop, fd, on_target);
        if (why < 0) {
            close(fd);
            break;
        }
        c->has_target = true;
        c->state = STATE_CONNECTS;
        if (!is_pending) {
            begin_relay(c);
            return;
        }
        c->target.ready = 0;
        if (await(c, c->connect_by) == 0)
            return;
        why = -ENOMEM;
        break;
    }
    fail_connect(c, strerrordesc_np(why < 0 ? -why : EHOSTUNREACH));
}

static void connected(struct proxy_conn *c) {
    int rc = socket_error(c->target.fd);

    if (rc == 0) {
        begin_relay(c);
        return;
    }
    watch_close(&c->target);
    close(c->target.fd);
    c->has_target = false;
    try_next(c, rc);
}

static void on_target(struct watch *w, unsigned what) {
    struct proxy_conn *c = CONTAINER_OF(w, struct proxy_conn, target);

    if (c->state == STATE_CONNECTS)
        connected(c);
    else if (c->state == STATE_RELAYS)
        relay_notify(&c->relay, w, what);
}

static void on_looked_up(struct watch *w, unsigned what) {
    struct proxy_conn *c = CONTAINER_OF(w, struct proxy_conn, looked_up);
    struct error err = { .text = "out of memory" };

    if (!(what & IO_READ)) /* an eventfd can be written at any time */
        return;
    c->found = mem_alloc(sizeof(*c->found));
    int rc = c->found != NULL ? resolve_end(c->lookup, c->found, &err) : -ENOMEM;
    drop_lookup(c);
    if (rc < 0)
        fail_connect(c, err.text);
    else
        try_next(c, -EHOSTUNREACH);
}

static void look_up(struct proxy_conn *c) {
    struct error err = { .text = "out of memory" };
    struct loop *loop = c->proxy->worker->loop;

    int rc = resolve_begin(&c->proxy->target, &c->lookup, &err);
    if (rc == 0) {
        rc = watch_open(&c->looked_up, loop, resolve_fd(c->lookup), on_looked_up);
        c->looked_up.ready = 0;
        if (rc < 0) {
            resolve_free(c->lookup);
            c->lookup = NULL;
        }
    }
    if (rc == 0)
        rc = await(c, c->connect_by);
    if (rc < 0)
        fail_connect(c, err.text);
}

/* --- before the target ------------------------------------------------------------------------ */

/* Comes back at that time, or when a fault is to strike. */
static int await(struct proxy_conn *c, nsec_t at) {
    c->awaited = at;
    return timer_set(c->proxy->worker->loop, &c->timer,
                     nsec_min(at, relay_strikes_early_at(&c->relay)));
}

/* Waits, when a law or a fault says so, before the target is connected to. The law's delay begins
 * once, whatever is changed meanwhile. */
static void pause_then_connect(struct proxy_conn *c, nsec_t span) {
    const struct relay_toxics *toxics = &c->proxy->toxics;
    nsec_t now = clock_now(), delay = 0;

    if (c->connect_at == 0) {
        if (toxics->delays_connect)
            delay = dist_draw(&toxics->connect_delay, &c->relay.rng);
        c->connect_at = deadline_after(now, delay);
    }
    nsec_t at = deadline_after(nsec_max(c->connect_at, now), span);
    c->state = STATE_PAUSES;
    if (at == now)
        go_on(c);
    else if (await(c, at) < 0)
        fail_connect(c, "out of memory");
}

static void throw_away(struct proxy_conn *c) {
    struct relay_worker *w = c->proxy->worker;
    ssize_t n;

    while ((n = watch_recv(&c->client, w->room, sizeof(w->room))) > 0)
        c->relay.lanes[RELAY_UP].dropped += (uint64_t)n;
    relay_tell_bytes(&c->relay);
    if (n != -EAGAIN)
        end_conn(c, RELAY_STRUCK, "fault", 0);
}

/* Lets faults strike that do before there is a target; the rest waits for it. *ret_span is how long
 * to hang. False: the connection has ended, or hangs for ever. */
static bool strike_early(struct proxy_conn *c, nsec_t *ret_span) {
    const struct relay_fault *fault;
    nsec_t until = NSEC_NEVER;
    bool struck = false;

    *ret_span = 0;
    while ((fault = relay_strike_early(&c->relay)) != NULL) {
        struck = true;
        if (fault->kind == RELAY_HANG && fault->span >= 0) {
            *ret_span = deadline_after(*ret_span, fault->span);
        } else if (fault->kind == RELAY_HANG) {
            c->state = STATE_HOLE;
        } else if (fault->kind == RELAY_FIN) { /* bytes that nobody reads would make it an RST */
            shutdown(c->client.fd, SHUT_WR);
            c->state = STATE_HOLE;
            c->is_finished = true;
            until = deadline_after(clock_now(), LINGER_NSEC);
        } else {
            end_conn(c, RELAY_STRUCK, "fault", RELAY_RESET_BOTH);
            return false;
        }
    }
    if (c->state != STATE_HOLE || !struck)
        return true;
    c->client.ready = IO_READ | IO_WRITE | c->has_ended;
    if (await(c, until) < 0)
        fail_connect(c, "out of memory");
    else
        throw_away(c);
    return false;
}

static void begin(struct proxy_conn *c) {
    nsec_t span;

    c->state = STATE_PAUSES;
    if (strike_early(c, &span))
        pause_then_connect(c, span);
}

/* The timer has come, or there was nothing to wait for. */
static void go_on(struct proxy_conn *c) {
    struct relay_proxy *p = c->proxy;
    nsec_t now = clock_now();

    if (c->state == STATE_HOLE) {
        end_conn(c, RELAY_STRUCK, "fault", 0);
        return;
    }
    if (c->state == STATE_PAUSES)
        c->connect_by = deadline_after(now, p->toxics.connect_timeout);
    else if (now >= c->connect_by || c->state == STATE_CONNECTS) {
        fail_connect(c, strerrordesc_np(ETIMEDOUT));
        return;
    }
    if (p->address.len == 0 && c->found == NULL && c->lookup == NULL) {
        c->state = STATE_LOOKUP;
        look_up(c);
    } else if (c->lookup == NULL) {
        try_next(c, -EHOSTUNREACH);
    }
}

static void on_timer(struct timer *timer) {
    struct proxy_conn *c = CONTAINER_OF(timer, struct proxy_conn, timer);
    nsec_t span;

    if (!strike_early(c, &span))
        return;
    if (clock_now() >= c->awaited)
        go_on(c);
    else if (await(c, c->awaited) < 0)
        fail_connect(c, "out of memory");
}

/* A client that waits is not read from: every event of its socket is to be news. */
static void look_at_waiting(struct proxy_conn *c) {
    c->has_ended |= c->client.ready & IO_HANGUP;
    c->client.ready = 0;
    if (socket_error(c->client.fd) < 0)
        end_conn(c, RELAY_CLIENT_RESETS, outcomes[RELAY_BY_CLIENT].word, RELAY_RESET_BOTH);
}

static void on_client(struct watch *w, unsigned what) {
    struct proxy_conn *c = CONTAINER_OF(w, struct proxy_conn, client);

    refresh(c->proxy);
    if (c->state == STATE_RELAYS)
        relay_notify(&c->relay, w, what);
    else if (c->state == STATE_HOLE)
        throw_away(c);
    else if (c->state != STATE_CLOSED)
        look_at_waiting(c);
}

/* --- accepting -------------------------------------------------------------------------------- */

static struct proxy_conn *open_conn(struct relay_proxy *p, int fd, const struct address *peer) {
    struct relay_worker *w = p->worker;
    struct proxy_conn *c =
        mem_calloc(1, sizeof(*c) + (w->host.log != NULL ? ADDRESS_TEXT_BYTES : 0));

    if (c == NULL || watch_open(&c->client, w->loop, fd, on_client) < 0) {
        mem_free(c);
        log_write(LOG_LEVEL_ERROR, "a TCP connection was dropped error=\"out of memory\"");
        close(fd);
        return NULL;
    }
    c->proxy = p;
    c->client.ready = 0;
    c->timer.fire = on_timer;
    c->accepted_at = clock_now();
    if (w->host.log != NULL)
        address_format(peer, c->peer);
    relay_init(&c->relay, &p->site, w->host.roll(w->host.arg), on_over);
    c->next = p->conns;
    if (c->next != NULL)
        c->next->prev = c;
    p->conns = c;
    relay_count(p->site.counts, RELAY_CONNECTIONS, 1);
    atomic_fetch_add(&p->site.counts->open, 1);
    w->host.count(w->host.arg, 1);
    return c;
}

static void on_accepted(struct acceptor *a, int fd, const struct address *peer) {
    struct relay_proxy *p = CONTAINER_OF(a, struct relay_proxy, acceptor);
    struct proxy_conn *c = open_conn(p, fd, peer);

    if (c == NULL)
        return;
    int64_t open = atomic_fetch_add(&p->entry->open, 1) + 1;
    if (!p->toxics.enabled)
        end_conn(c, RELAY_STOPPED, "disabled", RELAY_RESET_BOTH);
    else if (p->toxics.connections > 0 && open > p->toxics.connections)
        end_conn(c, RELAY_LIMITED, "limited", RELAY_RESET_BOTH);
    else
        begin(c);
}

static bool is_unix(const struct relay_proxy *p) {
    return p->worker->table->sockets->bound[p->index].any.sa_family == AF_UNIX;
}

/* A socket that does not listen is left alone until it does. */
static void stand(struct relay_proxy *p) {
    if (p->toxics.enabled || is_unix(p))
        acceptor_resume(&p->acceptor);
    else
        acceptor_pause(&p->acceptor);
}

static bool may_accept(struct acceptor *a) {
    struct relay_proxy *p = CONTAINER_OF(a, struct relay_proxy, acceptor);

    refresh(p);
    return a->running;
}

/* --- changes ---------------------------------------------------------------------------------- */

static void change_conn(struct proxy_conn *c) {
    if (c->is_finished)
        return;
    switch ((enum proxy_state)c->state) {
    case STATE_RELAYS:
    case STATE_LOOKUP:
    case STATE_CONNECTS:
        relay_change(&c->relay);
        return;
    case STATE_PAUSES:
    case STATE_HOLE:
        relay_change(&c->relay);
        begin(c);
        return;
    case STATE_CLOSED:
        return;
    }
}

/* Takes over toxics that were changed, by any worker. */
static void refresh(struct relay_proxy *p) {
    if (LIKELY(atomic_load_explicit(&p->entry->generation, memory_order_acquire) == p->generation))
        return;
    relay_table_toxics(p->worker->table, p->index, &p->toxics, &p->generation);
    for (unsigned way = 0; way < RELAY_WAYS; way++)
        bucket_clear(&p->entry->shared[way]);
    if (!p->worker->draining)
        stand(p);
    for (struct proxy_conn *c = p->conns, *next; c != NULL; c = next) {
        next = c->next;
        if (p->toxics.enabled)
            change_conn(c);
        else
            end_conn(c, RELAY_STOPPED, "disabled", RELAY_RESET_BOTH);
    }
}

/* Each write to the eventfd is an edge, for every worker, though nobody reads it. */
static void on_news(struct watch *w, unsigned what UNUSED) {
    struct relay_worker *worker = CONTAINER_OF(w, struct relay_worker, news);

    watch_drained(w, IO_READ);
    for (size_t i = 0; i < worker->count; i++)
        refresh(&worker->proxies[i]);
}

/* --- life ------------------------------------------------------------------------------------- */

static void on_quiet(struct timer *timer);

static int start_proxy(struct relay_worker *w, size_t index, size_t i, struct error *err) {
    struct relay_proxy *p = &w->proxies[i];

    p->worker = w;
    p->index = i;
    p->entry = &w->table->entries[i];
    p->site = (struct relay_site){
        .loop = w->loop,
        .toxics = &p->toxics,
        .shared = p->entry->shared,
        .counts = relay_table_counts(w->table, index, i),
        .room = w->room,
    };
    relay_table_toxics(w->table, i, &p->toxics, &p->generation);
    int rc = endpoint_parse(slice_str(p->entry->target), 0, &p->target, err);
    if (rc == 0)
        rc = address_of_endpoint(&p->target, false, &p->address);
    if (rc == -ENOENT)
        p->address.len = 0;
    else if (rc < 0)
        return error_set(err, rc, "cannot connect to '%s': %s", p->entry->target,
                         strerrordesc_np(-rc));
    rc = acceptor_open(&p->acceptor, w->loop, w->table->sockets->fds[i], ACCEPT_BURST,
                       w->host.shared, on_accepted, NULL);
    if (rc < 0)
        return error_set(err, rc, "cannot accept connections: %s", strerrordesc_np(-rc));
    w->count++;
    p->acceptor.may_accept = may_accept;
    p->acceptor.place = w->host.place;
    stand(p);
    return 0;
}

struct relay_worker *relay_worker_new(struct loop *loop, struct relay_table *table, size_t index,
                                      const struct relay_host *host, struct error *err) {
    struct relay_worker *w = mem_calloc(1, sizeof(*w));

    if (w == NULL || watch_open(&w->news, loop, table->news_fd, on_news) < 0) {
        error_set(err, -ENOMEM, "cannot start: out of memory");
        mem_free(w);
        return NULL;
    }
    w->loop = loop;
    w->table = table;
    w->host = *host;
    w->quiet.fire = on_quiet;
    watch_drained(&w->news, IO_READ);
    relay_table_adopt(table, index);
    for (size_t i = 0; i < table->count; i++) {
        if (start_proxy(w, index, i, err) < 0) {
            relay_worker_free(w);
            return NULL;
        }
    }
    return w;
}

void relay_worker_look_again(struct relay_worker *w) {
    for (size_t i = 0; i < w->count && !w->draining; i++)
        acceptor_look_again(&w->proxies[i].acceptor);
}

static void each_conn(struct relay_worker *w, void (*act)(struct proxy_conn *)) {
    for (size_t i = 0; i < w->count; i++) {
        for (struct proxy_conn *c = w->proxies[i].conns, *next; c != NULL; c = next) {
            next = c->next;
            act(c);
        }
    }
}

static void end_quiet(struct proxy_conn *c) {
    uint64_t moved = c->relay.lanes[RELAY_UP].taken + c->relay.lanes[RELAY_DOWN].taken +
                     c->relay.lanes[RELAY_UP].given + c->relay.lanes[RELAY_DOWN].given;

    if (c->state == STATE_RELAYS && moved == c->moved && !relay_is_busy(&c->relay))
        relay_finish(&c->relay);
    c->moved = moved;
}

static void on_quiet(struct timer *timer) {
    struct relay_worker *w = CONTAINER_OF(timer, struct relay_worker, quiet);

    if (timer_set(w->loop, timer, deadline_after(clock_now(), QUIET_TIME)) < 0)
        log_write(LOG_LEVEL_ERROR, "quiet connections stay error=\"out of memory\"");
    each_conn(w, end_quiet);
}

static void end_hole(struct proxy_conn *c) {
    bool hangs = c->state == STATE_HOLE ||
                 (c->state == STATE_RELAYS && !c->relay.finishes &&
                  (c->relay.lanes[RELAY_UP].swallows || c->relay.lanes[RELAY_DOWN].swallows));

    if (hangs)
        end_conn(c, RELAY_STOPPED, outcomes[RELAY_BY_US].word, 0);
    else
        end_quiet(c); /* notes how much it has moved */
}

void relay_worker_drain(struct relay_worker *w, bool quiet) {
    bool was_draining = w->draining;

    w->draining = true;
    for (size_t i = 0; i < w->count && !was_draining; i++)
        acceptor_close(&w->proxies[i].acceptor);
    if (!quiet)
        return;
    each_conn(w, end_hole);
    if (timer_set(w->loop, &w->quiet, deadline_after(clock_now(), QUIET_TIME)) < 0)
        log_write(LOG_LEVEL_ERROR, "quiet connections stay error=\"out of memory\"");
}

static void end_now(struct proxy_conn *c) {
    end_conn(c, RELAY_STOPPED, outcomes[RELAY_BY_US].word, 0);
}

void relay_worker_free(struct relay_worker *w) {
    if (w == NULL)
        return;
    if (!w->draining)
        relay_worker_drain(w, false);
    each_conn(w, end_now);
    timer_cancel(w->loop, &w->quiet);
    watch_close(&w->news);
    mem_free(w);
}
