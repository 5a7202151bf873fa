/* SPDX-License-Identifier: MIT */
/* Parses, matches and shares rules. */
#include "slowapi/rule.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/safe_path.h"
#include "http/chars.h"
#include "http/url.h"
#include "slowapi/param.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct rule {
    const char *name, *path, *method, *params, *body, *file, *type;
    char *pattern; /* owned: the path decoded, with GLOB for each `*` */
    size_t pattern_len;
    char *dumped; /* malloc'ed: what `body` points to when it is no text */
    json_t *headers;
};

#define NAME_BYTES_MAX 128

#define GLOB '\0' /* no path holds it */

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
    rule->dumped = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    rule->body = rule->dumped;
    return rule->body != NULL ? 0 : -EINVAL;
}

static int take_member(struct rule *rule, const char *key, json_t *value) {
    const char **text = strcmp(key, "name") == 0        ? &rule->name
                        : strcmp(key, "path") == 0      ? &rule->path
                        : strcmp(key, "method") == 0    ? &rule->method
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
    rule->headers = value;
    return strcmp(key, "header") == 0 && json_is_object(value) ? 0 : -EINVAL;
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

static const char *name_fault(const char *name) {
    if (name[0] == '\0' || strlen(name) > NAME_BYTES_MAX)
        return "has a name that is empty or longer than 128 bytes";
    return http_span_value(name, strlen(name)) != strlen(name)
               ? "has a name with a control character, which cannot stand in a header"
               : NULL;
}

/* Sets rule->pattern. NULL, or what is wrong. */
static const char *parse_path(struct rule *rule) {
    size_t size = strlen(rule->path);

    if (rule->path[0] != '/')
        return "has a path that does not begin with /";
    if (strchr(rule->path, '?') != NULL)
        return "has a path with ? in it: queries are not matched (as a character it is %3F)";
    rule->pattern = slice_dup(slice_str(rule->path));
    if (rule->pattern == NULL)
        return "out of memory";
    for (char *at = rule->pattern; (at = strchr(at, '*')) != NULL; at++)
        *at = GLOB;
    long len = http_path_decode(slice_of(rule->pattern, size), rule->pattern);
    if (len < 0)
        return "has a path with a bad percent-escape (% itself is %25)";
    rule->pattern_len = (size_t)len;
    return NULL;
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
                "allowed are the texts name, path, method, params, type, body-file, the object "
                "header, and body");
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
        fault = parse_path(rule);
    if (rule->name != NULL && fault == NULL)
        fault = name_fault(rule->name);
    if (rule->headers != NULL && fault == NULL)
        fault = header_fault(rule->headers);
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
        mem_free(rules->rules[i].pattern);
        free(rules->rules[i].dumped);
    }
    json_decref(rules->json);
    mem_free(rules);
}

size_t rules_count(const struct rules *rules) {
    return rules != NULL ? rules->count : 0;
}

/* --- matching --------------------------------------------------------------------------------- */

/* GLOB stands for any text, the empty one too. After a mismatch the last GLOB takes one byte more:
 * the work is at most the product of both lengths. */
static bool path_fits(struct slice pattern, struct slice path) {
    size_t p = 0, i = 0, glob = pattern.len, retry_at = 0;

    while (i < path.len) {
        if (p < pattern.len && pattern.ptr[p] == GLOB) {
            glob = p++;
            retry_at = i;
        } else if (p < pattern.len && pattern.ptr[p] == path.ptr[i]) {
            p++;
            i++;
        } else if (glob < pattern.len) {
            p = glob + 1;
            i = ++retry_at;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == GLOB)
        p++;
    return p == pattern.len;
}

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

bool rules_find(const struct rules *rules, const struct http_head *head, struct slice path,
                struct rule_match *ret) {
    for (size_t i = 0; i < rules_count(rules); i++) {
        const struct rule *rule = &rules->rules[i];
        if (rule->path != NULL && !path_fits(slice_of(rule->pattern, rule->pattern_len), path))
            continue;
        if (rule->method != NULL && http_method_of(slice_str(rule->method)) != head->method)
            continue;
        if (rule->headers != NULL && !headers_fit(rule->headers, head))
            continue;
        *ret = (struct rule_match){ rule->name != NULL ? rule->name : "-", rule->params, rule };
        return true;
    }
    return false;
}

/* --- sharing ---------------------------------------------------------------------------------- */

int rules_publish(struct shared *shared, struct slice text, struct error *err) {
    if (text.len >= SHARED_RULES_BYTES)
        return error_set(err, -EINVAL, "%zu bytes of rules; %d are the most", text.len,
                         SHARED_RULES_BYTES - 1);

    struct rules *rules = rules_parse(text, shared, err);
    if (rules == NULL)
        return -EINVAL;
    rules_free(rules);

    shared_set_rules(shared, text);
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
