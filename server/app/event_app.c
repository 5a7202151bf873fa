/* SPDX-License-Identifier: MIT */
/* The applications of model `event`. `index` is what examples/index.c does, turned inside out: each
 * wait ends a function and begins another, and nothing of the first one's locals is left in the
 * second. */
#include "server/app/event_app.h"
#include "base/units.h"
#include <errno.h>
#include <string.h>

static void index_begin(struct srv_request *rq);

static const struct event_app event_app_index = { .name = "index", .begin = index_begin };

static int reply_text(struct srv_request *rq, uint16_t status, const char *text) {
    if (text == NULL)
        return -ENOMEM;
    return request_reply(rq, status, SLICE("text/plain; charset=utf-8"), slice_str(text));
}

static int greet(struct srv_request *rq, const struct upstream_answer *answer) {
    if (answer->status != 200)
        return reply_text(rq, 502, request_format(rq, "upstream answered %u\n", answer->status));
    return reply_text(
        rq, 200, request_format(rq, "Hi there! %.*s", (int)answer->body.len, answer->body.ptr));
}

static void index_asked(struct srv_request *rq, int rc, const struct upstream_answer *answer) {
    event_answer(rq, rc < 0 ? rc : greet(rq, answer));
}

static int refuse_delay(struct srv_request *rq, struct slice value, const char *why) {
    value = slice_take(value, 60);
    return reply_text(rq, 400,
                      request_format(rq, "delay '%.*s' %s; examples: 0, 0.25, 30\n", (int)value.len,
                                     value.ptr, why));
}

/* The upstream parses the same grammar: the digits go on as they came. */
static void index_begin(struct srv_request *rq) {
    struct slice value = SLICE("");
    const char *why, *suffix;
    nsec_t span;

    if (!slice_eq(rq->path, SLICE("/"))) {
        event_answer(rq, reply_text(rq, 404, "not found\n"));
        return;
    }
    if (!request_arg(rq, SLICE("delay"), &value) || value.len == 0)
        value = SLICE("1");
    if (units_parse_seconds(value, &span, &why) < 0) {
        event_answer(rq, refuse_delay(rq, value, why));
        return;
    }
    suffix = request_format(rq, "?delay=%.*s", (int)value.len, value.ptr);
    if (suffix == NULL)
        event_answer(rq, -ENOMEM);
    else
        event_upstream_get(rq, slice_str(suffix), index_asked);
}

const struct event_app *event_app_find(const char *name) {
    static const struct event_app echo = { .name = "echo" };
    static const struct event_app *const event_apps[] = { &event_app_index, &echo };

    for (size_t i = 0; i < ARRAY_LEN(event_apps); i++)
        if (strcmp(event_apps[i]->name, name) == 0)
            return event_apps[i];
    return NULL;
}
