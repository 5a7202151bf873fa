/* SPDX-License-Identifier: MIT */
/* Keep-alive connections that wait for their next use: last in, first out; the oldest leave.
 *
 *     newest <-> ... <-> oldest       put and taken on the left, closed on the right when they
 *                                     have been idle for long, or are too many
 *
 * The pool knows no descriptors: a connection embeds a `struct idle`, and its owner says how one is
 * closed and whether it is quiet. An owner that watches idle connections expels those that have
 * news: their peer has left, or says what nobody asked for. */
#ifndef NET_IDLE_POOL_H
#define NET_IDLE_POOL_H

#include "net/loop.h"
#include <pthread.h>
#include <sys/queue.h>

struct idle {
    TAILQ_ENTRY(idle) link;
    nsec_t since;   /* the time of the put */
    nsec_t ends_at; /* not used again after that */
    bool listed;
};

struct idle_pool;
struct watch;

struct idle_pool_config {
    uint32_t count_max; /* more than this are closed, the least recently used first */
    nsec_t span_max;    /* one that is idle for longer is closed; NSEC_NEVER: no limit */
    /* Closes a connection that is in no list any more, and may free it. */
    void (*close)(struct idle_pool *pool, struct idle *idle);
    /* Asked before one is used again: whether nothing came while it was idle. NULL: always. */
    bool (*is_quiet)(struct idle *idle);
    struct loop *loop; /* closes the old ones with its timer; NULL: threads share the pool */
    bool reaps;        /* without a loop a thread does; else they leave at the next take or put */
};

struct idle_pool {
    struct idle_pool_config config;
    TAILQ_HEAD(idle_list, idle) list; /* newest first */
    uint32_t count;
    uint64_t reused, stored, dead; /* dead: had news when they were looked at */
    nsec_t sweep_at;               /* nobody ends earlier; NSEC_NEVER: nobody is there */
    bool mixed;                    /* the oldest need not be the first to end */
    bool shut;
    struct timer timer;
    pthread_mutex_t lock; /* guards all above; without a loop */
    pthread_cond_t sooner;
    pthread_t reaper;
    bool reaping; /* the thread runs */
};

/* Cannot fail; `pool` stays put. */
void idle_pool_init(struct idle_pool *pool, const struct idle_pool_config *config);

/* Closes all, as idle_pool_shut, and ends the timer and the thread. Nobody may be inside. */
void idle_pool_end(struct idle_pool *pool);

/* The newest that is quiet, which is the caller's again; NULL: there is none. */
struct idle *idle_pool_take(struct idle_pool *pool, nsec_t now);

/* Gives one to the pool, which may close it at once. It is not used after `ends_at` (NSEC_NEVER:
 * only the span counts). */
void idle_pool_put(struct idle_pool *pool, struct idle *idle, nsec_t now, nsec_t ends_at);

/* A watched connection has news: closes it, unless it was taken meanwhile. */
void idle_pool_expel(struct idle_pool *pool, struct idle *idle);

/* Closes all that were put until then; NSEC_NEVER: all. How many there were. */
unsigned idle_pool_drop(struct idle_pool *pool, nsec_t since_max);

/* Closes all, and from now on what is put. */
void idle_pool_shut(struct idle_pool *pool);

/* Whether nothing has come on this socket: no bytes, no end, no error. Asks the kernel. */
bool idle_socket_is_quiet(int fd);

/* The same of a watched connection, within TLS too: nothing came behind an answer, or since. Asks
 * the kernel only when the last read filled its buffer exactly. */
bool idle_watch_is_quiet(struct watch *watch);

#endif
