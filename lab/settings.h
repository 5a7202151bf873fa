/* SPDX-License-Identifier: MIT */
/* The controls of a lane as rows: names, bounds, words, and what a change of each costs. The page
 * makes its controls out of them, and what comes from outside is held to them. */
#ifndef LAB_SETTINGS_H
#define LAB_SETTINGS_H

#include "base/attr.h"
#include "base/clock.h"
#include "base/error.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define LAB_CONNECTIONS_MAX 500 /* connections of a planned load: more requests wait */
#define LAB_UPSTREAM_MAX    256 /* calls that the slow API works on at once: slowapi's `workers` */

enum setting {
    SETTING_SERVER,
    SETTING_APP,
    SETTING_MODEL,
    SETTING_WORKERS,
    SETTING_THREADS,
    SETTING_ASYNC_CORES,
    SETTING_MAX_QUEUE,
    SETTING_QUEUE_TIMEOUT,
    SETTING_REQUEST_TIMEOUT,
    SETTING_UPSTREAM_TIMEOUT,
    SETTING_UPSTREAM_MAX,
    SETTING_PATCH,
    SETTING_DELAY,
    SETTING_LAW,
    SETTING_ERRORS,
    SETTING_RESETS,
    SETTING_HANGS,
    SETTING_LOAD,
    SETTING_CLIENTS,
    SETTING_RATE,
    SETTING_THINK,
    SETTING_PATIENCE,
    SETTING_CPU,
    SETTING_COUNT,
};

enum lab_app { LAB_APP_INDEX, LAB_APP_CURL, LAB_APP_CPU };
enum lab_model {
    LAB_MODEL_GREEN,
    LAB_MODEL_POOL,
    LAB_MODEL_THREADED,
    LAB_MODEL_SINGLE,
    LAB_MODEL_EVENT
};
enum lab_law { LAB_LAW_FIXED, LAB_LAW_UNIFORM, LAB_LAW_EXP, LAB_LAW_LOGNORMAL, LAB_LAW_PARETO };
enum lab_load { LAB_LOAD_CLOSED, LAB_LOAD_OPEN };

/* Means that take a change over; bits. */
enum setting_scope {
    SCOPE_SERVER = 1,  /* the server starts again, and the load with it */
    SCOPE_WORKERS = 2, /* signals to the master */
    SCOPE_RULES = 4,   /* rules of the slow API */
    SCOPE_LOAD = 8,    /* the load generator starts again */
};

struct lab_settings {
    int64_t values[SETTING_COUNT]; /* for words: their index */
};

struct setting_row {
    const char *name;  /* in JSON and in the page's address; its unit is its end */
    const char *label; /* for people */
    const char *unit;  /* "ms", "%", "/s" or "" */
    const char *help;
    const char *topic;
    const char *const *words; /* ended by NULL; NULL: a number from min to max */
    int64_t min, max, initial;
    enum setting_scope scope;
    enum setting needs; /* the row applies when that one has a value of these bits; 0: always */
    unsigned needs_bits;
};

extern const struct setting_row setting_rows[SETTING_COUNT];

struct playground;

/* The row of an original that stands in the place of srv serve (playground/catalogue.h); NULL: srv
 * does. */
const struct playground *settings_original(const struct lab_settings *s);

void settings_init(struct lab_settings *s);

/* Whether the control changes anything, as the others stand. */
bool settings_apply(const struct lab_settings *s, enum setting which);

/* Takes {"NAME": value, ...} over into `s`, all or nothing. *ret_scopes: bits of what changed;
 * *ret_last: the last row that did, when any. 0 or -EINVAL with a line. */
NODISCARD int settings_take(struct lab_settings *s, const json_t *changes, unsigned *ret_scopes,
                            enum setting *ret_last, struct error *err);

/* The names of the controls that change anything, as all stand. NULL when out of memory. */
NODISCARD json_t *settings_applying_json(const struct lab_settings *s);

/* {"NAME": value, ...}. NULL when out of memory. */
NODISCARD json_t *settings_json(const struct lab_settings *s);

/* The rows, for the page. NULL when out of memory. */
NODISCARD json_t *settings_rows_json(void);

/* Requests that are served at the same time; 0: no limit. */
uint32_t settings_slots(const struct lab_settings *s);

/* The time in which a request keeps its slot, on average, as far as it was asked for: the delay of
 * the slow API, and computing. Seconds. */
double settings_service(const struct lab_settings *s);

/* The parameters of the slow API, as a rule has them. Returns `text`, cut to `size`. */
const char *settings_params(const struct lab_settings *s, char *text, size_t size);

#endif
