/* SPDX-License-Identifier: MIT */
/* Serves who comes first, by servers that are busy for a time that is known. */
#include "slowapi/queue.h"
#include "base/attr.h"
#include <string.h>

void queue_clear(struct queue *queue) {
    memset(queue->free_at, 0, sizeof(queue->free_at));
    queue->head = 0;
    queue->waiting = 0;
    queue->requests = queue->refused = 0;
}

/* An empty ring begins anew: a queue that is never long touches one page of it only. */
static void drop_served(struct queue *queue, nsec_t now) {
    while (queue->waiting > 0 && queue->starts[queue->head] <= now) {
        queue->head = (queue->head + 1) % SLOWAPI_QUEUE_WAITING;
        queue->waiting--;
    }
    if (queue->waiting == 0)
        queue->head = 0;
}

static nsec_t *first_free(struct queue *queue, int64_t workers) {
    nsec_t *first = &queue->free_at[0];

    for (int64_t i = 1; i < workers; i++)
        if (queue->free_at[i] < *first)
            first = &queue->free_at[i];
    return first;
}

static void describe(struct queue *queue, const struct queue_ask *ask) {
    struct slice name = slice_take(ask->name, sizeof(queue->name) - 1);

    queue->workers = (uint32_t)ask->workers;
    queue->limit = (uint32_t)ask->limit;
    if (name.len > 0)
        memcpy(queue->name, name.ptr, name.len);
    queue->name[name.len] = '\0';
}

struct queue_turn queue_take(struct queue *queue, const struct queue_ask *ask, nsec_t now) {
    nsec_t *server = first_free(queue, ask->workers);
    nsec_t start = *server > now ? *server : now;

    describe(queue, ask);
    drop_served(queue, now);
    queue->requests++;
    if (start > now && queue->waiting >= (uint64_t)ask->limit) {
        queue->refused++;
        nsec_t room_at = queue->waiting > 0 ? queue->starts[queue->head] : start;
        return (struct queue_turn){ .is_full = true, .retry_after = room_at - now };
    }
    if (start > now) {
        queue->starts[(queue->head + queue->waiting) % SLOWAPI_QUEUE_WAITING] = start;
        queue->waiting++;
    }
    *server = deadline_after(start, ask->service);
    return (struct queue_turn){ .wait = start - now };
}

struct queue_view queue_look(struct queue *queue, nsec_t now) {
    struct queue_view view = { .workers = queue->workers,
                               .limit = queue->limit,
                               .requests = queue->requests,
                               .refused = queue->refused };

    drop_served(queue, now);
    view.waiting = queue->waiting;
    for (size_t i = 0; i < ARRAY_LEN(queue->free_at); i++)
        view.busy += queue->free_at[i] > now;
    memcpy(view.name, queue->name, sizeof(view.name));
    return view;
}
