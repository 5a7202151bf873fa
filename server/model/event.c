/* SPDX-License-Identifier: MIT */
/* Model `event`: one thread, and callbacks where green has fibers. The front, the session and the
 * HTTP of both sides are those of the other models; what differs is that nothing here ever waits
 * in the middle of a function (server/app/event_app.h, server/upstream/event.h). */
#include "server/upstream/event.h"
#include "base/alloc.h"
#include "base/log.h"
#include "proc/signals.h"
#include "server/app/app.h"
#include "server/app/event_app.h"
#include "server/app/handle.h"
#include "server/conn/front.h"
#include "server/conn/front_stop.h"
#include "server/heartbeat.h"
#include "server/model/model.h"
#include <errno.h>

static int event_run(struct worker *worker, struct error *err);

const struct model model_event = {
    .name = "event",
    .summary = "one thread; callbacks instead of fibers, with handlers of their own",
    .run = event_run,
};

TAILQ_HEAD(job_list, job);

struct event_model {
    struct front front;
    struct loop *loop;
    struct io io; /* tells the time; nobody waits here */
    const struct event_app *app;
    struct signals *signals;
    struct heartbeat heartbeat;
    struct upstream_event *upstream;
    struct job_list queue; /* for a place among the upstream's calls */
    uint32_t calling;
    bool pumping;
};

enum job_state { JOB_HANDLER, JOB_QUEUED, JOB_CALLING };

/* A request in progress: what a fiber's stack would hold. In the request's arena. */
struct job {
    struct event_model *model;
    struct client *client;
    struct srv_request request;
    void (*answered)(struct srv_request *rq, int rc, const struct upstream_answer *answer);
    struct slice suffix;
    struct upstream_call call;
    struct timer timer; /* for the wait in the queue */
    TAILQ_ENTRY(job) queued;
    enum job_state state;
};

static struct event_model *model_of(const struct client *c) {
    return CONTAINER_OF(c->front, struct event_model, front);
}

static struct job *job_of(struct srv_request *rq) {
    return CONTAINER_OF(rq, struct job, request);
}

/* --- the end of a request ------------------------------------------------------------ */

/* The job is gone afterwards, and the client may be. */
static void job_end(struct job *job, enum session_end end) {
    struct client *c = job->client;

    c->task = NULL;
    front_return(c, end);
}

void event_answer(struct srv_request *rq, int rc) {
    struct job *job = job_of(rq);
    struct event_model *m = job->model;
    struct session *s = &job->client->session;

    rc = request_answer(rq, rc);
    if (rc < 0) {
        job_end(job, session_finish(s, rc, loop_now(m->loop)));
        return;
    }
    session_answers(s, &m->io);
    job_end(job, SESSION_SEND);
}

/* --- upstream calls -------------------------------------------------------------------- */

static void pump_calls(struct event_model *m);

static void call_done(struct upstream_call *call, int rc) {
    struct job *job = CONTAINER_OF(call, struct job, call);
    struct event_model *m = job->model;
    struct srv_request *rq = &job->request;
    struct upstream_answer answer = exchange_answer(&call->exchange);

    job->state = JOB_HANDLER;
    m->calling--;
    request_asked(rq, rc, call->exchange.why);
    heartbeat_switch(&m->heartbeat, &job->client->session.head);
    job->answered(rq, rc, rc == 0 ? &answer : NULL);
    heartbeat_switch(&m->heartbeat, NULL);
    pump_calls(m);
}

static void call_now(struct job *job) {
    struct event_model *m = job->model;

    m->calling++;
    job->state = JOB_CALLING;
    job->call.done = call_done;
    request_asks(&job->request);
    upstream_event_get(m->upstream, &job->call, &job->client->session.arena, job->suffix,
                       session_deadline(&job->client->session));
}

static bool has_place(const struct event_model *m) {
    int64_t max = m->front.worker->config->upstream_max;

    return max == 0 || m->calling < max;
}

static void leave_queue(struct job *job, int rc) {
    struct event_model *m = job->model;

    TAILQ_REMOVE(&m->queue, job, queued);
    timer_cancel(m->loop, &job->timer);
    request_queued(&job->request, rc);
}

static void queue_failed(struct job *job, int rc) {
    leave_queue(job, rc);
    job->state = JOB_HANDLER;
    job->answered(&job->request, rc, NULL);
}

static void queue_late(struct timer *timer) {
    queue_failed(CONTAINER_OF(timer, struct job, timer), -ETIMEDOUT);
}

static void queue_join(struct job *job) {
    struct event_model *m = job->model;
    int rc;

    job->state = JOB_QUEUED;
    job->timer.fire = queue_late;
    TAILQ_INSERT_TAIL(&m->queue, job, queued);
    rc = timer_set(m->loop, &job->timer, request_queues(&job->request));
    if (rc < 0)
        queue_failed(job, rc);
}

/* Places go to whoever waits longest. Not re-entrant: a call that fails at once comes back through
 * call_done while this runs. */
static void pump_calls(struct event_model *m) {
    struct job *job;

    if (m->pumping)
        return;
    m->pumping = true;
    while ((job = TAILQ_FIRST(&m->queue)) != NULL && has_place(m)) {
        leave_queue(job, 0);
        call_now(job);
    }
    m->pumping = false;
}

void event_upstream_get(struct srv_request *rq, struct slice suffix,
                        void (*done)(struct srv_request *rq, int rc,
                                     const struct upstream_answer *answer)) {
    struct job *job = job_of(rq);

    job->answered = done;
    job->suffix = suffix;
    request_waits_for_upstream(rq);
    if (TAILQ_EMPTY(&job->model->queue) && has_place(job->model))
        call_now(job);
    else
        queue_join(job);
}

/* --- the front's calls ------------------------------------------------------------------- */

static struct job *job_new(struct event_model *m, struct client *c) {
    struct job *job = arena_alloc(&c->session.arena, sizeof(*job));

    if (job == NULL)
        return NULL;
    *job = (struct job){ .model = m, .client = c };
    request_init(&job->request, &c->session, &m->io);
    return job;
}

static void run_handler(struct event_model *m, struct srv_request *rq) {
    int rc = request_admit(rq);

    if (rc != 0)
        event_answer(rq, rc);
    else if (m->app->begin != NULL)
        m->app->begin(rq);
    else
        event_answer(rq, handle_request(rq));
}

static void event_dispatch(struct client *c) {
    static struct log_rate rate = { .per_second = 1 };
    struct event_model *m = model_of(c);
    struct job *job;

    if (c->abandoned) {
        front_return(c, session_drop(&c->session, loop_now(m->loop)));
        return;
    }
    c->task = job = job_new(m, c);
    if (job == NULL) {
        log_limited(&rate, LOG_LEVEL_ERROR, "no memory for a request");
        front_refuse(c, 503, "out of memory");
        return;
    }
    session_begin(&c->session, loop_now(m->loop));
    heartbeat_switch(&m->heartbeat, &c->session.head);
    run_handler(m, &job->request);
    heartbeat_switch(&m->heartbeat, NULL);
}

static void event_abandon(struct client *c) {
    struct job *job = c->task;

    if (job == NULL)
        return;
    switch (job->state) {
    case JOB_QUEUED:
        queue_failed(job, -ECANCELED);
        return;
    case JOB_CALLING:
        upstream_call_cancel(&job->call);
        return;
    case JOB_HANDLER:
        return; /* a job on its way out */
    }
}

/* --- life ---------------------------------------------------------------------------------- */

static int io_none_wait(struct io *io UNUSED, int fd UNUSED, unsigned what UNUSED,
                        nsec_t deadline UNUSED) {
    return -EDEADLK;
}

static int io_none_sleep(struct io *io UNUSED, nsec_t until UNUSED) {
    return -EDEADLK;
}

static bool io_none_cancelled(struct io *io UNUSED) {
    return false;
}

/* A handler that waits where it must not gets an error, and the client a 500. */
static const struct io_ops io_none = {
    .wait = io_none_wait,
    .sleep = io_none_sleep,
    .cancelled = io_none_cancelled,
};

static int event_open(struct event_model *m, struct worker *worker, struct error *err) {
    struct upstream_config upstream =
        upstream_config_of(worker->config, worker->index, worker->upstream_tls);
    int rc;

    m->io.ops = &io_none;
    TAILQ_INIT(&m->queue);
    m->app = event_app_find(worker->config->app->name);
    if (m->app == NULL)
        return error_set(err, -EINVAL, "app '%s' has no callbacks", worker->config->app->name);
    m->loop = m->io.loop = loop_new(err);
    if (m->loop == NULL)
        return -EIO;
    m->signals = signals_new(m->loop, front_signal, &m->front, err);
    if (m->signals == NULL)
        return -EIO;
    signals_enforce();
    m->upstream = upstream_event_new(&upstream, m->loop, err);
    if (m->upstream == NULL)
        return -EINVAL;
    rc = heartbeat_start(&m->heartbeat, m->loop, worker);
    if (rc < 0)
        return error_set(err, rc, "out of memory");
    m->front = (struct front){ .worker = worker,
                               .loop = m->loop,
                               .slots = (uint32_t)worker->config->async_cores,
                               .dispatch = event_dispatch,
                               .abandon = event_abandon };
    return front_open(&m->front, err);
}

static int event_run(struct worker *worker, struct error *err) {
    struct event_model *m = mem_calloc(1, sizeof(*m)); /* large for a stack */
    int rc;

    if (m == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    rc = event_open(m, worker, err);
    if (rc == 0)
        rc = front_run(&m->front, err);
    signals_hold();
    heartbeat_stop(&m->heartbeat);
    upstream_event_free(m->upstream);
    signals_free(m->signals);
    loop_free(m->loop);
    mem_free(m);
    return rc;
}
