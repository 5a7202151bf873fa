/* SPDX-License-Identifier: MIT */
/* Checks requests, answers with the page and JSON, and keeps streams of events. */
#include "lab/web.h"
#include "base/html.h"
#include "http/url.h"
#include "net/control.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

extern const char lab_page[]; /* lab/page.html, by the build */

#define NONCE              "{{nonce}}"
#define STYLE              "{{style}}" /* rules that all pages of srv share */
#define NONCE_BYTES        16
#define PAGE_BYTES_MAX     (1u << 20)
#define BACKLOG_MAX        (4u << 20) /* bytes of a slow client, which misses events then */
#define CHANGES_BURST      60
#define CHANGES_PER_SECOND 20

/* --- who may ask ------------------------------------------------------------------------------ */

/* Takes the same time for all tokens of that length. */
static bool is_token(const struct lab_web *web, struct slice given) {
    unsigned differs = 0;
    if (given.len != strlen(web->token))
        return false;
    for (size_t i = 0; i < given.len; i++)
        differs |= (unsigned)(given.ptr[i] ^ web->token[i]);
    return differs == 0;
}

static bool admit(struct lab_web *web, struct control_request *rq) {
    struct slice rest = rq->query, name, value, token = SLICE("");
    while (http_query_next(&rest, &name, &value))
        if (slice_eq(name, SLICE("token")))
            token = value;
    control_add_header(rq, "Cache-Control", "no-store");
    control_add_header(rq, "Referrer-Policy", "no-referrer");
    control_add_header(rq, "X-Content-Type-Options", "nosniff");
    if (!control_origin_is_ours(rq))
        control_reply_text(rq, 403, "Origin is another one");
    else if (!is_token(web, token))
        control_reply_text(
            rq, 403, "the token is missing or wrong; srv lab has printed the address with it");
    else {
        web->looked_at = clock_now();
        return true;
    }
    return false;
}

/* --- JSON ------------------------------------------------------------------------------------- */

static json_t *lanes_json(const struct lab_web *web) {
    json_t *list = json_array();
    for (unsigned i = 0; i < LAB_LANES; i++)
        json_array_append_new(list, lane_json(&web->lanes[i], i + 1));
    return json_pack("{s:o, s:o}", "lanes", list, "waits", figures_waits_json());
}

static void reply_json(struct control_request *rq, json_t *json) {
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    if (text != NULL)
        control_reply(rq, 200, "application/json", slice_str(text));
    else
        control_reply_text(rq, 503, "out of memory");
    free(text); /* jansson's */
    json_decref(json);
}

static void reply_controls(void *arg, struct control_request *rq) {
    if (admit(arg, rq))
        reply_json(rq, settings_rows_json());
}

/* --- changes ---------------------------------------------------------------------------------- */

/* Whether one more change may come: a slider that is dragged makes many. */
static bool has_budget(struct lab_web *web) {
    nsec_t now = clock_now();
    web->budget += (double)(now - web->budget_at) / (double)NSEC_PER_SEC * CHANGES_PER_SECOND;
    if (web->budget > CHANGES_BURST)
        web->budget = CHANGES_BURST;
    web->budget_at = now;
    if (web->budget < 1)
        return false;
    web->budget -= 1;
    return true;
}

static int change(struct lab_web *web, const json_t *wish, struct error *err) {
    const json_t *number = json_object_get(wish, "lane"), *set = json_object_get(wish, "set");
    const char *word = json_string_value(json_object_get(wish, "do"));
    json_int_t lane = json_integer_value(number);
    if (!json_is_integer(number) || lane < 1 || lane > LAB_LANES)
        return error_set(err, -EINVAL, "lane is a number from 1 to %d", LAB_LANES);
    if (json_object_size(wish) != 2 || (set == NULL) == (word == NULL))
        return error_set(err, -EINVAL, "beside lane there is one of set and do");
    if (set != NULL)
        return lane_change(&web->lanes[lane - 1], set, err);
    return lane_do(&web->lanes[lane - 1], word, err);
}

static void take_change(struct lab_web *web, struct control_request *rq) {
    struct error err = { "" };
    json_t *wish = json_loadb(rq->body.ptr, rq->body.len, JSON_REJECT_DUPLICATES, NULL);
    int rc = json_is_object(wish) ? 0 : error_set(&err, -EINVAL, "the body is no JSON object");
    if (rc == 0 && !has_budget(web))
        rc = error_set(&err, -EBUSY, "too many changes; %d a second are taken", CHANGES_PER_SECOND);
    if (rc == 0)
        rc = change(web, wish, &err);
    json_decref(wish);
    if (rc == 0)
        reply_json(rq, lanes_json(web));
    else
        control_reply_text(rq, rc == -EINVAL ? 400 : rc == -EBUSY ? 429 : 409, err.text);
}

static void handle_lanes(void *arg, struct control_request *rq) {
    if (!admit(arg, rq))
        return;
    if (rq->method == CONTROL_GET)
        reply_json(rq, lanes_json(arg));
    else
        take_change(arg, rq);
}

/* --- events ----------------------------------------------------------------------------------- */

static void on_closed(void *arg) {
    struct lab_stream *place = arg;
    place->stream = NULL;
}

static void begin_events(void *arg, struct control_request *rq) {
    struct lab_web *web = arg;
    size_t i = 0;
    if (!admit(web, rq))
        return;
    while (i < LAB_STREAMS_MAX && web->streams[i].stream != NULL)
        i++;
    if (i == LAB_STREAMS_MAX) {
        control_reply_text(rq, 503, "too many pages watch already");
        return;
    }
    web->streams[i].web = web;
    web->streams[i].stream =
        control_stream_open(rq, "text/event-stream", on_closed, &web->streams[i]);
}

void web_tell(struct lab_web *web) {
    char *text = NULL;
    for (size_t i = 0; i < LAB_STREAMS_MAX; i++) {
        struct control_stream *stream = web->streams[i].stream;
        if (stream == NULL)
            continue;
        web->looked_at = clock_now();
        if (control_stream_backlog(stream) > BACKLOG_MAX)
            continue;
        if (text == NULL) {
            json_t *json = lanes_json(web);
            text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(6));
            json_decref(json);
        }
        if (text == NULL)
            return;
        control_stream_send(stream, SLICE("data: "));
        control_stream_send(stream, slice_str(text));
        control_stream_send(stream, SLICE("\n\n"));
    }
    free(text); /* jansson's */
}

/* --- the page --------------------------------------------------------------------------------- */

static int make_nonce(char text[2 * NONCE_BYTES + 1]) {
    unsigned char bytes[NONCE_BYTES];
    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        return -EIO;
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    return 0;
}

/* The page with its nonce, with which its own style and script run, and nothing else. 0 or
 * -errno. */
static int print_page(struct buf *out, const char *nonce) {
    struct slice rest = slice_str(lab_page);
    int rc = 0;
    while (rc == 0) {
        const char *at = strstr(rest.ptr, "{{");
        if (at == NULL)
            return buf_append(out, rest);
        size_t len = (size_t)(at - rest.ptr);
        bool is_nonce = strncmp(at, NONCE, strlen(NONCE)) == 0;
        bool is_style = strncmp(at, STYLE, strlen(STYLE)) == 0;
        rc = buf_append(out, slice_of(rest.ptr, len));
        if (rc == 0)
            rc = buf_append(out, slice_str(is_nonce ? nonce : is_style ? html_style : "{{"));
        rest = slice_drop(rest, len + (is_nonce || is_style ? strlen(NONCE) : 2));
    }
    return rc;
}

static void reply_page(void *arg, struct control_request *rq) {
    char nonce[2 * NONCE_BYTES + 1], policy[320];
    struct buf out;
    if (!admit(arg, rq))
        return;
    buf_init(&out, PAGE_BYTES_MAX);
    if (make_nonce(nonce) == 0 && print_page(&out, nonce) == 0) {
        snprintf(policy, sizeof(policy),
                 "default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; connect-src "
                 "'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors "
                 "'none'",
                 nonce, nonce);
        control_add_header(rq, "Content-Security-Policy", policy);
        control_reply(rq, 200, "text/html; charset=utf-8", buf_unread(&out));
    } else {
        control_reply_text(rq, 503, "out of memory");
    }
    buf_free(&out);
}

static const struct control_route routes[] = {
    { "/", CONTROL_GET, reply_page },
    { "/controls", CONTROL_GET, reply_controls },
    { "/lanes", CONTROL_GET | CONTROL_POST, handle_lanes },
    { "/events", CONTROL_GET, begin_events },
};

/* --- life ------------------------------------------------------------------------------------- */

int web_open(struct lab_web *web, struct loop *loop, int listen_fd, struct error *err) {
    static const struct option_strings no_names = { .count = 0 };
    web->looked_at = web->budget_at = clock_now();
    web->budget = CHANGES_BURST;
    if (web->token[0] == '\0' && make_nonce(web->token) != 0)
        return error_set(err, -EIO, "no random bytes for a token");
    web->control = control_new(loop, listen_fd, routes, ARRAY_LEN(routes), &no_names, web, err);
    return web->control != NULL ? 0 : -EIO;
}

void web_close(struct lab_web *web) {
    for (size_t i = 0; i < LAB_STREAMS_MAX; i++)
        if (web->streams[i].stream != NULL)
            control_stream_end(web->streams[i].stream);
    memset(web->streams, 0, sizeof(web->streams));
    control_free(web->control);
    web->control = NULL;
}
