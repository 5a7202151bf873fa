/* SPDX-License-Identifier: MIT */
/* Makes plans: fast for the plain request, else layer by layer and roll by roll. */
#include "slowapi/plan.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/units.h"
#include "http/url.h"
#include "slowapi/limits.h"
#include "slowapi/param.h"
#include "slowapi/route.h"
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>

/* What a plan is made of, while it is made. */
struct draft {
    struct planner *p;
    const struct http_head *head;
    const struct plan_origin *origin;
    struct slice path, query, rest; /* path and rest are decoded */
    char *decoded;                  /* owned: what `path` points to, or NULL */
    uint64_t asked;                 /* as spec.given, of the request itself */
    struct param_names ignored;
    const struct route *route;
    struct spec spec;
    struct reply *reply;
    nsec_t delay, now; /* now: since the start of the server */
    struct error why;
};

/* --- the plain request ------------------------------------------------------------------------ */

static bool method_is_plain(enum http_method method) {
    return method == HTTP_METHOD_GET || method == HTTP_METHOD_HEAD || method == HTTP_METHOD_POST ||
           method == HTTP_METHOD_PUT;
}

/* `/` or `/?delay=SECONDS` of a server without rules and profiles: no copy, no memory, no roll. */
static bool plan_plain(const struct planner *p, const struct http_head *head,
                       const struct plan_origin *origin, struct slow_plan *ret) {
    struct slice start = SLICE("/?delay="), value;
    const char *why;

    if (!p->is_plain[origin->bind] || p->rules != NULL || !method_is_plain(head->method))
        return false;
    if (http_field_find(head, SLICE("X-Slowapi"), &value))
        return false;

    *ret = (struct slow_plan){ .delay = (nsec_t)p->defaults[origin->bind].delay.a };
    if (slice_eq(head->target, SLICE("/")))
        return true;
    value = slice_drop(head->target, start.len);
    return slice_starts_with(head->target, start) && value.len > 0 &&
           units_parse_seconds(value, &ret->delay, &why) == 0 && ret->delay <= p->delay_max;
}

/* --- refusals --------------------------------------------------------------------------------- */

/* Instead of whatever was prepared; header= stays. */
static int set_text(struct draft *d, uint16_t status, const char *text) {
    struct reply *reply = d->reply;
    struct slice line = slice_str(text);

    mem_free(reply->fields);
    reply->fields = NULL;
    mem_free(reply->text);
    reply->text = mem_alloc(line.len + 2);
    if (reply->text == NULL)
        return -ENOMEM;
    memcpy(reply->text, line.ptr, line.len);
    memcpy(reply->text + line.len, "\n", 2);
    reply->status = status;
    reply->fault_count = 0;
    reply->body = (struct body){ .kind = BODY_TEXT,
                                 .type = "text/plain",
                                 .piece = SLOWAPI_PIECE_BYTES,
                                 .text = slice_of(reply->text, line.len + 1),
                                 .units = line.len + 1 };
    d->delay = 0;
    return 0;
}

static int add_fields(struct reply *reply, const char *more) {
    struct slice old = slice_str(reply->fields), new = slice_str(more);
    char *joined = mem_alloc(old.len + new.len + 1);

    if (joined == NULL)
        return -ENOMEM;
    if (old.len > 0)
        memcpy(joined, old.ptr, old.len);
    memcpy(joined + old.len, new.ptr, new.len + 1);
    mem_free(reply->fields);
    reply->fields = joined;
    return 0;
}

/* With more header lines, or "". Returns 1: the plan is made. */
static int refuse_with(struct draft *d, uint16_t status, const char *text, const char *fields) {
    int rc = set_text(d, status, text);

    if (rc == 0 && fields[0] != '\0')
        rc = add_fields(d->reply, fields);
    return rc < 0 ? rc : 1;
}

static int refuse(struct draft *d, uint16_t status, const char *text) {
    return refuse_with(d, status, text, "");
}

static int refuse_parameter(struct draft *d) {
    slow_stats_count(&d->p->stats, STATS_BAD_PARAMETERS);
    mem_free(d->reply->custom);
    d->reply->custom = NULL;
    return refuse(d, 400, d->why.text);
}

static int refuse_method(struct draft *d) {
    return refuse(d, 405, "method not allowed here; use GET, HEAD, POST or PUT");
}

/* --- layers ----------------------------------------------------------------------------------- */

static int take_rule(struct draft *d, const struct rule_match *match) {
    d->reply->rule = slice_dup(slice_str(match->name));
    if (d->reply->rule == NULL)
        return -ENOMEM;
    slow_stats_count(&d->p->stats, STATS_RULE_MATCHES);
    param_begin_layer(&d->spec);
    return param_parse_text(&d->spec, slice_str(match->params), &d->why) < 0 ? refuse_parameter(d)
                                                                             : 0;
}

static int take_header_lines(struct draft *d) {
    struct slice rest = d->head->fields, name, value;

    param_begin_layer(&d->spec);
    while (http_field_next(&rest, &name, &value))
        if (slice_eq_nocase(name, SLICE("X-Slowapi")) &&
            param_parse_text(&d->spec, value, &d->why) < 0)
            return -EINVAL;
    d->asked |= d->spec.given;
    return 0;
}

static int take_request(struct draft *d) {
    struct param_names *unknown = d->route->takes_any ? NULL : &d->ignored;

    if (param_parse_query(&d->spec, d->query, unknown, &d->why) < 0)
        return -EINVAL;
    d->asked |= d->spec.given;
    if (take_header_lines(d) < 0)
        return -EINVAL;
    if (d->route->param.len > 0 && param_set(&d->spec, d->route->param, d->rest, &d->why) < 0)
        return -EINVAL;
    if (!d->spec.has_delay && !d->route->is_own)
        d->spec.delay = dist_fixed(0);
    param_name_idle(&d->spec, d->asked, d->route->takes, d->route->param, &d->ignored);
    if (d->ignored.len > 0 && d->p->config->strict_params)
        return error_set(&d->why, -EINVAL,
                         "%s: no parameter, or without effect here; see srv slowapi --print-params",
                         d->ignored.text);
    return 0;
}

static int take_layers(struct draft *d) {
    struct rule_match match;
    bool has_rule = rules_find(d->p->rules, d->head, d->path, &match);
    int rc = 0;

    d->spec.of_request = true;
    d->route = route_find(d->path, &d->rest);
    if (d->route == NULL && has_rule)
        d->route = route_find(SLICE("/"), &d->rest);
    if (d->route == NULL)
        return refuse(d, 404, "not found; try /?delay=0.5");
    if (!d->route->any_method && !method_is_plain(d->head->method) && !has_rule)
        return refuse_method(d);
    if (has_rule)
        rc = take_rule(d, &match);
    if (rc != 0)
        return rc;

    return take_request(d) < 0 ? refuse_parameter(d) : 0;
}

/* --- rolls ------------------------------------------------------------------------------------ */

/* Requests that are counted together: a key alone decides; without one, what a client asks of a
 * path counts by itself. */
static uint64_t sequence_key(const struct draft *d) {
    const struct spec *spec = &d->spec;
    const int64_t numbers[] = { spec->first, spec->every };

    if (spec->has_key)
        return spec->key;
    uint64_t key = hash_bytes(HASH_SEED, &d->origin->client, sizeof(d->origin->client));
    key = hash_bytes(key, numbers, sizeof(numbers));
    key = hash_bytes(key, spec->seq, spec->seq_count * sizeof(spec->seq[0]));
    return hash_bytes(key, d->path.ptr, d->path.len);
}

/* Which request it is of those that are counted together: 0, 1, ... */
static uint64_t count_request(struct draft *d) {
    static struct log_rate rate = { .per_second = 1 };
    const struct spec *spec = &d->spec;
    bool evicts;

    if (spec->seq_count == 0 && spec->first == 0 && spec->every == 0)
        return 0;
    uint64_t n = sequence_next(d->p->shared, sequence_key(d), &evicts);
    if (evicts) {
        slow_stats_count(&d->p->stats, STATS_SEQUENCE_EVICTIONS);
        log_limited(&rate, LOG_LEVEL_WARN, "a sequence was forgotten places=%u option=--sequences",
                    d->p->shared->sequences.capacity);
    }
    return n;
}

static bool is_stronger(const struct fault *fault, const struct fault *other) {
    if (fault->kind == FAULT_CORRUPT)
        return fault->probability > other->probability;
    return fault->kind == FAULT_BANDWIDTH ? fault->arg < other->arg : fault->arg > other->arg;
}

/* Hangs and ends strike one after the other, each at its place; of other kinds the strongest. */
static void add_fault(struct reply *reply, const struct fault *fault) {
    bool adds_up = fault_infos[fault->kind].moment == FAULT_AT_STOP;

    for (size_t i = 0; i < reply->fault_count && !adds_up; i++) {
        if (reply->faults[i].kind != fault->kind)
            continue;
        if (is_stronger(fault, &reply->faults[i]))
            reply->faults[i] = *fault;
        return;
    }
    reply->faults[reply->fault_count++] = *fault;
}

static void roll_faults(struct draft *d) {
    struct reply *reply = d->reply;

    for (size_t i = 0; i < d->spec.fault_count; i++) {
        const struct fault *fault = &d->spec.faults[i];
        bool is_per_byte = fault->kind == FAULT_CORRUPT;
        if (fault->place == FAULT_AT_ACCEPT ||
            (fault_infos[fault->kind].moment == FAULT_ON_REUSE && !d->origin->is_reused))
            continue;
        if (is_per_byte || rng_unit(&reply->rng) < fault->probability)
            add_fault(reply, fault);
    }
}

static void roll_outcome(struct draft *d) {
    struct spec *spec = &d->spec;
    struct reply *reply = d->reply;
    uint64_t n = count_request(d);
    bool holds = (spec->first == 0 || n < (uint64_t)spec->first) &&
                 (spec->every == 0 || (n + 1) % (uint64_t)spec->every == 0);

    if (holds)
        reply->status = (uint16_t)mix_pick(&spec->status, &reply->rng, reply->status);
    if (spec->seq_count > 0)
        reply->status = spec->seq[n % spec->seq_count];
    reply->close = spec->close_share > 0 && rng_unit(&reply->rng) < spec->close_share;
    if (holds)
        roll_faults(d);
}

static double load_factor(const struct draft *d) {
    int64_t flying = atomic_load_explicit(&d->p->stats.total->in_flight, memory_order_relaxed);
    double factor = warmup_factor(&d->spec.warmup, d->now);

    if (d->spec.collapse_knee > 0 && (double)flying > d->spec.collapse_knee)
        factor *= pow((double)flying / d->spec.collapse_knee, d->spec.collapse_power);
    return factor;
}

static int turn_away(struct draft *d, nsec_t retry_after) {
    char line[64];

    slow_stats_count(&d->p->stats, STATS_QUEUE_FULL);
    snprintf(line, sizeof(line), "Retry-After: %lld\r\n",
             (long long)((retry_after + NSEC_PER_SEC - 1) / NSEC_PER_SEC));
    return refuse_with(d, d->spec.full, "the queue is full", line);
}

/* Requests that queue together: those with the same key, law and sizes. */
static uint64_t queue_key(const struct spec *spec) {
    const int64_t parts[] = { spec->has_key ? (int64_t)spec->key : 0, spec->has_key, spec->workers,
                              spec->queue };

    return dist_hash(hash_bytes(HASH_SEED, parts, sizeof(parts)), &spec->service);
}

static int enter_queue(struct draft *d, double factor) {
    static struct log_rate rate = { .per_second = 1 };
    const struct spec *spec = &d->spec;
    nsec_t service = (nsec_t)((double)dist_draw(&spec->service, &d->reply->rng) * factor);

    struct queue_turn turn = queue_enter(d->p->shared, queue_key(spec), spec->workers, spec->queue,
                                         service, clock_now());
    if (turn.evicts) {
        slow_stats_count(&d->p->stats, STATS_QUEUE_EVICTIONS);
        log_limited(&rate, LOG_LEVEL_WARN, "a queue was forgotten places=%u option=--queues",
                    d->p->shared->queues.capacity);
    }
    if (turn.is_full)
        return turn_away(d, turn.retry_after);
    d->reply->queued = turn.wait;
    d->delay = deadline_after(d->delay, turn.wait + service);
    return 0;
}

static int pass_pause(struct draft *d) {
    const struct pause *pause = &d->spec.pause;
    nsec_t left = pause_left(pause, d->now);

    if (left > 0 && pause->status != 0)
        return refuse(d, pause->status, "paused");
    if (pause->delay > 0 || pause->status != 0) {
        d->delay = deadline_after(d->delay, left > 0 ? pause->delay : 0);
        return 0;
    }
    d->delay = deadline_after(d->delay, left);
    d->delay = deadline_after(d->delay, pause_left(pause, deadline_after(d->now, d->delay)));
    return 0;
}

static int roll_delay(struct draft *d) {
    const struct spec *spec = &d->spec;
    double factor = load_factor(d);
    int64_t flying = atomic_load_explicit(&d->p->stats.total->in_flight, memory_order_relaxed);
    double delay =
        ((double)dist_draw(&spec->delay, &d->reply->rng) + spec->linear * (double)flying) * factor;

    d->delay = delay < 3e17 ? (nsec_t)delay : (nsec_t)3e17;
    int rc = spec->workers > 0 ? enter_queue(d, factor) : 0;
    return rc != 0 || spec->pause.span == 0 ? rc : pass_pause(d);
}

/* Instead of the body that is there, events too, which are spread as bytes are then. */
static void set_letters(struct draft *d) {
    struct body *body = &d->reply->body;
    int64_t size = mix_pick(&d->spec.size, &d->reply->rng, -1);

    if (size < 0)
        return;
    if (body_is_events(body)) {
        body->piece = 0;
        body->interval = 0;
    }
    body->kind = BODY_LETTERS;
    body->seed = d->reply->seed;
    body->units = (uint64_t)size;
}

static int set_body(struct draft *d) {
    struct body *body = &d->reply->body;
    int rc = 0;

    if (d->route->prepare != NULL) {
        rc = d->route->prepare(d->reply, &d->spec, d->head, d->rest, &d->why);
    } else {
        body->text = SLICE("slow api response");
        body->units = body->text.len;
    }
    if (rc == 0 && d->spec.has_body_size)
        set_letters(d);
    reply_set_pace(d->reply);
    return rc;
}

/* --- headers that were asked for ---------------------------------------------------------------
 */

static bool list_has(struct slice list, struct slice word) {
    while (list.len > 0)
        if (slice_eq_nocase(slice_trim(slice_cut(&list, ',')), word))
            return true;
    return false;
}

/* What a header says is done: close closes, chunked comes in chunks. A length that may be wrong
 * cannot be followed by another answer. */
static int take_custom(struct draft *d) {
    struct reply *reply = d->reply;
    struct slice rest = slice_of(d->spec.fields, d->spec.fields_len), name, value;
    bool is_chunked = false;

    if (rest.len == 0)
        return 0;
    while (http_field_next(&rest, &name, &value)) {
        bool frames = slice_eq_nocase(name, SLICE("Transfer-Encoding"));
        is_chunked |= frames && slice_eq_nocase(value, SLICE("chunked"));
        if ((slice_eq_nocase(name, SLICE("Connection")) && list_has(value, SLICE("close"))) ||
            slice_eq_nocase(name, SLICE("Content-Length")) || (frames && !is_chunked))
            reply->close = true;
    }
    reply->body.is_chunked = is_chunked;
    if (is_chunked)
        d->spec.fields_len = (uint16_t)spec_drop_lines(d->spec.fields, d->spec.fields_len,
                                                       SLICE("Transfer-Encoding"));
    reply->custom = slice_dup(slice_of(d->spec.fields, d->spec.fields_len));
    return reply->custom != NULL ? 0 : -ENOMEM;
}

/* --- --max-delay ------------------------------------------------------------------------------ */

/* What is asked for and above the limit is refused, never cut to it. */
static int check_longest(struct draft *d) {
    nsec_t max = d->p->delay_max, longest = reply_longest(&d->spec, &d->reply->body);
    char text[UNITS_TEXT_BYTES], allowed[UNITS_TEXT_BYTES];

    if (longest <= max)
        return 0;
    error_set(&d->why, -EINVAL, "an exchange of %s is more than --max-delay; allowed: up to %s",
              longest == NSEC_NEVER ? "no end" : units_format_duration(longest, text),
              units_format_duration(max, allowed));
    return refuse_parameter(d);
}

/* What chance and other requests add above the limit is cut off, and told. */
static int cut_to_longest(struct draft *d) {
    nsec_t most = d->p->delay_max - reply_longest_answer(&d->spec, &d->reply->body);
    char line[64], text[UNITS_TEXT_BYTES];

    if (d->p->delay_max == NSEC_NEVER || d->delay <= most)
        return 0;
    snprintf(line, sizeof(line), "X-Slowapi-Cut: %s\r\n", units_format_duration(d->delay, text));
    d->delay = most;
    slow_stats_count(&d->p->stats, STATS_CUT_DELAYS);
    return add_fields(d->reply, line);
}

/* --- the whole -------------------------------------------------------------------------------- */

static int tell_ignored(struct draft *d) {
    static struct log_rate rate = { .per_second = 1 };
    char line[sizeof(d->ignored.text) + 32];

    if (d->ignored.len == 0)
        return 0;
    log_limited(&rate, LOG_LEVEL_WARN, "parameters without effect names=\"%s\"", d->ignored.text);
    snprintf(line, sizeof(line), "X-Slowapi-Ignored: %s\r\n", d->ignored.text);
    return add_fields(d->reply, line);
}

static int roll(struct draft *d) {
    struct reply *reply = d->reply;

    reply->seed = d->spec.has_seed ? d->spec.seed : shared_roll(d->p->shared);
    reply->rng.state = reply->seed;
    reply->shows_truth = true;
    roll_outcome(d);
    int rc = take_custom(d);
    if (rc == 0)
        rc = set_body(d);
    if (rc == 0)
        rc = check_longest(d);
    if (rc == 0)
        rc = roll_delay(d);
    if (rc == 0)
        rc = cut_to_longest(d);
    return rc < 0 ? rc : tell_ignored(d);
}

/* Rules and routes see the decoded path, as do their arguments. */
static int decode_path(struct draft *d) {
    if (slice_find(d->path, '%') == d->path.len)
        return 0;
    d->decoded = mem_alloc(d->path.len);
    if (d->decoded == NULL)
        return -ENOMEM;
    long len = http_path_decode(d->path, d->decoded);
    if (len < 0)
        return refuse(d, 400, "the path has a bad percent-escape");
    d->path = slice_of(d->decoded, (size_t)len);
    return 0;
}

static int make(struct draft *d) {
    d->reply->begun_at = clock_now();
    d->now = d->reply->begun_at - d->p->shared->started_at;
    d->reply->method = (uint8_t)d->head->method;
    if (d->p->config->access_log != NULL) {
        d->reply->target = slice_dup(d->head->target);
        if (d->reply->target == NULL)
            return -ENOMEM;
    }
    http_target_split(d->head->target, &d->path, &d->query);
    if (d->head->method == HTTP_METHOD_OTHER)
        return refuse(d, 501, "unknown method");

    int rc = decode_path(d);
    if (rc == 0)
        rc = take_layers(d);
    return rc != 0 ? rc : roll(d);
}

/* Kept out of plan_make: a draft is large, and its frame would cost the plain request. */
static __attribute__((noinline)) int plan_in_full(struct planner *p, const struct http_head *head,
                                                  const struct plan_origin *origin,
                                                  struct slow_plan *ret) {
    struct draft d = { .p = p,
                       .head = head,
                       .origin = origin,
                       .spec = p->defaults[origin->bind],
                       .reply = reply_new(200) };
    int rc = d.reply != NULL ? make(&d) : -ENOMEM;
    mem_free(d.decoded);
    if (rc < 0) {
        reply_free(d.reply);
        return rc;
    }
    d.reply->delay = d.delay;
    *ret = (struct slow_plan){ .delay = d.delay, .reply = d.reply };
    return 0;
}

int plan_make(struct planner *p, const struct http_head *head, const struct plan_origin *origin,
              struct slow_plan *ret) {
    if (UNLIKELY(rules_changed(p->shared, p->rules_generation)))
        rules_refresh(p->shared, &p->rules, &p->rules_generation);
    return plan_plain(p, head, origin, ret) ? 0 : plan_in_full(p, head, origin, ret);
}

/* --- the planner ------------------------------------------------------------------------------ */

/* Options are one layer, a listening address the next. What an option says wins over a profile. */
static int take_options(struct spec *spec, const struct slowapi_config *config, struct error *err) {
    int rc = 0;

    spec_init(spec, NSEC_PER_SEC);
    for (size_t i = 0; i < config->params.count && rc == 0; i++)
        rc = param_parse_text(spec, slice_str(config->params.items[i]), err);
    if (rc == 0 && config->pause != NULL)
        rc = param_set(spec, SLICE("pause"), slice_str(config->pause), err);
    if (rc == 0 && config->delay != NULL && !param_is_given(spec, SLICE("delay"))) {
        rc = param_set(spec, SLICE("delay"), slice_str(config->delay), err);
        spec->has_delay = false;
    }
    if (rc == 0 && config->profile != NULL)
        rc = param_set(spec, SLICE("profile"), slice_str(config->profile), err);
    return rc;
}

static int take_defaults(struct spec *spec, const struct slowapi_config *config, const char *own,
                         struct error *err) {
    int rc = take_options(spec, config, err);

    param_begin_layer(spec);
    return rc == 0 && own != NULL ? param_parse_text(spec, slice_str(own), err) : rc;
}

int planner_check(const struct slowapi_config *config, struct error *err) {
    char text[UNITS_TEXT_BYTES], allowed[UNITS_TEXT_BYTES];
    struct spec spec;

    for (size_t i = 0; i < config->binds.count; i++) {
        int rc = take_defaults(&spec, config, config->bind_params[i], err);
        if (rc < 0)
            return rc;
        nsec_t longest = reply_longest(&spec, NULL);
        if (config->delay_max == 0 || longest <= config->delay_max)
            continue;
        return error_set(err, -EINVAL,
                         "--max-delay '%s': the defaults of %s make an exchange of %s",
                         units_format_duration(config->delay_max, allowed), config->binds.items[i],
                         longest == NSEC_NEVER ? "no end" : units_format_duration(longest, text));
    }
    return 0;
}

static bool is_plain(const struct spec *s) {
    bool changes = s->status.count > 0 || s->size.count > 0 || s->close_share > 0 ||
                   s->fault_count > 0 || s->seq_count > 0 || s->first > 0 || s->every > 0 ||
                   s->fields_len > 0 || s->has_seed;
    bool depends = s->workers > 0 || s->linear > 0 || s->collapse_knee > 0 || s->pause.span > 0 ||
                   s->warmup.span > 0;

    return s->delay.kind == DIST_FIXED && !changes && !depends;
}

int planner_init(struct planner *p, const struct slowapi_config *config, struct shared *shared,
                 unsigned worker, struct error *err) {
    p->config = config;
    p->shared = shared;
    p->delay_max = config->delay_max > 0 ? config->delay_max : NSEC_NEVER;
    p->stats = (struct slow_stats){ .slot = &shared->slots[worker], .total = &shared->total };
    slow_stats_adopt(&p->stats, worker);

    uint64_t seed = config->seed != 0 ? (uint64_t)config->seed : (uint64_t)clock_wall();
    uint64_t unset = 0; /* whoever comes first sets it; a worker that replaces another goes on */
    atomic_compare_exchange_strong(&shared->rng_state, &unset, seed);
    for (size_t i = 0; i < BINDS_MAX; i++) {
        int rc = take_defaults(&p->defaults[i], config, config->bind_params[i], err);
        if (rc < 0)
            return rc;
        p->is_plain[i] = is_plain(&p->defaults[i]) && !config->truth && config->access_log == NULL;
    }
    return 0;
}

void planner_free(struct planner *p) {
    rules_free(p->rules);
    p->rules = NULL;
}
