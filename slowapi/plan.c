/* SPDX-License-Identifier: MIT */
/* Makes plans: fast for the plain request, else layer by layer and roll by roll. */
#include "slowapi/plan.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/units.h"
#include "http/url.h"
#include "slowapi/body.h"
#include "slowapi/chat.h"
#include "slowapi/journal.h"
#include "slowapi/limits.h"
#include "slowapi/param.h"
#include "slowapi/route.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

/* The state of a plan while it is made. */
struct plan_state {
    struct planner *p;
    const struct http_head *head;
    const struct plan_origin *origin;
    struct slow_request request;
    char *decoded;  /* owned: what request.path points to, or NULL */
    uint64_t asked; /* bits as spec.given, of the request itself */
    struct param_names ignored;
    const struct route *route;
    struct spec *spec;
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
static int set_text(struct plan_state *plan, uint16_t status, const char *text) {
    struct reply *reply = plan->reply;
    struct slice line = slice_str(text);
    char *copy = mem_alloc(line.len + 2);

    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, line.ptr, line.len);
    memcpy(copy + line.len, "\n", 2);
    mem_free(reply->fields);
    reply->fields = NULL;
    reply->has_status_fields = false;
    reply->status = status;
    reply->fault_count = 0;
    chat_free(reply->body.chat);
    reply->body = (struct body){ .type = "text/plain", .piece = SLOWAPI_PIECE_BYTES };
    reply_set_text(reply, copy, line.len + 1);
    plan->delay = 0;
    return 0;
}

/* With more header lines, or "". Returns 1: the plan is made. */
static int refuse_with(struct plan_state *plan, uint16_t status, const char *text,
                       const char *fields) {
    int rc = set_text(plan, status, text);

    if (rc == 0 && fields[0] != '\0')
        rc = reply_add_fields(plan->reply, fields);
    return rc < 0 ? rc : 1;
}

static int refuse(struct plan_state *plan, uint16_t status, const char *text) {
    return refuse_with(plan, status, text, "");
}

static int refuse_parameter(struct plan_state *plan) {
    slow_stats_count(&plan->p->stats, SLOW_BAD_PARAMETERS);
    mem_free(plan->reply->custom);
    plan->reply->custom = NULL;
    return refuse(plan, 400, plan->why.text);
}

static int refuse_method(struct plan_state *plan) {
    char allow[ROUTE_ALLOW_BYTES], text[ROUTE_ALLOW_BYTES + 64];

    snprintf(text, sizeof(text), "method not allowed here; use one of %s",
             route_allow(plan->route, allow));
    int rc = set_text(plan, 405, text);
    if (rc == 0)
        rc = route_tell_allow(plan->route, plan->reply);
    return rc < 0 ? rc : 1;
}

/* --- layers ----------------------------------------------------------------------------------- */

static int take_rule(struct plan_state *plan, const struct rule_match *match) {
    plan->reply->rule = slice_dup(slice_str(match->name));
    if (plan->reply->rule == NULL)
        return -ENOMEM;
    slow_stats_count(&plan->p->stats, SLOW_RULE_MATCHES);
    atomic_fetch_add_explicit(&plan->p->shared->rule_counts[match->index], 1, memory_order_relaxed);
    return rule_apply(match, plan->spec, &plan->why) < 0 ? refuse_parameter(plan) : 0;
}

static int take_header_lines(struct plan_state *plan) {
    struct slice rest = plan->head->fields, name, value;

    param_begin_layer(plan->spec);
    while (http_field_next(&rest, &name, &value))
        if (slice_eq_nocase(name, SLICE("X-Slowapi")) &&
            param_parse_text(plan->spec, value, &plan->why) < 0)
            return -EINVAL;
    plan->asked |= plan->spec->given;
    return 0;
}

static int take_request(struct plan_state *plan) {
    struct param_names *unknown = plan->route->takes_any ? NULL : &plan->ignored;

    if (param_parse_query(plan->spec, plan->request.query, unknown, &plan->why) < 0)
        return -EINVAL;
    plan->asked |= plan->spec->given;
    if (take_header_lines(plan) < 0)
        return -EINVAL;
    if (spec_chooses_body(plan->spec)) /* arguments of any name may be parts of it */
        plan->ignored.len = 0;
    if (plan->route->param.len > 0 &&
        param_set(plan->spec, plan->route->param, plan->request.rest, &plan->why) < 0)
        return -EINVAL;
    if (!plan->spec->has_delay && !plan->route->is_own)
        plan->spec->delay = dist_fixed(0);
    param_name_idle(plan->spec, plan->asked, plan->route->takes, plan->route->param,
                    &plan->ignored);
    if (plan->ignored.len > 0 && plan->p->config->strict_params)
        return error_set(&plan->why, -EINVAL,
                         "%s: no parameter, or without effect here; see srv slowapi --print-params",
                         plan->ignored.text);
    return 0;
}

/* The first fault that no connection there can have; NULL: none. */
static const struct fault_info *find_tls_fault(const struct spec *spec) {
    for (size_t i = 0; i < spec->fault_count; i++)
        if (fault_infos[spec->faults[i].kind].needs_tls)
            return &fault_infos[spec->faults[i].kind];
    return NULL;
}

static int check_secure(struct plan_state *plan) {
    const struct fault_info *fault = plan->request.is_secure ? NULL : find_tls_fault(plan->spec);

    return fault == NULL
               ? 0
               : error_set(&plan->why, -EINVAL, "fault '%s': needs TLS; ask at an https:// address",
                           fault->name.ptr);
}

static int take_layers(struct plan_state *plan) {
    struct rule_match match;
    bool has_rule = rules_find(plan->p->rules, plan->head, plan->request.path, &match);
    int rc = 0;

    plan->spec->of_request = true;
    plan->route = route_find(plan->request.path, &plan->request.rest);
    if (plan->route == NULL && has_rule)
        plan->route = route_find(SLICE("/"), &plan->request.rest);
    if (plan->route == NULL)
        return refuse(plan, 404, "not found; try /?delay=0.5");
    if (!plan->route->is_own)
        rc = route_allow_origin(&plan->request, plan->reply);
    if (rc < 0)
        return rc;
    if (!has_rule && !route_takes(plan->route, plan->head->method))
        return refuse_method(plan);
    if (has_rule)
        rc = take_rule(plan, &match);
    if (rc != 0)
        return rc;

    return take_request(plan) < 0 || check_secure(plan) < 0 ? refuse_parameter(plan) : 0;
}

/* --- rolls ------------------------------------------------------------------------------------ */

/* A client, or a session of one. */
static uint64_t client_key(const struct plan_state *plan) {
    uint64_t key = hash_bytes(HASH_SEED, &plan->origin->client, sizeof(plan->origin->client));
    struct slice session;

    return http_field_find(plan->head, SLICE(SLOWAPI_SESSION), &session)
               ? hash_bytes(key, session.ptr, session.len)
               : key;
}

/* Requests that are counted together: a key alone decides; without one, what a client, or a session
 * of one, asks of a path counts by itself. */
static uint64_t sequence_key(const struct plan_state *plan) {
    const struct spec *spec = plan->spec;
    const int64_t numbers[] = { spec->first, spec->every };

    if (spec->has_key)
        return spec->key;
    uint64_t key = hash_bytes(client_key(plan), numbers, sizeof(numbers));
    key = hash_bytes(key, spec->seq, spec->seq_count * sizeof(spec->seq[0]));
    return hash_bytes(key, plan->request.path.ptr, plan->request.path.len);
}

static void tell_eviction(struct plan_state *plan) {
    static struct log_rate rate = { .per_second = 1 };

    slow_stats_count(&plan->p->stats, SLOW_SEQUENCE_EVICTIONS);
    log_limited(&rate, LOG_LEVEL_WARN, "a sequence was forgotten places=%u option=--sequences",
                plan->p->shared->sequences.capacity);
}

/* Answers 429 to those that have come too often; whatever they ask for does not happen. The fields
 * are those of draft-ietf-httpapi-ratelimit-headers-06, which most clients know. */
static int pass_limit(struct plan_state *plan) {
    const struct spec *spec = plan->spec;
    const int64_t numbers[] = { spec->limit, spec->limit_span };
    char fields[160];

    if (spec->limit == 0)
        return 0;
    uint64_t key = spec->has_key ? spec->key : client_key(plan);
    key = hash_bytes(hash_bytes(key, "limit", 5), numbers, sizeof(numbers));
    struct window_turn turn =
        window_take(plan->p->shared, key, (uint64_t)spec->limit, spec->limit_span, clock_now());
    if (turn.evicts)
        tell_eviction(plan);
    uint64_t seconds = (uint64_t)((turn.reset_after + NSEC_PER_SEC - 1) / NSEC_PER_SEC);
    size_t len = (size_t)snprintf(fields, sizeof(fields),
                                  "RateLimit-Limit: %" PRId64 "\r\nRateLimit-Remaining: %" PRIu64
                                  "\r\nRateLimit-Reset: %" PRIu64 "\r\n",
                                  spec->limit, turn.left, seconds);
    if (turn.fits)
        return reply_add_fields(plan->reply, fields);
    slow_stats_count(&plan->p->stats, SLOW_LIMITED);
    snprintf(fields + len, sizeof(fields) - len, "Retry-After: %" PRIu64 "\r\n", seconds);
    return refuse_with(plan, 429, "too many requests", fields);
}

/* Counts the requests that are counted together: 0 for the first, 1, ... `is_told`: the answer
 * tells the number. */
static uint64_t count_request(struct plan_state *plan, bool is_told) {
    const struct spec *spec = plan->spec;
    bool evicts;

    if (spec->seq_count == 0 && spec->first == 0 && spec->every == 0 && !is_told)
        return 0;
    uint64_t n = sequence_next(plan->p->shared, sequence_key(plan), &evicts);
    if (evicts)
        tell_eviction(plan);
    plan->request.number = n + 1;
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

static void roll_faults(struct plan_state *plan) {
    struct reply *reply = plan->reply;

    for (size_t i = 0; i < plan->spec->fault_count; i++) {
        const struct fault *fault = &plan->spec->faults[i];
        bool is_per_byte = fault->kind == FAULT_CORRUPT;
        if ((fault->place & FAULT_AT_CONNECTION) != 0 ||
            (fault_infos[fault->kind].moment == FAULT_ON_REUSE && !plan->origin->is_reused))
            continue;
        if (is_per_byte || rng_unit(&reply->rng) < fault->probability)
            add_fault(reply, fault);
    }
}

static void roll_outcome(struct plan_state *plan, bool tells_number) {
    struct spec *spec = plan->spec;
    struct reply *reply = plan->reply;
    uint64_t n = count_request(plan, tells_number);
    bool holds = (spec->first == 0 || n < (uint64_t)spec->first) &&
                 (spec->every == 0 || (n + 1) % (uint64_t)spec->every == 0);

    if (holds)
        reply->status = (uint16_t)mix_pick(&spec->status, &reply->rng, reply->status);
    if (spec->seq_count > 0)
        reply->status = spec->seq[n % spec->seq_count];
    reply->close = spec->close_share > 0 && rng_unit(&reply->rng) < spec->close_share;
    if (holds)
        roll_faults(plan);
}

static double load_factor(const struct plan_state *plan) {
    int64_t flying = atomic_load_explicit(&plan->p->stats.total->in_flight, memory_order_relaxed);
    double factor = warmup_factor(&plan->spec->warmup, plan->now);

    if (plan->spec->collapse_knee > 0 && (double)flying > plan->spec->collapse_knee)
        factor *= pow((double)flying / plan->spec->collapse_knee, plan->spec->collapse_power);
    return factor;
}

static int turn_away(struct plan_state *plan, nsec_t retry_after) {
    char line[64];

    slow_stats_count(&plan->p->stats, SLOW_QUEUE_FULL);
    snprintf(line, sizeof(line), "Retry-After: %lld\r\n",
             (long long)((retry_after + NSEC_PER_SEC - 1) / NSEC_PER_SEC));
    return refuse_with(plan, plan->spec->full, "the queue is full", line);
}

/* Requests that queue together: those with the same key, law and sizes. */
static uint64_t queue_key(const struct spec *spec) {
    const int64_t parts[] = { spec->has_key ? (int64_t)spec->key : 0, spec->has_key, spec->workers,
                              spec->queue };

    return dist_hash(hash_bytes(HASH_SEED, parts, sizeof(parts)), &spec->service);
}

static int enter_queue(struct plan_state *plan, double factor) {
    static struct log_rate rate = { .per_second = 1 };
    const struct spec *spec = plan->spec;
    nsec_t service = (nsec_t)((double)dist_draw(&spec->service, &plan->reply->rng) * factor);

    struct queue_turn turn = queue_enter(plan->p->shared, queue_key(spec), spec->workers,
                                         spec->queue, service, clock_now());
    if (turn.evicts) {
        slow_stats_count(&plan->p->stats, SLOW_QUEUE_EVICTIONS);
        log_limited(&rate, LOG_LEVEL_WARN, "a queue was forgotten places=%u option=--queues",
                    plan->p->shared->queues.capacity);
    }
    if (turn.is_full)
        return turn_away(plan, turn.retry_after);
    plan->reply->queued = turn.wait;
    plan->delay = deadline_after(plan->delay, turn.wait + service);
    return 0;
}

static int pass_pause(struct plan_state *plan) {
    const struct pause *pause = &plan->spec->pause;
    nsec_t left = pause_left(pause, plan->now);

    if (left > 0 && pause->status != 0)
        return refuse(plan, pause->status, "paused");
    if (pause->delay > 0 || pause->status != 0) {
        plan->delay = deadline_after(plan->delay, left > 0 ? pause->delay : 0);
        return 0;
    }
    plan->delay = deadline_after(plan->delay, left);
    plan->delay =
        deadline_after(plan->delay, pause_left(pause, deadline_after(plan->now, plan->delay)));
    return 0;
}

static int roll_delay(struct plan_state *plan) {
    const struct spec *spec = plan->spec;
    double factor = load_factor(plan);
    int64_t flying = atomic_load_explicit(&plan->p->stats.total->in_flight, memory_order_relaxed);
    double delay =
        ((double)dist_draw(&spec->delay, &plan->reply->rng) + spec->linear * (double)flying) *
        factor;

    plan->delay = delay < 3e17 ? (nsec_t)delay : (nsec_t)3e17;
    int rc = spec->workers > 0 ? enter_queue(plan, factor) : 0;
    return rc != 0 || spec->pause.span == 0 ? rc : pass_pause(plan);
}

/* Instead of the body that is there, events too, which are spread as bytes are then. */
static void set_letters(struct plan_state *plan) {
    struct body *body = &plan->reply->body;
    int64_t size = mix_pick(&plan->spec->size, &plan->reply->rng, -1);

    if (size < 0)
        return;
    if (body_is_events(body)) {
        body->piece = 0;
        body->interval = 0;
    }
    body->kind = BODY_LETTERS;
    body->seed = plan->reply->seed;
    body->units = (uint64_t)size;
}

/* The body of the path, then what was chosen instead of it, then its coding. */
static int make_body(struct plan_state *plan) {
    struct reply *reply = plan->reply;
    int rc = 0;

    if (plan->head->method == HTTP_METHOD_OPTIONS && !plan->route->is_own) {
        rc = route_preflight(plan->route, &plan->request, reply);
    } else if (plan->route->prepare != NULL) {
        rc = plan->route->prepare(reply, plan->spec, &plan->request, &plan->why);
    } else {
        reply->body.text = SLICE("slow api response");
        reply->body.units = reply->body.text.len;
    }
    if (rc == 0)
        rc = body_make(reply, &plan->request, &plan->why);
    if (rc == 0 && plan->spec->has_body_size)
        set_letters(plan);
    if (rc == 0)
        rc = body_code(reply, plan->spec, &plan->request, &plan->why);
    return rc;
}

/* Counts a text that was made, which waits with its request. */
static int hold_text(struct plan_state *plan) {
    struct reply *reply = plan->reply;
    uint64_t size = reply->text != NULL ? reply->body.text.len : 0;

    if (plan->p->kept_bytes + size > SLOWAPI_KEPT_ALL_BYTES)
        return refuse(plan, 503, SLOWAPI_KEPT_TOO_MANY);
    reply->held = size;
    plan->p->kept_bytes += size;
    return 0;
}

static int set_body(struct plan_state *plan) {
    int rc = make_body(plan);

    if (rc == -ENOENT)
        rc = refuse(plan, 404, "not found; try /?delay=0.5");
    else if (rc == -EINVAL)
        rc = refuse_parameter(plan);
    else if (rc == 0)
        rc = hold_text(plan);
    reply_set_pace(plan->reply);
    return rc;
}

/* --- --max-delay ------------------------------------------------------------------------------ */

/* Refuses an exchange that is asked for and above the limit; it is never cut to it. */
static int check_longest(struct plan_state *plan) {
    nsec_t max = plan->p->delay_max, longest = reply_longest(plan->spec, &plan->reply->body);
    const struct chat *made = plan->reply->making > 0 ? plan->reply->body.chat : NULL;
    char text[UNITS_TEXT_BYTES], allowed[UNITS_TEXT_BYTES];

    longest = deadline_after(longest, made != NULL ? made->longest : 0);
    if (longest <= max)
        return 0;
    error_set(&plan->why, -EINVAL, "an exchange of %s is more than --max-delay; allowed: up to %s",
              longest == NSEC_NEVER ? "no end" : units_format_duration(longest, text),
              units_format_duration(max, allowed));
    return refuse_parameter(plan);
}

/* Cuts off, and tells, the delay that chance and other requests add above the limit. */
static int cut_to_longest(struct plan_state *plan) {
    nsec_t answer = reply_longest_answer(plan->spec, &plan->reply->body);
    nsec_t max = plan->p->delay_max, most = max - answer;
    struct body *body = &plan->reply->body;
    char line[64], text[UNITS_TEXT_BYTES];

    if (max != NSEC_NEVER && body->kind == BODY_CHAT) /* the tokens have what the rest leaves */
        body->chat->left = max - nsec_min(plan->delay, most) - (answer - body->chat->longest);
    if (max == NSEC_NEVER || plan->delay <= most)
        return 0;
    snprintf(line, sizeof(line), "X-Slowapi-Cut: %s\r\n", units_format_duration(plan->delay, text));
    plan->delay = most;
    slow_stats_count(&plan->p->stats, SLOW_CUT_DELAYS);
    return reply_add_fields(plan->reply, line);
}

/* --- the whole -------------------------------------------------------------------------------- */

static int tell_ignored(struct plan_state *plan) {
    static struct log_rate rate = { .per_second = 1 };
    char line[sizeof(plan->ignored.text) + 32];

    if (plan->ignored.len == 0)
        return 0;
    log_limited(&rate, LOG_LEVEL_WARN, "parameters without effect names=\"%s\"",
                plan->ignored.text);
    snprintf(line, sizeof(line), "X-Slowapi-Ignored: %s\r\n", plan->ignored.text);
    return reply_add_fields(plan->reply, line);
}

/* The answer is made of the request's body: the rest of the plan waits for it. */
static int keep(struct plan_state *plan) {
    if (plan->head->has_content_length && plan->head->content_length > SLOWAPI_KEPT_BYTES)
        return refuse(plan, 413, SLOWAPI_KEPT_TOO_LONG);
    plan->reply->kept = kept_new(&plan->request, plan->spec, plan->route, &plan->p->kept_bytes);
    return plan->reply->kept != NULL ? 0 : -ENOMEM;
}

/* The body, which is bounded as a part of the exchange. */
static int finish(struct plan_state *plan) {
    int rc = set_body(plan);

    return rc == 0 ? check_longest(plan) : rc;
}

static int roll(struct plan_state *plan) {
    struct body_wants wants = { .body = plan->route->wants_body };
    struct reply *reply = plan->reply;

    reply->seed = plan->spec->has_seed ? plan->spec->seed : shared_roll(plan->p->shared);
    reply->rng.state = reply->seed;
    reply->shows_truth = true;
    int rc = pass_limit(plan);
    if (rc != 0)
        return rc;
    rc = body_choose(reply, plan->spec, plan->p->files, &wants, &plan->why);
    if (rc == -EINVAL)
        return refuse_parameter(plan);
    if (rc == 0)
        roll_outcome(plan, wants.number);
    if (rc == 0 && plan->spec->fields_len > 0)
        rc = reply_add_custom(reply, plan->spec->fields, plan->spec->fields_len);
    if (rc == 0)
        rc = wants.body ? keep(plan) : finish(plan);
    if (rc == 0)
        rc = roll_delay(plan);
    if (rc > 0 && !plan->route->shapes_refusals) { /* what was to be made of the body is not */
        kept_free(reply->kept);
        reply->kept = NULL;
    }
    if (rc == 0 && !wants.body)
        rc = cut_to_longest(plan);
    return rc < 0 ? rc : tell_ignored(plan);
}

/* Rules and routes see the decoded path, as do their arguments. */
static int decode_path(struct plan_state *plan) {
    if (slice_find(plan->request.path, '%') == plan->request.path.len)
        return 0;
    plan->decoded = mem_alloc(plan->request.path.len);
    if (plan->decoded == NULL)
        return -ENOMEM;
    long len = http_path_decode(plan->request.path, plan->decoded);
    if (len < 0)
        return refuse(plan, 400, "the path has a bad percent-escape");
    plan->request.path = slice_of(plan->decoded, (size_t)len);
    return 0;
}

static int make(struct plan_state *plan) {
    plan->reply->begun_at = clock_now();
    plan->now = plan->reply->begun_at - plan->p->shared->started_at;
    plan->reply->method = (uint8_t)plan->head->method;
    if (plan->p->config->access_log != NULL) {
        plan->reply->target = slice_dup(plan->head->target);
        if (plan->reply->target == NULL)
            return -ENOMEM;
    }
    plan->request.head = plan->head;
    plan->request.fd = plan->origin->fd;
    plan->request.shared = plan->p->shared;
    plan->request.secret = plan->p->shared->secret;
    plan->request.is_secure = plan->p->config->secure[plan->origin->bind];
    http_target_split(plan->head->target, &plan->request.path, &plan->request.query);
    if (plan->head->method == HTTP_METHOD_OTHER)
        return refuse(plan, 501, "unknown method");

    int rc = decode_path(plan);
    if (rc == 0)
        rc = take_layers(plan);
    return rc != 0 ? rc : roll(plan);
}

/* Kept out of plan_make: its state is large, and its frame would cost the plain request. */
static __attribute__((noinline)) int plan_in_full(struct planner *p, const struct http_head *head,
                                                  const struct plan_origin *origin,
                                                  struct slow_plan *ret) {
    struct plan_state plan = {
        .p = p, .head = head, .origin = origin, .spec = &p->spec, .reply = reply_new(200)
    };
    p->spec = p->defaults[origin->bind];
    int rc = plan.reply != NULL ? make(&plan) : -ENOMEM;
    if (rc >= 0 && p->shared->journal != NULL)
        plan.reply->journal = journal_begin(p->shared->journal, head, origin->fd, plan.reply->rule);
    mem_free(plan.decoded);
    if (rc < 0) {
        plan_free(p, plan.reply);
        return rc;
    }
    plan.reply->delay = plan.delay;
    *ret = (struct slow_plan){ .delay = plan.delay, .reply = plan.reply };
    return 0;
}

void plan_free(struct planner *p, struct reply *reply) {
    if (reply != NULL) {
        kept_free(reply->kept);
        p->kept_bytes -= reply->held;
    }
    reply_free(reply);
}

int plan_finish(struct planner *p, struct reply *reply, nsec_t *delay) {
    struct kept_request *kept = reply->kept;
    struct plan_state plan = { .p = p,
                               .head = &kept->head,
                               .request = kept->request,
                               .route = kept->route,
                               .spec = &kept->spec,
                               .delay = *delay,
                               .reply = reply };
    int rc = finish(&plan);

    plan.delay = deadline_after(plan.delay, reply->making);
    if (rc == 0)
        rc = cut_to_longest(&plan);
    reply->kept = NULL;
    kept_free(kept);
    *delay = reply->delay = plan.delay;
    return rc < 0 ? rc : 0;
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

/* Parameters of all addresses are of those that they can be of. */
static void drop_tls_faults(struct spec *spec) {
    uint8_t count = 0;

    for (uint8_t i = 0; i < spec->fault_count; i++)
        if (!fault_infos[spec->faults[i].kind].needs_tls)
            spec->faults[count++] = spec->faults[i];
    spec->fault_count = count;
}

static int take_defaults(struct spec *spec, const struct slowapi_config *config, size_t bind,
                         struct error *err) {
    const char *own = config->bind_params[bind];
    int rc = take_options(spec, config, err);

    if (!config->secure[bind])
        drop_tls_faults(spec);
    param_begin_layer(spec);
    return rc == 0 && own != NULL ? param_parse_text(spec, slice_str(own), err) : rc;
}

/* `spec` is room for the work. */
static int check_tls_faults(const struct slowapi_config *config, struct spec *spec,
                            struct error *err) {
    const struct fault_info *fault = NULL;
    bool speaks = false;

    for (size_t i = 0; i < config->binds.count; i++) {
        speaks |= config->secure[i];
        if (take_defaults(spec, config, i, err) < 0)
            return -EINVAL;
        if (!config->secure[i] && (fault = find_tls_fault(spec)) != NULL)
            return error_set(err, -EINVAL, "--bind: %s needs TLS; give %s as https://",
                             fault->name.ptr, config->binds.items[i]);
    }
    if (!speaks && take_options(spec, config, err) == 0 && (fault = find_tls_fault(spec)) != NULL)
        return error_set(err, -EINVAL,
                         "--params: %s needs an address that speaks TLS; give one as https://",
                         fault->name.ptr);
    return 0;
}

/* A folder that cannot be opened is told when the service begins. */
static int check_body(const struct spec *spec, const char *path, struct error *err) {
    int files = path != NULL ? body_open_files(path, NULL) : -1;

    if (path != NULL && files < 0)
        return 0;
    int rc = body_check(spec, files, err);
    if (files >= 0)
        close(files);
    return rc;
}

int planner_check_rule(const struct shared *shared, const struct spec *spec, struct error *why) {
    if (shared->delay_max > 0 && reply_longest(spec, NULL) > shared->delay_max)
        return error_set(why, -EINVAL, "asks for more than --max-delay");
    return check_body(spec, shared->files, why);
}

int planner_check(const struct slowapi_config *config, struct error *err) {
    char text[UNITS_TEXT_BYTES], allowed[UNITS_TEXT_BYTES];
    struct spec spec;

    for (size_t i = 0; i < config->binds.count; i++) {
        int rc = take_defaults(&spec, config, i, err);
        if (rc == 0)
            rc = check_body(&spec, config->files, err);
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
    return check_tls_faults(config, &spec, err);
}

static bool is_plain(const struct spec *s) {
    bool changes = s->status.count > 0 || s->size.count > 0 || s->close_share > 0 ||
                   s->fault_count > 0 || s->seq_count > 0 || s->first > 0 || s->every > 0 ||
                   s->fields_len > 0 || s->has_seed || s->limit > 0 || spec_chooses_body(s) ||
                   s->type.raw.ptr != NULL || s->has_encoding;
    bool depends = s->workers > 0 || s->linear > 0 || s->collapse_knee > 0 || s->pause.span > 0 ||
                   s->warmup.span > 0;

    return s->delay.kind == DIST_FIXED && !changes && !depends;
}

int planner_init(struct planner *p, const struct slowapi_config *config, struct shared *shared,
                 unsigned worker, struct error *err) {
    p->config = config;
    p->shared = shared;
    p->delay_max = config->delay_max > 0 ? config->delay_max : NSEC_NEVER;
    p->files = -1;
    if (config->files != NULL)
        p->files = body_open_files(config->files, err);
    if (config->files != NULL && p->files < 0)
        return p->files;
    p->stats = (struct slow_stats){ .slot = &shared->slots[worker], .total = &shared->total };
    slow_stats_adopt(&p->stats, worker);

    uint64_t seed = config->seed != 0 ? (uint64_t)config->seed : (uint64_t)clock_wall();
    uint64_t unset = 0; /* the first worker sets the seed; one that replaces another goes on */
    atomic_compare_exchange_strong(&shared->rng_state, &unset, seed);
    for (size_t i = 0; i < LISTENERS_MAX; i++) {
        int rc = take_defaults(&p->defaults[i], config, i, err);
        if (rc < 0)
            return rc;
        p->is_plain[i] = is_plain(&p->defaults[i]) && !config->truth &&
                         config->access_log == NULL && shared->journal == NULL;
    }
    return 0;
}

void planner_free(struct planner *p) {
    if (p->files >= 0)
        close(p->files);
    rules_free(p->rules);
    p->rules = NULL;
}
