/* SPDX-License-Identifier: MIT */
/* App `index` for model `event`: what server/app/index.c does, turned inside out. Each wait ends a
 * function and begins another, and nothing of the first one's locals is left in the second. */
#include "server/app/app.h"
#include "server/app/delay.h"
#include "server/app/event_app.h"

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
