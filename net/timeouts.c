/* SPDX-License-Identifier: MIT */
/* A queue of deadlines that all have the same span. */
#include "net/timeouts.h"
#include "base/assert.h"

static bool is_empty(const struct timeouts *q) {
    return q->ends.next == &q->ends;
}

static void on_timer(struct timer *timer) {
    struct timeouts *q = CONTAINER_OF(timer, struct timeouts, timer);
    nsec_t now = loop_now(q->loop);
    while (!is_empty(q) && q->ends.next->at <= now) {
        struct timeout *oldest = q->ends.next;
        timeouts_leave(oldest);
        q->expired(q, oldest);
    }
    /* The timer has just left the heap, so there is room for it to come back. */
    int rc = is_empty(q) || timer_armed(timer) ? 0 : timer_set(q->loop, timer, q->ends.next->at);
    ASSERT(rc == 0);
}

void timeouts_init(struct timeouts *q, struct loop *loop, nsec_t span,
                   void (*expired)(struct timeouts *, struct timeout *)) {
    *q = (struct timeouts){
        .timer = { .fire = on_timer },
        .loop = loop,
        .span = span,
        .expired = expired,
    };
    q->ends.prev = q->ends.next = &q->ends;
}

void timeouts_close(struct timeouts *q) {
    timer_cancel(q->loop, &q->timer);
    while (!is_empty(q))
        timeouts_leave(q->ends.next);
}

void timeouts_leave(struct timeout *t) {
    if (t->next == NULL)
        return;
    t->prev->next = t->next;
    t->next->prev = t->prev;
    t->prev = t->next = NULL;
}

int timeouts_join(struct timeouts *q, struct timeout *t, nsec_t now) {
    timeouts_leave(t);
    t->at = deadline_after(now, q->span);
    t->prev = q->ends.prev;
    t->next = &q->ends;
    q->ends.prev->next = t;
    q->ends.prev = t;
    return timer_armed(&q->timer) ? 0 : timer_set(q->loop, &q->timer, t->at);
}
