/* SPDX-License-Identifier: MIT */
/* Prints the shared counters, and runs the control endpoint in a process of its own. */
#include "server/observe/admin.h"
#include "base/json.h"
#include "base/log.h"
#include "base/prometheus.h"
#include "net/control.h"
#include "net/listener.h"
#include "proc/inherit.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { METRICS_BYTES_MAX = 16777216 };

static const struct value_row {
    const char *name, *help;
    enum prometheus_kind kind;
} values[] = {
#define VALUE_KIND_counter          PROMETHEUS_COUNTER
#define VALUE_KIND_gauge            PROMETHEUS_GAUGE
#define VALUE_ROW(name, kind, help) { #name, help, VALUE_KIND_##kind },
    STATS_VALUES(VALUE_ROW)
#undef VALUE_ROW
};

static const char *const doing_words[] = {
    [STATS_NOTHING] = "nothing",   [STATS_QUEUE] = "queue",       [STATS_CPU] = "cpu",
    [STATS_UPSTREAM] = "upstream", [STATS_DATABASE] = "database", [STATS_SLEEP] = "sleep",
    [STATS_CLIENT] = "client",
};
static const char *const life_words[] = {
    [STATS_ABSENT] = "absent",
    [STATS_STARTING] = "starting",
    [STATS_READY] = "ready",
    [STATS_STOPPING] = "stopping",
};

/* Whether a worker was started and is still a process. */
static bool is_alive(const struct stats *s) {
    pid_t pid = atomic_load(&s->pid);

    return pid > 0 && kill(pid, 0) == 0;
}

/* Figures of the kernel about a process; zeros when it has gone, or without /proc. */
struct process_figures {
    unsigned long rss_kib, threads;
};

static struct process_figures look_at(pid_t pid) {
    struct process_figures p = { 0 };
    char path[40], line[256];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        sscanf(line, "VmRSS: %lu", &p.rss_kib);
        sscanf(line, "Threads: %lu", &p.threads);
    }
    if (file != NULL)
        fclose(file);
    return p;
}

static unsigned long long load(const atomic_ullong *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* --- Prometheus ----------------------------------------------------------------- */

/* The labels of a sample: the worker, and the status where there is one. */
struct worker_labels {
    struct prometheus_label list[2];
    char worker[12], status[12];
};

static void set_worker(struct worker_labels *l, unsigned index) {
    snprintf(l->worker, sizeof(l->worker), "%u", index + 1);
    l->list[0] = (struct prometheus_label){ "worker", l->worker };
    l->list[1] = (struct prometheus_label){ "status", l->status };
}

/* Counters of a worker outlive it; gauges do not. Without a certificate none ends. */
static bool is_told(const struct stats *s, const struct value_row *row) {
    if (row == &values[STATS_tls_certificate_expiry_seconds] &&
        stats_get(s, STATS_tls_certificate_expiry_seconds) == 0)
        return false;
    return row->kind == PROMETHEUS_COUNTER ? atomic_load(&s->life) != STATS_ABSENT : is_alive(s);
}

static void print_values(const struct admin *o, struct prometheus *p) {
    struct worker_labels l;

    for (unsigned v = 0; v < STATS_VALUE_COUNT; v++) {
        prometheus_family(p, values[v].name, values[v].kind, values[v].help);
        for (unsigned i = 0; i < o->count; i++) {
            set_worker(&l, i);
            if (is_told(&o->stats[i], &values[v]))
                prometheus_count(p, l.list, 1, (int64_t)stats_get(&o->stats[i], v));
        }
    }
}

static void print_statuses(const struct admin *o, struct prometheus *p) {
    struct worker_labels l;

    prometheus_family(p, "requests", PROMETHEUS_COUNTER, "Answers sent, by status.");
    for (unsigned i = 0; i < o->count; i++) {
        if (atomic_load(&o->stats[i].life) == STATS_ABSENT)
            continue;
        set_worker(&l, i);
        for (unsigned status = 0; status < STATS_STATUS_MAX; status++) {
            unsigned long long n = load(&o->stats[i].by_status[status]);
            snprintf(l.status, sizeof(l.status), "%u", status);
            if (n > 0)
                prometheus_count(p, l.list, 2, (int64_t)n);
        }
    }
}

/* The counter of that name; NULL: the worker has none. */
static const struct app_counter *find_app_counter(const struct stats *s, const char *name) {
    for (unsigned k = 0; k < APP_COUNTERS_MAX; k++)
        if (atomic_load(&s->app[k].state) == APP_COUNTER_NAMED && strcmp(s->app[k].name, name) == 0)
            return &s->app[k];
    return NULL;
}

static void print_app_counter(const struct admin *o, struct prometheus *p, const char *name,
                              unsigned first) {
    char family[APP_COUNTER_NAME_BYTES + sizeof("app_")];
    const struct app_counter *c;
    struct worker_labels l;

    snprintf(family, sizeof(family), "app_%s", name);
    prometheus_family(p, family, PROMETHEUS_COUNTER, "Counted by the application.");
    for (unsigned i = first; i < o->count; i++) {
        set_worker(&l, i);
        c = find_app_counter(&o->stats[i], name);
        if (c != NULL)
            prometheus_count(p, l.list, 1, (int64_t)load(&c->value));
    }
}

/* Each name once, where the first worker has it. */
static void print_app(const struct admin *o, struct prometheus *p) {
    for (unsigned i = 0; i < o->count; i++) {
        for (unsigned k = 0; k < APP_COUNTERS_MAX; k++) {
            const struct app_counter *c = &o->stats[i].app[k];
            bool is_new = atomic_load(&c->state) == APP_COUNTER_NAMED;

            for (unsigned before = 0; is_new && before < i; before++)
                is_new = find_app_counter(&o->stats[before], c->name) == NULL;
            if (is_new)
                print_app_counter(o, p, c->name, i);
        }
    }
}

static const struct hist_row {
    const char *name, *help;
    size_t offset; /* in struct stats */
} hists[] = {
    { "request_seconds", "From the complete request to its answer written.",
      offsetof(struct stats, latency) },
    { "queue_wait_seconds", "From the complete request to a slot.",
      offsetof(struct stats, queue_wait) },
    { "db_wait_seconds", "Waits for a database connection.", offsetof(struct stats, db_wait) },
    { "db_statement_seconds", "Statements, without waiting and connecting.",
      offsetof(struct stats, db_run) },
    { "loop_lag_seconds", "How long the turns of the worker's loop took.",
      offsetof(struct stats, loop_lag) },
};

static const struct hist_shared *hist_of(const struct stats *s, const struct hist_row *row) {
    return (const void *)((const char *)s + row->offset);
}

static void print_hists(const struct admin *o, struct prometheus *p) {
    static const uint64_t bounds[] = { /* microseconds */
                                       1000,     2000,     5000,     10000,    20000,   50000,
                                       100000,   200000,   500000,   1000000,  2000000, 5000000,
                                       10000000, 20000000, 60000000, 300000000
    };
    struct worker_labels l;

    for (const struct hist_row *row = hists; row < hists + ARRAY_LEN(hists); row++) {
        prometheus_family(p, row->name, PROMETHEUS_HISTOGRAM, row->help);
        for (unsigned i = 0; i < o->count; i++) {
            set_worker(&l, i);
            if (atomic_load(&o->stats[i].life) != STATS_ABSENT)
                prometheus_hist(p, l.list, 1, hist_of(&o->stats[i], row), bounds,
                                ARRAY_LEN(bounds));
        }
    }
}

static void print_lag(const struct admin *o, struct prometheus *p) {
    struct worker_labels l;

    prometheus_family(p, "loop_lag_max_seconds", PROMETHEUS_GAUGE, "The longest turn so far.");
    for (unsigned i = 0; i < o->count; i++) {
        set_worker(&l, i);
        if (is_alive(&o->stats[i]))
            prometheus_seconds(p, l.list, 1,
                               (double)atomic_load(&o->stats[i].loop_lag_max) / NSEC_PER_SEC);
    }
}

/* Workers that the kernel does not show are left out. */
static void print_process(const struct admin *o, struct prometheus *p, bool memory) {
    struct worker_labels l;

    for (unsigned i = 0; i < o->count; i++) {
        struct process_figures f = { 0 };

        set_worker(&l, i);
        if (is_alive(&o->stats[i]))
            f = look_at(o->stats[i].pid);
        if (f.threads > 0)
            prometheus_count(p, l.list, 1, (int64_t)(memory ? f.rss_kib * 1024 : f.threads));
    }
}

/* Of all threads; other processes may ask, too (clock_getcpuclockid(3)). */
static void print_cpu(const struct admin *o, struct prometheus *p) {
    struct worker_labels l;

    prometheus_family(p, "worker_cpu_seconds", PROMETHEUS_COUNTER,
                      "CPU time of the worker since it was started.");
    for (unsigned i = 0; i < o->count; i++) {
        struct timespec spent;
        clockid_t clock;

        set_worker(&l, i);
        if (is_alive(&o->stats[i]) && clock_getcpuclockid(o->stats[i].pid, &clock) == 0 &&
            clock_gettime(clock, &spent) == 0)
            prometheus_seconds(p, l.list, 1, (double)spent.tv_sec + (double)spent.tv_nsec / 1e9);
    }
}

static int print_metrics(const struct admin *o, struct buf *out) {
    struct prometheus p = { .out = out, .prefix = "srv" };

    print_statuses(o, &p);
    print_hists(o, &p);
    print_values(o, &p);
    print_app(o, &p);
    print_lag(o, &p);
    prometheus_family(&p, "worker_rss_bytes", PROMETHEUS_GAUGE, "Resident memory of the worker.");
    print_process(o, &p, true);
    prometheus_family(&p, "worker_threads", PROMETHEUS_GAUGE, "Threads of the worker.");
    print_process(o, &p, false);
    print_cpu(o, &p);
    return p.rc;
}

/* --- JSON ------------------------------------------------------------------------- */

static json_t *json_values(const struct stats *s) {
    json_t *object = json_object();

    for (unsigned v = 0; v < STATS_VALUE_COUNT; v++)
        if (is_told(s, &values[v]))
            json_object_set_new(object, values[v].name, json_integer((json_int_t)stats_get(s, v)));
    return object;
}

static json_t *json_statuses(const struct stats *s) {
    json_t *object = json_object();
    char key[8];

    for (unsigned status = 0; status < STATS_STATUS_MAX; status++) {
        unsigned long long n = load(&s->by_status[status]);
        snprintf(key, sizeof(key), "%u", status);
        if (n > 0)
            json_object_set_new(object, key, json_integer((json_int_t)n));
    }
    return object;
}

static json_t *json_app(const struct stats *s) {
    json_t *object = json_object();

    for (unsigned k = 0; k < APP_COUNTERS_MAX; k++)
        if (atomic_load(&s->app[k].state) == APP_COUNTER_NAMED)
            json_object_set_new(object, s->app[k].name,
                                json_integer((json_int_t)load(&s->app[k].value)));
    return object;
}

static json_t *json_worker(const struct stats *s, unsigned index) {
    json_t *object = json_values(s);
    struct process_figures p = look_at(s->pid);
    bool alive = is_alive(s);

    json_object_set_new(object, "worker", json_integer(index));
    json_object_set_new(object, "pid", json_integer(s->pid));
    json_object_set_new(object, "state", json_string(alive ? life_words[s->life] : "dead"));
    if (p.threads > 0) {
        json_object_set_new(object, "rss_bytes", json_integer((json_int_t)p.rss_kib * 1024));
        json_object_set_new(object, "threads", json_integer((json_int_t)p.threads));
    }
    json_object_set_new(object, "requests", json_statuses(s));
    json_object_set_new(object, "app", json_app(s));
    return object;
}

/* Takes the reference. For free(3); NULL when out of memory. */
static char *finish(json_t *root) {
    char *text = json_dumps(root, JSON_INDENT(2) | JSON_ENSURE_ASCII);

    json_decref(root);
    return text;
}

static char *stats_json(const struct admin *o) {
    json_t *root = json_object(), *workers = json_array();

    json_object_set_new(root, "model", json_string(o->config->model->name));
    json_object_set_new(root, "workers", workers);
    for (unsigned i = 0; i < o->count; i++)
        if (atomic_load(&o->stats[i].life) != STATS_ABSENT)
            json_array_append_new(workers, json_worker(&o->stats[i], i + 1));
    return finish(root);
}

/* The request, without its query unless `whole`: that may hold what is nobody else's business. */
static json_t *json_what(const struct stats_entry *e, bool whole) {
    char text[STATS_WHAT_BYTES + sizeof("...")];
    char *query;

    memcpy(text, e->what, STATS_WHAT_BYTES);
    text[STATS_WHAT_BYTES - 1] = '\0';
    query = whole ? NULL : strchr(text, '?');
    if (query != NULL)
        strcpy(query + 1, "...");
    return json_text(slice_str(text), sizeof(text));
}

static json_t *json_doing(const struct stats_entry *e, int doing) {
    struct slice call = slice_of(e->call, strnlen(e->call, STATS_WHAT_BYTES));

    if (doing == STATS_PATCHED) {
        call = slice_cut(&call, ' ');
        return json_sprintf("patched: %.*s", (int)call.len, call.ptr);
    }
    return json_string(doing_words[doing]);
}

/* The other end of what a patched call waits for; NULL when it has none. */
static json_t *json_peer(const struct stats_entry *e, int doing) {
    char text[STATS_WHAT_BYTES];
    struct slice peer;

    if (doing != STATS_PATCHED)
        return NULL;
    memcpy(text, e->call, STATS_WHAT_BYTES);
    text[STATS_WHAT_BYTES - 1] = '\0';
    peer = slice_str(text);
    slice_cut(&peer, ' ');
    return peer.len > 0 ? json_text(peer, STATS_WHAT_BYTES) : NULL;
}

static json_t *json_entry(const struct stats_entry *e, int doing, unsigned worker, unsigned place,
                          bool whole) {
    json_t *object = json_object();
    json_t *peer = json_peer(e, doing);
    nsec_t since = e->since, ready_at = e->ready_at, now = clock_now(); /* in this order */

    json_object_set_new(object, "worker", json_integer(worker));
    json_object_set_new(object, "place", json_integer(place));
    json_object_set_new(object, "request", json_what(e, whole));
    json_object_set_new(object, "waits_for", json_doing(e, doing));
    if (peer != NULL)
        json_object_set_new(object, "peer", peer);
    json_object_set_new(object, "for_seconds", json_real((double)(now - since) / NSEC_PER_SEC));
    json_object_set_new(object, "age_seconds", json_real((double)(now - ready_at) / NSEC_PER_SEC));
    return object;
}

static char *requests_json(const struct admin *o) {
    bool whole = o->config->control_queries;
    json_t *root = json_array();

    for (unsigned i = 0; i < o->count; i++) {
        if (!is_alive(&o->stats[i]))
            continue;
        for (unsigned k = 0; k < STATS_ENTRIES; k++) {
            const struct stats_entry *e = &o->stats[i].entries[k];
            int doing = atomic_load_explicit(&e->doing, memory_order_acquire);
            if (doing != STATS_NOTHING && doing != STATS_COMING)
                json_array_append_new(root, json_entry(e, doing, i + 1, k, whole));
        }
    }
    return finish(root);
}

/* --- the endpoint ----------------------------------------------------------------- */

/* Workers with a higher index than any before may have come: TTIN, HUP. */
static void look(struct admin *o) {
    static struct log_rate rate = { .per_second = 1 };
    unsigned count = stats_count(o->stats_fd);
    struct stats *stats;
    struct error err;

    if (count == o->count)
        return;
    stats = stats_map(o->stats_fd, count, &err);
    if (stats == NULL) {
        log_limited(&rate, LOG_LEVEL_ERROR, "%s", err.text);
        return;
    }
    stats_unmap(o->stats, o->count);
    o->stats = stats;
    o->count = count;
}

static void reply_metrics(void *arg, struct control_request *rq) {
    struct buf out;

    look(arg);
    buf_init(&out, METRICS_BYTES_MAX);
    if (print_metrics(arg, &out) < 0)
        control_reply_text(rq, 503, "out of memory");
    else
        control_reply(rq, 200, PROMETHEUS_TYPE, buf_unread(&out));
    buf_free(&out);
}

static void reply_json(struct control_request *rq, char *text) {
    if (text == NULL)
        control_reply_text(rq, 503, "out of memory");
    else
        control_reply(rq, 200, "application/json", slice_str(text));
    free(text); /* jansson's */
}

static void reply_stats(void *arg, struct control_request *rq) {
    look(arg);
    reply_json(rq, stats_json(arg));
}

static void reply_requests(void *arg, struct control_request *rq) {
    look(arg);
    reply_json(rq, requests_json(arg));
}

/* Clients would refuse it. Workers that begin after a reload may have another one. */
static bool has_expired(const struct stats *s) {
    int64_t at = (int64_t)stats_get(s, STATS_tls_certificate_expiry_seconds);

    return at != 0 && at <= clock_wall() / NSEC_PER_SEC;
}

struct worker_counts {
    unsigned alive, ready, certified; /* of those before: no certificate has expired */
};

static struct worker_counts count_workers(struct admin *o) {
    struct worker_counts n = { 0 };

    look(o);
    for (unsigned i = 0; i < o->count; i++) {
        bool alive = is_alive(&o->stats[i]);
        bool ready = alive && atomic_load(&o->stats[i].life) == STATS_READY;
        n.alive += alive;
        n.ready += ready;
        n.certified += ready && !has_expired(&o->stats[i]);
    }
    return n;
}

static void reply_healthz(void *arg, struct control_request *rq) {
    if (count_workers(arg).alive > 0)
        control_reply_text(rq, 200, "ok");
    else
        control_reply_text(rq, 503, "no worker is alive");
}

static void reply_readyz(void *arg, struct control_request *rq) {
    const struct admin *o = arg;
    struct worker_counts n = count_workers(arg);

    if (atomic_load(o->leaving))
        control_reply_text(rq, 503, "the server is about to stop");
    else if (n.certified > 0)
        control_reply_text(rq, 200, "ready");
    else if (n.ready > 0)
        control_reply_text(rq, 503, "a certificate has expired");
    else
        control_reply_text(rq, 503, "no worker takes requests");
}

static const struct control_route routes[] = {
    { "/metrics", CONTROL_GET, reply_metrics },   { "/stats", CONTROL_GET, reply_stats },
    { "/requests", CONTROL_GET, reply_requests }, { "/healthz", CONTROL_GET, reply_healthz },
    { "/readyz", CONTROL_GET, reply_readyz },
};

static int serve_routes(void *arg) {
    struct admin *o = arg;
    struct error err = { "the event loop failed" };
    struct control *control = NULL;
    struct loop *loop = loop_new(&err);
    int rc = -EIO;

    if (loop != NULL)
        control =
            control_new(loop, o->fd, routes, ARRAY_LEN(routes), &o->config->control_hosts, o, &err);
    if (control != NULL)
        rc = loop_run(loop);
    control_free(control);
    loop_free(loop);
    log_write(LOG_LEVEL_ERROR, "control endpoint failed error=\"%s\"", err.text);
    return rc < 0 ? EXIT_CANNOT : 0;
}

/* --- its life --------------------------------------------------------------------- */

static int take_listener(const struct admin *o, struct address *ret_bound, struct error *err) {
    if (o->inherited_fd < 0)
        return control_listen("--control", o->config->control, ret_bound, err);
    ret_bound->len = sizeof(*ret_bound);
    if (getsockname(o->inherited_fd, &ret_bound->any, &ret_bound->len) < 0)
        return error_set(err, -errno, "control socket: %s", strerrordesc_np(errno));
    if (!o->borrowed)
        inherit_spell(ret_bound, o->config->control);
    return o->inherited_fd;
}

int admin_open(struct admin *o, struct error *err) {
    char text[ADDRESS_TEXT_BYTES];
    int rc;

    o->fd = -1;
    if (o->config->control == NULL)
        return 0;
    rc = take_listener(o, &o->bound, err);
    if (rc < 0)
        return rc;
    o->fd = rc;
    if (o->inherited_fd < 0 && (rc = privileges_give(&o->config->privileges, &o->bound, err)) < 0)
        return rc;
    if (o->bound.any.sa_family == AF_UNIX)
        log_say("srv serve: control on %s\n", address_format(&o->bound, text));
    else
        log_say("srv serve: control on http://%s/\n", address_format(&o->bound, text));
    return 0;
}

int admin_start(struct admin *o, struct error *err) {
    int rc;

    if (o->fd < 0)
        return 0;
    o->helper = (struct helper){ .program = "srv serve",
                                 .name = "control",
                                 .run = serve_routes,
                                 .arg = o,
                                 .fds = { o->fd, o->stats_fd },
                                 .fd_count = 2 };
    o->active = true;
    rc = helper_start(&o->helper);
    return rc < 0 ? error_set(err, rc, "cannot fork: %s", strerrordesc_np(-rc)) : 0;
}

nsec_t admin_tend(struct admin *o, nsec_t now) {
    return o->active ? helper_tend(&o->helper, now) : NSEC_NEVER;
}

void admin_rest(struct admin *o) {
    o->active = false;
    (void)helper_stop(&o->helper, 0);
}

void admin_stop(struct admin *o) {
    if (o->fd < 0)
        return;
    admin_rest(o);
    if (o->borrowed)
        close(o->fd);
    else
        listener_close(o->fd, &o->bound);
    o->fd = -1;
}
