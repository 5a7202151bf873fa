/* SPDX-License-Identifier: MIT */
/* Parses metrics, and keeps those that count. */
#include "loadgen/server_metrics.h"
#include "base/alloc.h"
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* --- life ------------------------------------------------------------------------------------- */

struct server_metrics *server_metrics_new(void) {
    struct server_metrics *m = mem_calloc(1, sizeof(*m));
    if (m != NULL)
        m->sources = mem_calloc(SERVER_METRICS_SOURCES_MAX, sizeof(*m->sources));
    if (m != NULL && m->sources != NULL)
        return m;
    mem_free(m);
    return NULL;
}

void server_metrics_free(struct server_metrics *m) {
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->count; i++)
        mem_free(m->sources[i].counters);
    mem_free(m->sources);
    mem_free(m);
}

struct server_source *server_metrics_source(struct server_metrics *m, const char *url) {
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->sources[i].url, url) == 0)
            return &m->sources[i];
    struct server_source *s = &m->sources[m->count];
    if (m->count == SERVER_METRICS_SOURCES_MAX || strlen(url) >= sizeof(s->url))
        return NULL;
    s->counters = mem_calloc(SERVER_METRICS_MAX, sizeof(*s->counters));
    if (s->counters == NULL)
        return NULL;
    memcpy(s->url, url, strlen(url));
    m->count++;
    return s;
}

/* A name is letters, digits, '_' and ':', so that it is safe to print. */
static bool is_name(struct slice name) {
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':';
        if (!is_letter && !(i > 0 && c >= '0' && c <= '9'))
            return false;
    }
    return name.len > 0;
}

struct server_counter *server_source_counter(struct server_source *s, struct slice name) {
    for (size_t i = s->count; i-- > 0;) /* series of one name stand together */
        if (slice_eq(slice_str(s->counters[i].name), name))
            return &s->counters[i];
    struct server_counter *c = &s->counters[s->count];
    if (s->count == SERVER_METRICS_MAX || name.len >= sizeof(c->name) || !is_name(name))
        return NULL;
    memcpy(c->name, name.ptr, name.len);
    s->count++;
    return c;
}

bool server_source_growth(const struct server_source *s, const char *name, double *ret) {
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->counters[i].name, name) != 0)
            continue;
        *ret = s->counters[i].after - s->counters[i].before;
        return *ret >= 0;
    }
    return false;
}

const char *server_source_requests(const struct server_source *s, double *ret_growth) {
    static const char *const names[] = {
        "srv_requests_total",
        "slowapi_responses_total",
        "http_requests_total",
        "nginx_http_requests_total",
        "http_server_requests_seconds_count",
        "http_request_duration_seconds_count",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (server_source_growth(s, names[i], ret_growth))
            return names[i];
    return NULL;
}

#define VALUE_MAX 1e200 /* sums over all labels stay numbers */

/* --- one line --------------------------------------------------------------------------------- */

enum family_kind { FAMILY_UNKNOWN, FAMILY_COUNTER, FAMILY_DISTRIBUTION, FAMILY_OTHER };

struct family {
    struct slice name;
    enum family_kind kind;
};

static struct slice take_word(struct slice *rest) {
    *rest = slice_trim(*rest);
    size_t len = 0;
    while (len < rest->len && rest->ptr[len] != ' ' && rest->ptr[len] != '\t')
        len++;
    struct slice word = slice_take(*rest, len);
    *rest = slice_drop(*rest, len);
    return word;
}

/* # TYPE name counter */
static void take_comment(struct slice line, struct family *family) {
    struct slice rest = slice_drop(line, 1);
    if (!slice_eq(take_word(&rest), SLICE("TYPE")))
        return;
    family->name = take_word(&rest);
    struct slice kind = take_word(&rest);
    if (slice_eq(kind, SLICE("counter")))
        family->kind = FAMILY_COUNTER;
    else if (slice_eq(kind, SLICE("histogram")) || slice_eq(kind, SLICE("summary")))
        family->kind = FAMILY_DISTRIBUTION;
    else
        family->kind = slice_eq(kind, SLICE("untyped")) || slice_eq(kind, SLICE("unknown"))
                           ? FAMILY_UNKNOWN
                           : FAMILY_OTHER;
}

static bool ends_with(struct slice s, struct slice end) {
    return s.len >= end.len && slice_eq(slice_drop(s, s.len - end.len), end);
}

static bool is_part_of_distribution(struct slice name) {
    return ends_with(name, SLICE("_sum")) || ends_with(name, SLICE("_count"));
}

/* Whether samples of that name only grow. Without a type the name tells, by Prometheus' own rules
 * for names. */
static bool is_counter(const struct family *family, struct slice name) {
    bool is_of_family = slice_starts_with(name, family->name) && family->name.len > 0;
    switch (is_of_family ? family->kind : FAMILY_UNKNOWN) {
    case FAMILY_COUNTER:
        return !ends_with(name, SLICE("_created"));
    case FAMILY_DISTRIBUTION:
        return is_part_of_distribution(name);
    case FAMILY_OTHER:
        return false;
    case FAMILY_UNKNOWN:
        break;
    }
    return ends_with(name, SLICE("_total")) || is_part_of_distribution(name);
}

static bool is_chosen(const char *patterns, struct slice name) {
    char text[SERVER_METRICS_NAME_BYTES], pattern[SERVER_METRICS_NAME_BYTES];
    struct slice rest = slice_str(patterns);
    if (patterns == NULL)
        return true;
    if (name.len >= sizeof(text))
        return false;
    snprintf(text, sizeof(text), "%.*s", (int)name.len, name.ptr);
    while (rest.len > 0) {
        struct slice one = slice_trim(slice_cut(&rest, ','));
        snprintf(pattern, sizeof(pattern), "%.*s", (int)one.len, one.ptr);
        if (one.len < sizeof(pattern) && fnmatch(pattern, text, 0) == 0)
            return true;
    }
    return false;
}

/* Skips `{name="value",...}`; a value may hold anything behind a backslash. False when nothing
 * closes it. */
static bool skip_labels(struct slice *rest) {
    bool is_quoted = false;
    size_t i = 0;
    if (rest->len == 0 || rest->ptr[0] != '{')
        return true;
    while (i < rest->len && (is_quoted || rest->ptr[i] != '}')) {
        is_quoted ^= rest->ptr[i] == '"';
        i += is_quoted && rest->ptr[i] == '\\' ? 2 : 1;
    }
    bool is_closed = i < rest->len;
    *rest = slice_drop(*rest, is_closed ? i + 1 : rest->len);
    return is_closed;
}

static bool parse_value(struct slice text, double *ret) {
    char copy[64], *end;
    if (text.len == 0 || text.len >= sizeof(copy))
        return false;
    snprintf(copy, sizeof(copy), "%.*s", (int)text.len, text.ptr);
    *ret = strtod(copy, &end);
    return end == copy + text.len;
}

static size_t name_len(struct slice line) {
    size_t len = 0;
    while (len < line.len && line.ptr[len] != '{' && line.ptr[len] != ' ' && line.ptr[len] != '\t')
        len++;
    return len;
}

/* name{label="value"} 12.5 [time] */
static void take_sample(struct server_source *s, struct slice line, const struct family *family,
                        const char *patterns, enum server_moment moment) {
    struct slice name = slice_take(line, name_len(line)), rest = slice_drop(line, name.len);
    double value;
    if (!is_name(name) || !skip_labels(&rest) || !parse_value(take_word(&rest), &value)) {
        s->malformed++;
        return;
    }
    if (!(fabs(value) <= VALUE_MAX) || !is_counter(family, name) || !is_chosen(patterns, name))
        return;
    struct server_counter *c = server_source_counter(s, name);
    if (c == NULL)
        s->further++;
    else if (moment == SERVER_BEFORE)
        c->before += value;
    else
        c->after += value;
}

void server_source_read(struct server_source *s, struct slice text, const char *patterns,
                        enum server_moment moment) {
    struct family family = { .kind = FAMILY_UNKNOWN };
    s->further = s->malformed = 0;
    for (size_t i = 0; i < s->count; i++)
        *(moment == SERVER_BEFORE ? &s->counters[i].before : &s->counters[i].after) = 0;
    while (text.len > 0) {
        struct slice line = slice_cut(&text, '\n');
        if (line.len > 0 && line.ptr[line.len - 1] == '\r')
            line.len--;
        line = slice_trim(line);
        if (line.len > 0 && line.ptr[0] == '#')
            take_comment(line, &family);
        else if (line.len > 0)
            take_sample(s, line, &family, patterns, moment);
    }
}
