/* SPDX-License-Identifier: MIT */
/* The rows of the controls, and what follows from their values. */
#include "lab/settings.h"
#include "playground/catalogue.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HANG "30s" /* longer than clients usually wait */

/* Rows of the catalogue that are a slow API and one server. */
static const char *const servers[] = { "srv",           "flask-single",     "flask-threaded",
                                       "uwsgi-threads", "gunicorn-threads", "gevent-pywsgi",
                                       "uwsgi-gevent",  "gunicorn-gevent",  NULL };
static const char *const apps[] = { "index", "curl", "cpu", NULL };
static const char *const models[] = { "green", "pool", "threaded", "single", "event", NULL };
static const char *const switches[] = { "off", "on", NULL };
static const char *const laws[] = { "fixed", "uniform", "exp", "lognormal", "pareto", NULL };
static const char *const loads[] = { "closed", "open", NULL };

#define BIT(value) (1u << (value))
#define SERVER     "Server"
#define UPSTREAM   "Slow API"
#define LOAD       "Load"

const struct setting_row setting_rows[SETTING_COUNT] = {
    [SETTING_SERVER] = { "server", "server", "",
                         "srv serve, or an original that is installed, as srv play starts it",
                         SERVER, servers, .scope = SCOPE_SERVER },
    [SETTING_APP] = { "app", "handler", "",
                      "index calls the slow API through srv's own client; curl does it with "
                      "libcurl's blocking call, which nobody told of green threads; cpu computes "
                      "as well",
                      SERVER, apps, .scope = SCOPE_SERVER },
    [SETTING_MODEL] = { "model", "model", "", "how requests wait", SERVER, models,
                        .scope = SCOPE_SERVER },
    [SETTING_WORKERS] = { "workers", "workers", "", "processes under one master", SERVER, .min = 1,
                          .max = 8, .initial = 1, .scope = SCOPE_WORKERS },
    [SETTING_THREADS] = { "threads", "threads", "", "slots of each worker", SERVER, .min = 1,
                          .max = 250, .initial = 20, .scope = SCOPE_SERVER, .needs = SETTING_MODEL,
                          .needs_bits = BIT(LAB_MODEL_POOL) },
    [SETTING_ASYNC_CORES] = { "async_cores", "async cores", "",
                              "slots of each worker; 0 is no limit", SERVER, .min = 0, .max = 500,
                              .scope = SCOPE_SERVER, .needs = SETTING_MODEL,
                              .needs_bits = BIT(LAB_MODEL_GREEN) | BIT(LAB_MODEL_EVENT) },
    [SETTING_MAX_QUEUE] = { "max_queue", "queue limit", "",
                            "requests of a worker that may wait for a slot, beyond that 503; -1 "
                            "is no limit",
                            SERVER, .min = -1, .max = 500, .initial = -1, .scope = SCOPE_SERVER,
                            .needs = SETTING_MODEL,
                            .needs_bits =
                                BIT(LAB_MODEL_GREEN) | BIT(LAB_MODEL_POOL) | BIT(LAB_MODEL_EVENT) },
    [SETTING_QUEUE_TIMEOUT] = { "queue_timeout_ms", "queue time-out", "ms",
                                "longest wait for a slot, then 503; 0 is no limit", SERVER,
                                .min = 0, .max = 30000, .scope = SCOPE_SERVER,
                                .needs = SETTING_MODEL,
                                .needs_bits = BIT(LAB_MODEL_GREEN) | BIT(LAB_MODEL_POOL) |
                                              BIT(LAB_MODEL_EVENT) },
    [SETTING_REQUEST_TIMEOUT] = { "request_timeout_ms", "request time-out", "ms",
                                  "longest time of a request in the server, then 504; 0 is no "
                                  "limit",
                                  SERVER, .min = 0, .max = 30000, .scope = SCOPE_SERVER },
    [SETTING_UPSTREAM_TIMEOUT] = { "upstream_timeout_ms", "upstream time-out", "ms",
                                   "longest time of one call of the slow API, then 504", SERVER,
                                   .min = 10, .max = 60000, .initial = 60000, .scope = SCOPE_SERVER,
                                   .needs = SETTING_APP,
                                   .needs_bits = BIT(LAB_APP_INDEX) | BIT(LAB_APP_CPU) },
    [SETTING_UPSTREAM_MAX] = { "upstream_max", "upstream limit", "",
                               "calls of a worker that may be in progress; 0 is no limit", SERVER,
                               .min = 0, .max = 500, .scope = SCOPE_SERVER, .needs = SETTING_APP,
                               .needs_bits = BIT(LAB_APP_INDEX) | BIT(LAB_APP_CPU) },
    [SETTING_PATCH] = { "patch", "patched", "",
                        "whether libcurl's waits park the request instead of the thread", SERVER,
                        switches, .initial = 1, .scope = SCOPE_SERVER, .needs = SETTING_APP,
                        .needs_bits = BIT(LAB_APP_CURL) },
    [SETTING_DELAY] = { "delay_ms", "delay", "ms", "mean delay of the slow API", UPSTREAM, .min = 0,
                        .max = 5000, .initial = 200, .scope = SCOPE_RULES },
    [SETTING_LAW] = { "law", "law of delays", "", "how delays vary around their mean", UPSTREAM,
                      laws, .scope = SCOPE_RULES },
    [SETTING_ERRORS] = { "errors_percent", "errors", "%", "answers that are 503", UPSTREAM,
                         .min = 0, .max = 100, .scope = SCOPE_RULES },
    [SETTING_RESETS] = { "resets_percent", "resets", "%",
                         "calls whose connection is reset when the answer is due", UPSTREAM,
                         .min = 0, .max = 100, .scope = SCOPE_RULES },
    [SETTING_HANGS] = { "hangs_percent", "hangs", "%", "calls that hang for " HANG, UPSTREAM,
                        .min = 0, .max = 100, .scope = SCOPE_RULES },
    [SETTING_LOAD] = { "load", "load", "",
                       "closed: clients that wait for their answers; open: requests that come by "
                       "plan, at random, answered or not",
                       LOAD, loads, .scope = SCOPE_LOAD },
    [SETTING_CLIENTS] = { "clients", "clients", "", "each has one request in flight, or thinks",
                          LOAD, .min = 1, .max = 500, .initial = 50, .scope = SCOPE_LOAD,
                          .needs = SETTING_LOAD, .needs_bits = BIT(LAB_LOAD_CLOSED) },
    [SETTING_RATE] = { "rate", "rate", "/s",
                       "requests that are planned per second, whether or not others are answered",
                       LOAD, .min = 1, .max = 1000, .initial = 100, .scope = SCOPE_LOAD,
                       .needs = SETTING_LOAD, .needs_bits = BIT(LAB_LOAD_OPEN) },
    [SETTING_THINK] = { "think_ms", "think time", "ms",
                        "mean pause of a client after its answer, at random", LOAD, .min = 0,
                        .max = 10000, .scope = SCOPE_LOAD, .needs = SETTING_LOAD,
                        .needs_bits = BIT(LAB_LOAD_CLOSED) },
    [SETTING_PATIENCE] = { "patience_ms", "patience", "ms",
                           "a client that has waited so long hangs up", LOAD, .min = 50,
                           .max = 60000, .initial = 60000, .scope = SCOPE_LOAD },
    [SETTING_CPU] = { "cpu_ms", "computing", "ms",
                      "CPU time of a request of the handler cpu, which waits as long on top", LOAD,
                      .min = 0, .max = 100, .initial = 5, .scope = SCOPE_LOAD, .needs = SETTING_APP,
                      .needs_bits = BIT(LAB_APP_CPU) },
};

void settings_init(struct lab_settings *s) {
    for (size_t i = 0; i < SETTING_COUNT; i++)
        s->values[i] = setting_rows[i].initial;
}

const struct playground *settings_original(const struct lab_settings *s) {
    const char *name = servers[s->values[SETTING_SERVER]];
    for (size_t i = 0; i < peer_count; i++)
        if (strcmp(peers[i].name, name) == 0)
            return &peers[i];
    return NULL;
}

/* What an original is like stands in its row. */
bool settings_apply(const struct lab_settings *s, enum setting which) {
    const struct setting_row *row = &setting_rows[which];
    bool is_of_srv =
        which != SETTING_SERVER && (strcmp(row->topic, SERVER) == 0 || which == SETTING_CPU);
    if (is_of_srv && settings_original(s) != NULL)
        return false;
    if (which == SETTING_PATCH && s->values[SETTING_MODEL] != LAB_MODEL_GREEN)
        return false;
    return row->needs_bits == 0 || (row->needs_bits & BIT(s->values[row->needs])) != 0;
}

/* --- from outside ----------------------------------------------------------------------------- */

static int find_row(const char *name) {
    for (int i = 0; i < SETTING_COUNT; i++)
        if (strcmp(setting_rows[i].name, name) == 0)
            return i;
    return -1;
}

static int take_word(const struct setting_row *row, const char *word, int64_t *ret,
                     struct error *err) {
    char all[128];
    size_t used = 0;
    all[0] = '\0';
    for (int64_t i = 0; row->words[i] != NULL; i++) {
        if (word != NULL && strcmp(row->words[i], word) == 0) {
            *ret = i;
            return 0;
        }
        used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%s", i > 0 ? ", " : "",
                                 row->words[i]);
    }
    return error_set(err, -EINVAL, "%s is one of the words %s", row->name, all);
}

static int take_value(const struct setting_row *row, const json_t *value, int64_t *ret,
                      struct error *err) {
    if (row->words != NULL)
        return take_word(row, json_string_value(value), ret, err);
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < row->min || number > row->max)
        return error_set(err, -EINVAL, "%s is a whole number from %lld to %lld", row->name,
                         (long long)row->min, (long long)row->max);
    *ret = number;
    return 0;
}

/* Holds values to each other, which rows cannot. */
static int check(const struct lab_settings *s, struct error *err) {
    if (s->values[SETTING_APP] == LAB_APP_CURL && s->values[SETTING_MODEL] == LAB_MODEL_EVENT)
        return error_set(err, -EINVAL,
                         "the handler curl blocks, and the model event has callbacks "
                         "instead of handlers that may");
    if (s->values[SETTING_APP] == LAB_APP_CPU && s->values[SETTING_MODEL] == LAB_MODEL_EVENT)
        return error_set(err, -EINVAL,
                         "the handler cpu is none of callbacks, as the model event "
                         "wants them");
    return 0;
}

int settings_take(struct lab_settings *s, const json_t *changes, unsigned *ret_scopes,
                  enum setting *ret_last, struct error *err) {
    struct lab_settings next = *s;
    const char *name;
    json_t *value;
    *ret_scopes = 0;
    if (!json_is_object(changes))
        return error_set(err, -EINVAL, "set is an object of controls and their values");
    json_object_foreach((json_t *)(uintptr_t)changes, name, value) {
        int i = find_row(name);
        if (i < 0)
            return error_set(err, -EINVAL, "there is no such control; /controls lists them");
        int rc = take_value(&setting_rows[i], value, &next.values[i], err);
        if (rc != 0)
            return rc;
        if (next.values[i] != s->values[i])
            *ret_last = (enum setting)i;
    }
    int rc = check(&next, err);
    for (int i = 0; rc == 0 && i < SETTING_COUNT; i++)
        if (next.values[i] != s->values[i] &&
            (settings_apply(s, (enum setting)i) || settings_apply(&next, (enum setting)i)))
            *ret_scopes |= setting_rows[i].scope;
    if (rc == 0)
        *s = next;
    return rc;
}

/* --- as JSON ---------------------------------------------------------------------------------- */

json_t *settings_json(const struct lab_settings *s) {
    json_t *object = json_object();
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const struct setting_row *row = &setting_rows[i];
        json_object_set_new(object, row->name,
                            row->words != NULL ? json_string(row->words[s->values[i]])
                                               : json_integer(s->values[i]));
    }
    return object;
}

json_t *settings_applying_json(const struct lab_settings *s) {
    json_t *list = json_array();
    for (int i = 0; i < SETTING_COUNT; i++)
        if (settings_apply(s, (enum setting)i))
            json_array_append_new(list, json_string(setting_rows[i].name));
    return list;
}

static json_t *words_json(const char *const *words, unsigned bits) {
    json_t *list = json_array();
    for (size_t i = 0; words[i] != NULL; i++)
        if (bits & BIT(i))
            json_array_append_new(list, json_string(words[i]));
    return list;
}

static const char *cost(enum setting_scope scope) {
    switch (scope) {
    case SCOPE_SERVER:
        return "server restarts";
    case SCOPE_WORKERS:
        return "at once";
    case SCOPE_RULES:
        return "at once";
    case SCOPE_LOAD:
        return "load restarts";
    }
    return "";
}

static json_t *row_json(const struct setting_row *row) {
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "name", row->name, "label", row->label, "unit",
                  row->unit, "help", row->help, "topic", row->topic, "change", cost(row->scope));
    if (row->words != NULL) {
        json_object_set_new(o, "words", words_json(row->words, ~0u));
        json_object_set_new(o, "initial", json_string(row->words[row->initial]));
    } else {
        json_object_set_new(o, "min", json_integer(row->min));
        json_object_set_new(o, "max", json_integer(row->max));
        json_object_set_new(o, "initial", json_integer(row->initial));
    }
    if (row->needs_bits != 0) {
        const struct setting_row *other = &setting_rows[row->needs];
        json_object_set_new(o, "needs", json_string(other->name));
        json_object_set_new(o, "needs_one_of", words_json(other->words, row->needs_bits));
    }
    return o;
}

json_t *settings_rows_json(void) {
    json_t *list = json_array();
    for (size_t i = 0; i < SETTING_COUNT; i++)
        json_array_append_new(list, row_json(&setting_rows[i]));
    return list;
}

/* --- what follows ----------------------------------------------------------------------------- */

uint32_t settings_slots(const struct lab_settings *s) {
    const struct playground *original = settings_original(s);
    uint32_t workers = (uint32_t)s->values[SETTING_WORKERS];
    if (original != NULL)
        return original->slots != PLAY_SLOTS_UNLIMITED ? original->slots : 0;
    switch ((enum lab_model)s->values[SETTING_MODEL]) {
    case LAB_MODEL_SINGLE:
        return workers;
    case LAB_MODEL_POOL:
        return workers * (uint32_t)s->values[SETTING_THREADS];
    case LAB_MODEL_THREADED:
        return 0;
    case LAB_MODEL_GREEN:
        if (s->values[SETTING_APP] == LAB_APP_CURL && s->values[SETTING_PATCH] == 0)
            return workers; /* a blocking call holds the only thread */
        return workers * (uint32_t)s->values[SETTING_ASYNC_CORES];
    case LAB_MODEL_EVENT:
        return workers * (uint32_t)s->values[SETTING_ASYNC_CORES];
    }
    return 0;
}

/* The handler cpu waits as long as it computes, on top of the delay. */
double settings_service(const struct lab_settings *s) {
    double cpu = settings_apply(s, SETTING_CPU) ? 2 * (double)s->values[SETTING_CPU] : 0;
    return ((double)s->values[SETTING_DELAY] + cpu) / 1e3;
}

/* The law of delays, whose mean is the delay: a log-normal law with p99 = 5 medians has a mean of
 * 1.2705 medians, and a Pareto law of shape 2 one of two minima. */
static void print_law(const struct lab_settings *s, char *text, size_t size) {
    double mean = (double)s->values[SETTING_DELAY];
    switch ((enum lab_law)s->values[SETTING_LAW]) {
    case LAB_LAW_FIXED:
        snprintf(text, size, "%.0fms", mean);
        break;
    case LAB_LAW_UNIFORM:
        snprintf(text, size, "uniform:%.1fms-%.1fms", mean / 2, mean * 1.5);
        break;
    case LAB_LAW_EXP:
        snprintf(text, size, "exp:%.0fms", mean);
        break;
    case LAB_LAW_LOGNORMAL:
        snprintf(text, size, "lognormal:%.2fms,%.2fms", mean / 1.2705, 5 * mean / 1.2705);
        break;
    case LAB_LAW_PARETO:
        snprintf(text, size, "pareto:%.1fms,2", mean / 2);
        break;
    }
}

/* The delay is the work of a queue with many workers, since handlers ask for a delay of their own,
 * which would win. */
const char *settings_params(const struct lab_settings *s, char *text, size_t size) {
    char law[64] = "";
    print_law(s, law, sizeof(law));
    int len = s->values[SETTING_DELAY] > 0
                  ? snprintf(text, size, "workers=%d&queue=10000&service=%s", LAB_UPSTREAM_MAX, law)
                  : snprintf(text, size, "close=false");
    if (s->values[SETTING_ERRORS] > 0)
        len += snprintf(text + len, size - (size_t)len, "&status=503:%d",
                        (int)s->values[SETTING_ERRORS]);
    if (s->values[SETTING_RESETS] > 0 || s->values[SETTING_HANGS] > 0)
        snprintf(text + len, size - (size_t)len, "&fault=rst@head:%d,hang=" HANG "@head:%d",
                 (int)s->values[SETTING_RESETS], (int)s->values[SETTING_HANGS]);
    return text;
}
