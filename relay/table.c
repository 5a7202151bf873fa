/* SPDX-License-Identifier: MIT */
/* Opens the proxies that the command line asks for, changes what is done to them, and tells of
 * them. */
#include "relay/table.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/escape.h"
#include "base/log.h"
#include "base/robust_mutex.h"
#include "net/listener.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define ALLOWED                                                                                   \
    "LISTEN=TARGET and maybe ?TOXICS; both are HOST:PORT, [IPv6]:PORT, unix:/path, or a port of " \
    "127.0.0.1"

static const char *const counter_names[] = {
#define NAME_OF(name, NAME, help) #name,
    RELAY_COUNTERS(NAME_OF)
#undef NAME_OF
};

static const char *const counter_helps[] = {
#define HELP_OF(name, NAME, help) help ".",
    RELAY_COUNTERS(HELP_OF)
#undef HELP_OF
};

/* --- the spelling ----------------------------------------------------------------------------- */

struct table_spec {
    struct slice listen, target, toxics;
};

/* The '=' between the addresses: the mode of a unix socket has one of its own. */
static size_t find_equals(struct slice text) {
    static const struct slice mode = SLICE_INIT("?mode=");
    size_t at = slice_find(text, '=');

    if (!slice_starts_with(text, SLICE("unix:")) || at + 1 < mode.len || at == text.len ||
        !slice_eq(slice_take(slice_drop(text, at + 1 - mode.len), mode.len), mode))
        return at;
    return at + 1 + slice_find(slice_drop(text, at + 1), '=');
}

static int take_apart(const char *text, struct table_spec *ret) {
    struct slice all = slice_str(text);
    size_t at = find_equals(all);
    struct endpoint endpoint;

    if (at >= all.len)
        return -EINVAL;
    ret->listen = slice_take(all, at);
    ret->toxics = slice_drop(all, at + 1);
    ret->target = slice_cut(&ret->toxics, '?');
    if (ret->listen.len >= ADDRESS_TEXT_BYTES || ret->target.len >= ADDRESS_TEXT_BYTES)
        return -EINVAL;
    if (endpoint_parse(ret->listen, 0, &endpoint, NULL) < 0 ||
        endpoint_parse(ret->target, 0, &endpoint, NULL) < 0 || endpoint.mode != 0)
        return -EINVAL;
    return endpoint.is_unix || endpoint.port != 0 ? 0 : -EINVAL;
}

/* Too large for the stack: mem_free. 0, or -errno with a reason and NULL. */
static int parse_toxics(struct slice text, struct relay_toxics **ret, struct error *err) {
    *ret = mem_alloc(sizeof(**ret));
    if (*ret == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    int rc = relay_toxics_parse(text, *ret, err);
    if (rc < 0) {
        mem_free(*ret);
        *ret = NULL;
    }
    return rc;
}

int relay_table_check(const char *text, struct error *err) {
    struct table_spec spec;
    struct relay_toxics *toxics;

    if (take_apart(text, &spec) < 0)
        return error_set(err, -EINVAL, ALLOWED);
    int rc = parse_toxics(spec.toxics, &toxics, err);
    mem_free(toxics);
    return rc;
}

/* --- listening -------------------------------------------------------------------------------- */

static bool is_unix(const struct relay_table *table, size_t i) {
    return table->sockets->bound[i].any.sa_family == AF_UNIX;
}

/* Closes and opens the listening socket for all processes that have it: shutdown(2) of one that
 * listens is Linux's own way, after which it can listen again. One whose port the kernel chose has
 * lost that, though getsockname(2) tells it still, and has to be bound first. Unix sockets cannot:
 * their connections are closed as they come. */
static int stand(struct relay_table *table, size_t i, bool enabled, struct error *err) {
    int fd = table->sockets->fds[i], rc = 0;
    const struct address *bound = &table->sockets->bound[i];
    char text[ADDRESS_TEXT_BYTES];

    if (table->sockets->count == 0)
        return error_set(err, -EBUSY, "the worker that was asked is stopping");
    if (is_unix(table, i))
        return 0;
    if (!enabled)
        return shutdown(fd, SHUT_RDWR) == 0 || errno == ENOTCONN
                   ? 0
                   : error_set(err, -errno, "cannot close %s: %s", address_format(bound, text),
                               strerrordesc_np(errno));
    if (bind(fd, &bound->any, bound->len) < 0 && errno != EINVAL) /* EINVAL: it still is bound */
        rc = -errno;
    if (rc == 0 && listen(fd, table->backlog) < 0)
        rc = -errno;
    return rc == 0 ? 0
                   : error_set(err, rc, "cannot listen on %s again: %s",
                               address_format(bound, text), strerrordesc_np(-rc));
}

static void copy(char *to, size_t size, struct slice text) {
    snprintf(to, size, "%.*s", (int)text.len, text.ptr);
}

static int fill(struct relay_table *table, size_t i, const struct table_spec *spec,
                struct error *err) {
    struct relay_entry *entry = &table->entries[i];
    struct relay_toxics *toxics;

    int rc = parse_toxics(spec->toxics, &toxics, err);
    if (toxics == NULL)
        return rc;
    address_format(&table->sockets->bound[i], entry->listen);
    copy(entry->target, sizeof(entry->target), spec->target);
    copy(entry->name, sizeof(entry->name),
         slice_str(toxics->name[0] != '\0' ? toxics->name : entry->listen));
    rc = relay_toxics_change(spec->toxics, SLICE("name="), entry->first, err);
    memcpy(entry->toxics, entry->first, sizeof(entry->toxics));
    for (size_t k = 0; k < i && rc == 0; k++)
        if (strcmp(table->entries[k].name, entry->name) == 0)
            rc = error_set(err, -EINVAL, "two proxies have the name %s", entry->name);
    atomic_store(&entry->enabled, toxics->enabled);
    if (rc == 0 && !toxics->enabled)
        rc = stand(table, i, false, err);
    mem_free(toxics);
    return rc;
}

int relay_table_open(struct relay_table **ret, struct listeners *sockets,
                     const struct option_strings *proxies, size_t workers_max, int backlog,
                     struct error *err) {
    size_t size = sizeof(**ret) + sizeof((*ret)->counts[0]) * LISTENERS_MAX * workers_max;
    char listen[LISTENERS_MAX][ADDRESS_TEXT_BYTES];
    struct option_strings addresses = { .count = proxies->count };
    struct table_spec specs[LISTENERS_MAX];

    struct relay_table *table = *ret = mem_share(size);
    if (table == NULL)
        return error_set(err, -ENOMEM, "cannot map shared memory");
    table->size_bytes = size;
    table->workers_max = workers_max;
    table->backlog = backlog;
    robust_mutex_init(&table->mutex);
    table->sockets = sockets;
    table->news_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (table->news_fd < 0)
        return error_set(err, -errno, "cannot make an eventfd: %s", strerrordesc_np(errno));
    for (size_t i = 0; i < proxies->count; i++) {
        if (take_apart(proxies->items[i], &specs[i]) < 0)
            return error_set(err, -EINVAL, ALLOWED);
        copy(listen[i], sizeof(listen[i]), specs[i].listen);
        addresses.items[i] = listen[i];
    }
    int rc = listeners_open(table->sockets, &addresses, backlog, err);
    for (size_t i = 0; i < proxies->count && rc == 0; i++, table->count++)
        rc = fill(table, i, &specs[i], err);
    return rc;
}

void relay_table_announce(const struct relay_table *table, const char *name) {
    for (size_t i = 0; i < table->count; i++)
        log_say("%s: relaying %s to %s\n", name, table->entries[i].listen,
                table->entries[i].target);
}

void relay_table_close_sockets(struct relay_table *table) {
    listeners_close(table->sockets);
}

void relay_table_refuse(struct relay_table *table) {
    if (table != NULL)
        listeners_refuse(table->sockets);
}

void relay_table_free(struct relay_table *table) {
    if (table == NULL)
        return;
    listeners_close(table->sockets);
    if (table->news_fd >= 0)
        close(table->news_fd);
    mem_unshare(table, table->size_bytes);
}

/* --- counters --------------------------------------------------------------------------------- */

struct relay_counts *relay_table_counts(struct relay_table *table, size_t worker, size_t entry) {
    return &table->counts[worker * LISTENERS_MAX + entry];
}

void relay_table_adopt(struct relay_table *table, size_t worker) {
    size_t slots = atomic_load(&table->slots);

    while (slots <= worker && !atomic_compare_exchange_weak(&table->slots, &slots, worker + 1)) {
    }
    for (size_t i = 0; i < table->count; i++) {
        struct relay_counts *counts = relay_table_counts(table, worker, i);
        int64_t left = atomic_exchange(&counts->open, 0);
        atomic_fetch_sub(&table->entries[i].open, left);
        relay_count(counts, RELAY_STOPPED, (uint64_t)left);
    }
}

struct table_sum {
    uint64_t counters[RELAY_COUNTERS_MAX], faults[RELAY_FAULT_KINDS];
};

static void sum_raw(struct relay_table *table, size_t entry, struct table_sum *ret) {
    size_t slots = atomic_load(&table->slots);

    memset(ret, 0, sizeof(*ret));
    for (size_t worker = 0; worker < slots; worker++) {
        const struct relay_counts *counts = relay_table_counts(table, worker, entry);
        for (size_t i = 0; i < RELAY_COUNTERS_MAX; i++)
            ret->counters[i] += atomic_load_explicit(&counts->counters[i], memory_order_relaxed);
        for (size_t i = 0; i < RELAY_FAULT_KINDS; i++)
            ret->faults[i] += atomic_load_explicit(&counts->faults[i], memory_order_relaxed);
    }
}

/* Sums what was counted since the last reset; the caller has the mutex. */
static void sum_up(struct relay_table *table, size_t entry, struct table_sum *ret) {
    sum_raw(table, entry, ret);
    for (size_t i = 0; i < RELAY_COUNTERS_MAX; i++)
        ret->counters[i] -= table->entries[entry].base[i];
    for (size_t i = 0; i < RELAY_FAULT_KINDS; i++)
        ret->faults[i] -= table->entries[entry].base_faults[i];
}

void relay_table_reset(struct relay_table *table) {
    struct table_sum sum;

    robust_mutex_lock(&table->mutex);
    for (size_t i = 0; i < table->count; i++) {
        sum_raw(table, i, &sum);
        memcpy(table->entries[i].base, sum.counters, sizeof(sum.counters));
        memcpy(table->entries[i].base_faults, sum.faults, sizeof(sum.faults));
    }
    pthread_mutex_unlock(&table->mutex);
}

/* --- changes ---------------------------------------------------------------------------------- */

/* The toxics in force have been checked, but for a text that a worker left half written as it died:
 * then nothing is done. */
void relay_table_toxics(struct relay_table *table, size_t entry, struct relay_toxics *ret,
                        uint32_t *ret_generation) {
    struct relay_entry *e = &table->entries[entry];

    robust_mutex_lock(&table->mutex);
    *ret_generation = atomic_load(&e->generation);
    int rc = relay_toxics_parse(slice_str(e->toxics), ret, NULL);
    pthread_mutex_unlock(&table->mutex);
    if (rc < 0)
        rc = relay_toxics_parse(SLICE(""), ret, NULL);
    ASSERT(rc == 0);
}

static int find_entry(struct relay_table *table, struct slice query, size_t *ret,
                      struct error *err) {
    struct slice value = query, name = slice_cut(&value, '=');
    bool by_name = slice_eq(name, SLICE("name"));
    char shown[64];

    if (!by_name && !slice_eq(name, SLICE("listen")))
        return error_set(err, -EINVAL, "the query must be name=NAME or listen=ADDRESS");
    for (size_t i = 0; i < table->count; i++) {
        const struct relay_entry *entry = &table->entries[i];
        if (slice_eq(value, slice_str(by_name ? entry->name : entry->listen))) {
            *ret = i;
            return 0;
        }
    }
    escape_text(shown, sizeof(shown), value);
    return error_set(err, -ENOENT, "no proxy has the %s '%s'", by_name ? "name" : "address", shown);
}

/* Puts `text` in force, which is shorter than RELAY_TOXICS_TEXT; the caller has the mutex. */
static int put_in_force(struct relay_table *table, size_t i, const char *text, struct error *err) {
    struct relay_entry *entry = &table->entries[i];
    struct relay_toxics *toxics;

    int rc = parse_toxics(slice_str(text), &toxics, err);
    if (toxics == NULL)
        return rc;
    if (toxics->name[0] != '\0')
        rc = error_set(err, -EINVAL, "name=%s: only the command line gives names", toxics->name);
    if (rc == 0 && toxics->enabled != atomic_load(&entry->enabled))
        rc = stand(table, i, toxics->enabled, err);
    if (rc == 0) {
        memcpy(entry->toxics, text, strlen(text) + 1);
        atomic_store(&entry->enabled, toxics->enabled);
        atomic_fetch_add(&entry->generation, 1);
    }
    mem_free(toxics);
    return rc;
}

static int edit_one(struct relay_table *table, enum relay_edit edit, size_t i, struct slice text,
                    struct error *err) {
    struct relay_entry *entry = &table->entries[i];
    struct slice before = edit == RELAY_MERGE ? slice_str(entry->toxics) : SLICE("");
    char changed[RELAY_TOXICS_TEXT];

    if (edit == RELAY_RESTORE)
        return put_in_force(table, i, entry->first, err);
    int rc = relay_toxics_change(before, text, changed, err);
    return rc < 0 ? rc : put_in_force(table, i, changed, err);
}

int relay_table_edit(struct relay_table *table, enum relay_edit edit, struct slice query,
                     struct slice text, struct error *err) {
    static const uint64_t one = 1;
    bool all = edit == RELAY_RESTORE && query.len == 0;
    size_t i = 0;
    int rc = all ? 0 : find_entry(table, query, &i, err);

    while (text.len > 0 && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r'))
        text.len--;
    if (rc == 0 && text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL)
        rc = error_set(err, -EINVAL, "the text has a byte that is 0");
    if (rc < 0)
        return rc;
    robust_mutex_lock(&table->mutex);
    for (size_t k = all ? 0 : i; k < (all ? table->count : i + 1) && rc == 0; k++)
        rc = edit_one(table, edit, k, text, err);
    pthread_mutex_unlock(&table->mutex);
    if (write(table->news_fd, &one, sizeof(one)) < 0)
        log_write(LOG_LEVEL_WARN, "cannot wake the workers error=\"%s\"", strerrordesc_np(errno));
    return rc;
}

/* --- telling ---------------------------------------------------------------------------------- */

static json_t *entry_json(struct relay_table *table, size_t i) {
    const struct relay_entry *entry = &table->entries[i];
    json_t *faults = json_object();
    struct table_sum sum;

    sum_up(table, i, &sum);
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:b, s:s, s:I}", "name", entry->name, "listen", entry->listen,
                  "target", entry->target, "enabled", (int)atomic_load(&entry->enabled), "toxics",
                  entry->toxics, "open", (json_int_t)atomic_load(&entry->open));
    for (size_t k = 0; k < RELAY_COUNTERS_MAX; k++)
        json_object_set_new(json, counter_names[k], json_integer((json_int_t)sum.counters[k]));
    for (size_t k = 0; k < RELAY_FAULT_KINDS; k++)
        json_object_set_new(faults, relay_fault_infos[k].name.ptr,
                            json_integer((json_int_t)sum.faults[k]));
    json_object_set_new(json, "faults", faults);
    return json;
}

json_t *relay_table_json(struct relay_table *table) {
    json_t *list = json_array();

    robust_mutex_lock(&table->mutex);
    for (size_t i = 0; i < table->count; i++)
        json_array_append_new(list, entry_json(table, i));
    pthread_mutex_unlock(&table->mutex);
    return list;
}

void relay_table_put_metrics(struct relay_table *table, struct prometheus *p) {
    struct table_sum sums[LISTENERS_MAX];
    static const char *const names[] = {
#define METRIC_OF(name, NAME, help) "tcp_" #name,
        RELAY_COUNTERS(METRIC_OF)
#undef METRIC_OF
    };

    robust_mutex_lock(&table->mutex);
    for (size_t i = 0; i < table->count; i++)
        sum_up(table, i, &sums[i]);
    pthread_mutex_unlock(&table->mutex);

    prometheus_family(p, "tcp_open", PROMETHEUS_GAUGE, "TCP connections that are open.");
    for (size_t i = 0; i < table->count; i++) {
        const struct prometheus_label label = { "proxy", table->entries[i].name };
        prometheus_count(p, &label, 1, atomic_load(&table->entries[i].open));
    }
    for (size_t k = 0; k < RELAY_COUNTERS_MAX; k++) {
        prometheus_family(p, names[k], PROMETHEUS_COUNTER, counter_helps[k]);
        for (size_t i = 0; i < table->count; i++) {
            const struct prometheus_label label = { "proxy", table->entries[i].name };
            prometheus_count(p, &label, 1, (int64_t)sums[i].counters[k]);
        }
    }
    prometheus_family(p, "tcp_faults", PROMETHEUS_COUNTER, "Faults that struck, by kind.");
    for (size_t i = 0; i < table->count; i++) {
        for (size_t k = 0; k < RELAY_FAULT_KINDS; k++) {
            const struct prometheus_label labels[] = { { "proxy", table->entries[i].name },
                                                       { "kind", relay_fault_infos[k].name.ptr } };
            prometheus_count(p, labels, 2, (int64_t)sums[i].faults[k]);
        }
    }
}
