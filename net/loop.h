/* SPDX-License-Identifier: MIT */
/* One libevent base per thread, without locks. Everything that waits hangs on one of these.
 *
 * Timers do not go through libevent: its precise timers cost one timerfd_settime per turn whether
 * or not the next deadline moved. A loop owns a heap of intrusive timers and one timerfd, armed
 * only when the earliest deadline moves forward. A turn: descriptors, then due timers, then
 * deferred work. */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include "base/clock.h"
#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct loop;
struct watch;

/* NULL with a reason when the kernel or memory refuses. A loop belongs to the thread that runs it;
 * create it after fork. */
NODISCARD struct loop *loop_new(struct error *err);

/* Runs what is still deferred, and forgets the timers. */
void loop_free(struct loop *loop);

/* Runs until loop_stop (from a callback, or from a signal watch). 0 or -errno. It can run again. */
NODISCARD int loop_run(struct loop *loop);

/* Ends loop_run after the current turn; before loop_run: it returns at once. */
void loop_stop(struct loop *loop);

/* Monotonic time, read once per turn of the loop: cheap, up to one turn old. Fresh outside
 * loop_run. */
nsec_t loop_now(struct loop *loop);

/* Calls `turned` at the end of every turn in which somebody looked at the clock, with when that was
 * and the time now: the turn took so long, waiting for events not included. NULL ends it. */
void loop_observe(struct loop *loop, void (*turned)(void *arg, nsec_t began, nsec_t ended),
                  void *arg);

/* Returns the time at which the turn that runs now began, as `turned` is told; 0: the loop waits
 * for events, or nobody has looked at the clock yet. From any thread. */
nsec_t loop_turn_began(const struct loop *loop);

/* Calls `awoke` in every such turn, too, but when somebody first looks at the clock. */
void loop_on_awake(struct loop *loop, void (*awoke)(nsec_t now));

/* For evhttp (net/control.c), signals and acceptors; connections use watches. */
struct event_base *loop_base(struct loop *loop);

/* Descriptors that several processes wait for, of which the kernel is to wake one (EPOLLEXCLUSIVE,
 * epoll_ctl(2)): the first in the queue of those that sleep. `fd` has one event on this loop,
 * added, for EV_READ without EV_ET. Entering puts the loop at the end of the queue, also when it
 * stands there already; leaving, which cannot fail, keeps the event from coming, though libevent
 * has it still. 0 or -errno, when libevent's plain registration is all that there is. */
NODISCARD int loop_enter_queue(struct loop *loop, int fd);
void loop_leave_queue(struct loop *loop, int fd);

/* Work that must not happen inside the current callback (freeing the object it belongs to): runs
 * once when the turn ends. Embed it, zeroed; it must stay put until it has run, and may free itself
 * then. Adding a pending one again is a no-op. */
struct deferred {
    struct deferred *next;
    void (*run)(struct deferred *);
    bool pending;
};
void loop_defer(struct loop *loop, struct deferred *work);

/* Takes it back; walks the list of what is pending. */
void loop_undefer(struct loop *loop, struct deferred *work);

/* Heavy work computes so long that others would wait for it, like a step of a handshake: at most
 * LOOP_HEAVY_MAX pieces of it are done in one turn, so that all else comes in between. True: do it
 * now. False: `work` runs when its turn comes, behind those that came before, and does its piece
 * without asking again. Asking again meanwhile is a no-op. */
enum { LOOP_HEAVY_MAX = 2 };
NODISCARD bool loop_may_do_heavy(struct loop *loop, struct deferred *work);

/* Takes it back. */
void loop_drop_heavy(struct loop *loop, struct deferred *work);

/* --- timers --------------------------------------------------------------------------------- */

/* A timer lies in the object that it belongs to; zero it before the first use. It fires once, at
 * `at` or later, never earlier. Its callback may set and cancel any timer, itself included. Cancel
 * an armed one before its memory goes. */
struct timer {
    nsec_t at;
    uint32_t slot; /* 1-based place in the heap, 0 when not armed */
    void (*fire)(struct timer *);
};

static inline bool timer_armed(const struct timer *timer) {
    return timer->slot != 0;
}

/* (Re)arms; NSEC_NEVER disarms. 0 or -ENOMEM. */
NODISCARD int timer_set(struct loop *loop, struct timer *timer, nsec_t at);
void timer_cancel(struct loop *loop, struct timer *timer);

#endif
