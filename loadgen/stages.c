/* SPDX-License-Identifier: MIT */
/* Counts by stage. */
#include "loadgen/stages.h"
#include "base/alloc.h"

struct stages *stages_new(const struct load_shape *shape) {
    struct stages *s = mem_calloc(1, sizeof(*s) + shape->count * sizeof(s->items[0]));
    if (s == NULL)
        return NULL;
    s->shape = *shape;
    for (size_t i = 0; i < shape->count; i++) {
        struct stage_counts *one = &s->items[i];
        one->latency = hist_new();
        one->ages = hist_new();
        if (one->latency != NULL && one->ages != NULL)
            continue;
        stages_free(s);
        return NULL;
    }
    return s;
}

void stages_free(struct stages *s) {
    for (size_t i = 0; s != NULL && i < s->shape.count; i++) {
        hist_free(s->items[i].latency);
        hist_free(s->items[i].ages);
    }
    if (s != NULL)
        mem_free(s->words);
    mem_free(s);
}

static struct stage_counts *stage_of(struct stages *s, nsec_t at) {
    return &s->items[shape_stage_at(&s->shape, at - s->start)];
}

void stages_begin(struct stages *s, nsec_t planned, nsec_t now, bool is_planned) {
    stage_of(s, planned)->planned += is_planned;
    stage_of(s, now)->begun++;
}

/* Answers that come after the last stage, while the run drains, are in no stage's time. */
static void count_end(struct stages *s, nsec_t now) {
    if (now - s->start < shape_span(&s->shape))
        stage_of(s, now)->ended++;
}

void stages_end(struct stages *s, int outcome, uint16_t status, const struct timing *timing,
                nsec_t now) {
    struct stage_counts *one = stage_of(s, timing->planned);
    int64_t total = timing->queue + timing->total;
    if (outcome == OUTCOME_DROPPED) {
        one->planned++;
        one->dropped++;
    } else if (outcome == OUTCOME_UNFINISHED) {
        one->in_flight++;
    } else {
        one->succeeded += outcome == OUTCOME_OK;
        one->failed += outcome != OUTCOME_OK;
        one->unwelcome += outcome == OUTCOME_OK && (status < 200 || status > 299);
        count_end(s, now);
    }
    if (status > 0)
        hist_record(one->latency, total);
    else if (outcome < OUTCOME_OK || failure_is_timeout((enum failure)outcome))
        hist_record(one->ages, total);
}

void stages_merge(struct stages *to, const struct stages *from) {
    for (size_t i = 0; i < to->shape.count && i < from->shape.count; i++) {
        struct stage_counts *sum = &to->items[i];
        const struct stage_counts *one = &from->items[i];
        sum->planned += one->planned;
        sum->begun += one->begun;
        sum->ended += one->ended;
        sum->succeeded += one->succeeded;
        sum->failed += one->failed;
        sum->unwelcome += one->unwelcome;
        sum->in_flight += one->in_flight;
        sum->dropped += one->dropped;
        hist_merge(sum->latency, one->latency);
        hist_merge(sum->ages, one->ages);
    }
}
