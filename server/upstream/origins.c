/* SPDX-License-Identifier: MIT */
/* A list of clients, the last used first. */
#include "server/upstream/origins.h"
#include "base/alloc.h"
#include "server/limits.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>

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

/* --- the list, under the lock ----------------------------------------------------------------- */

static void insert(struct origins *o, struct origin *origin) {
    TAILQ_INSERT_HEAD(&o->list, origin, link);
    origin->listed = true;
    o->count++;
}

static void drop(struct origins *o, struct origin *origin) {
    TAILQ_REMOVE(&o->list, origin, link);
    o->count--;
    origin_free(origin);
}

/* Ends those whose kept connections are too old by now. */
static void sweep(struct origins *o, nsec_t now) {
    struct origin *last;

    while ((last = TAILQ_LAST(&o->list, origin_list)) != NULL && last->users == 0 &&
           now - last->used_at > SERVER_UPSTREAM_IDLE_NSEC)
        drop(o, last);
}

/* Makes room for one more: false when all are in use. */
static bool make_room(struct origins *o) {
    struct origin *origin;

    if (o->count < SERVER_ORIGINS_MAX)
        return true;
    TAILQ_FOREACH_REVERSE(origin, &o->list, origin_list, link) {
        if (origin->users == 0) {
            drop(o, origin);
            return true;
        }
    }
    return false;
}

static struct origin *find(struct origins *o, struct slice url) {
    struct origin *origin;

    TAILQ_FOREACH(origin, &o->list, link)
    if (slice_eq(slice_str(origin->url), url))
        return origin;
    return NULL;
}

static int take(struct origins *o, struct slice url, nsec_t now, struct origin **ret,
                struct error *err) {
    struct origin *origin = find(o, url);
    int rc;

    if (origin != NULL) {
        TAILQ_REMOVE(&o->list, origin, link);
        TAILQ_INSERT_HEAD(&o->list, origin, link);
    } else {
        rc = origin_new(o, url, &origin, err);
        if (rc < 0)
            return rc;
        if (make_room(o))
            insert(o, origin);
    }
    origin->users++;
    origin->used_at = now;
    sweep(o, now);
    *ret = origin;
    return 0;
}

/* --- public ----------------------------------------------------------------------------------- */

int origins_take(struct origins *o, struct slice url, nsec_t now, struct origin **ret,
                 struct error *err) {
    int rc;

    pthread_mutex_lock(&o->lock);
    rc = take(o, url, now, ret, err);
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
        drop(o, origin);
    pthread_mutex_destroy(&o->lock);
    mem_free(o);
}
