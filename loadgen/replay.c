/* SPDX-License-Identifier: MIT */
/* Reads logs, and orders their lines by time. */
#include "loadgen/replay.h"
#include "base/alloc.h"
#include "loadgen/input.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

enum { LINES_FIRST = 4096 };

#define SPAN_MAX (100.0 * 365 * 86400 * NSEC_PER_SEC) /* leaves room for the clock */

const struct replay_reason replay_reasons[MIX_UNPLAYABLES_COUNT] = {
#define REASON_ROW(name, key, text) { key, text },
    MIX_UNPLAYABLES(REASON_ROW)
#undef REASON_ROW
};

static int add_line(struct replay *r, nsec_t at, size_t offset) {
    if (r->count == r->cap) {
        size_t cap = r->cap > 0 ? r->cap * 2 : LINES_FIRST;
        struct replay_line *lines = mem_realloc(r->lines, cap * sizeof(*lines));
        if (lines == NULL)
            return -ENOMEM;
        r->lines = lines;
        r->cap = cap;
    }
    r->lines[r->count++] = (struct replay_line){ at, offset };
    return 0;
}

static int read_lines(struct replay *r, struct slice text, const char *methods) {
    struct mix_line line;
    struct slice one;
    size_t offset = 0, number = 0;
    for (;;) {
        size_t start = offset;
        enum mix_unplayable why = MIX_UNPLAYABLE_METHOD;
        if (!input_line(text, &offset, &one))
            return 0;
        number++;
        int rc = mix_line_parse_log(one, &line, &why);
        if (rc == 0)
            continue;
        if (rc > 0 && slice_list_has(slice_str(methods), line.method))
            rc = add_line(r, line.when, start);
        else
            r->left_out[why]++;
        if (rc == -ENOMEM)
            return rc;
        if (rc < 0 && why == MIX_UNPLAYABLE_MALFORMED && r->first_bad == 0)
            r->first_bad = number;
    }
}

static int by_time(const void *a, const void *b) {
    const struct replay_line *x = a, *y = b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static bool has_whole_seconds(const struct replay *r) {
    for (size_t i = 0; i < r->count; i++)
        if (r->lines[i].at % NSEC_PER_SEC != 0)
            return false;
    return true;
}

/* Requests of one second came within it, and not at its beginning all at once. */
static void spread(struct replay *r) {
    for (size_t first = 0, end; first < r->count; first = end) {
        nsec_t second = r->lines[first].at;
        for (end = first + 1; end < r->count && r->lines[end].at == second;)
            end++;
        for (size_t i = first; i < end; i++)
            r->lines[i].at += (nsec_t)(i - first) * NSEC_PER_SEC / (nsec_t)(end - first);
    }
}

int replay_read(struct replay *r, struct slice text, const char *methods, double speed,
                struct error *err) {
    *r = (struct replay){ .lines = NULL };
    if (read_lines(r, text, methods) != 0)
        return error_set(err, -ENOMEM, "out of memory for the lines of the log");
    if (r->count == 0)
        return error_set(
            err, -EINVAL,
            "no line of the log can be replayed: %" PRIu64 " malformed, %" PRIu64
            " with another method than %s, %" PRIu64 " others",
            r->left_out[MIX_UNPLAYABLE_MALFORMED], r->left_out[MIX_UNPLAYABLE_METHOD], methods,
            r->left_out[MIX_UNPLAYABLE_NO_REQUEST] + r->left_out[MIX_UNPLAYABLE_CONNECT]);
    qsort(r->lines, r->count, sizeof(*r->lines), by_time);
    r->is_spread = has_whole_seconds(r);
    if (r->is_spread)
        spread(r);
    nsec_t first = r->lines[0].at;
    if ((double)(r->lines[r->count - 1].at - first) / speed > SPAN_MAX)
        return error_set(err, -EINVAL,
                         "its lines are more than 100 years apart, at that speed: the earliest or "
                         "the latest time is wrong");
    for (size_t i = 0; i < r->count; i++)
        r->lines[i].at = (nsec_t)((double)(r->lines[i].at - first) / speed);
    return 0;
}

size_t replay_count(const struct replay *r, nsec_t after) {
    size_t low = 0, high = r->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (r->lines[middle].at <= after)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void replay_free(struct replay *r) {
    mem_free(r->lines);
    *r = (struct replay){ .lines = NULL };
}
