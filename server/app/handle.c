/* SPDX-License-Identifier: MIT */
/* Runs the application on a request: by its routes, or as a whole. */
#include "server/app/handle.h"
#include "server/app/task.h"
#include <stdio.h>

/* --- routes ----------------------------------------------------------------------------------- */

static void keep_segment(struct srv_request *rq, const char *text, size_t len) {
    if (rq->segment_count < SERVER_ROUTE_SEGMENTS_MAX)
        rq->segments[rq->segment_count++] = slice_of(text, len);
}

static bool path_matches(struct srv_request *rq, const char *pattern, const char *path) {
    rq->segment_count = 0;
    if (strcmp(pattern, path) == 0 && strchr(path, '*') == NULL)
        return true;
    while (*pattern == '/' && *path == '/') {
        size_t wanted = strcspn(++pattern, "/"), len = strcspn(++path, "/");

        if (strcmp(pattern, "**") == 0) {
            keep_segment(rq, path, strlen(path));
            return true;
        }
        if (wanted == 1 && *pattern == '*' && len > 0)
            keep_segment(rq, path, len);
        else if (wanted != len || memcmp(pattern, path, len) != 0)
            return false;
        pattern += wanted;
        path += len;
    }
    return *pattern == '\0' && *path == '\0';
}

/* The methods that the routes of a path take, as Allow lists them. */
struct allowed {
    char text[160];
    bool get;
};

static void allow(struct allowed *allowed, struct slice method) {
    size_t len = strlen(allowed->text);

    allowed->get |= slice_eq(method, SLICE("GET"));
    snprintf(allowed->text + len, sizeof(allowed->text) - len, "%.*s, ", (int)method.len,
             method.ptr);
}

static bool method_matches(struct slice wanted, struct slice method) {
    return wanted.len == 0 || slice_eq(wanted, method) ||
           (slice_eq(wanted, SLICE("GET")) && slice_eq(method, SLICE("HEAD")));
}

/* The routes have the path, but not for this method. */
static int answer_methods(struct srv_request *rq, struct allowed *allowed) {
    bool asks = slice_eq(rq->session->head.method_text, SLICE("OPTIONS"));

    if (allowed->get)
        allow(allowed, SLICE("HEAD"));
    allow(allowed, SLICE("OPTIONS"));
    allowed->text[strlen(allowed->text) - 2] = '\0';
    srv_set(rq, "Allow", allowed->text);
    if (asks)
        return request_reply(rq, 200, SLICE(""), SLICE(""));
    return srv_fail(rq, 405, "method is not allowed");
}

/* Runs the first route that matches; 404, 405 and OPTIONS are answered here. */
static int route(struct srv_request *rq, const struct srv_route *routes) {
    struct slice method = rq->session->head.method_text;
    struct allowed allowed = { "" };
    const char *path = srv_path(rq);

    for (const struct srv_route *r = routes; r->pattern != NULL; r++) {
        const char *pattern = r->pattern[0] == '/' ? r->pattern : strchr(r->pattern, '/');
        struct slice wanted = slice_of(r->pattern, (size_t)(pattern - r->pattern));

        if (!path_matches(rq, pattern, path))
            continue;
        wanted = slice_take(wanted, wanted.len - (wanted.len > 0)); /* without its space */
        if (method_matches(wanted, method))
            return r->handle(rq);
        allow(&allowed, wanted);
    }
    return allowed.text[0] != '\0' ? answer_methods(rq, &allowed) : srv_fail(rq, 404, "not found");
}

/* --- running ---------------------------------------------------------------------------------- */

int handle_request(struct srv_request *rq) {
    const struct srv_app *app = rq->session->worker->app;
    int rc = app->handle != NULL ? app->handle(rq) : route(rq, app->routes);

    if (rq->parts != NULL)
        task_end_all(rq);
    return rc;
}

int handle_run(struct session *s, struct io *io) {
    struct srv_request rq;
    int rc;

    request_init(&rq, s, io);
    rc = request_admit(&rq);
    if (rc == 0)
        rc = handle_request(&rq);
    return request_answer(&rq, rc);
}

enum session_end handle_serve(struct session *s, struct io *io) {
    session_begin(s, io_now(io));
    return session_answer(s, handle_run(s, io), io);
}
