/* SPDX-License-Identifier: MIT */
/* The calls of libc that wait for any of several descriptors, or for a time, as applications have
 * them: poll(2), select(2), epoll_wait(2), nanosleep(2) and their kin. */
#undef _FORTIFY_SOURCE /* the inline functions of its headers have the names defined here */
#include "base/alloc.h"
#include "fiber/patch_hook.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

int __poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t room);
int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                const sigset_t *mask, size_t room);

PATCH_ORIGINAL(poll)
PATCH_ORIGINAL(ppoll)
PATCH_ORIGINAL(__poll_chk)
PATCH_ORIGINAL(__ppoll_chk)
PATCH_ORIGINAL(select)
PATCH_ORIGINAL(pselect)
PATCH_ORIGINAL(epoll_wait)
PATCH_ORIGINAL(epoll_pwait)
PATCH_ORIGINAL(epoll_pwait2)
PATCH_ORIGINAL(sleep)
PATCH_ORIGINAL(usleep)
PATCH_ORIGINAL(nanosleep)
PATCH_ORIGINAL(clock_nanosleep)
PATCH_ORIGINAL(thrd_sleep)

enum { FDS_FEW = 8 };

/* A mask lets signals in during the wait: how often they are let in. */
#define MASK_PAUSE (10 * NSEC_PER_MSEC)

/* --- time ------------------------------------------------------------------------------------ */

static nsec_t end_of_ms(int ms) {
    return ms < 0 ? NSEC_NEVER : deadline_after(clock_now(), ms * NSEC_PER_MSEC);
}

/* Spans that the kernel takes; others are its to refuse. */
static bool is_span(const struct timespec *t) {
    return t->tv_sec >= 0 && t->tv_nsec >= 0 && t->tv_nsec < NSEC_PER_SEC;
}

static nsec_t span_of(time_t seconds, nsec_t rest) {
    return seconds >= NSEC_NEVER / NSEC_PER_SEC - 1 ? NSEC_NEVER : seconds * NSEC_PER_SEC + rest;
}

/* The end of a wait with a time-out; NULL: never. */
static nsec_t end_of(const struct timespec *timeout) {
    return timeout == NULL
               ? NSEC_NEVER
               : deadline_after(clock_now(), span_of(timeout->tv_sec, timeout->tv_nsec));
}

/* --- several descriptors --------------------------------------------------------------------- */

/* A call that waits for descriptors. `look` makes it, without waiting: a count, 0, or -errno. */
struct watching {
    struct patch *p;
    int (*look)(struct watching *);
    struct pollfd *fds;
    nfds_t count;
    const sigset_t *mask; /* or NULL */
    nsec_t until;
    unsigned futile;
};

/* Parks after several waits in a row that were for nothing: the call wants something that the
 * kernel tells to waits in another way. */
static int calm(struct watching *w) {
    unsigned looks = w->futile++;

    if (looks < 2)
        return 0;
    looks -= 2;
    return patch_pause_between(w->p, &looks, w->until);
}

static int wait_once(struct watching *w) {
    nsec_t until = w->until;
    int rc;

    if (w->mask != NULL)
        until = nsec_min(until, deadline_after(clock_now(), MASK_PAUSE));
    rc = w->count == 1 && w->fds->fd >= 0 ? patch_wait(w->p, w->fds, until)
                                          : patch_wait_all(w->p, w->fds, w->count, until);
    if (rc == -ETIMEDOUT && until < w->until)
        return 0; /* signals are let in */
    return rc > 0 ? calm(w) : rc;
}

/* Goes on after a first look that found nothing. */
static int watch_parked(struct watching *w) {
    for (;;) {
        int rc = wait_once(w);
        int found;

        if (rc < 0 && rc != -ETIMEDOUT)
            return rc;
        found = w->look(w);
        if (found != 0 || rc == -ETIMEDOUT)
            return found;
    }
}

/* --- poll ------------------------------------------------------------------------------------ */

static int look_poll(struct watching *w) {
    static const struct timespec now = { 0 };
    int rc;

    if (w->mask == NULL && w->count == 1 && w->fds->fd >= 0 && w->fds->revents != 0)
        return 1; /* the wait has told */
    rc = w->mask == NULL ? original_poll()(w->fds, w->count, 0)
                         : original_ppoll()(w->fds, w->count, &now, w->mask);
    return (int)patch_result(rc);
}

static int poll_parked(struct patch *p, const char *call, struct pollfd *fds, nfds_t count,
                       const sigset_t *mask, nsec_t until) {
    struct watching w = {
        .p = p, .look = look_poll, .fds = fds, .count = count, .mask = mask, .until = until
    };
    int rc;

    patch_begin(p, call, -1);
    rc = (int)patch_result(original_poll()(fds, count, 0));
    if (rc == 0 && until > clock_now()) {
        p->fd = count > 0 ? fds->fd : -1;
        rc = watch_parked(&w);
    }
    return (int)patch_end(p, rc);
}

int poll(struct pollfd *fds, nfds_t count, int timeout) {
    PATCH_QUICKLY(poll, fds, count, timeout);
    struct patch *p = PATCH_HERE;

    if (p == NULL || timeout == 0)
        return original_poll()(fds, count, timeout);
    return poll_parked(p, "poll", fds, count, NULL, end_of_ms(timeout));
}

int __poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t room) {
    PATCH_QUICKLY(__poll_chk, fds, count, timeout, room);
    struct patch *p = PATCH_HERE;

    if (p == NULL || timeout == 0 || room / sizeof(*fds) < count)
        return original___poll_chk()(fds, count, timeout, room);
    return poll_parked(p, "poll", fds, count, NULL, end_of_ms(timeout));
}

int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
    PATCH_QUICKLY(ppoll, fds, count, timeout, mask);
    struct patch *p = PATCH_HERE;

    if (p == NULL || (timeout != NULL && !is_span(timeout)))
        return original_ppoll()(fds, count, timeout, mask);
    return poll_parked(p, "ppoll", fds, count, mask, end_of(timeout));
}

int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                const sigset_t *mask, size_t room) {
    struct patch *p = PATCH_HERE;

    if (p == NULL || (timeout != NULL && !is_span(timeout)) || room / sizeof(*fds) < count)
        return original___ppoll_chk()(fds, count, timeout, mask, room);
    return poll_parked(p, "ppoll", fds, count, mask, end_of(timeout));
}

/* --- select ---------------------------------------------------------------------------------- */

/* A set that select(2) overwrites: `kept` is what was asked for. NULL: nothing was. */
struct select_set {
    unsigned long *bits, *kept;
    short events;
};

struct selecting {
    struct watching watching;
    int nfds;
    size_t words; /* of each set */
    struct select_set sets[3];
};

enum { WORD_BITS = 8 * sizeof(unsigned long), WORDS_FEW = FD_SETSIZE / WORD_BITS };

static void restore_sets(struct selecting *s) {
    for (size_t i = 0; i < ARRAY_LEN(s->sets); i++)
        if (s->sets[i].bits != NULL)
            memcpy(s->sets[i].bits, s->sets[i].kept, s->words * sizeof(unsigned long));
}

static int look_select(struct watching *w) {
    struct selecting *s = CONTAINER_OF(w, struct selecting, watching);
    static const struct timespec now = { 0 };

    restore_sets(s);
    return (int)patch_result(original_pselect()(s->nfds, (fd_set *)s->sets[0].bits,
                                                (fd_set *)s->sets[1].bits,
                                                (fd_set *)s->sets[2].bits, &now, w->mask));
}

static short events_of(const struct selecting *s, int fd) {
    unsigned long bit = 1UL << (unsigned)fd % WORD_BITS;
    short events = 0;

    for (size_t i = 0; i < ARRAY_LEN(s->sets); i++)
        if (s->sets[i].bits != NULL && (s->sets[i].kept[(unsigned)fd / WORD_BITS] & bit))
            events |= s->sets[i].events;
    return events;
}

/* As pollfds; those that `fds` has no room for are only counted. */
static nfds_t list_selected(const struct selecting *s, struct pollfd *fds, nfds_t room) {
    nfds_t count = 0;

    for (int fd = 0; fd < s->nfds; fd++) {
        short events = events_of(s, fd);

        if (events != 0 && count++ < room)
            fds[count - 1] = (struct pollfd){ .fd = fd, .events = events };
    }
    return count;
}

static int select_watched(struct selecting *s) {
    struct pollfd few[FDS_FEW], *many = few;
    nfds_t count = list_selected(s, few, FDS_FEW);
    int rc;

    if (count > FDS_FEW) {
        many = mem_alloc(count * sizeof(*many));
        if (many == NULL)
            return -ENOMEM;
        list_selected(s, many, count);
    }
    s->watching.fds = many;
    s->watching.count = count;
    rc = watch_parked(&s->watching);
    if (many != few)
        mem_free(many);
    return rc;
}

/* The kernel looks at no descriptor for which the process has no room, nor at the memory of its
 * bit: callers pass getdtablesize(3) with sets of FD_SETSIZE. proc(5). */
static int fit_nfds(int nfds) {
    FILE *status = nfds > FD_SETSIZE ? fopen("/proc/self/status", "re") : NULL;
    char line[256];
    int room;

    while (status != NULL && fgets(line, sizeof(line), status) != NULL)
        if (sscanf(line, "FDSize: %d", &room) == 1 && room < nfds)
            nfds = room;
    if (status != NULL)
        fclose(status);
    return nfds;
}

static int select_parked(struct patch *p, const char *call, struct selecting *s) {
    unsigned long few[3 * WORDS_FEW], *kept = few;
    int rc;

    patch_begin(p, call, -1);
    s->watching.p = p;
    s->nfds = fit_nfds(s->nfds);
    s->words = ((size_t)s->nfds + WORD_BITS - 1) / WORD_BITS;
    if (s->words > WORDS_FEW)
        kept = mem_alloc(3 * s->words * sizeof(*kept));
    if (kept == NULL)
        return (int)patch_end(p, -ENOMEM);
    for (size_t i = 0; i < ARRAY_LEN(s->sets); i++) {
        s->sets[i].kept = kept + i * s->words;
        if (s->sets[i].bits != NULL)
            memcpy(s->sets[i].kept, s->sets[i].bits, s->words * sizeof(*kept));
    }
    rc = look_select(&s->watching);
    if (rc == 0 && s->watching.until > clock_now())
        rc = select_watched(s);
    if (rc < 0)
        restore_sets(s);
    if (kept != few)
        mem_free(kept);
    return (int)patch_end(p, rc);
}

static struct selecting selecting(int nfds, fd_set *in, fd_set *out, fd_set *except,
                                  const sigset_t *mask, nsec_t until) {
    return (struct selecting){
        .watching = { .look = look_select, .mask = mask, .until = until },
        .nfds = nfds,
        .sets = { { .bits = (unsigned long *)in, .events = POLLIN },
                  { .bits = (unsigned long *)out, .events = POLLOUT },
                  { .bits = (unsigned long *)except, .events = POLLPRI } },
    };
}

/* What is left of the time-out goes where it came from, as Linux does it. */
int select(int nfds, fd_set *in, fd_set *out, fd_set *except, struct timeval *timeout) {
    struct patch *p = PATCH_HERE;
    nsec_t until = NSEC_NEVER, left;
    struct selecting s;
    int rc;

    if (p == NULL || nfds < 0 || (timeout != NULL && (timeout->tv_sec < 0 || timeout->tv_usec < 0)))
        return original_select()(nfds, in, out, except, timeout);
    if (timeout != NULL)
        until =
            deadline_after(clock_now(), span_of(timeout->tv_sec, timeout->tv_usec * NSEC_PER_USEC));
    s = selecting(nfds, in, out, except, NULL, until);
    rc = select_parked(p, "select", &s);
    if (timeout != NULL) {
        left = nsec_max(0, until - clock_now()) / NSEC_PER_USEC;
        *timeout = (struct timeval){ .tv_sec = left / 1000000, .tv_usec = left % 1000000 };
    }
    return rc;
}

int pselect(int nfds, fd_set *in, fd_set *out, fd_set *except, const struct timespec *timeout,
            const sigset_t *mask) {
    struct patch *p = PATCH_HERE;
    struct selecting s;

    if (p == NULL || nfds < 0 || (timeout != NULL && !is_span(timeout)))
        return original_pselect()(nfds, in, out, except, timeout, mask);
    s = selecting(nfds, in, out, except, mask, end_of(timeout));
    return select_parked(p, "pselect", &s);
}

/* --- epoll ----------------------------------------------------------------------------------- */

struct epolling {
    struct watching watching;
    struct pollfd set; /* an epoll set is readable when one of its descriptors has an event */
    struct epoll_event *events;
    int max;
};

/* epoll_pwait(2) lets no signal in when it does not wait. */
static int look_epoll(struct watching *w) {
    struct epolling *e = CONTAINER_OF(w, struct epolling, watching);
    static const struct timespec now = { 0 };
    int rc = (int)patch_result(original_epoll_wait()(e->set.fd, e->events, e->max, 0));

    if (rc == 0 && w->mask != NULL)
        rc = (int)patch_result(original_ppoll()(NULL, 0, &now, w->mask));
    return rc;
}

static int epoll_parked(struct patch *p, const char *call, int set, struct epoll_event *events,
                        int max, const sigset_t *mask, nsec_t until) {
    struct epolling e = {
        .watching = { .p = p, .look = look_epoll, .count = 1, .mask = mask, .until = until },
        .set = { .fd = set, .events = POLLIN },
        .events = events,
        .max = max,
    };
    int rc;

    patch_begin(p, call, -1);
    e.watching.fds = &e.set;
    rc = look_epoll(&e.watching);
    if (rc == 0 && until > clock_now())
        rc = watch_parked(&e.watching);
    return (int)patch_end(p, rc);
}

int epoll_wait(int set, struct epoll_event *events, int max, int timeout) {
    PATCH_QUICKLY(epoll_wait, set, events, max, timeout);
    struct patch *p = PATCH_HERE;

    if (p == NULL || timeout == 0)
        return original_epoll_wait()(set, events, max, timeout);
    return epoll_parked(p, "epoll_wait", set, events, max, NULL, end_of_ms(timeout));
}

int epoll_pwait(int set, struct epoll_event *events, int max, int timeout, const sigset_t *mask) {
    PATCH_QUICKLY(epoll_pwait, set, events, max, timeout, mask);
    struct patch *p = PATCH_HERE;

    if (p == NULL || timeout == 0)
        return original_epoll_pwait()(set, events, max, timeout, mask);
    return epoll_parked(p, "epoll_pwait", set, events, max, mask, end_of_ms(timeout));
}

int epoll_pwait2(int set, struct epoll_event *events, int max, const struct timespec *timeout,
                 const sigset_t *mask) {
    PATCH_QUICKLY(epoll_pwait2, set, events, max, timeout, mask);
    struct patch *p = PATCH_HERE;

    if (p == NULL || (timeout != NULL && !is_span(timeout)))
        return original_epoll_pwait2()(set, events, max, timeout, mask);
    return epoll_parked(p, "epoll_pwait2", set, events, max, mask, end_of(timeout));
}

/* --- sleeping -------------------------------------------------------------------------------- */

/* One that is cut short says that it was not: code that sleeps again and again until the time has
 * come would never end. */
static void sleep_parked(struct patch *p, const char *call, nsec_t span) {
    int rc;

    patch_begin(p, call, -1);
    rc = patch_sleep(p, deadline_after(clock_now(), span));
    (void)rc; /* the request knows */
    patch_end(p, 0);
}

unsigned sleep(unsigned seconds) {
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_sleep()(seconds);
    sleep_parked(p, "sleep", seconds * NSEC_PER_SEC);
    return 0;
}

int usleep(useconds_t usec) {
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_usleep()(usec);
    sleep_parked(p, "usleep", usec * NSEC_PER_USEC);
    return 0;
}

int nanosleep(const struct timespec *span, struct timespec *left) {
    struct patch *p = PATCH_HERE;

    if (p == NULL || span == NULL || !is_span(span))
        return original_nanosleep()(span, left);
    sleep_parked(p, "nanosleep", span_of(span->tv_sec, span->tv_nsec));
    return 0;
}

int thrd_sleep(const struct timespec *span, struct timespec *left) {
    struct patch *p = PATCH_HERE;

    if (p == NULL || span == NULL || !is_span(span))
        return original_thrd_sleep()(span, left);
    sleep_parked(p, "thrd_sleep", span_of(span->tv_sec, span->tv_nsec));
    return 0;
}

static nsec_t left_until(clockid_t clock, const struct timespec *until) {
    struct timespec now;

    if (clock_gettime(clock, &now) < 0)
        return 0;
    return span_of(until->tv_sec, until->tv_nsec) - span_of(now.tv_sec, now.tv_nsec);
}

/* A clock may be set meanwhile: it is asked again at the end, and every second. */
static void sleep_until(struct patch *p, clockid_t clock, const struct timespec *until) {
    nsec_t left;
    int rc = 0;

    patch_begin(p, "clock_nanosleep", -1);
    while (rc == 0 && (left = left_until(clock, until)) > 0)
        rc = patch_sleep(p, deadline_after(clock_now(), nsec_min(left, NSEC_PER_SEC)));
    patch_end(p, 0);
}

/* Clocks of processor time stand still while nothing runs. */
static bool is_wall(clockid_t clock) {
    return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME ||
           clock == CLOCK_TAI;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time,
                    struct timespec *left) {
    struct patch *p = PATCH_HERE;

    if (p == NULL || time == NULL || !is_span(time) || !is_wall(clock))
        return original_clock_nanosleep()(clock, flags, time, left);
    if (flags & TIMER_ABSTIME)
        sleep_until(p, clock, time);
    else
        sleep_parked(p, "clock_nanosleep", span_of(time->tv_sec, time->tv_nsec));
    return 0;
}
