/* SPDX-License-Identifier: MIT */
/* Runs the application on a request: by its routes, or as a whole; parts of it at the same time;
 * and the locks that requests share. */
#include "server/app/handle.h"
#include "base/alloc.h"
#include "base/escape.h"
#include "base/log.h"
#include "fiber/patch.h"
#include "fiber/semaphore.h"
#include "net/thread.h"
#include "server/app/crash.h"
#include "server/app/stream.h"
#include "server/limits.h"
#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* --- code of the application --------------------------------------------- */

enum { COMPLAINTS = 5 }; /* complaints of a kind in a second */

/* While it runs. */
struct application_run {
    struct patch patch;
    struct srv_request *rq;
};

/* Names the request of code that does what it should not. */
static void complain(const struct srv_request *rq, struct log_rate *rate, const char *what,
                     const char *call) {
    const struct http_head *head = &rq->session->head;
    char method[64], target[400];

    escape_quoted(method, sizeof(method), head->method_text);
    escape_quoted(target, sizeof(target), head->target);
    log_limited(rate, LOG_LEVEL_WARN, "%s%s%s request=\"%s %s\"", what,
                call != NULL ? " call=" : "", call != NULL ? call : "", method, target);
}

/* Lists what it waits for. */
static void list_wait(struct srv_request *rq, const struct patch *patch) {
    struct stats_entry *entry = rq->is_part ? NULL : rq->session->entry;
    struct address peer = { .len = sizeof(peer.local) };
    char text[ADDRESS_TEXT_BYTES] = "";

    if (entry == NULL)
        return;
    if (patch->fd >= 0 && getpeername(patch->fd, &peer.any, &peer.len) == 0)
        address_format(&peer, text);
    snprintf(entry->call, sizeof(entry->call), "%s %s", patch->call, text);
    stats_does(entry, STATS_PATCHED, io_now(rq->io));
}

/* Decides what a failure is worth: not a library does. */
static void on_patch_news(struct patch *patch, enum patch_news news) {
    static struct log_rate insisted = { .per_second = COMPLAINTS };
    struct srv_request *rq = CONTAINER_OF(patch, struct application_run, patch)->rq;
    struct stats *stats = rq->session->worker->stats;

    switch (news) {
    case PATCH_PARKS:
        stats_add(stats, STATS_patched_waits, 1);
        list_wait(rq, patch);
        break;
    case PATCH_RUNS:
        request_does(rq, STATS_CPU, io_now(rq->io));
        break;
    case PATCH_REFUSED:
        stats_add(stats, STATS_patch_refused, 1);
        request_stick(rq, patch->failed);
        break;
    case PATCH_INSISTS:
        complain(
            rq, &insisted,
            "a handler goes on waiting though its request is over: each further wait takes longer",
            patch->call);
        break;
    }
}

static void run_begins(struct application_run *a, struct srv_request *rq) {
    a->rq = rq;
    patch_enter(&a->patch, rq->session->worker->patches, &rq->deadline, on_patch_news);
}

static void run_ends(struct application_run *a) {
    static struct log_rate left_locked = { .per_second = COMPLAINTS };

    if (patch_leave(&a->patch))
        complain(a->rq, &left_locked, "a handler has ended without unlocking what it had locked",
                 NULL);
    request_stick(a->rq, a->patch.failed);
}

PATCH_CALLS_APPLICATION
int handle_call(struct srv_request *rq, int (*run)(struct srv_request *, void *), void *arg) {
    struct application_run current;
    int rc;

    run_begins(&current, rq);
    rc = run(rq, arg);
    run_ends(&current);
    return rc;
}

PATCH_CALLS_APPLICATION
static int call_handler(struct srv_request *rq, int (*handle)(struct srv_request *)) {
    struct application_run current;
    int rc;

    run_begins(&current, rq);
    rc = handle(rq);
    run_ends(&current);
    return rc;
}

/* --- routes -------------------------------------------------------------- */

static void keep_segment(struct srv_request *rq, const char *text, size_t len) {
    if (rq->segment_count < SERVER_ROUTE_SEGMENTS_MAX)
        rq->segments[rq->segment_count++] = slice_of(text, len);
}

static bool path_matches(struct srv_request *rq, const char *pattern, const char *path) {
    rq->segment_count = 0;
    if (strcmp(pattern, path) == 0 && strchr(path, '*') == NULL)
        return true;
    while (*pattern == '/' && *path == '/') {
        size_t wanted = strcspn(++pattern, "/"), len = strcspn(++path, "/");

        if (strcmp(pattern, "**") == 0) {
            keep_segment(rq, path, strlen(path));
            return true;
        }
        if (wanted == 1 && *pattern == '*' && len > 0)
            keep_segment(rq, path, len);
        else if (wanted != len || memcmp(pattern, path, len) != 0)
            return false;
        pattern += wanted;
        path += len;
    }
    return *pattern == '\0' && *path == '\0';
}

/* The methods that the routes of a path take, as Allow lists them. */
struct allowed {
    char text[160];
    bool get;
};

static void allow(struct allowed *allowed, struct slice method) {
    size_t len = strlen(allowed->text);

    if (memmem(allowed->text, len, method.ptr, method.len) != NULL)
        return; /* no method is a part of another's name */
    allowed->get |= slice_eq(method, SLICE("GET"));
    snprintf(allowed->text + len, sizeof(allowed->text) - len, "%.*s, ", (int)method.len,
             method.ptr);
}

static bool method_matches(struct slice wanted, struct slice method) {
    return wanted.len == 0 || slice_eq(wanted, method) ||
           (slice_eq(wanted, SLICE("GET")) && slice_eq(method, SLICE("HEAD")));
}

/* The routes have the path, but not for this method. */
static int answer_methods(struct srv_request *rq, struct allowed *allowed) {
    bool asks = slice_eq(rq->session->head.method_text, SLICE("OPTIONS"));

    if (allowed->get)
        allow(allowed, SLICE("HEAD"));
    allow(allowed, SLICE("OPTIONS"));
    allowed->text[strlen(allowed->text) - 2] = '\0';
    srv_set(rq, "Allow", allowed->text);
    if (asks)
        return request_reply(rq, 200, SLICE(""), SLICE(""));
    return srv_fail(rq, 405, "method is not allowed");
}

/* Runs the first route that matches; 404, 405 and OPTIONS are answered here. */
static int route(struct srv_request *rq, const struct srv_route *routes) {
    struct slice method = rq->session->head.method_text;
    struct allowed allowed = { "" };
    const char *path = srv_path(rq);

    for (const struct srv_route *r = routes; r->pattern != NULL; r++) {
        const char *pattern = r->pattern[0] == '/' ? r->pattern : strchr(r->pattern, '/');
        struct slice wanted = slice_of(r->pattern, (size_t)(pattern - r->pattern));

        if (!path_matches(rq, pattern, path))
            continue;
        wanted = slice_take(wanted, wanted.len - (wanted.len > 0)); /* without its space */
        if (method_matches(wanted, method))
            return call_handler(rq, r->handle);
        allow(&allowed, wanted);
    }
    return allowed.text[0] != '\0' ? answer_methods(rq, &allowed) : srv_fail(rq, 404, "not found");
}

/* --- locks --------------------------------------------------------------- */

/* A lock is a semaphore of one permit, made at its first use: only then it is known whether fibers
 * or threads wait. */
struct lock {
    struct semaphore *semaphore;
    struct srv_request *_Atomic holder;
    struct lock *next_held; /* by the same request */
    struct lock *next;      /* of the worker */
};

static_assert(sizeof(struct srv_mutex) >= sizeof(_Atomic(struct lock *)), "it holds a pointer");

static _Atomic(struct lock *) *slot_of(struct srv_mutex *mutex) {
    return (void *)mutex->opaque;
}

static void lock_free(struct lock *lock) {
    if (lock != NULL)
        semaphore_free(lock->semaphore);
    mem_free(lock);
}

static struct lock *lock_new(struct io_fiber *fiber_io) {
    struct lock *lock = mem_calloc(1, sizeof(*lock));

    if (lock != NULL)
        lock->semaphore = semaphore_new(1, fiber_io);
    if (lock != NULL && lock->semaphore != NULL)
        return lock;
    lock_free(lock);
    return NULL;
}

/* Makes the lock unless another thread is faster. NULL without memory. */
static struct lock *find_or_make(struct srv_request *rq, struct srv_mutex *mutex) {
    struct srv_worker *own = srv_worker_of(rq);
    struct lock *lock = atomic_load(slot_of(mutex)), *expected = NULL;

    if (lock != NULL)
        return lock;
    lock = lock_new(rq->session->worker->fiber_io);
    if (lock == NULL)
        return NULL;
    if (!atomic_compare_exchange_strong(slot_of(mutex), &expected, lock)) {
        lock_free(lock);
        return expected;
    }
    lock->next = atomic_load(&own->locks);
    while (!atomic_compare_exchange_weak(&own->locks, &lock->next, lock))
        continue;
    return lock;
}

int srv_lock(struct srv_request *rq, struct srv_mutex *mutex) {
    struct lock *lock = rq->failed == 0 ? find_or_make(rq, mutex) : NULL;
    int rc;

    if (lock == NULL)
        return request_stick(rq, -ENOMEM);
    if (atomic_load(&lock->holder) == rq)
        return srv_fail(rq, 500, "the handler locks what it has locked");
    rc = semaphore_acquire(lock->semaphore, rq->io, rq->deadline);
    if (rc < 0)
        return request_stick(rq, rc);
    atomic_store(&lock->holder, rq);
    lock->next_held = rq->held;
    rq->held = lock;
    return 0;
}

void srv_unlock(struct srv_request *rq, struct srv_mutex *mutex) {
    struct lock *lock = atomic_load(slot_of(mutex)), **at = &rq->held;

    if (lock == NULL || atomic_load(&lock->holder) != rq)
        return;
    while (*at != lock)
        at = &(*at)->next_held;
    *at = lock->next_held;
    atomic_store(&lock->holder, NULL);
    semaphore_release(lock->semaphore);
}

static void release_locks(struct srv_request *rq) {
    static struct log_rate rate = { .per_second = 1 };
    struct lock *lock;

    while ((lock = rq->held) != NULL) {
        log_limited(&rate, LOG_LEVEL_WARN, "the handler has left a mutex locked");
        rq->held = lock->next_held;
        atomic_store(&lock->holder, NULL);
        semaphore_release(lock->semaphore);
    }
}

void handle_free_locks(struct srv_worker *own) {
    struct lock *lock = atomic_exchange(&own->locks, NULL), *next;

    for (; lock != NULL; lock = next) {
        next = lock->next;
        lock_free(lock);
    }
}

/* --- parts at the same time ---------------------------------------------- */

struct srv_task {
    struct srv_request rq; /* view of the request */
    const struct srv_request *owner;
    struct arena arena; /* lives as long as the handler: its results are handed out */
    int (*part)(struct srv_request *, void *arg);
    void *arg;
    int result;
    bool joined, ended;
    atomic_bool done;
    struct srv_task *next;
    /* Members of a fiber. */
    struct fibers *fibers;
    struct fiber *fiber;  /* NULL once it has ended */
    struct fiber *joiner; /* waits for the end */
    /* Members of a thread. */
    pthread_t thread;
    struct io_block io;
    int cancel_fd, done_fd;
};

static bool is_fiber(const struct srv_task *t) {
    return t->fibers != NULL;
}

/* Runs on the stack of the part. */
static void run_part(struct srv_task *t) {
    t->result = handle_call(&t->rq, t->part, t->arg);
    handle_end(&t->rq);
}

/* --- as a fiber ---------------------------------------------------------- */

static void run_fiber(void *arg) {
    struct srv_task *t = arg;

    t->fiber = fiber_self(t->fibers);
    if (atomic_load(&t->rq.cancelled))
        fiber_cancel(t->fiber);
    run_part(t);
    t->fiber = NULL;
    atomic_store(&t->done, true);
    if (t->joiner != NULL)
        fiber_wake_later(t->joiner);
}

static int start_fiber(struct srv_task *t, struct io_fiber *fiber_io) {
    t->fibers = io_fiber_fibers(fiber_io);
    t->rq.io = io_fiber_io(fiber_io);
    return fiber_spawn_part(t->fibers, "part", run_fiber, t);
}

/* 0, or -ETIMEDOUT, -ECANCELED: then it still runs. */
static int join_fiber(struct srv_request *rq, struct srv_task *t) {
    int rc = 0;

    t->joiner = fiber_self(t->fibers);
    while (rc == 0 && !atomic_load(&t->done))
        rc = fiber_park(t->fibers, rq->deadline);
    t->joiner = NULL;
    return rc;
}

static void end_fiber(struct srv_task *t) {
    t->joiner = fiber_self(t->fibers);
    while (!atomic_load(&t->done))
        fiber_await(t->fibers);
}

/* --- as a thread --------------------------------------------------------- */

static void *run_thread(void *arg) {
    struct srv_task *t = arg;

    crash_runs(&t->rq.session->head);
    run_part(t);
    atomic_store(&t->done, true);
    eventfd_write(t->done_fd, 1);
    return NULL;
}

static void close_fds(struct srv_task *t) {
    if (t->cancel_fd >= 0)
        close(t->cancel_fd);
    if (t->done_fd >= 0)
        close(t->done_fd);
}

static int start_thread(struct srv_task *t) {
    int rc;

    t->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    t->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rc = t->cancel_fd < 0 || t->done_fd < 0 ? -errno : 0;
    io_block_init(&t->io, t->cancel_fd);
    t->rq.io = &t->io.io;
    if (rc == 0)
        rc = thread_start(&t->thread, SERVER_THREAD_STACK_BYTES, run_thread, t);
    if (rc < 0)
        close_fds(t);
    return rc;
}

static int join_thread(struct srv_request *rq, struct srv_task *t) {
    int rc = 0;

    while (rc == 0 && !atomic_load(&t->done))
        rc = io_wait_level(rq->io, t->done_fd, IO_READ, rq->deadline);
    return rc;
}

static void end_thread(struct srv_task *t) {
    pthread_join(t->thread, NULL);
    close_fds(t);
}

/* --- both ---------------------------------------------------------------- */

/* The part sees all that was asked, and nothing of the answer. */
static void give_view(struct srv_task *t, const struct srv_request *rq) {
    char id[REQUEST_ID_BYTES];

    (void)request_id_of(rq, id); /* made here, for threads only to read */
    t->rq = (struct srv_request){
        .session = rq->session,
        .arena = &t->arena,
        .path = rq->path,
        .query = rq->query,
        .deadline = rq->deadline,
        .decoded_path = rq->decoded_path,
        .segment_count = rq->segment_count,
        .is_part = true,
    };
    memcpy(t->rq.segments, rq->segments, sizeof(t->rq.segments));
}

static int start(struct srv_request *rq, struct srv_task *t) {
    struct io_fiber *fiber_io = rq->session->worker->fiber_io;
    int rc;

    arena_init(&t->arena, SERVER_ARENA_BYTES_MAX);
    give_view(t, rq);
    t->owner = rq;
    t->next = rq->parts;
    rq->parts = t; /* a fiber may run at once, and even end */
    rq->part_count++;
    rc = fiber_io != NULL ? start_fiber(t, fiber_io) : start_thread(t);
    if (rc < 0) {
        rq->parts = t->next;
        rq->part_count--;
    }
    return rc;
}

/* NULL, and a failure that sticks, without memory or a thread for it. */
static struct srv_task *begin(struct srv_request *rq, int (*part)(struct srv_request *, void *arg),
                              void *arg) {
    struct srv_task *t = mem_calloc(1, sizeof(*t));
    int rc = -ENOMEM;

    if (t != NULL) {
        t->part = part;
        t->arg = arg;
        rc = start(rq, t);
    }
    if (rc == 0)
        return t;
    mem_free(t);
    request_stick(rq, rc);
    return NULL;
}

struct srv_task *srv_start(struct srv_request *rq, int (*part)(struct srv_request *, void *arg),
                           void *arg) {
    if (rq->failed == 0 && rq->part_count >= SERVER_PARTS_MAX)
        request_stick(rq, -EAGAIN);
    return rq->failed == 0 ? begin(rq, part, arg) : NULL;
}

void srv_cancel(struct srv_task *t) {
    if (t == NULL || atomic_load(&t->done))
        return;
    atomic_store(&t->rq.cancelled, true);
    if (is_fiber(t) && t->fiber != NULL)
        fiber_cancel(t->fiber);
    else if (!is_fiber(t))
        eventfd_write(t->cancel_fd, 1);
}

/* The failure that stuck to the part, with its reason, for whoever has joined it. */
static void take_failure(struct srv_request *rq, const struct srv_task *t) {
    if (t->rq.failed == 0 || rq->failed < 0)
        return;
    rq->why = t->rq.why != NULL ? arena_dup(rq->arena, slice_str(t->rq.why)) : NULL;
    rq->detail = t->rq.detail != NULL ? arena_dup(rq->arena, slice_str(t->rq.detail)) : NULL;
    rq->status = t->rq.status;
    request_stick(rq, t->rq.failed);
}

static void end(struct srv_task *t) {
    if (is_fiber(t))
        end_fiber(t);
    else if (!t->ended)
        end_thread(t);
    t->ended = true;
}

/* Returns when the part has ended, and not before: what it works on may stand on the stack of the
 * caller. A request that has failed, or fails meanwhile, wants no result. Only one may wait for the
 * end, and a part that waits for its own would wait for ever. */
static int join(struct srv_request *rq, struct srv_task *t) {
    int rc = rq->failed;

    if (t->owner != rq)
        return srv_fail(rq, 500, "a part was joined by another than the one that began it");
    if (rc == 0) {
        request_waits_for_upstream(rq);
        rc = is_fiber(t) ? join_fiber(rq, t) : join_thread(rq, t);
        request_has_waited(rq);
        if (rc == 0 && io_now(rq->io) >= rq->deadline)
            rc = -ETIMEDOUT; /* the part has ended by the deadline of both */
    }
    if (rc < 0)
        srv_cancel(t);
    end(t);
    rq->part_count -= !t->joined;
    t->joined = true;
    return request_stick(rq, rc);
}

int srv_join(struct srv_request *rq, struct srv_task *t) {
    int rc = t != NULL ? join(rq, t) : rq->failed;

    if (rc < 0)
        return rc;
    take_failure(rq, t);
    return t->result;
}

static void end_parts(struct srv_request *rq) {
    struct srv_task *t;

    for (t = rq->parts; t != NULL; t = t->next)
        srv_cancel(t);
    while ((t = rq->parts) != NULL) {
        end(t);
        rq->parts = t->next;
        arena_free(&t->arena);
        mem_free(t);
    }
}

void handle_end(struct srv_request *rq) {
    if (rq->parts != NULL)
        end_parts(rq);
    if (rq->transaction != NULL)
        request_end_transaction(rq);
    if (rq->held != NULL)
        release_locks(rq);
}

/* --- calls at the same time ---------------------------------------------- */

struct call_part {
    const char *suffix; /* of a GET, or: */
    const struct srv_call *call;
    const struct srv_response **ret;
    struct srv_task *task;
};

static int call_part(struct srv_request *rq, void *arg) {
    struct call_part *p = arg;

    *p->ret = p->call != NULL ? srv_fetch(rq, p->call) : srv_get(rq, "%s", p->suffix);
    return (*p->ret)->error;
}

static size_t call_all(struct srv_request *rq, struct call_part *parts, size_t count,
                       const struct srv_response **ret) {
    const struct srv_response *none = call_none();
    size_t failed = 0, ended = 0;

    for (size_t i = 0; i < count; i++)
        ret[i] = none;
    for (size_t i = 0; rq->failed == 0 && i < count; i++) {
        while (ended < i && rq->part_count >= SERVER_PARTS_MAX)
            join(rq, parts[ended++].task);
        parts[i].ret = &ret[i];
        parts[i].task = begin(rq, call_part, &parts[i]);
    }
    for (size_t i = ended; parts != NULL && i < count; i++)
        if (parts[i].task != NULL)
            join(rq, parts[i].task);
    for (size_t i = 0; i < count; i++)
        failed += ret[i]->error < 0;
    return failed;
}

size_t srv_get_all(struct srv_request *rq, const char *const *suffixes, size_t count,
                   const struct srv_response **ret) {
    struct call_part *parts = srv_alloc(rq, count * sizeof(*parts));

    for (size_t i = 0; parts != NULL && i < count; i++)
        parts[i].suffix = suffixes[i];
    return call_all(rq, parts, count, ret);
}

/* The objects stand as far apart as the application's header says. */
size_t srv_fetch_all(struct srv_request *rq, const struct srv_call *calls, size_t count,
                     const struct srv_response **ret) {
    struct call_part *parts = srv_alloc(rq, count * sizeof(*parts));
    const char *at = (const void *)calls;

    for (size_t i = 0; parts != NULL && i < count; i++)
        parts[i].call = (const void *)(at + i * calls->size);
    return call_all(rq, parts, count, ret);
}

/* --- work on threads ----------------------------------------------------- */

struct offload {
    int (*work)(void *arg);
    void *arg;
    int result;
    atomic_bool done;
    struct fibers *fibers;
    struct fiber *waiter;
    struct watch watch; /* eventfd, readable at the end */
};

static void *run_offload(void *arg) {
    struct offload *o = arg;
    int fd = o->watch.fd;

    o->result = o->work(o->arg);
    atomic_store(&o->done, true);
    eventfd_write(fd, 1);
    return NULL;
}

static void offload_done(struct watch *w, unsigned what UNUSED) {
    struct offload *o = CONTAINER_OF(w, struct offload, watch);

    if (atomic_load(&o->done))
        fiber_wake(o->waiter);
}

static int run_beside(struct offload *o, struct io_fiber *fiber_io) {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_t thread;
    int rc = fd < 0 ? -errno : watch_open(&o->watch, io_fiber_loop(fiber_io), fd, offload_done);

    if (rc == 0) {
        watch_drained(&o->watch, IO_READ); /* nothing is readable yet */
        rc = thread_start(&thread, SERVER_THREAD_STACK_BYTES, run_offload, o);
        while (rc == 0 && !atomic_load(&o->done))
            fiber_await(o->fibers);
        if (rc == 0)
            pthread_join(thread, NULL);
        watch_close(&o->watch);
    }
    if (fd >= 0)
        close(fd);
    return rc;
}

int srv_offload(struct srv_request *rq, int (*work)(void *arg), void *arg) {
    struct io_fiber *fiber_io = rq->session->worker->fiber_io;
    struct offload o = { .work = work, .arg = arg };
    int rc;

    if (rq->failed < 0)
        return rq->failed;
    if (fiber_io == NULL)
        return work(arg);
    o.fibers = io_fiber_fibers(fiber_io);
    o.waiter = fiber_self(o.fibers);
    rc = run_beside(&o, fiber_io);
    return rc < 0 ? request_stick(rq, rc) : o.result;
}

/* --- running ------------------------------------------------------------- */

int handle_request(struct srv_request *rq) {
    const struct srv_app *app = rq->session->worker->app;
    int rc = app->handle != NULL ? call_handler(rq, app->handle) : route(rq, app->routes);

    handle_end(rq);
    return rq->streams ? stream_settle(rq, rc) : rc;
}

int handle_run(struct session *s, struct io *io) {
    bool on_thread = s->worker->fiber_io == NULL; /* a crash among fibers asks which one ran */
    struct srv_request rq;
    int rc;

    request_init(&rq, s, io);
    rc = request_admit(&rq);
    if (on_thread)
        crash_runs(&s->head);
    if (rc == 0)
        rc = handle_request(&rq);
    if (on_thread)
        crash_runs(NULL);
    return request_answer(&rq, rc);
}

enum session_end handle_serve(struct session *s, struct io *io) {
    return session_answer(s, handle_run(s, io), io);
}
