/* SPDX-License-Identifier: MIT */
/* The scope of patching, and the waits that all hooks are made of. */
#include "fiber/patch.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "net/loop.h"
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/single_threaded.h>
#include <unistd.h>

enum {
    EVENTS_MAX = 32, /* the kernel gives at once */
    TABLE_CAP_FIRST = 64,
    WAITINGS_MAX = 8,    /* descriptors of one wait without an epoll set of its own */
    REFUSALS_QUICK = 10, /* refusals of one request that take no time */
    NAP_MS = 1,          /* in a child */
};

/* dlsym(3) finds the condition variables of 1999, where libc has them. */
#define COND_VERSION "GLIBC_2.3.2"

#define LOOK_AGAIN  NSEC_PER_SEC         /* nobody tells that a descriptor was closed meanwhile */
#define LOOK_OFTEN  (10 * NSEC_PER_MSEC) /* the kernel tells nothing */
#define REFUSAL_MIN (10 * NSEC_PER_MSEC)

/* One wait for one descriptor, on the stack of its fiber. */
struct patch_waiting {
    struct patch_waiting *next, *prev; /* for the same descriptor; NULL: none */
    struct fiber *fiber;
    int fd;
    uint32_t wanted; /* EPOLL* bits */
    uint32_t events; /* EPOLL* bits that came; 0: none yet */
};

/* All fibers of a loop wait through one epoll set, which the loop watches. A registration is for
 * one event (EPOLLONESHOT) that any fiber waits for, and is left behind afterwards: the next wait
 * for that descriptor renews it. Nothing depends on it: the kernel drops it when the file is
 * closed, and an event whose generation is not that in `by_fd` is of waits that have ended. */
struct patches {
    struct io_fiber *io;
    struct loop *loop;
    struct fibers *fibers;
    struct watch watch; /* the epoll set */
    pid_t pid;
    uint32_t generation;
    struct known {
        struct patch_waiting *waiting; /* NULL: nobody waits */
        uint32_t generation;           /* registration that counts */
        uint32_t wanted;               /* by all of them, and maybe by some that have left */
        bool registered;               /* once: worth a try */
    } * by_fd;
    int cap;
};

/* --- libc's own ------------------------------------------------------------------------------ */

/* Bounds of the program: ld(1). */
extern const char __executable_start[], _end[];

uintptr_t patch_find(const char *name, uintptr_t interceptor) {
    bool linked = interceptor >= (uintptr_t)__executable_start && interceptor < (uintptr_t)_end;
    uintptr_t found = linked ? interceptor : 0;

    if (found == 0 && strncmp(name, "pthread_cond_", strlen("pthread_cond_")) == 0)
        found = (uintptr_t)dlvsym(RTLD_NEXT, name, COND_VERSION);
    if (found == 0)
        found = (uintptr_t)dlsym(RTLD_NEXT, name);
    ASSERT(found != 0); /* the program is linked to libc as a library */
    return found;
}

/* --- scope ----------------------------------------------------------------------------------- */

void patch_forget(void) {
    if (fiber_patch != NULL)
        fiber_patch->forked = true;
    fiber_patch = NULL;
}

void patch_enter(struct patch *patch, struct patches *patches, const nsec_t *deadline,
                 void (*news)(struct patch *, enum patch_news)) {
    *patch = (struct patch){ .patches = patches, .deadline = deadline, .news = news, .fd = -1 };
    if (patches == NULL)
        return;
    patch->fiber = fiber_self(patches->fibers);
    fiber_patch = patch;
}

bool patch_leave(struct patch *patch) {
    if (patch->patches != NULL)
        fiber_patch = NULL;
    if (patch->held == NULL)
        return false;
    patch->abandon(patch);
    return true;
}

struct patch *patch_pause(void) {
    struct patch *patch = fiber_patch;

    fiber_patch = NULL;
    return patch;
}

void patch_resume(struct patch *patch) {
    fiber_patch = patch == NULL || patch->forked ? NULL : patch;
}

int patch_check(struct error *err) {
    static bool watches_forks;
    void *first = dlsym(RTLD_DEFAULT, "poll");
    Dl_info info;

    if ((uintptr_t)first != (uintptr_t)poll)
        return error_set(err, -EBUSY, "applications cannot be patched: %s stands before srv",
                         dladdr(first, &info) != 0 ? info.dli_fname : "another poll(2)");
    if (!watches_forks && pthread_atfork(NULL, NULL, patch_forget) != 0)
        return error_set(err, -ENOMEM, "out of memory");
    watches_forks = true;
    return 0;
}

/* --- events ---------------------------------------------------------------------------------- */

/* 0, or -errno; -EEXIST: others wait for a file that was closed and had this number. */
static int register_events(struct patches *o, struct known *known, int fd) {
    uint32_t generation = ++o->generation;
    struct epoll_event event = { .events = known->wanted | EPOLLONESHOT,
                                 .data.u64 = (uint64_t)generation << 32 | (uint32_t)fd };
    bool renews = known->registered;

    if (epoll_ctl(o->watch.fd, renews ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) < 0) {
        if (errno != (renews ? ENOENT : EEXIST))
            return -errno;
        if (known->waiting != NULL)
            return -EEXIST;
        if (epoll_ctl(o->watch.fd, renews ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event) < 0)
            return -errno;
    }
    known->generation = generation;
    known->registered = true;
    return 0;
}

/* Wakes all that wait for such an event, and goes on watching for the others. If that fails, they
 * look again by themselves. */
static void take_event(struct patches *o, const struct epoll_event *event) {
    int fd = (int)(uint32_t)event->data.u64;
    struct known *known = &o->by_fd[fd];

    if (known->generation != event->data.u64 >> 32)
        return;
    known->wanted = 0;
    for (struct patch_waiting *w = known->waiting; w != NULL; w = w->next) {
        uint32_t events = event->events & (w->wanted | EPOLLERR | EPOLLHUP);

        if (w->events == 0 && events == 0)
            known->wanted |= w->wanted;
        if (w->events != 0 || events == 0)
            continue;
        w->events = events;
        fiber_wake_later(w->fiber);
    }
    if (known->wanted != 0)
        (void)register_events(o, known, fd);
}

static void on_events(struct watch *watch, unsigned what UNUSED) {
    struct patches *o = CONTAINER_OF(watch, struct patches, watch);
    struct epoll_event events[EVENTS_MAX];
    int count;

    watch_drained(watch, IO_READ);
    do {
        count = epoll_wait(watch->fd, events, EVENTS_MAX, 0);
        for (int i = 0; i < count; i++)
            take_event(o, &events[i]);
    } while (count == EVENTS_MAX);
    fibers_run(o->fibers);
}

struct patches *patches_new(struct io_fiber *io, struct error *err) {
    struct patches *o = mem_calloc(1, sizeof(*o));
    int fd = o != NULL ? epoll_create1(EPOLL_CLOEXEC) : -1;
    int rc = fd < 0 ? -errno : watch_open(&o->watch, io_fiber_loop(io), fd, on_events);

    if (rc < 0) {
        error_set(err, rc, "cannot watch the descriptors of applications: %s",
                  o == NULL ? "out of memory" : strerrordesc_np(-rc));
        if (fd >= 0)
            close(fd);
        mem_free(o);
        return NULL;
    }
    watch_drained(&o->watch, IO_READ);
    o->io = io;
    o->loop = io_fiber_loop(io);
    o->fibers = io_fiber_fibers(io);
    o->pid = getpid();
    /* Fibers are threads to libraries: libstdc++, for one, ends a process of one thread in which a
     * second one comes to the initialization of a `static` variable. */
    __libc_single_threaded = 0;
    return o;
}

void patches_free(struct patches *patches) {
    if (patches == NULL)
        return;
    watch_close(&patches->watch);
    close(patches->watch.fd);
    mem_free(patches->by_fd);
    mem_free(patches);
}

static int grow_table(struct patches *o, int fd) {
    int cap = o->cap > 0 ? o->cap : TABLE_CAP_FIRST;
    struct known *by_fd;

    while (cap <= fd)
        cap *= 2;
    by_fd = mem_realloc(o->by_fd, (size_t)cap * sizeof(*by_fd));
    if (by_fd == NULL)
        return -ENOMEM;
    memset(by_fd + o->cap, 0, (size_t)(cap - o->cap) * sizeof(*by_fd));
    o->by_fd = by_fd;
    o->cap = cap;
    return 0;
}

/* Has the events of a descriptor wake the fiber, once. 0; -EPERM: a file, which has no events;
 * -EEXIST: fibers wait for another one that had its number; or another -errno. */
static int expect(struct patches *o, struct patch_waiting *w, uint32_t events) {
    struct known *known;
    int rc;

    if (w->fd >= o->cap && grow_table(o, w->fd) < 0)
        return -ENOMEM;
    known = &o->by_fd[w->fd];
    w->wanted = events;
    known->wanted = known->waiting != NULL ? known->wanted | events : events;
    rc = register_events(o, known, w->fd);
    if (rc < 0)
        return rc;
    w->next = known->waiting;
    if (w->next != NULL)
        w->next->prev = w;
    known->waiting = w;
    return 0;
}

static void expect_no_more(struct patches *o, const struct patch_waiting *w, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (w[i].prev != NULL)
            w[i].prev->next = w[i].next;
        else
            o->by_fd[w[i].fd].waiting = w[i].next;
        if (w[i].next != NULL)
            w[i].next->prev = w[i].prev;
    }
}

/* --- parking --------------------------------------------------------------------------------- */

static void tell(struct patch *p, enum patch_news news) {
    if (p->news != NULL)
        p->news(p, news);
}

/* In a child that pthread_atfork has not told of: of vfork(2), where its parent waits and shares
 * this memory, or of clone(2). The loop is the parent's. Takes a nap in place of parking. */
static bool naps_in_child(const struct patch *p) {
    if (__builtin_expect(getpid() == p->patches->pid, 1))
        return false;
    poll(NULL, 0, NAP_MS);
    return true;
}

int patch_refuse(struct patch *p, int rc) {
    uint32_t beyond;

    if (p->failed == 0)
        p->failed = rc;
    p->refused++;
    tell(p, PATCH_REFUSED);
    if (p->refused <= REFUSALS_QUICK)
        return -ECANCELED;

    if (naps_in_child(p))
        return -ECANCELED;
    beyond = p->refused - REFUSALS_QUICK - 1;
    if (beyond == 0)
        tell(p, PATCH_INSISTS);
    fiber_nap(p->patches->fibers,
              deadline_after(clock_now(), beyond < 7 ? REFUSAL_MIN << beyond : NSEC_PER_SEC));
    return -ECANCELED;
}

int patch_park(struct patch *p, nsec_t until) {
    nsec_t end = *p->deadline;
    int rc;

    if (naps_in_child(p))
        return clock_now() >= until ? -ETIMEDOUT : 0;
    if (p->failed < 0)
        return patch_refuse(p, p->failed);
    p->waits++;
    fibers_keep_exceptions(p->patches->fibers); /* libraries may have come */
    tell(p, PATCH_PARKS);
    rc = fiber_park(p->patches->fibers, nsec_min(until, end));
    tell(p, PATCH_RUNS);
    if (rc == -ECANCELED || (rc == -ETIMEDOUT && end < until))
        return patch_refuse(p, rc);
    return rc;
}

int patch_sleep(struct patch *p, nsec_t until) {
    int rc;

    do
        rc = patch_park(p, until);
    while (rc == 0);
    return rc == -ETIMEDOUT ? 0 : rc;
}

static nsec_t look_span(unsigned *looks) {
    return *looks < 4 ? NSEC_PER_MSEC << (*looks)++ : LOOK_OFTEN;
}

int patch_pause_between(struct patch *p, unsigned *looks, nsec_t until) {
    nsec_t now = clock_now();

    if (now >= until)
        return -ETIMEDOUT;
    return patch_sleep(p, nsec_min(until, deadline_after(now, look_span(looks))));
}

/* --- parking, whatever becomes of the request ------------------------------------------------ */

struct io_fiber *patch_io(const struct patch *p) {
    return p->patches->io;
}

nsec_t patch_now(const struct patch *p) {
    return loop_now(p->patches->loop);
}

/* An end for a wait of a fiber whose request is over, on its stack. */
struct patch_alarm {
    struct timer timer;
    struct deferred turn; /* without memory for the timer: the end of this turn of the loop */
    struct fiber *fiber;
};

static void on_time(struct timer *timer) {
    fiber_wake(CONTAINER_OF(timer, struct patch_alarm, timer)->fiber);
}

static void on_turn(struct deferred *turn) {
    fiber_wake(CONTAINER_OF(turn, struct patch_alarm, turn)->fiber);
}

static void await(struct patch *p, nsec_t until) {
    struct loop *loop = p->patches->loop;
    struct patch_alarm alarm = { { .fire = on_time }, { .run = on_turn }, p->fiber };

    if (until <= loop_now(loop))
        return;
    if (until != NSEC_NEVER && timer_set(loop, &alarm.timer, until) < 0)
        loop_defer(loop, &alarm.turn);
    fiber_await(p->patches->fibers);
    timer_cancel(loop, &alarm.timer);
    if (alarm.turn.pending)
        loop_undefer(loop, &alarm.turn);
}

void patch_insist(struct patch *p, nsec_t until) {
    int rc = p->failed == 0 ? patch_park(p, until) : -ECANCELED;

    if ((rc == -ECANCELED || rc == -ENOMEM) && !naps_in_child(p))
        await(p, until);
}

void patch_insist_between(struct patch *p, unsigned *looks, nsec_t until) {
    patch_insist(p, nsec_min(deadline_after(patch_now(p), look_span(looks)), until));
}

bool patch_is_over(struct patch *p, nsec_t until) {
    if (until <= patch_now(p))
        return true;
    if (until == NSEC_NEVER || p->failed == 0)
        return false;
    (void)patch_refuse(p, p->failed);
    return true;
}

/* --- waiting for descriptors ----------------------------------------------------------------- */

/* Parks until an event has come: 1; or 0 after `span`, for another look. */
static int park_for(struct patch *p, const struct patch_waiting *w, size_t count, nsec_t span,
                    nsec_t until) {
    nsec_t look_at = nsec_min(until, deadline_after(clock_now(), span));
    int rc;

    for (;;) {
        rc = patch_park(p, look_at);
        if (rc == -ETIMEDOUT && look_at < until)
            return 0;
        if (rc < 0)
            return rc;
        for (size_t i = 0; i < count; i++)
            if (w[i].events != 0)
                return 1;
        if (getpid() != p->patches->pid)
            return 0; /* events go to its parent */
    }
}

int patch_wait(struct patch *p, struct pollfd *fd, nsec_t until) {
    struct patch_waiting w = { .fiber = p->fiber, .fd = fd->fd };
    int rc = expect(p->patches, &w, (uint16_t)fd->events);

    fd->revents = 0;
    if (rc < 0)
        return patch_wait_all(p, fd, 1, until);
    rc = park_for(p, &w, 1, LOOK_AGAIN, until);
    expect_no_more(p->patches, &w, 1);
    fd->revents = (short)(w.events & ((uint16_t)fd->events | POLLERR | POLLHUP));
    return rc;
}

/* Adds one descriptor to an epoll set; one that is asked for twice has the events of both. */
static int add_to_set(int set, const struct pollfd *fds, nfds_t at) {
    struct epoll_event event = { .events = (uint16_t)fds[at].events };
    int rc = epoll_ctl(set, EPOLL_CTL_ADD, fds[at].fd, &event) < 0 ? -errno : 0;

    if (rc != -EEXIST)
        return rc == -EPERM ? 0 : rc;
    for (nfds_t i = 0; i < at; i++)
        if (fds[i].fd == fds[at].fd)
            event.events |= (uint16_t)fds[i].events;
    return epoll_ctl(set, EPOLL_CTL_MOD, fds[at].fd, &event) < 0 ? -errno : 0;
}

/* Waits through an epoll set of its own. */
static int wait_through_set(struct patch *p, const struct pollfd *fds, nfds_t count, nsec_t until) {
    struct patch_waiting w = { .fiber = p->fiber, .fd = epoll_create1(EPOLL_CLOEXEC) };
    int rc = w.fd < 0 ? -errno : 0;

    for (nfds_t i = 0; rc == 0 && i < count; i++)
        if (fds[i].fd >= 0)
            rc = add_to_set(w.fd, fds, i);
    if (rc == 0)
        rc = expect(p->patches, &w, EPOLLIN);
    if (rc == -EBADF) {
        close(w.fd);
        return 1; /* poll(2) says which one it is */
    }
    if (rc < 0) /* no memory, or sets in sets in sets */
        rc = park_for(p, &w, 0, LOOK_OFTEN, until);
    else {
        rc = park_for(p, &w, 1, LOOK_AGAIN, until);
        expect_no_more(p->patches, &w, 1);
    }
    if (w.fd >= 0)
        close(w.fd);
    return rc;
}

static int expect_next(struct patch *p, struct patch_waiting *w, size_t *used,
                       const struct pollfd *fd) {
    int rc;

    w[*used] = (struct patch_waiting){ .fiber = p->fiber, .fd = fd->fd };
    rc = expect(p->patches, &w[*used], (uint16_t)fd->events);
    *used += rc == 0;
    return rc == -EPERM ? 0 : rc;
}

int patch_wait_all(struct patch *p, const struct pollfd *fds, nfds_t count, nsec_t until) {
    struct patch_waiting w[WAITINGS_MAX] = { { .fiber = NULL } };
    size_t used = 0;
    bool needs_set = false;
    int rc = 0;

    for (nfds_t i = 0; rc == 0 && i < count; i++) {
        if (fds[i].fd < 0)
            continue;
        if (used == WAITINGS_MAX)
            rc = -EEXIST;
        else
            rc = expect_next(p, w, &used, &fds[i]);
    }
    if (rc == 0)
        rc = park_for(p, w, used, LOOK_AGAIN, until);
    else
        needs_set = true;
    expect_no_more(p->patches, w, used);
    return needs_set ? wait_through_set(p, fds, count, until) : rc;
}
