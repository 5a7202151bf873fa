/* SPDX-License-Identifier: MIT */
/* Model `green`: one thread, a fiber for each request in progress; everything waits on one loop. */
#include "base/log.h"
#include "fiber/fiber.h"
#include "fiber/patch.h"
#include "proc/signals.h"
#include "server/app/app.h"
#include "server/app/background.h"
#include "server/app/crash.h"
#include "server/app/handle.h"
#include "server/backends.h"
#include "server/conn/front.h"
#include "server/conn/front_stop.h"
#include "server/heartbeat.h"
#include "server/model/model.h"
#include "server/upstream/db.h"
#include <errno.h>

static int green_run(struct worker *worker, struct error *err);

const struct model model_green = {
    .name = "green",
    .summary = "one thread; each request is a fiber that parks while it waits",
    .run = green_run,
};

struct green {
    struct front front;
    struct loop *loop;
    struct fibers *fibers;
    struct io_fiber *io_fiber;
    struct io *io; /* from io_fiber */
    struct signals *signals;
    struct heartbeat heartbeat;
};

static struct green *green_of(struct client *c) {
    return CONTAINER_OF(c->front, struct green, front);
}

/* A fiber serves its client as long as the next request is already there. */
static void green_serve(void *arg) {
    struct client *c = arg;
    struct green *g = green_of(c);
    enum session_end end;

    if (c->abandoned) {
        end = session_drop(&c->session, loop_now(g->loop));
    } else {
        c->task = fiber_self(g->fibers);
        session_begin(&c->session, loop_now(g->loop));
        end = handle_serve(&c->session, g->io);
        c->task = NULL;
    }
    front_return(c, end);
}

static void green_dispatch(struct client *c) {
    static struct log_rate rate = { .per_second = 1 };
    struct green *g = green_of(c);
    int rc = fiber_spawn(g->fibers, "request", green_serve, c);

    if (rc == 0)
        return;
    log_limited(&rate, LOG_LEVEL_ERROR, "cannot start a fiber error=\"%s\"", strerrordesc_np(-rc));
    front_refuse(c, 503, "no fiber is left for this request");
}

/* Tells which request has the thread, itself or with a part; NULL: none. */
static void on_switch(void *arg, void *shown) {
    struct green *g = arg;
    const struct client *c = shown;

    heartbeat_switch(&g->heartbeat, c != NULL ? &c->session.head : NULL);
}

static const struct http_head *running(void *arg) {
    const struct fiber *fiber = fiber_self(arg);
    const struct client *c = fiber != NULL ? fiber_shown(fiber) : NULL;

    return c != NULL ? &c->session.head : NULL;
}

static void green_abandon(struct client *c) {
    if (c->task != NULL)
        fiber_cancel(c->task);
}

/* Who asks for it in so many words, gets it or no server; else an application that cannot be
 * patched runs as it is. */
static int open_patches(struct worker *worker, struct io_fiber *fiber_io, struct error *err) {
    const struct serve_config *config = worker->config;
    bool must = config->patch == PATCHING_ON || config->db.mode == DB_PATCHED;
    int rc;

    if (!must && (config->patch == PATCHING_OFF || config->app->built_in != NULL))
        return 0;
    rc = patch_check(err);
    if (rc == -EBUSY && !must) {
        log_write(LOG_LEVEL_WARN, "%s", err->text);
        return 0;
    }
    if (rc == 0)
        worker->patches = patches_new(fiber_io, err);
    return worker->patches != NULL ? 0 : -EBUSY;
}

static int green_open(struct green *g, struct worker *worker, struct error *err) {
    struct fiber_config fibers = { 0 };
    int rc;

    g->loop = loop_new(err);
    if (g->loop == NULL)
        return -EIO;
    g->fibers = fibers_new(g->loop, &fibers, err);
    if (g->fibers == NULL)
        return -ENOMEM;
    fibers_keep_exceptions(g->fibers);
    crash_ask(running, g->fibers);
    g->io_fiber = io_fiber_new(g->loop, g->fibers, err);
    if (g->io_fiber == NULL)
        return -ENOMEM;
    g->io = io_fiber_io(g->io_fiber);
    g->signals = signals_new(g->loop, front_signal, &g->front, err);
    if (g->signals == NULL)
        return -EIO;
    signals_enforce();
    rc = open_patches(worker, g->io_fiber, err);
    if (rc == 0)
        rc = backends_open(worker, g->io_fiber, err);
    if (rc < 0)
        return rc;
    rc = heartbeat_start(&g->heartbeat, g->loop, worker);
    if (rc < 0)
        return error_set(err, rc, "out of memory");
    if (g->heartbeat.watches_requests)
        fibers_observe(g->fibers, on_switch, g);
    g->front = (struct front){ .worker = worker,
                               .loop = g->loop,
                               .slots = (uint32_t)worker->config->async_cores,
                               .dispatch = green_dispatch,
                               .abandon = green_abandon };
    return front_open(&g->front, err);
}

static int green_run(struct worker *worker, struct error *err) {
    struct green g = { 0 };
    int rc = green_open(&g, worker, err);

    if (rc == 0) {
        background_open(worker);
        rc = front_run(&g.front, err);
    }
    signals_hold();
    heartbeat_stop(&g.heartbeat);
    background_close(worker);
    backends_close(worker);
    patches_free(worker->patches);
    signals_free(g.signals);
    crash_ask(NULL, NULL);
    io_fiber_free(g.io_fiber);
    fibers_free(g.fibers);
    loop_free(g.loop);
    return rc;
}
