/* SPDX-License-Identifier: MIT */
/* The loop: a libevent base that never knows a timer, a timer heap with one timerfd, and work put
 * off to the end of the turn. */
#include "net/loop.h"
#include "base/alloc.h"
#include "base/assert.h"
#include <errno.h>
#include <event2/event.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* The timers: a 4-ary heap, shallower than a binary one and kinder to cache lines. The deadline
 * stands beside the pointer, so that sifting reads no timer. Entry i has its children at 4i+1 to
 * 4i+4; timer->slot is i+1. */
struct timer_heap_entry {
    nsec_t at;
    struct timer *timer;
};

struct timer_heap {
    struct timer_heap_entry *entries; /* NULL until the first timer */
    uint32_t count, cap;
};

/* First in, first out. */
struct work_queue {
    struct deferred *first, **last;
    uint32_t count;
};

struct loop {
    struct event_base *base;
    struct event *timer_event;
    int timer_fd;
    int epoll_fd;     /* libevent's; -1: not found */
    bool timer_fired; /* the timerfd went off in this turn */
    bool running, stop;
    nsec_t now;               /* time of this turn; 0 = not read yet */
    _Atomic(nsec_t) began_at; /* time of the first reading in this turn; 0 = none yet */
    nsec_t armed_at;          /* next time of the timerfd; NSEC_NEVER = disarmed */
    struct timer_heap timers;
    struct work_queue deferred, heavy;
    uint32_t heavy_done; /* pieces of long work done in this turn */
    void (*turned)(void *arg, nsec_t began, nsec_t ended);
    void *turned_arg;
    void (*awoke)(nsec_t now);
};

/* Notes the time of the first reading in this turn, for other threads, too. */
static void set_began(struct loop *loop, nsec_t at) {
    atomic_store_explicit(&loop->began_at, at, memory_order_relaxed);
}

nsec_t loop_turn_began(const struct loop *loop) {
    return atomic_load_explicit(&loop->began_at, memory_order_relaxed);
}

/* --- the heap of timers ----------------------------------------------------------------------- */

enum { HEAP_ARITY = 4, HEAP_CAP_FIRST = 64 };

static void place(struct timer_heap *heap, uint32_t i, struct timer_heap_entry entry) {
    heap->entries[i] = entry;
    entry.timer->slot = i + 1;
}

/* Both sifts move a hole instead of swapping: one store per level. */
static void sift_up(struct timer_heap *heap, uint32_t hole, struct timer_heap_entry entry) {
    while (hole > 0) {
        uint32_t parent = (hole - 1) / HEAP_ARITY;
        if (heap->entries[parent].at <= entry.at)
            break;
        place(heap, hole, heap->entries[parent]);
        hole = parent;
    }
    place(heap, hole, entry);
}

static uint32_t earliest_child(const struct timer_heap *heap, uint32_t i) {
    uint32_t first = HEAP_ARITY * i + 1;
    uint32_t end = heap->count - first > HEAP_ARITY ? first + HEAP_ARITY : heap->count;
    uint32_t best = first;

    for (uint32_t child = first + 1; child < end; child++) {
        if (heap->entries[child].at < heap->entries[best].at)
            best = child;
    }
    return best;
}

static void sift_down(struct timer_heap *heap, uint32_t hole, struct timer_heap_entry entry) {
    while (hole < (heap->count + HEAP_ARITY - 2) / HEAP_ARITY) {
        uint32_t child = earliest_child(heap, hole);
        if (heap->entries[child].at >= entry.at)
            break;
        place(heap, hole, heap->entries[child]);
        hole = child;
    }
    place(heap, hole, entry);
}

static void sift(struct timer_heap *heap, uint32_t hole, struct timer_heap_entry entry) {
    if (hole > 0 && heap->entries[(hole - 1) / HEAP_ARITY].at > entry.at)
        sift_up(heap, hole, entry);
    else
        sift_down(heap, hole, entry);
}

static int grow(struct timer_heap *heap) {
    uint32_t cap = heap->cap > 0 ? heap->cap * 2 : HEAP_CAP_FIRST;
    struct timer_heap_entry *entries = mem_realloc(heap->entries, cap * sizeof(*entries));
    if (entries == NULL)
        return -ENOMEM;

    heap->entries = entries;
    heap->cap = cap;
    return 0;
}

/* Puts a timer in, or moves it when it is in already. 0 or -ENOMEM (nothing changed). */
static int timer_heap_set(struct timer_heap *heap, struct timer *timer, nsec_t at) {
    uint32_t hole;

    if (timer->slot != 0) {
        hole = timer->slot - 1;
        ASSERT(hole < heap->count && heap->entries[hole].timer == timer);
    } else {
        if (heap->count == heap->cap && grow(heap) < 0)
            return -ENOMEM;
        hole = heap->count++;
    }

    timer->at = at;
    sift(heap, hole, (struct timer_heap_entry){ at, timer });
    return 0;
}

static void timer_heap_remove(struct timer_heap *heap, struct timer *timer) {
    if (timer->slot == 0)
        return;

    uint32_t hole = timer->slot - 1;
    ASSERT(hole < heap->count && heap->entries[hole].timer == timer);
    timer->slot = 0;

    struct timer_heap_entry last = heap->entries[--heap->count];
    if (hole < heap->count)
        sift(heap, hole, last);
}

static void timer_heap_free(struct timer_heap *heap) {
    for (uint32_t i = 0; i < heap->count; i++)
        heap->entries[i].timer->slot = 0;
    mem_free(heap->entries);
    *heap = (struct timer_heap){ 0 };
}

/* The earliest deadline; NSEC_NEVER when empty. */
static nsec_t timer_heap_earliest(const struct timer_heap *heap) {
    return heap->count > 0 ? heap->entries[0].at : NSEC_NEVER;
}

/* --- opening and closing ---------------------------------------------------------------------- */

/* The descriptor is never read: every expiry is a new edge, whatever count waits in it. */
static void on_timer_fd(evutil_socket_t fd UNUSED, short what UNUSED, void *arg) {
    struct loop *loop = arg;
    loop->timer_fired = true;
}

/* No locks, since a loop belongs to one thread; no time cache, since libevent has no timers here
 * and would read the clock in every turn for nothing. */
static struct event_base *base_new(void) {
    struct event_config *config = event_config_new();
    if (config == NULL)
        return NULL;

    struct event_base *base = NULL;
    int flags = EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_NO_CACHE_TIME | EVENT_BASE_FLAG_IGNORE_ENV;
    if (event_config_set_flag(config, flags) == 0 &&
        event_config_require_features(config, EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE) == 0)
        base = event_base_new_with_config(config);

    event_config_free(config);
    return base;
}

static int open_timer_fd(struct loop *loop, struct error *err) {
    loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (loop->timer_fd < 0)
        return error_set(err, -errno, "cannot make a timerfd: %s", strerrordesc_np(errno));

    loop->timer_event =
        event_new(loop->base, loop->timer_fd, EV_READ | EV_PERSIST | EV_ET, on_timer_fd, loop);
    if (loop->timer_event == NULL || event_add(loop->timer_event, NULL) < 0)
        return error_set(err, -ENOMEM, "cannot watch a timerfd: out of memory");

    return 0;
}

/* The number that the next descriptor gets, unless another thread is quicker; -1: none is left. */
static int next_descriptor(void) {
    int fd = dup(STDERR_FILENO);

    if (fd >= 0)
        close(fd);
    return fd;
}

/* Only the set of libevent has the timerfd: what libevent has registered the timerfd with is said
 * once more, which changes nothing there and fails elsewhere. */
static bool has_timer(int epoll_fd, int timer_fd) {
    struct epoll_event same = { .events = EPOLLIN | EPOLLET, .data.fd = timer_fd };

    return epoll_ctl(epoll_fd, EPOLL_CTL_MOD, timer_fd, &same) == 0;
}

/* libevent does not tell, but its set is the first descriptor that it opens. All others are asked
 * only if another thread took that number: they are not ours, and may be closed meanwhile. */
static int find_epoll_fd(int expected, int timer_fd) {
    if (has_timer(expected, timer_fd))
        return expected;
    for (int fd = timer_fd + 64; fd >= 0; fd--) /* libevent opened it just before */
        if (has_timer(fd, timer_fd))
            return fd;
    return -1;
}

struct loop *loop_new(struct error *err) {
    struct loop *loop = mem_calloc(1, sizeof(*loop));
    int next_fd;

    if (loop == NULL) {
        error_set(err, -ENOMEM, "cannot make an event loop: out of memory");
        return NULL;
    }
    loop->timer_fd = loop->epoll_fd = -1;
    loop->armed_at = NSEC_NEVER;
    loop->deferred.last = &loop->deferred.first;
    loop->heavy.last = &loop->heavy.first;

    next_fd = next_descriptor();
    loop->base = base_new();
    if (loop->base == NULL) {
        error_set(err, -errno, "cannot make an event loop: %s", strerrordesc_np(errno));
        loop_free(loop);
        return NULL;
    }
    if (open_timer_fd(loop, err) < 0) {
        loop_free(loop);
        return NULL;
    }
    loop->epoll_fd = find_epoll_fd(next_fd, loop->timer_fd);
    return loop;
}

static void queue_push(struct work_queue *q, struct deferred *work) {
    if (work->pending)
        return;

    work->pending = true;
    work->next = NULL;
    *q->last = work;
    q->last = &work->next;
    q->count++;
}

static struct deferred *queue_pop(struct work_queue *q) {
    struct deferred *work = q->first;

    q->first = work->next;
    if (work->next == NULL)
        q->last = &q->first;
    q->count--;
    work->pending = false;
    return work;
}

static void queue_remove(struct work_queue *q, struct deferred *work) {
    if (!work->pending)
        return;

    struct deferred **link = &q->first;
    while (*link != work)
        link = &(*link)->next;
    *link = work->next;
    if (work->next == NULL)
        q->last = link;
    q->count--;
    work->pending = false;
}

/* Runs as many as there were at the start: work put off by put-off work waits for the next turn. */
static void run_deferred(struct loop *loop) {
    uint32_t budget = loop->deferred.count;

    while (budget-- > 0 && loop->deferred.first != NULL) {
        struct deferred *work = queue_pop(&loop->deferred);
        work->run(work);
    }
}

static void run_heavy(struct loop *loop) {
    while (loop->heavy.first != NULL && loop->heavy_done < LOOP_HEAVY_MAX) {
        struct deferred *work = queue_pop(&loop->heavy);
        loop->heavy_done++;
        work->run(work);
    }
    loop->heavy_done = 0;
}

void loop_free(struct loop *loop) {
    if (loop == NULL)
        return;

    while (loop->deferred.first != NULL)
        run_deferred(loop);
    while (loop->heavy.first != NULL)
        queue_pop(&loop->heavy);
    timer_heap_free(&loop->timers);
    if (loop->timer_event != NULL)
        event_free(loop->timer_event);
    if (loop->timer_fd >= 0)
        close(loop->timer_fd);
    if (loop->base != NULL)
        event_base_free(loop->base);
    mem_free(loop);
}

struct event_base *loop_base(struct loop *loop) {
    return loop->base;
}

void loop_leave_queue(struct loop *loop, int fd) {
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

int loop_enter_queue(struct loop *loop, int fd) {
    struct epoll_event event = { .events = EPOLLIN | EPOLLEXCLUSIVE, .data.fd = fd };

    if (loop->epoll_fd < 0)
        return -ENOTSUP;
    loop_leave_queue(loop, fd);
    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void loop_observe(struct loop *loop, void (*turned)(void *arg, nsec_t began, nsec_t ended),
                  void *arg) {
    loop->turned = turned;
    loop->turned_arg = arg;
}

void loop_on_awake(struct loop *loop, void (*awoke)(nsec_t now)) {
    loop->awoke = awoke;
}

static void read_clock(struct loop *loop) {
    loop->now = clock_now();
    if (loop_turn_began(loop) != 0)
        return;
    set_began(loop, loop->now);
    if (loop->awoke != NULL)
        loop->awoke(loop->now);
}

nsec_t loop_now(struct loop *loop) {
    if (!loop->running)
        return clock_now();

    if (loop->now == 0)
        read_clock(loop);
    return loop->now;
}

void loop_defer(struct loop *loop, struct deferred *work) {
    queue_push(&loop->deferred, work);
}

void loop_undefer(struct loop *loop, struct deferred *work) {
    queue_remove(&loop->deferred, work);
}

bool loop_may_do_heavy(struct loop *loop, struct deferred *work) {
    if (loop->heavy.first == NULL && loop->heavy_done < LOOP_HEAVY_MAX) {
        loop->heavy_done++;
        return true;
    }
    queue_push(&loop->heavy, work);
    return false;
}

void loop_drop_heavy(struct loop *loop, struct deferred *work) {
    queue_remove(&loop->heavy, work);
}

/* Fires at most as many timers as there were: one that rearms itself for "now" cannot starve the
 * descriptors. Without the timerfd's word and without a fresh clock nothing can have become due. */
static void fire_timers(struct loop *loop) {
    if (loop->timer_fired) {
        loop->timer_fired = false;
        read_clock(loop);
    }
    if (loop->now == 0)
        return;
    if (loop->armed_at <= loop->now)
        loop->armed_at = NSEC_NEVER;

    uint32_t budget = loop->timers.count;
    while (budget-- > 0 && timer_heap_earliest(&loop->timers) <= loop->now) {
        struct timer *timer = loop->timers.entries[0].timer;
        timer_heap_remove(&loop->timers, timer);
        timer->fire(timer);
    }
}

/* Called before every turn, since one that does not sleep may still be followed by many. A timerfd
 * armed too early is left alone: one spare wake-up is cheaper than a system call for every deadline
 * that moves. */
static int arm_timer_fd(struct loop *loop) {
    nsec_t earliest = timer_heap_earliest(&loop->timers);
    if (earliest >= loop->armed_at)
        return 0;

    /* An it_value of zero would disarm: the distant past is one nanosecond after boot. */
    nsec_t at = earliest > 0 ? earliest : 1;
    struct itimerspec spec = {
        .it_value = { .tv_sec = at / NSEC_PER_SEC, .tv_nsec = at % NSEC_PER_SEC },
    };
    if (timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) < 0)
        return -errno;

    loop->armed_at = earliest;
    return 0;
}

static int turn(struct loop *loop) {
    bool due = loop->now != 0 && timer_heap_earliest(&loop->timers) <= loop->now;
    bool busy = due || loop->deferred.first != NULL || loop->heavy.first != NULL;

    if (due) {
        loop->timer_fired = true; /* no need to hear that from the kernel */
    } else {
        int rc = arm_timer_fd(loop);
        if (rc < 0)
            return rc;
    }

    loop->now = 0;
    set_began(loop, 0);
    if (event_base_loop(loop->base, busy ? EVLOOP_ONCE | EVLOOP_NONBLOCK : EVLOOP_ONCE) < 0)
        return -EIO;

    fire_timers(loop);
    run_deferred(loop);
    run_heavy(loop);
    if (loop->turned != NULL && loop_turn_began(loop) != 0)
        loop->turned(loop->turned_arg, loop_turn_began(loop), clock_now());
    return 0;
}

int loop_run(struct loop *loop) {
    ASSERT(!loop->running);
    int rc = 0;

    loop->running = true;
    loop->now = 0;
    while (!loop->stop && rc == 0)
        rc = turn(loop);

    loop->running = false;
    loop->stop = false;
    return rc;
}

void loop_stop(struct loop *loop) {
    loop->stop = true;
}

int timer_set(struct loop *loop, struct timer *timer, nsec_t at) {
    if (at == NSEC_NEVER) {
        timer_cancel(loop, timer);
        return 0;
    }
    return timer_heap_set(&loop->timers, timer, at);
}

void timer_cancel(struct loop *loop, struct timer *timer) {
    timer_heap_remove(&loop->timers, timer);
}
