/* SPDX-License-Identifier: MIT */
/* Makes plans: fast for the plain request, else layer by layer and roll by roll. */
#include "slowapi/plan.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/units.h"
#include "http/url.h"
#include "slowapi/body.h"
#include "slowapi/chat.h"
#include "slowapi/defaults.h"
#include "slowapi/journal.h"
#include "slowapi/limits.h"
#include "slowapi/longest.h"
#include "slowapi/param.h"
#include "slowapi/recorded.h"
#include "slowapi/roll.h"
#include "slowapi/route.h"
#include <errno.h>
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
    bool is_whole;     /* the request's body has come */
    bool is_answered;  /* the rule has an answer of its own, whatever stands behind */
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
    plan->delay = 0;
    return reply_replace(plan->reply, status, text);
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

/* --- in front of a service -------------------------------------------------------------------- */

/* Any path with any method; it takes --delay. */
static const struct route service = {
    .path = SLICE_INIT("/"), .shown = "/", .is_own = true, .takes_any = true, .is_quiet = true
};

/* Whether the service is asked: a status, a body or the fault `early` that was chosen is an answer
 * by itself. */
static bool forwards(const struct plan_state *plan) {
    const struct reply *reply = plan->reply;

    for (size_t i = 0; i < reply->fault_count; i++)
        if (reply->faults[i].kind == FAULT_EARLY)
            return false;
    return plan->route == &service && reply->status == 200 && !reply->is_chosen &&
           !plan->is_answered && !plan->spec->has_body_size;
}

/* The answer of a service has a type and a coding of its own, whatever the request says of them. */
static int name_unused(struct plan_state *plan) {
    if (plan->asked != 0 && plan->spec->type.raw.ptr != NULL)
        param_names_add(&plan->ignored, SLICE("type"));
    if (plan->asked != 0 && plan->spec->has_encoding)
        param_names_add(&plan->ignored, SLICE("encoding"));
    if (plan->ignored.len == 0 || !plan->p->config->strict_params)
        return 0;
    return error_set(&plan->why, -EINVAL, "%s: without effect on the answer of a service",
                     plan->ignored.text);
}

/* An answer that nothing was done to goes on as it came. */
static bool shows_truth(const struct plan_state *plan) {
    const struct reply *reply = plan->reply;

    return !reply->forwards || plan->p->config->truth || plan->asked != 0 || reply->rule != NULL ||
           reply->fault_count > 0 || plan->delay > 0;
}

/* --- layers ----------------------------------------------------------------------------------- */

static int tell_answer(struct plan_state *plan, size_t number) {
    char line[48];

    snprintf(line, sizeof(line), "X-Slowapi-Answer: %zu\r\n", number);
    return reply_add_fields(plan->reply, line);
}

static int take_rule(struct plan_state *plan, const struct rule_match *match) {
    plan->reply->rule = slice_dup(slice_str(match->name));
    if (plan->reply->rule == NULL)
        return -ENOMEM;
    slow_stats_count(&plan->p->stats, SLOW_RULE_MATCHES);
    atomic_fetch_add_explicit(&plan->p->shared->rule_counts[match->index], 1, memory_order_relaxed);
    if (match->answer > 0 && tell_answer(plan, match->answer) < 0)
        return -ENOMEM;
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
    bool has_query = plan->route != &service; /* a query of a service is its own */

    if (has_query && param_parse_query(plan->spec, plan->request.query, unknown, &plan->why) < 0)
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

static int check_secure(struct plan_state *plan) {
    const struct fault_info *fault =
        plan->request.is_secure ? NULL : defaults_tls_fault(plan->spec);

    return fault == NULL
               ? 0
               : error_set(&plan->why, -EINVAL, "fault '%s': needs TLS; ask at an https:// address",
                           fault->name.ptr);
}

/* Paths of a log that laws were taken from answer as `/` does. */
static bool is_recorded(const struct plan_state *plan) {
    const struct recorded *recorded = plan->p->shared->recorded;

    return recorded != NULL && recorded_has_path(recorded, plan->request.path);
}

/* `match` is NULL when no rule holds. */
static int take_layers(struct plan_state *plan, const struct rule_match *match) {
    int rc = 0;

    plan->spec->of_request = true;
    plan->route = plan->p->config->upstream != NULL
                      ? &service
                      : route_find(plan->request.path, &plan->request.rest);
    if (plan->route == NULL && (match != NULL || is_recorded(plan)))
        plan->route = route_find(SLICE("/"), &plan->request.rest);
    if (plan->route == NULL)
        return refuse(plan, 404, "not found; try /?delay=0.5");
    if (!plan->route->is_own)
        rc = route_allow_origin(&plan->request, plan->reply);
    if (rc < 0)
        return rc;
    if (match == NULL && plan->route != &service && !route_takes(plan->route, plan->head->method))
        return refuse_method(plan);
    plan->is_answered = match != NULL && match->is_whole;
    if (match != NULL)
        rc = take_rule(plan, match);
    if (rc != 0)
        return rc;

    if (take_request(plan) < 0 || check_secure(plan) < 0)
        return refuse_parameter(plan);
    rc = body_make_key(plan->spec, &plan->request, &plan->spec->key, &plan->why);
    return rc == -EINVAL ? refuse_parameter(plan) : rc;
}

/* --- rolls ------------------------------------------------------------------------------------ */

static struct roll roll_of(struct plan_state *plan) {
    return (struct roll){ .shared = plan->p->shared,
                          .stats = &plan->p->stats,
                          .spec = plan->spec,
                          .head = plan->head,
                          .rng = &plan->reply->rng,
                          .path = plan->request.path,
                          .client = plan->origin->client,
                          .now = plan->now,
                          .is_reused = plan->origin->is_reused };
}

/* 1: the plan is made. */
static int refuse_by(struct plan_state *plan, const struct roll_refusal *refusal) {
    if (refusal->status != 0)
        return refuse_with(plan, refusal->status, refusal->text, refusal->fields);
    return refusal->fields[0] != '\0' ? reply_add_fields(plan->reply, refusal->fields) : 0;
}

static int pass_limit(struct plan_state *plan, const struct roll *rolls) {
    struct roll_refusal refusal;

    roll_limit(rolls, &refusal);
    return refuse_by(plan, &refusal);
}

static void take_outcome(struct plan_state *plan, const struct roll *rolls, bool tells_number) {
    struct reply *reply = plan->reply;
    struct roll_outcome outcome;

    roll_outcome(rolls, reply->status, tells_number, &outcome);
    plan->request.number = outcome.number;
    reply->status = outcome.status;
    reply->close = outcome.close;
    reply->shared = plan->p->shared;
    reply->carry = link_carry;
    reply->link = plan->spec->has_key ? plan->spec->key : 0;
    reply_take_faults(reply, outcome.faults, outcome.fault_count);
}

static int take_delay(struct plan_state *plan, const struct roll *rolls) {
    struct roll_refusal refusal;
    struct roll_wait wait;

    roll_delay(rolls, &wait, &refusal);
    plan->delay = wait.delay;
    plan->reply->queued = wait.queued;
    return refuse_by(plan, &refusal);
}

/* --- the body --------------------------------------------------------------------------------- */

/* Instead of the body that is there, events too, which are spread as bytes are then. */
static void set_letters(struct plan_state *plan) {
    struct body *body = &plan->reply->body;
    int64_t size = mix_pick(&plan->spec->size, &plan->reply->rng, -1);

    if (size < 0)
        return;
    if (content_is_events(body)) {
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
    nsec_t max = plan->p->delay_max, longest = longest_exchange(plan->spec, &plan->reply->body);
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
    nsec_t answer = longest_answer(plan->spec, &plan->reply->body);
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

static bool is_too_long(const struct http_head *head) {
    return head->has_content_length && head->content_length > SLOWAPI_KEPT_BYTES;
}

/* The answer is made of the request's body: the rest of the plan waits for it. */
static int keep(struct plan_state *plan) {
    if (is_too_long(plan->head) || plan->is_whole)
        return refuse(plan, 413, SLOWAPI_KEPT_TOO_LONG);
    plan->reply->kept = kept_new(&plan->request, plan->spec, plan->route, &plan->p->kept_bytes);
    return plan->reply->kept != NULL ? 0 : -ENOMEM;
}

/* The body, which is bounded as a part of the exchange. */
static int finish(struct plan_state *plan) {
    int rc = set_body(plan);

    return rc == 0 ? check_longest(plan) : rc;
}

/* Finds a law that is a name. With --from-status the law of the delay is one of the statuses that
 * the path had, and the answer has that status, unless another one was asked for. */
static int find_law(struct plan_state *plan, struct dist *law, bool is_delay) {
    const struct recorded *recorded = plan->p->shared->recorded;
    const struct spec *spec = plan->spec;
    bool is_rolled =
        is_delay && plan->p->config->from_status && spec->status.count == 0 && spec->seq_count == 0;
    uint16_t status = 0;

    if (!dist_is_named(law))
        return 0;
    if (recorded != NULL &&
        (is_rolled ? recorded_roll(recorded, law->name, plan->request.path, &plan->reply->rng,
                                   &status, law)
                   : recorded_find(recorded, law->name, plan->request.path, law))) {
        if (status != 0)
            reply_set_status(plan->reply, status);
        return 0;
    }
    error_set(&plan->why, -EINVAL, RECORDED_NAMELESS, is_delay ? "delay" : "service");
    return refuse_parameter(plan);
}

static int find_laws(struct plan_state *plan) {
    int rc = find_law(plan, &plan->spec->delay, true);

    return rc == 0 ? find_law(plan, &plan->spec->service, false) : rc;
}

static int roll(struct plan_state *plan) {
    struct body_wants wants = { .body = plan->route->wants_body };
    struct reply *reply = plan->reply;

    reply->seed = plan->spec->has_seed ? plan->spec->seed : shared_roll(plan->p->shared);
    reply->rng.state = reply->seed;
    reply->shows_truth = true;
    const struct roll rolls = roll_of(plan);
    int rc = pass_limit(plan, &rolls);
    if (rc == 0)
        rc = find_laws(plan);
    if (rc != 0)
        return rc;
    rc = body_choose(reply, plan->spec, plan->p->files, &wants, &plan->why);
    if (rc == -EINVAL)
        return refuse_parameter(plan);
    bool waits = wants.body && (!plan->is_whole || plan->request.is_cut);
    if (rc == 0)
        take_outcome(plan, &rolls, wants.number);
    if (rc == 0 && plan->spec->fields_len > 0)
        rc = reply_add_custom(reply, plan->spec->fields, plan->spec->fields_len);
    reply->forwards = rc == 0 && forwards(plan);
    if (rc == 0 && reply->forwards)
        rc = name_unused(plan) < 0 ? refuse_parameter(plan) : check_longest(plan);
    else if (rc == 0)
        rc = waits ? keep(plan) : finish(plan);
    if (rc == 0)
        rc = take_delay(plan, &rolls);
    reply->forwards = reply->forwards && rc == 0;
    reply->shows_truth = shows_truth(plan);
    if (rc > 0 && !plan->route->shapes_refusals) { /* nothing is made of the body */
        kept_free(reply->kept);
        reply->kept = NULL;
    }
    if (rc == 0 && !waits) {
        plan->delay = deadline_after(plan->delay, reply->making);
        rc = cut_to_longest(plan);
    }
    return rc < 0 ? rc : tell_ignored(plan);
}

/* Bodies that are longer than what is kept are not known to conditions. */
static struct rule_request asked_of(const struct plan_state *plan) {
    struct rule_request asked = { .view = { .head = plan->head,
                                            .path = plan->request.path,
                                            .query = plan->request.query,
                                            .body = plan->request.body },
                                  .shared = plan->p->shared,
                                  .client = plan->origin->client };
    bool has_none = plan->head->framing == HTTP_FRAMING_NONE ||
                    (plan->head->has_content_length && plan->head->content_length == 0);

    if (plan->request.is_cut || is_too_long(plan->head))
        asked.view.knows_body = CONDITION_BODY_UNKNOWN;
    else if (plan->is_whole || has_none)
        asked.view.knows_body = CONDITION_BODY_HERE;
    return asked;
}

/* The request's body decides which rule holds: all of the plan waits for it. */
static int keep_open(struct plan_state *plan) {
    struct kept_request *kept = kept_new(&plan->request, plan->spec, NULL, &plan->p->kept_bytes);

    if (kept == NULL)
        return -ENOMEM;
    kept->is_open = true;
    kept->client = plan->origin->client;
    kept->bind = plan->origin->bind;
    kept->is_reused = plan->origin->is_reused;
    plan->reply->kept = kept;
    return 0;
}

static int decide(struct plan_state *plan) {
    struct rule_request asked = asked_of(plan);
    struct rule_match match;

    enum rule_found found = rules_find(plan->p->rules, &asked, &match);
    condition_view_free(&asked.view);
    if (match.evicts)
        roll_tell_eviction(&plan->p->stats, plan->p->shared);
    if (found == RULE_WANTS_BODY)
        return keep_open(plan);
    int rc = take_layers(plan, found == RULE_FOUND ? &match : NULL);
    return rc != 0 ? rc : roll(plan);
}

/* Rules and routes see the decoded path, as do their arguments. */
static int decode_path(struct plan_state *plan) {
    if (slice_find(plan->request.path, '%') == plan->request.path.len)
        return 0;
    plan->decoded = mem_alloc(plan->request.path.len);
    if (plan->decoded == NULL)
        return -ENOMEM;
    long len = http_path_decode(plan->request.path, plan->decoded);
    if (len < 0 && plan->p->config->upstream != NULL)
        return 0; /* the service may know what it means */
    if (len < 0)
        return refuse(plan, 400, "the path has a bad percent-escape");
    plan->request.path = slice_of(plan->decoded, (size_t)len);
    return 0;
}

static int make(struct plan_state *plan) {
    plan->reply->begun_at = clock_now();
    plan->now = plan->reply->begun_at - plan->p->shared->started_at;
    plan->reply->method = (uint8_t)plan->head->method;
    plan->reply->path = PATHS_OTHER;
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
    if (plan->head->method == HTTP_METHOD_OTHER && plan->p->config->upstream == NULL)
        return refuse(plan, 501, "unknown method");
    if (plan->head->method == HTTP_METHOD_CONNECT && plan->p->config->upstream != NULL)
        return refuse(plan, 501, "CONNECT is not passed on");

    int rc = decode_path(plan);
    if (rc != 0)
        return rc;
    plan->reply->path =
        paths_find(&plan->p->shared->paths, plan->request.path, &plan->reply->path_age);
    return decide(plan);
}

/* Kept out of plan_make: its state is large, and its frame would cost the plain request. */
static __attribute__((noinline)) int plan_in_full(struct planner *p, const struct http_head *head,
                                                  const struct plan_origin *origin,
                                                  struct slow_plan *ret) {
    struct plan_state plan = {
        .p = p, .head = head, .origin = origin, .spec = &p->spec, .reply = reply_new(200)
    };
    p->spec = p->defaults[origin->bind];
    if (plan.reply != NULL)
        p->spec.memory = &plan.reply->memory;
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

/* Makes all of a plan that the body decides. */
static int finish_open(struct planner *p, struct kept_request *kept, struct reply *reply,
                       nsec_t *delay) {
    const struct plan_origin origin = { .client = kept->client,
                                        .bind = kept->bind,
                                        .fd = kept->request.fd,
                                        .is_reused = kept->is_reused };
    struct plan_state plan = { .p = p,
                               .head = &kept->head,
                               .origin = &origin,
                               .request = kept->request,
                               .spec = &p->spec,
                               .now = reply->begun_at - p->shared->started_at,
                               .is_whole = true,
                               .reply = reply };

    p->spec = p->defaults[kept->bind];
    int rc = decide(&plan);
    if (rc >= 0 && reply->rule != NULL && reply->journal != 0)
        journal_rule(p->shared->journal, reply->journal, reply->rule);
    *delay = reply->delay = plan.delay;
    return rc < 0 ? rc : 0;
}

static int finish_kept(struct planner *p, struct kept_request *kept, struct reply *reply,
                       nsec_t *delay) {
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
    *delay = reply->delay = plan.delay;
    return rc < 0 ? rc : 0;
}

int plan_finish(struct planner *p, struct reply *reply, nsec_t *delay) {
    struct kept_request *kept = reply->kept;

    reply->kept = NULL;
    int rc =
        kept->is_open ? finish_open(p, kept, reply, delay) : finish_kept(p, kept, reply, delay);
    kept->is_open = false;
    if (rc == 0 && reply->forwards) /* it goes on to the service */
        reply->kept = kept;
    else
        kept_free(kept);
    return rc;
}

int plan_make(struct planner *p, const struct http_head *head, const struct plan_origin *origin,
              struct slow_plan *ret) {
    if (UNLIKELY(rules_changed(p->shared, p->rules_generation)))
        rules_refresh(p->shared, &p->rules, &p->rules_generation);
    if (plan_plain(p, head, origin, ret)) {
        slow_stats_request(&p->stats, 0);
        return 0;
    }
    int rc = plan_in_full(p, head, origin, ret);
    slow_stats_request(&p->stats, rc == 0 ? ret->reply->path : 0);
    return rc;
}

/* --- the planner ------------------------------------------------------------------------------ */

int planner_init(struct planner *p, const struct slowapi_config *config, struct shared *shared,
                 unsigned worker, struct error *err) {
    p->config = config;
    p->shared = shared;
    p->delay_max = config->delay_max > 0 ? config->delay_max : NSEC_NEVER;
    p->files = -1;
    arena_init(&p->memory, SLOWAPI_LIST_BYTES);
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
        p->defaults[i].memory = &p->memory;
        int rc = defaults_take(&p->defaults[i], config, i, err);
        if (rc < 0)
            return rc;
        p->is_plain[i] = defaults_are_plain(&p->defaults[i]) && !config->truth &&
                         config->upstream == NULL && config->access_log == NULL &&
                         shared->journal == NULL;
    }
    return 0;
}

void planner_free(struct planner *p) {
    if (p->files >= 0)
        close(p->files);
    arena_free(&p->memory);
    rules_free(p->rules);
    p->rules = NULL;
}
