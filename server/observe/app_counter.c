/* SPDX-License-Identifier: MIT */
/* Finds the counters of an application by name, and takes new ones. */
#include "server/observe/app_counter.h"
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>

enum { PATIENCE = 64 }; /* looks at a counter that is being named */

/* The rules of Prometheus for names, without the colon. */
static bool is_counter_name(const char *name) {
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

    return len > 0 && len < APP_COUNTER_NAME_BYTES && name[len] == '\0' &&
           (name[0] < '0' || name[0] > '9');
}

/* True once the counter has this name, by whatever thread. */
static bool claim(struct app_counter *c, const char *name) {
    int expected = APP_COUNTER_FREE;

    if (atomic_compare_exchange_strong(&c->state, &expected, APP_COUNTER_COMING)) {
        strcpy(c->name, name);
        atomic_store_explicit(&c->state, APP_COUNTER_NAMED, memory_order_release);
        return true;
    }
    for (unsigned i = 0; expected == APP_COUNTER_COMING && i < PATIENCE; i++) {
        sched_yield(); /* to its thread; a process that died meanwhile names it no more */
        expected = atomic_load_explicit(&c->state, memory_order_acquire);
    }
    return expected == APP_COUNTER_NAMED && strcmp(c->name, name) == 0;
}

int app_counter_add(struct app_counter *counters, const char *name, unsigned long long amount) {
    for (unsigned i = 0; i < APP_COUNTERS_MAX; i++) {
        struct app_counter *c = &counters[i];
        int state = atomic_load_explicit(&c->state, memory_order_acquire);

        if (state == APP_COUNTER_FREE && !is_counter_name(name))
            return -EINVAL;
        if (state == APP_COUNTER_NAMED ? strcmp(c->name, name) == 0 : claim(c, name)) {
            atomic_fetch_add_explicit(&c->value, amount, memory_order_relaxed);
            return 0;
        }
    }
    return is_counter_name(name) ? -ENOSPC : -EINVAL;
}
