/* SPDX-License-Identifier: MIT */
/* Tells of each condition whether it came true, and what was measured. */
#include "bench/conditions.h"
#include "bench/summary.h"
#include <string.h>

/* The conditions of --fail-if, then those of --abort-if; NULL behind the last one. */
static const struct threshold *condition_at(const struct report *r, size_t i) {
    const struct thresholds *fail_if = &r->config->fail_if, *abort_if = &r->config->abort_if;
    if (i < fail_if->count)
        return &fail_if->items[i];
    i -= fail_if->count;
    return i < abort_if->count ? &abort_if->items[i] : NULL;
}

bool conditions_hold(const struct report *r) {
    const struct threshold *t;
    for (size_t i = 0; (t = condition_at(r, i)) != NULL; i++)
        if (threshold_holds(t, threshold_fact(t, &r->summary->facts)))
            return true;
    return false;
}

/* Tells the condition and the fact: "p99>200ms: it is at least 312.5 ms". Returns `text`, of
 * SECTION_SPELLED_BYTES. */
static const char *show_condition(const struct threshold *t, struct threshold_fact fact,
                                  char *text) {
    size_t used = strlen(section_spell(t->text, text));
    const char *bound = fact.at_least ? "at least " : "";
    char *at = text + used;
    size_t room = SECTION_SPELLED_BYTES - used;
    if (!fact.is_known)
        snprintf(at, room, ": it is not known, there was no answer");
    else if (threshold_is_latency(t))
        snprintf(at, room, ": it is %s%.3f ms", bound, fact.value / 1000);
    else if (t->is_share)
        snprintf(at, room, ": it is %.4g %%", fact.value * 100);
    else if (t->metric == THRESHOLD_RATE)
        snprintf(at, room, ": it is %.2f/s", fact.value);
    else
        snprintf(at, room, ": it is %.0f", fact.value);
    return text;
}

static void print_conditions(FILE *out, const struct report *r) {
    const struct threshold *t;
    char text[SECTION_SPELLED_BYTES];
    if (condition_at(r, 0) != NULL)
        fprintf(out, "\nConditions\n");
    for (size_t i = 0; (t = condition_at(r, i)) != NULL; i++) {
        struct threshold_fact fact = threshold_fact(t, &r->summary->facts);
        fprintf(out, "  %-8s %s\n", threshold_holds(t, fact) ? "FAILED" : "passed",
                show_condition(t, fact, text));
    }
}

static void put_conditions(struct json_draft root, const struct report *r) {
    json_t *list = json_array();
    json_put(root, "conditions", list);
    const struct threshold *t;
    for (size_t i = 0; (t = condition_at(r, i)) != NULL; i++) {
        struct threshold_fact fact = threshold_fact(t, &r->summary->facts);
        struct json_draft item = { json_object(), root.ok };
        json_put_text(item, i < r->config->fail_if.count ? "fail_if" : "abort_if",
                      slice_str(t->text));
        json_put(item, "value", fact.is_known ? json_real(fact.value) : json_null());
        json_put(item, "at_least", json_boolean(fact.at_least));
        json_put(item, "failed", json_boolean(threshold_holds(t, fact)));
        json_append(root, list, item.json);
    }
}

const struct section conditions_section = { .print = print_conditions, .put = put_conditions };
