/* SPDX-License-Identifier: MIT */
/* Locks between fibers: mutexes, read-write locks, spin locks and pthread_once. libc's owner is the
 * thread, which all fibers of a loop share; so what a patched fiber holds is written down here, in
 * a table of the thread, and another fiber that wants it parks.
 *
 * Since callers do not check the result, waiting for a lock does not end with the request: that is
 * noted, and the wait goes on, for who holds it is told to end, too. */
#include "fiber/patch_lock.h"

#include "base/alloc.h"
#include "base/log.h"
#include "fiber/patch_hook.h"
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>
#include <sys/queue.h>
#include <threads.h>
#include <time.h>

PATCH_ORIGINAL(pthread_mutex_lock)
PATCH_ORIGINAL(pthread_mutex_trylock)
PATCH_ORIGINAL(pthread_mutex_timedlock)
PATCH_ORIGINAL(pthread_mutex_clocklock)
PATCH_ORIGINAL(pthread_mutex_unlock)
PATCH_ORIGINAL(pthread_rwlock_rdlock)
PATCH_ORIGINAL(pthread_rwlock_tryrdlock)
PATCH_ORIGINAL(pthread_rwlock_timedrdlock)
PATCH_ORIGINAL(pthread_rwlock_clockrdlock)
PATCH_ORIGINAL(pthread_rwlock_wrlock)
PATCH_ORIGINAL(pthread_rwlock_trywrlock)
PATCH_ORIGINAL(pthread_rwlock_timedwrlock)
PATCH_ORIGINAL(pthread_rwlock_clockwrlock)
PATCH_ORIGINAL(pthread_rwlock_unlock)
PATCH_ORIGINAL(pthread_spin_lock)
PATCH_ORIGINAL(pthread_spin_trylock)
PATCH_ORIGINAL(pthread_once)
PATCH_ORIGINAL(mtx_lock)
PATCH_ORIGINAL(mtx_trylock)
PATCH_ORIGINAL(mtx_timedlock)
PATCH_ORIGINAL(mtx_unlock)

enum {
    BUCKETS = 32,
    SPARES = 8,          /* records that need no memory of their own */
    SPIN_TRIES = 1000,   /* tries of a spin lock before its holder is taken for a parked fiber */
    BUSY_TRIES = 64,     /* tries in vain before a loop of pthread_mutex_trylock lets others run */
    THREAD_WAIT_MS = 1,  /* the time that a thread with the lock may hold all fibers up */
    LOOK_AGAIN_MS = 100, /* at a lock of a fiber, which another thread may have unlocked */
};

/* On the stack of a fiber that waits. */
struct lock_waiter {
    TAILQ_ENTRY(lock_waiter) link;
    struct fiber *fiber;
    bool writes;
};

/* A lock that a fiber of this thread has or waits for. */
struct patch_lock {
    struct patch_lock *next;       /* in its bucket */
    struct patch_lock *owner_next; /* an older one of the same fiber */
    const void *address;
    struct patch *owner; /* NULL: nobody, or threads; the first in the queue is to take it */
    unsigned depth;      /* locks of a mutex, less unlocks */
    int thread;          /* the holder, as libc says */
    bool spare;          /* lies in the table */
    TAILQ_HEAD(, lock_waiter) queue;
};

static __thread struct {
    struct patch_lock *buckets[BUCKETS];
    struct patch_lock spares[SPARES];
    unsigned busy_tries;
} table;

static struct patch ended; /* owns what fibers have left locked that are gone */

/* --- the table ----------------------------------------------------------- */

static struct patch_lock **bucket_of(const void *address) {
    return &table.buckets[((uintptr_t)address >> 3) * 2654435761U >> 7 & (BUCKETS - 1)];
}

static struct patch_lock *find(const void *address) {
    struct patch_lock *l = *bucket_of(address);

    while (l != NULL && l->address != address)
        l = l->next;
    return l;
}

static struct patch_lock *unused(void) {
    for (unsigned i = 0; i < SPARES; i++)
        if (table.spares[i].address == NULL) {
            table.spares[i].spare = true;
            return &table.spares[i];
        }
    return mem_calloc(1, sizeof(struct patch_lock));
}

/* Without memory it waits for some. */
static struct patch_lock *find_or_add(struct patch *p, const void *address) {
    struct patch_lock *l = find(address);

    while (l == NULL) {
        struct patch_lock **bucket = bucket_of(address);

        l = unused();
        if (l == NULL) {
            patch_insist(p, deadline_after(patch_now(p), 10 * NSEC_PER_MSEC));
            l = find(address);
            continue;
        }
        *l = (struct patch_lock){ .next = *bucket, .address = address, .spare = l->spare };
        TAILQ_INIT(&l->queue);
        *bucket = l;
    }
    return l;
}

static void drop_if_idle(struct patch_lock *l) {
    struct patch_lock **link = bucket_of(l->address);

    if (l->owner != NULL || !TAILQ_EMPTY(&l->queue))
        return;
    while (*link != l)
        link = &(*link)->next;
    *link = l->next;
    if (l->spare)
        l->address = NULL;
    else
        mem_free(l);
}

/* What an application has left locked stays so until anybody unlocks it. */
static void abandon(struct patch *p) {
    for (struct patch_lock *l = p->held; l != NULL; l = l->owner_next)
        l->owner = &ended;
    p->held = NULL;
}

static void own(struct patch *p, struct patch_lock *l, int thread) {
    l->owner = p;
    l->depth = 1;
    l->thread = thread;
    l->owner_next = p->held;
    p->held = l;
    p->abandon = abandon;
}

static void disown(struct patch_lock *l) {
    if (l->owner != &ended) {
        struct patch_lock **link = &l->owner->held;

        while (*link != l)
            link = &(*link)->owner_next;
        *link = l->owner_next;
    }
    l->owner = NULL;
    l->depth = 0;
}

static void wake_first(struct patch_lock *l) {
    if (l->owner == NULL && !TAILQ_EMPTY(&l->queue))
        fiber_wake_later(TAILQ_FIRST(&l->queue)->fiber);
}

static void join_queue(struct patch *p, struct patch_lock *l, struct lock_waiter *me) {
    me->fiber = p->fiber;
    TAILQ_INSERT_TAIL(&l->queue, me, link);
}

/* --- time ---------------------------------------------------------------- */

int patch_until(clockid_t clock, const struct timespec *at, nsec_t *ret) {
    struct timespec now;
    int64_t sec;

    if (at->tv_nsec < 0 || at->tv_nsec >= NSEC_PER_SEC ||
        (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC))
        return EINVAL;
    clock_gettime(clock, &now);
    sec = at->tv_sec < 0 ? -1 : (int64_t)at->tv_sec - now.tv_sec;
    if (sec > INT32_MAX)
        *ret = NSEC_NEVER;
    else
        *ret = clock_now() +
               nsec_max(sec < 0 ? -1 : sec * NSEC_PER_SEC + at->tv_nsec - now.tv_nsec, 0);
    return 0;
}

/* --- mutexes ------------------------------------------------------------- */

static int type_of(const pthread_mutex_t *m) {
    return m->__data.__kind & 3;
}

/* libc checks no owner of this kind. */
static bool has_no_owner(const pthread_mutex_t *m) {
    int kind = m->__data.__kind & 127;

    return kind == PTHREAD_MUTEX_NORMAL || kind == PTHREAD_MUTEX_ADAPTIVE_NP;
}

/* A robust mutex is taken from an owner that has died with EOWNERDEAD. */
static bool is_taken(int rc) {
    return rc == 0 || rc == EOWNERDEAD;
}

/* A record says nothing once another thread, or code that is not patched, has unlocked the mutex,
 * or its memory is another's. */
static void forget_if_stale(struct patch_lock *l, const pthread_mutex_t *m) {
    if (l->owner != NULL && (__atomic_load_n(&m->__data.__lock, __ATOMIC_RELAXED) == 0 ||
                             __atomic_load_n(&m->__data.__owner, __ATOMIC_RELAXED) != l->thread))
        disown(l);
}

/* Waits for a thread as threads do, but not for long: most have it for microseconds. */
static int take_from_thread(pthread_mutex_t *m) {
    struct timespec at;

    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_nsec += THREAD_WAIT_MS * NSEC_PER_MSEC;
    if (at.tv_nsec >= NSEC_PER_SEC) {
        at.tv_sec++;
        at.tv_nsec -= NSEC_PER_SEC;
    }
    return original_pthread_mutex_timedlock()(m, &at);
}

/* Nobody is going to unlock it: its owner has ended, or is the very fiber that waits. With threads
 * the request would hang for ever; it has failed anyway, and goes on to its end. */
static bool take_over(struct patch *p, struct patch_lock *l) {
    static struct log_rate rate = { .per_second = 1 };

    if (p->failed == 0 || (l->owner != p && l->owner != &ended))
        return false;
    log_limited(&rate, LOG_LEVEL_WARN,
                "a handler waited in vain for a lock that %s has locked and not unlocked",
                l->owner == p ? "itself" : "an earlier request");
    if (l->owner == p) {
        l->depth++;
    } else {
        unsigned depth = l->depth;
        int thread = l->thread;

        disown(l);
        own(p, l, thread);
        l->depth = depth;
    }
    return true;
}

/* First in, first out, among fibers. */
static int wait_in_queue(struct patch *p, struct patch_lock *l, pthread_mutex_t *m, nsec_t until) {
    struct lock_waiter me = { .writes = true };
    unsigned looks = 0;
    int rc = EBUSY;

    join_queue(p, l, &me);
    while (rc == EBUSY) {
        forget_if_stale(l, m);
        if (l->owner == NULL && TAILQ_FIRST(&l->queue) == &me) {
            rc = looks == 0 ? take_from_thread(m) : original_pthread_mutex_trylock()(m);
            rc = rc == ETIMEDOUT ? EBUSY : rc;
            if (is_taken(rc))
                own(p, l, m->__data.__owner);
        } else if (take_over(p, l)) {
            rc = 0;
        }
        if (rc == EBUSY && patch_is_over(p, until))
            rc = ETIMEDOUT;
        else if (rc == EBUSY && l->owner == NULL)
            patch_insist_between(p, &looks, until);
        else if (rc == EBUSY)
            patch_insist(
                p, nsec_min(deadline_after(patch_now(p), LOOK_AGAIN_MS * NSEC_PER_MSEC), until));
    }
    TAILQ_REMOVE(&l->queue, &me, link);
    return rc;
}

/* libc counts the locks of a recursive one, and refuses a second lock of one that checks errors. */
static int lock_again(struct patch_lock *l, pthread_mutex_t *m) {
    int rc = original_pthread_mutex_lock()(m);

    l->depth += rc == 0;
    return rc;
}

static bool is_decided_by_libc(const struct patch *p, const struct patch_lock *l,
                               const pthread_mutex_t *m) {
    return l->owner == p &&
           (type_of(m) == PTHREAD_MUTEX_RECURSIVE || type_of(m) == PTHREAD_MUTEX_ERRORCHECK);
}

int patch_mutex_lock(struct patch *p, pthread_mutex_t *m, nsec_t until) {
    struct patch_lock *l = find_or_add(p, m);
    int rc = EBUSY;

    forget_if_stale(l, m);
    if (is_decided_by_libc(p, l, m))
        return lock_again(l, m);
    if (l->owner == NULL && TAILQ_EMPTY(&l->queue)) {
        rc = original_pthread_mutex_trylock()(m);
        if (is_taken(rc))
            own(p, l, m->__data.__owner);
    }
    if (rc == EBUSY)
        rc = wait_in_queue(p, l, m, until);
    wake_first(l); /* the next in the queue may be the one to take it now */
    drop_if_idle(l);
    return rc;
}

/* A loop around a lock of a fiber that waits must let that fiber run. */
static int busy(struct patch *p) {
    if (++table.busy_tries % BUSY_TRIES == 0)
        patch_insist(p, deadline_after(patch_now(p), NSEC_PER_MSEC));
    return EBUSY;
}

static int try_mutex(struct patch *p, pthread_mutex_t *m) {
    struct patch_lock *l = find_or_add(p, m);
    int rc;

    forget_if_stale(l, m);
    if (l->owner == p && type_of(m) == PTHREAD_MUTEX_RECURSIVE)
        return lock_again(l, m);
    if (l->owner != NULL || !TAILQ_EMPTY(&l->queue))
        return busy(p);
    rc = original_pthread_mutex_trylock()(m);
    if (is_taken(rc))
        own(p, l, m->__data.__owner);
    drop_if_idle(l);
    return rc;
}

int patch_mutex_unlock(struct patch *p, pthread_mutex_t *m) {
    struct patch_lock *l = find(m);
    int rc;

    if (l == NULL || l->owner == NULL)
        return original_pthread_mutex_unlock()(m);
    if (l->owner != p && l->owner != &ended && !has_no_owner(m))
        return EPERM;
    if (l->depth > 1 && type_of(m) != PTHREAD_MUTEX_RECURSIVE) {
        l->depth--; /* taken over from itself: libc has it once */
        return 0;
    }
    rc = original_pthread_mutex_unlock()(m);
    if (rc != 0 || --l->depth > 0)
        return rc;
    disown(l);
    wake_first(l);
    drop_if_idle(l);
    return 0;
}

/* --- read-write locks ---------------------------------------------------- */

static int try_rwlock(pthread_rwlock_t *rw, bool writes) {
    return writes ? original_pthread_rwlock_trywrlock()(rw)
                  : original_pthread_rwlock_tryrdlock()(rw);
}

/* An owner that is written down still has unlocked it elsewhere. */
static void own_written(struct patch *p, struct patch_lock *l, const pthread_rwlock_t *rw) {
    if (l->owner != NULL)
        disown(l);
    own(p, l, rw->__data.__cur_writer);
}

/* Readers of this kind wait behind writers that wait, as in libc, since those must not starve. */
static bool lets_writers_pass(const struct patch_lock *l, const pthread_rwlock_t *rw) {
    const struct lock_waiter *w;

    if (rw->__data.__flags != PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP)
        return false;
    TAILQ_FOREACH(w, &l->queue, link) {
        if (w->writes)
            return true;
    }
    return false;
}

static void wake_all(struct patch_lock *l) {
    struct lock_waiter *w;

    TAILQ_FOREACH(w, &l->queue, link)
    fiber_wake_later(w->fiber);
}

/* The unlock of a fiber wakes all that wait, and a thread that unlocks is found out by looking. */
static int wait_for_rwlock(struct patch *p, struct patch_lock *l, pthread_rwlock_t *rw, bool writes,
                           nsec_t until) {
    struct lock_waiter me = { .writes = writes };
    unsigned looks = 0;
    int rc = EBUSY;

    join_queue(p, l, &me);
    while (rc == EBUSY) {
        if (take_over(p, l)) {
            rc = 0;
            break;
        }
        patch_insist_between(p, &looks, until);
        rc = try_rwlock(rw, writes);
        if (rc == EBUSY && patch_is_over(p, until))
            rc = ETIMEDOUT;
        if (rc == 0 && writes)
            own_written(p, l, rw);
    }
    TAILQ_REMOVE(&l->queue, &me, link);
    return rc;
}

static int lock_rwlock(struct patch *p, pthread_rwlock_t *rw, bool writes, nsec_t until) {
    struct patch_lock *l = find_or_add(p, rw);
    int rc = EBUSY;

    if (l->owner != NULL && rw->__data.__cur_writer != l->thread)
        disown(l);
    if (l->owner == p) /* libc knows that this thread writes: EDEADLK */
        return writes ? original_pthread_rwlock_wrlock()(rw) : original_pthread_rwlock_rdlock()(rw);
    if (writes || !lets_writers_pass(l, rw))
        rc = try_rwlock(rw, writes);
    if (rc == 0 && writes)
        own_written(p, l, rw);
    if (rc == EBUSY)
        rc = wait_for_rwlock(p, l, rw, writes, until);
    drop_if_idle(l);
    return rc;
}

static int unlock_rwlock(pthread_rwlock_t *rw) {
    struct patch_lock *l = find(rw);
    int rc = original_pthread_rwlock_unlock()(rw);

    if (l == NULL || rc != 0)
        return rc;
    if (l->owner != NULL)
        disown(l);
    wake_all(l);
    drop_if_idle(l);
    return 0;
}

/* --- pthread_once -------------------------------------------------------- */

/* A routine that a fiber is at, and which may wait. */
struct once {
    struct patch *patch;
    struct patch_lock *lock;
    int errno_before;
};

/* Also when the routine throws an exception of C++, as libc does. */
static void end_once(struct once *once) {
    patch_begin(once->patch, "pthread_once", -1);
    once->patch->errno_before = once->errno_before;
    disown(once->lock);
    wake_all(once->lock);
    drop_if_idle(once->lock);
    patch_end(once->patch, 0);
}

/* std::call_once passes its function to __once_proxy in thread-locals of libstdc++, which another
 * fiber sets anew. */
struct once_locals {
    void **at[2];
    void *value[2];
};

static struct once_locals save_locals(void (*routine)(void)) {
    static const char *const names[] = { "_ZSt15__once_callable", "_ZSt11__once_call" };
    struct once_locals locals = { 0 };
    void *library = NULL;
    Dl_info info;

    if (dladdr((void *)(uintptr_t)routine, &info) != 0 && info.dli_sname != NULL &&
        strcmp(info.dli_sname, "__once_proxy") == 0)
        library = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    for (size_t i = 0; library != NULL && i < ARRAY_LEN(names); i++) {
        locals.at[i] = dlsym(library, names[i]);
        locals.value[i] = locals.at[i] != NULL ? *locals.at[i] : NULL;
    }
    if (library != NULL)
        dlclose(library); /* it stays: its function is about to be called */
    return locals;
}

static void restore_locals(const struct once_locals *locals) {
    for (size_t i = 0; i < ARRAY_LEN(locals->at); i++)
        if (locals->at[i] != NULL)
            *locals->at[i] = locals->value[i];
}

/* Waits for another fiber that is at it. False: this one is, and calls it again, which never ends
 * with threads either. */
static bool await_routine(struct patch *p, const pthread_once_t *control, void (*routine)(void)) {
    struct lock_waiter me = { .writes = true };
    struct patch_lock *l;

    while ((l = find(control)) != NULL && l->owner != NULL && l->owner != p) {
        struct once_locals locals = save_locals(routine);

        join_queue(p, l, &me);
        patch_insist(p, NSEC_NEVER);
        TAILQ_REMOVE(&l->queue, &me, link);
        drop_if_idle(l);
        restore_locals(&locals);
    }
    return l == NULL || l->owner != p;
}

/* The routine is the application's, and is patched. */
static int run_once(struct patch *p, pthread_once_t *control, void (*routine)(void)) {
    __attribute__((cleanup(end_once))) struct once once = { .patch = p };

    once.errno_before = p->errno_before;
    once.lock = find_or_add(p, control);
    own(p, once.lock, 0);
    patch_end(p, 0);
    return original_pthread_once()(control, routine);
}

static int once(struct patch *p, pthread_once_t *control, void (*routine)(void)) {
    if (p == NULL)
        return original_pthread_once()(control, routine);
    patch_begin(p, "pthread_once", -1);
    if (await_routine(p, control, routine))
        return run_once(p, control, routine);
    patch_end(p, 0);
    return original_pthread_once()(control, routine);
}

/* OpenSSL calls it several times for each record. */
int pthread_once(pthread_once_t *control, void (*routine)(void)) {
    PATCH_QUICKLY(pthread_once, control, routine);
    return once(PATCH_HERE, control, routine);
}

void call_once(once_flag *flag, void (*routine)(void)) {
    once(PATCH_HERE, (pthread_once_t *)flag, routine);
}

/* --- the calls ----------------------------------------------------------- */

/* Calls of pthreads return errors instead of setting errno. */
static int end_lock(struct patch *p, int rc) {
    patch_end(p, 0);
    return rc;
}

/* libc finds a bad time only when it has to wait. */
static int lock_until(struct patch *p, pthread_mutex_t *m, clockid_t clock,
                      const struct timespec *at) {
    nsec_t until = 0;
    int bad = patch_until(clock, at, &until);
    int rc = patch_mutex_lock(p, m, until);

    return rc == ETIMEDOUT && bad != 0 ? bad : rc;
}

int pthread_mutex_lock(pthread_mutex_t *m) {
    PATCH_QUICKLY(pthread_mutex_lock, m);
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_pthread_mutex_lock()(m);
    patch_begin(p, "pthread_mutex_lock", -1);
    return end_lock(p, patch_mutex_lock(p, m, NSEC_NEVER));
}

int pthread_mutex_timedlock(pthread_mutex_t *m, const struct timespec *at) {
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_pthread_mutex_timedlock()(m, at);
    patch_begin(p, "pthread_mutex_timedlock", -1);
    return end_lock(p, lock_until(p, m, CLOCK_REALTIME, at));
}

int pthread_mutex_clocklock(pthread_mutex_t *m, clockid_t clock, const struct timespec *at) {
    struct patch *p = PATCH_HERE;

    if (p == NULL || (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC))
        return original_pthread_mutex_clocklock()(m, clock, at);
    patch_begin(p, "pthread_mutex_clocklock", -1);
    return end_lock(p, lock_until(p, m, clock, at));
}

int pthread_mutex_trylock(pthread_mutex_t *m) {
    PATCH_QUICKLY(pthread_mutex_trylock, m);
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_pthread_mutex_trylock()(m);
    patch_begin(p, "pthread_mutex_trylock", -1);
    return end_lock(p, try_mutex(p, m));
}

int pthread_mutex_unlock(pthread_mutex_t *m) {
    PATCH_QUICKLY(pthread_mutex_unlock, m);
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_pthread_mutex_unlock()(m);
    patch_begin(p, "pthread_mutex_unlock", -1);
    return end_lock(p, patch_mutex_unlock(p, m));
}

/* C11's are the same in libc, under names of their own. */
int patch_thrd_result(int rc) {
    switch (rc) {
    case 0:
        return thrd_success;
    case ENOMEM:
        return thrd_nomem;
    case ETIMEDOUT:
        return thrd_timedout;
    case EBUSY:
        return thrd_busy;
    default:
        return thrd_error;
    }
}

int mtx_lock(mtx_t *m) {
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_mtx_lock()(m);
    patch_begin(p, "mtx_lock", -1);
    return patch_thrd_result(end_lock(p, patch_mutex_lock(p, (pthread_mutex_t *)m, NSEC_NEVER)));
}

int mtx_timedlock(mtx_t *restrict m, const struct timespec *restrict at) {
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_mtx_timedlock()(m, at);
    patch_begin(p, "mtx_timedlock", -1);
    return patch_thrd_result(end_lock(p, lock_until(p, (pthread_mutex_t *)m, CLOCK_REALTIME, at)));
}

int mtx_trylock(mtx_t *m) {
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_mtx_trylock()(m);
    patch_begin(p, "mtx_trylock", -1);
    return patch_thrd_result(end_lock(p, try_mutex(p, (pthread_mutex_t *)m)));
}

int mtx_unlock(mtx_t *m) {
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_mtx_unlock()(m);
    patch_begin(p, "mtx_unlock", -1);
    return patch_thrd_result(end_lock(p, patch_mutex_unlock(p, (pthread_mutex_t *)m)));
}

/* --- the calls for read-write locks and spin locks ----------------------- */

static int end_rwlock(struct patch *p, pthread_rwlock_t *rw, bool writes, nsec_t until) {
    return end_lock(p, lock_rwlock(p, rw, writes, until));
}

/* Unlike those of mutexes, these look at the time first. */
static int end_timed_rwlock(struct patch *p, pthread_rwlock_t *rw, bool writes, clockid_t clock,
                            const struct timespec *at) {
    nsec_t until = 0;
    int rc = patch_until(clock, at, &until);

    return rc != 0 ? end_lock(p, rc) : end_rwlock(p, rw, writes, until);
}

int pthread_rwlock_rdlock(pthread_rwlock_t *rw) {
    PATCH_QUICKLY(pthread_rwlock_rdlock, rw);
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_pthread_rwlock_rdlock()(rw);
    patch_begin(p, "pthread_rwlock_rdlock", -1);
    return end_rwlock(p, rw, false, NSEC_NEVER);
}

int pthread_rwlock_wrlock(pthread_rwlock_t *rw) {
    PATCH_QUICKLY(pthread_rwlock_wrlock, rw);
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_pthread_rwlock_wrlock()(rw);
    patch_begin(p, "pthread_rwlock_wrlock", -1);
    return end_rwlock(p, rw, true, NSEC_NEVER);
}

int pthread_rwlock_timedrdlock(pthread_rwlock_t *rw, const struct timespec *at) {
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_pthread_rwlock_timedrdlock()(rw, at);
    patch_begin(p, "pthread_rwlock_timedrdlock", -1);
    return end_timed_rwlock(p, rw, false, CLOCK_REALTIME, at);
}

int pthread_rwlock_timedwrlock(pthread_rwlock_t *rw, const struct timespec *at) {
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_pthread_rwlock_timedwrlock()(rw, at);
    patch_begin(p, "pthread_rwlock_timedwrlock", -1);
    return end_timed_rwlock(p, rw, true, CLOCK_REALTIME, at);
}

int pthread_rwlock_clockrdlock(pthread_rwlock_t *rw, clockid_t clock, const struct timespec *at) {
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_pthread_rwlock_clockrdlock()(rw, clock, at);
    patch_begin(p, "pthread_rwlock_clockrdlock", -1);
    return end_timed_rwlock(p, rw, false, clock, at);
}

int pthread_rwlock_clockwrlock(pthread_rwlock_t *rw, clockid_t clock, const struct timespec *at) {
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_pthread_rwlock_clockwrlock()(rw, clock, at);
    patch_begin(p, "pthread_rwlock_clockwrlock", -1);
    return end_timed_rwlock(p, rw, true, clock, at);
}

/* One that reads has no owner, and may go to libc. */
int pthread_rwlock_trywrlock(pthread_rwlock_t *rw) {
    struct patch *p = PATCH_HERE;
    struct patch_lock *l;
    int rc;

    if (p == NULL)
        return original_pthread_rwlock_trywrlock()(rw);
    patch_begin(p, "pthread_rwlock_trywrlock", -1);
    l = find_or_add(p, rw);
    rc = original_pthread_rwlock_trywrlock()(rw);
    if (rc == 0)
        own_written(p, l, rw);
    drop_if_idle(l);
    return end_lock(p, rc);
}

int pthread_rwlock_unlock(pthread_rwlock_t *rw) {
    PATCH_QUICKLY(pthread_rwlock_unlock, rw);
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_pthread_rwlock_unlock()(rw);
    patch_begin(p, "pthread_rwlock_unlock", -1);
    return end_lock(p, unlock_rwlock(rw));
}

/* The holder runs on another core, as a rule; if it is a parked fiber, that has to run. */
int pthread_spin_lock(pthread_spinlock_t *lock) {
    struct patch *p = PATCH_HERE;
    unsigned looks = 0;
    int rc = EBUSY;

    if (p == NULL)
        return original_pthread_spin_lock()(lock);
    patch_begin(p, "pthread_spin_lock", -1);
    for (unsigned i = 0; rc == EBUSY; i++) {
        rc = original_pthread_spin_trylock()(lock);
        if (rc == EBUSY && i > SPIN_TRIES)
            patch_insist_between(p, &looks, NSEC_NEVER);
    }
    return end_lock(p, rc);
}
