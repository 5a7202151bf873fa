/* SPDX-License-Identifier: MIT */
/* The models whose threads wait in the kernel. `single` has one thread, which serves one request
 * at a time: whoever comes next waits in the backlog. `threaded` has a thread per connection, made
 * when it comes and gone when it closes. */
#include "server/model/blocking.h"
#include "base/alloc.h"
#include "base/log.h"
#include "net/crowd.h"
#include "net/listener.h"
#include "net/listeners.h"
#include "net/socket.h"
#include "proc/prefork.h"
#include "proc/signals.h"
#include "server/app/background.h"
#include "server/app/handle.h"
#include "server/backends.h"
#include "server/model/model.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

static int single_run(struct worker *worker, struct error *err);
static int threaded_run(struct worker *worker, struct error *err);

const struct model model_single = {
    .name = "single",
    .summary = "one thread, one request at a time; everybody else waits",
    .run = single_run,
};

const struct model model_threaded = {
    .name = "threaded",
    .summary = "a thread per connection, which blocks while it waits",
    .run = threaded_run,
};

/* --- signals ------------------------------------------------------------------------ */

enum { RUNNING, LEAVING, RETIRING, STOPPING }; /* until LEAVING ends, connections are accepted */

/* A span of zero would disarm the timer. */
static void make_readable_after(int fd, nsec_t span) {
    nsec_t left = span > 0 ? span : 1;
    struct itimerspec spec = {
        .it_value = { .tv_sec = left / NSEC_PER_SEC, .tv_nsec = left % NSEC_PER_SEC },
    };

    if (timerfd_settime(fd, 0, &spec, NULL) < 0)
        _exit(EXIT_CANNOT); /* only a descriptor that is none can make it fail */
}

static bool is_accepting(const struct blocking *b) {
    return atomic_load(&b->phase) <= LEAVING;
}

/* Runs in the signal handler, on whichever thread that hits. */
static void on_signal(void *arg, int signo) {
    struct blocking *b = arg;
    int before = atomic_load(&b->phase);
    bool retire = signo == SIGRETIRE;
    bool graceful = retire || (signo == SIGTERM && (before == RUNNING || before == RETIRING));
    nsec_t delay = graceful && !retire && before == RUNNING ? worker_delay(b->worker) : 0;
    nsec_t patience = b->worker->config->graceful_timeout;

    if (retire && before != RUNNING)
        return;
    make_readable_after(b->accept_fd, delay);
    if (!retire)
        make_readable_after(b->silence_fd,
                            graceful ? deadline_after(delay, SERVER_SILENCE_NSEC) : 0);
    make_readable_after(b->cancel_fd, graceful ? deadline_after(delay, patience) : 0);
    if (delay > 0)
        worker_leaving(b->worker);
    if (before != STOPPING)
        atomic_store(&b->phase, retire ? RETIRING : delay > 0 ? LEAVING : STOPPING);
}

/* Installs the handlers. 0 or -errno with a reason. */
static int blocking_open(struct blocking *b, const struct worker *worker, struct error *err) {
    b->worker = worker;
    b->wait_until = NSEC_NEVER;
    atomic_init(&b->phase, RUNNING);
    b->accept_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    b->silence_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    b->cancel_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    b->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (b->accept_fd < 0 || b->silence_fd < 0 || b->cancel_fd < 0 || b->epoll_fd < 0)
        return error_set(err, -errno, "cannot make a descriptor for signals: %s",
                         strerrordesc_np(errno));
    signals_enforce();
    signals_catch(on_signal, b);
    return 0;
}

/* After signals_hold: the handler writes to what it closes, and reads `b`. */
static void blocking_close(struct blocking *b) {
    if (b->accept_fd >= 0)
        close(b->accept_fd);
    if (b->silence_fd >= 0)
        close(b->silence_fd);
    if (b->cancel_fd >= 0)
        close(b->cancel_fd);
    if (b->epoll_fd >= 0)
        close(b->epoll_fd);
}

/* Another worker was faster, the client left, descriptors ran out, or a master that stops has shut
 * the sockets: the last two must not spin. */
static void accept_failed(const struct blocking *b) {
    static struct log_rate rate = { .per_second = 1 };
    int error = errno;

    if (error == EAGAIN || error == EINTR || error == ECONNABORTED)
        return;
    poll(NULL, 0, 100);
    if (is_accepting(b))
        log_limited(&rate, LOG_LEVEL_WARN, "accept failed error=\"%s\"", strerrordesc_np(error));
}

/* --- refused connections that linger --------------------------------------------- */

/* Without room the connection is closed at once. */
static void begin_lingering(struct blocking *b, int fd) {
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
    struct blocking_lingering *l;

    if (b->lingering_count == ARRAY_LEN(b->lingering) ||
        !linger_begin(&(l = &b->lingering[b->lingering_count])->linger, fd) ||
        epoll_ctl(b->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        close(fd);
        return;
    }
    l->fd = fd;
    l->until = deadline_after(clock_now(), LINGER_NSEC);
    b->lingering_count++;
}

/* Closing takes it out of the epoll set. */
static void end_lingering(struct blocking *b, unsigned i) {
    close(b->lingering[i].fd);
    b->lingering_count--;
    memmove(&b->lingering[i], &b->lingering[i + 1],
            (b->lingering_count - i) * sizeof(b->lingering[0]));
}

static void read_lingering(struct blocking *b, int fd) {
    for (unsigned i = 0; i < b->lingering_count; i++) {
        if (b->lingering[i].fd != fd)
            continue;
        if (linger_read_fd(&b->lingering[i].linger, fd) == LINGER_OVER)
            end_lingering(b, i);
        return;
    }
}

/* NSEC_NEVER: all of them. */
static void expire_lingering(struct blocking *b, nsec_t now) {
    while (b->lingering_count > 0 && now >= b->lingering[0].until)
        end_lingering(b, 0);
}

/* Answers a new connection with a 503 without waiting, lingers and closes it. A handshake would
 * have to wait: with TLS the connection is closed. From `serve`. */
static void blocking_refuse(struct blocking *b, const struct worker *worker,
                            const struct accepted *accepted, const char *why) {
    struct session session;
    struct slice out;

    session_init(&session, worker, accepted->fd);
    if (session_accept(&session, accepted) == 0)
        session_refuse(&session, 503, why);
    out = buf_unread(&session.out);
    if (session.bytes.tls == NULL && socket_send(accepted->fd, out.ptr, out.len) > 0)
        begin_lingering(b, accepted->fd);
    else
        close(accepted->fd);
    channel_close(&session.bytes, NULL, worker->stats);
    session_free(&session);
}

/* --- accepting --------------------------------------------------------------------- */

/* Does the accepting thread's work between two waits. Returns how long it may wait, in ms; -1: for
 * ever. */
static int look_around(const struct blocking *b, const struct worker *worker, nsec_t *tend_at) {
    nsec_t beat_every = worker_idle_interval(worker);
    nsec_t now = clock_now();
    nsec_t until = b->lingering_count > 0 ? b->lingering[0].until : NSEC_NEVER;

    if (b->wait_until != NSEC_NEVER)
        until = nsec_min(until, deadline_after(now, SERVER_CROWD_LOOK_NSEC));
    prefork_worker_beat();
    if (beat_every > 0)
        until = nsec_min(until, deadline_after(now, beat_every));
    if (worker->tend != NULL && now >= *tend_at)
        *tend_at = worker->tend(worker->arg, now);
    if (worker->tend != NULL)
        until = nsec_min(until, *tend_at);
    if (until == NSEC_NEVER)
        return -1;
    return until > now ? (int)((until - now) / NSEC_PER_MSEC) + 1 : 0;
}

/* Takes its place at the end of those of whom a new connection wakes one, as in net/acceptor.h. A
 * thread that serves itself needs no turns: it does not stand there meanwhile. 0 or -errno. */
static int queue_up(const struct blocking *b, int listen_fd) {
    struct epoll_event event = { .events = EPOLLIN | EPOLLEXCLUSIVE, .data.fd = listen_fd };

    epoll_ctl(b->epoll_fd, EPOLL_CTL_DEL, listen_fd, NULL);
    return epoll_ctl(b->epoll_fd, EPOLL_CTL_ADD, listen_fd, &event) < 0 ? -errno : 0;
}

/* Hands on to the others what has woken this thread alone. */
static void leave_queue(const struct blocking *b, const struct worker *worker) {
    for (size_t i = 0; i < worker->listen_count; i++) {
        epoll_ctl(b->epoll_fd, EPOLL_CTL_DEL, worker->listen_fds[i], NULL);
        listener_rouse(worker->listen_fds[i]);
    }
}

/* Leaves what has come to the others for a moment, as in net/acceptor.c. */
static bool wait_for_others(struct blocking *b, const struct worker *worker) {
    if (!b->takes_turns || !crowd_is_ahead(worker->place, clock_now()))
        return false;
    b->wait_until = deadline_after(clock_now(), CROWD_WAIT_NSEC);
    leave_queue(b, worker);
    return true;
}

/* Whether any connection waits to be accepted. */
static bool any_waits(const struct worker *worker) {
    bool waits = false;

    for (size_t i = 0; !waits && i < worker->listen_count; i++)
        waits = listener_has_waiting(worker->listen_fds[i]);
    return waits;
}

/* Looks whether the moment is over, or threads that have ended make it needless. */
static int end_waiting(struct blocking *b, const struct worker *worker) {
    nsec_t now = b->wait_until == NSEC_NEVER ? 0 : clock_now();
    bool over = now >= b->wait_until;
    int rc = 0;

    if (now == 0 || (!over && crowd_is_still_ahead(worker->place)))
        return 0;
    b->wait_until = NSEC_NEVER;
    if (over)
        crowd_waited(worker->place, now, any_waits(worker));
    for (size_t i = 0; rc == 0 && i < worker->listen_count; i++)
        rc = queue_up(b, worker->listen_fds[i]);
    return rc;
}

/* At most one connection, from the i-th address of the configuration. 0 or -errno. */
static int accept_one(struct blocking *b, const struct worker *worker, unsigned i,
                      void (*serve)(void *arg, const struct accepted *accepted), void *arg) {
    struct address peer = { .len = sizeof(peer.local) };
    struct accepted accepted = { .listener = i };
    int rc = 0;

    if (b->wait_until != NSEC_NEVER || wait_for_others(b, worker))
        return 0;
    accepted.fd =
        accept4(worker->listen_fds[i], &peer.any, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted.fd < 0) {
        accept_failed(b);
        return 0;
    }
    if (b->takes_turns && worker->config->workers > 1)
        rc = queue_up(b, worker->listen_fds[i]);
    accepted.peer = peer_of_address(&peer);
    serve(arg, &accepted);
    return rc;
}

/* Acts on an event: a new connection, or a lingering one. 0 or -errno. */
static int act_on(struct blocking *b, const struct worker *worker, int fd,
                  void (*serve)(void *arg, const struct accepted *accepted), void *arg) {
    for (unsigned i = 0; i < worker->listen_count; i++) {
        if (fd == worker->listen_fds[i])
            return is_accepting(b) ? accept_one(b, worker, i, serve, arg) : 0;
    }
    if (fd == b->accept_fd && atomic_load(&b->phase) == LEAVING)
        atomic_store(&b->phase, STOPPING); /* the delay is over */
    read_lingering(b, fd);
    return 0;
}

static int watch_all(const struct blocking *b, const struct worker *worker) {
    struct epoll_event event = { .events = EPOLLIN, .data.fd = b->accept_fd };
    int rc = epoll_ctl(b->epoll_fd, EPOLL_CTL_ADD, b->accept_fd, &event) < 0 ? -errno : 0;

    for (size_t i = 0; rc == 0 && i < worker->listen_count; i++)
        rc = queue_up(b, worker->listen_fds[i]);
    return rc;
}

/* Calls `serve` with each new connection, whose descriptor it owns; 0 once stopping, or -errno. */
static int blocking_accept(struct blocking *b, const struct worker *worker,
                           void (*serve)(void *arg, const struct accepted *accepted), void *arg) {
    struct epoll_event events[1 + LISTENERS_MAX + SERVER_LINGERING_MAX];
    nsec_t tend_at = 0;
    int rc = watch_all(b, worker);

    while (rc == 0 && is_accepting(b)) {
        int span = look_around(b, worker, &tend_at);
        int count = epoll_wait(b->epoll_fd, events, ARRAY_LEN(events), span);

        if (count < 0 && errno != EINTR)
            rc = -errno;
        prefork_worker_beat();
        for (int i = 0; rc == 0 && i < count; i++)
            rc = act_on(b, worker, events[i].data.fd, serve, arg);
        expire_lingering(b, clock_now());
        if (rc == 0)
            rc = end_waiting(b, worker);
    }
    crowd_leave(worker->place);
    leave_queue(b, worker);
    if (rc < 0)
        return rc;
    worker_stopping(worker, atomic_load(&b->phase) == RETIRING);
    expire_lingering(b, NSEC_NEVER);
    return 0;
}

/* --- one connection, from its first byte to its last -------------------------------- */

/* One connection, and how it waits: for its first request to begin, and for everything else. */
struct blocking_connection {
    const struct blocking *blocking;
    struct session session;
    struct io_block first, io;
    nsec_t deadline; /* for a lingering close */
};

static nsec_t read_deadline(struct session *s, nsec_t now, nsec_t head_deadline) {
    return session_in_body(s) ? session_body_deadline(s, now) : head_deadline;
}

/* Receives as io_read does, within TLS. A handshake is made with the first bytes. */
static ssize_t receive(struct session *s, struct io *io, nsec_t deadline) {
    for (;;) {
        ssize_t n = channel_recv(&s->bytes, buf_tail(&s->in), buf_room(&s->in));
        unsigned what;
        int rc;

        channel_count(&s->bytes, s->worker->stats);
        if (n != -EAGAIN)
            return n;
        what = channel_awaits(&s->bytes, IO_READ);
        rc = what != 0 ? io_wait(io, s->fd, what, deadline) : 0;
        if (rc < 0)
            return rc;
    }
}

/* Calls session_feed_proxy until that says anything but MORE. */
static enum session_step read_proxy(struct session *s, struct io *io, nsec_t deadline) {
    enum session_step step;

    while ((step = session_feed_proxy(s)) == SESSION_MORE)
        if (io_wait(io, s->fd, IO_READ, deadline) < 0)
            return SESSION_CLOSED;
    return step;
}

/* Reads until session_feed says anything but MORE. Time-outs: keep-alive, header (of the first
 * request from here on, of later ones from their first byte), body. */
static enum session_step read_request(struct blocking_connection *c) {
    struct session *s = &c->session;
    const struct serve_config *config = s->worker->config;
    struct io *io = &c->io.io, *idle = s->served == 0 ? &c->first.io : io;
    bool is_idle = !session_began(s), is_kept = is_idle && s->served > 0;
    nsec_t span = is_kept ? config->keep_alive : config->header_timeout;
    nsec_t head_deadline = deadline_after(io_now(io), span);
    enum session_step step = SESSION_READY;
    ssize_t n;

    if (s->bytes.begins_later)
        step = read_proxy(s, idle, head_deadline);
    if (step != SESSION_READY)
        return step;
    while ((step = session_feed(s)) == SESSION_MORE) {
        if (session_reserve(s) < 0)
            return session_refuse(s, 503, "out of memory");
        n = receive(s, is_idle ? idle : io, read_deadline(s, io_now(io), head_deadline));
        if (n == -ETIMEDOUT && session_began(s))
            return session_refuse(s, 408, "the request did not arrive in time");
        if (n < 0)
            return session_refuse_bare(s) ? SESSION_REFUSED : SESSION_CLOSED;
        if (is_kept)
            head_deadline = deadline_after(io_now(io), config->header_timeout);
        is_idle = is_kept = false;
        s->eof = n == 0;
        buf_added(&s->in, (size_t)n);
    }
    if (step == SESSION_READY)
        session_ready(s, io_now(io));
    return step;
}

static int write_answer(struct blocking_connection *c) {
    struct session *s = &c->session;
    struct io *io = &c->io.io;
    nsec_t span = s->worker->config->send_timeout, deadline = deadline_after(io_now(io), span);
    uint64_t left = s->file.left;
    int rc;

    while ((rc = session_send(s, NULL)) == -EAGAIN) {
        if (s->file.left < left)
            deadline = deadline_after(io_now(io), span);
        left = s->file.left;
        rc = io_wait(io, s->fd, channel_awaits(&s->bytes, IO_WRITE), deadline);
        if (rc < 0)
            break;
    }
    buf_consume(&s->out, buf_unread(&s->out).len);
    return rc;
}

static bool probe_client(struct io_block *io) {
    return session_probe(&CONTAINER_OF(io, struct blocking_connection, io)->session);
}

/* Runs the handler, while the client is watched. 0 with an answer, or -errno. */
static int run_handler(struct blocking_connection *c) {
    struct session *s = &c->session;
    bool is_shown = c->io.beat != NULL;
    int rc;

    if (is_shown)
        stats_current_set(s->worker->stats, s->head.method_text, s->head.target, s->ready_at);
    io_block_watch_client(&c->io, s->fd, probe_client, session_probe_span(s));
    stats_add(s->worker->stats, STATS_slots_busy, 1);
    session_begin(s, io_now(&c->io.io));
    rc = handle_run(s, &c->io.io);
    if (rc == 0) {
        session_answers(s, &c->io.io);
        rc = write_answer(c);
    }
    stats_add(s->worker->stats, STATS_slots_busy, -1);
    io_block_watch_client(&c->io, -1, NULL, NSEC_NEVER);
    if (is_shown)
        stats_current_clear(s->worker->stats);
    return rc;
}

static enum session_end serve_request(struct blocking_connection *c) {
    struct session *s = &c->session;
    enum session_end end;
    int rc;

    if (!is_accepting(c->blocking))
        s->last = true;
    if (session_asks_health(s)) {
        end = session_tell_health(s);
        return write_answer(c) < 0 ? SESSION_CLOSE : end;
    }
    rc = run_handler(c);
    return session_finish(s, rc, io_now(&c->io.io));
}

static enum session_end serve_next(struct blocking_connection *c) {
    switch (read_request(c)) {
    case SESSION_READY:
        return serve_request(c);
    case SESSION_REFUSED:
        return write_answer(c) < 0 ? SESSION_CLOSE : SESSION_LINGER;
    case SESSION_MORE:
    case SESSION_CLOSED:
        break;
    }
    return session_close(&c->session);
}

static ssize_t read_lingering_client(void *arg, void *data, size_t size) {
    struct blocking_connection *c = arg;

    return io_read(&c->io.io, c->session.fd, data, size, c->deadline);
}

/* The thread that serves is the one that accepts: it shows that it lives while it waits. */
static void beat_in_waits(struct blocking_connection *c, nsec_t every) {
    struct io_block *waits[] = { &c->first, &c->io };

    for (size_t i = 0; every > 0 && i < ARRAY_LEN(waits); i++) {
        waits[i]->beat = prefork_worker_beat;
        waits[i]->beat_every = every;
    }
}

static void linger(struct blocking_connection *c) {
    c->deadline = deadline_after(io_now(&c->io.io), LINGER_NSEC);
    linger_wait(c->session.fd, read_lingering_client, c);
}

void blocking_serve(const struct blocking *b, const struct worker *worker,
                    const struct accepted *accepted, bool one_request) {
    struct blocking_connection c;
    enum session_end end;

    c.blocking = b;
    stats_add(worker->stats, STATS_connections, 1);
    stats_add(worker->stats, STATS_connections_opened, 1);
    io_block_init(&c.first, b->silence_fd);
    io_block_init(&c.io, b->cancel_fd);
    if (one_request)
        beat_in_waits(&c, worker_beat_interval(worker));
    session_init(&c.session, worker, accepted->fd);
    end = session_accept(&c.session, accepted) < 0 ? SESSION_CLOSE : SESSION_KEEP;
    c.session.last = one_request || worker->config->keep_alive == 0;
    while (end == SESSION_KEEP)
        end = serve_next(&c);
    channel_close(&c.session.bytes, NULL, worker->stats);
    if (end == SESSION_LINGER)
        linger(&c);
    session_free(&c.session);
    io_close(&c.io.io, accepted->fd);
    stats_add(worker->stats, STATS_connections, -1);
}

/* --- model single ------------------------------------------------------------------- */

struct single {
    struct blocking blocking;
    struct worker *worker;
};

/* Nothing is accepted while a request runs: that is the model. A kept connection would hold the
 * only thread, so each answer says close. */
static void single_accepted(void *arg, const struct accepted *accepted) {
    struct single *s = arg;

    blocking_serve(&s->blocking, s->worker, accepted, true);
}

static int single_run(struct worker *worker, struct error *err) {
    struct single s = { .worker = worker };
    int rc = blocking_open(&s.blocking, worker, err);

    if (rc == 0)
        rc = backends_open(worker, NULL, err);
    if (rc == 0) {
        background_open(worker);
        worker_ready(worker);
        rc = blocking_accept(&s.blocking, worker, single_accepted, &s);
        if (rc < 0)
            error_set(err, rc, "cannot accept connections: %s", strerrordesc_np(-rc));
    }
    signals_hold();
    background_close(worker);
    backends_close(worker);
    blocking_close(&s.blocking);
    return rc;
}

/* --- model threaded ----------------------------------------------------------------- */

struct threaded {
    struct blocking blocking;
    struct worker *worker;
    pthread_attr_t attr;
    struct {
        pthread_mutex_t lock; /* guards all below */
        pthread_cond_t fewer; /* a thread has ended */
        unsigned live;
    } shared;
};

/* The argument of a new thread, which frees it. */
struct threaded_connection {
    struct threaded *t;
    struct accepted accepted;
};

static void *connection_run(void *arg) {
    struct threaded_connection *c = arg;
    struct threaded *t = c->t;

    pthread_setname_np(pthread_self(), "request"); /* to its starter it may be gone already */
    blocking_serve(&t->blocking, t->worker, &c->accepted, false);
    if (t->worker->tls != NULL || t->worker->upstream_tls != NULL)
        tls_leave_thread();
    mem_free(c);
    pthread_mutex_lock(&t->shared.lock);
    t->shared.live--;
    crowd_count(t->worker->place, -1);
    pthread_cond_signal(&t->shared.fewer);
    pthread_mutex_unlock(&t->shared.lock);
    return NULL;
}

static int start_thread(struct threaded *t, const struct accepted *accepted) {
    struct threaded_connection *c = mem_alloc(sizeof(*c));
    pthread_t thread;
    int rc;

    if (c == NULL)
        return -ENOMEM;
    *c = (struct threaded_connection){ .t = t, .accepted = *accepted };
    rc = pthread_create(&thread, &t->attr, connection_run, c);
    if (rc != 0) {
        mem_free(c);
        return -rc;
    }
    return 0;
}

/* Threads are what this model runs out of: it says so to the client instead of letting it wait. */
static void refuse(struct threaded *t, const struct accepted *accepted, int rc) {
    static struct log_rate rate = { .per_second = 1 };

    log_limited(&rate, LOG_LEVEL_WARN, "no thread for a connection error=\"%s\"",
                strerrordesc_np(-rc));
    blocking_refuse(&t->blocking, t->worker, accepted, "no thread is left for this request");
}

static void threaded_accepted(void *arg, const struct accepted *accepted) {
    struct threaded *t = arg;
    unsigned max = (unsigned)t->worker->config->max_threads, live;
    int rc = -EAGAIN;

    pthread_mutex_lock(&t->shared.lock);
    live = ++t->shared.live;
    crowd_count(t->worker->place, 1);
    pthread_mutex_unlock(&t->shared.lock);
    if (max == 0 || live <= max)
        rc = start_thread(t, accepted);
    if (rc == 0)
        return;
    refuse(t, accepted, rc);
    pthread_mutex_lock(&t->shared.lock);
    t->shared.live--;
    crowd_count(t->worker->place, -1);
    pthread_mutex_unlock(&t->shared.lock);
}

/* Threads end by themselves, with the last answer or the keep-alive of their connection, or with
 * cancel_fd when patience ends. */
static void join_all(struct threaded *t) {
    nsec_t until = deadline_after(clock_now(), t->worker->config->graceful_timeout);
    struct timespec at = { .tv_sec = until / NSEC_PER_SEC, .tv_nsec = until % NSEC_PER_SEC };
    int rc = 0;

    pthread_mutex_lock(&t->shared.lock);
    while (t->shared.live > 0 && rc == 0)
        rc = pthread_cond_clockwait(&t->shared.fewer, &t->shared.lock, CLOCK_MONOTONIC, &at);
    if (t->shared.live > 0 && stats_get(t->worker->stats, STATS_slots_busy) > 0)
        log_write(LOG_LEVEL_WARN, "graceful stop takes too long, cancelling threads=%u",
                  t->shared.live);
    while (t->shared.live > 0)
        pthread_cond_wait(&t->shared.fewer, &t->shared.lock);
    pthread_mutex_unlock(&t->shared.lock);
}

static int threaded_open(struct threaded *t, struct error *err) {
    int rc = blocking_open(&t->blocking, t->worker, err);

    if (rc < 0)
        return rc;
    pthread_mutex_init(&t->shared.lock, NULL);
    pthread_cond_init(&t->shared.fewer, NULL);
    pthread_attr_init(&t->attr);
    pthread_attr_setdetachstate(&t->attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&t->attr, SERVER_THREAD_STACK_BYTES);
    return backends_open(t->worker, NULL, err);
}

static int threaded_run(struct worker *worker, struct error *err) {
    struct threaded t = { .worker = worker, .blocking.takes_turns = true };
    int rc = threaded_open(&t, err);

    if (rc == 0) {
        background_open(worker);
        worker_ready(worker);
        rc = blocking_accept(&t.blocking, worker, threaded_accepted, &t);
        if (rc < 0)
            error_set(err, rc, "cannot accept connections: %s", strerrordesc_np(-rc));
        join_all(&t);
    }
    signals_hold();
    background_close(worker);
    backends_close(worker);
    blocking_close(&t.blocking);
    return rc;
}
