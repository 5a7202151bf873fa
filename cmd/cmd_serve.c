/* SPDX-License-Identifier: MIT */
/* srv serve: options and environment to a struct serve_config. */
#include "base/log.h"
#include "cmd/command.h"
#include "cmd/common.h"
#include "cmd/serve_protocol.h"
#include "net/binds.h"
#include "server/app.h"
#include "server/db.h"
#include "server/model.h"
#include "server/serve.h"
#include "server/upstream.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int serve_main(int argc, char **argv);
static int parse_model(void *config, const char *value, struct error *err);
static int parse_forwarded_allow(void *config, const char *value, struct error *err);
static int parse_uwsgi_allow(void *config, const char *value, struct error *err);

/* What the rows fill: the configuration, and what is looked up or checked before it becomes part of
 * it. */
struct serve_options {
    struct serve_config config;
    int64_t request_line, request_fields, field_size;
    uint64_t request_body;
    int log_level, protocol;
    char bind_default[32], upstream_default[48];
};

#define CONFIG(member) offsetof(struct serve_options, config.member)

static const char *const db_mode_words[] = { "cooperative", "blocking", NULL }; /* enum db_mode */
static const char *const protocol_words[] = { "http", "uwsgi", NULL };          /* enum protocol */
static const char *const header_map_words[] = { "drop", "refuse", NULL }; /* enum header_map */
static const char *const spawn_words[] = { "lazy", "eager", NULL };       /* enum spawn */

static const char *const upstream_clients[] = { "native", "curl", NULL };

static const struct option_row rows[] = {
    { .name = "bind",
      .letter = 'b',
      .topic = "Listening",
      .meta = "ADDR",
      .help = "Address to listen on: HOST:PORT, :PORT, [v6]:PORT or unix:/path, with http:// or "
              "uwsgi:// before it if not as --protocol says; repeatable (default: "
              "127.0.0.1:3000, or the port in PORT_APP).",
      .type = OPTION_STRINGS,
      .offset = CONFIG(binds) },
    { .name = "backlog",
      .topic = "Listening",
      .meta = "N",
      .help = "Connections that the kernel may queue before they are accepted.",
      .type = OPTION_INT,
      .offset = CONFIG(backlog),
      .min = 1,
      .max = 1048576,
      .fallback = "2048" },
    { .name = "protocol",
      .env = "PROTOCOL",
      .topic = "Behind a proxy",
      .meta = "NAME",
      .help =
          "What the addresses speak: http, or uwsgi, the binary protocol of nginx's uwsgi_pass.",
      .type = OPTION_CHOICE,
      .offset = offsetof(struct serve_options, protocol),
      .fallback = "http",
      .choices = protocol_words },
    { .name = "uwsgi-allow-from",
      .topic = "Behind a proxy",
      .meta = "LIST",
      .help =
          "Peers that may speak uwsgi, as ADDRESS, ADDRESS/BITS, unix or *, separated by commas; "
          "others get 403.",
      .type = OPTION_CUSTOM,
      .fallback = "127.0.0.0/8,::1,unix",
      .parse = parse_uwsgi_allow },
    { .name = "forwarded-allow-ips",
      .env = "FORWARDED_ALLOW_IPS",
      .topic = "Behind a proxy",
      .meta = "LIST",
      .help = "Peers whose X-Forwarded-For, X-Forwarded-Proto, Forwarded, X-Real-IP and PROXY "
              "headers are believed; written as --uwsgi-allow-from.",
      .type = OPTION_CUSTOM,
      .fallback = "127.0.0.0/8,::1,unix",
      .parse = parse_forwarded_allow },
    { .name = "proxy-protocol",
      .topic = "Behind a proxy",
      .help = "Every connection begins with a PROXY header, version 1 or 2, from a peer in "
              "--forwarded-allow-ips.",
      .type = OPTION_FLAG,
      .offset = CONFIG(proxy_protocol) },
    { .name = "header-map",
      .topic = "Behind a proxy",
      .meta = "HOW",
      .help = "What becomes of header fields with an underscore in their names, which pass for "
              "others: drop, or refuse the request with 400.",
      .type = OPTION_CHOICE,
      .offset = CONFIG(header_map),
      .fallback = "drop",
      .choices = header_map_words },
    { .name = "model",
      .letter = 'k',
      .topic = "Concurrency",
      .meta = "MODEL",
      .help =
          "How requests wait: green (a fiber each), pool (a bounded number of threads), threaded "
          "(a thread per connection), single (one at a time) or event (callbacks on evhttp).",
      .type = OPTION_CUSTOM,
      .fallback = "green",
      .parse = parse_model },
    { .name = "workers",
      .letter = 'w',
      .env = "WORKERS",
      .topic = "Concurrency",
      .meta = "N",
      .help = "Worker processes under a master; 0 serves in this process, without a master.",
      .type = OPTION_INT,
      .offset = CONFIG(workers),
      .min = 0,
      .max = 1000,
      .fallback = "0" },
    { .name = "threads",
      .env = "THREADS",
      .topic = "Concurrency",
      .meta = "N",
      .help = "Threads of one pool worker: requests that it serves at once.",
      .type = OPTION_INT,
      .offset = CONFIG(threads),
      .min = 1,
      .max = 10000,
      .fallback = "50" },
    { .name = "spawn",
      .topic = "Concurrency",
      .meta = "WHEN",
      .help = "When a pool makes its threads: lazy (on demand) or eager (all at start).",
      .type = OPTION_CHOICE,
      .offset = CONFIG(spawn),
      .fallback = "lazy",
      .choices = spawn_words },
    { .name = "async-cores",
      .env = "ASYNC_CORES",
      .topic = "Concurrency",
      .meta = "N",
      .help =
          "Requests in progress of one green worker; 0 is no limit. A worker that is full stops "
          "accepting; requests on its open connections wait, first in first out.",
      .type = OPTION_INT,
      .offset = CONFIG(async_cores),
      .min = 0,
      .max = 30000,
      .fallback = "0" },
    { .name = "max-queue",
      .topic = "Concurrency",
      .meta = "N",
      .help = "Requests of one pool or green worker that may wait for a slot; beyond that 503 at "
              "once; -1 is no limit, and a full worker stops accepting.",
      .type = OPTION_INT,
      .offset = CONFIG(max_queue),
      .min = -1,
      .max = 1000000,
      .fallback = "-1" },
    { .name = "queue-timeout",
      .topic = "Concurrency",
      .meta = "TIME",
      .help = "Longest time that a request waits for a slot, or for a database connection; then "
              "503; 0 is no limit.",
      .type = OPTION_DURATION,
      .offset = CONFIG(queue_timeout),
      .min = 0,
      .max = 86400 * NSEC_PER_SEC,
      .fallback = "0" },
    { .name = "max-threads",
      .topic = "Concurrency",
      .meta = "N",
      .help = "Connections that the threaded model serves at once; more get 503; 0 is no limit.",
      .type = OPTION_INT,
      .offset = CONFIG(max_threads),
      .min = 0,
      .max = 30000,
      .fallback = "0" },
    { .name = "upstream",
      .topic = "Upstream",
      .meta = "URL",
      .help = "The slow API that handlers call (default: http://127.0.0.1:4000/, or the port in "
              "PORT_API).",
      .type = OPTION_STRING,
      .offset = CONFIG(upstream_url) },
    { .name = "upstream-client",
      .topic = "Upstream",
      .meta = "CLIENT",
      .help = "Who speaks to the upstream: native, or curl (libcurl: HTTP/2 where offered, proxies "
              "from the environment); https:// is always curl.",
      .type = OPTION_CHOICE,
      .offset = CONFIG(upstream_client),
      .fallback = "native",
      .choices = upstream_clients },
    { .name = "upstream-ca",
      .topic = "Upstream",
      .meta = "FILE",
      .help = "Trusted certificates for https:// upstreams, PEM (default: the system's).",
      .type = OPTION_STRING,
      .offset = CONFIG(upstream_ca) },
    { .name = "upstream-timeout",
      .topic = "Upstream",
      .meta = "TIME",
      .help = "Longest time of one call, from connecting to the last byte; then 504.",
      .type = OPTION_DURATION,
      .offset = CONFIG(upstream_timeout),
      .min = NSEC_PER_MSEC,
      .max = 86400 * NSEC_PER_SEC,
      .fallback = "60s" },
    { .name = "db",
      .topic = "Database",
      .meta = "CONNINFO",
      .help = "PostgreSQL of the app db, as libpq takes it: 'host=... dbname=...' or "
              "postgresql://...; PG* variables fill in what is missing.",
      .type = OPTION_STRING,
      .offset = CONFIG(db.conninfo),
      .fallback = "" },
    { .name = "db-mode",
      .topic = "Database",
      .help = "How libpq waits: cooperative lets other requests run, blocking stops the thread "
              "(and every request of a green worker).",
      .type = OPTION_CHOICE,
      .offset = CONFIG(db.mode),
      .fallback = "cooperative",
      .choices = db_mode_words },
    { .name = "db-pool",
      .topic = "Database",
      .meta = "N",
      .help = "Connections of one worker; requests beyond them wait, first in first out.",
      .type = OPTION_INT,
      .offset = CONFIG(db.pool),
      .min = 1,
      .max = 10000,
      .fallback = "10" },
    { .name = "db-connect-per-request",
      .topic = "Database",
      .help = "Open a connection for each statement and close it, instead of keeping a pool.",
      .type = OPTION_FLAG,
      .offset = CONFIG(db.per_request) },
    { .name = "db-timeout",
      .topic = "Database",
      .meta = "TIME",
      .help = "Longest time for connecting and running one statement; then 504; blocking mode "
              "cannot keep it.",
      .type = OPTION_DURATION,
      .offset = CONFIG(db.timeout),
      .min = NSEC_PER_MSEC,
      .max = 86400 * NSEC_PER_SEC,
      .fallback = "60s" },
    { .name = "header-timeout",
      .topic = "Clients",
      .meta = "TIME",
      .help = "Longest time for a request's head to arrive; then 408.",
      .type = OPTION_DURATION,
      .offset = CONFIG(header_timeout),
      .min = NSEC_PER_MSEC,
      .max = 86400 * NSEC_PER_SEC,
      .fallback = "10s" },
    { .name = "body-timeout",
      .topic = "Clients",
      .meta = "TIME",
      .help = "Longest silence while a request's body arrives; then 408.",
      .type = OPTION_DURATION,
      .offset = CONFIG(body_timeout),
      .min = NSEC_PER_MSEC,
      .max = 86400 * NSEC_PER_SEC,
      .fallback = "30s" },
    { .name = "send-timeout",
      .topic = "Clients",
      .meta = "TIME",
      .help = "Longest time for a client to take its answer; then the connection is closed.",
      .type = OPTION_DURATION,
      .offset = CONFIG(send_timeout),
      .min = NSEC_PER_MSEC,
      .max = 86400 * NSEC_PER_SEC,
      .fallback = "30s" },
    { .name = "keep-alive",
      .topic = "Clients",
      .meta = "TIME",
      .help = "How long an idle connection is kept for the next request; 0 closes after each.",
      .type = OPTION_DURATION,
      .offset = CONFIG(keep_alive),
      .min = 0,
      .max = 86400 * NSEC_PER_SEC,
      .fallback = "5s" },
    { .name = "keep-alive-requests",
      .topic = "Clients",
      .meta = "N",
      .help = "Requests served on one connection before it is closed; 0 is no limit.",
      .type = OPTION_INT,
      .offset = CONFIG(keep_alive_requests),
      .min = 0,
      .max = UINT32_MAX,
      .fallback = "0" },
    { .name = "request-timeout",
      .topic = "Clients",
      .meta = "TIME",
      .help = "Longest time from a complete request to its answer, queueing included; then 504 for "
              "this request alone; 0 is no limit.",
      .type = OPTION_DURATION,
      .offset = CONFIG(request_timeout),
      .min = 0,
      .max = 86400 * NSEC_PER_SEC,
      .fallback = "0" },
    { .name = "limit-request-line",
      .topic = "Limits",
      .meta = "BYTES",
      .help = "Longest request line; then 414.",
      .type = OPTION_INT,
      .offset = offsetof(struct serve_options, request_line),
      .min = 16,
      .max = 65536,
      .fallback = "8190" },
    { .name = "limit-request-fields",
      .topic = "Limits",
      .meta = "N",
      .help = "Header fields of one request; then 431.",
      .type = OPTION_INT,
      .offset = offsetof(struct serve_options, request_fields),
      .min = 1,
      .max = 32768,
      .fallback = "100" },
    { .name = "limit-request-field-size",
      .topic = "Limits",
      .meta = "BYTES",
      .help =
          "Longest header field, name and value; then 431. A whole head may have 64 KiB, or one "
          "request line and one field when these may be longer.",
      .type = OPTION_INT,
      .offset = offsetof(struct serve_options, field_size),
      .min = 16,
      .max = 262144,
      .fallback = "8190" },
    { .name = "limit-request-body",
      .topic = "Limits",
      .meta = "SIZE",
      .help = "Largest request body; then 413.",
      .type = OPTION_SIZE,
      .offset = offsetof(struct serve_options, request_body),
      .min = 0,
      .max = 1073741824,
      .fallback = "1m" },
    { .name = "pid",
      .topic = "Operating",
      .meta = "FILE",
      .help = "File to write the process to signal into (the master, when there is one).",
      .type = OPTION_STRING,
      .offset = CONFIG(pid_path) },
    { .name = "graceful-timeout",
      .topic = "Operating",
      .meta = "TIME",
      .help = "How long SIGTERM lets running requests finish.",
      .type = OPTION_DURATION,
      .offset = CONFIG(graceful_timeout),
      .min = 0,
      .max = 86400 * NSEC_PER_SEC,
      .fallback = "30s" },
    { .name = "log-level",
      .topic = "Seeing",
      .meta = "LEVEL",
      .help = "What goes to stderr.",
      .type = OPTION_CHOICE,
      .offset = offsetof(struct serve_options, log_level),
      .fallback = "info",
      .choices = cmd_log_levels },
};

static const struct option_spec options = {
    .usage = "srv serve [options] [APP]",
    .summary = "An app server: one handler, every concurrency model.",
    .epilog =
        "APP is index (default, or the name in MODULE): GET /?delay=S answers 'Hi there! ' and "
        "what the upstream said after S seconds. db: half of S there, half in PostgreSQL. echo: "
        "answers with what it saw of the request.\n",
    .rows = rows,
    .row_count = ARRAY_LEN(rows),
    .positional = "APP",
    .positional_max = 1,
};

const struct command cmd_serve = {
    .name = "serve",
    .summary = "an app server: one handler, every concurrency model",
    .options = &options,
    .run = serve_main,
};

static int parse_model(void *config, const char *value, struct error *err) {
    struct serve_options *o = config;

    o->config.model = model_find(value);
    if (o->config.model == NULL)
        return error_set(err, -EINVAL, "green, pool, threaded, single or event");
    return 0;
}

static int parse_forwarded_allow(void *config, const char *value, struct error *err) {
    struct serve_options *o = config;

    return cidr_list_parse(value, &o->config.forwarded_allow, err);
}

static int parse_uwsgi_allow(void *config, const char *value, struct error *err) {
    struct serve_options *o = config;

    return cidr_list_parse(value, &o->config.uwsgi_allow, err);
}

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
    if (o->config.model == &model_event && o->config.app != &app_index)
        return error_set(err, -EINVAL, "APP: '%s' does not run under --model event; index", name);
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

static int check_upstream(const struct serve_options *o, struct error *err) {
    struct error why = { "" };
    bool curl =
        o->config.upstream_client == UPSTREAM_CURL || upstream_wants_curl(o->config.upstream_url);

    if (curl && o->config.model == &model_event)
        return error_set(err, -EINVAL,
                         "--upstream: the event model speaks http only, through evhttp");
    if (o->config.upstream_ca != NULL && access(o->config.upstream_ca, R_OK) < 0)
        return error_set(err, -EINVAL, "--upstream-ca: cannot read '%s': %s", o->config.upstream_ca,
                         strerrordesc_np(errno));

    if (upstream_check(o->config.upstream_url, &why) == 0)
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
        check_upstream(&o, &err) < 0 || check_db(&o, &err) < 0)
        return cmd_fail("serve", EXIT_USAGE, &err);
    log_set_level((enum log_level)o.log_level);
    return serve_run(&o.config);
}
