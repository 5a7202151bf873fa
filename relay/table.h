/* SPDX-License-Identifier: MIT */
/* The proxies of a server: where they listen, whom they stand in front of, and what is done to
 * their connections; in memory that the workers share, so that a change through any of them is one
 * of all. */
#ifndef RELAY_TABLE_H
#define RELAY_TABLE_H

#include "base/bucket.h"
#include "base/option.h"
#include "base/prometheus.h"
#include "net/address.h"
#include "net/listeners.h"
#include "relay/counts.h"
#include <jansson.h>
#include <pthread.h>

struct relay_entry {
    char name[ADDRESS_TEXT_BYTES], listen[ADDRESS_TEXT_BYTES], target[ADDRESS_TEXT_BYTES];
    char first[RELAY_TOXICS_TEXT];  /* toxics of the command line, without the name */
    char toxics[RELAY_TOXICS_TEXT]; /* toxics in force; guarded by the mutex */
    _Atomic uint32_t generation;    /* rises when they change */
    _Atomic bool enabled;
    _Atomic int64_t open; /* connections, of all workers */
    struct bucket shared[RELAY_WAYS];
    uint64_t base[RELAY_COUNTERS_MAX], base_faults[RELAY_FAULT_KINDS]; /* at the last reset */
};

struct relay_table {
    pthread_mutex_t mutex;
    size_t size_bytes, count, workers_max;
    int news_fd; /* an eventfd that is written after a change; every worker sees each as an edge */
    int backlog;
    struct listeners *sockets; /* each process has its own copy, at one and the same place */
    struct relay_entry entries[LISTENERS_MAX];
    _Atomic size_t slots;         /* 0..slots-1 may hold something */
    struct relay_counts counts[]; /* [worker * LISTENERS_MAX + entry] */
};

/* Whether it is LISTEN=TARGET[?TOXICS]: 0, or -EINVAL with what is allowed. */
NODISCARD int relay_table_check(const char *text, struct error *err);

/* Opens what `proxies` ask for, which were checked, as `sockets`, which outlive the table; before
 * fork. 0, or -errno with a reason; to be freed in both cases. */
NODISCARD int relay_table_open(struct relay_table **ret, struct listeners *sockets,
                               const struct option_strings *proxies, size_t workers_max,
                               int backlog, struct error *err);

/* One line for each proxy on stderr. */
void relay_table_announce(const struct relay_table *table, const char *name);

/* Closes the sockets of this process; connections are refused when all did. */
void relay_table_close_sockets(struct relay_table *table);

/* Refuses connections from now on, in every process. NULL-safe. */
void relay_table_refuse(struct relay_table *table);

void relay_table_free(struct relay_table *table); /* NULL-safe; closes the sockets, too */

/* The counters of a worker for an entry. */
struct relay_counts *relay_table_counts(struct relay_table *table, size_t worker, size_t entry);

/* To be called by a worker when it starts: the last owner of its place may have died. */
void relay_table_adopt(struct relay_table *table, size_t worker);

/* Copies the toxics in force, parsed, and the generation that they are of. */
void relay_table_toxics(struct relay_table *table, size_t entry, struct relay_toxics *ret,
                        uint32_t *ret_generation);

/* --- for the control endpoint ----------------------------------------------------------------- */

enum relay_edit { RELAY_REPLACE, RELAY_MERGE, RELAY_RESTORE };

/* Changes the toxics of the proxy that the query names, `name=NAME` or `listen=ADDRESS`, or of all
 * when it is empty and `edit` restores. 0, -ENOENT (no such proxy) or -errno with a reason, and
 * nothing changed. */
NODISCARD int relay_table_edit(struct relay_table *table, enum relay_edit edit, struct slice query,
                               struct slice text, struct error *err);

/* An array with an object for each proxy; NULL when out of memory. */
NODISCARD json_t *relay_table_json(struct relay_table *table);

void relay_table_put_metrics(struct relay_table *table, struct prometheus *p);

/* Counts from now on. */
void relay_table_reset(struct relay_table *table);

#endif
