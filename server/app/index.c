/* SPDX-License-Identifier: MIT */
/* App `index`: asks the slow upstream and passes its answer on; the workload of the whole project.
 */
#include "server/app/app.h"
#include "server/app/delay.h"
#include "server/app/event_app.h"

static int index_handle(struct srv_request *rq);

const struct srv_app app_index = {
    .name = "index",
    .summary = "GET /?delay=S: 'Hi there! ' and what the upstream said after S seconds",
    .handle = index_handle,
};

/* The upstream parses the same grammar: the digits go on as they came. */
static int index_handle(struct srv_request *rq) {
    struct app_delay delay;
    struct slice text;
    int rc = app_delay_read(rq, &delay);

    if (rc == 0)
        rc = app_delay_ask(rq, delay.text, &text);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    return app_delay_greet(rq, text);
}

/* --- the handler of model `event`: turned inside out ------------------------------------------ */

/* Each wait ends a function and begins another, and nothing of the first one's locals is left in
 * the second. */

static void index_begin(struct srv_request *rq);

const struct event_app event_app_index = { .app = &app_index, .begin = index_begin };

static void index_asked(struct srv_request *rq, int rc, const struct srv_answer *answer) {
    struct slice text;

    if (rc == 0)
        rc = app_delay_take(rq, answer, &text);
    if (rc == 0)
        rc = app_delay_greet(rq, text);
    event_answer(rq, rc);
}

static void index_begin(struct srv_request *rq) {
    struct app_delay delay;
    struct slice suffix;
    int rc = app_delay_read(rq, &delay);

    if (rc == 0)
        rc = app_delay_suffix(rq, delay.text, &suffix);
    if (rc != 0)
        event_answer(rq, rc);
    else
        event_upstream_get(rq, suffix, index_asked);
}
