/* SPDX-License-Identifier: MIT */
/* Tells which part of a load this was, and how its start came about. */
#include "bench/machines.h"
#include "loadgen/config.h"
#include "loadgen/start.h"
#include <inttypes.h>

enum { NAME_WIDTH = 24, PARTS_SHOWN = 20 };

/* --- in text ---------------------------------------------------------------------------------- */

static void print_shard(FILE *out, const struct load_shard *s) {
    section_label(out, "shard");
    fprintf(out, "%u/%u of a load of", s->share.index, s->share.count);
    if (s->rate > 0)
        fprintf(out, " %g/s,", s->rate);
    if (s->requests > 0)
        fprintf(out, " %" PRId64 " requests,", s->requests);
    fprintf(out, " %" PRId64 " connections\n", s->concurrency);
}

/* The start on this machine's clock, which others compare with theirs. */
static void print_start(FILE *out, const struct report *r) {
    const struct load_clock *clock = &r->started->clock;
    char text[CLOCK_TEXT_BYTES];
    section_label(out, "start");
    fprintf(out, "%s, %.3f ms late; ", clock_format(r->started_wall - r->config->warmup, text),
            (double)(r->started->missed + r->started->late) / (double)NSEC_PER_MSEC);
    if (!clock->is_known)
        fprintf(out, "the kernel does not tell whether its clock is right\n");
    else if (clock->is_synchronized)
        fprintf(out, "the clock is right within %.1f ms\n",
                (double)clock->error_max / (double)NSEC_PER_MSEC);
    else
        fprintf(out, "nobody sets the clock of this machine\n");
}

static const char *part_name(const struct merged_part *part, char *text, size_t size) {
    if (part->shard.count > 0)
        snprintf(text, size, "shard %u/%u", part->shard.index, part->shard.count);
    else
        snprintf(text, size, "%.*s", NAME_WIDTH, part->where);
    return text;
}

static void print_part(FILE *out, const struct merged_part *part) {
    char name[NAME_WIDTH + 1], p99[PERCENTILE_TEXT_BYTES] = "-";
    if (part->p99_us >= 0)
        percentile_format((struct percentile_value){ .usec = part->p99_us }, p99);
    fprintf(out, "  %-*s %-12.12s %+9.3f s %10.2f/s %10s %8" PRIu64 " failed\n", NAME_WIDTH,
            part_name(part, name, sizeof(name)), part->host, part->start, part->rate, p99,
            part->failed);
}

/* The runs of which a sum was made, in the order of their starts. */
static void print_parts(FILE *out, const struct report *r) {
    uint32_t wrong = 0;
    fprintf(out, "\n%-*s %-12s %11s %12s %10s\n", NAME_WIDTH + 2, "merged", "host", "begun",
            "answers", "p99");
    for (uint32_t i = 0; i < r->merged; i++) {
        wrong += r->parts[i].clock_is_wrong;
        if (i < PARTS_SHOWN)
            print_part(out, &r->parts[i]);
    }
    if (r->merged > PARTS_SHOWN)
        fprintf(out, "  and %u more\n", r->merged - PARTS_SHOWN);
    if (wrong > 0)
        fprintf(out, "> nobody sets the clock of %u of them: begun is as true as their clocks.\n",
                wrong);
}

static void print_machines(FILE *out, const struct report *r) {
    bool is_shard = r->config->shard.share.count > 0;
    bool was_awaited = r->started != NULL && r->started->was_awaited;
    if (is_shard || was_awaited)
        fputc('\n', out);
    if (is_shard)
        print_shard(out, &r->config->shard);
    if (was_awaited)
        print_start(out, r);
    if (r->merged > 1)
        print_parts(out, r);
}

/* --- in JSON ---------------------------------------------------------------------------------- */

static void put_shard(struct json_draft root, const struct load_shard *s) {
    if (s->share.count == 0) {
        json_put(root, "shard", json_null());
        return;
    }
    struct json_draft o = json_put_object(root, "shard");
    json_put_count(o, "index", s->share.index);
    json_put_count(o, "count", s->share.count);
    json_put(o, "requests", s->requests > 0 ? json_integer(s->requests) : json_null());
    json_put_count(o, "concurrency", (uint64_t)s->concurrency);
    json_put(o, "rate", s->rate > 0 ? json_real(s->rate) : json_null());
}

static void put_start(struct json_draft root, const struct load_started *s) {
    if (s == NULL) {
        json_put(root, "start", json_null());
        return;
    }
    struct json_draft o = json_put_object(root, "start");
    const struct load_clock *clock = &s->clock;
    json_put(o, "missed_s",
             s->was_awaited ? json_real((double)s->missed / (double)NSEC_PER_SEC) : json_null());
    json_put(o, "late_s",
             s->was_awaited ? json_real((double)s->late / (double)NSEC_PER_SEC) : json_null());
    json_put(o, "clock_synchronized",
             clock->is_known ? json_boolean(clock->is_synchronized) : json_null());
    json_put(o, "clock_error_max_s",
             clock->is_known ? json_real((double)clock->error_max / (double)NSEC_PER_SEC)
                             : json_null());
}

static json_t *make_part(struct json_draft o, const struct merged_part *part) {
    json_put_text(o, "from", slice_str(part->where));
    json_put_text(o, "host", slice_str(part->host));
    json_put(o, "shard", part->shard.count > 0 ? json_integer(part->shard.index) : json_null());
    json_put_real(o, "begun_s", part->start);
    json_put_real(o, "seconds", part->seconds);
    json_put_count(o, "requests", part->requests);
    json_put_count(o, "failed", part->failed);
    json_put_real(o, "rps", part->rate);
    json_put(o, "p99_us", section_usec(part->p99_us >= 0, part->p99_us));
    return o.json;
}

static void put_merged(struct json_draft root, const struct report *r) {
    if (r->merged == 0) {
        json_put(root, "merged", json_null());
        return;
    }
    struct json_draft o = json_put_object(root, "merged");
    json_put_count(o, "files", r->merged);
    json_put_real(o, "start_skew_s", r->merge_skew_s);
    json_put_real(o, "overlap", r->merge_overlap);
    json_t *list = json_array();
    json_put(o, "parts", list);
    for (uint32_t i = 0; i < r->merged; i++)
        json_append(o, list, make_part((struct json_draft){ json_object(), o.ok }, &r->parts[i]));
}

static void put_machines(struct json_draft root, const struct report *r) {
    put_shard(root, &r->config->shard);
    put_start(root, r->started);
    put_merged(root, r);
}

const struct section machines_section = { .print = print_machines, .put = put_machines };
