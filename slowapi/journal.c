/* SPDX-License-Identifier: MIT */
/* Keeps the last requests, and finds them again. */
#include "slowapi/journal.h"
#include "base/alloc.h"
#include "base/base64.h"
#include "base/json.h"
#include "base/robust_mutex.h"
#include "http/url.h"
#include "net/peer.h"
#include "slowapi/fault.h"
#include "slowapi/limits.h"
#include "slowapi/pattern.h"
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define RULE_BYTES    132 /* the name of a rule has 128 */
#define OUTCOME_BYTES 16
#define PAIRS_MAX     8 /* header and arg in one search, each */
#define LIMIT         100

/* `bytes` has the target, the header lines and the body, one after the other. */
struct journal_entry {
    uint64_t number; /* 0: free */
    nsec_t wall, delay, late, upstream;
    uint32_t target_bytes, fields_bytes, body_bytes;
    bool is_cut; /* not all of the target and the header lines is there */
    bool has_ended, has_begun;
    uint8_t method;
    uint16_t status;
    uint64_t body_came, sent_bytes, faults; /* faults: kinds of those that struck, as bits */
    struct peer client;
    char rule[RULE_BYTES], outcome[OUTCOME_BYTES];
    char bytes[JOURNAL_BYTES];
};

/* Entry N stands at place N % capacity. */
struct journal {
    pthread_mutex_t mutex;
    size_t size_bytes;
    uint64_t last; /* number of the newest */
    uint32_t capacity;
    struct journal_entry entries[];
};

/* --- the mapping ------------------------------------------------------------------------------ */

struct journal *journal_new(uint32_t entries, struct error *err) {
    size_t size = sizeof(struct journal) + entries * sizeof(struct journal_entry);
    struct journal *j = mem_share(size);

    if (j == NULL) {
        error_set(err, -ENOMEM, "--journal %u: no shared memory: %s", entries,
                  strerrordesc_np(ENOMEM));
        return NULL;
    }
    robust_mutex_init(&j->mutex);
    j->size_bytes = size;
    j->capacity = entries;
    return j;
}

void journal_free(struct journal *j) {
    if (j != NULL)
        mem_unshare(j, j->size_bytes);
}

/* A worker that died while it held the lock leaves at worst an entry of which a part is missing:
 * lengths are written after the bytes. */
static void journal_lock(struct journal *j) {
    (void)robust_mutex_lock(&j->mutex);
}

static void journal_unlock(struct journal *j) {
    pthread_mutex_unlock(&j->mutex);
}

static struct journal_entry *place_of(struct journal *j, uint64_t number) {
    return &j->entries[number % j->capacity];
}

/* --- taking down ------------------------------------------------------------------------------ */

static uint32_t put(struct journal_entry *e, uint32_t at, struct slice text) {
    size_t room = sizeof(e->bytes) - at;

    text = slice_take(text, room);
    memcpy(e->bytes + at, text.ptr, text.len);
    return (uint32_t)text.len;
}

/* Whole lines only. */
static struct slice fitting_lines(struct slice fields, size_t room) {
    while (fields.len > room) {
        const char *end = memrchr(fields.ptr, '\n', fields.len - 1);
        fields.len = end != NULL ? (size_t)(end - fields.ptr) + 1 : 0;
    }
    return fields;
}

uint64_t journal_begin(struct journal *j, const struct http_head *head, int fd, const char *rule) {
    struct peer client = peer_of_socket(fd);

    journal_lock(j);
    uint64_t number = ++j->last;
    struct journal_entry *e = place_of(j, number);
    memset(e, 0, offsetof(struct journal_entry, bytes));
    e->wall = clock_wall();
    e->method = (uint8_t)head->method;
    e->client = client;
    e->target_bytes = put(e, 0, head->target);
    e->fields_bytes =
        put(e, e->target_bytes, fitting_lines(head->fields, sizeof(e->bytes) - e->target_bytes));
    e->is_cut = e->target_bytes < head->target.len || e->fields_bytes < head->fields.len;
    if (rule != NULL)
        snprintf(e->rule, sizeof(e->rule), "%s", rule);
    e->number = number;
    journal_unlock(j);
    return number;
}

void journal_body(struct journal *j, uint64_t number, struct slice data) {
    journal_lock(j);
    struct journal_entry *e = place_of(j, number);
    if (e->number == number) {
        e->body_bytes += put(e, e->target_bytes + e->fields_bytes + e->body_bytes, data);
        e->body_came += data.len;
    }
    journal_unlock(j);
}

void journal_rule(struct journal *j, uint64_t number, const char *rule) {
    journal_lock(j);
    struct journal_entry *e = place_of(j, number);
    if (e->number == number)
        snprintf(e->rule, sizeof(e->rule), "%s", rule);
    journal_unlock(j);
}

void journal_end(struct journal *j, uint64_t number, const struct journal_end *end) {
    journal_lock(j);
    struct journal_entry *e = place_of(j, number);
    if (e->number == number) {
        e->status = end->status;
        e->has_begun = end->has_begun;
        e->delay = end->delay;
        e->late = end->late;
        e->upstream = end->upstream;
        e->sent_bytes = end->bytes;
        e->faults = end->faults;
        snprintf(e->outcome, sizeof(e->outcome), "%s", end->outcome);
        e->has_ended = true;
    }
    journal_unlock(j);
}

/* --- what is searched for --------------------------------------------------------------------- */

struct journal_pair {
    struct slice name, value;
};

struct journal_filter {
    struct pattern path; /* text NULL: any */
    enum http_method method;
    bool has_method, has_status;
    uint64_t status, after, limit, faults; /* faults: bits, of which one must be there; 0: any */
    uint64_t least, most;
    bool has_least, has_most, has_limit;
    struct slice rule, outcome, client, session, body; /* ptr NULL: any */
    struct journal_pair headers[PAIRS_MAX], args[PAIRS_MAX];
    size_t header_count, arg_count;
    char *room; /* owned: what the slices point to */
};

static int bad(struct error *err, struct slice name, const char *what) {
    return error_set(err, -EINVAL, "%.*s: %s", (int)name.len, name.ptr, what);
}

static int take_pair(struct journal_pair *pairs, size_t *count, struct slice name,
                     struct slice value, char sep, struct error *err) {
    if (slice_find(value, sep) == value.len)
        return bad(err, name, sep == ':' ? "write NAME:VALUE" : "write NAME=VALUE");
    if (*count == PAIRS_MAX)
        return bad(err, name, "at most 8 of them");
    struct slice key = slice_trim(slice_cut(&value, sep));
    pairs[(*count)++] = (struct journal_pair){ key, slice_trim(value) };
    return 0;
}

static int take_number(struct slice name, struct slice value, uint64_t *ret, struct error *err) {
    return slice_parse_u64(value, INT64_MAX, ret) < 0 ? bad(err, name, "write a whole number") : 0;
}

static int take_status(struct journal_filter *f, struct slice name, struct slice value,
                       struct error *err) {
    f->has_status = true;
    return take_number(name, value, &f->status, err);
}

static int take_method(struct journal_filter *f, struct slice name, struct slice value,
                       struct error *err) {
    f->has_method = true;
    f->method = http_method_of(value);
    return f->method == HTTP_METHOD_OTHER ? bad(err, name, "is no method") : 0;
}

static int take_fault(struct journal_filter *f, struct slice name, struct slice value,
                      struct error *err) {
    for (size_t i = 0; i < FAULT_KINDS; i++)
        if (slice_eq(value, fault_infos[i].name)) {
            f->faults |= UINT64_C(1) << i;
            return 0;
        }
    return bad(err, name, "is no kind of fault");
}

static int take_times(struct journal_filter *f, struct slice name, struct slice value,
                      struct error *err) {
    bool is_least = !slice_eq(name, SLICE("at-most"));
    bool is_most = !slice_eq(name, SLICE("at-least"));
    uint64_t n = 0;

    int rc = take_number(name, value, &n, err);
    if (rc < 0)
        return rc;
    if ((is_least && f->has_least) || (is_most && f->has_most))
        return bad(err, name, "the bound is given twice");
    if (is_least)
        f->least = n;
    if (is_most)
        f->most = n;
    f->has_least |= is_least;
    f->has_most |= is_most;
    return 0;
}

static int take_path(struct journal_filter *f, struct slice name, struct slice value,
                     struct error *err) {
    pattern_free(&f->path);
    const char *why = pattern_parse(value, &f->path);
    return why != NULL ? bad(err, name, why) : 0;
}

static int take_one(struct journal_filter *f, struct slice name, struct slice value,
                    struct error *err) {
    const struct {
        const char *name;
        struct slice *text;
    } texts[] = { { "rule", &f->rule },
                  { "outcome", &f->outcome },
                  { "client", &f->client },
                  { "session", &f->session },
                  { "body", &f->body } };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (slice_eq(name, slice_str(texts[i].name))) {
            *texts[i].text = value;
            return 0;
        }
    if (slice_eq(name, SLICE("path")))
        return take_path(f, name, value, err);
    if (slice_eq(name, SLICE("method")))
        return take_method(f, name, value, err);
    if (slice_eq(name, SLICE("status")))
        return take_status(f, name, value, err);
    if (slice_eq(name, SLICE("fault")))
        return take_fault(f, name, value, err);
    if (slice_eq(name, SLICE("header")))
        return take_pair(f->headers, &f->header_count, name, value, ':', err);
    if (slice_eq(name, SLICE("arg")))
        return take_pair(f->args, &f->arg_count, name, value, '=', err);
    if (slice_eq(name, SLICE("after")))
        return take_number(name, value, &f->after, err);
    if (slice_eq(name, SLICE("limit"))) {
        f->has_limit = true;
        return take_number(name, value, &f->limit, err);
    }
    if (slice_eq(name, SLICE("times")) || slice_eq(name, SLICE("at-least")) ||
        slice_eq(name, SLICE("at-most")))
        return take_times(f, name, value, err);
    return bad(err, name,
               "allowed are path, method, rule, status, outcome, fault, client, session, header, "
               "arg, body, after, limit, times, at-least and at-most");
}

/* Decodes into *room, which is moved behind what was written. */
static bool decode(struct slice raw, char **room, struct slice *ret) {
    long len = http_percent_decode(raw, *room);

    if (len < 0)
        return false;
    *ret = slice_of(*room, (size_t)len);
    *room += len;
    return true;
}

/* filter_free in any case. */
static int filter_parse(struct journal_filter *f, struct slice query, struct error *err) {
    struct slice raw_name, raw_value, name, value;
    char *room = mem_alloc(query.len + 1);
    int rc = 0;

    *f = (struct journal_filter){ .limit = LIMIT, .room = room };
    if (room == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    while (rc == 0 && http_query_next(&query, &raw_name, &raw_value)) {
        if (!decode(raw_name, &room, &name) || !decode(raw_value, &room, &value))
            rc = error_set(err, -EINVAL, "the query has a bad percent-escape");
        else
            rc = take_one(f, name, value, err);
    }
    return rc;
}

static void filter_free(struct journal_filter *f) {
    pattern_free(&f->path);
    mem_free(f->room);
}

/* --- what fits -------------------------------------------------------------------------------- */

static struct slice target_of(const struct journal_entry *e) {
    return slice_of(e->bytes, e->target_bytes);
}

static struct slice fields_of(const struct journal_entry *e) {
    return slice_of(e->bytes + e->target_bytes, e->fields_bytes);
}

static struct slice body_of(const struct journal_entry *e) {
    return slice_of(e->bytes + e->target_bytes + e->fields_bytes, e->body_bytes);
}

static const char *outcome_of(const struct journal_entry *e) {
    return e->has_ended ? e->outcome : "in-flight";
}

static bool text_fits(struct slice wanted, const char *text) {
    return wanted.ptr == NULL || slice_eq(wanted, slice_str(text));
}

/* `room` has JOURNAL_BYTES. */
static bool path_fits(const struct journal_filter *f, const struct journal_entry *e, char *room) {
    struct slice path, query;

    if (f->path.text == NULL)
        return true;
    http_target_split(target_of(e), &path, &query);
    long len = http_path_decode(path, room);
    return len >= 0 && pattern_fits(&f->path, slice_of(room, (size_t)len));
}

static bool has_header(const struct journal_entry *e, struct slice name, struct slice value) {
    struct slice rest = fields_of(e), name_there, value_there;

    while (http_field_next(&rest, &name_there, &value_there))
        if (slice_eq_nocase(name_there, name) && slice_eq(value_there, value))
            return true;
    return false;
}

static bool has_arg(const struct journal_entry *e, const struct journal_pair *wanted) {
    struct slice path, query;

    http_target_split(target_of(e), &path, &query);
    return http_query_has(query, wanted->name, wanted->value);
}

static bool client_fits(const struct journal_filter *f, const struct journal_entry *e) {
    char text[PEER_TEXT_BYTES];

    return f->client.ptr == NULL || text_fits(f->client, peer_format(&e->client, text));
}

static bool body_fits(const struct journal_filter *f, const struct journal_entry *e) {
    struct slice body = body_of(e);

    return f->body.len == 0 ||
           (body.len > 0 && memmem(body.ptr, body.len, f->body.ptr, f->body.len) != NULL);
}

static bool entry_fits(const struct journal_filter *f, const struct journal_entry *e, char *room) {
    if ((f->has_method && (enum http_method)e->method != f->method) ||
        (f->has_status && e->status != f->status) ||
        (f->faults != 0 && (e->faults & f->faults) == 0) || !text_fits(f->rule, e->rule) ||
        !text_fits(f->outcome, outcome_of(e)) || !client_fits(f, e) || !path_fits(f, e, room))
        return false;
    if (f->session.ptr != NULL && !has_header(e, SLICE(SLOWAPI_SESSION), f->session))
        return false;
    for (size_t i = 0; i < f->header_count; i++)
        if (!has_header(e, f->headers[i].name, f->headers[i].value))
            return false;
    for (size_t i = 0; i < f->arg_count; i++)
        if (!has_arg(e, &f->args[i]))
            return false;
    return body_fits(f, e);
}

/* --- what is told ----------------------------------------------------------------------------- */

/* Each name as it was sent first, with the list of its values. */
static json_t *headers_json(const struct journal_entry *e) {
    json_t *object = json_object();
    struct slice rest = fields_of(e), name, value;

    while (object != NULL && http_field_next(&rest, &name, &value)) {
        json_t *list = json_object_getn(object, name.ptr, name.len);
        if (list == NULL) {
            list = json_array();
            json_object_setn_new(object, name.ptr, name.len, list);
        }
        json_array_append_new(list, json_text(value, SIZE_MAX));
    }
    return object;
}

static json_t *base64_json(struct slice data) {
    char *text = mem_alloc(base64_size(data.len) + 1);
    size_t len = text != NULL ? base64_encode(data, BASE64_STANDARD, text) : 0;
    json_t *json = text != NULL ? json_stringn(text, len) : NULL;

    mem_free(text);
    return json;
}

/* UTF-8 as it is; other bytes as base64, under another name. */
static void put_body(json_t *json, const struct journal_entry *e) {
    struct slice body = body_of(e);
    json_t *text = json_stringn(body.len > 0 ? body.ptr : "", body.len);

    json_object_set_new(json, text != NULL ? "body" : "body_base64",
                        text != NULL ? text : base64_json(body));
    json_object_set_new(json, "body_bytes", json_integer((json_int_t)e->body_came));
}

static json_t *faults_json(uint64_t kinds) {
    json_t *list = json_array();

    for (size_t i = 0; i < FAULT_KINDS; i++)
        if (kinds >> i & 1)
            json_array_append_new(list, json_string(fault_infos[i].name.ptr));
    return list;
}

static json_t *entry_json(const struct journal_entry *e) {
    char time[CLOCK_TEXT_BYTES], client[PEER_TEXT_BYTES];
    json_t *json = json_object();

    json_object_set_new(json, "number", json_integer((json_int_t)e->number));
    json_object_set_new(json, "time", json_string(clock_format(e->wall, time)));
    json_object_set_new(json, "client", json_string(peer_format(&e->client, client)));
    json_object_set_new(json, "method", json_string(http_method_name((enum http_method)e->method)));
    json_object_set_new(json, "target", json_text(target_of(e), SIZE_MAX));
    json_object_set_new(json, "headers", headers_json(e));
    put_body(json, e);
    json_object_set_new(json, "is_cut", json_boolean(e->is_cut || e->body_bytes < e->body_came));
    json_object_set_new(json, "rule", e->rule[0] != '\0' ? json_string(e->rule) : json_null());
    json_object_set_new(json, "outcome", json_string(outcome_of(e)));
    json_object_set_new(json, "status", e->status != 0 ? json_integer(e->status) : json_null());
    json_object_set_new(json, "delay_ms",
                        e->has_ended ? json_real((double)e->delay / 1e6) : json_null());
    json_object_set_new(json, "actual_ms",
                        e->has_begun ? json_real((double)(e->delay + e->late) / 1e6) : json_null());
    json_object_set_new(json, "upstream_ms",
                        e->has_begun && e->upstream >= 0 ? json_real((double)e->upstream / 1e6)
                                                         : json_null());
    json_object_set_new(json, "bytes", json_integer((json_int_t)e->sent_bytes));
    json_object_set_new(json, "faults", faults_json(e->faults));
    return json;
}

/* --- searches --------------------------------------------------------------------------------- */

/* Looks at one entry at a time, so that no request waits for a search. */
struct journal_search {
    struct journal *j;
    struct journal_filter filter;
    uint64_t number; /* the entry at hand has it */
    struct journal_entry entry;
    char room[JOURNAL_BYTES];
};

enum journal_task { JOURNAL_LIST, JOURNAL_COUNT, JOURNAL_SUM, JOURNAL_FORGET };

/* Parameters that change nothing were meant to: who forgets one request must not lose all. */
static int check_task(const struct journal_filter *f, enum journal_task task, struct error *err) {
    if ((f->has_least || f->has_most) && task != JOURNAL_COUNT)
        return error_set(err, -EINVAL,
                         "times, at-least and at-most are for GET /requests/count alone");
    if (f->has_limit && (task == JOURNAL_FORGET || task == JOURNAL_SUM))
        return error_set(err, -EINVAL, "limit: all that fits is %s",
                         task == JOURNAL_SUM ? "summed up" : "forgotten");
    return 0;
}

/* NULL with a reason. */
static struct journal_search *search_new(struct journal *j, struct slice query,
                                         enum journal_task task, int *ret_rc, struct error *err) {
    struct journal_search *s = mem_alloc(sizeof(*s));

    *ret_rc =
        s != NULL ? filter_parse(&s->filter, query, err) : error_set(err, -ENOMEM, "out of memory");
    if (*ret_rc == 0)
        *ret_rc = check_task(&s->filter, task, err);
    if (*ret_rc == 0) {
        s->j = j;
        journal_lock(j);
        s->number = j->last + 1;
        journal_unlock(j);
        return s;
    }
    if (s != NULL)
        filter_free(&s->filter);
    mem_free(s);
    return NULL;
}

static void search_free(struct journal_search *s) {
    filter_free(&s->filter);
    mem_free(s);
}

/* Copies what there is of the entry. */
static void copy(struct journal_entry *to, const struct journal_entry *from) {
    memcpy(to, from, offsetof(struct journal_entry, bytes));
    memcpy(to->bytes, from->bytes, from->target_bytes + from->fields_bytes + from->body_bytes);
}

/* Copies the next older one that fits. False: there is none. */
static bool search_next(struct journal_search *s) {
    while (s->number > s->filter.after + 1) {
        struct journal_entry *e = place_of(s->j, --s->number);
        journal_lock(s->j);
        bool is_over = s->number + s->j->capacity <= s->j->last;
        bool is_there = !is_over && e->number == s->number;
        if (is_there)
            copy(&s->entry, e);
        journal_unlock(s->j);
        if (is_over)
            return false;
        if (is_there && entry_fits(&s->filter, &s->entry, s->room))
            return true;
    }
    return false;
}

int journal_list(struct journal *j, struct slice query, json_t **ret, struct error *err) {
    int rc;
    struct journal_search *s = search_new(j, query, JOURNAL_LIST, &rc, err);
    if (s == NULL)
        return rc;

    json_t *list = json_array();
    uint64_t count = 0;
    while (search_next(s))
        if (count++ < s->filter.limit)
            json_array_insert_new(list, 0, entry_json(&s->entry));
    *ret = json_pack("{s:I, s:o}", "count", (json_int_t)count, "requests", list);
    search_free(s);
    return *ret != NULL ? 0 : error_set(err, -ENOMEM, "out of memory");
}

static void tell_wanted(const struct journal_filter *f, char *text, size_t size) {
    if (f->has_least && f->has_most && f->least == f->most)
        snprintf(text, size, "exactly %llu", (unsigned long long)f->least);
    else if (f->has_least && f->has_most)
        snprintf(text, size, "at least %llu and at most %llu", (unsigned long long)f->least,
                 (unsigned long long)f->most);
    else if (f->has_least || f->has_most)
        snprintf(text, size, "%s %llu", f->has_least ? "at least" : "at most",
                 (unsigned long long)(f->has_least ? f->least : f->most));
    else
        text[0] = '\0';
}

int journal_count(struct journal *j, struct slice query, struct journal_verdict *ret,
                  struct error *err) {
    int rc;
    struct journal_search *s = search_new(j, query, JOURNAL_COUNT, &rc, err);
    if (s == NULL)
        return rc;

    *ret = (struct journal_verdict){ .count = 0 };
    while (search_next(s))
        ret->count++;
    ret->holds = (!s->filter.has_least || ret->count >= s->filter.least) &&
                 (!s->filter.has_most || ret->count <= s->filter.most);
    tell_wanted(&s->filter, ret->wanted, sizeof(ret->wanted));
    search_free(s);
    return 0;
}

static void count_in(json_t *object, const char *name) {
    json_int_t n = json_integer_value(json_object_get(object, name));

    json_object_set_new(object, name, json_integer(n + 1));
}

static void count_path(json_t *object, const struct journal_entry *e) {
    struct slice path, query;

    http_target_split(target_of(e), &path, &query);
    json_t *name = json_text(path, SIZE_MAX);
    if (name != NULL)
        count_in(object, json_string_value(name));
    json_decref(name);
}

/* The counts of a summary. */
struct journal_sum {
    json_t *statuses, *outcomes, *rules, *faults, *paths;
    uint64_t requests, unanswered;
};

static void sum_entry(struct journal_sum *sum, const struct journal_entry *e) {
    char status[8];

    sum->requests++;
    snprintf(status, sizeof(status), "%u", e->status);
    if (e->status != 0)
        count_in(sum->statuses, status);
    else if (e->has_ended)
        sum->unanswered++;
    count_in(sum->outcomes, outcome_of(e));
    if (e->rule[0] != '\0')
        count_in(sum->rules, e->rule);
    for (size_t i = 0; i < FAULT_KINDS; i++)
        if (e->faults >> i & 1)
            count_in(sum->faults, fault_infos[i].name.ptr);
    count_path(sum->paths, e);
}

int journal_summarize(struct journal *j, struct slice query, json_t **ret, struct error *err) {
    struct journal_sum sum = {
        json_object(), json_object(), json_object(), json_object(), json_object(), 0, 0
    };
    int rc;

    struct journal_search *s = search_new(j, query, JOURNAL_SUM, &rc, err);
    while (s != NULL && search_next(s))
        sum_entry(&sum, &s->entry);
    if (s != NULL)
        search_free(s);
    *ret = json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "requests", (json_int_t)sum.requests,
                     "unanswered", (json_int_t)sum.unanswered, "status", sum.statuses, "outcomes",
                     sum.outcomes, "rules", sum.rules, "faults", sum.faults, "paths", sum.paths);
    if (rc == 0 && *ret == NULL)
        rc = error_set(err, -ENOMEM, "out of memory");
    if (rc < 0) {
        json_decref(*ret);
        *ret = NULL;
    }
    return rc;
}

int journal_forget(struct journal *j, struct slice query, struct error *err) {
    int rc;
    struct journal_search *s = search_new(j, query, JOURNAL_FORGET, &rc, err);
    if (s == NULL)
        return rc;

    while (search_next(s)) {
        journal_lock(j);
        struct journal_entry *e = place_of(j, s->number);
        if (e->number == s->number)
            e->number = 0;
        journal_unlock(j);
    }
    search_free(s);
    return 0;
}
