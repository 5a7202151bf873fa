/* SPDX-License-Identifier: MIT */
/* Keeps samples of waits as columns, and tells them as means and over time. */
#include "waits/history.h"
#include "base/alloc.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_POINTS 32
#define SHOWN_MIN    0.05 /* a mean that is not 0.0 */
#define PART_BYTES   (WAIT_TEXT_BYTES + 24)

/* --- taking samples in -------------------- */

/* The column of that wait; the last one is for all that find no other. */
static size_t column_of(struct wait_history *h, const struct wait *wait) {
    static const struct wait others = { .kind = WAIT_OTHER };
    size_t at = 0;
    while (at < h->column_count && !wait_is_same(&h->columns[at].group.wait, wait))
        at++;
    if (at < h->column_count)
        return at;
    if (at == HISTORY_COLUMNS_MAX)
        return at - 1;
    bool is_last = at == HISTORY_COLUMNS_MAX - 1;
    h->columns[at].group =
        (struct wait_group){ .wait = is_last ? others : *wait, .descriptors_min = UINT32_MAX };
    h->column_count++;
    return at;
}

static void count_group(struct wait_history *h, const struct wait_group *group,
                        struct history_point *point) {
    size_t at = column_of(h, &group->wait);
    struct wait_group *all = &h->columns[at].group;
    point->counts[at] += group->threads;
    h->columns[at].sum += group->threads;
    if (all->wait.descriptors < group->wait.descriptors)
        all->wait.descriptors = group->wait.descriptors;
    if (all->descriptors_min > group->descriptors_min)
        all->descriptors_min = group->descriptors_min;
    if (all->threads < point->counts[at])
        all->threads = point->counts[at];
}

/* Drops every second point; from now on only half as many are taken. */
static void thin_out(struct wait_history *h) {
    for (size_t i = 0; i < h->count / 2; i++)
        h->points[i] = h->points[2 * i];
    h->count /= 2;
    h->stride *= 2;
}

static int keep_point(struct wait_history *h, const struct history_point *point) {
    if (h->stride == 0)
        h->stride = 1;
    if (h->count > 0 && ++h->skipped < h->stride)
        return 0;
    h->skipped = 0;
    if (h->count == HISTORY_POINTS_MAX)
        thin_out(h);
    if (h->count == h->capacity) {
        size_t capacity = h->capacity == 0 ? FIRST_POINTS : 2 * h->capacity;
        struct history_point *points = mem_realloc(h->points, capacity * sizeof(*points));
        if (points == NULL)
            return -ENOMEM;
        h->points = points;
        h->capacity = capacity;
    }
    h->points[h->count++] = *point;
    return 0;
}

int history_add(struct wait_history *h, nsec_t elapsed, const struct wait_sample *sample) {
    struct history_point point = { .elapsed = elapsed, .threads = sample->tally.threads };
    for (size_t i = 0; i < sample->tally.count; i++)
        count_group(h, &sample->tally.groups[i], &point);
    h->samples++;
    h->threads += sample->tally.threads;
    h->cost += sample->cost;
    memcpy(&h->last, &sample->tally, sizeof(h->last));
    if (h->note[0] == '\0')
        memcpy(h->note, sample->note, sizeof(h->note));
    return keep_point(h, &point);
}

void history_free(struct wait_history *h) {
    mem_free(h->points);
    h->points = NULL;
    h->count = h->capacity = 0;
}

/* --- telling them -------------------- */

/* Indices of the columns, those with the most threads first. */
static void sort_columns(const struct wait_history *h, size_t order[static HISTORY_COLUMNS_MAX]) {
    for (size_t i = 0; i < h->column_count; i++) {
        size_t at = i;
        for (; at > 0 && h->columns[order[at - 1]].sum < h->columns[i].sum; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

/* Appends a part unless it does not fit as a whole. Whether it did. */
static bool append(char *text, size_t size, const char *part) {
    size_t used = strlen(text), len = strlen(part);
    bool fits = used + len + 2 < size;
    if (fits)
        snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "", part);
    return fits;
}

/* Waits that differ in addresses alone have the same words: their sums, by groups of `brief`. */
static void merge(const struct wait_history *h, struct wait_tally *brief,
                  uint64_t sums[static HISTORY_COLUMNS_MAX]) {
    for (size_t i = 0; i < h->column_count; i++) {
        struct wait_group group = wait_brief(&h->columns[i].group);
        sums[tally_find(brief, &group.wait)] += h->columns[i].sum;
        tally_add_group(brief, &group);
    }
}

/* The index of the largest; it is taken out. */
static size_t take_largest(uint64_t sums[static HISTORY_COLUMNS_MAX], uint64_t *ret_sum) {
    size_t largest = 0;
    for (size_t i = 1; i < HISTORY_COLUMNS_MAX; i++)
        if (sums[i] > sums[largest])
            largest = i;
    *ret_sum = sums[largest];
    sums[largest] = 0;
    return largest;
}

const char *history_text(const struct wait_history *h, char *text, size_t size) {
    char part[PART_BYTES], words[WAIT_TEXT_BYTES];
    uint64_t sums[HISTORY_COLUMNS_MAX] = { 0 }, sum;
    struct wait_tally *brief = mem_calloc(1, sizeof(*brief));
    text[0] = '\0';
    if (brief != NULL)
        merge(h, brief, sums);
    for (size_t i = 0; brief != NULL && i < brief->count; i++) {
        const struct wait_group *group = &brief->groups[take_largest(sums, &sum)];
        double threads = (double)sum / (double)h->samples;
        snprintf(part, sizeof(part), "%.1f %s", threads, wait_text(group, words));
        if (threads < SHOWN_MIN || !append(text, size, part))
            break;
    }
    mem_free(brief);
    return text;
}

const char *history_text_now(const struct wait_history *h, char *text, size_t size) {
    char part[PART_BYTES], words[WAIT_TEXT_BYTES];
    struct wait_tally *brief = mem_calloc(1, sizeof(*brief));
    text[0] = '\0';
    for (size_t i = 0; brief != NULL && i < h->last.count; i++) {
        struct wait_group group = wait_brief(&h->last.groups[i]);
        tally_add_group(brief, &group);
    }
    for (size_t i = 0; brief != NULL && i < brief->count; i++) {
        snprintf(part, sizeof(part), "%" PRIu32 " %s", brief->groups[i].threads,
                 wait_text(&brief->groups[i], words));
        if (!append(text, size, part))
            break;
    }
    mem_free(brief);
    return text;
}

/* --- JSON -------------------- */

static double mean(uint64_t sum, uint64_t count) {
    return count == 0 ? 0 : (double)sum / (double)count;
}

static json_t *column_json(const struct wait_history *h, size_t column, const char *noun) {
    char name[32];
    bool ok = true;
    struct json_draft o = { wait_json(&h->columns[column].group, noun), &ok };
    json_t *series = json_array();
    if (o.json == NULL) {
        json_decref(series);
        return NULL;
    }
    json_object_del(o.json, noun);
    snprintf(name, sizeof(name), "%s_mean", noun);
    json_put_real(o, name, mean(h->columns[column].sum, h->samples));
    snprintf(name, sizeof(name), "%s_max", noun);
    json_put_count(o, name, h->columns[column].group.threads);
    for (size_t i = 0; i < h->count; i++)
        json_append(o, series, json_integer(h->points[i].counts[column]));
    json_put(o, "series", series);
    if (ok)
        return o.json;
    json_decref(o.json);
    return NULL;
}

json_t *history_json(const struct wait_history *h, const char *noun) {
    char name[32];
    size_t order[HISTORY_COLUMNS_MAX];
    bool ok = true;
    struct json_draft o = { json_object(), &ok };
    json_t *elapsed = json_array(), *threads = json_array(), *groups = json_array();
    sort_columns(h, order);
    json_put_count(o, "samples", h->samples);
    snprintf(name, sizeof(name), "%s_mean", noun);
    json_put_real(o, name, mean(h->threads, h->samples));
    json_put_count(o, "cost_us", (uint64_t)(h->cost / NSEC_PER_USEC));
    json_put(o, "note",
             h->note[0] != '\0' ? json_text(slice_str(h->note), SAMPLER_NOTE_BYTES) : json_null());
    for (size_t i = 0; i < h->count; i++) {
        json_append(o, elapsed, json_integer(h->points[i].elapsed / NSEC_PER_MSEC));
        json_append(o, threads, json_integer(h->points[i].threads));
    }
    for (size_t i = 0; i < h->column_count; i++)
        json_append(o, groups, column_json(h, order[i], noun));
    json_put(o, "elapsed_ms", elapsed);
    json_put(o, noun, threads);
    json_put(o, "groups", groups);
    if (ok)
        return o.json;
    json_decref(o.json);
    return NULL;
}
