/* SPDX-License-Identifier: MIT */
/* Tells which part of a load this was, and how its start came about. */
#include "loadgen/machines.h"
#include "loadgen/config.h"
#include "loadgen/start.h"
#include <inttypes.h>

/* --- in text ---------------------------------------------------------------------------------- */

static void print_shard(FILE *out, const struct load_shard *s) {
    section_label(out, "shard");
    fprintf(out, "%u of %u, of a load of", s->share.index + 1, s->share.count);
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
            (double)r->started->late / (double)NSEC_PER_MSEC);
    if (!clock->is_known)
        fprintf(out, "the kernel does not tell whether its clock is right\n");
    else if (clock->is_synchronized)
        fprintf(out, "the clock is right within %.1f ms\n",
                (double)clock->error_max / (double)NSEC_PER_MSEC);
    else
        fprintf(out, "nobody sets the clock of this machine\n");
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
}

/* --- in JSON ---------------------------------------------------------------------------------- */

static void put_shard(struct json_draft root, const struct load_shard *s) {
    if (s->share.count == 0) {
        json_put(root, "shard", json_null());
        return;
    }
    struct json_draft o = json_put_object(root, "shard");
    json_put_count(o, "index", s->share.index + 1);
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
    json_put(o, "late_s",
             s->was_awaited ? json_real((double)s->late / (double)NSEC_PER_SEC) : json_null());
    json_put(o, "clock_synchronized",
             clock->is_known ? json_boolean(clock->is_synchronized) : json_null());
    json_put(o, "clock_error_max_s",
             clock->is_known ? json_real((double)clock->error_max / (double)NSEC_PER_SEC)
                             : json_null());
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
}

static void put_machines(struct json_draft root, const struct report *r) {
    put_shard(root, &r->config->shard);
    put_start(root, r->started);
    put_merged(root, r);
}

const struct section machines_section = { .print = print_machines, .put = put_machines };
