/* SPDX-License-Identifier: MIT */
/* Rules: what is done with the requests that meet their conditions, changed at run time.
 *
 *   [{ "name": "slow-pay", "priority": 1, "method": "POST", "path": "/pay", "session": "tests",
 *      "params": "delay=2s&fault=rst@head:10", "body": { "paid": true } },
 *    { "name": "outage", "path": "/orders", "key": "header:X-Client", "end": "stay",
 *      "answers": [{ "params": "fault=rst" }, { "status": 503, "for": "5s" }, { "status": 200 }] },
 *    { "scenario": "order", "when": "paid", "then": "shipped", "params": "status=202" }]
 *
 * Rules of sessions are asked first, then those of the lowest priority, then in their order; the
 * first that holds counts. Conditions are those of slowapi/condition.h, answers those of
 * slowapi/answer.h. A sequence of answers is counted by its key, and so is the state of a scenario;
 * both begin anew with a new list. A rule with "enabled": false matches nothing. */
#ifndef SLOWAPI_RULE_H
#define SLOWAPI_RULE_H

#include "slowapi/condition.h"
#include "slowapi/shared.h"

#define RULES_MAX        SHARED_RULES_MAX
#define RULE_ANSWERS_MAX 64 /* answers of a rule; a state has 8 bits for them and what is around */
#define RULE_FIRST_STATE "Started" /* state of a scenario at first, WireMock's word */

struct rule;
struct rules;

/* From JSON; all or nothing, by shared->check_rule too, unless `shared` is NULL. NULL with a reason
 * that names the rule. */
NODISCARD struct rules *rules_parse(struct slice text, const struct shared *shared,
                                    struct error *err);
void rules_free(struct rules *rules); /* NULL-safe */

size_t rules_count(const struct rules *rules);

/* A request that a rule is looked for. */
struct rule_request {
    struct condition_view view; /* condition_view_free afterwards */
    struct shared *shared;      /* memory in which its turns are counted */
    uint64_t client;            /* a hash of its address */
};

struct rule_match {
    const char *name; /* "-": none; lives as long as the rules */
    const struct rule *rule;
    size_t index;  /* among the rules as they were given */
    size_t answer; /* number in its sequence, from 1; 0: there is none */
    bool is_whole; /* the rule has an answer of its own: a status or a body */
    bool evicts;   /* a sequence was forgotten, as sequence_next tells */
};

enum rule_found {
    RULE_NONE,
    RULE_FOUND,
    RULE_WANTS_BODY /* the body has not come: ask again then */
};

/* Finds the first rule that holds, and counts the request in its sequence. */
enum rule_found rules_find(const struct rules *rules, struct rule_request *request,
                           struct rule_match *ret);

/* Takes the parameters of the rule, which are one layer, and of its answer the next. 0 or -EINVAL,
 * as param_parse_text. */
NODISCARD int rule_apply(const struct rule_match *match, struct spec *spec, struct error *why);

/* Asked for each request: the work of a change stands elsewhere. */
static inline bool rules_changed(const struct shared *shared, uint32_t generation) {
    return atomic_load_explicit(&shared->rules_generation, memory_order_relaxed) != generation;
}

/* Replaces *rules and *generation by those in force; *rules is NULL when there are none. When
 * they cannot be had, which is logged, the rules stay. */
void rules_refresh(struct shared *shared, struct rules **rules, uint32_t *generation);

#endif
