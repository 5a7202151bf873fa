/* SPDX-License-Identifier: MIT */
/* Parses, matches and shares rules. */
#include "slowapi/rule.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/log.h"
#include "base/safe_path.h"
#include "http/chars.h"
#include "http/url.h"
#include "slowapi/limits.h"
#include "slowapi/param.h"
#include "slowapi/pattern.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct rule {
    const char *name, *path, *method, *session, *params, *body, *file, *type;
    struct pattern pattern; /* made of `path` */
    char *dumped;           /* malloc'ed: what `body` points to when it is no text */
    json_t *headers, *args; /* NULL: any */
    bool is_off;            /* matches nothing until it is switched on */
};

#define NAME_BYTES_MAX 128

/* The strings are those of `json`. */
struct rules {
    json_t *json;
    size_t count;
    struct rule rules[RULES_MAX];
};

/* --- parsing ---------------------------------------------------------------------------------- */

static int bad(size_t index, struct error *err, const char *what) {
    return error_set(err, -EINVAL, "rule %zu: %s", index + 1, what);
}

/* A text as it is, anything else as JSON. */
static int take_body(struct rule *rule, json_t *value) {
    rule->body = json_string_value(value);
    if (rule->body != NULL)
        return 0;
    rule->dumped = json_dump_short(value, JSON_ENCODE_ANY | JSON_COMPACT);
    rule->body = rule->dumped;
    return rule->body != NULL ? 0 : -EINVAL;
}

static int take_member(struct rule *rule, const char *key, json_t *value) {
    const char **text = strcmp(key, "name") == 0        ? &rule->name
                        : strcmp(key, "path") == 0      ? &rule->path
                        : strcmp(key, "method") == 0    ? &rule->method
                        : strcmp(key, "session") == 0   ? &rule->session
                        : strcmp(key, "params") == 0    ? &rule->params
                        : strcmp(key, "type") == 0      ? &rule->type
                        : strcmp(key, "body-file") == 0 ? &rule->file
                                                        : NULL;

    if (text != NULL) {
        *text = json_string_value(value);
        return *text != NULL ? 0 : -EINVAL;
    }
    if (strcmp(key, "body") == 0)
        return take_body(rule, value);
    if (strcmp(key, "enabled") == 0) {
        rule->is_off = json_is_false(value);
        return json_is_boolean(value) ? 0 : -EINVAL;
    }
    if (strcmp(key, "header") == 0)
        rule->headers = value;
    else if (strcmp(key, "query") == 0)
        rule->args = value;
    else
        return -EINVAL;
    return json_is_object(value) ? 0 : -EINVAL;
}

/* A header that no request can have would never match. */
static const char *header_fault(json_t *headers) {
    const char *name;
    json_t *value;

    json_object_foreach(headers, name, value) {
        struct slice text = slice_str(json_string_value(value));
        if (!json_is_string(value))
            return "has a header whose value is no text";
        if (name[0] == '\0' || http_span(name, strlen(name), HTTP_CHAR_TOKEN) != strlen(name))
            return "has a header whose name is none";
        if (http_span_value(text.ptr, text.len) != text.len || slice_trim(text).len != text.len)
            return "has a header with a value that none can have";
    }
    return NULL;
}

static const char *args_fault(json_t *args) {
    const char *name;
    json_t *value;

    json_object_foreach(args, name, value) {
        if (!json_is_string(value))
            return "has an argument in query whose value is no text";
        if (name[0] == '\0')
            return "has an argument in query without a name";
    }
    return NULL;
}

static const char *session_fault(struct slice name) {
    bool is_one = name.len > 0 && name.len <= NAME_BYTES_MAX &&
                  http_span_value(name.ptr, name.len) == name.len &&
                  slice_trim(name).len == name.len;

    return is_one ? NULL : "has a session that no header can name, or of more than 128 bytes";
}

static const char *name_fault(const char *name) {
    if (name[0] == '\0' || strlen(name) > NAME_BYTES_MAX)
        return "has a name that is empty or longer than 128 bytes";
    return http_span_value(name, strlen(name)) != strlen(name)
               ? "has a name with a control character, which cannot stand in a header"
               : NULL;
}

static int set_one(struct spec *spec, const char *name, const char *value, struct error *why) {
    return value != NULL ? param_set(spec, slice_str(name), slice_str(value), why) : 0;
}

int rule_apply(const struct rule_match *match, struct spec *spec, struct error *why) {
    const struct rule *rule = match->rule;
    const char *type = rule->type;

    param_begin_layer(spec);
    int rc = rule->params != NULL ? param_parse_text(spec, slice_str(rule->params), why) : 0;
    if (type == NULL && rule->dumped != NULL && !param_is_given(spec, SLICE("type")))
        type = "application/json";
    if (rc == 0)
        rc = set_one(spec, "body", rule->body, why);
    if (rc == 0)
        rc = set_one(spec, "body-file", rule->file, why);
    return rc == 0 ? set_one(spec, "type", type, why) : rc;
}

static int check_params(const struct rule *rule, const struct shared *shared, struct error *why) {
    const struct rule_match match = { .rule = rule };
    struct spec spec;

    spec_init(&spec, 0);
    spec.of_request = true;
    if (rule_apply(&match, &spec, why) < 0)
        return -EINVAL;
    return shared != NULL && shared->check_rule != NULL ? shared->check_rule(shared, &spec, why)
                                                        : 0;
}

static int take_members(json_t *json, size_t index, struct rule *rule, struct error *err) {
    const char *key;
    json_t *value;

    if (!json_is_object(json))
        return bad(index, err, "is not an object");
    json_object_foreach(json, key, value) {
        if (take_member(rule, key, value) < 0)
            return bad(
                index, err,
                "allowed are the texts name, path, method, session, params, type, body-file, the "
                "objects header and query, body, and enabled, which is true or false");
    }
    if (rule->body != NULL && rule->file != NULL)
        return bad(index, err, "has both body and body-file");
    bool does = rule->params != NULL || rule->body != NULL || rule->file != NULL;
    return does ? 0 : bad(index, err, "has no params, and no body either");
}

static int parse_rule(json_t *json, size_t index, struct rule *rule, const struct shared *shared,
                      struct error *err) {
    struct error why = { .text = "" };
    const char *fault = NULL;

    int rc = take_members(json, index, rule, err);
    if (rc < 0)
        return rc;
    if (rule->path != NULL)
        fault = pattern_parse(slice_str(rule->path), &rule->pattern);
    if (rule->name != NULL && fault == NULL)
        fault = name_fault(rule->name);
    if (rule->headers != NULL && fault == NULL)
        fault = header_fault(rule->headers);
    if (rule->args != NULL && fault == NULL)
        fault = args_fault(rule->args);
    if (rule->session != NULL && fault == NULL)
        fault = session_fault(slice_str(rule->session));
    if (rule->method != NULL && http_method_of(slice_str(rule->method)) == HTTP_METHOD_OTHER)
        fault = "has an unknown method";
    if (fault != NULL)
        return bad(index, err, fault);
    return check_params(rule, shared, &why) < 0 ? bad(index, err, why.text) : 0;
}

static int parse_all(struct rules *rules, const struct shared *shared, struct error *err) {
    size_t count = json_array_size(rules->json);

    if (!json_is_array(rules->json))
        return error_set(err, -EINVAL, "rules are a JSON array of objects");
    if (count > RULES_MAX)
        return error_set(err, -EINVAL, "%zu rules; %d are the most", count, RULES_MAX);
    rules->count = count;
    for (size_t i = 0; i < count; i++) {
        int rc = parse_rule(json_array_get(rules->json, i), i, &rules->rules[i], shared, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

struct rules *rules_parse(struct slice text, const struct shared *shared, struct error *err) {
    json_error_t why;
    struct rules *rules = mem_calloc(1, sizeof(*rules));

    if (rules == NULL) {
        error_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    rules->json = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &why);
    if (rules->json == NULL)
        error_set(err, -EINVAL, "not JSON: line %d: %s", why.line, why.text);
    if (rules->json == NULL || parse_all(rules, shared, err) < 0) {
        rules_free(rules);
        return NULL;
    }
    return rules;
}

void rules_free(struct rules *rules) {
    if (rules == NULL)
        return;
    for (size_t i = 0; i < rules->count; i++) {
        pattern_free(&rules->rules[i].pattern);
        free(rules->rules[i].dumped);
    }
    json_decref(rules->json);
    mem_free(rules);
}

size_t rules_count(const struct rules *rules) {
    return rules != NULL ? rules->count : 0;
}

/* --- matching --------------------------------------------------------------------------------- */

static bool has_line(const struct http_head *head, struct slice name, struct slice value) {
    struct http_cursor at = { .started = false };
    struct slice name_there, value_there;

    while (http_field_walk(head, &at, &name_there, &value_there))
        if (slice_eq_nocase(name_there, name) && slice_eq(value_there, value))
            return true;
    return false;
}

static bool headers_fit(json_t *headers, const struct http_head *head) {
    const char *name;
    json_t *value;

    json_object_foreach(headers, name, value) {
        if (!has_line(head, slice_str(name), slice_str(json_string_value(value))))
            return false;
    }
    return true;
}

static bool args_fit(json_t *args, const struct http_head *head) {
    struct slice path, query;
    const char *name;
    json_t *value;

    http_target_split(head->target, &path, &query);
    json_object_foreach(args, name, value) {
        if (!http_query_has(query, slice_str(name), slice_str(json_string_value(value))))
            return false;
    }
    return true;
}

bool rules_find(const struct rules *rules, const struct http_head *head, struct slice path,
                struct rule_match *ret) {
    for (size_t i = 0; i < rules_count(rules); i++) {
        const struct rule *rule = &rules->rules[i];
        if (rule->is_off || (rule->path != NULL && !pattern_fits(&rule->pattern, path)))
            continue;
        if (rule->method != NULL && http_method_of(slice_str(rule->method)) != head->method)
            continue;
        if (rule->session != NULL &&
            !has_line(head, SLICE(SLOWAPI_SESSION), slice_str(rule->session)))
            continue;
        if (rule->headers != NULL && !headers_fit(rule->headers, head))
            continue;
        if (rule->args != NULL && !args_fit(rule->args, head))
            continue;
        *ret = (struct rule_match){ rule->name != NULL ? rule->name : "-", rule->params, rule, i };
        return true;
    }
    return false;
}

/* --- sharing ---------------------------------------------------------------------------------- */

static bool has_same(json_t *rule, json_t *other, const char *key) {
    json_t *value = json_object_get(rule, key), *its_value = json_object_get(other, key);

    return value == its_value || json_equal(value, its_value);
}

/* Whether one rule goes on as the other: it has the name, or neither has one and they are alike. */
static bool is_same(json_t *rule, json_t *other) {
    if (json_object_get(rule, "name") != NULL || json_object_get(other, "name") != NULL)
        return has_same(rule, other, "name") && has_same(rule, other, "session");
    json_t *copy = json_copy(rule), *its_copy = json_copy(other);
    json_object_del(copy, "enabled");
    json_object_del(its_copy, "enabled");
    bool is_equal = json_equal(copy, its_copy);
    json_decref(copy);
    json_decref(its_copy);
    return is_equal;
}

/* Copies the counters of rules that stay to `counts`, each once. */
static void carry_counts(struct shared *shared, json_t *rules, uint64_t *counts) {
    char *text = shared_rules(shared);
    json_t *old = text != NULL ? json_loads(text, 0, NULL) : NULL, *rule, *other;
    bool is_taken[SHARED_RULES_MAX] = { false };
    size_t i, k;

    mem_free(text);
    json_array_foreach(rules, i, rule) {
        json_array_foreach(old, k, other) {
            if (is_taken[k] || !is_same(rule, other))
                continue;
            is_taken[k] = true;
            counts[i] = atomic_load(&shared->rule_counts[k]);
            break;
        }
    }
    json_decref(old);
}

int rules_publish(struct shared *shared, struct slice text, const uint32_t *then,
                  struct error *err) {
    uint64_t counts[SHARED_RULES_MAX];
    bool is_set = false;
    int rc = 0;

    if (text.len >= SHARED_RULES_BYTES)
        return error_set(err, -EINVAL, "%zu bytes of rules; %d are the most", text.len,
                         SHARED_RULES_BYTES - 1);

    struct rules *rules = rules_parse(text, shared, err);
    if (rules == NULL)
        return -EINVAL;
    while (rc == 0 && !is_set) {
        uint32_t now = atomic_load(&shared->rules_generation);
        if (then != NULL && *then != now) {
            rc = error_set(err, -ESTALE, "the rules have changed since; read them again");
            break;
        }
        memset(counts, 0, sizeof(counts));
        carry_counts(shared, rules->json, counts);
        is_set = shared_set_rules(shared, text, counts, &now);
    }
    rules_free(rules);
    return rc;
}

static bool is_of_session(json_t *rule, struct slice session) {
    const char *text = json_string_value(json_object_get(rule, "session"));

    return text != NULL && slice_eq(slice_str(text), session);
}

/* Adds those in force that are not of the session behind `rules`, and their counters to `counts`. 0
 * or -errno with a reason. */
static int add_others(struct shared *shared, struct slice session, json_t *rules, uint64_t *counts,
                      uint32_t *ret_then, struct error *err) {
    *ret_then = atomic_load(&shared->rules_generation);
    char *text = shared_rules(shared);
    json_t *old = text != NULL ? json_loads(text, 0, NULL) : NULL, *rule;
    size_t i, at = json_array_size(rules);

    mem_free(text);
    if (old == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    json_array_foreach(old, i, rule) {
        if (is_of_session(rule, session))
            continue;
        json_array_append(rules, rule);
        if (at < SHARED_RULES_MAX)
            counts[at++] = atomic_load(&shared->rule_counts[i]);
    }
    json_decref(old);
    return 0;
}

/* Publishes `own`, which is of the session. *ret_is_set: false when others came first. 0, or -errno
 * with a reason. */
static int publish_with_others(struct shared *shared, struct slice session, json_t *own,
                               bool *ret_is_set, struct error *err) {
    uint64_t counts[SHARED_RULES_MAX] = { 0 };
    uint32_t then;

    json_t *all = json_copy(own);
    int rc = all != NULL ? add_others(shared, session, all, counts, &then, err) : -ENOMEM;
    char *text = rc == 0 ? json_dump_short(all, JSON_COMPACT) : NULL;
    json_decref(all);
    if (text == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    struct slice whole = slice_str(text);
    struct rules *rules = NULL;
    if (whole.len < SHARED_RULES_BYTES)
        rules = rules_parse(whole, shared, err);
    else
        rc = error_set(err, -EINVAL, "%zu bytes of rules with those of others; %d are the most",
                       whole.len, SHARED_RULES_BYTES - 1);
    if (rules == NULL)
        rc = -EINVAL;
    else
        *ret_is_set = shared_set_rules(shared, whole, counts, &then);
    rules_free(rules);
    free(text);
    return rc;
}

int rules_publish_session(struct shared *shared, struct slice session, struct slice text,
                          struct error *err) {
    json_error_t why;
    json_t *own, *rule;
    bool is_set = false;
    size_t i;

    const char *fault = session_fault(session);
    if (fault != NULL)
        return error_set(err, -EINVAL, "the query %s", fault);
    own = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &why);
    if (own == NULL)
        return error_set(err, -EINVAL, "not JSON: line %d: %s", why.line, why.text);
    int rc = json_is_array(own) ? 0 : error_set(err, -EINVAL, "rules are a JSON array of objects");
    json_array_foreach(own, i, rule) {
        if (json_object_get(rule, "session") != NULL && !is_of_session(rule, session))
            rc = error_set(err, -EINVAL, "rule %zu: is of another session than the query", i + 1);
        json_object_set_new(rule, "session", json_stringn(session.ptr, session.len));
    }
    while (rc == 0 && !is_set)
        rc = publish_with_others(shared, session, own, &is_set, err);
    json_decref(own);
    return rc;
}

int rules_load(struct shared *shared, const char *path, struct error *err) {
    struct error why = { .text = "" };
    int rc = -ENOMEM;

    int fd = safe_path_open_to_read(path, &why);
    if (fd < 0)
        return error_set(err, fd, "cannot read rules from '%s': %s", path, why.text);
    FILE *file = fdopen(fd, "r");
    if (file == NULL) {
        close(fd);
        return error_set(err, -ENOMEM, "out of memory");
    }

    char *text = mem_alloc(SHARED_RULES_BYTES);
    if (text != NULL) {
        size_t len = fread(text, 1, SHARED_RULES_BYTES, file);
        rc = rules_publish(shared, slice_of(text, len), NULL, &why);
    }
    mem_free(text);
    fclose(file);
    return rc < 0 ? error_set(err, rc, "cannot read rules from '%s': %s", path, why.text) : 0;
}

void rules_refresh(struct shared *shared, struct rules **rules, uint32_t *generation) {
    struct error err = { .text = "out of memory" };

    *generation = atomic_load_explicit(&shared->rules_generation, memory_order_relaxed);
    char *text = shared_rules(shared);
    struct rules *fresh = text != NULL ? rules_parse(slice_str(text), NULL, &err) : NULL;
    mem_free(text);
    if (fresh == NULL) {
        log_write(LOG_LEVEL_ERROR, "rules not taken over error=\"%s\"", err.text);
        return;
    }
    rules_free(*rules);
    *rules = fresh;
}
