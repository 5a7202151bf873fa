/* SPDX-License-Identifier: MIT */
/* Decides when a worker accepts connections beside others. */
#include "server/conn/balance.h"
#include "net/socket.h"
#include "server/limits.h"

static bool queue_is_bounded(const struct balance *b) {
    const struct serve_config *config = b->worker->config;

    return config->max_queue >= 0 || config->queue_timeout > 0;
}

static bool is_full(const struct balance *b) {
    return b->slots > 0 && b->used + b->expected >= b->slots;
}

static void set_accepting(struct balance *b, bool accepting) {
    crowd_accepts(b->worker->place, accepting);
    for (size_t i = 0; i < b->worker->listen_count; i++) {
        if (accepting)
            acceptor_resume(&b->acceptors[i]);
        else
            acceptor_pause(&b->acceptors[i]);
    }
}

/* Follows a change of a slot, the queue or an expectation. */
static void update(struct balance *b) {
    nsec_t span = queue_is_bounded(b) ? SERVER_LOOK_NSEC : SERVER_RARE_LOOK_NSEC;
    bool full = is_full(b);

    if (!b->on || b->closed)
        return;
    set_accepting(b, !full);
    if (!full)
        b->reused = false;
    else if (!timer_armed(&b->look) &&
             timer_set(b->loop, &b->look, deadline_after(loop_now(b->loop), span)) < 0)
        set_accepting(b, true);
}

static void look_at_backlog(struct timer *timer) {
    struct balance *b = CONTAINER_OF(timer, struct balance, look);
    unsigned burst = queue_is_bounded(b) ? SERVER_ACCEPT_BURST : b->reused;

    for (size_t i = 0; burst > 0 && !b->closed && i < b->worker->listen_count; i++)
        acceptor_glance(&b->acceptors[i], burst);
    b->reused = false;
    update(b);
}

static void let_others_go_first(struct balance *b) {
    for (size_t i = 0; !b->closed && i < b->worker->listen_count; i++)
        acceptor_yield(&b->acceptors[i]);
}

int balance_open(struct balance *b, const struct worker *worker, struct loop *loop, uint32_t slots,
                 void (*accepted)(struct acceptor *, int fd, const struct address *)) {
    bool others = worker->config->workers > 1;
    int rc = 0;

    *b = (struct balance){ .worker = worker,
                           .loop = loop,
                           .look.fire = look_at_backlog,
                           .slots = slots,
                           .prompt_needed = SERVER_PROMPT_FIRST,
                           .on = slots > 0 && others,
                           .learns = others && worker->config->defer_accept == DEFER_ACCEPT_AUTO };
    for (size_t i = 0; rc == 0 && i < worker->listen_count; i++) {
        rc = acceptor_open(&b->acceptors[i], loop, worker->listen_fds[i], SERVER_ACCEPT_BURST,
                           others, accepted, b);
        b->acceptors[i].place = worker->place;
    }
    return rc;
}

void balance_close(struct balance *b) {
    for (size_t i = 0; !b->closed && i < b->worker->listen_count; i++)
        acceptor_close(&b->acceptors[i]);
    crowd_leave(b->worker->place);
    b->closed = true;
    timer_cancel(b->loop, &b->look);
}

void balance_accepted(struct balance *b, uint32_t count) {
    if (count > 1)
        let_others_go_first(b);
}

/* Fails for unix sockets, which stay as they are. */
static void defer_accept(const struct balance *b, bool defers) {
    for (size_t i = 0; i < b->worker->listen_count; i++)
        if (!b->worker->listen_borrowed[i])
            socket_defer_accept(b->worker->listen_fds[i], defers);
}

void balance_came(struct balance *b, unsigned listener, bool with_bytes) {
    if (!b->learns || b->closed || b->worker->listen_borrowed[listener])
        return;
    if (with_bytes) {
        if (b->prompt < b->prompt_needed && ++b->prompt == b->prompt_needed) {
            defer_accept(b, true);
            b->deferred_at = loop_now(b->loop);
        }
    } else if (!socket_defers_accept(b->worker->listen_fds[listener])) {
        b->deferred_at = 0;
    } else if (b->deferred_at == 0) { /* by another worker */
        b->deferred_at = loop_now(b->loop);
    } else if (loop_now(b->loop) - b->deferred_at > SERVER_DEFERRED_NSEC) {
        defer_accept(b, false);
        b->deferred_at = 0;
        b->prompt = 0;
        b->prompt_needed = 2 * b->prompt_needed;
        if (b->prompt_needed > SERVER_PROMPT_MAX)
            b->prompt_needed = SERVER_PROMPT_MAX;
    }
}

void balance_kept(struct balance *b, uint32_t count) {
    if (count == 1)
        let_others_go_first(b);
}

void balance_left(struct balance *b) {
    crowd_count(b->worker->place, -1);
    for (size_t i = 0; !b->closed && i < b->worker->listen_count; i++)
        acceptor_look_again(&b->acceptors[i]);
}

void balance_expect(struct balance *b) {
    b->expected++;
    update(b);
}

void balance_settle(struct balance *b) {
    b->expected--;
    update(b);
}

void balance_use(struct balance *b, uint32_t used, bool goes_on) {
    b->used = used;
    if (goes_on)
        b->reused = is_full(b);
    update(b);
}
