/* SPDX-License-Identifier: MIT */
/* srv serve: options and environment to a struct serve_config. */
#include "base/alloc.h"
#include "base/log.h"
#include "cmd/command.h"
#include "cmd/common.h"
#include "cmd/serve_fit.h"
#include "cmd/serve_new.h"
#include "cmd/serve_protocol.h"
#include "cmd/serve_rows.h"
#include "fiber/patch.h"
#include "http/chars.h"
#include "net/control.h"
#include "net/listeners.h"
#include "server/app/app.h"
#include "server/app/event_app.h"
#include "server/app/source.h"
#include "server/conn/access_log.h"
#include "server/model/model.h"
#include "server/serve.h"
#include "server/upstream/db.h"
#include "server/upstream/exchange.h"
#include "server/worker.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int serve_main(int argc, char **argv);

const struct command cmd_serve = {
    .name = "serve",
    .summary = "an app server: one handler, every concurrency model",
    .options = &serve_spec,
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
    o->config.upstream_is_https = upstream_target_is_https(o->config.upstream_url);
    return 0;
}

/* The words of THREADS choose a model; --threads takes a number only, and refuses them. */
static int choose_model(struct serve_options *o, int argc, char **argv, struct error *err) {
    if (o->threads_model == NULL)
        return 0;
    if (option_in_arguments(&serve_spec, argc, argv, "threads"))
        return error_set(err, -EINVAL,
                         "--threads: '%s' is not allowed; a whole number, or --model "
                         "%s",
                         o->threads_model == &model_single ? "without" : "with",
                         o->threads_model->name);
    if (!option_in_arguments(&serve_spec, argc, argv, "model"))
        o->config.model = o->threads_model;
    return 0;
}

/* The modules of the tutorial's last lesson: app lets psycopg2 block, patched makes it wait like
 * the rest. Other names are those of our applications. */
static const struct {
    const char *module;
    enum db_mode mode;
} tutorial_modules[] = { { "app", DB_BLOCKING }, { "patched", DB_COOPERATIVE } };

/* The application that MODULE means, or its name; a --db-mode that is written out wins. */
static const char *app_of_module(struct serve_options *o, const char *module, bool has_mode) {
    for (size_t i = 0; i < ARRAY_LEN(tutorial_modules); i++) {
        if (strcmp(module, tutorial_modules[i].module) != 0)
            continue;
        if (!has_mode)
            o->config.db.mode = (int)tutorial_modules[i].mode;
        return "db";
    }
    return module;
}

/* The KEY=VALUE behind the application. */
static int take_config(struct serve_options *o, const struct option_strings *positionals,
                       const char *name, struct error *err) {
    if (o->config.app->built_in != NULL && !o->config.app->reads_config && positionals->count > 1)
        return error_set(err, -EINVAL, "APP: '%s' is not allowed behind '%s', which reads nothing",
                         positionals->items[1], name);
    for (size_t i = 1; i < positionals->count; i++) {
        const char *item = positionals->items[i];

        if (strchr(item, '=') == NULL || item[0] == '=')
            return error_set(err, -EINVAL, "APP: '%s' is not allowed behind '%s'; KEY=VALUE", item,
                             name);
        o->config.app_config.items[o->config.app_config.count++] = item;
    }
    return 0;
}

/* Refuses an APP that the model cannot run. */
static int check_app_model(const struct serve_options *o, const char *from, const char *given,
                           struct error *err) {
    const struct model *model = o->config.model;

    if (model == &model_evhttp && o->config.app != &app_index)
        return error_set(err, -EINVAL, "%s: '%s' does not run under --model evhttp; index", from,
                         given);
    if (model == &model_event && event_app_find(o->config.app->name) == NULL)
        return error_set(err, -EINVAL, "%s: '%s' does not run under --model event; index or echo",
                         from, given);
    return 0;
}

static int choose_app(struct serve_options *o, const struct option_strings *positionals,
                      bool has_mode, struct error *err) {
    const char *module = getenv("MODULE");
    const char *given = "index", *name = given, *from = "APP";

    if (module != NULL && module[0] != '\0') {
        given = module;
        name = app_of_module(o, module, has_mode);
        from = "MODULE (environment)";
    }
    if (positionals->count > 0) {
        given = name = positionals->items[0];
        from = "APP";
    }
    o->object = (struct app){ .name = name, .one_thread = o->config.model == &model_green };
    o->config.app = object_is_named(name) ? &o->object : app_find(name);
    if (o->config.app == NULL)
        return error_set(err, -EINVAL, "%s: '%s' is not an application; index, db%s", from, given,
                         given == module ? ", cpu, self, echo, curl, app or patched"
                                         : ", cpu, self, echo, curl, or FILE.so or FILE.c");
    if (take_config(o, positionals, name, err) < 0)
        return -EINVAL;
    return check_app_model(o, from, given, err);
}

/* Last, since it runs code: 2 is the code of an application that cannot be served. */
static int check_app(struct serve_options *o, struct error *err) {
    const struct srv_worker own = { .config = &o->config.app_config };
    const struct app *app = o->config.app;
    int rc;

    if (app->built_in != NULL)
        return app_check(app->name, app->built_in, &own, err);
    rc = object_check(app, &own, &o->config.privileges, &o->object_path, err);
    o->object.object = o->object_path;
    return rc;
}

static int check_db(const struct serve_options *o, struct error *err) {
    struct error why = { "" };

    if (db_conninfo_check(o->config.db.conninfo, &why) == 0)
        return 0;
    return error_set(err, -EINVAL, "--db: %s", why.text);
}

/* Under auto such an application runs unpatched, with a warning. */
static int check_patch(const struct serve_options *o, struct error *err) {
    struct error why = { "" };

    if (o->config.model != &model_green || o->config.patch != PATCHING_ON || patch_check(&why) == 0)
        return 0;
    return error_set(err, -EINVAL, "--patch: %s", why.text);
}

static int check_bind(const struct serve_options *o, struct error *err) {
    struct error why = { "" };

    if (listeners_check(&o->config.binds, &why) == 0)
        return 0;
    return error_set(err, -EINVAL, "--bind: %s", why.text);
}

static int check_control(const struct serve_options *o, struct error *err) {
    struct error why = { "" };

    if (control_hosts_check(&o->config.control_hosts, err) < 0)
        return -EINVAL;
    if (o->config.control == NULL || control_check(o->config.control, &why) == 0)
        return 0;
    return error_set(err, -EINVAL, "--control: '%s' is not allowed; %s", o->config.control,
                     why.text);
}

static int check_upstream(const struct serve_options *o, struct error *err) {
    struct error why = { "" };
    const struct {
        const char *option, *path;
    } files[] = { { "upstream-ca", o->config.upstream_ca },
                  { "upstream-cert", o->config.upstream_cert },
                  { "upstream-key", o->config.upstream_key } };

    if (o->config.model == &model_event && o->config.upstream_client == UPSTREAM_CURL)
        return error_set(err, -EINVAL, "--upstream-client: the event model has no libcurl");
    if (o->config.model == &model_evhttp && o->config.upstream_is_https)
        return error_set(err, -EINVAL, "--upstream: the evhttp model speaks http only");
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        if (files[i].path != NULL && access(files[i].path, R_OK) < 0)
            return error_set(err, -EINVAL, "--%s: cannot read '%s': %s", files[i].option,
                             files[i].path, strerrordesc_np(errno));

    for (size_t i = 0; i < o->config.upstream_resolve.count; i++)
        if (resolve_check_override(o->config.upstream_resolve.items[i], &why) < 0)
            return error_set(err, -EINVAL, "--upstream-resolve: '%s' is not allowed; %s",
                             o->config.upstream_resolve.items[i], why.text);
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
    parts = limits->start_line_bytes + limits->field_bytes +
            6; /* two CRLFs, and the one that ends the head */
    if (limits->head_bytes < parts)
        limits->head_bytes = parts;
}

/* True for a path that a request can ask for: no query, and no byte that a target may not have. */
static bool is_plain_path(const char *path) {
    for (const char *at = path; *at != '\0'; at++)
        if ((unsigned char)*at <= ' ' || *at == 0x7f || *at == '?' || *at == '#')
            return false;
    return path[0] == '/';
}

static int check_operating(struct serve_options *o, struct error *err) {
    struct serve_config *c = &o->config;

    if (access_log_check(c->access_log.format, err) < 0)
        return -EINVAL;
    if (c->health_path != NULL && !is_plain_path(c->health_path))
        return error_set(err, -EINVAL,
                         "--health-path: '%s' is not allowed; a path that begins with '/', without "
                         "a query",
                         c->health_path);
    if (http_span(c->request_id_header, strlen(c->request_id_header), HTTP_CHAR_TOKEN) <
        strlen(c->request_id_header))
        return error_set(err, -EINVAL, "--request-id-header: '%s' is not the name of a field",
                         c->request_id_header);
    return privileges_find(&c->privileges, c->user, c->group, err);
}

/* Checks, after parsing, what no row can check alone, and fills in what follows from the rows. */
static int complete(struct serve_options *o, int argc, char **argv,
                    const struct option_strings *positionals, struct error *err) {
    bool has_mode = option_in_arguments(&serve_spec, argc, argv, "db-mode");

    apply_limits(o);
    if (o->config.reload && o->config.workers == 0)
        o->config.workers = 1; /* new code is loaded by new workers, and a master makes them */
    if (apply_defaults(o, err) < 0 || choose_model(o, argc, argv, err) < 0 ||
        choose_app(o, positionals, has_mode, err) < 0 ||
        serve_protocol_apply(&o->config, o->protocol, err) < 0 || check_bind(o, err) < 0 ||
        check_upstream(o, err) < 0 || check_db(o, err) < 0 || check_control(o, err) < 0 ||
        check_operating(o, err) < 0 ||
        serve_fit_check(&serve_spec, argc, argv, &o->config, err) < 0 || check_patch(o, err) < 0 ||
        check_app(o, err) < 0)
        return -EINVAL;
    o->config.argv = argv - 1; /* the program stands before its subcommand */
    return 0;
}

/* --patch report: says what of the application is patched, and serves nothing. The exit code. */
static int report(struct serve_options *o, const struct option_strings *positionals) {
    struct error err = { "" };

    if (choose_app(o, positionals, true, &err) < 0 ||
        privileges_find(&o->config.privileges, o->config.user, o->config.group, &err) < 0)
        return cmd_fail("serve", EXIT_USAGE, &err);
    o->object.one_thread = false; /* SRV_BLOCKS is part of the report */
    if (app_report(o->config.app, &o->config.privileges, &err) < 0)
        return cmd_fail("serve", EXIT_CANNOT, &err);
    return 0;
}

static int serve_main(int argc, char **argv) {
    struct serve_options *o = mem_calloc(1, sizeof(*o)); /* large for a stack */
    struct option_strings positionals = { .count = 0 };
    struct error err = { "" };
    int code = 0;

    if (o == NULL) {
        error_set(&err, -ENOMEM, "out of memory");
        return cmd_fail("serve", EXIT_CANNOT, &err);
    }
    if (cmd_parse(&serve_spec, argc, argv, o, &positionals, &code) == 0) {
        if (o->print_header) {
            fputs(app_header, stdout);
        } else if (o->new_name != NULL) {
            code = serve_new(o->new_name);
        } else if (o->config.patch == PATCHING_REPORT) {
            code = report(o, &positionals);
        } else if (complete(o, argc, argv, &positionals, &err) < 0 ||
                   (o->check_config && serve_check(&o->config, &err) < 0)) {
            code = cmd_fail("serve", EXIT_USAGE, &err);
        } else if (o->check_config) {
            printf("srv serve: the configuration is good\n");
        } else {
            log_set_level((enum log_level)o->log_level);
            code = serve_run(&o->config);
        }
    }
    mem_free(o->object_path);
    mem_free(o);
    return code;
}
