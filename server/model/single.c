/* SPDX-License-Identifier: MIT */
/* Model `single`: one thread that serves one request at a time; whoever comes next waits in the
 * backlog. */
#include "proc/signals.h"
#include "server/backends.h"
#include "server/model/blocking.h"
#include "server/model/model.h"
#include <string.h>

static int single_run(struct worker *worker, struct error *err);

const struct model model_single = {
    .name = "single",
    .summary = "one thread, one request at a time; everybody else waits",
    .run = single_run,
};

struct single {
    struct blocking blocking;
    struct worker *worker;
};

/* Nothing is accepted while a request runs: that is the model. A kept connection would hold the
 * only thread, so each answer says close. */
static void single_accepted(void *arg, const struct accepted *accepted) {
    struct single *s = arg;

    blocking_serve(&s->blocking, s->worker, accepted, true);
}

static int single_run(struct worker *worker, struct error *err) {
    struct single s = { .worker = worker };
    int rc = blocking_open(&s.blocking, worker, err);

    if (rc == 0)
        rc = backends_open(worker, NULL, err);
    if (rc == 0) {
        worker_ready(worker);
        rc = blocking_accept(&s.blocking, worker, single_accepted, &s);
        if (rc < 0)
            error_set(err, rc, "cannot accept connections: %s", strerrordesc_np(-rc));
    }
    signals_hold();
    backends_close(worker);
    blocking_close(&s.blocking);
    return rc;
}
