/* SPDX-License-Identifier: MIT */
/* Parses rules, and finds the one for a request. */
#include "slowapi/rule.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/log.h"
#include "http/chars.h"
#include "http/url.h"
#include "slowapi/answer.h"
#include "slowapi/limits.h"
#include "slowapi/roll.h"
#include <errno.h>
#include <stdlib.h>

/* The part of a request that tells apart those that have a sequence of their own. */
enum key_kind { KEY_ALL, KEY_CLIENT, KEY_SESSION, KEY_HEADER, KEY_QUERY, KEY_COOKIE, KEY_JSON };

struct rule {
    const char *name; /* NULL: none */
    struct condition condition;
    struct answer common; /* with a sequence: beneath each of its answers */
    bool is_off;          /* matches nothing until it is switched on */
    int64_t priority;     /* lower ones first */
    size_t index;         /* in the list as it was given */
    struct shared_rule since;

    struct answer *answers;     /* owned; NULL: no sequence. `after` and the end are among them */
    size_t answer_count, first; /* first: the index of the first one that the rule names */
    bool has_state;             /* requests or time decide which of them holds */
    bool may_pass;
    uint64_t turn_usec; /* length of a sequence that starts again, when all of it is time; else 0 */
    bool is_since_put;  /* time begins when the rule is put, not with the first request */
    enum key_kind key_kind;
    struct slice key_name;

    const char *scenario, *when, *then; /* NULL: none; any state; it stays */
};

/* Rules by the text that the paths of their requests begin with, so that a request is held against
 * few of many:
 *
 *   slots[hash of the text] -> rule -next-> rule
 */
#define SLOT_COUNT (2 * RULES_MAX)

struct rules {
    json_t *json;
    size_t count;
    struct rule *rules;                          /* in the order in which they are asked */
    bool want_bodies;                            /* to be matched, or to tell keys apart */
    uint16_t slots[SLOT_COUNT], next[RULES_MAX]; /* numbers of rules, from 1; 0: none */
    size_t lengths[RULES_MAX], length_count;     /* lengths of such texts, rising */
};

/* A set of rules, by their place in the order. */
struct candidates {
    uint64_t bits[RULES_MAX / 64];
};

#define PRIORITY_MAX     1000
#define PRIORITY_DEFAULT 5 /* WireMock's default */

/* --- parsing: a sequence ---------------------------------------------------------------------- */

static int bad(struct error *err, const char *what) {
    return error_set(err, -EINVAL, "%s", what);
}

/* Members of a rule that have no place in struct rule before all of them are known. */
struct draft {
    json_t *answers; /* NULL: none */
    const char *end, *from, *key;
    uint64_t after_usec;
};

static bool is_one_of(const char *text, const char *a, const char *b) {
    return text != NULL && (strcmp(text, a) == 0 || strcmp(text, b) == 0);
}

/* `{{header.NAME}}`, as the parameter `key` spells a part of the request, or `header:NAME`. */
static struct slice key_parts(const char *key, char *ret_mark) {
    struct slice text = slice_str(key);
    bool is_placeholder = text.len > 4 && slice_starts_with(text, SLICE("{{")) &&
                          slice_eq(slice_drop(text, text.len - 2), SLICE("}}"));

    *ret_mark = is_placeholder ? '.' : ':';
    if (!is_placeholder)
        return text;
    text = slice_trim(slice_take(slice_drop(text, 2), text.len - 4));
    return slice_find(text, '}') < text.len ? SLICE("") : text;
}

static int parse_key(struct rule *rule, const char *key, struct error *err) {
    static const struct {
        struct slice name;
        enum key_kind kind;
        bool has_argument;
    } kinds[] = {
        { SLICE_INIT("all"), KEY_ALL, false },         { SLICE_INIT("client"), KEY_CLIENT, false },
        { SLICE_INIT("session"), KEY_SESSION, false }, { SLICE_INIT("header"), KEY_HEADER, true },
        { SLICE_INIT("query"), KEY_QUERY, true },      { SLICE_INIT("cookie"), KEY_COOKIE, true },
        { SLICE_INIT("json"), KEY_JSON, true },
    };
    char mark;
    struct slice text = key_parts(key, &mark), rest;

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!slice_starts_with(text, kinds[i].name))
            continue;
        rest = slice_drop(text, kinds[i].name.len);
        if (kinds[i].has_argument ? rest.len < 2 || rest.ptr[0] != mark : rest.len > 0)
            continue;
        rule->key_kind = kinds[i].kind;
        rule->key_name = slice_drop(rest, 1);
        return 0;
    }
    return bad(err, "has a key that is none of all, client, session, header:NAME, query:NAME, "
                    "cookie:NAME and json:PATH");
}

static int parse_answers(struct rule *rule, json_t *list, struct error *err) {
    struct error why = { .text = "" };

    for (size_t i = 0; i < json_array_size(list); i++) {
        struct answer *answer = &rule->answers[rule->answer_count++];
        if (answer_parse(answer, json_array_get(list, i), &why) < 0)
            return error_set(err, -EINVAL, "answer %zu: %s", i + 1, why.text);
        rule->may_pass |= answer->passes;
    }
    return 0;
}

/* Adds what follows the last answer: nothing when that one holds for ever. */
static int parse_end(struct rule *rule, const char *end, struct error *err) {
    struct answer *last = &rule->answers[rule->answer_count - 1];
    bool is_limited = answer_is_limited(last);

    if (end != NULL && strcmp(end, "again") == 0) {
        rule->has_state = true;
        for (size_t i = rule->first; i < rule->answer_count; i++) {
            if (!answer_is_limited(&rule->answers[i]))
                rule->answers[i].times = 1;
            rule->turn_usec += rule->answers[i].usec;
        }
        for (size_t i = rule->first; i < rule->answer_count; i++)
            if (rule->answers[i].usec == 0)
                rule->turn_usec = 0;
        return 0;
    }
    if (is_limited && end != NULL && strcmp(end, "stay") == 0)
        return bad(err, "stays at its last answer, which then cannot have times or for");
    if (is_limited || (end != NULL && strcmp(end, "pass") == 0)) {
        if (!is_limited)
            last->times = 1;
        rule->answers[rule->answer_count++] = (struct answer){ .passes = true };
        rule->may_pass = true;
    }
    for (size_t i = 0; i + 1 < rule->answer_count; i++)
        if (!answer_is_limited(&rule->answers[i]))
            rule->answers[i].times = 1;
    return 0;
}

static int check_sequence(const struct rule *rule, const struct draft *draft, struct error *err) {
    bool has_limit = answer_is_limited(&rule->common);
    bool has_any = draft->answers != NULL || has_limit || draft->after_usec > 0;

    if (rule->scenario != NULL && has_any)
        return bad(err, "has a scenario, which does not go together with answers, times, for and "
                        "after");
    if (draft->answers != NULL &&
        (has_limit || answer_is_whole(&rule->common) || rule->common.type != NULL))
        return bad(err, "has answers: status, body, body-file, type, times and for belong into "
                        "them");
    if (draft->answers == NULL && !has_limit && draft->end != NULL)
        return bad(err, "has an end, but neither answers nor times nor for");
    if (draft->from != NULL && !has_any)
        return bad(err, "has from, but nothing that depends on time");
    return !has_any && rule->scenario == NULL && draft->key != NULL
               ? bad(err, "has a key, but neither a sequence nor a scenario")
               : 0;
}

/* Lays the answers out, one behind the other: until `after` the request passes. */
static int parse_sequence(struct rule *rule, const struct draft *draft, struct error *err) {
    int rc = check_sequence(rule, draft, err);

    if (rc == 0 && draft->key != NULL)
        rc = parse_key(rule, draft->key, err);
    if (rc < 0 ||
        (draft->answers == NULL && !answer_is_limited(&rule->common) && draft->after_usec == 0))
        return rc;
    rule->is_since_put = draft->from != NULL && strcmp(draft->from, "put") == 0;
    rule->answers = mem_calloc(json_array_size(draft->answers) + 3, sizeof(rule->answers[0]));
    if (rule->answers == NULL)
        return bad(err, "needs more memory than there is");
    if (draft->after_usec > 0)
        rule->answers[rule->answer_count++] =
            (struct answer){ .passes = true, .usec = draft->after_usec };
    rule->may_pass = draft->after_usec > 0;
    rule->first = rule->answer_count;
    if (draft->answers != NULL)
        rc = parse_answers(rule, draft->answers, err);
    else
        rule->answers[rule->answer_count++] =
            (struct answer){ .times = rule->common.times, .usec = rule->common.usec };
    if (rc == 0)
        rc = parse_end(rule, draft->end, err);
    rule->has_state |= rule->answer_count > 1;
    return rc;
}

/* --- parsing: a rule -------------------------------------------------------------------------- */

static const char *name_fault(const char *name) {
    if (name == NULL || name[0] == '\0' || strlen(name) > SLOWAPI_LABEL_BYTES)
        return "has a name that is empty or longer than 128 bytes";
    return http_span_value(name, strlen(name)) != strlen(name)
               ? "has a name with a control character, which cannot stand in a header"
               : NULL;
}

/* A name, or a word that stands for one of two. */
static int take_word(const char **ret, const char *name, json_t *value, struct error *err) {
    *ret = json_string_value(value);
    if (*ret == NULL || (*ret)[0] == '\0' || strlen(*ret) > SLOWAPI_LABEL_BYTES)
        return error_set(err, -EINVAL, "has \"%s\" that is no text of 1 to %d bytes", name,
                         SLOWAPI_LABEL_BYTES);
    return 1;
}

static int take_name(struct rule *rule, json_t *value, struct error *err) {
    if (!json_is_string(value))
        return bad(err, "has a name that is no text");
    rule->name = json_string_value(value);
    return name_fault(rule->name) == NULL ? 1 : bad(err, name_fault(rule->name));
}

static int take_priority(struct rule *rule, json_t *value, struct error *err) {
    rule->priority = json_integer_value(value);
    return json_is_integer(value) && rule->priority >= 1 && rule->priority <= PRIORITY_MAX
               ? 1
               : error_set(err, -EINVAL, "has a priority that is no whole number from 1 to %d",
                           PRIORITY_MAX);
}

static int take_answers(struct draft *draft, json_t *value, struct error *err) {
    draft->answers = value;
    return json_array_size(value) >= 1 && json_array_size(value) <= RULE_ANSWERS_MAX
               ? 1
               : error_set(err, -EINVAL, "has answers that are no list of 1 to %d",
                           RULE_ANSWERS_MAX);
}

/* Members of sequences and scenarios. 1; 0: it is none; or -EINVAL. */
static int take_of_sequence(struct rule *rule, struct draft *draft, const char *name, json_t *value,
                            struct error *err) {
    const struct {
        const char *name, **text;
    } words[] = {
        { "end", &draft->end },          { "from", &draft->from }, { "key", &draft->key },
        { "scenario", &rule->scenario }, { "when", &rule->when },  { "then", &rule->then }
    };

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcmp(name, words[i].name) == 0)
            return take_word(words[i].text, name, value, err);
    if (strcmp(name, "answers") == 0)
        return take_answers(draft, value, err);
    return strcmp(name, "after") == 0 ? answer_take_span(&draft->after_usec, name, value, err) : 0;
}

#define OTHER_MEMBERS \
    "name, enabled, priority, answers, end, after, from, key, scenario, when, then"

static int take_member(struct rule *rule, struct draft *draft, const char *name, json_t *value,
                       struct error *err) {
    const char *why = "";

    if (strcmp(name, "name") == 0)
        return take_name(rule, value, err);
    if (strcmp(name, "priority") == 0)
        return take_priority(rule, value, err);
    if (strcmp(name, "enabled") == 0) {
        rule->is_off = json_is_false(value);
        return json_is_boolean(value) ? 1 : bad(err, "allowed is enabled, which is true or false");
    }
    if (strcmp(name, "hits") == 0) /* told by GET, and of no meaning here */
        return json_is_integer(value) ? 1 : bad(err, "has hits that are no number");
    if (strcmp(name, "headers") == 0)
        return bad(err, "has headers, which belong into answers; a condition is called header");
    int rc = condition_take(&rule->condition, name, value, &why);
    if (rc != 0)
        return rc < 0 ? bad(err, why) : rc;
    rc = answer_take(&rule->common, name, value, err);
    return rc != 0 ? rc : take_of_sequence(rule, draft, name, value, err);
}

static int take_members(struct rule *rule, struct draft *draft, json_t *json, struct error *err) {
    const char *name;
    json_t *value;

    if (!json_is_object(json))
        return bad(err, "is not an object");
    json_object_foreach(json, name, value) {
        int rc = take_member(rule, draft, name, value, err);
        if (rc == 0)
            rc = error_set(err, -EINVAL,
                           "allowed are " OTHER_MEMBERS ", " ANSWER_MEMBERS ", " CONDITION_MEMBERS
                           ", not \"%s\"",
                           name);
        if (rc < 0)
            return rc;
    }
    return answer_check(&rule->common, err);
}

static int check_members(const struct rule *rule, const struct draft *draft, struct error *err) {
    bool does =
        answer_does_something(&rule->common) || draft->answers != NULL || rule->then != NULL;

    if (!does)
        return bad(err, "has no params, and no body either, and neither answers nor then");
    if (draft->end != NULL && strcmp(draft->end, "pass") != 0 &&
        !is_one_of(draft->end, "stay", "again"))
        return bad(err, "has an end that is none of stay, again and pass");
    if (draft->from != NULL && !is_one_of(draft->from, "first", "put"))
        return bad(err, "has from that is neither first nor put");
    if (rule->scenario == NULL && (rule->when != NULL || rule->then != NULL))
        return bad(err, "has when or then, but no scenario");
    return rule->scenario != NULL && rule->when == NULL && rule->then == NULL
               ? bad(err, "has a scenario, but neither when nor then")
               : 0;
}

int rule_apply(const struct rule_match *match, struct spec *spec, struct error *why) {
    const struct rule *rule = match->rule;
    int rc = answer_apply(&rule->common, spec, why);

    return rc == 0 && match->answer > 0
               ? answer_apply(&rule->answers[rule->first + match->answer - 1], spec, why)
               : rc;
}

/* A body that decides has come before its pace is known. */
static int check_upload(const struct spec *spec, struct error *why) {
    for (size_t i = 0; i < spec->fault_count; i++)
        if (spec->faults[i].place == FAULT_AT_UPLOAD)
            return bad(why, "has a fault at the upload of a body that decides whether it holds");
    return 0;
}

static int check_params(const struct rule *rule, size_t answer, const struct shared *shared,
                        struct error *err) {
    const struct rule_match match = { .rule = rule, .answer = answer };
    struct error why = { .text = "" };
    struct arena memory;
    struct spec spec;

    arena_init(&memory, SLOWAPI_LIST_BYTES);
    spec_init(&spec, 0, &memory);
    spec.of_request = true;
    int rc = rule_apply(&match, &spec, &why);
    if (rc == 0 && condition_needs_body(&rule->condition))
        rc = check_upload(&spec, &why);
    if (rc == 0 && shared != NULL && shared->check_rule != NULL)
        rc = shared->check_rule(shared, &spec, &why);
    arena_free(&memory);
    if (rc < 0 && answer > 0)
        return error_set(err, rc, "answer %zu: %s", answer, why.text);
    return rc < 0 ? bad(err, why.text) : 0;
}

static int parse_rule(struct rule *rule, json_t *json, const struct shared *shared,
                      struct error *err) {
    struct draft draft = { .answers = NULL };

    rule->priority = PRIORITY_DEFAULT;
    int rc = take_members(rule, &draft, json, err);
    if (rc == 0)
        rc = check_members(rule, &draft, err);
    if (rc == 0)
        rc = parse_sequence(rule, &draft, err);
    if (rc == 0)
        rc = check_params(rule, 0, shared, err);
    for (size_t i = 1; i <= json_array_size(draft.answers) && rc == 0; i++)
        rc = check_params(rule, i, shared, err);
    return rc;
}

/* --- parsing: the list ------------------------------------------------------------------------ */

static int rank(const void *a, const void *b) {
    const struct rule *rule = a, *other = b;
    bool is_of_session = rule->condition.session != NULL;

    if (is_of_session != (other->condition.session != NULL))
        return is_of_session ? -1 : 1;
    if (rule->priority != other->priority)
        return rule->priority < other->priority ? -1 : 1;
    return rule->index < other->index ? -1 : 1;
}

static size_t prefix_of(const struct rule *rule) {
    return rule->condition.path.text != NULL ? rule->condition.path.prefix : 0;
}

static uint16_t *slot_of(struct rules *rules, const char *text, size_t len) {
    return &rules->slots[hash_bytes(HASH_SEED, text, len) % SLOT_COUNT];
}

static int rank_lengths(const void *a, const void *b) {
    const size_t *len = a, *other = b;

    return *len < *other ? -1 : *len > *other;
}

/* The lengths once each; then the rules, so that those of a slot stand in it from the last on. */
static void index_rules(struct rules *rules) {
    size_t kept = 0;

    for (size_t i = 0; i < rules->count; i++)
        rules->lengths[i] = prefix_of(&rules->rules[i]);
    qsort(rules->lengths, rules->count, sizeof(rules->lengths[0]), rank_lengths);
    for (size_t i = 0; i < rules->count; i++)
        if (kept == 0 || rules->lengths[i] != rules->lengths[kept - 1])
            rules->lengths[kept++] = rules->lengths[i];
    rules->length_count = kept;
    for (size_t i = 0; i < rules->count; i++) {
        const struct rule *rule = &rules->rules[i];
        uint16_t *slot = slot_of(rules, rule->condition.path.text, prefix_of(rule));
        if (rule->is_off)
            continue;
        rules->next[i] = *slot;
        *slot = (uint16_t)(i + 1);
    }
}

static int parse_list(struct rules *rules, const struct shared *shared, struct error *err) {
    size_t count = json_array_size(rules->json);
    struct error why = { .text = "" };

    if (!json_is_array(rules->json))
        return error_set(err, -EINVAL, "rules are a JSON array of objects");
    if (count > RULES_MAX)
        return error_set(err, -EINVAL, "%zu rules; %d are the most", count, RULES_MAX);
    rules->rules = mem_calloc(count + 1, sizeof(rules->rules[0]));
    if (rules->rules == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        json_t *json = json_array_get(rules->json, i);
        const char *name = json_string_value(json_object_get(json, "name"));
        struct rule *rule = &rules->rules[rules->count++];
        rule->index = i;
        if (parse_rule(rule, json, shared, &why) < 0)
            return name_fault(name) == NULL
                       ? error_set(err, -EINVAL, "rule %zu (%s): %s", i + 1, name, why.text)
                       : error_set(err, -EINVAL, "rule %zu: %s", i + 1, why.text);
        rules->want_bodies |=
            !rule->is_off && (condition_needs_body(&rule->condition) || rule->key_kind == KEY_JSON);
    }
    qsort(rules->rules, count, sizeof(rules->rules[0]), rank);
    index_rules(rules);
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
    if (rules->json == NULL || parse_list(rules, shared, err) < 0) {
        rules_free(rules);
        return NULL;
    }
    return rules;
}

static void rule_free(struct rule *rule) {
    condition_free(&rule->condition);
    answer_free(&rule->common);
    for (size_t i = 0; i < rule->answer_count; i++)
        answer_free(&rule->answers[i]);
    mem_free(rule->answers);
}

void rules_free(struct rules *rules) {
    if (rules == NULL)
        return;
    for (size_t i = 0; i < rules->count; i++)
        rule_free(&rules->rules[i]);
    mem_free(rules->rules);
    json_decref(rules->json);
    mem_free(rules);
}

size_t rules_count(const struct rules *rules) {
    return rules != NULL ? rules->count : 0;
}

/* --- sequences -------------------------------------------------------------------------------- */

/* The state of a sequence is one number: which answer holds, and how many requests have had it, or
 * when its time began; see below. 0: no request has come. */
#define STATE_BITS 56
#define STATE_MASK ((UINT64_C(1) << STATE_BITS) - 1)

struct turn {
    const struct rule *rule;
    uint64_t begin, now; /* us since the start of the server */
    size_t answer;       /* index among the rule's */
};

static size_t next_answer(const struct rule *rule, size_t answer) {
    return answer + 1 < rule->answer_count ? answer + 1 : rule->first;
}

/* The answers follow each other in time, also while no request comes. */
static void take_turn(uint64_t *state, void *arg) {
    struct turn *turn = arg;
    const struct rule *rule = turn->rule;
    size_t at = *state != 0 ? (*state >> STATE_BITS) - 1 : 0;
    uint64_t value = *state != 0 ? *state & STATE_MASK : turn->begin;
    const struct answer *answer = &rule->answers[at];

    if (*state == 0 && answer->usec == 0)
        value = 0;
    for (;;) {
        uint64_t ended = turn->now;
        if (answer->usec > 0 && turn->now < value + answer->usec)
            break;
        if (answer->usec > 0)
            ended = value + answer->usec;
        else if (answer->times == 0)
            break;
        else if (value++ < answer->times)
            break;
        at = next_answer(rule, at);
        if (at == rule->first && rule->turn_usec > 0)
            ended += (turn->now - ended) / rule->turn_usec * rule->turn_usec;
        answer = &rule->answers[at];
        value = answer->usec > 0 ? ended : 0;
    }
    turn->answer = at;
    *state = (uint64_t)(at + 1) << STATE_BITS | (value & STATE_MASK);
}

/* The state of a scenario is a hash of its name. */
struct step {
    uint64_t when, then; /* 0: any; it stays */
    bool fits;
};

static uint64_t state_of(const char *name) {
    return name != NULL ? hash_bytes(HASH_SEED, name, strlen(name)) | 1 : 0;
}

static void take_step(uint64_t *state, void *arg) {
    struct step *step = arg;
    uint64_t now = *state != 0 ? *state : state_of(RULE_FIRST_STATE);

    step->fits = step->when == 0 || step->when == now;
    if (step->fits && step->then != 0)
        *state = step->then;
}

static uint64_t hash_slice(uint64_t key, struct slice text) {
    return hash_bytes(hash_bytes(key, &text.len, sizeof(text.len)), text.ptr, text.len);
}

static uint64_t hash_json(uint64_t key, json_t *json) {
    char *text =
        json != NULL ? json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS) : NULL;

    if (text != NULL)
        key = hash_slice(key, slice_str(text));
    free(text);
    return key;
}

/* Two spellings of one argument are one key. */
static uint64_t hash_decoded(uint64_t key, struct slice raw) {
    char *text = slice_dup(raw);
    long len = text != NULL ? http_percent_decode(raw, text) : -1;

    key = hash_slice(key, len >= 0 ? slice_of(text, (size_t)len) : raw);
    mem_free(text);
    return key;
}

/* A session whose counts begin anew has another key from then on. */
static uint64_t hash_session(uint64_t key, struct shared *shared, struct slice session) {
    uint64_t age = roll_session_age(shared, session);

    return hash_bytes(hash_slice(key, session), &age, sizeof(age));
}

/* Requests that lack it have one key together. */
static uint64_t hash_key(const struct rule *rule, struct rule_request *request, uint64_t key) {
    struct condition_view *view = &request->view;
    struct condition_cookies cookies = { .pairs = SLICE("") };
    struct slice name = rule->key_name, value;

    switch (rule->key_kind) {
    case KEY_ALL:
        break;
    case KEY_CLIENT:
        return hash_bytes(key, &request->client, sizeof(request->client));
    case KEY_SESSION:
        return http_field_find(view->head, SLICE(SLOWAPI_SESSION), &value)
                   ? hash_session(key, request->shared, value)
                   : key;
    case KEY_HEADER:
        return http_field_find(view->head, name, &value) ? hash_slice(key, value) : key;
    case KEY_QUERY:
        return http_query_find(view->query, name, &value) ? hash_decoded(key, value) : key;
    case KEY_COOKIE:
        return condition_cookie_next(view->head, &cookies, name, &value) ? hash_slice(key, value)
                                                                         : key;
    case KEY_JSON:
        return hash_json(key, json_at(condition_view_json(view), name));
    }
    return key;
}

/* The key is of a list that was put, and of the rule's place there, or the scenario's name. */
static uint64_t state_key(const struct rule *rule, struct rule_request *request) {
    uint64_t key = hash_bytes(HASH_SEED, &rule->since.put, sizeof(rule->since.put));

    if (rule->condition.session != NULL)
        key = hash_session(key, request->shared, slice_str(rule->condition.session));
    if (rule->scenario != NULL)
        key = hash_slice(key, slice_str(rule->scenario));
    else
        key = hash_bytes(key, &rule->since.at, sizeof(rule->since.at));
    return hash_key(rule, request, key);
}

static uint64_t usec_since_start(const struct shared *shared, nsec_t at) {
    return at > shared->started_at ? (uint64_t)(at - shared->started_at) / 1000 : 0;
}

/* Whether the state lets the rule hold, which counts the request. */
static bool holds(const struct rule *rule, struct rule_request *request, struct rule_match *match) {
    struct shared *shared = request->shared;
    struct step step = { state_of(rule->when), state_of(rule->then), false };
    struct turn turn = { .rule = rule, .now = usec_since_start(shared, clock_now()) };

    if (rule->scenario != NULL) {
        match->evicts |= sequence_change(shared, state_key(rule, request), take_step, &step);
        return step.fits;
    }
    if (rule->has_state) {
        nsec_t forgotten_at = atomic_load(&shared->forgotten_at);
        turn.begin = rule->is_since_put
                         ? usec_since_start(shared, nsec_max(rule->since.put_at, forgotten_at))
                         : turn.now;
        match->evicts |= sequence_change(shared, state_key(rule, request), take_turn, &turn);
    }
    if (rule->answers == NULL || rule->answers[turn.answer].passes)
        return rule->answers == NULL;
    match->answer = turn.answer - rule->first + 1;
    return true;
}

/* --- matching --------------------------------------------------------------------------------- */

/* The rules that the path may fit. A hash that others have, too, makes one more of them. */
static void find_candidates(const struct rules *rules, struct slice path, struct candidates *ret) {
    uint64_t hash = HASH_SEED;
    size_t at = 0;

    memset(ret->bits, 0, (rules->count + 63) / 64 * sizeof(ret->bits[0]));
    for (size_t i = 0; i < rules->length_count && rules->lengths[i] <= path.len; i++) {
        hash = hash_bytes(hash, path.ptr + at, rules->lengths[i] - at);
        at = rules->lengths[i];
        for (size_t rule = rules->slots[hash % SLOT_COUNT]; rule != 0; rule = rules->next[rule - 1])
            ret->bits[(rule - 1) / 64] |= UINT64_C(1) << (rule - 1) % 64;
    }
}

/* Takes the first one out of the set. NULL: it is empty. */
static const struct rule *next_candidate(const struct rules *rules, struct candidates *candidates) {
    for (size_t i = 0; i * 64 < rules->count; i++) {
        uint64_t bits = candidates->bits[i];
        if (bits == 0)
            continue;
        candidates->bits[i] = bits & (bits - 1);
        return &rules->rules[i * 64 + (size_t)__builtin_ctzll(bits)];
    }
    return NULL;
}

/* Whether the body decides, which has not come: before it is known that one before it holds, none
 * counts the request. */
static bool wants_body(const struct rules *rules, struct candidates candidates,
                       struct rule_request *request) {
    const struct rule *rule;

    if (!rules->want_bodies || request->view.knows_body != CONDITION_BODY_LATER)
        return false;
    while ((rule = next_candidate(rules, &candidates)) != NULL) {
        enum condition_fit fit = condition_fits(&rule->condition, &request->view);
        if (fit == FITS_PERHAPS || (fit == FITS && rule->key_kind == KEY_JSON))
            return true;
        if (fit == FITS && !rule->may_pass && rule->when == NULL)
            return false;
    }
    return false;
}

enum rule_found rules_find(const struct rules *rules, struct rule_request *request,
                           struct rule_match *ret) {
    const struct rule *rule;
    struct candidates candidates;

    *ret = (struct rule_match){ .name = "-" };
    if (rules == NULL)
        return RULE_NONE;
    find_candidates(rules, request->view.path, &candidates);
    if (wants_body(rules, candidates, request))
        return RULE_WANTS_BODY;
    while ((rule = next_candidate(rules, &candidates)) != NULL) {
        if (condition_fits(&rule->condition, &request->view) != FITS || !holds(rule, request, ret))
            continue;
        if (rule->name != NULL)
            ret->name = rule->name;
        ret->rule = rule;
        ret->index = rule->index;
        ret->is_whole =
            answer_is_whole(&rule->common) ||
            (ret->answer > 0 && answer_is_whole(&rule->answers[rule->first + ret->answer - 1]));
        return RULE_FOUND;
    }
    return RULE_NONE;
}

/* --- taking over ---------------------------------------------------------------------------- */

void rules_refresh(struct shared *shared, struct rules **rules, uint32_t *generation) {
    struct error err = { .text = "out of memory" };
    struct shared_rule *since = NULL;

    *generation = atomic_load_explicit(&shared->rules_generation, memory_order_relaxed);
    char *text = shared_rules(shared, &since);
    struct rules *fresh = text != NULL ? rules_parse(slice_str(text), NULL, &err) : NULL;
    mem_free(text);
    for (size_t i = 0; i < rules_count(fresh); i++)
        fresh->rules[i].since = since[fresh->rules[i].index];
    mem_free(since);
    if (fresh == NULL) {
        log_write(LOG_LEVEL_ERROR, "rules not taken over error=\"%s\"", err.text);
        return;
    }
    rules_free(*rules);
    *rules = fresh;
    if (fresh->count == 0) { /* none is left: requests are plain again */
        rules_free(fresh);
        *rules = NULL;
    }
}
