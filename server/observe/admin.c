/* SPDX-License-Identifier: MIT */
/* Runs the control endpoint in a process of its own. */
#include "server/observe/admin.h"
#include "base/log.h"
#include "base/prometheus.h"
#include "net/control.h"
#include "net/listener.h"
#include "proc/inherit.h"
#include "server/observe/metrics.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { METRICS_BYTES_MAX = 16777216 };

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
    if (metrics_prometheus(arg, &out) < 0)
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
    reply_json(rq, metrics_stats(arg));
}

static void reply_requests(void *arg, struct control_request *rq) {
    look(arg);
    reply_json(rq, metrics_requests(arg));
}

/* How many workers live, and how many of them take requests. */
static unsigned count_workers(struct admin *o, bool only_ready) {
    unsigned count = 0;

    look(o);
    for (unsigned i = 0; i < o->count; i++) {
        bool ready = atomic_load(&o->stats[i].life) == STATS_READY;
        count += metrics_alive(&o->stats[i]) && (ready || !only_ready);
    }
    return count;
}

static void reply_healthz(void *arg, struct control_request *rq) {
    if (count_workers(arg, false) > 0)
        control_reply_text(rq, 200, "ok");
    else
        control_reply_text(rq, 503, "no worker is alive");
}

static void reply_readyz(void *arg, struct control_request *rq) {
    const struct admin *o = arg;

    if (atomic_load(o->leaving))
        control_reply_text(rq, 503, "the server is about to stop");
    else if (count_workers(arg, true) > 0)
        control_reply_text(rq, 200, "ready");
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

static int take_listener(const struct admin *o, struct address *ret_bound, struct error *err) {
    if (o->inherited_fd < 0)
        return control_listen(o->config->control, ret_bound, err);
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
