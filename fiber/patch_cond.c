/* SPDX-License-Identifier: MIT */
/* Condition variables, semaphores and ends of threads: one fiber or thread tells another. A
 * patched fiber that waits for one stands in a table that all threads see, and parks; whoever
 * signals looks there, too, and wakes it through an eventfd of its loop. While no fiber waits, that
 * look is one load. */
#include "fiber/patch_hook.h"
#include "fiber/patch_lock.h"
#include "net/watch.h"
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <threads.h>
#include <unistd.h>

PATCH_ORIGINAL(pthread_cond_wait)
PATCH_ORIGINAL(pthread_cond_timedwait)
PATCH_ORIGINAL(pthread_cond_clockwait)
PATCH_ORIGINAL(pthread_cond_signal)
PATCH_ORIGINAL(pthread_cond_broadcast)
PATCH_ORIGINAL(sem_wait)
PATCH_ORIGINAL(sem_timedwait)
PATCH_ORIGINAL(sem_clockwait)
PATCH_ORIGINAL(sem_post)
PATCH_ORIGINAL(pthread_join)
PATCH_ORIGINAL(pthread_timedjoin_np)
PATCH_ORIGINAL(pthread_clockjoin_np)
PATCH_ORIGINAL(cnd_wait)
PATCH_ORIGINAL(cnd_timedwait)
PATCH_ORIGINAL(cnd_signal)
PATCH_ORIGINAL(cnd_broadcast)
PATCH_ORIGINAL(thrd_join)

enum { BUCKETS = 64, ALL = INT_MAX };

#define LOOK_AGAIN (10 * NSEC_PER_MSEC) /* for what another process, or nobody, tells */

/* On the stack of a fiber that waits. */
struct sleeper {
    TAILQ_ENTRY(sleeper) link; /* in its bucket, or, once it was told, among the news of its loop */
    const void *object;
    struct mailbox *box; /* NULL: there is no descriptor for one; it looks again and again */
    struct fiber *fiber;
    enum { SLEEPS, IS_NEWS, IS_TOLD } state;
};

TAILQ_HEAD(sleepers, sleeper);

/* Other threads reach a loop through this; it is open while fibers of the loop wait. */
struct mailbox {
    struct watch watch; /* an eventfd */
    struct fibers *fibers;
    struct sleepers news;
    unsigned users;
};

static __thread struct mailbox mailbox;

static struct {
    pthread_mutex_t lock; /* guards all sleepers and mailboxes */
    struct sleepers buckets[BUCKETS];
    atomic_uint count; /* sleepers in buckets */
    atomic_bool missed;
} waiting = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* The lock is this thread's: sem_post may come from a signal handler, and must not wait for it. */
static __thread volatile sig_atomic_t is_inside;

/* --- telling ------------------------------------------------------------- */

static struct sleepers *bucket_of(const void *object) {
    struct sleepers *list =
        &waiting.buckets[((uintptr_t)object >> 3) * 2654435761U >> 7 & (BUCKETS - 1)];

    if (list->tqh_last == NULL)
        TAILQ_INIT(list);
    return list;
}

static void tell(struct sleepers *list, struct sleeper *s, bool by_fiber) {
    TAILQ_REMOVE(list, s, link);
    atomic_fetch_sub(&waiting.count, 1);
    s->state = IS_TOLD;
    if (s->box == NULL)
        return;
    if (by_fiber && s->box == &mailbox) {
        fiber_wake_later(s->fiber);
        return;
    }
    s->state = IS_NEWS;
    TAILQ_INSERT_TAIL(&s->box->news, s, link);
    eventfd_write(s->box->watch.fd, 1);
}

/* Up to `count` of those that wait for the object, or, with NULL, for any. `by_fiber`: a patched
 * fiber tells, and no signal handler that has interrupted the scheduler. */
static void tell_some(struct sleepers *list, const void *object, unsigned count, bool by_fiber) {
    struct sleeper *s, *next;

    for (s = TAILQ_FIRST(list); s != NULL && count > 0; s = next) {
        next = TAILQ_NEXT(s, link);
        if (object != NULL && s->object != object)
            continue;
        tell(list, s, by_fiber);
        count--;
    }
}

static void enter(void) {
    is_inside = 1;
    pthread_mutex_lock(&waiting.lock);
}

/* Lets all look again when a signal handler has posted meanwhile: nobody knows for whom. */
static void leave(void) {
    while (atomic_exchange(&waiting.missed, false))
        for (unsigned i = 0; i < BUCKETS; i++)
            tell_some(&waiting.buckets[i], NULL, ALL, false);
    pthread_mutex_unlock(&waiting.lock);
    is_inside = 0;
}

/* Called after libc was: the object may be gone by now. */
static void tell_fibers(const void *object, unsigned count, const struct patch *p) {
    if (atomic_load_explicit(&waiting.count, memory_order_relaxed) == 0)
        return;
    if (is_inside) {
        atomic_store(&waiting.missed, true);
        return;
    }
    enter();
    tell_some(bucket_of(object), object, count, p != NULL);
    leave();
}

/* In a child nobody waits in the table, and its lock may be that of a thread which is not there. */
static void forget_sleepers(void) {
    atomic_store(&waiting.count, 0);
}

/* --- waiting ------------------------------------------------------------- */

static void on_news(struct watch *watch, unsigned what UNUSED) {
    struct mailbox *box = CONTAINER_OF(watch, struct mailbox, watch);
    struct fibers *fibers = box->fibers;
    struct sleeper *s;
    eventfd_t count;

    eventfd_read(watch->fd, &count);
    watch_drained(watch, IO_READ);
    enter();
    while ((s = TAILQ_FIRST(&box->news)) != NULL) {
        TAILQ_REMOVE(&box->news, s, link);
        s->state = IS_TOLD;
        fiber_wake_later(s->fiber);
    }
    leave();
    fibers_run(fibers); /* from here on the box may be closed */
}

static void watch_forks(void) {
    pthread_atfork(NULL, NULL, forget_sleepers);
}

/* NULL without a descriptor. */
static struct mailbox *open_mailbox(const struct patch *p) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct io_fiber *io = patch_io(p);
    int fd;

    if (mailbox.users++ > 0)
        return &mailbox;
    pthread_once(&once, watch_forks);
    fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd >= 0 && watch_open(&mailbox.watch, io_fiber_loop(io), fd, on_news) == 0) {
        watch_drained(&mailbox.watch, IO_READ);
        mailbox.fibers = io_fiber_fibers(io);
        TAILQ_INIT(&mailbox.news);
        return &mailbox;
    }
    if (fd >= 0)
        close(fd);
    mailbox.users--;
    return NULL;
}

static void close_mailbox(struct mailbox *box) {
    if (box == NULL || --box->users > 0)
        return;
    watch_close(&box->watch);
    close(box->watch.fd);
}

static void fall_asleep(struct sleeper *s, const void *object) {
    s->object = object;
    s->state = SLEEPS;
    enter();
    TAILQ_INSERT_TAIL(bucket_of(object), s, link);
    atomic_fetch_add(&waiting.count, 1);
    leave();
}

/* Whether it was told, which then nobody else was. */
static bool wake_up(struct sleeper *s) {
    bool was_told;

    enter();
    was_told = s->state != SLEEPS;
    if (s->state == SLEEPS) {
        TAILQ_REMOVE(bucket_of(s->object), s, link);
        atomic_fetch_sub(&waiting.count, 1);
    } else if (s->state == IS_NEWS) {
        TAILQ_REMOVE(&s->box->news, s, link);
    }
    leave();
    return was_told;
}

/* Other processes do not look into the table: an object that they share is looked at. */
static nsec_t look_at(struct patch *p, const struct sleeper *s, bool is_shared, nsec_t until) {
    if (s->box != NULL && !is_shared)
        return until;
    return nsec_min(until, deadline_after(patch_now(p), LOOK_AGAIN));
}

/* --- condition variables ------------------------------------------------- */

/* Members of struct __pthread_cond_s: bits of __wrefs. */
enum { COND_IS_SHARED = 1, COND_IS_MONOTONIC = 2 };

static unsigned cond_bits(const pthread_cond_t *c) {
    return __atomic_load_n(&c->__data.__wrefs, __ATOMIC_RELAXED);
}

/* With the mutex unlocked. False: the time is up, or the request is over, and nobody told. */
static bool sleep_at_cond(struct patch *p, struct sleeper *me, nsec_t until, nsec_t look) {
    int rc = patch_park(p, look);
    bool was_told;

    if (rc == -ENOMEM)
        patch_insist(p, look);
    was_told = wake_up(me);
    return was_told || !(rc == -ECANCELED || (rc == -ETIMEDOUT && look == until));
}

/* A wake-up for no reason is allowed, and is what a wait without an end of its own returns when the
 * request is over: code that expects no error from it must not get one. */
static int wait_for_cond(struct patch *p, pthread_cond_t *c, pthread_mutex_t *m, nsec_t until) {
    struct sleeper me = { .fiber = p->fiber, .box = open_mailbox(p) };
    bool is_shared = (cond_bits(c) & COND_IS_SHARED) != 0;
    bool told = true;
    int rc;

    fall_asleep(&me, c);
    rc = patch_mutex_unlock(p, m);
    if (rc == 0)
        told = sleep_at_cond(p, &me, until, look_at(p, &me, is_shared, until));
    else
        (void)wake_up(&me);
    close_mailbox(me.box);
    if (rc == 0)
        rc = patch_mutex_lock(p, m, NSEC_NEVER);
    return rc == 0 && !told && until != NSEC_NEVER ? ETIMEDOUT : rc;
}

static int wait_for_cond_until(struct patch *p, pthread_cond_t *c, pthread_mutex_t *m,
                               clockid_t clock, const struct timespec *at) {
    nsec_t until = 0;
    int rc = patch_until(clock, at, &until);

    return rc != 0 ? rc : wait_for_cond(p, c, m, nsec_min(until, NSEC_NEVER - 1));
}

/* Calls of pthreads return errors instead of setting errno. */
static int end_wait(struct patch *p, int rc) {
    patch_end(p, 0);
    return rc;
}

int pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m) {
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_pthread_cond_wait()(c, m);
    patch_begin(p, "pthread_cond_wait", -1);
    return end_wait(p, wait_for_cond(p, c, m, NSEC_NEVER));
}

int pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *at) {
    struct patch *p = PATCH_HERE;
    clockid_t clock;

    if (p == NULL)
        return original_pthread_cond_timedwait()(c, m, at);
    patch_begin(p, "pthread_cond_timedwait", -1);
    clock = cond_bits(c) & COND_IS_MONOTONIC ? CLOCK_MONOTONIC : CLOCK_REALTIME;
    return end_wait(p, wait_for_cond_until(p, c, m, clock, at));
}

int pthread_cond_clockwait(pthread_cond_t *c, pthread_mutex_t *m, clockid_t clock,
                           const struct timespec *at) {
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_pthread_cond_clockwait()(c, m, clock, at);
    patch_begin(p, "pthread_cond_clockwait", -1);
    return end_wait(p, wait_for_cond_until(p, c, m, clock, at));
}

int pthread_cond_signal(pthread_cond_t *c) {
    struct patch *p = PATCH_HERE;
    int rc = original_pthread_cond_signal()(c);

    tell_fibers(c, 1, p);
    return rc;
}

int pthread_cond_broadcast(pthread_cond_t *c) {
    struct patch *p = PATCH_HERE;
    int rc = original_pthread_cond_broadcast()(c);

    tell_fibers(c, ALL, p);
    return rc;
}

/* C11's are the same in libc, under names of their own. */
int cnd_wait(cnd_t *c, mtx_t *m) {
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_cnd_wait()(c, m);
    patch_begin(p, "cnd_wait", -1);
    return patch_thrd_result(
        end_wait(p, wait_for_cond(p, (pthread_cond_t *)c, (pthread_mutex_t *)m, NSEC_NEVER)));
}

int cnd_timedwait(cnd_t *restrict c, mtx_t *restrict m, const struct timespec *restrict at) {
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_cnd_timedwait()(c, m, at);
    patch_begin(p, "cnd_timedwait", -1);
    return patch_thrd_result(end_wait(
        p, wait_for_cond_until(p, (pthread_cond_t *)c, (pthread_mutex_t *)m, CLOCK_REALTIME, at)));
}

int cnd_signal(cnd_t *c) {
    struct patch *p = PATCH_HERE;
    int rc = original_cnd_signal()(c);

    tell_fibers(c, 1, p);
    return rc;
}

int cnd_broadcast(cnd_t *c) {
    struct patch *p = PATCH_HERE;
    int rc = original_cnd_broadcast()(c);

    tell_fibers(c, ALL, p);
    return rc;
}

/* --- semaphores ---------------------------------------------------------- */

/* Member `private` of struct new_sem: 0 says that one process has it. */
static bool is_shared(const sem_t *s) {
    int is_shared;

    memcpy(&is_shared, s->__size + sizeof(long), sizeof(is_shared));
    return is_shared != 0;
}

static int try_sem(sem_t *s) {
    return sem_trywait(s) < 0 ? -errno : 0;
}

/* The fiber stands in the table before it tries: a post in between is seen by one of both. One that
 * was told and leaves without what it was told of, or with another, passes the word on. 0 or
 * -errno. */
static int wait_for_sem(struct patch *p, sem_t *s, nsec_t until) {
    struct sleeper me = { .fiber = p->fiber };
    int rc = try_sem(s), parked;
    bool told;

    if (rc != -EAGAIN)
        return rc;
    me.box = open_mailbox(p);
    do {
        fall_asleep(&me, s);
        parked = 1;
        rc = try_sem(s);
        if (rc == -EAGAIN)
            parked = patch_park(p, look_at(p, &me, is_shared(s), until));
        if (parked == -ENOMEM)
            patch_insist(p, deadline_after(patch_now(p), LOOK_AGAIN));
        told = wake_up(&me);
        if (rc == -EAGAIN)
            rc = try_sem(s);
        if (rc == -EAGAIN && parked == -ECANCELED)
            rc = -ECANCELED;
        else if (rc == -EAGAIN && parked == -ETIMEDOUT && until <= patch_now(p))
            rc = -ETIMEDOUT;
        if (told && (parked == 1 || (rc != 0 && rc != -EAGAIN)))
            tell_fibers(s, 1, p);
    } while (rc == -EAGAIN);
    close_mailbox(me.box);
    return rc;
}

/* libc finds a bad time only when it has to wait. */
static int wait_for_sem_until(struct patch *p, sem_t *s, clockid_t clock,
                              const struct timespec *at) {
    nsec_t until = 0;
    int bad = patch_until(clock, at, &until);
    int rc = bad != 0 ? try_sem(s) : wait_for_sem(p, s, until);

    return rc == -EAGAIN ? -bad : rc;
}

int sem_wait(sem_t *s) {
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_sem_wait()(s);
    patch_begin(p, "sem_wait", -1);
    return (int)patch_end(p, wait_for_sem(p, s, NSEC_NEVER));
}

int sem_timedwait(sem_t *restrict s, const struct timespec *restrict at) {
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_sem_timedwait()(s, at);
    patch_begin(p, "sem_timedwait", -1);
    return (int)patch_end(p, wait_for_sem_until(p, s, CLOCK_REALTIME, at));
}

int sem_clockwait(sem_t *restrict s, clockid_t clock, const struct timespec *restrict at) {
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_sem_clockwait()(s, clock, at);
    patch_begin(p, "sem_clockwait", -1);
    return (int)patch_end(p, wait_for_sem_until(p, s, clock, at));
}

/* A fiber that waits stands in the table before it looks at the semaphore; this looks at them in
 * the other order. */
int sem_post(sem_t *s) {
    struct patch *p = PATCH_HERE;
    int rc = original_sem_post()(s);

#if defined(__x86_64__) || defined(__i386__)
    atomic_signal_fence(memory_order_seq_cst); /* the increment by libc is a fence */
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
    tell_fibers(s, 1, p);
    return rc;
}

/* --- ends of threads ----------------------------------------------------- */

/* A thread may work on what lies on the stack of the one that joins it: that one waits to its end,
 * whatever becomes of the request. */
static int join(struct patch *p, pthread_t thread, void **ret, nsec_t until) {
    unsigned looks = 0;
    int rc = EBUSY;

    while (rc == EBUSY) {
        rc = pthread_tryjoin_np(thread, ret);
        if (rc == EBUSY && patch_is_over(p, until))
            rc = ETIMEDOUT;
        if (rc == EBUSY)
            patch_insist_between(p, &looks, until);
    }
    return rc;
}

static int join_until(struct patch *p, pthread_t thread, void **ret, clockid_t clock,
                      const struct timespec *at) {
    nsec_t until = NSEC_NEVER;
    int rc = at != NULL ? patch_until(clock, at, &until) : 0;

    return rc != 0 ? rc : join(p, thread, ret, until);
}

int pthread_join(pthread_t thread, void **ret) {
    struct patch *p = PATCH_HERE;

    if (p == NULL || pthread_equal(thread, pthread_self()))
        return original_pthread_join()(thread, ret);
    patch_begin(p, "pthread_join", -1);
    return end_wait(p, join(p, thread, ret, NSEC_NEVER));
}

int pthread_timedjoin_np(pthread_t thread, void **ret, const struct timespec *at) {
    struct patch *p = PATCH_HERE;

    if (p == NULL || pthread_equal(thread, pthread_self()))
        return original_pthread_timedjoin_np()(thread, ret, at);
    patch_begin(p, "pthread_timedjoin_np", -1);
    return end_wait(p, join_until(p, thread, ret, CLOCK_REALTIME, at));
}

int pthread_clockjoin_np(pthread_t thread, void **ret, clockid_t clock, const struct timespec *at) {
    struct patch *p = PATCH_HERE;

    if (p == NULL || pthread_equal(thread, pthread_self()))
        return original_pthread_clockjoin_np()(thread, ret, clock, at);
    patch_begin(p, "pthread_clockjoin_np", -1);
    return end_wait(p, join_until(p, thread, ret, clock, at));
}

int thrd_join(thrd_t thread, int *ret) {
    struct patch *p = PATCH_HERE;
    void *result = NULL;
    int rc;

    if (p == NULL || pthread_equal(thread, pthread_self()))
        return original_thrd_join()(thread, ret);
    patch_begin(p, "thrd_join", -1);
    rc = join(p, thread, &result, NSEC_NEVER);
    if (rc == 0 && ret != NULL)
        *ret = (int)(intptr_t)result;
    return patch_thrd_result(end_wait(p, rc));
}
