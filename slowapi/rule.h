/* SPDX-License-Identifier: MIT */
/* Rules: parameters for the requests that match by path, method, header and query, changed at run
 * time.
 *
 *   [{ "name": "slow-pay", "path": "/pay*", "method": "POST", "session": "tests",
 *      "header": { "X-Tenant": "a" }, "query": { "currency": "eur" },
 *      "params": "delay=2s&fault=rst@head:10", "body": { "paid": true } }]
 *
 * The first that matches counts. A rule has "params", "body" (a text, or any other JSON) or
 * "body-file", and maybe "type"; the rest may be left out. A rule with "enabled": false matches
 * nothing. A session is the value of X-Slowapi-Session. A path is as in slowapi/pattern.h. */
#ifndef SLOWAPI_RULE_H
#define SLOWAPI_RULE_H

#include "http/head.h"
#include "slowapi/shared.h"

#define RULES_MAX SHARED_RULES_MAX

struct rule;
struct rules;

/* From JSON; all or nothing, by shared->check_rule too, unless `shared` is NULL. NULL with a reason
 * that names the rule. */
NODISCARD struct rules *rules_parse(struct slice text, const struct shared *shared,
                                    struct error *err);
void rules_free(struct rules *rules); /* NULL-safe */

size_t rules_count(const struct rules *rules);

struct rule_match {
    const char *name, *params; /* live as long as the rules; params may be NULL */
    const struct rule *rule;
    size_t index; /* among the rules */
};

/* Takes the parameters of the rule, which are a layer. 0 or -EINVAL, as param_parse_text. */
NODISCARD int rule_apply(const struct rule_match *match, struct spec *spec, struct error *why);

/* `path` is decoded. False when none matches. */
bool rules_find(const struct rules *rules, const struct http_head *head, struct slice path,
                struct rule_match *ret);

/* Checks `text` and puts it in force for all workers. Rules that were in force before, by their
 * names or alike, go on counting. 0, or -errno with a reason and nothing changed: -ESTALE when the
 * generation of the rules is not *then any more; NULL: whichever it is. */
NODISCARD int rules_publish(struct shared *shared, struct slice text, const uint32_t *then,
                            struct error *err);

/* Checks and puts in force the rules of one session, which stand before all others; those of other
 * sessions, and of none, stay in force. As rules_publish. */
NODISCARD int rules_publish_session(struct shared *shared, struct slice session, struct slice text,
                                    struct error *err);

/* Puts the rules of a file in force, as rules_publish. */
NODISCARD int rules_load(struct shared *shared, const char *path, struct error *err);

/* Asked for each request: the work of a change stands elsewhere. */
static inline bool rules_changed(const struct shared *shared, uint32_t generation) {
    return atomic_load_explicit(&shared->rules_generation, memory_order_relaxed) != generation;
}

/* Replaces *rules and *generation by those in force; when they cannot be had, which is logged, the
 * rules stay. */
void rules_refresh(struct shared *shared, struct rules **rules, uint32_t *generation);

#endif
