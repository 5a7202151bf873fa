/* SPDX-License-Identifier: MIT */
/* Sums up what workers have published, and prints it for whoever asks. */
#include "bench/metrics.h"
#include "base/alloc.h"
#include "base/prometheus.h"
#include "net/control.h"
#include "net/listener.h"
#include "net/thread.h"
#include "net/watch.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { TEXT_BYTES_MAX = 1024 * 1024, STACK_BYTES = 512 * 1024 };

#define LAST_ANSWER (50 * NSEC_PER_MSEC)

struct load_metrics {
    int listen_fd, stop_fd; /* the latter is an eventfd(2) */
    struct address bound;
    struct live *live;
    struct loop *loop;
    struct control *control;
    struct watch stop;
    struct timer last;
    pthread_t thread;
    bool is_running;

    struct live_totals sum; /* the answer in the making, of the endpoint's thread */
    struct hist *latency;
    struct option_strings hosts;

    pthread_mutex_t lock;
    pthread_cond_t asked;
    uint64_t answers, answers_before; /* under the lock; the latter are those within the run */
};

/* --- an answer -------------------------------------------------------------------------------- */

static void sum_up(struct load_metrics *m, uint64_t *ret_in_flight) {
    struct live *l = m->live;
    hist_reset(m->latency);
    pthread_mutex_lock(&l->lock);
    live_sum_totals(l, &m->sum);
    hist_merge(m->latency, l->so_far.latency);
    hist_merge(m->latency, l->row.latency);
    *ret_in_flight = live_in_flight(l);
    pthread_mutex_unlock(&l->lock);
}

static void put_one(struct prometheus *p, const char *name, enum prometheus_kind kind,
                    const char *help, uint64_t value) {
    prometheus_family(p, name, kind, help);
    prometheus_count(p, NULL, 0, (int64_t)value);
}

static void put_statuses(struct prometheus *p, const struct live_totals *sum) {
    prometheus_family(p, "answers", PROMETHEUS_COUNTER, "Complete responses, by status.");
    for (int i = 0; i < ANSWERS_STATUSES; i++) {
        char status[8];
        struct prometheus_label label = { "status", status };
        snprintf(status, sizeof(status), "%d", i);
        if (sum->statuses[i] > 0)
            prometheus_count(p, &label, 1, (int64_t)sum->statuses[i]);
    }
}

/* All reasons are there from the start: a counter that comes later hides its first rise. */
static void put_failures(struct prometheus *p, const struct live_totals *sum) {
    prometheus_family(p, "failures", PROMETHEUS_COUNTER, "Requests that failed, by reason.");
    for (int i = 0; i < FAILURE_COUNT; i++) {
        struct prometheus_label label = { "reason", failure_infos[i].key };
        prometheus_count(p, &label, 1, (int64_t)sum->failed[i]);
    }
}

static void put_times(struct prometheus *p, const struct hist *latency) {
    static const uint64_t bounds[] = { 100,     250,     500,     1000,     2500,     5000,
                                       10000,   25000,   50000,   100000,   250000,   500000,
                                       1000000, 2500000, 5000000, 10000000, 30000000, 60000000 };
    prometheus_family(p, "latency_seconds", PROMETHEUS_HISTOGRAM,
                      "Time to the last byte of complete responses; from the planned start when "
                      "there is one.");
    prometheus_hist_alone(p, NULL, 0, latency, bounds, ARRAY_LEN(bounds));
}

static void put_all(struct load_metrics *m, struct prometheus *p) {
    const struct live_totals *sum = &m->sum;
    uint64_t in_flight;
    sum_up(m, &in_flight);
    put_statuses(p, sum);
    put_failures(p, sum);
    put_times(p, m->latency);
    put_one(p, "in_flight", PROMETHEUS_GAUGE, "Requests that wait for their answer.", in_flight);
    put_one(p, "connections", PROMETHEUS_COUNTER, "Connections established.", sum->connections);
    put_one(p, "received_bytes", PROMETHEUS_COUNTER, "Bytes read.", sum->bytes_received);
    put_one(p, "sent_bytes", PROMETHEUS_COUNTER, "Bytes written.", sum->bytes_sent);
    put_one(p, "planned", PROMETHEUS_COUNTER, "Requests whose planned time came.", sum->planned);
    put_one(p, "late", PROMETHEUS_COUNTER, "Planned requests that began late.", sum->late);
    put_one(p, "dropped", PROMETHEUS_COUNTER, "Planned requests that never began.", sum->dropped);
}

static void reply_metrics(void *arg, struct control_request *rq) {
    struct load_metrics *m = arg;
    struct buf out;
    struct prometheus p = { .out = &out, .prefix = "srv_bench" };
    buf_init(&out, TEXT_BYTES_MAX);
    put_all(m, &p);
    if (p.rc == 0)
        control_reply(rq, 200, PROMETHEUS_TYPE, buf_unread(&out));
    else
        control_reply_text(rq, 500, "out of memory");
    buf_free(&out);
    pthread_mutex_lock(&m->lock);
    m->answers++;
    pthread_cond_signal(&m->asked);
    pthread_mutex_unlock(&m->lock);
}

static const struct control_route routes[] = { { "/metrics", CONTROL_GET, reply_metrics } };

/* --- the endpoint ----------------------------------------------------------------------------- */

/* The last answer is still on its way out. */
static void on_stop(struct watch *w, unsigned what) {
    struct load_metrics *m = CONTAINER_OF(w, struct load_metrics, stop);
    if ((what & IO_READ) == 0)
        return;
    if (timer_set(w->loop, &m->last, clock_now() + LAST_ANSWER) != 0)
        loop_stop(w->loop);
}

static void on_last(struct timer *timer) {
    loop_stop(CONTAINER_OF(timer, struct load_metrics, last)->loop);
}

static void *serve(void *arg) {
    struct load_metrics *m = arg;
    int rc = loop_run(m->loop);
    if (rc != 0)
        fprintf(stderr, "srv bench: metrics: the event loop failed: %s\n", strerrordesc_np(-rc));
    return NULL;
}

int metrics_open(struct load_metrics **ret, const char *address, struct error *err) {
    struct load_metrics *m = mem_calloc(1, sizeof(*m));
    *ret = NULL;
    if (m == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    pthread_mutex_init(&m->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&m->asked, &attr);
    pthread_condattr_destroy(&attr);
    m->stop_fd = -1;
    m->last.fire = on_last;
    m->listen_fd = control_listen("--prometheus", address, &m->bound, err);
    int rc = m->listen_fd < 0 ? m->listen_fd : 0;
    if (rc == 0)
        *ret = m;
    else
        metrics_free(m);
    return rc;
}

static int prepare(struct load_metrics *m, struct error *err) {
    m->latency = hist_new();
    m->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (m->latency == NULL || live_want_totals(m->live) != 0)
        return error_set(err, -ENOMEM, "out of memory");
    if (m->stop_fd < 0)
        return error_set(err, -errno, "eventfd: %s", strerrordesc_np(errno));
    m->loop = loop_new(err);
    if (m->loop == NULL)
        return -ENOMEM;
    m->control = control_new(m->loop, m->listen_fd, routes, ARRAY_LEN(routes), &m->hosts, m, err);
    if (m->control == NULL)
        return -ENOMEM;
    int rc = watch_open(&m->stop, m->loop, m->stop_fd, on_stop);
    m->stop.ready &= ~(unsigned)IO_READ; /* there is nothing yet */
    return rc == 0 ? 0 : error_set(err, rc, "cannot watch: %s", strerrordesc_np(-rc));
}

int metrics_start(struct load_metrics *m, struct live *live, struct error *err) {
    char text[ADDRESS_TEXT_BYTES];
    m->live = live;
    int rc = prepare(m, err);
    if (rc != 0)
        return rc;
    rc = thread_start(&m->thread, STACK_BYTES, serve, m);
    if (rc != 0)
        return error_set(err, rc, "cannot start a thread: %s", strerrordesc_np(-rc));
    m->is_running = true;
    const char *at = address_format(&m->bound, text);
    fprintf(stderr, "srv bench: metrics at %s%s%s\n", at[0] == 'u' ? "" : "http://", at,
            at[0] == 'u' ? ", /metrics" : "/metrics");
    return 0;
}

void metrics_run_ended(struct load_metrics *m) {
    pthread_mutex_lock(&m->lock);
    m->answers_before = m->answers;
    pthread_mutex_unlock(&m->lock);
}

void metrics_hold(struct load_metrics *m, nsec_t span) {
    nsec_t until = clock_now() + span;
    const struct timespec deadline = { until / NSEC_PER_SEC, until % NSEC_PER_SEC };
    int rc = 0;
    pthread_mutex_lock(&m->lock);
    while (m->answers == m->answers_before && rc == 0)
        rc = pthread_cond_timedwait(&m->asked, &m->lock, &deadline);
    pthread_mutex_unlock(&m->lock);
}

void metrics_free(struct load_metrics *m) {
    if (m == NULL)
        return;
    if (m->is_running) {
        (void)eventfd_write(m->stop_fd, 1);
        pthread_join(m->thread, NULL);
    }
    if (m->loop != NULL) {
        timer_cancel(m->loop, &m->last);
        if (m->stop.loop != NULL)
            watch_close(&m->stop);
        control_free(m->control);
        loop_free(m->loop);
    }
    if (m->stop_fd >= 0)
        close(m->stop_fd);
    if (m->listen_fd >= 0)
        listener_close(m->listen_fd, &m->bound);
    hist_free(m->latency);
    pthread_cond_destroy(&m->asked);
    pthread_mutex_destroy(&m->lock);
    mem_free(m);
}
