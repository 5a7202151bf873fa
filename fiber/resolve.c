/* SPDX-License-Identifier: MIT */
/* Names to addresses: getaddrinfo(3) blocks, so a helper thread calls it, and an eventfd says when
 * it is done. Helpers start as they are needed; when there are as many as there may be, look-ups
 * queue for the next that is free, first in, first out. */
#include "fiber/resolve.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "net/thread.h"
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <resolv.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STACK_BYTES (256 * 1024) /* NSS modules keep answers of up to 64 KiB on the stack */
#define THREADS_MAX 64           /* a name server that is down must not pile up threads */

/* One name. */
struct lookup {
    struct resolve_job job;
    char host[NI_MAXHOST];
    char port[8];

    int rc, error; /* getaddrinfo's result, and errno for EAI_SYSTEM; valid when the job is done */
    struct resolved found;
};

/* The helper threads of the process. */
static struct {
    pthread_mutex_t lock;
    TAILQ_HEAD(resolve_job_list, resolve_job) queue; /* empty unless all helpers are busy */
    unsigned threads;
} helpers = { PTHREAD_MUTEX_INITIALIZER, TAILQ_HEAD_INITIALIZER(helpers.queue), 0 };

/* Frees it when it was the last reference. */
static void job_drop(struct resolve_job *job) {
    if (atomic_fetch_sub(&job->refs, 1) > 1)
        return;

    close(job->event_fd);
    job->free(job);
}

static void keep_answers(struct resolved *ret, const struct addrinfo *list) {
    for (; list != NULL && ret->count < RESOLVE_MAX; list = list->ai_next) {
        struct address *a = &ret->addresses[ret->count];
        if (list->ai_addrlen > sizeof(a->local))
            continue;

        *a = (struct address){ .len = list->ai_addrlen };
        memcpy(&a->any, list->ai_addr, list->ai_addrlen);
        ret->count++;
    }
}

/* Frees what the C library keeps for this thread, while that memory can still be reached. A state
 * that was never used must be left alone: its socket is 0. The thread looks up nothing after that:
 * the C library would take the state for a good one. */
static void forget_resolver(void) {
    if (_res.nscount > 0)
        res_nclose(&_res);
}

static void run_lookup(struct resolve_job *job) {
    struct lookup *l = CONTAINER_OF(job, struct lookup, job);
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *list = NULL;

    l->rc = getaddrinfo(l->host, l->port, &hints, &list);
    l->error = errno;
    if (l->rc == 0) {
        keep_answers(&l->found, list);
        freeaddrinfo(list);
    }
}

static void announce(struct resolve_job *job) {
    atomic_store(&job->done, true);
    eventfd_write(job->event_fd, 1);
    job_drop(job);
}

/* Under the lock. */
static void leave_queue(struct resolve_job *job) {
    TAILQ_REMOVE(&helpers.queue, job, link);
    job->queued = false;
}

/* The next job for a helper that is free; NULL: there is none, and the helper ends. */
static struct resolve_job *next_job(void) {
    pthread_mutex_lock(&helpers.lock);
    struct resolve_job *job = TAILQ_FIRST(&helpers.queue);
    if (job != NULL)
        leave_queue(job);
    else
        helpers.threads--;
    pthread_mutex_unlock(&helpers.lock);
    return job;
}

/* A caller may end the process as soon as its look-up is done: the helper is ready for that. */
static void *help(void *arg) {
    struct resolve_job *job = arg, *next;

    for (; job != NULL; job = next) {
        job->run(job);
        next = next_job();
        if (next == NULL)
            forget_resolver();
        announce(job);
    }
    return NULL;
}

/* A new helper, or the queue, has a reference from here on. */
int resolve_job_start(struct resolve_job *job) {
    int rc = 0;

    atomic_fetch_add(&job->refs, 1);
    pthread_mutex_lock(&helpers.lock);
    job->queued = helpers.threads == THREADS_MAX;
    if (job->queued)
        TAILQ_INSERT_TAIL(&helpers.queue, job, link);
    else
        rc = thread_start(NULL, STACK_BYTES, help, job);
    if (rc == 0 && !job->queued)
        helpers.threads++;
    pthread_mutex_unlock(&helpers.lock);
    if (rc != 0)
        atomic_fetch_sub(&job->refs, 1);
    return rc;
}

int resolve_job_open(struct resolve_job *job, void (*run)(struct resolve_job *),
                     void (*free)(struct resolve_job *)) {
    *job = (struct resolve_job){ .run = run, .free = free };
    job->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (job->event_fd < 0)
        return -errno;
    atomic_init(&job->refs, 1);
    return 0;
}

/* Nobody else need begin what is queued still. */
void resolve_job_leave(struct resolve_job *job) {
    pthread_mutex_lock(&helpers.lock);
    bool was_queued = job->queued;
    if (was_queued)
        leave_queue(job);
    pthread_mutex_unlock(&helpers.lock);
    if (was_queued)
        job_drop(job);
    job_drop(job);
}

/* 0 when it is done. */
static int run_and_wait(struct io *io, struct resolve_job *job, nsec_t deadline) {
    int rc = resolve_job_start(job);
    if (rc != 0)
        return rc;

    while (rc == 0 && !atomic_load(&job->done)) {
        rc = io_wait(io, job->event_fd, IO_READ, deadline);
        if (rc == 0 && !atomic_load(&job->done))
            io->ops->drained(io, job->event_fd, IO_READ);
    }
    io->ops->forget(io, job->event_fd);
    return rc;
}

static void lookup_free(struct resolve_job *job) {
    mem_free(CONTAINER_OF(job, struct lookup, job));
}

/* 0 or -errno with a reason. */
static int lookup_new(const struct endpoint *e, struct lookup **ret, struct error *err) {
    struct lookup *l = mem_calloc(1, sizeof(*l));
    if (l == NULL)
        return error_set(err, -ENOMEM, "cannot look up a name: out of memory");

    int rc = resolve_job_open(&l->job, run_lookup, lookup_free);
    if (rc < 0) {
        mem_free(l);
        return error_set(err, rc, "cannot look up a name: %s", strerrordesc_np(-rc));
    }
    snprintf(l->host, sizeof(l->host), "%.*s", (int)e->host.len, e->host.ptr);
    snprintf(l->port, sizeof(l->port), "%u", e->port);
    *ret = l;
    return 0;
}

static int take_answer(const struct lookup *l, struct resolved *ret, struct error *err) {
    if (l->rc == 0 && l->found.count > 0) {
        *ret = l->found;
        return 0;
    }

    const char *why = "no usable address";
    if (l->rc != 0)
        why = l->rc == EAI_SYSTEM ? strerrordesc_np(l->error) : gai_strerror(l->rc);
    return error_set(err, l->rc == EAI_MEMORY ? -ENOMEM : -ENOENT, "cannot look up '%s': %s",
                     l->host, why);
}

int resolve(struct io *io, const struct endpoint *e, nsec_t deadline, struct resolved *ret,
            struct error *err) {
    ret->count = 1;
    int rc = address_of_endpoint(e, false, &ret->addresses[0]);
    if (rc == 0)
        return 0;

    ret->count = 0;
    if (rc != -ENOENT || e->host.len >= NI_MAXHOST)
        return error_set(err, -ENAMETOOLONG, "the address is too long");

    struct lookup *l;
    rc = lookup_new(e, &l, err);
    if (rc < 0)
        return rc;

    rc = run_and_wait(io, &l->job, deadline);
    if (rc == 0)
        rc = take_answer(l, ret, err);
    else
        error_set(err, rc, "cannot look up '%s': %s", l->host, strerrordesc_np(-rc));
    resolve_job_leave(&l->job);
    return rc;
}

/* --- what the user says ----------------------------------------------------------------------- */

/* Takes an override apart; *ret_list is ADDRESS[,ADDRESS...]. */
static bool cut_override(const char *text, struct slice *ret_host, uint16_t *ret_port,
                         struct slice *ret_list) {
    struct slice rest = slice_str(text);
    uint64_t port;
    *ret_host = slice_cut(&rest, ':');
    struct slice digits = slice_cut(&rest, ':');
    *ret_list = rest;
    if (ret_host->len == 0 || slice_parse_u64(digits, UINT16_MAX, &port) != 0 || port == 0)
        return false;
    *ret_port = (uint16_t)port;
    return rest.len > 0;
}

/* The next address of the list, with or without brackets. */
static bool cut_address(struct slice *list, struct address *ret) {
    struct slice text = slice_trim(slice_cut(list, ','));
    if (text.len > 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']')
        text = slice_of(text.ptr + 1, text.len - 2);
    return address_parse_source(text, ret) == 0;
}

int resolve_check_override(const char *text, struct error *err) {
    struct slice host, list;
    struct address address;
    uint16_t port;
    bool is_good = cut_override(text, &host, &port, &list);
    for (size_t count = 0; is_good && list.len > 0; count++)
        is_good = cut_address(&list, &address) && count < RESOLVE_MAX;
    return is_good ? 0
                   : error_set(err, -EINVAL,
                               "HOST:PORT:ADDRESS[,ADDRESS...], up to %d numeric addresses",
                               RESOLVE_MAX);
}

/* *ret_list: its addresses. */
static bool is_for(const char *text, const struct endpoint *e, struct slice *ret_list) {
    struct slice host;
    uint16_t port;
    return cut_override(text, &host, &port, ret_list) && port == e->port && !e->is_unix &&
           slice_eq_nocase(host, e->host);
}

bool resolve_override_is_for(const char *text, const struct endpoint *e) {
    struct slice list;
    return is_for(text, e, &list);
}

bool resolve_is_overridden(const struct resolve_rules *rules, const struct endpoint *e,
                           struct resolved *ret) {
    struct slice list;
    ret->count = 0;
    for (size_t i = 0; i < rules->override_count; i++) {
        if (!is_for(rules->overrides[i], e, &list))
            continue;
        while (list.len > 0 && ret->count < RESOLVE_MAX) {
            struct address *to = &ret->addresses[ret->count];
            if (!cut_address(&list, to))
                break;
            if (to->any.sa_family == AF_INET6)
                to->v6.sin6_port = htons(e->port);
            else
                to->v4.sin_port = htons(e->port);
            ret->count++;
        }
    }
    return ret->count > 0;
}

int resolve_keep_family(struct resolved *r, const struct endpoint *e, int family,
                        struct error *err) {
    size_t kept = 0;
    for (size_t i = 0; i < r->count; i++)
        if (family == AF_UNSPEC || r->addresses[i].any.sa_family == family)
            r->addresses[kept++] = r->addresses[i];
    r->count = kept;
    if (kept > 0)
        return 0;
    return error_set(err, -ENOENT, "'%.*s' has no %s address", (int)e->host.len, e->host.ptr,
                     family == AF_INET6 ? "IPv6" : "IPv4");
}

/* RFC 6761 section 6.3: no name server is asked. */
static void resolve_localhost(uint16_t port, struct resolved *ret) {
    ret->count = 2;
    ret->addresses[0] = (struct address){ .len = sizeof(struct sockaddr_in) };
    ret->addresses[0].v4 = (struct sockaddr_in){ .sin_family = AF_INET,
                                                 .sin_port = htons(port),
                                                 .sin_addr = { htonl(INADDR_LOOPBACK) } };
    ret->addresses[1] = (struct address){ .len = sizeof(struct sockaddr_in6) };
    ret->addresses[1].v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
                                                  .sin6_port = htons(port),
                                                  .sin6_addr = in6addr_loopback };
}

int resolve_with_rules(struct io *io, const struct endpoint *e, const struct resolve_rules *rules,
                       nsec_t deadline, struct resolved *ret, struct error *err) {
    int rc = 0;
    if (!resolve_is_overridden(rules, e, ret)) {
        if (!e->is_unix && slice_eq_nocase(e->host, SLICE("localhost")))
            resolve_localhost(e->port, ret);
        else
            rc = resolve(io, e, deadline, ret, err);
    }
    if (rc != 0 || e->is_unix)
        return rc;
    return resolve_keep_family(ret, e, rules->family, err);
}

void resolve_rotate(struct resolved *r, size_t turn) {
    size_t by = r->count > 0 ? turn % r->count : 0;
    for (; by > 0; by--) {
        struct address first = r->addresses[0];
        memmove(r->addresses, r->addresses + 1, (r->count - 1) * sizeof(first));
        r->addresses[r->count - 1] = first;
    }
}

/* --- in steps -------------------------------------------------------------------------------- */

int resolve_begin(const struct endpoint *e, struct lookup **ret, struct error *err) {
    struct lookup *l;
    int rc;

    *ret = NULL;
    if (e->host.len >= NI_MAXHOST)
        return error_set(err, -ENAMETOOLONG, "the address is too long");
    rc = lookup_new(e, &l, err);
    if (rc < 0)
        return rc;

    rc = resolve_job_start(&l->job);
    if (rc == 0) {
        *ret = l;
        return 0;
    }
    error_set(err, rc, "cannot look up '%s': %s", l->host, strerrordesc_np(-rc));
    job_drop(&l->job);
    return rc;
}

int resolve_fd(const struct lookup *l) {
    return l->job.event_fd;
}

int resolve_end(const struct lookup *l, struct resolved *ret, struct error *err) {
    ASSERT(atomic_load(&l->job.done));
    ret->count = 0;
    return take_answer(l, ret, err);
}

void resolve_free(struct lookup *l) {
    if (l != NULL)
        resolve_job_leave(&l->job);
}
