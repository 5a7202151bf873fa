/* SPDX-License-Identifier: MIT */
/* Puts lists of rules in force. */
#include "slowapi/rule_list.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/safe_path.h"
#include "slowapi/rule.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Rules in force, as they were given, and what is known of each. */
struct in_force {
    json_t *json;
    struct shared_rule *since; /* owned */
    uint32_t generation;
};

static void in_force_free(struct in_force *in_force) {
    json_decref(in_force->json);
    mem_free(in_force->since);
}

/* 0 or -ENOMEM with a reason; in_force_free in any case. */
static int read_in_force(struct shared *shared, struct in_force *ret, struct error *err) {
    *ret = (struct in_force){ .generation = atomic_load(&shared->rules_generation) };
    char *text = shared_rules(shared, &ret->since);

    ret->json = text != NULL ? json_loads(text, 0, NULL) : NULL;
    mem_free(text);
    return ret->json != NULL ? 0 : error_set(err, -ENOMEM, "out of memory");
}

/* The text by which a rule goes on as one of a new list: its name and session, or all of it. For
 * free(3). */
static char *identity_of(json_t *rule) {
    json_t *name = json_object_get(rule, "name"), *what;

    if (name != NULL) {
        what = json_pack("[O, O?]", name, json_object_get(rule, "session"));
    } else {
        what = json_copy(rule);
        json_object_del(what, "enabled");
    }
    char *text = json_dumps(what, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(what);
    return text;
}

/* Lists of places by identity. */
static json_t *index_of(const struct in_force *old) {
    json_t *index = json_object(), *rule;
    size_t i;

    json_array_foreach(old->json, i, rule) {
        char *key = identity_of(rule);
        json_t *places = json_object_get(index, key);
        if (places == NULL) {
            places = json_array();
            json_object_set_new(index, key, places);
        }
        json_array_append_new(places, json_integer((json_int_t)i));
        free(key);
    }
    return index;
}

/* The counters of rules that stay go on, each once. */
static void carry_hits(const struct in_force *old, json_t *rules, struct shared_rule *since) {
    json_t *index = index_of(old), *rule;
    size_t i;

    json_array_foreach(rules, i, rule) {
        char *key = identity_of(rule);
        json_t *places = json_object_get(index, key);
        if (json_array_size(places) > 0) {
            since[i].hits = old->since[json_integer_value(json_array_get(places, 0))].hits;
            json_array_remove(places, 0);
        }
        free(key);
    }
    json_decref(index);
}

static bool is_of_session(json_t *rule, struct slice session) {
    const char *text = json_string_value(json_object_get(rule, "session"));

    return text != NULL && slice_eq(slice_str(text), session);
}

/* Adds those of others than the session behind `rules`; each goes on as it was. */
static void add_others(const struct in_force *old, struct slice session, json_t *rules,
                       struct shared_rule *since) {
    json_t *rule;
    size_t i;

    json_array_foreach(old->json, i, rule) {
        size_t at = json_array_size(rules);
        if (is_of_session(rule, session))
            continue;
        json_array_append(rules, rule);
        since[at] = old->since[i];
    }
}

/* A list that is to be put in force. */
struct publication {
    json_t *rules;        /* owned */
    struct slice text;    /* the list as it was given; ptr NULL: to be written anew */
    struct slice session; /* ptr NULL: it replaces all */
    const uint32_t *then; /* see rules_publish */
};

/* Checks `all` and puts it in force, unless others came first: then *ret_is_set is false. */
static int set(struct shared *shared, const struct publication *p, json_t *all,
               const struct shared_rule *since, const uint32_t *then, bool *ret_is_set,
               struct error *err) {
    char *written = p->text.ptr == NULL ? json_dump_short(all, JSON_COMPACT) : NULL;
    struct slice text = p->text.ptr != NULL ? p->text : slice_str(written);
    struct rules *rules = NULL;

    if (text.ptr == NULL)
        error_set(err, -ENOMEM, "out of memory");
    else if (text.len >= SHARED_RULES_BYTES)
        error_set(err, -EINVAL, "%zu bytes of rules%s; %d are the most", text.len,
                  p->session.ptr != NULL ? " with those of others" : "", SHARED_RULES_BYTES - 1);
    else
        rules = rules_parse(text, shared, err);
    if (rules != NULL)
        *ret_is_set = shared_set_rules(shared, text, since, rules_count(rules), then);
    int rc = rules != NULL ? 0 : -EINVAL;
    rules_free(rules);
    free(written);
    return rc;
}

static int try_to_publish(struct shared *shared, const struct publication *p, bool *ret_is_set,
                          struct error *err) {
    size_t count = json_array_size(p->rules);
    struct shared_rule *since = mem_calloc(count + SHARED_RULES_MAX, sizeof(since[0]));
    json_t *all = json_copy(p->rules);
    struct in_force old;

    int rc = read_in_force(shared, &old, err);
    if (since == NULL || all == NULL)
        rc = error_set(err, -ENOMEM, "out of memory");
    if (rc == 0 && p->then != NULL && *p->then != old.generation)
        rc = error_set(err, -ESTALE, "the rules have changed since; read them again");
    if (rc == 0) {
        for (size_t i = 0; i < count; i++)
            since[i].at = (uint32_t)i;
        carry_hits(&old, p->rules, since);
        if (p->session.ptr != NULL)
            add_others(&old, p->session, all, since);
        rc = set(shared, p, all, since, &old.generation, ret_is_set, err);
    }
    in_force_free(&old);
    json_decref(all);
    mem_free(since);
    return rc;
}

static int publish(struct shared *shared, struct publication *p, struct error *err) {
    json_t *rule;
    bool is_set = false;
    size_t i;
    int rc =
        json_is_array(p->rules) ? 0 : error_set(err, -EINVAL, "rules are a JSON array of objects");

    json_array_foreach(p->rules, i, rule) {
        if (json_object_del(rule, "hits") == 0) /* hits were told, not given */
            p->text.ptr = NULL;
    }
    while (rc == 0 && !is_set)
        rc = try_to_publish(shared, p, &is_set, err);
    json_decref(p->rules);
    return rc;
}

static int load(struct slice text, json_t **ret, struct error *err) {
    json_error_t why;

    *ret = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &why);
    return *ret != NULL ? 0 : error_set(err, -EINVAL, "not JSON: line %d: %s", why.line, why.text);
}

int rules_publish(struct shared *shared, struct slice text, const uint32_t *then,
                  struct error *err) {
    struct publication p = { .text = text, .then = then };

    if (text.len >= SHARED_RULES_BYTES)
        return error_set(err, -EINVAL, "%zu bytes of rules; %d are the most", text.len,
                         SHARED_RULES_BYTES - 1);
    int rc = load(text, &p.rules, err);
    return rc == 0 ? publish(shared, &p, err) : rc;
}

int rules_publish_session(struct shared *shared, struct slice session, struct slice text,
                          struct error *err) {
    struct publication p = { .session = session };
    const char *fault = condition_session_fault(session);
    json_t *rule;
    size_t i;

    if (fault != NULL)
        return error_set(err, -EINVAL, "the query %s", fault);
    int rc = load(text, &p.rules, err);
    json_array_foreach(p.rules, i, rule) {
        if (json_object_get(rule, "session") != NULL && !is_of_session(rule, session))
            rc = error_set(err, -EINVAL, "rule %zu: is of another session than the query", i + 1);
        json_object_set_new(rule, "session", json_stringn(session.ptr, session.len));
    }
    if (rc == 0)
        return publish(shared, &p, err);
    json_decref(p.rules);
    return rc;
}

char *rules_with_hits(struct shared *shared) {
    struct in_force in_force;
    json_t *rule;
    size_t i;

    int rc = read_in_force(shared, &in_force, NULL);
    json_array_foreach(in_force.json, i, rule)
        json_object_set_new(rule, "hits", json_integer((json_int_t)in_force.since[i].hits));
    char *text = rc == 0 ? json_dump_short(in_force.json, JSON_COMPACT) : NULL;
    char *copy = text != NULL ? slice_dup(slice_str(text)) : NULL;
    free(text);
    in_force_free(&in_force);
    return copy;
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
