/* SPDX-License-Identifier: MIT */
/* srv serve: options and environment to a struct serve_config. */
#include "base/log.h"
#include "cmd/command.h"
#include "cmd/common.h"
#include "cmd/serve_fit.h"
#include "cmd/serve_protocol.h"
#include "cmd/serve_rows.h"
#include "net/binds.h"
#include "net/control.h"
#include "server/app.h"
#include "server/db.h"
#include "server/event_app.h"
#include "server/model.h"
#include "server/serve.h"
#include "server/upstream_target.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int serve_main(int argc, char **argv);

static const struct option_spec options = {
    .usage = "srv serve [options] [APP]",
    .summary = "An app server: one handler, every concurrency model.",
    .epilog = "APP is one of\n"
              "  index  GET /?delay=S answers 'Hi there! ' and what the upstream said after S\n"
              "         seconds (default, unless MODULE names another)\n"
              "  db     the same with half of S there and half in PostgreSQL\n"
              "  echo   answers with what it saw of the request\n\n"
              "SIGTERM answers what is here and leaves; a second one, SIGINT or SIGQUIT leave\n"
              "at once. With --workers, SIGHUP replaces the workers and SIGUSR2 the program; no\n"
              "request is lost.",
    .rows = serve_rows,
    .row_count = SERVE_ROWS,
    .positional = "APP",
    .positional_max = 1,
};

const struct command cmd_serve = {
    .name = "serve",
    .summary = "an app server: one handler, every concurrency model",
    .options = &options,
    .run = serve_main,
};

/* PORT_APP and PORT_API are the tutorial's variables: ports on loopback. */
static int port_from(const char *variable, const char *fallback, const char **ret,
                     struct error *err) {
    const char *text = getenv(variable);
    uint64_t port;

    *ret = text != NULL && text[0] != '\0' ? text : fallback;
    if (slice_parse_u64(slice_str(*ret), 65535, &port) == 0)
        return 0;
    return error_set(err, -EINVAL, "%s (environment): '%s' is not allowed; a port from 0 to 65535",
                     variable, *ret);
}

static int apply_defaults(struct serve_options *o, struct error *err) {
    const char *port;

    if (o->config.binds.count == 0) {
        if (port_from("PORT_APP", "3000", &port, err) < 0)
            return -EINVAL;
        snprintf(o->bind_default, sizeof(o->bind_default), "127.0.0.1:%s", port);
        o->config.binds.items[o->config.binds.count++] = o->bind_default;
    }
    if (o->config.upstream_url == NULL) {
        if (port_from("PORT_API", "4000", &port, err) < 0)
            return -EINVAL;
        snprintf(o->upstream_default, sizeof(o->upstream_default), "http://127.0.0.1:%s/", port);
        o->config.upstream_url = o->upstream_default;
    }
    return 0;
}

static int choose_app(struct serve_options *o, const struct option_strings *positionals,
                      struct error *err) {
    const char *name = getenv("MODULE");

    if (positionals->count > 0)
        name = positionals->items[0];
    o->config.app = app_find(name != NULL && name[0] != '\0' ? name : "index");
    if (o->config.app == NULL)
        return error_set(err, -EINVAL, "APP: '%s' is not an application; index, db or echo", name);
    if (o->config.model == &model_event && event_app_find(o->config.app) == NULL)
        return error_set(err, -EINVAL, "APP: '%s' does not run under --model event; index or echo",
                         name);
    return 0;
}

static int check_db(const struct serve_options *o, struct error *err) {
    struct error why = { "" };

    if (db_conninfo_check(o->config.db.conninfo, &why) == 0)
        return 0;
    return error_set(err, -EINVAL, "--db: %s", why.text);
}

static int check_bind(const struct serve_options *o, struct error *err) {
    struct error why = { "" };

    if (binds_check(&o->config.binds, &why) == 0)
        return 0;
    return error_set(err, -EINVAL, "--bind: %s", why.text);
}

static int check_control(const struct serve_options *o, struct error *err) {
    struct error why = { "" };

    if (o->config.control == NULL || control_check(o->config.control, &why) == 0)
        return 0;
    return error_set(err, -EINVAL, "--control: '%s' is not allowed; %s", o->config.control,
                     why.text);
}

static int check_upstream(const struct serve_options *o, struct error *err) {
    struct error why = { "" };
    static const char no_curl[] = "the event model speaks http only, without libcurl";

    if (o->config.model == &model_event && o->config.upstream_client == UPSTREAM_CURL)
        return error_set(err, -EINVAL, "--upstream-client: %s", no_curl);
    if (o->config.model == &model_event && upstream_target_wants_curl(o->config.upstream_url))
        return error_set(err, -EINVAL, "--upstream: %s", no_curl);
    if (o->config.upstream_ca != NULL && access(o->config.upstream_ca, R_OK) < 0)
        return error_set(err, -EINVAL, "--upstream-ca: cannot read '%s': %s", o->config.upstream_ca,
                         strerrordesc_np(errno));

    for (size_t i = 0; i < o->config.upstream_binds.count; i++)
        if (upstream_target_check_bind(o->config.upstream_binds.items[i], &why) < 0)
            return error_set(err, -EINVAL, "--upstream-bind: %s", why.text);
    if (upstream_target_check(o->config.upstream_url, &why) == 0)
        return 0;
    return error_set(err, -EINVAL, "--upstream: %s", why.text);
}

/* The head as a whole keeps its own limit, which must not undercut the ones for its parts. */
static void apply_limits(struct serve_options *o) {
    struct http_limits *limits = &o->config.limits;
    uint32_t parts;

    *limits = (struct http_limits)HTTP_LIMITS_DEFAULT;
    limits->start_line_bytes = (uint32_t)o->request_line;
    limits->fields = (uint32_t)o->request_fields;
    limits->field_bytes = (uint32_t)o->field_size;
    limits->body_bytes = o->request_body;
    parts = limits->start_line_bytes + limits->field_bytes + 6; /* their CRLFs, and the last one */
    if (limits->head_bytes < parts)
        limits->head_bytes = parts;
}

static int check_operating(struct serve_options *o, struct error *err) {
    struct serve_config *c = &o->config;

    if (access_log_check(c->access_log.format, err) < 0)
        return -EINVAL;
    return privileges_find(&c->privileges, c->user, c->group, err);
}

static int serve_main(int argc, char **argv) {
    struct serve_options o = { 0 };
    struct option_strings positionals = { .count = 0 };
    struct error err = { "" };
    int code;

    if (cmd_parse(&options, argc, argv, &o, &positionals, &code) < 0)
        return code;
    apply_limits(&o);
    if (apply_defaults(&o, &err) < 0 || choose_app(&o, &positionals, &err) < 0 ||
        serve_protocol_apply(&o.config, o.protocol, &err) < 0 || check_bind(&o, &err) < 0 ||
        check_upstream(&o, &err) < 0 || check_db(&o, &err) < 0 || check_control(&o, &err) < 0 ||
        check_operating(&o, &err) < 0 || serve_fit_check(&options, argc, argv, &o.config, &err) < 0)
        return cmd_fail("serve", EXIT_USAGE, &err);
    o.config.argv = argv - 1; /* the program stands before its subcommand */
    log_set_level((enum log_level)o.log_level);
    return serve_run(&o.config);
}
