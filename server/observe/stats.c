/* SPDX-License-Identifier: MIT */
/* Maps the counters, and counts what takes more than one instruction. */
#include "server/observe/stats.h"
#include "base/escape.h"
#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "counters are shared between processes");

enum {
    PROBES_MAX = 64, /* looks at entries for a free one */
    PATIENCE = 64,   /* looks at a counter that is being named */
};

int stats_open(struct error *err) {
    int fd = memfd_create("srv-stats", MFD_CLOEXEC);

    return fd >= 0 ? fd
                   : error_set(err, -errno, "cannot make memory for counters: %s",
                               strerrordesc_np(errno));
}

unsigned stats_count(int fd) {
    struct stat status;

    return fstat(fd, &status) == 0 ? (unsigned)(status.st_size / (off_t)sizeof(struct stats)) : 0;
}

/* Never shrinks it: its last byte, which is written, is that of a worker that has not begun. */
static int grow(int fd, unsigned count) {
    off_t last = (off_t)count * (off_t)sizeof(struct stats) - 1;

    if (stats_count(fd) >= count)
        return 0;
    return pwrite(fd, "", 1, last) == 1 ? 0 : -errno;
}

struct stats *stats_map(int fd, unsigned count, struct error *err) {
    size_t size = count * sizeof(struct stats);
    int rc = grow(fd, count);
    void *memory = MAP_FAILED;

    if (rc == 0) {
        memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
        rc = memory == MAP_FAILED ? -errno : 0;
    }
    if (rc == 0)
        return memory;
    error_set(err, rc, "cannot map memory for counters: %s", strerrordesc_np(-rc));
    return NULL;
}

void stats_unmap(struct stats *stats, unsigned count) {
    if (stats != NULL)
        munmap(stats, count * sizeof(struct stats));
}

enum { KIND_counter, KIND_gauge };
#define VALUE_IS_GAUGE(name, kind, help) [STATS_##name] = KIND_##kind == KIND_gauge,
static const bool is_gauge[] = { STATS_VALUES(VALUE_IS_GAUGE) };
#undef VALUE_IS_GAUGE

void stats_start(struct stats *s, bool lists_requests) {
    for (size_t i = 0; i < STATS_VALUE_COUNT; i++)
        if (is_gauge[i])
            atomic_store(&s->values[i], 0);
    stats_current_clear(s);
    s->lists_requests = lists_requests;
    for (size_t i = 0; s->lists_requests && i < STATS_ENTRIES; i++) {
        if (atomic_load(&s->entries[i].doing) != STATS_NOTHING)
            atomic_store(&s->entries[i].doing, STATS_NOTHING);
    }
    stats_add(s, STATS_starts, 1);
    atomic_store(&s->loop_lag_max, 0);
    atomic_store(&s->pid, getpid());
    atomic_store(&s->life, STATS_STARTING);
}

void stats_set(struct stats *s, enum stats_value value, int64_t to) {
    atomic_store_explicit(&s->values[value], (unsigned long long)to, memory_order_relaxed);
}

unsigned long long stats_get(const struct stats *s, enum stats_value value) {
    return atomic_load_explicit(&s->values[value], memory_order_relaxed);
}

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

int stats_app_add(struct stats *s, const char *name, unsigned long long amount) {
    for (unsigned i = 0; i < APP_COUNTERS_MAX; i++) {
        struct app_counter *c = &s->app[i];
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

/* "GET /?delay=1", cut. */
static void describe(char what[STATS_WHAT_BYTES], struct slice method, struct slice target) {
    size_t room = STATS_WHAT_BYTES - 2, head = method.len < room ? method.len : room;
    size_t tail = target.len < room - head ? target.len : room - head;

    memcpy(what, method.ptr, head);
    what[head] = ' ';
    memcpy(what + head + 1, target.ptr, tail);
    what[head + 1 + tail] = '\0';
}

struct stats_entry *stats_enter(struct stats *s, struct slice method, struct slice target,
                                nsec_t now) {
    unsigned at;

    if (!s->lists_requests)
        return NULL;
    at = atomic_fetch_add_explicit(&s->hint, 1, memory_order_relaxed);
    for (unsigned i = 0; i < PROBES_MAX; i++) {
        struct stats_entry *e = &s->entries[(at + i) % STATS_ENTRIES];
        int expected = STATS_NOTHING;

        if (!atomic_compare_exchange_strong(&e->doing, &expected, STATS_COMING))
            continue;
        e->ready_at = now;
        describe(e->what, method, target);
        stats_does(e, STATS_QUEUE, now);
        return e;
    }
    return NULL;
}

void stats_current_set(struct stats *s, struct slice method, struct slice target, nsec_t now) {
    describe(s->current.what, method, target);
    atomic_store_explicit(&s->current.since, now, memory_order_release);
}

void stats_current_clear(struct stats *s) {
    atomic_store_explicit(&s->current.since, 0, memory_order_relaxed);
}

void stats_current_print(const struct stats *s, char *text, size_t size) {
    nsec_t since = atomic_load_explicit(&s->current.since, memory_order_acquire);
    char what[4 * STATS_WHAT_BYTES];

    escape_quoted(what, sizeof(what),
                  slice_of(s->current.what, strnlen(s->current.what, STATS_WHAT_BYTES - 1)));
    if (since == 0)
        snprintf(text, size, "request=none");
    else
        snprintf(text, size, "request=\"%s\" for_seconds=%.1f", what,
                 (double)(clock_now() - since) / NSEC_PER_SEC);
}
