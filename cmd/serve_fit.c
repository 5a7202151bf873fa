/* SPDX-License-Identifier: MIT */
/* The options that have no effect beside others or under a model, and why. */
#include "cmd/serve_fit.h"
#include "server/app/app.h"
#include "server/model/model.h"
#include "server/upstream/db.h"
#include <errno.h>

enum { MODELS_MAX = 4 };

/* Options that some models cannot obey. */
static const struct {
    const char *option;
    const struct model *models[MODELS_MAX];
    const char *why;
} rules[] = {
    { "threads",
      { &model_single, &model_threaded, &model_green, &model_event },
      "has no pool of threads" },
    { "spawn",
      { &model_single, &model_threaded, &model_green, &model_event },
      "makes no threads in advance" },
    { "async-cores", { &model_single, &model_threaded, &model_pool }, "has no fibers" },
    { "max-threads",
      { &model_single, &model_pool, &model_green, &model_event },
      "does not make a thread per connection" },
    { "max-queue",
      { &model_single },
      "cannot turn anyone down while it serves; its queue is the kernel's (--backlog)" },
    { "max-queue",
      { &model_threaded },
      "has no queue; --max-threads turns down at once what is too much" },
    { "queue-timeout",
      { &model_single },
      "never waits inside; its queue is the kernel's (--backlog), which tells nobody the time" },
    { "keep-alive-requests",
      { &model_single },
      "keeps no connection: it would have the only thread" },
    { "patch",
      { &model_single, &model_threaded, &model_pool, &model_event },
      "has no fibers; each wait of a library is one of its threads" },
    { "loop-lag-warn", { &model_single, &model_threaded }, "has no loop" },
};

/* The options that evhttp obeys: the library has a call for them, or they are the process's own. */
static const char *const evhttp_obeys[] = {
    "bind",          "model",
    "workers",       "backlog",
    "upstream",      "upstream-timeout",
    "keep-alive",    "graceful-timeout",
    "timeout",       "limit-request-body",
    "max-requests",  "max-requests-jitter",
    "pid",           "user",
    "group",         "control",
    "log-level",     "check-config",
    "server-timing",
};

static bool evhttp_can_obey(const char *option) {
    for (size_t i = 0; i < ARRAY_LEN(evhttp_obeys); i++)
        if (strcmp(evhttp_obeys[i], option) == 0)
            return true;
    return false;
}

static int check_evhttp(const struct option_spec *spec, int argc, char **argv, struct error *err) {
    for (size_t i = 0; i < spec->row_count; i++) {
        const char *option = spec->rows[i].name;

        if (!evhttp_can_obey(option) && option_in_arguments(spec, argc, argv, option))
            return error_set(err, -EINVAL,
                             "--%s: the evhttp model has nothing but what libevent offers", option);
    }
    return 0;
}

static int check_model(const struct option_spec *spec, int argc, char **argv,
                       const struct model *model, struct error *err) {
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        for (size_t k = 0; k < MODELS_MAX; k++)
            if (rules[i].models[k] == model &&
                option_in_arguments(spec, argc, argv, rules[i].option))
                return error_set(err, -EINVAL, "--%s: the %s model %s", rules[i].option,
                                 model->name, rules[i].why);
    return 0;
}

/* Objects call any server, and libcurl may go through proxies of https. */
static bool may_speak_https(const struct serve_config *c) {
    return c->app->built_in == NULL || c->upstream_client == UPSTREAM_CURL || c->upstream_is_https;
}

static bool speaks_uwsgi(const struct serve_config *c) {
    for (size_t i = 0; i < c->binds.count; i++)
        if (c->protocols[i] == PROTOCOL_UWSGI)
            return true;
    return false;
}

/* True if the application may ask a database: any object may. */
static bool has_database(const struct serve_config *c) {
    return c->app == &app_db || c->app->built_in == NULL;
}

/* True if requests may wait: for a slot, for a turn to call the upstream, for a connection to the
 * database. */
static bool may_wait(const struct serve_config *c) {
    bool has_slots = c->model == &model_pool || (c->model != &model_threaded && c->async_cores > 0);

    return has_slots || c->upstream_max > 0 || has_database(c);
}

/* Options that mean something only beside another one. */
static int check_company(const struct option_spec *spec, int argc, char **argv,
                         const struct serve_config *c, struct error *err) {
    static const char db_alone[] = "only the app db asks a database; give db as APP";
    static const char no_https[] = "no certificate is looked at: --upstream is not https://";
    static const char no_upstream[] = "the apps echo and curl ask no upstream; curl has url=";
    bool is_async = c->model == &model_green || c->model == &model_event;
    bool has_db = has_database(c), has_upstream = c->app != &app_echo && c->app != &app_curl;
    const struct {
        const char *option;
        bool fits;
        const char *why;
    } needs[] = {
        { "max-queue", !is_async || c->max_queue < 0 || c->async_cores > 0,
          "without --async-cores no request of the green or event model waits for a slot" },
        { "queue-timeout", c->queue_timeout == 0 || may_wait(c),
          "nothing waits without --async-cores (green, event), --upstream-max or the app db" },
        { "keep-alive", c->keep_alive == 0 || c->model != &model_single,
          "the single model keeps no connection: it would have the only thread" },
        { "upstream", has_upstream, no_upstream },
        { "upstream-client", has_upstream, no_upstream },
        { "upstream-ca", has_upstream, no_upstream },
        { "upstream-insecure", has_upstream, no_upstream },
        { "upstream-cert", has_upstream, no_upstream },
        { "upstream-bind", has_upstream, no_upstream },
        { "upstream-timeout", has_upstream, no_upstream },
        { "upstream-max", has_upstream, no_upstream },
        { "upstream-ca", may_speak_https(c), no_https },
        { "upstream-ca", !c->upstream_insecure, "--upstream-insecure trusts every certificate" },
        { "upstream-insecure", may_speak_https(c), no_https },
        { "upstream-cert", may_speak_https(c), no_https },
        { "upstream-key", c->upstream_cert != NULL, "needs --upstream-cert" },
        { "cert-reqs", c->tls.certificates.count > 0, "needs --certfile" },
        { "ca-certs", c->tls.verify != TLS_VERIFY_NONE,
          "needs --cert-reqs optional or required: no client is asked for a certificate" },
        { "ciphers", c->tls.certificates.count > 0, "needs --certfile" },
        { "ssl-versions", c->tls.certificates.count > 0, "needs --certfile" },
        { "uwsgi-allow-from", speaks_uwsgi(c), "needs --protocol uwsgi, or a uwsgi:// address" },
        { "max-requests", c->max_requests == 0 || c->workers > 0,
          "needs a master to replace the worker; give --workers as well" },
        { "max-requests-jitter", c->max_requests_jitter == 0 || c->max_requests > 0,
          "needs --max-requests" },
        { "timeout", c->timeout == 0 || c->workers > 0,
          "needs a master to replace the worker; give --workers as well" },
        { "reload", c->app->built_in == NULL, "an app that is compiled in never changes" },
        { "control-host", c->control != NULL, "needs --control" },
        { "control-queries", c->control != NULL, "needs --control" },
        { "access-logformat", c->access_log.path != NULL, "needs --access-logfile" },
        { "access-log-slow", c->access_log.path != NULL, "needs --access-logfile" },
        { "db", has_db, db_alone },
        { "db-mode", has_db, db_alone },
        { "db-mode", c->db.mode != DB_PATCHED || c->model == &model_green,
          "patched parks green threads, which only the green model has; blocking is the same "
          "here" },
        { "db-mode", c->db.mode != DB_PATCHED || c->patch != PATCHING_OFF,
          "patched does nothing where --patch (SRV_PATCH) is off; cooperative, or blocking" },
        { "db-pool", has_db, db_alone },
        { "db-connect-per-request", has_db, db_alone },
        { "db-timeout", has_db, db_alone },
        { "db-prepare", has_db, db_alone },
        { "db-idle", has_db, db_alone },
        { "db-lifetime", has_db, db_alone },
        { "db-reset", has_db, db_alone },
        { "db-result-max", has_db, db_alone },
    };

    for (size_t i = 0; i < ARRAY_LEN(needs); i++)
        if (!needs[i].fits && option_in_arguments(spec, argc, argv, needs[i].option))
            return error_set(err, -EINVAL, "--%s: %s", needs[i].option, needs[i].why);
    return 0;
}

int serve_fit_check(const struct option_spec *spec, int argc, char **argv,
                    const struct serve_config *config, struct error *err) {
    int rc = config->model == &model_evhttp ? check_evhttp(spec, argc, argv, err)
                                            : check_model(spec, argc, argv, config->model, err);

    return rc < 0 ? rc : check_company(spec, argc, argv, config, err);
}
