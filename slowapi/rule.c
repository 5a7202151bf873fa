/* SPDX-License-Identifier: MIT */
/* Parses, matches and shares rules. */
#include "slowapi/rule.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/safe_path.h"
#include "slowapi/param.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

struct rule {
    const char *name, *path, *method, *params;
    json_t *headers;
};

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

static int take_member(struct rule *rule, const char *key, json_t *value) {
    const char **text = strcmp(key, "name") == 0     ? &rule->name
                        : strcmp(key, "path") == 0   ? &rule->path
                        : strcmp(key, "method") == 0 ? &rule->method
                        : strcmp(key, "params") == 0 ? &rule->params
                                                     : NULL;

    if (text != NULL) {
        *text = json_string_value(value);
        return *text != NULL ? 0 : -EINVAL;
    }
    rule->headers = value;
    return strcmp(key, "header") == 0 && json_is_object(value) ? 0 : -EINVAL;
}

static bool headers_are_text(json_t *headers) {
    const char *name;
    json_t *value;

    json_object_foreach(headers, name, value) {
        if (!json_is_string(value))
            return false;
    }
    return true;
}

static int parse_rule(json_t *json, size_t index, struct rule *rule, struct error *err) {
    struct error why = { .text = "" };
    struct spec spec;
    const char *key;
    json_t *value;

    if (!json_is_object(json))
        return bad(index, err, "is not an object");
    json_object_foreach(json, key, value) {
        if (take_member(rule, key, value) < 0)
            return bad(index, err,
                       "allowed are the texts name, path, method, params, and the object header");
    }
    if (rule->params == NULL)
        return bad(index, err, "has no params");
    if (rule->path != NULL && rule->path[0] != '/')
        return bad(index, err, "has a path that does not begin with /");
    if (rule->headers != NULL && !headers_are_text(rule->headers))
        return bad(index, err, "has a header whose value is no text");
    if (rule->method != NULL && http_method_of(slice_str(rule->method)) == HTTP_METHOD_OTHER)
        return bad(index, err, "has an unknown method");

    spec_init(&spec, 0);
    if (param_parse_text(&spec, slice_str(rule->params), &why) < 0)
        return bad(index, err, why.text);
    return 0;
}

static int parse_all(struct rules *rules, struct error *err) {
    size_t count = json_array_size(rules->json);

    if (!json_is_array(rules->json))
        return error_set(err, -EINVAL, "rules are a JSON array of objects");
    if (count > RULES_MAX)
        return error_set(err, -EINVAL, "%zu rules; %d are the most", count, RULES_MAX);
    for (; rules->count < count; rules->count++) {
        int rc = parse_rule(json_array_get(rules->json, rules->count), rules->count,
                            &rules->rules[rules->count], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

struct rules *rules_parse(struct slice text, struct error *err) {
    json_error_t why;
    struct rules *rules = mem_calloc(1, sizeof(*rules));

    if (rules == NULL) {
        error_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    rules->json = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &why);
    if (rules->json == NULL)
        error_set(err, -EINVAL, "not JSON: line %d: %s", why.line, why.text);
    if (rules->json == NULL || parse_all(rules, err) < 0) {
        rules_free(rules);
        return NULL;
    }
    return rules;
}

void rules_free(struct rules *rules) {
    if (rules == NULL)
        return;
    json_decref(rules->json);
    mem_free(rules);
}

size_t rules_count(const struct rules *rules) {
    return rules != NULL ? rules->count : 0;
}

/* --- matching --------------------------------------------------------------------------------- */

/* A `*` at the end stands for anything. */
static bool path_fits(const char *pattern, struct slice path) {
    struct slice prefix = slice_str(pattern);

    if (prefix.len > 0 && prefix.ptr[prefix.len - 1] == '*')
        return slice_starts_with(path, slice_take(prefix, prefix.len - 1));
    return slice_eq(path, prefix);
}

static bool headers_fit(json_t *headers, const struct http_head *head) {
    const char *name;
    json_t *value;

    json_object_foreach(headers, name, value) {
        struct slice found;
        if (!http_field_find(head, slice_str(name), &found) ||
            !slice_eq(found, slice_str(json_string_value(value))))
            return false;
    }
    return true;
}

bool rules_find(const struct rules *rules, const struct http_head *head, struct slice path,
                struct rule_match *ret) {
    for (size_t i = 0; i < rules_count(rules); i++) {
        const struct rule *rule = &rules->rules[i];
        if (rule->path != NULL && !path_fits(rule->path, path))
            continue;
        if (rule->method != NULL && http_method_of(slice_str(rule->method)) != head->method)
            continue;
        if (rule->headers != NULL && !headers_fit(rule->headers, head))
            continue;
        *ret = (struct rule_match){ rule->name != NULL ? rule->name : "-", rule->params };
        return true;
    }
    return false;
}

/* --- sharing ---------------------------------------------------------------------------------- */

int rules_publish(struct shared *shared, struct slice text, struct error *err) {
    if (text.len >= SHARED_RULES_BYTES)
        return error_set(err, -EINVAL, "%zu bytes of rules; %d are the most", text.len,
                         SHARED_RULES_BYTES - 1);

    struct rules *rules = rules_parse(text, err);
    if (rules == NULL)
        return -EINVAL;
    rules_free(rules);

    shared_lock(shared);
    memcpy(shared->rules, text.ptr, text.len);
    shared->rules[text.len] = '\0';
    atomic_fetch_add(&shared->rules_generation, 1);
    shared_unlock(shared);
    return 0;
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
        rc = rules_publish(shared, slice_of(text, len), &why);
    }
    mem_free(text);
    fclose(file);
    return rc < 0 ? error_set(err, rc, "cannot read rules from '%s': %s", path, why.text) : 0;
}

void rules_reload(struct shared *shared, const char *path) {
    struct error err;

    if (path == NULL)
        return;
    if (rules_load(shared, path, &err) < 0)
        log_write(LOG_LEVEL_ERROR, "rules not reloaded error=\"%s\"", err.text);
    else
        log_write(LOG_LEVEL_INFO, "rules reloaded file=\"%s\"", path);
}

char *rules_text(struct shared *shared) {
    shared_lock(shared);
    char *text = slice_dup(slice_str(shared->rules));
    shared_unlock(shared);
    return text;
}

void rules_refresh(struct shared *shared, struct rules **rules, uint32_t *generation) {
    uint32_t current = atomic_load_explicit(&shared->rules_generation, memory_order_relaxed);
    struct error err = { .text = "out of memory" };

    if (current == *generation)
        return;
    *generation = current;
    char *text = rules_text(shared);
    struct rules *fresh = text != NULL ? rules_parse(slice_str(text), &err) : NULL;
    mem_free(text);
    if (fresh == NULL) {
        log_write(LOG_LEVEL_ERROR, "rules not taken over error=\"%s\"", err.text);
        return;
    }
    rules_free(*rules);
    *rules = fresh;
}
